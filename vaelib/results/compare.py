"""A fresh build beside the results that came with the project: every value of every table, and what its seeds allow.

Rows belong together that agree in all that identifies them but the seed. Where both were made on the same kind of
processor, with as many threads and the same versions (``build.json``), equal seeds must give equal bits. Elsewhere the
difference of means is held against its standard error: over seeds (Student's t with Welch's degrees of freedom; a side
with one seed borrows the other's spread), or with one seed on both sides over images and the run-to-run noise that the
ledger allows. What needs no run, such as a count of parameters, must be equal.

Many values are held at once, so one *differs* only below 0.05 / (number of its table's values): of tables that differ in
their random numbers alone, one in twenty gives a false alarm.
"""

import math
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr

from .. import paths
from ..errors import VaelibError
from ..report.rules import noise_share
from ..report.study import studies
from ..runs.experiments import entry_of
from ..runs.tables import build_records, read_table
from ..text import number
from .shipped import SAME, TAKEN

# Numbers that say which row it is, as texts do.
PLACES = (
    "x", "mz", "nc", "k", "effective_epoch", "radius", "steps", "restarts", "of_restarts", "severity", "images", "samples",
    "protocol", "strength",
)  # fmt: skip
SETTINGS = ("source", "n_train", "n_test", "effective_epochs")  # rows of others are not compared
REPEATED = ("seed", "repetition", "first", "second", "image")  # measurements of one quantity: averaged, the seed last
TOLD = ("key", "device", "verdict", "note", "corruptions", "seeds", "seconds", "seconds_a100", "images_per_second")
PRINTED = ("paper", "paper_sd")  # by the paper, whatever the settings of the row that they stand in
FIXED = (*PRINTED, "d_z", "parameters", "latent_parameters", "bytes")  # known without a run
MACHINE = ("processor", "threads", "device", "python", "torch", "numpy", "diffusers", "vaelib")
SIDES = ("shipped", "yours")
ROW = ["row", "settings", "entry", "quantity"]
ALARM = 0.05  # chance of a false one in a table
SHOWN = 10  # of the largest differences


class NothingToCompare(VaelibError):
    """A build and what was shipped have no row in common."""


class Comparison(NamedTuple):
    """What a comparison found.

    Attributes:
        values: a row a value: ``table, row, quantity, shipped, yours, errors`` (the difference in standard errors) and
            ``verdict``: ``equal``, ``agrees``, ``differs``, or ``no tolerance`` where an error is not known.
        exact: the experiments whose values had to be equal to the bit.
        alone: how many values only one side has, by side.
    """

    values: pd.DataFrame
    exact: list[str]
    alone: dict[str, int]

    @property
    def agrees(self) -> bool:
        """Return True if no value differs."""
        return not (self.values["verdict"] == "differs").any()


