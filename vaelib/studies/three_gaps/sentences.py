"""What came out, in sentences and tables made of the numbers alone; which way it went is never known beforehand."""

from pathlib import Path
from typing import Any

import pandas as pd

from ...report.canvas import LABELS
from ...report.reference import FIGURES, GAPS, METHODS, SETTING, of_setting, setting
from ...report.rules import Evidence, estimate, value
from ...report.text import how_many, listed, number, with_error
from ...runs.tables import read_table
from .claims import evidence, our_values
from .numbers import beside_paper

# quantity -> its name, and the word for more of it
QUANTITIES = {
    "elbo_test": ("test ELBO", "higher", "lower"),
    "generalization_gap": ("generalization gap", "larger", "smaller"),
    "amortization_gap": ("amortization gap", "larger", "smaller"),
    "robustness_gap": ("robustness gap", "larger", "smaller"),
}
COLUMNS = {
    "elbo_train": "ELBO on training images",
    "elbo_test": "ELBO on test images",
    "generalization_gap": "generalization gap",
    "amortization_gap": "amortization gap",
    "robustness_gap": "robustness gap (MS-SSIM)",
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
    known = {q: methods for q, methods in known.items() if {"normal", "dmaapx"} <= set(methods)}
    if not known:
        return ""
    parts = []
    for quantity in known:
        name, more, less = QUANTITIES[quantity]
        article = "an" if name[0] == "a" else "a"
        word = {1: f"a {more} {name}", -1: f"a {less} {name}"}.get(direction(found, quantity, "dmaapx", "normal"))
        ours, theirs = (number(found.mean(method, quantity)) for method in ("dmaapx", "normal"))
        parts.append(f"{word or f'{article} {name} that is {UNCLEAR}'} ({ours} against {theirs})")
    seeds = int(runs["seed"].nunique())
    about = f"{int(runs['n_train'].max()):,} training images, {how_many(seeds, 'seed')}"
    text = f"{setting(dataset, likelihood)} ({about}): compared with normal training, DMaaPx has {listed(parts)}."
    text += " One seed cannot tell a difference from chance." if seeds == 1 else ""
    best: dict[str, list[str]] = {}
    for quantity, methods in known.items():
        choose = max if QUANTITIES[quantity][1] == "higher" else min
        winner = choose(methods, key=lambda method, q=quantity: found.mean(method, q))
        most = "highest" if choose is max else "smallest"
        best.setdefault(winner, []).append(f"the {most} {QUANTITIES[quantity][0]}")
    who = "; ".join(f"{SPOKEN[method]} has {listed(names)}" for method, names in best.items())
    return f"{text} Of all methods, on average, {who}."


def settings_of(three_gaps: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the settings that a table holds, those that the paper does not speak of first."""
    found = dict.fromkeys(map(tuple, three_gaps[SETTING].to_numpy()))
    return sorted(found, key=lambda one: one in FIGURES)


def own_gaps(three_gaps: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the gaps on images of one's own as blocks of one setting: headings, and a line of cells for each method."""
    blocks = []
    for dataset, likelihood in (one for one in settings_of(three_gaps) if one not in FIGURES):
        runs = of_setting(three_gaps, dataset, likelihood)
        columns = [column for column in COLUMNS if column in runs and runs[column].notna().any()]
        groups = runs.groupby("method")[columns]
        means, errors, seeds = groups.mean(), groups.sem(), int(runs["seed"].nunique())
        best = {c: means[c].max() if c.startswith("elbo") else means[c].min() for c in columns}
        lines = []
        for method in (one for one in METHODS if one in means.index):
            cells = []
            for column in columns:
                mean, error = means.loc[method, column], errors.loc[method, column]
                text = with_error(float(mean), float(error))
                cells.append({"text": text, "best": column != "elbo_train" and mean == best[column]})
            lines.append({"method": LABELS[method], "cells": cells})
        about = f"{int(runs['n_train'].max()):,} training images, {how_many(seeds, 'seed')}"
        names = [COLUMNS[column] for column in columns]
        blocks.append({"setting": setting(dataset, likelihood), "about": about, "names": names, "lines": lines})
    return blocks


def report_page(build: Path) -> dict[str, Any]:
    """Return what the three gaps add to the report: what was found in sentences, own images' gaps, Table 7,
    and the numbers beside the paper's where the images are."""
    path = build / "tables" / "three_gaps.csv"
    found: dict[str, Any] = {"table": table_07_blocks(build / "tables" / "table_07.csv")}
    found["numbers"] = numbers_blocks(build / "tables" / "numbers.csv")
    if path.exists():
        three_gaps = read_table(path)
        told = [] if build.name == "smoke" else [sentences(three_gaps, *one) for one in settings_of(three_gaps)]
        found |= {"results": list(filter(None, told)), "own": own_gaps(three_gaps)}
    return found


def numbers_blocks(path: Path) -> list[dict[str, Any]]:
    """Return :func:`~.numbers.beside_paper` as one HTML table a setting, and how many numbers have which verdict."""
    blocks = []
    for (dataset, likelihood), rows in read_table(path).groupby(SETTING, sort=False) if path.exists() else ():
        counts = ", ".join(f"{count} {verdict}" for verdict, count in rows["verdict"].value_counts().items())
        about = f"{how_many(int(rows['seeds'].max()), 'seed')}; of {len(rows)} numbers {counts}"
        html = beside_paper(rows).to_html(table_uuid=f"numbers_{len(blocks)}")
        blocks.append({"setting": setting(dataset, likelihood), "about": about, "html": html})
    return blocks


def table_07_blocks(path: Path) -> list[dict[str, Any]]:
    """Return Table 7 as blocks of one setting: per method and gap the paper's text, ours and whether it is smallest."""
    if not path.exists():
        return []
    table = read_table(path)
    blocks = []
    for (dataset, likelihood), rows in table[table["seeds"] > 0].groupby(["dataset", "likelihood"], sort=False):
        if (dataset, likelihood) not in FIGURES:
            continue  # no number of the paper: own_gaps has its own table
        smallest = rows.groupby("gap")[["paper", "ours"]].min()
        cells = rows.set_index(["method", "gap"])
        lines = []
        for method in [m for m in METHODS if m in set(rows["method"])]:
            line = {"method": LABELS[method], "cells": []}
            for gap in GAPS:
                value = cells.loc[(method, gap)] if (method, gap) in cells.index else None
                for side in ("paper", "ours"):
                    text = (
                        "–" if value is None else with_error(value[side], value["ours_se"] if side == "ours" else None)
                    )
                    best = value is not None and pd.notna(value[side]) and value[side] == smallest.loc[gap, side]
                    line["cells"].append({"text": text, "best": bool(best), "side": side})
            lines.append(line)
        about = f"{int(rows['n_train'].max()):,} training images, {how_many(int(rows['seeds'].max()), 'seed')}"
        blocks.append({"setting": setting(dataset, likelihood), "about": about, "lines": lines})
    return blocks
