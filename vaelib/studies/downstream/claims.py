"""The claims about downstream tasks (Sec. 5.2 on Fig. 4 left, Appendices F and G) with the rules that judge them.

The paper makes them for CIFAR-10, three seeds; its own numbers are Table 11's means (standard deviations as printed) and
the means of Fig. 4 (left). Where it has FID and IS, our runs have the proxies (:mod:`vaelib.tasks`): they stand for the
order of the methods under a classifier of our own, never for the paper's scale. The rules were written before any number
of ours.
"""

import math
from functools import cache

from ...report.entries import Entry, Part, Tables
from ...report.reference import of_setting
from ...report.rules import (
    AUGMENTATIONS,
    OTHERS,
    PAPER_SEEDS,
    Case,
    Evidence,
    Noise,
    Rule,
    larger,
    needs,
    same,
    smaller,
    value,
)
from ...tasks import CLASSIFIERS
from .paper import paper_changes, paper_table_11

LINEAR, NONLINEAR = ("LR", "SVM-L"), ("SVM-RBF", "kNN")
FID, IS = "FID (ours: proxy)", "IS (ours: proxy)"


def _ours(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return our evidence: ``(method, quantity)`` over seeds."""
    rows = of_setting(tables["downstream"], dataset, likelihood).itertuples()
    return Evidence.of(((row.method, row.quantity), row.seed, row.value, row.se) for row in rows)


@cache
def _paper(table: str, dataset: str, likelihood: str) -> Evidence:
    """Return Table 11, and Fig. 4's means as ``corrupted_<classifier>`` relative to normal training (0)."""
    printed = [
        ((row.method, row.quantity), -1, row.paper, row.paper_sd / PAPER_SEEDS**0.5)
        for row in paper_table_11().itertuples()
    ]
    for row in paper_changes().itertuples():
        name = f"corrupted_{row.classifier}"
        printed += [((row.method, name), -1, row.change, math.nan), (("normal", name), -1, 0.0, math.nan)]
    # Student's quantile with the fewest degrees of freedom that a difference of two such means may have.
    return Evidence.of(printed, exact=True, noise=Noise({}, PAPER_SEEDS - 1))


def _named(evidence: Evidence) -> tuple[str, str]:
    """Return what FID and IS are called in the evidence: the published scores where they were measured, or our proxies."""
    return ("fid", "inception_score") if ("normal", "fid") in evidence.values else ("proxy_fid", "proxy_is")


def best_on_average(classifiers: tuple[str, ...], *others: str) -> Rule:
    """Averaged over the corruptions, DMaaPx has the best accuracy with each of the classifiers.

    Appendix G speaks of each corruption. With three seeds none can be told from chance alone (corrected for 114
    comparisons, Student's interval at two degrees of freedom is +- 27 standard deviations), so the average is judged and
    the notebook counts the corruptions.
    """
    return lambda _: needs(*(c for name in classifiers for c in larger(f"corrupted_{name}", "dmaapx", *others)))


def augmentation_hurts(prefix: str) -> Rule:
    """With either augmentation every classifier has a lower accuracy than with normal training."""
    return lambda _: needs(
        *(c for name in CLASSIFIERS for m in AUGMENTATIONS for c in larger(f"{prefix}_{name}", "normal", m))
    )


def augmentation_samples_worse(evidence: Evidence) -> Case:
    """With either augmentation samples have a larger FID and a smaller IS than with normal training."""
    fid, score = _named(evidence)
    worse = [[*smaller(fid, "normal", m), *larger(score, "normal", m)] for m in AUGMENTATIONS]
    return needs(*(c for some in worse for c in some))


def augmentation_reconstructs_alike(_: Evidence) -> Case:
    """An augmentation moves the PSNR by less than a fifth of what DMaaPx adds to normal training's."""
    normal, dmaapx, *augmented = (value(m, "psnr_sample") for m in ("normal", "dmaapx", *AUGMENTATIONS))
    pairs = (same(one, normal, dmaapx - normal) for one in augmented)
    return needs(*(c for pair in pairs for c in pair), premise=[dmaapx - normal])


def samples_alike(evidence: Evidence) -> Case:
    """DMaaPx differs from normal training by less than a fifth of what augmentation does on average, in FID and in IS."""
    close, premise = [], []
    for name, sign in zip(_named(evidence), (1, -1), strict=True):
        normal, dmaapx, *augmented = (value(m, name) for m in ("normal", "dmaapx", *AUGMENTATIONS))
        harm = sign * (0.5 * (augmented[0] + augmented[1]) - normal)
        close += same(dmaapx, normal, harm)
        premise.append(harm)
    return needs(*close, premise=premise)


def _representation(classifier: str) -> tuple:
    sentence = f"DMaaPx's representations are classified best by {classifier}"
    rule = needs(*larger(f"accuracy_{classifier}", "dmaapx", *OTHERS))
    return f"rl-{classifier}", sentence, "F, Table 11", "accuracy", "downstream", lambda _: rule


IN_USE = "5.2, Fig. 4 left"
ENTRIES = [Entry(*line) for line in (
    ("c-normal", "On corrupted images every classifier does better after DMaaPx than after normal training, on average",
     IN_USE, "accuracy", "downstream", best_on_average(CLASSIFIERS, "normal")),
    ("c-aug", "On corrupted images augmentation hurts the classifiers, on average", IN_USE, "accuracy", "downstream",
     augmentation_hurts("corrupted")),
    ("c-linear", "DMaaPx has the best mean on all corruptions for the linear classifiers", "G, Fig. 19", "accuracy",
     "downstream", best_on_average(LINEAR, *OTHERS)),
    ("c-other", "DMaaPx has the best mean on almost all corruptions for the non-linear classifiers", "G, Fig. 19",
     "accuracy", "downstream", best_on_average(NONLINEAR, *OTHERS)),
    *map(_representation, CLASSIFIERS),
    ("psnr", "DMaaPx reconstructs best", "F, Table 11", "PSNR (dB)", "downstream",
     lambda _: needs(*larger("psnr_sample", "dmaapx", *OTHERS))),
    ("fid", "DMaaPx has the best samples by FID", "F, Table 11", FID, "downstream",
     lambda evidence: needs(*smaller(_named(evidence)[0], "dmaapx", *OTHERS))),
    ("is", "Normal training has the best samples by IS", "F, Table 11", IS, "downstream",
     lambda evidence: needs(*larger(_named(evidence)[1], "normal", "dmaapx", *AUGMENTATIONS))),
    ("samples", "DMaaPx's samples are as good as normal training's", "F, Table 11", "FID, IS (ours: proxies)", "downstream",
     samples_alike),
    ("aug-rl", "Augmentation is slightly worse than normal training in representation learning", "F, Table 11",
     "accuracy", "downstream", augmentation_hurts("accuracy")),
    ("aug-sq", "Augmentation is slightly worse than normal training in sample generation", "F, Table 11",
     "FID, IS (ours: proxies)", "downstream", augmentation_samples_worse),
    ("aug-rc", "Augmentation reconstructs like normal training", "F, Table 11", "PSNR (dB)", "downstream",
     augmentation_reconstructs_alike),
)]  # fmt: skip
PART = Part(ENTRIES, _ours, _paper)
