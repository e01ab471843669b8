"""The claims about sweeps of training data and sizes (Secs. 5.2, 5.4-5.7, App. B.6-B.8) with the rules that judge them.

A rule reads the grid that was run and says what must be positive on it, or why the grid cannot tell. The rules were
written before any number of ours. The paper made these claims for CIFAR-10, from one seed.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cache

import pandas as pd

from ...report.entries import Entry, Part, Tables
from ...report.reference import of_setting
from ...report.rules import (
    PAPER_GAP_NOISE,
    SAME,
    Case,
    Evidence,
    Noise,
    Quantity,
    Rule,
    needs,
    papers_noise,
    same,
    steps,
    two_sided,
    value,
)
from .paper import paper_sweep

QUANTITIES = ("elbo_train", "elbo_test", "generalization_gap", "amortization_gap", "robustness_gap")
NEAR_ZERO = 0.05  # of the largest gap of normal training: what Fig. 7d shows as a flat line


def sweep_evidence(
    rows: pd.DataFrame,
    dataset: str,
    likelihood: str,
    exact: bool = False,
    noise: Noise | None = None,
    quantities: Sequence[str] = QUANTITIES,
) -> Evidence:
    """Return a sweep's last values: ``(series, point, quantity)`` over seeds; a point is x, or (nc, mz) in ``sizes``."""
    found = []
    for row in of_setting(rows, dataset, likelihood).to_dict("records"):
        point = None if math.isnan(row.get("x", math.nan)) else row["x"]
        if row["experiment"] == "sizes":
            point = (row["nc"], row["mz"])
        for name in quantities:
            term = (row["series"], point, name)
            number = row.get(name, math.nan)
            error = row.get(f"{name}_se", math.nan)
            if exact:
                error = papers_noise(term, number)
                error = max(error, PAPER_GAP_NOISE) if name == "generalization_gap" else error
            found.append((term, row["seed"], number, error))
    return Evidence.of(found, exact=exact, noise=noise)


