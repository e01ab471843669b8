"""The paper's numbers of the downstream tasks (Table 11, Fig. 4 left: CIFAR-10, three seeds), and Table 11 with ours beside.

A *proxy* (features of a small classifier of our own) never stands in a row of the paper's FID and IS.
"""

from functools import cache

import pandas as pd

from ...report.reference import REFERENCE
from ...runs.tables import SETTING
from ...tasks import CLASSIFIERS
from ...training.distributions import METHODS

# Table 11's rows, and ours that it has not.
TASKS = (
    *(f"accuracy_{name}" for name in CLASSIFIERS),
    "psnr_sample",
    "psnr_mean",
    "fid",
    "proxy_fid",
    "inception_score",
    "proxy_is",
)


@cache
def paper_table_11() -> pd.DataFrame:
    """Return Table 11 as printed: quantity, method, paper, paper_sd (standard deviation over 3 seeds)."""
    return pd.read_csv(REFERENCE / "table_11.csv")


@cache
def paper_changes() -> pd.DataFrame:
    """Return the means of Fig. 4 (left): classifier, method, change in accuracy over normal training."""
    return pd.read_csv(REFERENCE / "fig4_left.csv")


def table_11(downstream: pd.DataFrame) -> pd.DataFrame:
    """Return Table 11 with our values beside the paper's, which are CIFAR-10's; a side that has no number is NaN.

    Columns: dataset, likelihood, quantity, method, paper, paper_sd, ours (mean over seeds), ours_sd (standard deviation
    over seeds, as the paper has it; NaN for one seed), seeds, n_train, samples (images that proxies and FID compare, of each
    kind). Only settings that were run have rows.
    """
    keys = [*SETTING, "quantity", "method"]
    runs = downstream[downstream["quantity"].isin(TASKS)]
    ours = runs.groupby(keys, as_index=False).agg(
        ours=("value", "mean"),
        ours_sd=("value", "std"),
        seeds=("seed", "nunique"),
        n_train=("n_train", "max"),
        samples=("samples", "max"),
    )
    settings = ours[SETTING].drop_duplicates()
    paper = settings.merge(paper_table_11(), how="cross")
    table = paper.merge(ours, on=keys, how="outer")
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    table[["n_train", "samples"]] = table[["n_train", "samples"]].astype("Int64")
    rank = {name: place for place, name in enumerate((*TASKS, *METHODS))}
    order = {"key": lambda column: column.map(rank) if column.name in ("quantity", "method") else column}
    return table.sort_values(keys, **order).reset_index(drop=True)
