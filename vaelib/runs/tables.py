"""Tidy tables from finished runs: what figures, claims and the report read.

Which tables there are, each study says in its ``tables.py``. A build replaces the rows of its own setting and keeps all
others.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import files, paths
from ..errors import VaelibError
from .engine import all_artifacts
from .experiments import Experiment
from .lock import Lock
from .provenance import packages_digest
from .settings import RHA, Artifact, Data, Gaps, VAERun
from .store import MANIFEST, TENSORS, Store, load_tensors, read_manifest

SETTING = ["dataset", "likelihood"]
CHANGED = "changed settings"  # of a record in build.json: where its runs differ from the profile
WITH_ERRORS = ["elbo_train", "elbo_test", "elbo_star_test", "generalization_gap", "amortization_gap", "robustness_gap"]
PLAIN = [
    "input_similarity",
    "reconstruction_similarity",
    "clean_floor",
    "at_sigma_floor",
    "unconverged",
    "lost_by_one_start",
]


def tables_folder(profile: str) -> Path:
    """Return ``build/<profile>/tables``."""
    return paths.build_root() / profile / "tables"


def curve(run: VAERun | RHA | Gaps, store: Store) -> pd.DataFrame:
    """Return a run's evaluation points, ``effective_epoch, quantity, value, se``, with those of the VAE it builds on."""
    points = pd.DataFrame(files.read_json(store.require(run) / "curve.json"))
    if isinstance(run, VAERun):
        return points
    before = curve(run.vae, store)
    if isinstance(run, RHA):
        before = before[before.effective_epoch <= run.start]
    return pd.concat([before, points], ignore_index=True)


def measured_table(experiment: Experiment, store: Store, kind: type[Artifact]) -> pd.DataFrame:
    """Return the rows of all that an experiment measured of one ``kind``, then whose they are."""
    pieces = [
        rows_of(point.run, store).assign(**experiment.setting, method=point.series, seed=point.vae.seed)
        for point in experiment.measured(kind)
    ]
    return pd.concat(pieces, ignore_index=True)


def rows_of(run: Artifact, store: Store) -> pd.DataFrame:
    """Return what a finished run measured, as its ``rows.json`` has it."""
    return pd.DataFrame(files.read_json(store.require(run) / "rows.json"))


def shipped_file(path: Path) -> Path:
    """Return the path of a file that comes with the project; raises VaelibError where it does not."""
    if not path.exists():
        raise VaelibError(
            f"use_results: {paths.shown(path)} does not come with the project (another setting, or never packed); leave "
            "use_results out, and it is computed"
        )
    return path


def measured_tensors(experiment: Experiment, kind: type[Artifact], store: Store | None = None) -> dict[str, Any]:
    """Return, by series, the tensors by name that an experiment kept of one ``kind``: pictures and single curves.

    Under ``use_results`` they are those that were shipped.
    """

    def path(run: Artifact) -> Path:
        if experiment.profile.use_results:
            return shipped_file(paths.weights_file(paths.results_folder(experiment.profile.name), run.key))
        return (store or Store()).require(run) / TENSORS

    return {point.series: load_tensors(path(point.run))[0] for point in experiment.measured(kind)}


def stored_curves(store: Store) -> list[tuple[VAERun, pd.DataFrame]]:
    """Return every trained VAE in the store with its :func:`curve`, gaps included where they were measured.

    Whatever another version of the settings made is left out.
    """
    found: dict[str, tuple[VAERun, list[pd.DataFrame]]] = {}
    for kind, model in (("vae", VAERun), ("gaps", Gaps)):
        for path in sorted((store.root / kind).glob(f"*/{MANIFEST}")):
            try:
                run = model.model_validate(read_manifest(path)["settings"])
                points = pd.DataFrame(files.read_json(path.parent / "curve.json"))
            except (VaelibError, ValueError):
                continue
            vae = run if isinstance(run, VAERun) else run.vae
            if run.key == path.parent.name:
                found.setdefault(vae.key, (vae, []))[1].append(points)
    return [(vae, pd.concat(pieces, ignore_index=True)) for vae, pieces in found.values()]


def last_row(points: pd.DataFrame) -> dict[str, float]:
    """Return a run's values at its last epoch, each ``name`` with its ``name_se``; gaps are among them."""
    last = points[points.effective_epoch == points.effective_epoch.max()].set_index("quantity")
    value, se = last["value"].to_dict(), last["se"].to_dict()
    value["generalization_gap"] = value["elbo_train"] - value["elbo_test"]
    se["generalization_gap"] = (se["elbo_train"] ** 2 + se["elbo_test"] ** 2) ** 0.5
    row: dict[str, float] = {}
    for name in WITH_ERRORS:
        if name in value:
            row |= {name: value[name], f"{name}_se": se[name]}
    return row | {name: value[name] for name in PLAIN if name in value}


def about_data(data: Data) -> dict[str, Any]:
    """Return the columns that every table has of its data set."""
    return {"n_train": data.n_train, "n_test": data.n_test, "source": data.label}


def replaced(kept: pd.DataFrame, new: pd.DataFrame, identity: list[str]) -> pd.DataFrame:
    """Return the rows that are ``kept``, less those that agree with a new one in all of ``identity``, then the new ones."""
    ours = set(map(tuple, new[identity].astype(str).to_numpy()))
    kept = kept[[tuple(row) not in ours for row in kept[identity].astype(str).to_numpy()]]
    return new if kept.empty else pd.concat([kept, new], ignore_index=True)


