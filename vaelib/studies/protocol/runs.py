"""Which protocol is the paper's: candidates trained for a few epochs at the paper's n, to be scored by its raw curves.

The paper names neither its optimiser's settings nor, for FashionMNIST, how the decoder's output becomes a pixel's mean. Its
figures do: under the thick curves lie thin ones, an ELBO an epoch, whose first epochs tell protocols apart by hundreds of
nats. Each candidate differs from the default in what its name says; all are normal training with one seed.
"""

import math
from collections.abc import Mapping
from typing import Any

from ...errors import VaelibError
from ...runs.experiments import Experiment, Point, likelihood_of, prepared, vae_for
from ...runs.profiles import Profile, architecture, load_profile
from ...runs.settings import Data
from ...runs.stages.data import PUBLISHED
from ..sweeps.tables import sweep_experiment

DEFAULT = "the default"
# Learning rate and batch size of the two ancestors' code, and what lies between.
ANCESTORS: dict[str, dict[str, Any]] = {
    "lr 3e-4, batches of 256 (HIT)": {"lr": 3e-4, "batch_size": 256},
    "lr 1e-4, batches of 100 (Zhang et al.)": {"lr": 1e-4, "batch_size": 100},
}
RATES: dict[str, dict[str, Any]] = {"lr 3e-4": {"lr": 3e-4}, "batches of 128": {"batch_size": 128}} | ANCESTORS
FAST: dict[str, Any] = {"lr": 1e-3, "batch_size": 64}  # the default without a mixture of logistics
# Setting -> candidate -> the profile's settings in which it differs from the default.
CANDIDATES: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("fashion_mnist", "gaussian"): {
        "linear mean": {"mean": "linear"},
        "sigma 0.025": {"sigma": 0.025},
        "sigma 0.04": {"sigma": 0.04},
    }
    | RATES,
    ("binary_mnist", "bernoulli"): RATES,
    # A mixture's epoch takes minutes: what is 4 to 5 % off after three is not trained on.
    ("fashion_mnist", "mol"): {
        "batches of 64": FAST,
        "lr 3e-4, batches of 64": FAST | {"lr": 3e-4},
        "5 components, batches of 64": FAST | {"mixtures": 5},
    }
    | {name: changes | {"epochs": 3} for name, changes in ANCESTORS.items()},
    ("cifar10", "mol"): {
        "lr 1e-3, batches of 64": FAST,
        "lr 3e-4, batches of 64": FAST | {"lr": 3e-4},
        "lr 1e-3, batches of 64, mixture per channel": FAST | {"rgb": "per_channel"},
        "lr 1e-3, batches of 64, mixture of Zhang et al.": FAST | {"rgb": "zhang2022"},
    }
    | ANCESTORS,
}


def repeats(data: Data, budget: Profile) -> float:
    """Return how often the training images are seen in an epoch of the paper's: more than once where a part stands for all."""
    return PUBLISHED[data.name][0] / data.n_train if budget.n_train is None else 1.0


def calibrate_protocol(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return the candidates of one of the paper's settings: a point each, scored on all of D_train and D_test every epoch.

    Where only a part of the data set is here, it is repeated, so that an epoch has as many steps as the paper's.

    Arguments are those of :func:`~vaelib.studies.three_gaps.runs.three_gaps`; a profile's section ``protocol`` holds the budget.

    Raises:
        VaelibError: a data set and likelihood of which the paper shows no raw curve, or as ``three_gaps``.
    """
    chosen = likelihood_of(dataset, likelihood)
    if (dataset, chosen) not in CANDIDATES:
        known = ", ".join(f"{name} with {one}" for name, one in CANDIDATES)
        raise VaelibError(
            f"the paper has no raw curve of {dataset} with {chosen} to calibrate on; choose one of {known}"
        )
    part = dataset if architecture(dataset, chosen) == "residual" else chosen
    data, budget = prepared(dataset, load_profile(profile, f"protocol_{part}", overrides))

    def point(name: str, changes: Mapping[str, Any]) -> Point:
        count, passes = min(budget.epochs, changes.get("epochs", budget.epochs)), repeats(data, budget)
        epochs = tuple(round(number * passes) for number in range(1, count + 1))
        if count == 1:  # each pass over a part of the images shows the curve's noise, from half an epoch on
            epochs = tuple(range((epochs[0] + 1) // 2, epochs[0] + 1))
        changed = budget.changed({**changes, "epochs": epochs[-1]})
        run = vae_for(data, changed, chosen, "normal", 0, evaluations=epochs, snapshots=epochs[-1:])
        return Point(name, math.nan, run)

    candidates = {DEFAULT: {}} | CANDIDATES[dataset, chosen]
    return sweep_experiment("calibrate_protocol", budget, dataset, chosen, [point(*one) for one in candidates.items()])