def compare(shipped: Path, build: Path) -> Comparison:
    """Hold the tables of a ``build`` beside those that were ``shipped``.

    Raises:
        NothingToCompare: they have no row in common.
    """
    theirs, ours = map(build_records, (shipped, build))
    others = [
        name
        for name, one in ours.items()
        if TAKEN in one or any(n in theirs.get(name, {}) and theirs[name][n] != one.get(n) for n in SAME)
    ]
    exact = [  # made on one machine each, and on the same kind with the same versions
        name
        for name, one in theirs.items()
        if ";" not in one.get("processor", ";")
        and all(what in one and one[what] == ours.get(name, {}).get(what) for what in MACHINE)
    ]
    owners = table_owners()
    found, alone = [], dict.fromkeys(SIDES, 0)
    for name in sorted({path.stem for path in shipped.glob("tables/*.csv")}):
        if not (build / f"tables/{name}.csv").exists():
            continue
        left, right = (
            _long(read_table(one / f"tables/{name}.csv"), owners.get(name, name), theirs | ours)
            for one in (shipped, build)
        )
        right = right[~right["entry"].isin(others)]
        both = left.merge(right, on=[*ROW, "seed"], how="outer", sort=False, suffixes=[f"_{side}" for side in SIDES])
        cells, judged = both[[f"{what}_{side}" for side in SIDES for what in ("value", "se")]].to_numpy(), []
        for (row, _, entry, quantity), places in both.groupby(ROW, sort=False).indices.items():
            one = cells[places]
            here = [side for side, values in zip(SIDES, one[:, ::2].T, strict=True) if not np.isnan(values).all()]
            if len(here) > 1:
                judged.append({"table": name, "row": row, "quantity": quantity} | _held(one, quantity, entry in exact))
            else:
                alone[here[0]] += 1
        tested = [one for one in judged if not math.isnan(one["p"])]
        for one in tested:
            one["verdict"] = "differs" if one["p"] < ALARM / len(tested) else "agrees"
        found += judged
    if all(one["quantity"] in FIXED for one in found):
        if not theirs:
            raise NothingToCompare(
                f"nothing to compare: {paths.shown(shipped)} came without results; choose laptop or overnight"
            )
        raise NothingToCompare(
            f"nothing to compare: {paths.shown(build)} has no numbers that were made here under the settings of "
            f"{paths.shown(shipped)}; make the same data set with `make PROFILE={shipped.name}`, without settings of your own"
        )
    return Comparison(pd.DataFrame(found).drop(columns="p"), [name for name in exact if name in ours], alone)


def table_owners() -> dict[str, str]:
    """Return the name of the study that writes a table, by the table's."""
    every = studies().values()
    return {name: one.name for one in every for name in (*one.tables, *(derived for derived, *_ in one.derived))}


def _long(table: pd.DataFrame, owner: str, records: Collection[str]) -> pd.DataFrame:
    """Return a table's numbers one by one: ``row, settings, entry`` (in build.json), ``quantity, seed, value, se``.

    ``owner`` is the study that wrote it; a table of several studies names them in its column ``experiment``. What keeps no record
    (:mod:`vaelib.studies.ground_truth`, which brackets the headline's VAEs) goes by the headline's.
    """
    texts = [
        name for name in table if not pd.api.types.is_numeric_dtype(table[name]) and name not in (*TOLD, "quantity")
    ]
    named = {name: table[name].fillna("").astype(str) for name in texts}
    places = [name for name in (*PLACES, *SETTINGS) if name in table and name not in texts]
    named |= {name: f"{name} " + table[name].map("{:g}".format) for name in places}

    def joined(names: Iterable[str]) -> pd.Series:
        chosen = [named[name] for name in names]
        return pd.Series([", ".join(parts) for parts in zip(*chosen, strict=True)] if chosen else "", index=table.index)

    experiment = table["experiment"] if "experiment" in table else pd.Series(owner, index=table.index)
    found = [entry_of(*one) for one in zip(table["dataset"], table["likelihood"], experiment, strict=True)]
    headline = [entry_of(*one, "three_gaps") for one in zip(table["dataset"], table["likelihood"], strict=True)]
    entry = [own if own in records else other for own, other in zip(found, headline, strict=True)]
    place = {
        "row": joined(name for name in named if name not in SETTINGS),
        "settings": joined(name for name in named if name in SETTINGS),
        "entry": entry,
        "seed": table.get("seed", 0),
    }
    others = (*named, *TOLD, *REPEATED, "quantity", "se")
    numbers = [name for name in table if name not in others and not name.endswith("_se")]
    pieces = [
        pd.DataFrame(
            place
            | ({"settings": ""} if name in PRINTED else {})
            | {
                "quantity": table["quantity"] if name == "value" and "quantity" in table else name,
                "value": table[name].astype(float),
                "se": table.get("se" if name == "value" else f"{name}_se", math.nan),
            }
        )
        for name in numbers
    ]
    grouped = pd.concat(pieces).dropna(subset="value").groupby([*ROW, "seed"], sort=False)
    mean = grouped.agg(value=("value", "mean"), se=("se", "first"), over=("value", "sem")).reset_index()
    return mean.assign(se=mean.pop("over").fillna(mean["se"]))


