"""Where a figure of the report comes from: its notebook, its settings, the keys of its runs, the time they took.

Read from the record beside the figure, the table that it was drawn from, and ``build.json``; the store is not needed.
"""

import base64
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..runs import protocol
from ..runs.experiments import entry_of
from ..runs.tables import read_table
from .publish import short
from .reference import of_setting, setting
from .study import studies

LINKED = 300_000  # bytes of a table that a page holds


class Source(NamedTuple):
    """What a reader is told of a figure beside its record.

    Attributes:
        facts: (name, text) pairs.
        href: the rendered notebook's address.
        line: command and beginnings of keys, for a small line below the figure.
        table: the name of the file that ``csv``, a data: link, saves; both empty where there is none, or a large one.
    """

    facts: list[tuple[str, str]]
    notebook: str
    href: str
    line: list[str]
    table: str
    csv: str


def rendered(build: Path, notebook: str, dataset: str, likelihood: str) -> str:
    """Return the address of a rendered notebook for a setting, as seen from the build's folder; empty without one."""
    found = sorted(build.glob(f"notebooks/{notebook}.*.html"))  # of nobody's data set: any rendering shows it
    if dataset:
        default = likelihood == protocol(dataset).likelihood
        tags = (f"{dataset}-{likelihood}", dataset)[
            :: -1 if default else 1
        ]  # the default may have been asked for by name
        found = [path for tag in tags if (path := build / f"notebooks/{notebook}.{tag}.html").exists()]
    return found[0].relative_to(build).as_posix() if found and notebook else ""


def source_of(build: Path, shown: dict[str, Any], record: dict[str, Any]) -> Source:
    """Return where a figure of a build comes from: its own record ``shown``, its table, and ``build.json`` (``record``)."""
    study = studies().get(shown["study"])
    notebook, (dataset, likelihood) = study.notebook if study else "", (shown["dataset"], shown["likelihood"])
    rows = table_rows(build, shown["table"], dataset, likelihood)
    facts = [] if rows.empty else _facts(rows, shown["study"], record)
    facts += [(name, shown[name]) for name in ("command", "commit") if shown[name] and name not in dict(facts)]
    line = [part for part in (shown["command"], short(shown["runs"])) if part]
    csv = "" if rows.empty else rows.to_csv(index=False)
    table = f"{shown['table']}_{dataset}_{likelihood}.csv" if 0 < len(csv) < LINKED else ""
    link = f"data:text/csv;base64,{base64.b64encode(csv.encode()).decode()}" if table else ""
    return Source(facts, notebook, rendered(build, notebook, dataset, likelihood), line, table, link)


def table_rows(build: Path, table: str, dataset: str, likelihood: str) -> pd.DataFrame:
    """Return a table's rows of one setting; none where it is not there."""
    path = build / "tables" / f"{table}.csv"
    if not table or not dataset or not path.exists():
        return pd.DataFrame()
    return of_setting(read_table(path), dataset, likelihood)


def _facts(rows: pd.DataFrame, study: str, record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the settings that the rows share, and the time their making took."""
    dataset, likelihood = rows.iloc[0][["dataset", "likelihood"]]
    facts = [("setting", setting(dataset, likelihood))]
    facts += [("data", str(rows["source"].iloc[0]))] if "source" in rows else []
    for label, column in (("training images", "n_train"), ("test images", "n_test"), ("epochs", "effective_epochs")):
        if column in rows:
            low, high = int(rows[column].min()), int(rows[column].max())
            facts.append((label, f"{low:,}" if low == high else f"{low:,} to {high:,}"))
    facts += [("seeds", ", ".join(map(str, sorted(rows["seed"].unique()))))] if "seed" in rows else []
    made = record.get(entry_of(dataset, likelihood, study), {})
    named = {"time in all": "wall time, teacher and samples included", "device": "device", "commit": "commit"}
    return facts + [(label, str(made[key])) for key, label in named.items() if key in made]
