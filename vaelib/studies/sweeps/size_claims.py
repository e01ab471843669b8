"""The claims about the number of parameters (Secs. 5.5-5.7) with the rules that judge them, on a grid of (nc, mz)."""

import itertools

from ...report.entries import Entry, Part
from ...report.rules import SAME, Case, Evidence, Quantity, Rule, needs, same, steps, value
from .claims import elbo, gain, gap, ours, paper

NEAR_ZERO = 0.05  # of the largest gap of normal training: what Fig. 7d shows as a flat line


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
        self.points = evidence.points("normal")
        widths = [nc for nc, _ in self.points]
        self.base = max(widths, key=lambda nc: (widths.count(nc), nc)) if widths else 0
        self.mzs = [mz for nc, mz in self.points if nc == self.base]

    def ncs(self, mz: int) -> list[int]:
        """Return the values of nc at an mz."""
        return [nc for nc, other in self.points if other == mz]

    def swept(self) -> list[int]:
        """Return the values of mz with three values of nc or more."""
        return [mz for mz in sorted({mz for _, mz in self.points}) if len(self.ncs(mz)) > 2]


def more_latents_until_16(evidence: Evidence) -> Case | str:
    """At the base nc the test ELBO rises with mz up to 16, and no step is a fall."""
    grid = Sizes(evidence)
    mzs = [mz for mz in grid.mzs if mz <= 16]
    if 16 not in mzs or len(mzs) < 3:
        return "needs mz = 16 and two smaller ones in mz_grid"
    values = [elbo("normal", (grid.base, mz)) for mz in mzs]
    return needs(values[-1] - values[0], never=steps(values))


def flat_after_16(evidence: Evidence) -> Case | str:
    """Beyond mz = 16 the test ELBO stays within a fifth of what it gained up to there."""
    grid = Sizes(evidence)
    beyond = [mz for mz in grid.mzs if mz > 16]
    if 16 not in grid.mzs or not beyond or grid.mzs[0] == 16:
        return "needs mz = 16, a smaller and a larger one in mz_grid"
    at = elbo("normal", (grid.base, 16))
    rise = at - elbo("normal", (grid.base, grid.mzs[0]))
    return needs(*itertools.chain(*(same(elbo("normal", (grid.base, mz)), at, rise) for mz in beyond)), premise=[rise])


def benefit_diminishes(evidence: Evidence) -> Case | str:
    """What DMaaPx adds to the test ELBO is less at the largest mz than at the smallest."""
    grid = Sizes(evidence)
    if len(grid.mzs) < 2:
        return "needs two values in mz_grid"
    return needs(gain((grid.base, grid.mzs[0])) - gain((grid.base, grid.mzs[-1])))


def similar_from_16(evidence: Evidence) -> Case | str:
    """From mz = 16 on, DMaaPx and normal training differ by less than a fifth of the difference at the smallest mz."""
    grid = Sizes(evidence)
    far = [(grid.base, mz) for mz in grid.mzs if mz >= 16]
    if not far or grid.mzs[0] >= 16:
        return "needs an mz below 16 and one from there on in mz_grid"
    first = gain((grid.base, grid.mzs[0]))
    pairs = (same(elbo("dmaapx", point), elbo("normal", point), first) for point in far)
    return needs(*itertools.chain(*pairs), premise=[first])


def gap_always_smaller(evidence: Evidence) -> Case | str:
    """At the base nc DMaaPx has the smaller gap at every mz."""
    grid = Sizes(evidence)
    if not grid.mzs:
        return "needs a value in mz_grid"
    return needs(*(gap("normal", (grid.base, mz)) - gap("dmaapx", (grid.base, mz)) for mz in grid.mzs))


def turns(mz: int, ncs: list[int]) -> list[list[Quantity]]:
    """Return, for every nc between the first and the last, what says that the test ELBO has risen to it and then falls."""
    first, last = elbo("normal", (ncs[0], mz)), elbo("normal", (ncs[-1], mz))
    return [[elbo("normal", (nc, mz)) - end for end in (first, last)] for nc in ncs[1:-1]]


