"""Numbers, not only orders: our curves beside the paper's at the same epochs, where n is the paper's.

The paper's values are read from its curves (ELBOs are smoothed over about 50 epochs there). ``reproduced`` means that the
paper's value lies in our 95 % interval over seeds, widened by 5 % of that value on either side; else ``lower`` or ``higher``
says where ours lies. A single seed has no interval, so that only the 5 % are left.
"""

from typing import Any

import numpy as np
import pandas as pd

from ...report.canvas import LABELS
from ...report.escape import nothing, styled
from ...report.reference import of_setting, paper_curves
from ...report.rules import interval95
from ...runs.stages.data import PUBLISHED
from ...runs.tables import SETTING
from ...text import listed, number
from ...training.distributions import METHODS

TOLERANCE = 0.05
# What is judged, and what it is made of where it is no curve of its own.
GAPS = {
    "generalization_gap": ("elbo_train", "elbo_test"),
    "amortization_gap": ("elbo_star_test", "elbo_test_subset"),
    "robustness_gap": ("input_similarity", "reconstruction_similarity"),
}
QUANTITIES = (
    "elbo_train", "elbo_test", "generalization_gap", "elbo_star_test", "amortization_gap", "input_similarity",
    "reconstruction_similarity", "robustness_gap",
)  # fmt: skip


def _with_gaps(wide: pd.DataFrame) -> pd.DataFrame:
    """Return a table of curves, a column a quantity, with the gaps that can be taken of them."""
    found = {gap: wide[a] - wide[b] for gap, (a, b) in GAPS.items() if {a, b} <= set(wide.columns)}
    return wide.assign(**found)


def _paper_at(dataset: str, likelihood: str, method: str, epochs: np.ndarray) -> pd.DataFrame:
    """Return the paper's curves of one method read at some epochs, NaN where they do not reach."""
    curves = paper_curves()
    own = of_setting(curves, dataset, likelihood).query("method == @method")
    columns = {}
    for quantity, curve in own.sort_values("effective_epoch").groupby("quantity"):
        x = curve["effective_epoch"].to_numpy()
        columns[quantity] = np.interp(epochs, x, curve["value"], left=np.nan, right=np.nan)
    return _with_gaps(pd.DataFrame(columns, index=epochs))


def against_paper(curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row a setting, method, quantity and epoch that both have: ours beside the paper's, and the verdict.

    Arguments:
        curves: of runs on all of the paper's training images, in the format of ``curves.csv``; epochs at which the gaps were
            measured count.

    Returns:
        ``dataset, likelihood, method, quantity, effective_epoch, ours`` (mean over seeds), ``low, high`` (the interval),
        ``seeds, paper, ratio`` (ours over the paper's), ``verdict, n_train``. ELBOs and the first two gaps in nats per image.
    """
    rows = []
    keys = [*SETTING, "method", "effective_epoch", "seed"]
    wide = _with_gaps(curves.pivot_table(index=keys, columns="quantity", values="value").reset_index())
    measured = wide.dropna(subset=["elbo_star_test"]) if "elbo_star_test" in wide else wide
    for (dataset, likelihood, method), own in measured.groupby([*SETTING, "method"], sort=False):
        epochs = np.sort(own["effective_epoch"].unique())
        paper = _paper_at(dataset, likelihood, method, epochs)
        for quantity in (q for q in QUANTITIES if q in own and q in paper):
            for epoch, values in own.groupby("effective_epoch")[quantity]:
                theirs, known = paper.loc[epoch, quantity], values.dropna().to_numpy()
                if np.isnan(theirs) or not len(known):
                    continue
                low, high = interval95(known) if len(known) > 1 else (known[0], known[0])
                room, place = TOLERANCE * abs(theirs), dict(zip(SETTING, (dataset, likelihood), strict=True))
                verdict = "higher" if theirs < low - room else "lower" if theirs > high + room else "reproduced"
                rows.append(
                    place
                    | {"method": method, "quantity": quantity, "effective_epoch": int(epoch), "ours": known.mean()}
                    | {"low": low, "high": high, "seeds": len(known), "paper": theirs, "ratio": known.mean() / theirs}
                    | {"verdict": verdict, "n_train": PUBLISHED[dataset][0]}
                )
    keys = [*SETTING, "method", "quantity", "effective_epoch"]
    table = pd.DataFrame(rows, columns=[*keys, "ours", "low", "high", "seeds", "paper", "ratio", "verdict", "n_train"])
    rank = {name: place for place, name in enumerate((*METHODS, *QUANTITIES))}
    return table.sort_values(
        keys, key=lambda c: c.map(rank) if c.name in ("method", "quantity") else c, ignore_index=True
    )


def beside_paper(table: pd.DataFrame) -> Any:
    """Return :func:`against_paper` for a notebook: a row a quantity and epoch, ours, the paper's and the verdict a method."""
    if table.empty:
        return nothing("The paper trains on other images, or on more: magnitudes cannot be compared, orders can.")
    cell = [
        f"{number(row.ours)} ({number(row.paper)}) {row.verdict}"
        for row in table[["ours", "paper", "verdict"]].itertuples(index=False)
    ]
    shown = table.assign(
        cell=cell, method=table["method"].map(LABELS), quantity=table["quantity"].str.replace("_", " ")
    )
    wide = shown.pivot_table(
        index=["quantity", "effective_epoch"], columns="method", values="cell", aggfunc="first", sort=False
    )
    wide = wide.rename_axis(index={"effective_epoch": "epoch"}, columns=None)
    counts = listed([f"{count} {verdict}" for verdict, count in table["verdict"].value_counts().items()])
    caption = f"ours (the paper's) and the verdict: of {len(table)} numbers {counts}"
    return styled(wide).set_properties(**{"white-space": "nowrap"}).set_caption(caption)
