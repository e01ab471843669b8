"""The small experiment of notebook 00: one VAE in this process, trained and measured through the library's own API."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from .. import gaps, paths, rng
from ..data import ImageData, load_dataset
from ..data.identity import dataset_tag
from ..models import VAE
from ..progress import Progress
from ..report.canvas import ReportFigure
from ..report.publish import publish_alone, setting_tag
from ..report.rules import Evidence
from ..report.study import Figure
from ..report.trained import keep_weights, kept_weights
from ..runs import Profile, load_profile
from ..runs.experiments import likelihood_of, network_for, spaced
from ..runs.profiles import architecture
from ..runs.settings import Network
from ..runs.stages import build_vae, lowered
from ..runs.stages.vae import mean_and_error
from ..text import number
from ..training.distributions import TrainingDistribution
from ..training.vae import VAEState, train_vae
from .three_gaps.figures import three_gaps_figure
from .three_gaps.sentences import QUANTITIES, UNCLEAR, direction

SHOWN_ATTACK = Figure(
    "tour_attack", "Test images under attack, and what becomes of their reconstructions (notebook 00)."
)
SHOWN_OVERFITTING = Figure(
    "tour_overfitting",
    "Training on N and on 10 N real images: ELBO on training (dashed) and test images (notebook 00).",
)


def budget(profile: str, dataset: str, likelihood: str, overrides: Mapping[str, Any] | None = None) -> Profile:
    """Return the profile as it applies to the tour of a data set."""
    residual = architecture(dataset, likelihood) == "residual"
    return load_profile(profile, "tour_residual" if residual else f"tour_{likelihood}", overrides)


def few_and_many(dataset: str, budget: Profile, seed: int) -> tuple[ImageData, ImageData, Profile]:
    """Return N training images, ten times as many, and the budget: where there are too few images, N is a tenth of them.

    What the profile leaves open of an attack is Table 2's.
    """
    tag, n_test = dataset_tag(dataset), budget.n_test
    there = load_dataset(dataset, n_train=10 * budget.n_train, n_test=n_test, at_most=True, seed=seed)
    n = lowered(tag, "n_train of the tour", budget.n_train, max(2, len(there.train) // 10))
    sizes = {"n_train": n, "n_test": lowered(tag, "n_test", n_test, len(there.test))}
    sizes["batch_size"] = lowered(tag, "batch_size of the tour", budget.batch_size, n)
    few, many = (load_dataset(dataset, n_train=m, n_test=n_test, at_most=True, seed=seed) for m in (n, 10 * n))
    return few, many, budget.changed(sizes | budget.attack(tag))


def untrained(dataset: str, likelihood: str, budget: Profile, channels: int, seed: int) -> VAE:
    """Return the paper's VAE for a data set (Table 3) before training."""
    return build_vae(network_for(dataset, budget, likelihood), channels, seed)


class Training(NamedTuple):
    """What became of one training.

    Attributes:
        points: (effective epoch, ELBO on D_train, ELBO on D_test), nats per image.
        error: the standard error of their last difference, the generalization gap, over the images of both.
    """

    points: list[tuple[int, float, float]]
    error: float


def fit(
    vae: VAE, stream: TrainingDistribution, train: Tensor, test: Tensor, budget: Profile, seed: int, title: str
) -> Training:
    """Train ``vae`` on ``stream`` and score it on ``train`` and ``test`` along the way.

    Its weights are kept for :func:`vaelib.results.shipped.pack`; under ``use_results`` they are those that were shipped.
    """
    folder = paths.results_folder(budget.name) if budget.use_results else paths.build_root() / budget.name
    path = paths.weights_file(folder, f"tour-{_key(vae, stream, train, test, budget, seed)}")
    if budget.use_results:
        points = [tuple(point) for point in kept_weights(path, vae)["points"]]
        print(f"{title}: not trained here; weights (in half precision) and curve come with the project")
    else:
        points = _trained(vae, stream, train, test, budget, seed, title)
        keep_weights(path, vae, points=points)
    variances = [gaps.evaluate_elbo(vae, images).var() / len(images) for images in (train, test)]
    return Training(points, float(sum(variances) ** 0.5))


def _trained(
    vae: VAE, stream: TrainingDistribution, train: Tensor, test: Tensor, budget: Profile, seed: int, title: str
) -> list[tuple[int, float, float]]:
    points, wanted = [], set(spaced(budget.epochs, budget.evaluations)) | {1}
    with Progress(budget.epochs, title, "epochs") as progress:
        loop = train_vae(VAEState(vae, budget.lr), stream, **budget.only("epochs batch_size lr_decay amp"), seed=seed)
        for epoch, running in loop:
            if epoch in wanted:
                scores = [float(gaps.evaluate_elbo(vae, images).mean()) for images in (train, test)]
                points.append((epoch, *scores))
            progress.update(1, f"ELBO {running:,.0f}")
    return points


