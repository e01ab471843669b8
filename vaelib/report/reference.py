"""The paper's own numbers, in the format of our tables, and Table 7 with ours beside them.

A *setting* is a pair (dataset, likelihood). Elbos and the gaps G_g and G_a are in nats per image, the robustness gap
G_r is a difference of MS-SSIM. Where the numbers come from: ``reference/README.md``.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import VaelibError

REFERENCE = Path(__file__).with_name("reference")
METHODS = ("normal", "dmaapx", "aug_tuned", "aug_naive")
GAPS = ("generalization_gap", "amortization_gap", "robustness_gap")
SETTING = ["dataset", "likelihood"]
NAMES = {"fashion_mnist": "FashionMNIST", "binary_mnist": "BinaryMNIST", "cifar10": "CIFAR-10"}
LIKELIHOODS = {"bernoulli": "Bernoulli", "gaussian": "Gaussian", "mol": "mixture of logistics"}

# Which digitised panels show a setting: (left: ELBO, mid: amortization, right: MS-SSIM, Fig. 13).
PANELS = {
    ("cifar10", "mol"): ("fig2_left_elbo", "fig2_mid_amort", "fig2_right_msssim", "fig13_right_cifar"),
    ("binary_mnist", "bernoulli"): ("fig10_left_elbo", "fig10_mid_amort", "fig10_right_msssim", "fig13_left_mnist"),
    ("fashion_mnist", "gaussian"): ("fig11_left_elbo", "fig11_mid_amort", "fig11_right_msssim", "fig13_mid_fashion"),
    ("fashion_mnist", "mol"): ("fig12_fashion_mol",),
}
FIGURES = {
    ("cifar10", "mol"): "Fig. 2",
    ("binary_mnist", "bernoulli"): "Fig. 10",
    ("fashion_mnist", "gaussian"): "Fig. 11",
    ("fashion_mnist", "mol"): "Fig. 12",
}
# The suffix of a digitised series -> our quantity. Fig. 13's test curves repeat the left panels'.
QUANTITIES = {
    "train": "elbo_train",
    "test": "elbo_test",
    "qstar": "elbo_star_test",
    "qphi": "elbo_test_subset",
    "input": "input_similarity",
    "recon": "reconstruction_similarity",
    "trainingELBO": "elbo_own",
}


def digitised(name: str) -> pd.DataFrame:
    """Return one digitised file (``fig4_right_k``, ``raw_mnist_fig10``) as it lies: series and its two columns."""
    found = [path for path in REFERENCE.glob(f"{name}.csv*") if path.is_file()]
    if not found:
        known = ", ".join(sorted(path.name.split(".")[0] for path in REFERENCE.glob("*.csv*")))
        raise VaelibError(f"no digitised figure {name!r}; choose one of {known}")
    return pd.read_csv(found[0])


@cache
def paper_curves() -> pd.DataFrame:
    """Return Figs. 2, 10-13 in the format of ``curves.csv`` (the paper's mean over 3 seeds, smoothed; seed = -1)."""
    parts = []
    for (dataset, likelihood), names in PANELS.items():
        for name in names:
            table = digitised(name)
            split = table["series"].str.rsplit("_", n=1, expand=True)
            part = pd.DataFrame({"dataset": dataset, "likelihood": likelihood, "method": split[0], "seed": -1})
            part["effective_epoch"], part["value"] = table["x"].clip(lower=0.0), table["y"]
            part["quantity"] = split[1].map(QUANTITIES)
            parts.append(part if not name.startswith("fig13") else part[part["quantity"] == "elbo_own"])
    return pd.concat(parts, ignore_index=True).assign(se=np.nan)


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
