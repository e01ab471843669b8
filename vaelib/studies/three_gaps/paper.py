"""The paper's Table 7 with ours beside it, and its final numbers, in the format of our tables."""

from functools import cache

import pandas as pd

from ...report.reference import GAPS, REFERENCE, paper_curves
from ...runs.tables import SETTING
from ...training.distributions import METHODS


@cache
def paper_gaps() -> pd.DataFrame:
    """Return Table 7 as printed (and the gap labels of Fig. 12): dataset, likelihood, method, gap, paper, source."""
    return pd.read_csv(REFERENCE / "table_07.csv")


def last_values(curves: pd.DataFrame) -> pd.DataFrame:
    """Return each run's last value of each quantity: dataset, likelihood, method, seed, quantity, value."""
    keys = [*SETTING, "method", "seed", "quantity"]
    return curves.sort_values("effective_epoch").groupby(keys, as_index=False)["value"].last()


@cache
def paper_values() -> pd.DataFrame:
    """Return the paper's final numbers in the format of :func:`last_values`; gaps are those printed in Table 7."""
    gaps = paper_gaps().rename(columns={"gap": "quantity", "paper": "value"}).drop(columns="source").assign(seed=-1)
    return pd.concat([last_values(paper_curves()), gaps], ignore_index=True)


def table_07(three_gaps: pd.DataFrame) -> pd.DataFrame:
    """Return Table 7 with our values beside the paper's; a side that has no number is NaN.

    Columns: dataset, likelihood, method, gap, paper, ours (mean over seeds), ours_se (standard error over seeds, NaN
    for one seed), seeds, n_train. Generalization and amortization gaps in nats per image, robustness in MS-SSIM.
    """
    runs = three_gaps.melt([*SETTING, "method", "seed", "n_train"], list(GAPS), "gap", "value")
    keys = [*SETTING, "method", "gap"]
    ours = runs.dropna(subset="value").groupby(keys, as_index=False)
    ours = ours.agg(
        ours=("value", "mean"), ours_se=("value", "sem"), seeds=("seed", "nunique"), n_train=("n_train", "max")
    )
    table = paper_gaps().drop(columns="source").merge(ours, on=keys, how="outer")
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    table["n_train"] = table["n_train"].astype("Int64")
    rank = {name: place for place, name in enumerate((*METHODS, *GAPS))}
    table = table.sort_values(keys, key=lambda column: column.map(rank) if column.name in ("method", "gap") else column)
    return table[[*keys, "paper", "ours", "ours_se", "seeds", "n_train"]].reset_index(drop=True)
