"""What we expected of per-image memorisation, written before any number of it; none of it is the paper's.

Normal training sees each image 300 times and overfits by thousands of nats, so leaving an image out should cost it hundreds
of nats of log p(x). DMaaPx's VAE sees no image of D_train at all: whatever M it has must have come through the teacher,
which a small network with early EMA weights should let through only in small part, but not nothing. Which images are hard to
do without (rare shapes) is a matter of the images, so both methods should order them alike. And a part of what importance
sampling from the encoder's posterior takes for memory is the encoder's own overfitting: with the best posterior in its place
M should be smaller.
"""

import math

import pandas as pd

from ...report.entries import OWN, Entry, Part, Tables
from ...report.reference import of_setting
from ...report.rules import Case, Evidence, needs, value
from ...training.distributions import PAIR
from .tables import rank_correlation

SMALL = 0.1  # of normal training's mean M
BOTH = ("both", "rank_correlation")


def measured(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return the means over images by seed: ``(method, quantity)``; ``(both, rank_correlation)`` of M under two methods."""
    rows = of_setting(tables["image_memorisation"], dataset, likelihood)
    found, scores = [], {}
    for (method, seed), own in rows.groupby(["method", "seed"]):
        scores[method, seed] = own.set_index("image")["memorisation"]
        for name in ("memorisation", "memorisation_by_encoder"):
            found.append(((method, name), seed, float(own[name].mean()), float(own[name].sem())))
    for method, seed in scores:
        if method == "normal" and ("dmaapx", seed) in scores:
            pair = pd.DataFrame({one: scores[one, seed] for one in PAIR})
            rho = rank_correlation(pair)
            found.append((BOTH, seed, rho, (1 - rho**2) / math.sqrt(max(len(pair) - 1, 1))))
    return Evidence.of(found)


def _of(method: str, name: str = "memorisation"):
    return value(method, name)


def remembers(evidence: Evidence) -> Case:
    """Normal training: the mean M is positive."""
    return needs(_of("normal"))


def less(evidence: Evidence) -> Case:
    """The mean M of DMaaPx is below a tenth of normal training's."""
    return needs(SMALL * _of("normal") - _of("dmaapx"))


def leaks(evidence: Evidence) -> Case:
    """The mean M of DMaaPx is positive: something of single images comes through the teacher."""
    return needs(_of("dmaapx"))


def alike(evidence: Evidence) -> Case:
    """The rank correlation of M under both methods is positive."""
    return needs(value(*BOTH))


def by_encoder(evidence: Evidence) -> Case:
    """Normal training: M from the encoder's posterior is larger than M from the best one."""
    return needs(_of("normal", "memorisation_by_encoder") - _of("normal"))


ENTRIES = [Entry(*line, ()) for line in (
    ("memory-normal", "Normal training memorises its training images", OWN, "mean M", "memorisation_folds", remembers),
    ("memory-less", "DMaaPx memorises less than a tenth of what normal training memorises", OWN, "mean M",
     "memorisation_folds", less),
    ("memory-leak", "Something of single training images comes through the teacher into DMaaPx's VAE", OWN, "mean M",
     "memorisation_folds", leaks),
    ("memory-alike", "Images that normal training memorises more are those that DMaaPx memorises more", OWN,
     "rank correlation of M", "memorisation_folds", alike),
    ("memory-encoder", "A part of what looks like memory of normal training is its encoder's own overfitting", OWN,
     "mean M", "memorisation_folds", by_encoder),
)]  # fmt: skip
PART = Part(ENTRIES, measured)
