"""Six cheap remedies against overfitting, tuned alike, beside the four methods of the paper; and the best of them on DMaaPx.

Each remedy is tried with a few values (the profile's ``<name>_grid``) from seed 0; the value with the highest ELBO on
validation images, real training images that are in neither D_train nor D_test, is trained from every seed. No test image has
a part in the choice. Early stopping is tuned by the same rule: its values are shares of the epochs. On DMaaPx all values of
all remedies are candidates for one choice.
"""

import math
from collections.abc import Mapping
from typing import Any

from ...errors import VaelibError
from ...runs.experiments import (
    Experiment,
    Point,
    gaps_for,
    likelihood_of,
    methods_for,
    prepared,
    vae_for,
)
from ...runs.profiles import Profile, architecture, load_profile
from ...runs.settings import Data, HeldOut, Regularisation, VAERun
from ...runs.stages import spare_images
from ...training.distributions import PAIR
from .stages import Tuned, Validation
from .tables import STOPPING, regulariser_tables

ON_DMAAPX = "dmaapx_regularised"
REMEDIES = (*Regularisation.model_fields, STOPPING)
FEWEST = 10  # validation images for every hundred training images, at least
KEPT_BACK = 6  # where too few are left beside D_train, a sixth of it is held out


def with_validation(dataset: str, budget: Profile) -> tuple[Data, Profile, HeldOut]:
    """Return a data set, the profile and validation images: real training images beside D_train.

    Where too few are left (all images are in D_train), D_train gives a sixth of them up.

    Raises:
        VaelibError: too few images for that.
    """
    data, ready = prepared(dataset, budget)
    if 100 * spare_images(data) < FEWEST * data.n_train:
        fewer = data.n_train - data.n_train // KEPT_BACK
        data, ready = prepared(dataset, budget.changed({"n_train": fewer}))
    count = min(budget.validation_images, spare_images(data))
    if count < 2:
        raise VaelibError(
            f"dataset = {dataset}: no two validation images are left beside n_train = {data.n_train}; set it to at most "
            f"{data.n_train + count - 2}, or give more images"
        )
    return data, ready, HeldOut(data=data, size=count)


def values_of(remedy: str, budget: Profile) -> list[float]:
    """Return the values that a remedy is tried with, ascending; those of early stopping in effective epochs."""
    grid = sorted(set(getattr(budget, f"{remedy}_grid")))
    return sorted({max(1, round(share * budget.epochs)) for share in grid}) if remedy == STOPPING else grid


def regularised(data: Data, budget: Profile, likelihood: str, method: str, remedy: str, value: float) -> VAERun:
    """Return one VAE with one remedy at one value, scored and kept at its last epoch alone, from seed 0."""
    epochs = int(value) if remedy == STOPPING else budget.epochs
    changes: dict[str, Any] = {"epochs": epochs, "evaluations": (epochs,), "snapshots": (epochs,)}
    if remedy != STOPPING:
        changes["regularisation"] = {remedy: value}
    return vae_for(data, budget, likelihood, method, 0, **changes)


def regularisers(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return the gaps of the four methods, of every tuned remedy and of DMaaPx with the best one; beside them the tuning.

    Arguments and errors as for :func:`~vaelib.studies.three_gaps.runs.three_gaps`; a profile's section ``regularisers``
    holds the budget of the fully connected network.

    Raises:
        VaelibError: also where no images are left to validate on.
    """
    chosen = likelihood_of(dataset, likelihood)
    small = "mol" if chosen == "mol" else "regularisers"
    variant = f"residual_{dataset}" if architecture(dataset, chosen) == "residual" else small
    data, budget, held_out = with_validation(dataset, load_profile(profile, variant, overrides))

    def validation(vae: VAERun) -> Validation:
        return Validation(vae=vae, held_out=held_out)

    plain = {method: vae_for(data, budget, chosen, method, 0) for method in methods_for(data.name)}
    protocol = gaps_for(plain["normal"], budget).model_dump(exclude={"vae"}, exclude_defaults=True)
    also = [Point(method, math.nan, validation(plain[method])) for method in PAIR]
    tried: dict[str, dict[str, list[Validation]]] = {}
    for method in PAIR:
        for remedy in REMEDIES:
            for value in values_of(remedy, budget):
                candidate = validation(regularised(data, budget, chosen, method, remedy, value))
                tried.setdefault(method, {}).setdefault(remedy, []).append(candidate)
                also.append(Point(remedy, value, candidate))
    on_dmaapx = [candidate for several in tried["dmaapx"].values() for candidate in several]
    tuned = tried["normal"] | {ON_DMAAPX: on_dmaapx}
    points = []
    for seed in range(budget.seeds):
        for method, vae in plain.items():
            points.append(Point(method, math.nan, gaps_for(vae.model_copy(update={"seed": seed}), budget)))
        for name, candidates in tuned.items():
            points.append(Point(name, math.nan, Tuned(candidates=candidates, protocol=protocol, seed=seed)))
    files = {"tuning": "regulariser_tuning"}
    return Experiment("regularisers", budget, data.name, chosen, points, regulariser_tables, files, also)
