"""Rate and distortion as data: the VAEs of the three gaps, taken apart."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ...runs.experiments import Experiment, Point
from ...runs.store import Store
from ...runs.tables import SETTING, about_data, leading, rows_of
from ..three_gaps.runs import three_gaps
from .stages import RateDistortion


def rate_distortion(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return rate and distortion of every VAE of the three gaps.

    Arguments and errors as for :func:`~vaelib.studies.three_gaps.runs.three_gaps`.
    """
    base = three_gaps(profile, dataset, likelihood, overrides)
    points = [Point(point.series, math.nan, RateDistortion(vae=point.vae)) for point in base.points]
    return base._replace(name="rate_distortion", points=points, tables=rate_distortion_tables)


def rate_distortion_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``rate_distortion``: a row a VAE, snapshot and split (``train``, ``test``).

    ``rate``, ``distortion`` and ``elbo`` = -(rate + distortion) in nats per image, ``bits_per_dim``, each with its standard
    error over images, and ``active_units``. The columns that it shares with ``three_gaps`` join the two.
    """
    pieces = []
    for point in experiment.points:
        about = experiment.setting | {"method": point.series, "seed": point.vae.seed}
        pieces.append(rows_of(point.run, store).assign(**about, **about_data(experiment.data), key=point.run.key))
    table = pd.concat(pieces, ignore_index=True)
    return {"rate_distortion": leading(table, [*SETTING, "method", "seed", "effective_epoch", "split"])}