def u_shape(mz: int) -> Rule:
    """At this mz the test ELBO of normal training rises with nc, turns somewhere, and falls."""

    def rule(evidence: Evidence) -> Case | str:
        ncs = Sizes(evidence).ncs(mz)
        return Case(turns(mz, ncs)) if len(ncs) > 2 else f"needs mz = {mz} in nc_mz, with three values of nc"

    return rule


def no_decline(evidence: Evidence) -> Case | str:
    """At mz = 8 and more, no nc beats the largest by more than a fifth of the decline at mz = 1."""
    grid = Sizes(evidence)
    large = [mz for mz in grid.swept() if mz >= 8]
    ncs = grid.ncs(1)
    if not large or len(ncs) < 3:
        return "needs mz = 1 and one of 8 or more in nc_mz, with three values of nc"
    top = max(ncs[1:-1], key=lambda nc: evidence.mean("normal", (nc, 1), "elbo_test"))
    decline = elbo("normal", (top, 1)) - elbo("normal", (ncs[-1], 1))
    quantities = []
    for mz in large:
        last = elbo("normal", (grid.ncs(mz)[-1], mz))
        quantities += [SAME * decline - (elbo("normal", (nc, mz)) - last) for nc in grid.ncs(mz)[:-1]]
    return needs(*quantities, premise=[decline])


def keeps_improving(evidence: Evidence) -> Case | str:
    """At the largest mz the test ELBO rises with nc, and no step is a fall."""
    grid = Sizes(evidence)
    if not grid.swept() or grid.swept()[-1] < 8:
        return "needs an mz of 8 or more in nc_mz, with three values of nc"
    mz = grid.swept()[-1]
    values = [elbo("normal", (nc, mz)) for nc in grid.ncs(mz)]
    return needs(values[-1] - values[0], never=steps(values))


def both_beat_one(evidence: Evidence) -> Case | str:
    """The largest nc and mz together have a higher test ELBO than either alone beside the base network's other one."""
    grid = Sizes(evidence)
    if len(grid.swept()) < 2:
        return "needs two values in nc_mz, with three values of nc"
    small, large = grid.swept()[0], grid.swept()[-1]
    nc = grid.ncs(large)[-1]
    if nc <= grid.base or (grid.base, large) not in grid.points:
        return "needs an nc above the base network's in nc_grid"
    return needs(*(elbo("normal", (nc, large)) - elbo("normal", one) for one in ((nc, small), (grid.base, large))))


def gap_grows_with_nc(evidence: Evidence) -> Case | str:
    """At every mz, normal training's gap is larger at the largest nc than at the smallest."""
    grid = Sizes(evidence)
    ends = [((grid.ncs(mz)[-1], mz), (grid.ncs(mz)[0], mz)) for mz in grid.swept()]
    return needs(*(gap("normal", b) - gap("normal", a) for b, a in ends)) if ends else "needs three values in nc_grid"


def gap_shrinks_with_mz(evidence: Evidence) -> Case | str:
    """At the largest nc, normal training's gap falls with every step of mz."""
    grid = Sizes(evidence)
    points = [(grid.ncs(mz)[-1], mz) for mz in grid.swept()]
    if len(points) < 2:
        return "needs two values in nc_mz, with three values of nc"
    return needs(*(gap("normal", a) - gap("normal", b) for a, b in itertools.pairwise(points)))


def never_hurts(evidence: Evidence) -> Case | str:
    """At every size DMaaPx's test ELBO is at most a fifth of its benefit at the base network below normal training's."""
    grid = Sizes(evidence)
    if not grid.mzs:
        return "needs a value in mz_grid"
    benefit = gain((grid.base, grid.mzs[0]))
    return needs(*(gain(point) + SAME * benefit for point in grid.points), premise=[benefit])


def gap_near_zero(evidence: Evidence) -> Case | str:
    """At every size DMaaPx's gap is under a twentieth of normal training's at the largest nc and smallest mz."""
    grid = Sizes(evidence)
    if not grid.swept():
        return "needs three values in nc_grid"
    mz = grid.swept()[0]
    largest = gap("normal", (grid.ncs(mz)[-1], mz))
    return needs(*(NEAR_ZERO * largest - gap("dmaapx", point) for point in grid.points), premise=[largest])


