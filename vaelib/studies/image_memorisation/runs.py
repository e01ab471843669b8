"""Per-image memorisation as data: each method fitted to D_train without each of its folds in turn (van den Burg & Williams 2021).

A method is all that is done with the images. DMaaPx fits a diffusion model to D_train, so to leave an image out is to leave
it out of the *teacher's* training set: every fold has a teacher, a bank and a VAE of its own. With one teacher of all
images nothing would be left out: the bank, and so the VAE, would be the same for every fold, and M would be 0 for all images
whatever the teacher had copied from them.
"""

import math
from collections.abc import Mapping
from typing import Any

from ...errors import VaelibError
from ...runs.experiments import Experiment, Point, bank_of, likelihood_of, prepared, teacher_for, vae_for
from ...runs.profiles import load_profile
from .stages import Fold, Remembered
from .tables import memorisation_tables


def image_memorisation(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return log p(x) of all of D_train under VAEs that were fitted without one of K folds: a point a method and fold.

    Arguments and errors as for :func:`~vaelib.studies.three_gaps.runs.three_gaps`; a profile's section ``memorisation`` holds
    the budget: ``memorisation_folds``, ``memorisation_repeats`` (other partitions, other seeds), ``memorisation_methods``. The
    network is fully connected unless ``architecture`` says otherwise.
    """
    chosen = likelihood_of(dataset, likelihood)
    part = dataset if dataset == "cifar10" else chosen
    data, budget = prepared(dataset, load_profile(profile, f"memorisation_{part}", overrides, architecture="fc"))
    if "dmaapx" in budget.memorisation_methods and (budget.teacher_from or budget.bank_from):
        raise VaelibError(
            "image_memorisation fits a teacher to each fold, and one that others made is the same for all of them: unset "
            'teacher_from and bank_from, or set memorisation_methods to ["normal"]'
        )
    if budget.memorisation_folds > data.n_train:
        raise VaelibError(
            f"memorisation_folds = {budget.memorisation_folds}: {dataset} has n_train = {data.n_train} images, and none to "
            f"leave out of some folds; choose 2 to {data.n_train}"
        )
    last = {"evaluations": (budget.epochs,), "snapshots": (budget.epochs,)}
    points = []
    for repeat in range(budget.memorisation_repeats):
        for fold in range(budget.memorisation_folds):
            part = Fold.of(data, budget.memorisation_folds, fold, repeat)
            for method in budget.memorisation_methods:
                bank = None
                if method == "dmaapx":
                    bank = bank_of(teacher_for(part, budget, seed=repeat), part, budget, seed=repeat)
                vae = vae_for(part, budget, chosen, method, repeat, bank=bank, **last)
                run = Remembered(data=data, vae=vae, draws=budget.memorisation_draws, steps=budget.amortization_steps)
                points.append(Point(method, math.nan, run.model_copy(update={"seed": repeat})))
    return Experiment("image_memorisation", budget, data.name, chosen, points, memorisation_tables)
