"""Tables of a sweep: ``<name>.csv``, a row a point and seed, and its curves in ``sweep_curves.csv``."""

import pandas as pd
import torch

from ...models import count_parameters
from ...runs.experiments import Experiment, Point
from ...runs.profiles import Profile
from ...runs.stages import build_vae
from ...runs.store import Store
from ...runs.tables import about_data, curve, last_row
from ...training.vae import early_stopping_oracle


def sweep_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return a sweep's ``rows`` (a point and seed each, at the last epoch) and its ``curves``.

    ``best_elbo_test`` at ``best_epoch`` is the largest test ELBO along the curve: an oracle, above what any early
    stopping can reach. Standard errors (``_se``) are over images.
    """
    rows, pieces, sizes = [], [], {}
    for point in experiment.points:
        vae, points = point.vae, curve(point.run, store)
        network, channels = vae.network, vae.data.channels
        if network not in sizes:
            with torch.device("meta"):
                model = build_vae(network, channels)
            sizes[network] = model.d_z, count_parameters(model)
        d_z, count = sizes[network]
        place = experiment.place | {"series": point.series, "x": point.x, "seed": vae.seed}
        test = points[points["quantity"] == "elbo_test"]
        best = early_stopping_oracle(zip(test["effective_epoch"], test["value"], strict=True))
        row = place | {"method": vae.method, "nc": network.nc, "mz": network.mz, "d_z": d_z}
        row |= {"parameters": count.total, "latent_parameters": count.latent, "effective_epochs": vae.epochs}
        row |= last_row(points)
        row |= {"best_elbo_test": best.elbo, "best_epoch": int(best.number)}
        rows.append(row | about_data(vae.data) | {"key": point.run.key})
        pieces.append(points.assign(**place))
    lines = pd.concat(pieces, ignore_index=True)
    return {"rows": pd.DataFrame(rows), "curves": lines[[*place, "effective_epoch", "quantity", "value", "se"]]}


def sweep_experiment(name: str, profile: Profile, dataset: str, likelihood: str, points: list[Point]) -> Experiment:
    """Return a sweep as an experiment: its rows are kept under its own name, its curves with those of all sweeps."""
    files = {"rows": name, "curves": "sweep_curves"}
    return Experiment(name, profile, dataset, likelihood, points, sweep_tables, files)