def merge_table(path: Path, new: pd.DataFrame, place: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Write ``new`` into the CSV at ``path``: rows of the same setting are replaced, all others kept; return the whole.

    In a table that several experiments share, rows of the same experiment. Old rows of a ``place``, the columns of a setting
    and an experiment, go even where no new ones follow.

    Raises:
        VaelibError: the file is there but is no such table.
    """
    if not path.exists() and new.columns.empty:
        return new
    path.parent.mkdir(parents=True, exist_ok=True)
    with Lock(path.with_name(f"{path.name}.lock")):
        kept = read_table(path) if path.exists() else pd.DataFrame(columns=new.columns)
        identity = [column for column in ("experiment", *SETTING) if column in (kept if new.empty else new)]
        if path.exists() and not set(identity or SETTING) <= set(kept.columns):
            raise VaelibError(f"{path} is not a table of this project; delete it and run again")
        if new.empty and place:
            table = kept[(kept[identity].astype(str) != pd.Series(place)[identity]).any(axis=1)]
        else:
            table = replaced(kept, new, identity)
        files.write_atomic(path, lambda part: table.to_csv(part, index=False))
    return table


def leading(table: pd.DataFrame, first: Sequence[str]) -> pd.DataFrame:
    """Return a table with some of its columns before the others."""
    return table[[*first, *(column for column in table if column not in first)]]


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of ours.

    Raises:
        VaelibError: absent, or no CSV.
    """
    if not path.exists():
        raise VaelibError(
            f"{path} is not there; `vaelib studies` lists the studies and their notebooks, and `vaelib run STUDY` writes the "
            "tables of one"
        )
    try:
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            raise ValueError("its last line is cut short")
        return pd.read_csv(io.BytesIO(content))
    except (ValueError, pd.errors.ParserError) as error:
        raise VaelibError(f"{path} is not a readable table ({error}); delete it and run again") from None


def build_records(build: Path) -> dict[str, dict[str, Any]]:
    """Return what a build's ``build.json`` says of each experiment; nothing where there is none."""
    path = build / "build.json"
    return files.read_json(path) if path.exists() else {}


def shipped_record(experiment: Experiment) -> dict[str, Any]:
    """Return what the ``build.json`` that comes with the project says of an experiment."""
    return files.read_json(paths.results_folder(experiment.profile.name) / "build.json")[experiment.entry]


def commits_of(experiment: Experiment, store: Store | None = None) -> list[str]:
    """Return the commits at which an experiment's runs were made; several mean that its numbers are of mixed code."""
    if experiment.profile.use_results:
        return shipped_record(experiment)["commit"].split("; ")
    store = store or Store()
    made = [one for one in all_artifacts(experiment.runs) if not isinstance(one, Data)]
    return sorted({manifest["code"]["commit"] for manifest in store.manifests(made)})


def record_build(experiment: Experiment, store: Store) -> None:
    """Note in ``build/<profile>/build.json`` where this experiment's numbers come from; the report shows it."""
    manifests = store.manifests(all_artifacts(experiment.runs))
    seconds = sum(manifest["seconds"] for manifest in manifests)
    code = manifests[-1]["code"] | {"commit": "; ".join(commits_of(experiment, store))} | environment_of(manifests)
    record = {
        "data": experiment.data.label,
        "training and test images": f"{experiment.data.n_train:,} and {experiment.data.n_test:,}",
        "epochs": experiment.profile.epochs,
        "seeds": sorted({point.subject.seed for point in experiment.points}),
        "artifacts": len(manifests),
        **({CHANGED: " ".join(experiment.profile.given)} if experiment.profile.given else {}),
        "time in all": f"{seconds / 60:.1f} process-minutes",
        "finished": max(manifest["finished"] for manifest in manifests),
    }
    note_build(experiment, record | code)


def note_build(experiment: Experiment, record: Mapping[str, Any]) -> None:
    """Put an experiment's record into its build's ``build.json`` beside the others, of which other processes may write some."""
    path = tables_folder(experiment.profile.name).parent / "build.json"
    with Lock(path.with_name(f"{path.name}.lock")):
        files.write_json(path, build_records(path.parent) | {experiment.entry: dict(record)})


def environment_of(manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what ``build.json`` says of the machines that made some artifacts; nothing if one of them does not know.

    Several processors, thread counts or sets of packages stand side by side.
    """
    known = [manifest["environment"] for manifest in manifests if "environment" in manifest]
    if len(known) < len(manifests):
        return {}
    peak = max((one["peak_bytes"] or 0 for one in known), default=0)
    return {
        "processor": "; ".join(sorted({one["processor"] for one in known})),
        "threads": ", ".join(map(str, sorted({one["threads"] for one in known}))),
        "packages": ", ".join(sorted({packages_digest(one["packages"]) for one in known})),
        "peak memory": f"{peak / 1e6:,.0f} MB in one process" if peak else "unknown",
    }


def write_tables(experiment: Experiment, store: Store | None = None) -> dict[str, pd.DataFrame]:
    """Write the tables of a finished experiment and ``build.json``; return its own rows by the tables' names."""
    store = store or Store()
    own, folder = experiment.tables(experiment, store), tables_folder(experiment.profile.name)
    for name, table in own.items():
        merge_table(folder / f"{experiment.files.get(name, name)}.csv", table, experiment.place)
    record_build(experiment, store)
    return own