def ours(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return a sweep's evidence in our tables."""
    noise = seed_noise(tables, table, dataset, likelihood)
    return sweep_evidence(tables[table], dataset, likelihood, noise=noise)


def seed_noise(tables: Tables, table: str, dataset: str, likelihood: str) -> Noise | None:
    """Return what seeds change, from the three gaps' runs where a sweep has one of them, else None.

    Each quantity's standard deviation over seeds as a share of its mean, both root mean squares over the methods, so that a
    method whose gap is near 0 does not make the noise of all others large. A sweep over
    the network itself (``sizes``, ``latents``) keeps the allowance: another size may scatter otherwise.
    """
    if table in ("sizes", "latents") or "three_gaps" not in tables:
        return None
    ours, gaps = (of_setting(tables[name], dataset, likelihood) for name in (table, "three_gaps"))
    shared = set(ours["elbo_test"]) & set(gaps["elbo_test"])
    counts = gaps.groupby("method")["seed"].nunique()
    if not shared or counts.min() < 2:
        return None
    by_method = gaps.groupby("method")[list(QUANTITIES)]
    shares = ((by_method.std() ** 2).mean() / (by_method.mean() ** 2).mean()).dropna() ** 0.5
    return Noise(shares.to_dict(), float((counts - 1).sum()))


@cache
def paper(table: str, dataset: str, likelihood: str) -> Evidence:
    """Return a sweep's evidence in the paper's figure."""
    return sweep_evidence(paper_sweep(table), dataset, likelihood, exact=True)


def elbo(series: str, point=None) -> Quantity:
    """Return the test ELBO of a series at a point of its grid."""
    return value(series, point, "elbo_test")


def gap(series: str, point=None) -> Quantity:
    """Return the generalization gap of a series at a point of its grid."""
    return value(series, point, "generalization_gap")


def gain(point=None) -> Quantity:
    """Return what DMaaPx adds to normal training's test ELBO."""
    return elbo("dmaapx", point) - elbo("normal", point)


# --- how much synthetic data (Sec. 5.4, Appendices B.7 and B.8) ---------------------------------------------------------


def ten_suffice(evidence: Evidence) -> Case | str:
    """Going on from k = 10 to the largest k adds less than a fifth of what k adds in all."""
    ks = evidence.points("dmaapx")
    if 10 not in ks or not ks[0] < 10 < ks[-1]:
        return "needs k = 10, a smaller and a larger k in k_grid"
    in_all = elbo("dmaapx", ks[-1]) - elbo("dmaapx", ks[0])
    return needs(SAME * in_all - (elbo("dmaapx", ks[-1]) - elbo("dmaapx", 10)), premise=[in_all])


def one_is_nothing(evidence: Evidence) -> Case | str:
    """With k = 1 the test ELBO is that of normal training, up to a fifth of what the largest k adds to it."""
    ks = evidence.points("dmaapx")
    if 1 not in ks or ks[-1] < 10:
        return "needs k = 1 and a k of 10 or more in k_grid"
    benefit = elbo("dmaapx", ks[-1]) - elbo("normal")
    return needs(*same(elbo("dmaapx", 1), elbo("normal"), benefit), premise=[benefit])


def less_real_is_better(quantity: Callable[..., Quantity], sign: int) -> Rule:
    """Without augmentation, a quantity changes with every step from all real to no real images."""

    def rule(evidence: Evidence) -> Case | str:
        shares = evidence.points("no_augmentation")
        if len(shares) < 3 or shares[0] > 0 or shares[-1] < 100:
            return "needs 0 and 100 % and a share between in real_shares"
        values = [sign * quantity("no_augmentation", x) for x in reversed(shares)]
        return needs(values[-1] - values[0], never=steps(values))

    return rule


def augmentation_helps(quantity: Callable[..., Quantity], sign: int) -> Rule:
    """With augmentation a quantity is better at every share of real images."""

    def rule(evidence: Evidence) -> Case | str:
        shares = evidence.points("aug_tuned")
        if not shares or shares != evidence.points("no_augmentation"):
            return "needs Aug.Tuned at the same shares"
        return needs(*(sign * (quantity("aug_tuned", x) - quantity("no_augmentation", x)) for x in shares))

    return rule


def pure_dmaapx_is_best(evidence: Evidence) -> Case | str:
    """0 % real images without augmentation have the highest test ELBO and the smallest gap of all mixtures."""
    rivals = [(s, x) for s in ("no_augmentation", "aug_tuned") for x in evidence.points(s)]
    best = ("no_augmentation", 0)
    if best not in rivals or len(rivals) < 2:
        return "needs 0 % and another share in real_shares"
    rivals.remove(best)
    return needs(*(elbo(*best) - elbo(*one) for one in rivals), *(gap(*one) - gap(*best) for one in rivals))


def thirty_is_normal(evidence: Evidence) -> Case | str:
    """A teacher of 30 % gives normal training's test ELBO, up to a fifth of what the best-taught one adds."""
    shares = evidence.points("dmaapx")
    if 30 not in shares or shares[-1] <= 30:
        return "needs 30 % and more in teacher_fractions"
    benefit = elbo("dmaapx", shares[-1]) - elbo("normal")
    return needs(*same(elbo("dmaapx", 30), elbo("normal"), benefit), premise=[benefit])


def thirty_has_a_smaller_gap(evidence: Evidence) -> Case | str:
    """A teacher of 30 % gives a smaller gap than normal training."""
    if 30 not in evidence.points("dmaapx"):
        return "needs 30 % in teacher_fractions"
    return needs(gap("normal") - gap("dmaapx", 30))


def more_teaching_beats_normal(evidence: Evidence) -> Case | str:
    """Teachers of more than 30 % give a higher test ELBO than normal training."""
    more = [x for x in evidence.points("dmaapx") if x > 30]
    return needs(*(elbo("dmaapx", x) - elbo("normal") for x in more)) if more else "needs more than 30 %"


def diminishing_from_seventy(evidence: Evidence) -> Case | str:
    """From 70 % on, the test ELBO gains less than a fifth of what it gained up to there."""
    shares = evidence.points("dmaapx")
    if 70 not in shares or not shares[0] < 70 < shares[-1]:
        return "needs 70 %, less and more in teacher_fractions"
    before = elbo("dmaapx", 70) - elbo("dmaapx", shares[0])
    return needs(SAME * before - (elbo("dmaapx", shares[-1]) - elbo("dmaapx", 70)), premise=[before])


# --- prior work (Sec. 5.2, Appendix B.6) ------------------------------------------------------------------------------


def adds_nothing_to_dmaapx(suffix: str) -> Rule:
    """On top of DMaaPx a method adds less than a fifth of what DMaaPx adds to normal training."""
    return lambda evidence: needs(
        SAME * gain() - (elbo(f"dmaapx_{suffix}") - elbo("dmaapx")), premise=[elbo("dmaapx") - elbo("normal")]
    )


K = "5.4, Fig. 4 right"
ENTRIES = [Entry(*line) for line in (
    ("k-10", "About 10 N synthetic images generalize like 1,000 N", K, "test ELBO", "limited_k", ten_suffice),
    ("k-1", "With k = 1, DMaaPx matches normal training", K, "test ELBO", "limited_k", one_is_nothing),
    ("rha-helps", "RHA improves normal training", "5.2, Fig. 5", "test ELBO", "rha",
     lambda _: needs(elbo("normal_rha") - elbo("normal"))),
    ("rha-less", "Normal training with RHA is still worse than DMaaPx", "5.2, Fig. 5", "test ELBO", "rha",
     lambda _: needs(elbo("dmaapx") - elbo("normal_rha"))),
    ("rha-dmaapx", "RHA on top of DMaaPx does not lead to improvements", "5.2, Fig. 5", "test ELBO", "rha",
     adds_nothing_to_dmaapx("rha")),
    ("mollify", "Mollification performs like normal training and does not improve on it", "B.6, Fig. 14", "test ELBO",
     "mollify", lambda _: needs(*same(elbo("normal_mollify"), elbo("normal"), gain()), premise=[gain()])),
    ("mol-dmaapx", "Mollification on top of DMaaPx does not bring improvements", "B.6, Fig. 14", "test ELBO", "mollify",
     adds_nothing_to_dmaapx("mollify")),
    ("mol-gap", "DMaaPx and mollification have similarly small gaps", "B.6", "G_g", "mollify", lambda _: needs(
        SAME * gap("normal") - (gap("normal_mollify") - gap("dmaapx")), premise=[gap("normal")])),
    ("mix-elbo", "The test ELBO rises steadily from all real to all synthetic images", "B.7, Fig. 15", "test ELBO",
     "mixing", less_real_is_better(elbo, 1)),
    ("mix-gap", "The gap shrinks steadily from all real to all synthetic images", "B.7, Fig. 15", "G_g", "mixing",
     less_real_is_better(gap, -1)),
    ("mix-aug", "Adding augmentation improves the test ELBO", "B.7, Fig. 15", "test ELBO", "mixing",
     augmentation_helps(elbo, 1)),
    ("mix-aug-gap", "Adding augmentation improves the gap", "B.7, Fig. 15", "G_g", "mixing", augmentation_helps(gap, -1)),
    ("mix-best", "DMaaPx alone has the highest test ELBO and the smallest gap of all mixtures", "B.7, Fig. 15",
     "ELBO, G_g", "mixing", pure_dmaapx_is_best),
    ("teach-30", "A teacher of 30 % of the data gives normal training's test ELBO", "B.8, Fig. 16", "test ELBO",
     "teacher_fractions", thirty_is_normal),
    ("teach-gap", "A teacher of 30 % gives a significantly smaller gap", "B.8, Fig. 16", "G_g", "teacher_fractions",
     thirty_has_a_smaller_gap),
    ("teach-more", "Teachers of more data improve on normal training", "B.8, Fig. 16", "test ELBO", "teacher_fractions",
     more_teaching_beats_normal),
    ("teach-70", "From 70 % on, returns diminish", "B.8, Fig. 16", "test ELBO", "teacher_fractions",
     diminishing_from_seventy),
)]  # fmt: skip

# --- the number of parameters (Secs. 5.5-5.7), on a grid of (nc, mz) ----------------------------------------------------


def more_latents(quantity: str, sign: int) -> Rule:
    """With the larger mz of Fig. 6 a quantity is better."""

    def rule(evidence: Evidence) -> Case | str:
        mzs = sorted({term[1] for term in evidence.values})
        if len(mzs) != 2:
            return "needs two values of mz"
        few, many = (value(f"mz{mz:.0f}", mz, quantity) for mz in mzs)
        return needs(sign * (many - few))

    return rule


class Sizes:
    """The grid of (nc, mz) that normal training was run on; ``base`` is the nc with the most values of mz."""

    def __init__(self, evidence: Evidence):
        self.evidence, self.points = evidence, evidence.points("normal")
        widths = [nc for nc, _ in self.points]
        self.base = max(widths, key=lambda nc: (widths.count(nc), nc)) if widths else 0
        self.mzs = [mz for nc, mz in self.points if nc == self.base]

    def ncs(self, mz: int) -> list[int]:
        """Return the values of nc at an mz."""
        return [nc for nc, other in self.points if other == mz]

    def swept(self) -> list[int]:
        """Return the values of mz with three values of nc or more."""
        return [mz for mz in sorted({mz for _, mz in self.points}) if len(self.ncs(mz)) > 2]


def more_latents_until_16(grid: Sizes) -> Case | str:
    """At the base nc the test ELBO rises with mz up to 16, and no step is a fall."""
    mzs = [mz for mz in grid.mzs if mz <= 16]
    if 16 not in mzs or len(mzs) < 3:
        return "needs mz = 16 and two smaller ones in mz_grid"
    values = [elbo("normal", (grid.base, mz)) for mz in mzs]
    return needs(values[-1] - values[0], never=steps(values))


def flat_after_16(grid: Sizes) -> Case | str:
    """Beyond mz = 16 the test ELBO stays within a fifth of what it gained up to there."""
    beyond = [mz for mz in grid.mzs if mz > 16]
    if 16 not in grid.mzs or not beyond or grid.mzs[0] == 16:
        return "needs mz = 16, a smaller and a larger one in mz_grid"
    at = elbo("normal", (grid.base, 16))
    rise = at - elbo("normal", (grid.base, grid.mzs[0]))
    return needs(*itertools.chain(*(same(elbo("normal", (grid.base, mz)), at, rise) for mz in beyond)), premise=[rise])


def benefit_diminishes(grid: Sizes) -> Case | str:
    """What DMaaPx adds to the test ELBO is less at the largest mz than at the smallest."""
    if len(grid.mzs) < 2:
        return "needs two values in mz_grid"
    return needs(gain((grid.base, grid.mzs[0])) - gain((grid.base, grid.mzs[-1])))


def similar_from_16(grid: Sizes) -> Case | str:
    """From mz = 16 on, DMaaPx and normal training differ by less than a fifth of the difference at the smallest mz."""
    far = [(grid.base, mz) for mz in grid.mzs if mz >= 16]
    if not far or grid.mzs[0] >= 16:
        return "needs an mz below 16 and one from there on in mz_grid"
    first = gain((grid.base, grid.mzs[0]))
    pairs = (same(elbo("dmaapx", point), elbo("normal", point), first) for point in far)
    return needs(*itertools.chain(*pairs), premise=[first])


def gap_always_smaller(grid: Sizes) -> Case | str:
    """At the base nc DMaaPx has the smaller gap at every mz."""
    if not grid.mzs:
        return "needs a value in mz_grid"
    return needs(*(gap("normal", (grid.base, mz)) - gap("dmaapx", (grid.base, mz)) for mz in grid.mzs))


def turns(mz: int, ncs: list[int]) -> list[list[Quantity]]:
    """Return, for every nc between the first and the last, what says that the test ELBO has risen to it and then falls."""
    first, last = elbo("normal", (ncs[0], mz)), elbo("normal", (ncs[-1], mz))
    return [[elbo("normal", (nc, mz)) - end for end in (first, last)] for nc in ncs[1:-1]]


def u_shape(mz: int) -> Callable[[Sizes], Case | str]:
    """At this mz the test ELBO of normal training rises with nc, turns somewhere, and falls."""

    def rule(grid: Sizes) -> Case | str:
        ncs = grid.ncs(mz)
        return Case(turns(mz, ncs)) if len(ncs) > 2 else f"needs mz = {mz} in nc_mz, with three values of nc"

    return rule


def no_decline(grid: Sizes) -> Case | str:
    """At mz = 8 and more, no nc beats the largest by more than a fifth of the decline at mz = 1."""
    large = [mz for mz in grid.swept() if mz >= 8]
    ncs = grid.ncs(1)
    if not large or len(ncs) < 3:
        return "needs mz = 1 and one of 8 or more in nc_mz, with three values of nc"
    top = max(ncs[1:-1], key=lambda nc: grid.evidence.mean("normal", (nc, 1), "elbo_test"))
    decline = elbo("normal", (top, 1)) - elbo("normal", (ncs[-1], 1))
    quantities = []
    for mz in large:
        last = elbo("normal", (grid.ncs(mz)[-1], mz))
        quantities += [SAME * decline - (elbo("normal", (nc, mz)) - last) for nc in grid.ncs(mz)[:-1]]
    return needs(*quantities, premise=[decline])


def keeps_improving(grid: Sizes) -> Case | str:
    """At the largest mz the test ELBO rises with nc, and no step is a fall."""
    if not grid.swept() or grid.swept()[-1] < 8:
        return "needs an mz of 8 or more in nc_mz, with three values of nc"
    mz = grid.swept()[-1]
    values = [elbo("normal", (nc, mz)) for nc in grid.ncs(mz)]
    return needs(values[-1] - values[0], never=steps(values))


def both_beat_one(grid: Sizes) -> Case | str:
    """The largest nc and mz together have a higher test ELBO than either alone beside the base network's other one."""
    if len(grid.swept()) < 2:
        return "needs two values in nc_mz, with three values of nc"
    small, large = grid.swept()[0], grid.swept()[-1]
    nc = grid.ncs(large)[-1]
    if nc <= grid.base or (grid.base, large) not in grid.points:
        return "needs an nc above the base network's in nc_grid"
    return needs(*(elbo("normal", (nc, large)) - elbo("normal", one) for one in ((nc, small), (grid.base, large))))


def gap_grows_with_nc(grid: Sizes) -> Case | str:
    """At every mz, normal training's gap is larger at the largest nc than at the smallest."""
    ends = [((grid.ncs(mz)[-1], mz), (grid.ncs(mz)[0], mz)) for mz in grid.swept()]
    return needs(*(gap("normal", b) - gap("normal", a) for b, a in ends)) if ends else "needs three values in nc_grid"


def gap_shrinks_with_mz(grid: Sizes) -> Case | str:
    """At the largest nc, normal training's gap falls with every step of mz."""
    points = [(grid.ncs(mz)[-1], mz) for mz in grid.swept()]
    if len(points) < 2:
        return "needs two values in nc_mz, with three values of nc"
    return needs(*(gap("normal", a) - gap("normal", b) for a, b in itertools.pairwise(points)))


def never_hurts(grid: Sizes) -> Case | str:
    """At every size DMaaPx's test ELBO is at most a fifth of its benefit at the base network below normal training's."""
    if not grid.mzs:
        return "needs a value in mz_grid"
    benefit = gain((grid.base, grid.mzs[0]))
    return needs(*(gain(point) + SAME * benefit for point in grid.points), premise=[benefit])


def gap_near_zero(grid: Sizes) -> Case | str:
    """At every size DMaaPx's gap is within a twentieth of normal training's at the largest nc and smallest mz."""
    if not grid.swept():
        return "needs three values in nc_grid"
    mz = grid.swept()[0]
    largest = gap("normal", (grid.ncs(mz)[-1], mz))
    near, found = NEAR_ZERO * largest, [gap("dmaapx", point) for point in grid.points]
    return needs(*(half for one in found for half in two_sided(near - one, near + one)), premise=[largest])


def double_descent(grid: Sizes) -> Case | str:
    """Along the path of Fig. 8 the negative test ELBO falls, rises up to the base network, and falls with mz."""
    ncs = [nc for nc in grid.ncs(1) if nc <= grid.base]
    if len(ncs) < 3 or ncs[-1] != grid.base or len(grid.mzs) < 2:
        return "needs mz = 1 with two values of nc below the base network's, and a larger mz at it"
    descent = elbo("normal", (grid.base, grid.mzs[-1])) - elbo("normal", (grid.base, 1))
    return Case([[*turn, descent] for turn in turns(1, ncs)])


MORE, LATENTS, WIDTHS, PATH = "5.5, Fig. 6", "5.5, Fig. 7a", "5.6, Fig. 7c", "5.7, Fig. 8"
SIZE_ENTRIES = [Entry(*line) for line in (
    ("mz-elbo", "More latents (mz = 10) have a higher test ELBO than mz = 1", MORE, "test ELBO", "latents",
     more_latents("elbo_test", 1)),
    ("mz-gap-g", "More latents have a smaller generalization gap", MORE, "G_g", "latents",
     more_latents("generalization_gap", -1)),
    ("mz-gap-a", "More latents have a smaller amortization gap", MORE, "G_a", "latents",
     more_latents("amortization_gap", -1)),
    ("mz-gap-r", "More latents have a smaller robustness gap", MORE, "G_r", "latents",
     more_latents("robustness_gap", -1)),
)]  # fmt: skip
SIZE_ENTRIES += [Entry(*line, lambda evidence, rule=rule: rule(Sizes(evidence))) for *line, rule in (
    ("mz-16", "The test ELBO of normal training rises with mz until 16", LATENTS, "test ELBO", "sizes",
     more_latents_until_16),
    ("mz-flat", "After mz = 16 the test ELBO stays around the same level", LATENTS, "test ELBO", "sizes", flat_after_16),
    ("mz-benefit", "The benefit of DMaaPx diminishes as mz increases", LATENTS, "test ELBO", "sizes", benefit_diminishes),
    ("mz-similar", "From mz = 16 on, normal training and DMaaPx have similar test ELBOs", LATENTS, "test ELBO", "sizes",
     similar_from_16),
    ("mz-gap", "DMaaPx always has a smaller gap than normal training, even after mz = 16", "5.5, Fig. 7b", "G_g", "sizes",
     gap_always_smaller),
    ("nc-u-1", "At mz = 1 the test ELBO of normal training is U-shaped in nc", WIDTHS, "test ELBO", "sizes", u_shape(1)),
    ("nc-u-2", "At mz = 2 the test ELBO of normal training is U-shaped in nc", WIDTHS, "test ELBO", "sizes", u_shape(2)),
    ("nc-no-u", "At mz = 8 and 64 the decline at large nc is gone", WIDTHS, "test ELBO", "sizes", no_decline),
    ("nc-64", "At mz = 64 the test ELBO improves as nc keeps increasing", WIDTHS, "test ELBO", "sizes", keeps_improving),
    ("nc-both", "Increasing both nc and mz generalizes better than increasing one", WIDTHS, "test ELBO", "sizes",
     both_beat_one),
    ("nc-gap", "Normal training's gap becomes larger with nc", "5.6, Fig. 7d", "G_g", "sizes", gap_grows_with_nc),
    ("nc-gap-mz", "Increasing mz reduces normal training's gap", "5.6, Fig. 7d", "G_g", "sizes", gap_shrinks_with_mz),
    ("nc-hurt", "DMaaPx on top of adding parameters does not hurt the test ELBO", WIDTHS, "test ELBO", "sizes",
     never_hurts),
    ("nc-zero", "DMaaPx constantly has near-zero gaps", "5.6, Fig. 7d", "G_g", "sizes", gap_near_zero),
    ("descent", "Along nc, then mz, the negative test ELBO goes down, up and down again", PATH, "test ELBO", "sizes",
     double_descent),
)]  # fmt: skip
# Two parts: whoever ran sizes alone is not told of all that was not run on the data, nor the other way round.
PART, SIZE_PART = Part(ENTRIES, ours, paper), Part(SIZE_ENTRIES, ours, paper)
