"""The panel's table, ``sensitivity.csv``: a row a variant, method and seed."""

import pandas as pd

from ...runs.experiments import Experiment
from ...runs.store import Store
from ...runs.tables import about_data, curve, last_row
from .stages import Remeasured

PROTOCOL = "as configured"  # the panel's first row: what notebook 03 measures


def panel_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``sensitivity``."""
    return {"sensitivity": sensitivity_table(experiment, store)}


def sensitivity_table(experiment: Experiment, store: Store) -> pd.DataFrame:
    """Return one row a variant, method and seed with the gaps measured (NaN: not touched by it), in the panel's order."""
    rows = []
    for point in experiment.points:
        vae, points = point.vae, curve(point.run, store)
        row = {"dataset": vae.data.name, "likelihood": experiment.likelihood}
        row |= {"variant": getattr(point.run, "variant", PROTOCOL), "method": point.series, "seed": vae.seed}
        row |= last_row(points, point.run)
        if isinstance(point.run, Remeasured) and len(point.run.gaps) == 1:  # the VAE's own gap is not measured again
            row = {name: value for name, value in row.items() if not name.startswith(("generalization", "elbo_t"))}
        rows.append(row | about_data(vae.data) | {"key": point.run.key})
    return pd.DataFrame(rows)
