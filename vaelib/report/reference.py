"""The paper's own numbers, in the format of our tables: what several studies share.

A *setting* is a pair (dataset, likelihood). Elbos and the gaps G_g and G_a are in nats per image, the robustness gap
G_r is a difference of MS-SSIM. Where the numbers come from: ``reference/README.md``.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import unknown

REFERENCE = Path(__file__).with_name("reference")
GAPS = ("generalization_gap", "amortization_gap", "robustness_gap")
SMOKE = "smoke: no claim"  # of the profile smoke
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


def of_setting(table: pd.DataFrame, dataset: str, likelihood: str) -> pd.DataFrame:
    """Return a table's rows of one setting."""
    return table[(table["dataset"] == dataset) & (table["likelihood"] == likelihood)]


def digitised(name: str) -> pd.DataFrame:
    """Return one digitised file (``fig4_right_k``, ``raw_mnist_fig10``) as it lies: series and its two columns."""
    found = [path for path in REFERENCE.glob(f"{name}.csv*") if path.is_file()]
    if not found:
        raise unknown("digitised figure", name, sorted(path.name.split(".")[0] for path in REFERENCE.glob("*.csv*")))
    return pd.read_csv(found[0])


def epochs_done(x: pd.Series, quantity: pd.Series) -> pd.Series:
    """Return the epochs after which the curves of a figure were measured: ELBOs that end at x = 999 begin with the first at 0.

    Where Fig. 6 (middle) shows q_φ at 100, 200, ..., its raw test ELBO has the same values, to 1.3 nats, at 99, 199, ..., and
    values 30 to 530 nats away beside them. Fig. 5, the similarities and what has a q* end at 1,000.
    """
    elbo = quantity.isin(["elbo_train", "elbo_test", "elbo_own"])
    return x.clip(lower=0.0) + (elbo & (x[elbo].max() < 999.5))


@cache
def paper_curves() -> pd.DataFrame:
    """Return Figs. 2, 10-13 in the format of ``curves.csv`` (the paper's mean over 3 seeds, smoothed; seed = -1)."""
    parts = []
    for (dataset, likelihood), names in PANELS.items():
        for name in names:
            table = digitised(name)
            split = table["series"].str.rsplit("_", n=1, expand=True)
            part = pd.DataFrame({"dataset": dataset, "likelihood": likelihood, "method": split[0], "seed": -1})
            part["quantity"], part["value"] = split[1].map(QUANTITIES), table["y"]
            part["effective_epoch"] = epochs_done(table["x"], part["quantity"])
            parts.append(part if not name.startswith("fig13") else part[part["quantity"] == "elbo_own"])
    return pd.concat(parts, ignore_index=True).assign(se=np.nan)


SWEEP_SETTING = ("cifar10", "mol")


def dataset_name(dataset: str) -> str:
    """Return a data set as a reader knows it: "FashionMNIST"; one's own by its tag."""
    return NAMES.get(dataset, dataset)


def setting(dataset: str, likelihood: str) -> str:
    """Return a setting as a reader knows it: "FashionMNIST, Gaussian"."""
    return f"{dataset_name(dataset)}, {LIKELIHOODS.get(likelihood, likelihood)}"
