"""The claims about the teachers' samples (Appendix D.3, Fig. 18) with the rules that judge them.

The paper makes them for CIFAR-10, from five seeds; its own numbers are means, read by eye. The rules were written before
any number of ours.
"""

import math
from functools import cache

import pandas as pd

from ...report.entries import Entry, Part, Tables
from ...report.reference import REFERENCE, of_setting
from ...report.rules import Case, Evidence, Quantity, needs, steps, value


def _ours(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return our evidence: ``(series, share, "above_half")`` over seeds, the accuracy minus one half."""
    rows = of_setting(tables["c2st"], dataset, likelihood).query("series == 'teacher'").itertuples()
    return Evidence.of((("teacher", row.x, "above_half"), row.seed, row.accuracy - 0.5, math.nan) for row in rows)


@cache
def _paper(table: str, dataset: str, likelihood: str) -> Evidence:
    """Return Fig. 18."""
    found = paper_c2st().itertuples()
    return Evidence({("teacher", row.share, "above_half"): {-1: row.accuracy - 0.5} for row in found}, exact=True)


def _above(share: float) -> Quantity:
    return value("teacher", share, "above_half")


def all_above_half(evidence: Evidence) -> Case | str:
    """Every teacher's samples are distinguished from real images more often than by chance."""
    shares = evidence.points("teacher")
    return needs(*map(_above, shares)) if shares else "needs a teacher"


def falls_with_data(evidence: Evidence) -> Case | str:
    """The accuracy falls from the smallest share to the largest, and with no step clearly rises."""
    shares = evidence.points("teacher")
    if len(shares) < 2:
        return "needs two shares or more in teacher_fractions"
    values = [_above(share) for share in reversed(shares)]
    return needs(values[-1] - values[0], never=steps(values))


def all_data_is_best(evidence: Evidence) -> Case | str:
    """The teacher of all of D_train has the lowest accuracy."""
    shares = evidence.points("teacher")
    if 100 not in shares or len(shares) < 2:
        return "needs 100 % and another share in teacher_fractions"
    return needs(*(_above(share) - _above(100) for share in shares if share != 100))


ENTRIES = [Entry(*line) for line in (
    ("c2st-above", "All teachers' samples can be distinguished from real images with an accuracy above 50 %", "D.3, Fig. 18",
     "accuracy", "c2st", all_above_half),
    ("c2st-trend", "The more data a teacher saw, the harder its samples are to tell from real images", "D.3, Fig. 18",
     "accuracy", "c2st", falls_with_data),
    ("c2st-all", "Samples of the teacher of all data can be distinguished least", "D.3, Fig. 18", "accuracy", "c2st",
     all_data_is_best),
)]  # fmt: skip
PART = Part(ENTRIES, _ours, _paper)


@cache
def paper_c2st() -> pd.DataFrame:
    """Return Fig. 18 (CIFAR-10, means over 5 seeds, read by eye): share (percent of D_train), accuracy."""
    return pd.read_csv(REFERENCE / "fig18_c2st.csv")
