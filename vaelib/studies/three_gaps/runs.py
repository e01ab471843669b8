"""The headline experiment as data: four training distributions, one network, several seeds."""

import math
from collections.abc import Mapping
from typing import Any

from ...runs.experiments import Experiment, Point, gaps_for, likelihood_of, methods_for, prepared, vae_for
from ...runs.profiles import architecture, load_profile
from .tables import gap_tables


def three_gaps(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return the headline experiment (Figs. 2, 10–13, Table 7): four training methods × seeds, and their gaps.

    Arguments:
        profile: ``smoke``, ``laptop``, ``overnight``, ``gpu`` or ``paper``.
        dataset: a name or path that :func:`vaelib.data.load_dataset` knows; the experiment has its tag
            (:func:`~vaelib.data.identity.dataset_tag`).
        likelihood: ``bernoulli``, ``gaussian``, ``mol`` or ``default`` (the paper's for the data set).
        overrides: settings of :class:`~vaelib.runs.profiles.Profile` by name.

    Raises:
        VaelibError: an unknown name or a value out of range; the data set is not to be had.
    """
    chosen = likelihood_of(dataset, likelihood)
    residual = architecture(dataset, chosen) == "residual"
    budget = load_profile(profile, f"residual_{dataset}" if residual else chosen, overrides)
    data, budget = prepared(dataset, budget)
    points = [
        Point(method, math.nan, gaps_for(vae_for(data, budget, chosen, method, seed), budget))
        for seed in range(budget.seeds)
        for method in methods_for(data.name)
    ]
    return Experiment("three_gaps", budget, data.name, chosen, points, gap_tables)