def _held(cells: np.ndarray, quantity: str, exact: bool) -> dict[str, Any]:
    """Return the comparison of one quantity: means, their difference in standard errors, its p-value, a verdict.

    ``cells`` has a row a seed: value and standard error of what was shipped, then of yours.
    """
    sides = [side[~np.isnan(side[:, 0])].T for side in (cells[:, :2], cells[:, 2:])]
    (shipped, _), (yours, _) = sides
    held = {"shipped": shipped.mean(), "yours": yours.mean(), "errors": math.nan, "p": math.nan}
    common = cells[~np.isnan(cells[:, [0, 2]]).any(axis=1)]
    same = bool((common[:, 0] == common[:, 2]).all())
    if len(common) and same and (exact or len(common) == len(cells)):
        return held | {"verdict": "equal", "errors": 0.0}
    if quantity in FIXED:
        return held | {"verdict": "equal" if len({*shipped, *yours}) == 1 else "differs"}
    if len(common) and exact:
        return held | {"verdict": "differs"}
    many = max((values for values, _ in sides), key=len)
    of_seeds = (many.var(ddof=1), len(many) - 1) if len(many) > 1 else None
    squares, freedoms = zip(*(_square(*side, of_seeds, quantity) for side in sides), strict=True)
    total, difference = sum(squares), held["yours"] - held["shipped"]
    if math.isnan(total):
        return held | {"verdict": "no tolerance"}
    if not total:
        return held | {"verdict": "differs" if difference else "equal", "errors": math.inf if difference else 0.0}
    t = difference / math.sqrt(total)
    if of_seeds and any(len(values) == 1 for values, _ in sides):
        freedom = of_seeds[1]  # one estimated spread serves both
    else:
        freedom = total**2 / sum(square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    return held | {"errors": t, "p": float(2 * stdtr(freedom, -abs(t)))}


def _square(
    values: np.ndarray, errors: np.ndarray, of_seeds: tuple[float, int] | None, quantity: str
) -> tuple[float, float]:
    """Return a mean's squared standard error and its degrees of freedom; ``of_seeds`` are the variance and its freedom."""
    if len(values) > 1:
        return values.var(ddof=1) / len(values), len(values) - 1
    if of_seeds:
        return of_seeds
    return errors[0] ** 2 + (noise_share((quantity,)) * values[0]) ** 2, 1e6


def format_comparison(found: Comparison) -> str:
    """Return the counts by table, the values that differ or come nearest to it, and the verdict."""
    values = found.values
    counts = values.groupby(["table", "verdict"]).size().unstack(fill_value=0)
    worst = values.reindex(values["errors"].abs().sort_values(ascending=False, na_position="last").index)
    wrong = worst["verdict"] == "differs"
    shown = pd.concat([worst[wrong], worst[(worst["verdict"] == "agrees") & ~wrong].head(SHOWN)])
    columns = {name: [number(value) for value in shown[name]] for name in (*SIDES, "errors")}
    told = shown.assign(**columns, value=shown["table"] + ": " + shown["row"] + ", " + shown["quantity"])
    lines = [counts.to_string(), ""]
    if len(told):
        head = {"errors": "standard errors"}
        lines += [told[["value", *SIDES, "errors", "verdict"]].rename(columns=head).to_string(index=False), ""]
    if found.exact:
        lines.append(f"equal to the bit had to be (same processor, threads, versions): {'; '.join(found.exact)}")
    lines += [f"{count:,} values are only among {side}" for side, count in found.alone.items() if count]
    if unknown := int((values["verdict"] == "no tolerance").sum()):
        lines.append(f"{unknown:,} values are not equal and have no known error, so nothing is said of them")
    total = f"{len(values):,} values, {int((values['verdict'] == 'equal').sum()):,} of them equal to the bit"
    lines.append(f"this build agrees with what was shipped: {total}" if found.agrees
                 else f"this build DIFFERS from what was shipped: {int(wrong.sum())} of {total}")  # fmt: skip
    return "\n".join(lines)
