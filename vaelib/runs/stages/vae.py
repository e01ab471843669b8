"""Training one VAE by one method, scored along the way (Eqs. 3, 7–9); going on with its encoder alone (Fig. 5)."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ... import files, gaps, rng
from ...data import augmentation
from ...data.augment import TUNED
from ...errors import VaelibError
from ...models import VAE, FullyConnectedVAE, ResidualVAE
from ...models.weights import load_weights
from ...samplers.bank import Bank as BankImages
from ...training.distributions import MixedDistribution, Stream, TrainingDistribution
from ...training.mollify import Mollified, Mollify
from ...training.regularise import Regulariser
from ...training.rha import encoder_state, train_encoder
from ...training.vae import Epoch, VAEState, train_vae
from ..cost.work import (
    AUGMENT_FLOPS,
    AUGMENT_KERNELS,
    PIXELS,
    SCORING,
    STEP,
    Work,
    vae_kernels,
    vae_parameters,
    vae_work,
)
from ..kinds import makes
from ..settings import RHA, Network, VAERun
from ..store import Store, load_tensor, load_tensors, save_tensors
from .context import Context

TELL_EVERY = 1.0  # seconds between reports, and looks whether a checkpoint is due, within an epoch


def build_vae(network: Network, channels: int, seed: int = 0) -> VAE:
    """Return an untrained VAE; its weights are a function of the seed."""
    likelihood = network.pixels()
    with rng.seeded(seed, "vae"):
        if network.architecture == "fc":
            return FullyConnectedVAE(network.latents, network.hidden, channels, likelihood)
        return ResidualVAE(network.nc, network.mz, channels, likelihood, network.skip, network.variant)


def load_vae(settings: VAERun, store: Store, epoch: int | None = None, device: torch.device | None = None) -> VAE:
    """Return the trained VAE as it was after ``epoch`` effective epochs (default: the last).

    Raises:
        VaelibError: not made yet, or no snapshot was kept at that epoch.
    """
    epoch = settings.snapshots[-1] if epoch is None else epoch
    if epoch not in settings.snapshots:
        kept = ", ".join(map(str, settings.snapshots))
        raise VaelibError(f"epoch = {epoch}: no weights were kept there; snapshots are at {kept}")
    vae = build_vae(settings.network, settings.data.channels)
    path = store.require(settings) / f"weights-{epoch:05d}.safetensors"
    load_weights(vae, load_tensors(path)[0], path)
    return vae.to(device or torch.device("cpu")).eval()


def training_distribution(settings: VAERun, context: Context) -> Stream:
    """Return what the run trains on (Eqs. 7–9, Figs. 14 and 15)."""
    n_train, stop = settings.data.n_train, settings.k * settings.data.n_train if settings.k else None
    augment = None
    if settings.method.startswith("aug_"):
        tables = augmentation(settings.method, settings.data.name)
        augment = dataclasses.replace(tables, p=settings.augment_probability)

    options = {"seed": settings.seed, "augmentation": augment}

    def stream(pool: Tensor) -> TrainingDistribution:
        return TrainingDistribution(pool.to(context.device), n_train, **options)

    def synthetic() -> TrainingDistribution:
        bank = BankImages(context.store.require(settings.bank), stop)
        return TrainingDistribution(bank, n_train, device=context.device, **options)

    distribution: Stream
    if settings.held_out is not None:
        distribution = stream(load_tensor(context.store.require(settings.held_out) / "images.npy", stop))
    elif settings.method == "dmaapx":
        distribution = synthetic()
    else:
        distribution = stream(context.split(settings.data, "train"))
        if settings.real_share is not None:
            distribution = MixedDistribution(distribution, synthetic(), settings.real_share)
    if settings.mollify == "none":
        return distribution
    clip = settings.network.likelihood != "gaussian"  # other densities know no pixel outside [0, 1]
    return Mollified(distribution, Mollify(), epochs=settings.epochs, seed=settings.seed, clip=clip)


def regulariser_of(settings: VAERun) -> Regulariser | None:
    """Return what a run maximises in place of the ELBO; None where it is the ELBO.

    An image is transformed as by the augmentation tuned to its data set (own images: by the naive one), each time by all of it.
    """
    chosen = settings.regularisation.model_dump(exclude={"weight_decay"})
    if not any(chosen.values()):
        return None
    tuned = augmentation("aug_tuned" if settings.data.name in TUNED else "aug_naive", settings.data.name)
    return Regulariser(**chosen, transform=dataclasses.replace(tuned, p=1.0), seed=settings.seed)


def evaluation_sets(settings: VAERun, distribution: Stream, context: Context) -> dict[str, Tensor | str]:
    """Return the images that are scored: D_train, D_test, and N of the distribution's own (Fig. 13's dotted curves).

    Normal training's own images are D_train, named instead of scored twice.
    """
    plain = settings.method == "normal" and settings.real_share is None and settings.mollify == "none"
    return {
        "elbo_train": context.split(settings.data, "train"),
        "elbo_test": context.split(settings.data, "test"),
        "elbo_own": "elbo_train" if plain else distribution.sample(settings.data.n_train, settings.seed),
    }


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean over images and its standard error, of one image NaN."""
    values = values.double()
    return float(values.mean()), float(values.std() / len(values) ** 0.5) if len(values) > 1 else math.nan


