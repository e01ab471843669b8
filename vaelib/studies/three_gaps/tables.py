"""Tables of the three gaps: ``three_gaps.csv``, a row a run, and ``curves.csv``, a row an evaluation point."""

import pandas as pd

from ...runs.experiments import Experiment
from ...runs.store import Store
from ...runs.tables import IDENTITY, about_data, curve, last_row


def gap_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``three_gaps`` and ``curves``."""
    return {"three_gaps": three_gaps_table(experiment, store), "curves": curves(experiment, store)}


def curves(experiment: Experiment, store: Store) -> pd.DataFrame:
    """Return all evaluation points, long: ``dataset, likelihood, method, seed, effective_epoch, quantity, value, se``."""
    pieces = [curve(point.run, store).assign(method=point.series, seed=point.vae.seed) for point in experiment.points]
    table = pd.concat(pieces, ignore_index=True).assign(**experiment.setting)
    return table[[*IDENTITY, "method", "seed", "effective_epoch", "quantity", "value", "se"]]


def three_gaps_table(experiment: Experiment, store: Store) -> pd.DataFrame:
    """Return one row a run: the ELBOs and the three gaps (Eqs. 3–5) at its last epoch, nats per image, with errors."""
    rows = []
    for point in experiment.points:
        vae = point.vae
        row = experiment.setting | {"method": point.series, "seed": vae.seed}
        row |= {"effective_epochs": vae.epochs} | last_row(curve(point.run, store), point.run)
        rows.append(row | about_data(vae.data) | {"key": point.run.key})
    return pd.DataFrame(rows)
