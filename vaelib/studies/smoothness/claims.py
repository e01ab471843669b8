"""The claims about Fig. 3 (Sec. 5.3): "the density is higher" and "the latent space appears to be smoother" for DMaaPx.

The paper shows one pair of images. Here a hundred pairs vote, and what is judged is the median over pairs of the paired
difference, each seed's. One seed decides nothing: another changes these medians by more than a hundred pairs do.
"Smoother" is judged twice: on the paper's own curve, jagged by one noisy reconstruction of each z, and on the curve of
the decoder's means, which is the line's own.
"""

import math

import numpy as np
import pandas as pd
from scipy.special import bdtr  # scipy.stats would take a second to import

from ...report.entries import Entry, Part, Tables
from ...report.reference import of_setting
from ...report.rules import Case, Evidence, Rule, interval95, needs, value
from ...training.distributions import PAIR

FIG_3 = "5.3, Fig. 3"
# What DMaaPx should do to each statistic (Sec. 5.3).
CLAIMED = {"level": 1, "variation": -1, "jitter": -1, "quiet_variation": -1, "roughness": -1}


def median_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Return the 95 % interval of the median by order statistics, for any distribution; None for fewer than 6 values.

    It excludes 0 exactly where the two-sided sign test does.
    """
    below = bdtr(np.arange(len(values) + 1), len(values), 0.5)  # P[at most k of n values below the median]
    rank = int((below < 0.025).sum())  # the number of values that may lie outside on either side, plus 1
    ordered = np.sort(values)
    return (float(ordered[rank - 1]), float(ordered[-rank])) if rank else None


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Return DMaaPx minus normal training for each statistic, paired by pair of images and by seed.

    A log density has no floor, so a single pair can decide a mean over pairs: medians are judged, means told.

    Columns: quantity, normal, dmaapx and difference (medians over pairs), over_pairs (95 % interval of the median over
    other pairs, for these trained networks), better_on (share of the pairs), mean and mean_se (of the difference, over
    pairs) and over_seeds (95 % interval over other trainings; None for one seed).
    """
    rows = []
    for name, sign in CLAIMED.items():
        wide = table.pivot(index=["first", "second"], columns=["method", "seed"], values=name)
        paired = wide["dmaapx"] - wide["normal"]
        by_pair = paired.mean(axis=1)  # over seeds
        over_pairs = median_interval(by_pair.to_numpy())
        over_seeds = interval95(paired.median().to_numpy()) if paired.shape[1] > 1 else None
        row = {"quantity": name} | {method: wide[method].mean(axis=1).median() for method in PAIR}
        row |= {"difference": by_pair.median(), "over_pairs": over_pairs, "better_on": (sign * by_pair > 0).mean()}
        rows.append(row | {"mean": by_pair.mean(), "mean_se": by_pair.sem(), "over_seeds": over_seeds})
    return pd.DataFrame(rows)


def _claimed(quantity: str) -> Rule:
    """DMaaPx's median difference to normal training has the claimed sign."""

    def rule(evidence: Evidence) -> Case | str:
        return needs(CLAIMED[quantity] * value(quantity))

    return rule


def ours(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return each statistic's median difference, DMaaPx minus normal training: ``(quantity,)`` over seeds."""
    found = []
    for seed, rows in of_setting(tables[table], dataset, likelihood).groupby("seed"):
        if not set(PAIR) <= set(rows["method"]):
            continue  # a night that is not over yet (``only_finished``)
        for row in differences(rows).itertuples():
            found.append(((row.quantity,), int(seed), row.difference, math.nan))
    return Evidence.of(found)


ENTRIES = [
    Entry("density", "log q along the interpolation is higher for DMaaPx", FIG_3, "log q (nats)", "smoothness_paths",
          _claimed("level")),
    Entry("smooth", "The latent space appears to be smoother for DMaaPx", FIG_3, "total variation of log q (nats)",
          "smoothness_paths", _claimed("variation")),
    Entry("smooth-line", "The latent space is smoother for DMaaPx without its decoder's pixel noise, too", FIG_3,
          "total variation of log q (nats)", "smoothness_paths", _claimed("quiet_variation")),
]  # fmt: skip
PART = Part(ENTRIES, ours)
