"""The claims about sweeps of the training data (Secs. 5.2 and 5.4, Appendices B.6-B.8) with the rules that judge them.

A rule reads the grid that was run and says what must be positive on it, or why the grid cannot tell. The rules were
written before any number of ours. The paper made these claims for CIFAR-10, from one seed.
"""

import math
from collections.abc import Callable
from functools import cache

import pandas as pd

from ...report.entries import Entry, Part, Tables
from ...report.reference import of_setting
from ...report.rules import (
    PAPER_ELBO_NOISE,
    SAME,
    Case,
    Evidence,
    Noise,
    Quantity,
    Rule,
    needs,
    noise_share,
    same,
    steps,
    value,
)
from .paper import paper_sweep

QUANTITIES = ("elbo_train", "elbo_test", "generalization_gap", "amortization_gap", "robustness_gap")


def sweep_evidence(
    rows: pd.DataFrame, dataset: str, likelihood: str, exact: bool = False, noise: Noise | None = None
) -> Evidence:
    """Return a sweep's last values: ``(series, point, quantity)`` over seeds; a point is x, or (nc, mz) in ``sizes``."""
    found = []
    for row in of_setting(rows, dataset, likelihood).to_dict("records"):
        point = None if math.isnan(row.get("x", math.nan)) else row["x"]
        if row["experiment"] == "sizes":
            point = (row["nc"], row["mz"])
        for name in QUANTITIES:
            term = (row["series"], point, name)
            number = row.get(name, math.nan)
            error = noise_share(term, PAPER_ELBO_NOISE) * abs(number) if exact else row.get(f"{name}_se", math.nan)
            found.append((term, row["seed"], number, error))
    return Evidence.of(found, exact=exact, noise=noise)


def ours(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return a sweep's evidence in our tables."""
    noise = seed_noise(tables, table, dataset, likelihood)
    return sweep_evidence(tables[table], dataset, likelihood, noise=noise)


def seed_noise(tables: Tables, table: str, dataset: str, likelihood: str) -> Noise | None:
    """Return what seeds change, from the three gaps' runs where a sweep has one of them, else None.

    Each quantity's standard deviation over seeds as a share of its mean, root mean square over the methods. A sweep over
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
    shares = (((by_method.std() / by_method.mean()) ** 2).mean() ** 0.5).dropna()
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
PART = Part(ENTRIES, ours, paper)
