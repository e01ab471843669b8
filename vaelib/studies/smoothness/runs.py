"""Fig. 3 as data: two VAEs, the path that is shown, and the many that are judged."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...runs.experiments import Experiment, Point
from ...runs.settings import checked
from ...training.distributions import PAIR
from ..sweeps.runs import Base
from ..sweeps.tables import sweep_experiment
from .stages import ManyPaths, OnePath
from .tables import smoothness_tables


def smoothness(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
    pair: Sequence[int] | None = None,
) -> Experiment:
    """Return the VAEs between whose latents Fig. 3 interpolates, and the paths; ``pair``: the shown test images by number.

    Other arguments and errors as for :func:`~vaelib.studies.three_gaps.runs.three_gaps`; the network is residual.
    """
    base = Base(profile, dataset, likelihood, overrides)
    seeds = range(base.budget.sweep_seeds)
    points = [Point(method, math.nan, base.vae(method, seed)) for seed in seeds for method in PAIR]
    also = [point._replace(run=ManyPaths(vae=point.vae, pairs=base.budget.path_pairs)) for point in points]
    for point in points[: len(PAIR)]:
        also.append(point._replace(run=checked(OnePath, {"vae": point.vae, "pair": pair}, "the path shown")))
    experiment = sweep_experiment("smoothness", base.budget, base.dataset, base.likelihood, points)
    return experiment._replace(also=also, tables=smoothness_tables)