def double_descent(evidence: Evidence) -> Case | str:
    """Along the path of Fig. 8 the negative test ELBO falls, rises up to the base network, and falls with mz."""
    grid = Sizes(evidence)
    ncs = [nc for nc in grid.ncs(1) if nc <= grid.base]
    if len(ncs) < 3 or ncs[-1] != grid.base or len(grid.mzs) < 2:
        return "needs mz = 1 with two values of nc below the base network's, and a larger mz at it"
    descent = elbo("normal", (grid.base, grid.mzs[-1])) - elbo("normal", (grid.base, 1))
    return Case([[*turn, descent] for turn in turns(1, ncs)])


MORE, LATENTS, SIZES, PATH = "5.5, Fig. 6", "5.5, Fig. 7a", "5.6, Fig. 7c", "5.7, Fig. 8"
ENTRIES = [Entry(*line) for line in (
    ("mz-elbo", "More latents (mz = 10) have a higher test ELBO than mz = 1", MORE, "test ELBO", "latents",
     more_latents("elbo_test", 1)),
    ("mz-gap-g", "More latents have a smaller generalization gap", MORE, "G_g", "latents",
     more_latents("generalization_gap", -1)),
    ("mz-gap-a", "More latents have a smaller amortization gap", MORE, "G_a", "latents",
     more_latents("amortization_gap", -1)),
    ("mz-gap-r", "More latents have a smaller robustness gap", MORE, "G_r", "latents",
     more_latents("robustness_gap", -1)),
    ("mz-16", "The test ELBO of normal training rises with mz until 16", LATENTS, "test ELBO", "sizes",
     more_latents_until_16),
    ("mz-flat", "After mz = 16 the test ELBO stays around the same level", LATENTS, "test ELBO", "sizes", flat_after_16),
    ("mz-benefit", "The benefit of DMaaPx diminishes as mz increases", LATENTS, "test ELBO", "sizes", benefit_diminishes),
    ("mz-similar", "From mz = 16 on, normal training and DMaaPx have similar test ELBOs", LATENTS, "test ELBO", "sizes",
     similar_from_16),
    ("mz-gap", "DMaaPx always has a smaller gap than normal training, even after mz = 16", "5.5, Fig. 7b", "G_g", "sizes",
     gap_always_smaller),
    ("nc-u-1", "At mz = 1 the test ELBO of normal training is U-shaped in nc", SIZES, "test ELBO", "sizes", u_shape(1)),
    ("nc-u-2", "At mz = 2 the test ELBO of normal training is U-shaped in nc", SIZES, "test ELBO", "sizes", u_shape(2)),
    ("nc-no-u", "At mz = 8 and 64 the decline at large nc is gone", SIZES, "test ELBO", "sizes", no_decline),
    ("nc-64", "At mz = 64 the test ELBO improves as nc keeps increasing", SIZES, "test ELBO", "sizes", keeps_improving),
    ("nc-both", "Increasing both nc and mz generalizes better than increasing one", SIZES, "test ELBO", "sizes",
     both_beat_one),
    ("nc-gap", "Normal training's gap becomes larger with nc", "5.6, Fig. 7d", "G_g", "sizes", gap_grows_with_nc),
    ("nc-gap-mz", "Increasing mz reduces normal training's gap", "5.6, Fig. 7d", "G_g", "sizes", gap_shrinks_with_mz),
    ("nc-hurt", "DMaaPx on top of adding parameters does not hurt the test ELBO", SIZES, "test ELBO", "sizes",
     never_hurts),
    ("nc-zero", "DMaaPx constantly has near-zero gaps", "5.6, Fig. 7d", "G_g", "sizes", gap_near_zero),
    ("descent", "Along nc, then mz, the negative test ELBO goes down, up and down again", PATH, "test ELBO", "sizes",
     double_descent),
)]  # fmt: skip
PART = Part(ENTRIES, ours, paper)
