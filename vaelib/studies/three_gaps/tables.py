"""Tables of the three gaps: ``three_gaps.csv``, a row a run, and ``curves.csv``, a row an evaluation point."""

import pandas as pd

from ...runs.experiments import Experiment
from ...runs.store import Store
from ...runs.tables import about_data, curve, last_row


def gap_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``three_gaps`` and ``curves``, nats per image.

    ``three_gaps``: one row a run, the ELBOs and the three gaps (Eqs. 3–5) at its last epoch with errors. ``curves``: all
    evaluation points, long.
    """
    rows, pieces = [], []
    for point in experiment.points:
        vae, points = point.vae, curve(point.run, store)
        place = experiment.setting | {"method": point.series, "seed": vae.seed}
        row = place | {"effective_epochs": vae.epochs} | last_row(points)
        rows.append(row | about_data(vae.data) | {"key": point.run.key})
        pieces.append(points.assign(**place))
    curves = pd.concat(pieces, ignore_index=True)[[*place, "effective_epoch", "quantity", "value", "se"]]
    return {"three_gaps": pd.DataFrame(rows), "curves": curves}
