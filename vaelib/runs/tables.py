"""Tidy tables from finished runs: what figures, claims and the report read.

``three_gaps.csv`` has one row a run (its last epoch), ``curves.csv`` one row an evaluation point. A build replaces the
rows of its own (data set, likelihood) and keeps all others.
"""

import fcntl
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import files, paths
from ..errors import VaelibError
from .engine import all_artifacts
from .experiments import Experiment
from .settings import Gaps
from .store import Store

IDENTITY = ["dataset", "likelihood"]
WITH_ERRORS = ["elbo_train", "elbo_test", "elbo_star_test", "generalization_gap", "amortization_gap", "robustness_gap"]
PLAIN = ["input_similarity", "reconstruction_similarity", "clean_floor", "unconverged"]


def tables_folder(profile: str) -> Path:
    """Return ``build/<profile>/tables``."""
    return paths.build_root() / profile / "tables"


def _identity(run: Gaps) -> dict[str, Any]:
    vae = run.vae
    return {"dataset": vae.data.name, "likelihood": vae.network.likelihood, "method": vae.method, "seed": vae.seed}


def curves(runs: Sequence[Gaps], store: Store) -> pd.DataFrame:
    """Return all evaluation points, long: ``dataset, likelihood, method, seed, effective_epoch, quantity, value, se``."""
    pieces = []
    for run in runs:
        for artifact in (run.vae, run):
            points = json.loads((store.require(artifact) / "curve.json").read_text())
            pieces.append(pd.DataFrame(points).assign(**_identity(run)))
    table = pd.concat(pieces, ignore_index=True)
    return table[[*IDENTITY, "method", "seed", "effective_epoch", "quantity", "value", "se"]]


def three_gaps_table(runs: Sequence[Gaps], store: Store) -> pd.DataFrame:
    """Return one row a run: the ELBOs and the three gaps (Eqs. 3–5) at its last epoch, nats per image, with errors."""
    rows = []
    for run in runs:
        points = curves([run], store)
        last = points[points.effective_epoch == run.vae.epochs].set_index("quantity")
        value, se = last["value"].to_dict(), last["se"].to_dict()
        value["generalization_gap"] = value["elbo_train"] - value["elbo_test"]
        se["generalization_gap"] = (se["elbo_train"] ** 2 + se["elbo_test"] ** 2) ** 0.5
        row = _identity(run) | {"effective_epochs": run.vae.epochs}
        for name in WITH_ERRORS:
            row |= {name: value[name], f"{name}_se": se[name]}
        row |= {name: value[name] for name in PLAIN}
        data = run.vae.data
        rows.append(row | {"n_train": data.n_train, "n_test": data.n_test, "source": data.label, "key": run.key})
    return pd.DataFrame(rows)


def merge_table(path: Path, new: pd.DataFrame, identity: Sequence[str] = IDENTITY) -> pd.DataFrame:
    """Write ``new`` into the CSV at ``path``: rows of the same identity are replaced, all others kept; return the whole.

    Raises:
        VaelibError: the file is there but is no such table.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
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
        return pd.read_csv(path)
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
        "seeds": list(range(experiment.profile.seeds)),
        "artifacts": len(manifests),
        "time in all": f"{seconds / 60:.1f} process-minutes",
        "finished": max(manifest["finished"] for manifest in manifests),
    }
    content = json.loads(path.read_text()) if path.exists() else {}
    files.write_json(path, content | {f"{experiment.dataset}, {experiment.likelihood}": record | code})


def write_tables(experiment: Experiment, store: Store | None = None) -> dict[str, pd.DataFrame]:
    """Write ``three_gaps.csv``, ``curves.csv`` and ``build.json`` of a finished experiment; return its own rows."""
    store = store or Store()
    folder = tables_folder(experiment.profile.name)
    own = {"three_gaps": three_gaps_table(experiment.runs, store), "curves": curves(experiment.runs, store)}
    for name, table in own.items():
        merge_table(folder / f"{name}.csv", table)
    record_build(experiment, store)
    return own