COLOURED = ("normal", "held_out")  # in whose colours few and many images are drawn


def overfitting_figure(runs: Mapping[str, Training], title: str) -> ReportFigure:
    """Return the ELBOs of few and of many images over epochs, as Fig. 2 (left) has those of the methods."""
    place = {"dataset": "", "likelihood": "", "seed": 0}
    rows = [
        place | {"method": method, "effective_epoch": epoch, "quantity": quantity, "value": value}
        for method, run in zip(COLOURED, runs.values(), strict=True)
        for epoch, *elbos in run.points
        for quantity, value in zip(("elbo_train", "elbo_test"), elbos, strict=True)
    ]
    labels = dict(zip(COLOURED, runs, strict=True))
    return three_gaps_figure(pd.DataFrame(rows), pd.DataFrame(), labels=labels, title_note=title)


def _key(vae: VAE, stream: TrainingDistribution, train: Tensor, test: Tensor, budget: Profile, seed: int) -> str:
    """Return what names a training of the tour: a hash of all that changes its weights or its curve."""
    kinds = {"architecture": type(vae).__name__, "likelihood": type(vae.likelihood).__name__}
    training = budget.model_dump(include={"epochs", "evaluations", "batch_size", "lr", "lr_decay", "amp"})
    told = hashlib.sha256(json.dumps([budget.values(Network, **kinds), training, seed], sort_keys=True).encode())
    for images in (stream.pool, train, test):
        told.update(images.numpy().tobytes())
    return told.hexdigest()[:20]


@torch.no_grad()
def attacked(vaes: Mapping[str, VAE], x: Tensor, budget: Profile, seed: int) -> dict[str, Tensor]:
    """Return rows of images: ``x``, and for each VAE the attacked input and both reconstructions (decoder means)."""
    rows = {"image": x}
    options = budget.only("steps radius gradient start", "attack_")
    for title, vae in vaes.items():
        (x_a,) = gaps.attack_encoder(vae, x, restarts=1, seed=seed, **options)
        rows[f"{title}\nattacked"] = x_a
        for label, images in (("reconstruction", x), ("after the attack", x_a)):
            rows[f"{title}\n{label}"] = vae.likelihood.mean(vae.decode(vae.encode(images).mu))
    return rows


def robustness(
    vaes: Mapping[str, VAE], test: Tensor, labels: Tensor, budget: Profile, seed: int
) -> dict[str, dict[str, Tensor]]:
    """Return each VAE's similarities under attack and its G_r (Eq. 5), one value an image."""
    measured = {}
    for title, vae in vaes.items():
        result = gaps.robustness_gap(
            vae,
            test,
            labels,
            n_images=min(budget.attack_images, len(test)),
            seed=rng.derive(seed, "tour"),
            **budget.only("steps radius restarts gradient start", "attack_"),
        )
        measured[title] = {
            "inputs": result.input_similarity,
            "reconstructions": result.reconstruction_similarity,
            "gap": result.gap,
            "clean floor": result.floor,
        }
    return measured


def conclusion(
    runs: Mapping[str, Training],
    best: Mapping[str, gaps.OptimizedPosterior],
    attack: Mapping[str, Mapping],
) -> str:
    """Return what became of the three gaps from the first of two training sets to the second, made of the numbers.

    The judgement is the ledger's for one seed: over images, and a tenth of a gap for what another seed would change.
    """
    values, errors = {}, {}
    for title, run in runs.items():
        _, train, test = run.points[-1]
        values[title, "generalization_gap"], errors[title, "generalization_gap"] = {0: train - test}, {0: run.error}
        for quantity, each in {"amortization_gap": best[title].gap, "robustness_gap": attack[title]["gap"]}.items():
            mean, error = mean_and_error(each)
            values[title, quantity], errors[title, quantity] = {0: mean}, {0: error}
    evidence, (few, many) = Evidence(values, errors), runs
    lines = []
    for quantity in ("generalization_gap", "amortization_gap", "robustness_gap"):
        word = {-1: "shrinks", 1: "grows"}.get(direction(evidence, quantity, many, few), f"is {UNCLEAR}")
        before, after = (number(evidence.mean(title, quantity)) for title in (few, many))
        lines.append(f"- The {QUANTITIES[quantity][0]} {word}: {before} with {few}, {after} with {many}.")
    return "\n".join(lines)


def setting_of(dataset: str, likelihood: str) -> dict[str, str]:
    """Return data set and likelihood as records and file names have them."""
    return {"dataset": dataset_tag(dataset), "likelihood": likelihood_of(dataset, likelihood)}


def saved(figure: ReportFigure, shown: Figure, profile: str, dataset: str, likelihood: str) -> ReportFigure:
    """Save a figure of the tour and return it."""
    place = setting_of(dataset, likelihood)
    return publish_alone(figure, shown, profile, "tour", setting_tag(**place), **place)
