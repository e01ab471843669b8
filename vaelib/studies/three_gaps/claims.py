"""The claims about the three gaps (Sec. 5.2, Appendices B.3-B.5, E): each sentence with what must be positive for it."""

import math
from functools import cache

import pandas as pd

from ...report.entries import Entry, Part, Tables
from ...report.reference import FIGURES, of_setting
from ...report.rules import (
    AUGMENTATIONS,
    OTHERS,
    PAPER_SEEDS,
    Evidence,
    Quantity,
    larger,
    needs,
    papers_noise,
    smaller,
    value,
)
from ...runs.tables import SETTING
from .paper import last_values, paper_values


def overfits(method: str) -> Quantity:
    """Return the train ELBO minus the test ELBO."""
    return value(method, "elbo_train") - value(method, "elbo_test")


def own(method: str) -> list[Quantity]:
    """Return what says that Fig. 13 is a trap: the own ELBO lies below the test ELBO, which lies below that on D_train."""
    return [value(method, "elbo_test") - value(method, "elbo_own"), overfits(method)]


MAIN, FASHION = [("cifar10", "mol")], [("fashion_mnist", "gaussian")]
GREY = [("binary_mnist", "bernoulli"), *FASHION]
THREE = MAIN + GREY
ALL = [*THREE, ("fashion_mnist", "mol")]
# id, sentence, where, quantity, settings, what must be positive: one line is one claim for each of its settings.
LINES: list[tuple[str, str, str, str, list[tuple[str, str]], list[Quantity]]] = [
    ("helps-g", "Synthetic data from a diffusion model improve generalization over normal training", "Abstract", "G_g", ALL,
     smaller("generalization_gap", "dmaapx", "normal")),
    ("helps-a", "Synthetic data from a diffusion model improve amortized inference over normal training", "Abstract", "G_a", THREE,
     smaller("amortization_gap", "dmaapx", "normal")),
    ("helps-r", "Synthetic data from a diffusion model improve robustness over normal training", "Abstract", "G_r", THREE,
     smaller("robustness_gap", "dmaapx", "normal")),
    ("overfit", "Normal training overfits: its ELBO is higher on the training than on the test set", "5.2",
     "train - test ELBO", ALL, [overfits("normal")]),
    ("elbo", "DMaaPx has the highest test ELBO of the four", "5.2, B.3, B.4", "test ELBO", ALL,
     larger("elbo_test", "dmaapx", *OTHERS)),
    ("gap-g", "DMaaPx has the smallest generalization gap", "5.2, B.3, B.4", "G_g", ALL,
     smaller("generalization_gap", "dmaapx", *OTHERS)),
    ("gap-a", "DMaaPx has the smallest amortization gap", "5.2, B.3", "G_a", THREE,
     smaller("amortization_gap", "dmaapx", *OTHERS)),
    ("gap-r", "DMaaPx has the smallest robustness gap", "5.2, B.3", "G_r", THREE,
     smaller("robustness_gap", "dmaapx", *OTHERS)),
    ("aug-helps", "Augmentation improves the test ELBO over normal training", "5.2, B.3, B.4", "test ELBO", ALL,
     [c for method in AUGMENTATIONS for c in larger("elbo_test", method, "normal")]),
    ("aug-less", "Augmentation is not as good as DMaaPx in test ELBO", "5.2, B.3, B.4", "test ELBO", ALL,
     larger("elbo_test", "dmaapx", *AUGMENTATIONS)),
    ("naive-g", "Aug.Naive beats Aug.Tuned in generalization", "E", "G_g", GREY,
     smaller("generalization_gap", "aug_naive", "aug_tuned")),
    ("naive-r", "Aug.Naive beats Aug.Tuned in robustness", "E", "G_r", THREE,
     smaller("robustness_gap", "aug_naive", "aug_tuned")),
    ("own", "ELBOs across own distributions mislead: with augmentation the sign of train - test flips", "B.5, Fig. 13",
     "test - own ELBO", GREY, [c for method in AUGMENTATIONS for c in own(method)]),
]  # fmt: skip


class GapEntry(Entry):
    """A claim about the three gaps; each data set has its own figure."""

    def place(self, setting: tuple[str, str]) -> str:
        """Return where a claim stands, with the figure that shows it for a setting."""
        where = self.paper_location
        return where if "Fig." in where else f"{where}, {FIGURES[setting]}"


def evidence(values: pd.DataFrame, dataset: str, likelihood: str, exact: bool = False) -> Evidence:
    """Return the last values of every run of one setting: ``(method, quantity)`` over seeds."""
    rows = of_setting(values, dataset, likelihood).dropna(subset="value")
    groups = rows.groupby(["method", "quantity"])
    found = {term: dict(zip(group["seed"], group["value"], strict=True)) for term, group in groups}
    if not exact:
        return Evidence(found)
    errors = {  # of means of its seeds
        term: {seed: papers_noise(term, one) / math.sqrt(PAPER_SEEDS) for seed, one in known.items()}
        for term, known in found.items()
    }
    return Evidence(found, errors, exact=True)


@cache
def printed(table: str, dataset: str, likelihood: str) -> Evidence:
    """Return the paper's own final numbers of a setting."""
    return evidence(paper_values(), dataset, likelihood, exact=True)


def our_values(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return every run's last values, from ``three_gaps`` and, where it has no such column, from ``curves``."""
    keys = [*SETTING, "method", "seed"]
    parts = [pd.DataFrame(columns=[*keys, "quantity", "value"])]
    wide = tables.get("three_gaps")
    if wide is not None and len(wide):
        columns = wide.select_dtypes("number").columns.difference(["seed", "effective_epochs", "n_train", "n_test"])
        parts.append(wide.melt(keys, list(columns), "quantity", "value"))
    curves = tables.get("curves")
    if curves is not None and len(curves):
        last = last_values(curves)
        parts.append(last[~last["quantity"].isin(wide.columns if wide is not None else [])])
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def _ours(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    return evidence(our_values(dict(tables)), dataset, likelihood)


def _entry(name: str, sentence: str, where: str, quantity: str, settings: list, positive: list[Quantity]) -> Entry:
    case = needs(*positive)
    return GapEntry(name, sentence, where, quantity, "three_gaps", lambda _: case, tuple(settings))


PART = Part([_entry(*line) for line in LINES], _ours, printed, elsewhere=False)
