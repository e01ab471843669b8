"""Tables of teachers that remember: those of a sweep, with how much of each bank is copied beside it."""

import math

import pandas as pd

from ...runs.experiments import Experiment
from ...runs.store import Store
from ...runs.tables import rows_of
from ..sweeps.tables import sweep_tables
from .stages import Copies


def with_copies(rows: pd.DataFrame, experiment: Experiment, store: Store) -> pd.DataFrame:
    """Return a sweep's rows with ``copies``, ``authentic`` (shares), ``ratio`` and ``distance`` of the images trained on.

    Normal training has none of them, for its images are D_train.
    """
    found = [
        rows_of(point.run, store).assign(series=point.series, place=_place(point.x))
        for point in experiment.measured(Copies)
    ]
    joined = rows.assign(place=rows["x"].map(_place)).merge(pd.concat(found), "left", ["series", "place"])
    return joined.drop(columns="place")


def _place(x: float) -> float:
    """Return x in place of which a merge finds its partner: NaN has none."""
    return -1.0 if math.isnan(x) else float(x)


def memorisation_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``rows`` (a snapshot of a teacher and seed of a VAE each) and ``curves``."""
    tables = sweep_tables(experiment, store)
    rows = with_copies(tables["rows"], experiment, store)
    return tables | {"rows": rows.assign(teacher_epochs=rows["x"] / rows["n_train"])}
