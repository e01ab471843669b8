"""Tables of Fig. 3: those of a sweep, and ``smoothness_paths.csv``, a row a VAE and pair of test images."""

import pandas as pd

from ...runs.experiments import Experiment
from ...runs.store import Store
from ...runs.tables import SETTING, leading, measured_table, measured_tensors
from ...tasks.interpolation import Interpolation
from ..sweeps.tables import sweep_tables
from .stages import ManyPaths, OnePath


def smoothness_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return a sweep's tables and ``smoothness_paths``.

    Its columns: dataset, likelihood, method, seed, first, second (the images), those of
    :class:`~vaelib.tasks.interpolation.PathStatistics`, and quiet_variation, the variation of the curve with E[x|z_α] in
    place of x̃_α.
    """
    paths = leading(measured_table(experiment, store, ManyPaths), [*SETTING, "method", "seed"])
    return sweep_tables(experiment, store) | {"smoothness_paths": paths}


def shown_paths(experiment: Experiment, store: Store | None = None) -> tuple[list[int], dict[str, Interpolation]]:
    """Return the numbers of Fig. 3's two test images, and the path between them of each method."""
    found = measured_tensors(experiment, OnePath, store)
    pairs = [one.pop("pair").tolist() for one in found.values()]
    return pairs[0], {method: Interpolation(**one) for method, one in found.items()}
