"""Where a figure of the report comes from: its notebook, its settings, the keys of its runs, the time they took.

Read from the tables that the figure was drawn from, and from ``build.json``; the store is not needed.
"""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..runs import protocol
from ..runs.tables import read_table
from .claims import TABLES
from .reference import FIGURES, LIKELIHOODS, NAMES

# The start of a figure's name -> the table that it is drawn from.
DRAWN_FROM = {
    "fig01": "plane",
    "table01": "plane",
    "remark_b5": "remark_b5",
    "fig02": "three_gaps",
    "protocol": "calibrate_protocol",
    "fig03": "smoothness",
    "fig04_left": "downstream",
    "fig04_right": "limited_k",
    "fig05": "rha",
    "fig06": "latents",
    "fig07": "sizes",
    "fig08": "sizes",
    "fig09": "downstream",
    "fig10": "three_gaps",
    "fig11": "three_gaps",
    "fig12": "three_gaps",
    "fig13": "three_gaps",
    "fig14": "mollify",
    "fig15": "mixing",
    "fig16": "teacher_fractions",
    "fig17": "teacher_sheet",
    "fig18": "c2st",
    "fig19": "downstream",
    "audit": "teacher_sheet",
    "samples": "downstream",
    "sensitivity": "sensitivity",
    "floors": "sensitivity",
    "ms_ssim": "similarity_pairs",
    "attack_strength": "attack_strength",
    "early_stopping": "mollify",
}
LABORATORY = "01_training_distributions"
HEADLINES = ("fig02", "fig10", "fig11", "fig12")  # one number for each setting
NOTEBOOKS = {
    "claims": "10_claims",
    "tour_attack": "00_tour",
    "tour_overfitting": "00_tour",
    "fig03": "04_latent_smoothness",
    "calibration": LABORATORY,
    "missed_modes": LABORATORY,
    "brackets": LABORATORY,
    **dict.fromkeys(
        ("sensitivity", "floors", "ms_ssim", "attack_strength", "attack_steps", "protocol"), "09_attack_and_similarity"
    ),
}  # of figures without a table in the ledger


class Source(NamedTuple):
    """What a reader is told of a figure: (name, text) pairs, the runs' keys, and the rendered notebook's address."""

    facts: list[tuple[str, str]]
    runs: list[str]
    notebook: str
    href: str


def setting(dataset: str, likelihood: str) -> str:
    """Return a setting as a reader knows it: "FashionMNIST, Gaussian"."""
    return f"{NAMES.get(dataset, Path(dataset).stem)}, {LIKELIHOODS.get(likelihood, likelihood)}"


def rendered(build: Path, notebook: str, dataset: str, likelihood: str) -> str:
    """Return the address of a rendered notebook for a setting, as seen from the build's folder; empty without one."""
    stem = Path(dataset).stem
    for tag in (f"{stem}-{likelihood}", stem) if protocol(dataset).likelihood != likelihood else (stem,):
        path = Path("notebooks") / f"{notebook}.{tag}.html"
        if notebook and (build / path).exists():
            return path.as_posix()
    if notebook == LABORATORY:  # its worlds are nobody's data set: any rendering shows them
        return next(
            (path.relative_to(build).as_posix() for path in sorted(build.glob(f"notebooks/{notebook}.*.html"))), ""
        )
    return ""


def source_of(build: Path, name: str, record: dict[str, Any]) -> Source:
    """Return where the figure ``name`` of a build comes from, as far as its tables and ``build.json`` tell."""
    prefix = max((one for one in {**DRAWN_FROM, **NOTEBOOKS} if name.startswith(one)), key=len, default="")
    table = DRAWN_FROM.get(prefix, "")
    notebook = NOTEBOOKS.get(prefix) or TABLES.get(table, "")
    path = build / "tables" / f"{table}.csv"
    rows = _rows(read_table(path), name, prefix) if table and path.exists() else pd.DataFrame()
    if rows.empty:
        ending = name.removeprefix(prefix).strip("_")
        return Source([], [], notebook, rendered(build, notebook, ending, protocol(ending).likelihood))
    dataset, likelihood = rows.iloc[0][["dataset", "likelihood"]]
    runs = list(dict.fromkeys(rows["key"])) if "key" in rows else []
    return Source(_facts(rows, table, record), runs, notebook, rendered(build, notebook, dataset, likelihood))


def curves_of(build: Path, name: str) -> pd.DataFrame:
    """Return the training curves, run by run, of the setting whose three gaps the figure ``name`` shows; else no rows."""
    prefix, path = name.partition("_")[0], build / "tables" / "curves.csv"
    return _rows(read_table(path), name, prefix) if prefix in HEADLINES and path.exists() else pd.DataFrame()


def _rows(table: pd.DataFrame, name: str, prefix: str) -> pd.DataFrame:
    """Return the rows of the setting that a figure's name speaks of (see ``figures.stem`` and ``figure_number``)."""
    for (dataset, likelihood), rows in table.groupby(["dataset", "likelihood"], sort=False):
        number, ending = FIGURES.get((dataset, likelihood)), Path(dataset).stem
        if number is None or (prefix == "fig13" and number == "Fig. 12"):
            ending += f"_{likelihood}"
        own = f"fig{int((number or 'Fig. 2').removeprefix('Fig. ')):02d}"
        if name == f"{prefix}_{ending}" and (prefix == own or prefix not in HEADLINES):
            return rows
    return table.iloc[:0]


def _facts(rows: pd.DataFrame, table: str, record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the settings that the rows share, and the time their making took."""
    dataset, likelihood = rows.iloc[0][["dataset", "likelihood"]]
    facts = [("setting", setting(dataset, likelihood))]
    facts += [("data", str(rows["source"].iloc[0]))] if "source" in rows else []
    for label, column in (("training images", "n_train"), ("test images", "n_test"), ("epochs", "effective_epochs")):
        if column in rows:
            low, high = int(rows[column].min()), int(rows[column].max())
            facts.append((label, f"{low:,}" if low == high else f"{low:,} to {high:,}"))
    facts += [("seeds", ", ".join(map(str, sorted(rows["seed"].unique()))))] if "seed" in rows else []
    entry = f"{dataset}, {likelihood}" + ("" if table == "three_gaps" else f", {table.replace('_', ' ')}")
    made = record.get(entry, {})
    named = {"time in all": "wall time, teacher and samples included", "device": "device", "commit": "commit"}
    return facts + [(label, str(made[key])) for key, label in named.items() if key in made]
