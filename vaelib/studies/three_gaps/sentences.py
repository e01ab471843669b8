"""What came out, in sentences and tables made of the numbers alone; which way it went is never known beforehand."""

from pathlib import Path
from typing import Any

import pandas as pd

from ...report.canvas import LABELS
from ...report.pages import blocks, images_and_seeds
from ...report.reference import FIGURES, of_setting, setting
from ...report.rules import Evidence, estimate, value
from ...runs.tables import SETTING, read_table
from ...text import listed, number
from ...training.distributions import METHODS, PAIR
from .claims import evidence, our_values
from .numbers import beside_paper
from .pages import compared_gaps, own_gaps

# quantity -> its name, and the word for more of it
QUANTITIES = {
    "elbo_test": ("test ELBO", "higher", "lower"),
    "generalization_gap": ("generalization gap", "larger", "smaller"),
    "amortization_gap": ("amortization gap", "larger", "smaller"),
    "robustness_gap": ("robustness gap", "larger", "smaller"),
}
SPOKEN = LABELS | {"normal": "normal training"}  # within a sentence
UNCLEAR = "not clearly different"


def direction(found: Evidence, quantity: str, first: str, second: str) -> int:
    """Return 1 if ``first`` has clearly more of a quantity than ``second`` (95 % interval), -1 if less, else 0."""
    difference = estimate(value(first, quantity) - value(second, quantity), found)
    if difference is None:
        return 0
    return (difference.low > 0) - (difference.high < 0)


def sentences(three_gaps: pd.DataFrame, dataset: str, likelihood: str) -> str:
    """Return what the runs of one setting found: DMaaPx beside normal training, then who leads among all methods."""
    runs = of_setting(three_gaps, dataset, likelihood)
    found = evidence(our_values({"three_gaps": runs}), dataset, likelihood)
    known = {q: [m for m in METHODS if (m, q) in found.values] for q in QUANTITIES}
    known = {q: methods for q, methods in known.items() if set(PAIR) <= set(methods)}
    if not known:
        return ""
    parts, alone = [], runs["seed"].nunique() == 1
    for quantity in known:
        name, more, less = QUANTITIES[quantity]
        article = "an" if name[0] == "a" else "a"
        word = {1: f"a {more} {name}", -1: f"a {less} {name}"}.get(direction(found, quantity, "dmaapx", "normal"))
        ours, theirs = (number(found.mean(method, quantity)) for method in ("dmaapx", "normal"))
        if alone:
            parts.append(f"{article} {name} of {ours} (normal training {theirs})")
        else:
            parts.append(f"{word or f'{article} {name} that is {UNCLEAR}'} ({ours} against {theirs})")
    beside = "" if alone else "compared with normal training, "
    text = f"{setting(dataset, likelihood)} ({images_and_seeds(runs)}): {beside}DMaaPx has {listed(parts)}."
    text += " How far another seed would differ is not known." if alone else ""
    best: dict[str, list[str]] = {}
    for quantity, methods in known.items():
        choose = max if QUANTITIES[quantity][1] == "higher" else min
        winner = choose(methods, key=lambda method, q=quantity: found.mean(method, q))
        most = "highest" if choose is max else "smallest"
        best.setdefault(winner, []).append(f"the {most} {QUANTITIES[quantity][0]}")
    who = "; ".join(f"{SPOKEN[method]} has {listed(names)}" for method, names in best.items())
    return f"{text} Of all methods, on average, {who}."


def report_page(build: Path) -> dict[str, Any]:
    """Return what the three gaps add to the report: what was found in sentences, own images' gaps, Table 7, numbers."""
    found: dict[str, Any] = {}
    if (path := build / "tables" / "table_07.csv").exists():
        table = read_table(path)
        found["table"] = blocks(_of_paper(table[table["seeds"] > 0]), "table_07", compared_gaps)
    if (path := build / "tables" / "numbers.csv").exists():
        found["numbers"] = blocks(read_table(path), "numbers", beside_paper)
    if (path := build / "tables" / "three_gaps.csv").exists():
        three_gaps = read_table(path)
        settings = dict.fromkeys(map(tuple, three_gaps[SETTING].to_numpy()) if build.name != "smoke" else ())
        # Those that the paper does not speak of come first.
        told = [sentences(three_gaps, *one) for one in sorted(settings, key=lambda one: one in FIGURES)]
        own = blocks(_of_paper(three_gaps, False), "own", own_gaps)
        found |= {"results": list(filter(None, told)), "own": own}
    return found


def _of_paper(table: pd.DataFrame, wanted: bool = True) -> pd.DataFrame:
    """Return the rows of settings that the paper has numbers of, or of those that it has not."""
    return table[[(tuple(one) in FIGURES) == wanted for one in table[SETTING].to_numpy()]]
