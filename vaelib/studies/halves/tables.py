"""The table of two teachers of disjoint halves: ``halves.csv``, a row a number of images."""

import pandas as pd

from ...runs.experiments import Experiment
from ...runs.store import Store
from ...runs.tables import about_data, rows_of


def halves_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``halves``: x (images in a half), ``equal`` and ``other`` (distances, pixels in [0, 1]), ``apart`` (their ratio)."""
    pieces = []
    for point in experiment.points:
        about = experiment.setting | {"series": point.series, "x": point.x, "seed": point.run.seed}
        about |= about_data(point.subject.data) | {"key": point.run.key}
        pieces.append(rows_of(point.run, store).assign(**about))
    return {"halves": pd.concat(pieces, ignore_index=True)}