def score(vae: VAE, sets: dict[str, Tensor | str], epoch: int) -> list[dict[str, Any]]:
    """Return the mean ELBO of each set as rows of a curve."""
    rows: dict[str, dict[str, Any]] = {}
    for quantity, images in sets.items():
        if isinstance(images, str):
            rows[quantity] = {**rows[images], "quantity": quantity}
        else:
            value, se = mean_and_error(gaps.evaluate_elbo(vae, images))
            rows[quantity] = {"effective_epoch": epoch, "quantity": quantity, "value": value, "se": se}
    return list(rows.values())


def follow(
    context: Context,
    state: VAEState,
    train: Callable[..., Iterator[Epoch]],
    run: VAERun | RHA,
    sets: dict[str, Tensor | str],
) -> None:
    """``train`` the ``state`` of a ``run`` from its last checkpoint, scoring ``sets`` at its evaluations."""
    first, snapshots = (run.start, (run.epochs,)) if isinstance(run, RHA) else (0, run.snapshots)
    curve: list[dict[str, Any]] = []
    if (saved := context.resume()) is not None:
        curve = saved[1].pop("curve")
        state.load(saved[0], **saved[1])  # before the first step, which begins where the state is
    told, note = time.monotonic(), ""

    def keep(epochs: float) -> None:
        nonlocal told
        told = time.monotonic()
        context.checkpoint(lambda: (state.tensors(), state.meta() | {"curve": curve}))
        context.report((epochs - first) / (run.epochs - first), note)

    def now_and_then(epochs: float) -> None:
        unfinished = epochs < run.epochs  # who hears of all of it takes the run for made
        if unfinished and time.monotonic() - told > TELL_EVERY:
            keep(epochs)

    for number, running in train(after_step=now_and_then):
        if number in snapshots:
            save_tensors(context.folder / f"weights-{number:05d}.safetensors", state.vae.state_dict())
        if number in run.evaluations:
            curve += score(state.vae, sets, number)
        note = f"ELBO {running:,.0f}"
        keep(number)
    files.write_json(context.folder / "curve.json", curve)


MASKED, NOISED = 9e7, 1.5e8  # masks of dropout, and normal numbers, that a core draws a second


def _drawing(run: VAERun) -> float:
    """Return the seconds in which a core draws what a regulariser adds to an image; masks of fully connected networks alone."""
    remedies, fc = run.regularisation, run.network.architecture == "fc"
    masks = 4 * run.network.hidden if remedies.dropout and fc else 0
    return masks / MASKED + (PIXELS * run.data.channels / NOISED if remedies.denoising else 0)


def training_work(run: VAERun, epochs: int, evaluations: int) -> Work:
    n, test = run.data.n_train, run.data.n_test
    twice = 2 if run.regularisation.consistency else 1  # an image and its transformed one
    scored = evaluations * (test + n * (1 if run.method == "normal" else 2))
    passes = 3 * epochs * n * twice + scored
    steps, kernels = epochs * n / run.batch_size, vae_kernels(run.network, run.data.channels)
    augmented = run.method.startswith("aug_") + twice - 1
    besides = STEP + AUGMENT_KERNELS * augmented
    work = vae_work(run, passes, passes, 0)
    work = work._replace(fc=work.fc + AUGMENT_FLOPS * PIXELS * run.data.channels * epochs * n * augmented)
    started = steps * besides + scored / 1_000 * SCORING * kernels
    return work._replace(kernels=started, captured=steps * kernels * twice, core=twice * epochs * n * _drawing(run))


@makes(
    VAERun,
    work=lambda run: training_work(run, run.epochs, len(run.evaluations)),
    size=lambda run: 4 * vae_parameters(run.network, run.data.channels) * len(run.snapshots),
)
def make_vae(settings: VAERun, context: Context) -> None:
    """Train; score D_train, D_test and the training distribution at ``evaluations``; keep weights at ``snapshots``."""
    vae = build_vae(settings.network, settings.data.channels, settings.seed).to(context.device)
    state = VAEState(vae, settings.lr, weight_decay=settings.regularisation.weight_decay)
    distribution = training_distribution(settings, context)
    options = settings.only("epochs batch_size lr_decay seed amp")
    train = partial(train_vae, state, distribution, **options, regulariser=regulariser_of(settings))
    follow(context, state, train, settings, evaluation_sets(settings, distribution, context))


@makes(
    RHA,
    work=lambda rha: training_work(rha.vae, rha.epochs - rha.start, len(rha.evaluations)),
    size=lambda rha: 4 * vae_parameters(rha.vae.network, rha.vae.data.channels),
)
def make_rha(settings: RHA, context: Context) -> None:
    """Train the encoder of a half-trained VAE on real images and its decoder's samples; score as for a VAE."""
    run = settings.vae
    vae = load_vae(run, context.store, settings.start, context.device)
    state = encoder_state(vae, run.lr, settings.start)
    distribution = training_distribution(run, context)
    options = settings.only("epochs seed source real_share") | run.only("batch_size lr_decay amp")
    train = partial(train_encoder, state, distribution, **options)
    follow(context, state, train, settings, evaluation_sets(run, distribution, context))
