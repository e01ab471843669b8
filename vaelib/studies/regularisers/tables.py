"""Tables of the regularisers: ``regularisers.csv``, a row a method and seed, and ``regulariser_tuning.csv``, a row a value."""

from typing import Any

import pandas as pd

from ...files import read_json
from ...runs.experiments import Experiment
from ...runs.settings import Regularisation, VAERun
from ...runs.store import Store
from ...runs.tables import about_data, curve, last_row, rows_of
from .stages import Tuned, Validation

STOPPING = "early_stopping"


def remedy_of(vae: VAERun, epochs: int) -> tuple[str, float]:
    """Return the remedy that a VAE was trained with and its value; fewer ``epochs`` than all are early stopping."""
    changed = {name: value for name, value in vae.regularisation if value != Regularisation.model_fields[name].default}
    if changed:
        return next(iter(changed.items()))
    return (STOPPING, float(vae.epochs)) if vae.epochs < epochs else ("", float("nan"))


def regulariser_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``regularisers`` (ELBOs and the three gaps at the last epoch, with errors) and ``tuning``.

    ``remedy`` and ``strength`` say what was chosen; ``at_edge`` that the strength is an end of its grid, where a wider grid
    might have more. In ``tuning``, ``method`` is what the remedy was added to and ``elbo_validation`` the mean over validation
    images, nats per image, with its standard error.
    """
    place: dict[str, Any] = experiment.setting
    tuning = _tuning(experiment, store, place)
    rows = []
    for point in experiment.points:
        run, found = point.run, {"remedy": "", "strength": float("nan"), "at_edge": False}
        if isinstance(run, Tuned):
            number = read_json(store.require(run) / "chosen.json")["candidate"]
            remedy, strength = remedy_of(run.candidates[number].vae, experiment.profile.epochs)
            tried = tuning[(tuning["method"] == run.vae.method) & (tuning["remedy"] == remedy)]["strength"]
            found = {"remedy": remedy, "strength": strength, "at_edge": strength in (tried.min(), tried.max())}
            run = run.gaps(number)
        row = place | {"method": point.series, "seed": run.vae.seed} | found | {"effective_epochs": run.vae.epochs}
        row |= last_row(curve(run, store))
        rows.append(row | about_data(experiment.data) | {"key": point.run.key})
    return {"regularisers": pd.DataFrame(rows), "tuning": tuning}


def _tuning(experiment: Experiment, store: Store, place: dict[str, Any]) -> pd.DataFrame:
    rows = []
    for point in experiment.measured(Validation):
        remedy, strength = remedy_of(point.run.vae, experiment.profile.epochs)
        measured = rows_of(point.run, store).iloc[0]
        row = place | {"method": point.run.vae.method, "remedy": remedy, "strength": strength, "seed": point.vae.seed}
        row |= {"elbo_validation": measured["value"], "elbo_validation_se": measured["se"]}
        row |= {"validation_images": point.run.held_out.size}
        rows.append(row | about_data(experiment.data) | {"key": point.run.key})
    return pd.DataFrame(rows)
