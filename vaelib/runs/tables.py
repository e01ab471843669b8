"""Tidy tables from finished runs: what figures, claims and the report read.

``three_gaps.csv`` has one row a run (its last epoch), ``curves.csv`` one row an evaluation point. Each sweep has a table
under its own name and its curves in ``sweep_curves.csv``. ``downstream.csv`` has one row a run and quantity,
``corruptions.csv`` one a run, corruption and classifier, ``sensitivity.csv`` one a variant, method and seed. A build
replaces the rows of its own (data set, likelihood) and keeps all others.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from .. import files, paths
from ..errors import VaelibError
from ..models import count_parameters
from ..training.vae import early_stopping_oracle
from .engine import all_artifacts
from .evaluations import Remeasured
from .experiments import Experiment
from .lock import Lock
from .sensitivity import PROTOCOL
from .settings import RHA, Gaps, VAERun
from .sheet_tables import sheet_tables
from .stages import build_vae
from .stages.tasks import CLEAN, OVERALL
from .store import MANIFEST, Store, read_manifest

IDENTITY = ["dataset", "likelihood"]
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


def last_row(points: pd.DataFrame, run: VAERun | RHA | Gaps) -> dict[str, float]:
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


def _about(vae: VAERun) -> dict[str, Any]:
    return {"n_train": vae.data.n_train, "n_test": vae.data.n_test, "source": vae.data.label}


def curves(experiment: Experiment, store: Store) -> pd.DataFrame:
    """Return all evaluation points, long: ``dataset, likelihood, method, seed, effective_epoch, quantity, value, se``."""
    pieces = [curve(point.run, store).assign(method=point.series, seed=point.vae.seed) for point in experiment.points]
    table = pd.concat(pieces, ignore_index=True).assign(dataset=experiment.data.name, likelihood=experiment.likelihood)
    return table[[*IDENTITY, "method", "seed", "effective_epoch", "quantity", "value", "se"]]


def three_gaps_table(experiment: Experiment, store: Store) -> pd.DataFrame:
    """Return one row a run: the ELBOs and the three gaps (Eqs. 3–5) at its last epoch, nats per image, with errors."""
    rows = []
    for point in experiment.points:
        vae = point.vae
        row = {"dataset": vae.data.name, "likelihood": experiment.likelihood, "method": point.series, "seed": vae.seed}
        row |= {"effective_epochs": vae.epochs} | last_row(curve(point.run, store), point.run)
        rows.append(row | _about(vae) | {"key": point.run.key})
    return pd.DataFrame(rows)


def sweep_tables(experiment: Experiment, store: Store) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a sweep's rows (a point and seed each, at the last epoch) and its curves.

    ``best_elbo_test`` at ``best_epoch`` is the largest test ELBO along the curve: an oracle, above what any early
    stopping can reach. Standard errors (``_se``) are over images.
    """
    rows, pieces, sizes = [], [], {}
    for point in experiment.points:
        vae, points = point.vae, curve(point.run, store)
        network, channels = vae.network, vae.data.channels
        if network not in sizes:
            with torch.device("meta"):
                model = build_vae(network, channels)
            sizes[network] = model.d_z, count_parameters(model)
        d_z, count = sizes[network]
        place = {"experiment": experiment.name, "dataset": vae.data.name, "likelihood": experiment.likelihood}
        place |= {"series": point.series, "x": point.x, "seed": vae.seed}
        test = points[points["quantity"] == "elbo_test"]
        best = early_stopping_oracle(zip(test["effective_epoch"], test["value"], strict=True))
        row = place | {"method": vae.method, "nc": network.nc, "mz": network.mz, "d_z": d_z}
        row |= {"parameters": count.total, "latent_parameters": count.latent, "effective_epochs": vae.epochs}
        row |= last_row(points, point.run)
        row |= {"best_elbo_test": best.elbo, "best_epoch": int(best.number)}
        rows.append(row | _about(vae) | {"key": point.run.key})
        pieces.append(points.assign(**place))
    lines = pd.concat(pieces, ignore_index=True)
    return pd.DataFrame(rows), lines[[*place, "effective_epoch", "quantity", "value", "se"]]


