"""Tables of the ladder: those of a sweep, with how much of each rung's images is copied beside it."""

import pandas as pd

from ...runs.experiments import Experiment
from ...runs.store import Store
from ..memorisation.tables import with_copies
from ..sweeps.tables import sweep_tables


def ladder_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``rows`` (a rung and seed each) and ``curves``; see :func:`~vaelib.studies.memorisation.tables.with_copies`."""
    tables = sweep_tables(experiment, store)
    return tables | {"rows": with_copies(tables["rows"], experiment, store)}