def downstream_tables(experiment: Experiment, store: Store) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what VAEs are worth in use: ``downstream`` and ``corruptions``, both long.

    ``downstream`` has ``quantity, value, se`` a run: ``accuracy_<classifier>`` on images as they are, ``overall_<...>`` with
    one corruption drawn for each, ``corrupted_<...>`` the mean over corruptions; ``psnr_sample`` and ``psnr_mean`` in dB;
    ``proxy_fid``, ``proxy_is`` and the like of ``samples`` images, ``fid`` and ``inception_score`` where measured.
    ``corruptions`` has ``corruption, classifier, accuracy, se`` a run. Standard errors are over test images.
    """
    rows, cells = [], []
    for point in experiment.points:
        vae, images = point.vae, point.run.corrupted
        run = {"dataset": vae.data.name, "likelihood": experiment.likelihood, "method": point.series, "seed": vae.seed}
        about = _about(vae) | {"images": images.images, "severity": images.severity}
        about |= {"corruptions": "CIFAR-10-C" if images.official else f"{len(images.names)} of our own draws"}
        found = pd.DataFrame(files.read_json(store.require(point.run) / "measured.json"))
        split = found["quantity"].str.partition("_")
        corrupt = found.assign(classifier=split[2])[~found["images"].isin([CLEAN, OVERALL])]
        named = found["quantity"].where(found["images"] != OVERALL, OVERALL + "_" + split[2])
        single = found.assign(quantity=named)[found["images"].isin([CLEAN, OVERALL])].drop(columns="images")
        mean = corrupt.groupby("classifier", as_index=False, sort=False)["value"].mean()
        mean = mean.assign(quantity="corrupted_" + mean.pop("classifier"))
        single = pd.concat([single, mean], ignore_index=True)
        rows.append(single.assign(**run, **about, samples=point.run.samples, key=point.run.key))
        corrupt = corrupt.rename(columns={"images": "corruption", "value": "accuracy"}).drop(columns="quantity")
        cells.append(corrupt.assign(**run, **about))
    return tuple(
        table[[*run, *(name for name in table if name not in run)]]
        for table in (pd.concat(parts, ignore_index=True) for parts in (rows, cells))
    )


def sensitivity_table(experiment: Experiment, store: Store) -> pd.DataFrame:
    """Return one row a variant, method and seed with the gaps measured (NaN: not touched by it), in the panel's order."""
    rows = []
    for point in experiment.points:
        vae, points = point.vae, curve(point.run, store)
        row = {"dataset": vae.data.name, "likelihood": experiment.likelihood}
        row |= {"variant": getattr(point.run, "variant", PROTOCOL), "method": point.series, "seed": vae.seed}
        row |= last_row(points, point.run)
        if isinstance(point.run, Remeasured) and len(point.run.gaps) == 1:  # the VAE's own gap is not measured again
            row = {name: value for name, value in row.items() if not name.startswith(("generalization", "elbo_t"))}
        rows.append(row | _about(vae) | {"key": point.run.key})
    return pd.DataFrame(rows)


def merge_table(path: Path, new: pd.DataFrame, identity: Sequence[str] = IDENTITY) -> pd.DataFrame:
    """Write ``new`` into the CSV at ``path``: rows of the same identity are replaced, all others kept; return the whole.

    Raises:
        VaelibError: the file is there but is no such table.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with Lock(path.with_name(f"{path.name}.lock")):
        kept = read_table(path) if path.exists() else pd.DataFrame(columns=new.columns)
        if not set(identity) <= set(kept.columns):
            raise VaelibError(f"{path} is not a table of this project; delete it and run again")
        ours = set(map(tuple, new[list(identity)].astype(str).to_numpy()))
        same = [tuple(row) in ours for row in kept[list(identity)].astype(str).to_numpy()]
        kept = kept[[not one for one in same]]
        table = new if kept.empty else pd.concat([kept, new], ignore_index=True)
        files.write_atomic(path, lambda part: table.to_csv(part, index=False))
    return table


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of ours.

    Raises:
        VaelibError: absent, or no CSV.
    """
    if not path.exists():
        raise VaelibError(f"{path} is not there; make it with `make headline` or `vaelib run three_gaps`")
    try:
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            raise ValueError("its last line is cut short")
        return pd.read_csv(io.BytesIO(content))
    except (ValueError, pd.errors.ParserError) as error:
        raise VaelibError(f"{path} is not a readable table ({error}); delete it and run again") from None


def record_build(experiment: Experiment, store: Store) -> None:
    """Note in ``build/<profile>/build.json`` where this experiment's numbers come from; the report shows it."""
    path = tables_folder(experiment.profile.name).parent / "build.json"
    manifests = [store.manifest(one) for one in all_artifacts(experiment.runs)]
    seconds = sum(manifest["seconds"] for manifest in manifests)
    code = manifests[-1]["code"]
    record = {
        "data": experiment.data.label,
        "training and test images": f"{experiment.data.n_train:,} and {experiment.data.n_test:,}",
        "seeds": sorted({point.subject.seed for point in experiment.points}),
        "artifacts": len(manifests),
        "time in all": f"{seconds / 60:.1f} process-minutes",
        "finished": max(manifest["finished"] for manifest in manifests),
    }
    name = f"{experiment.dataset}, {experiment.likelihood}"
    if experiment.name != "three_gaps":
        name += f", {experiment.name.replace('_', ' ')}"
    with Lock(path.with_name(f"{path.name}.lock")):
        content = files.read_json(path) if path.exists() else {}
        files.write_json(path, content | {name: record | code})


def write_tables(experiment: Experiment, store: Store | None = None) -> dict[str, pd.DataFrame]:
    """Write the tables of a finished experiment and ``build.json``; return its own rows.

    The three gaps give ``three_gaps`` and ``curves``, the downstream tasks ``downstream`` and ``corruptions``, the
    sensitivity panel ``sensitivity``, the data sheet ``c2st``, ``teacher_sheet`` and ``sampling_cost``, a sweep ``rows`` (in
    ``<name>.csv``) and ``curves``.
    """
    store = store or Store()
    folder = tables_folder(experiment.profile.name)
    if experiment.name == "teacher_sheet":
        own = sheet_tables(experiment, store)
        for name, table in own.items():
            merge_table(folder / f"{name}.csv", table)
    elif experiment.name in ("three_gaps", "downstream", "sensitivity"):
        if experiment.name == "three_gaps":
            own = {"three_gaps": three_gaps_table(experiment, store), "curves": curves(experiment, store)}
        elif experiment.name == "sensitivity":
            own = {"sensitivity": sensitivity_table(experiment, store)}
        else:
            own = dict(zip(("downstream", "corruptions"), downstream_tables(experiment, store), strict=True))
        for name, table in own.items():
            merge_table(folder / f"{name}.csv", table)
    else:
        own = dict(zip(("rows", "curves"), sweep_tables(experiment, store), strict=True))
        merge_table(folder / f"{experiment.name}.csv", own["rows"])
        merge_table(folder / "sweep_curves.csv", own["curves"], ["experiment", *IDENTITY])
    record_build(experiment, store)
    return own
