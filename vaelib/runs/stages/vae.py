"""Training one VAE by one method, scored along the way (Eqs. 3, 7–9)."""

import dataclasses

import torch
from torch import Tensor

from ... import files, gaps, rng
from ...data import augmentation
from ...errors import VaelibError
from ...models import VAE, FullyConnectedVAE, build_likelihood
from ...samplers.bank import Bank as BankImages
from ...training.distributions import TrainingDistribution
from ...training.vae import VAEState, train_vae
from ..settings import Network, VAERun
from ..store import Store, load_tensors, save_tensors
from .context import Context


def build_vae(network: Network, channels: int, seed: int = 0) -> VAE:
    """Return an untrained VAE; its weights are a function of the seed."""
    options = {"gaussian": {"sigma": network.sigma}, "mol": {"mixtures": network.mixtures}}.get(network.likelihood, {})
    likelihood = build_likelihood(network.likelihood, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.derive(seed, "vae"))
        return FullyConnectedVAE(network.latents, network.hidden, channels, likelihood)


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
    vae.load_state_dict(load_tensors(store.require(settings) / f"weights-{epoch:05d}.safetensors")[0])
    return vae.to(device or torch.device("cpu")).eval()


def training_distribution(settings: VAERun, context: Context) -> TrainingDistribution:
    """Return what the run trains on (Eqs. 7–9)."""
    augment = None
    if settings.method == "dmaapx":
        stop = settings.k * settings.data.n_train if settings.k else None
        pool = BankImages(context.store.require(settings.bank)).images(0, stop).to(context.device)
    else:
        pool = context.split(settings.data, "train")
        if settings.method != "normal":
            tables = augmentation(settings.method, settings.data.name)
            augment = dataclasses.replace(tables, p=settings.augment_probability)
    return TrainingDistribution(pool, settings.data.n_train, seed=settings.seed, augmentation=augment)


def _own_images(distribution: TrainingDistribution) -> Tensor:
    """Return N fixed images of the distribution itself, floats (Fig. 13's dotted curves)."""
    probe = TrainingDistribution(
        distribution.pool,
        distribution.n_train,
        seed=rng.derive(distribution.seed, "own"),
        augmentation=distribution.augmentation,
    )
    size = min(500, distribution.n_train)
    return torch.cat([probe.batch(step, size) for step in range(distribution.n_train // size)])


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean over images and its standard error."""
    values = values.double()
    return float(values.mean()), float(values.std() / len(values) ** 0.5) if len(values) > 1 else 0.0


def make_vae(settings: VAERun, context: Context) -> None:
    """Train; score D_train, D_test and the training distribution at ``evaluations``; keep weights at ``snapshots``."""
    vae = build_vae(settings.network, settings.data.channels, settings.seed).to(context.device)
    state, curve = VAEState(vae, settings.lr), []
    if (saved := context.resume()) is not None:
        state.load(saved[0], saved[1]["epochs"])
        curve = saved[1]["curve"]
    distribution = training_distribution(settings, context)
    sets = {"elbo_train": context.split(settings.data, "train"), "elbo_test": context.split(settings.data, "test")}
    sets["elbo_own"] = sets["elbo_train"] if settings.method == "normal" else _own_images(distribution)
    loop = train_vae(
        state,
        distribution,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=settings.seed,
        amp=settings.amp,
    )
    for number, running in loop:
        if number in settings.snapshots:
            save_tensors(context.folder / f"weights-{number:05d}.safetensors", vae.state_dict())
        if number in settings.evaluations:
            for quantity, images in sets.items():
                value, se = mean_and_error(gaps.evaluate_elbo(vae, images))
                curve.append({"effective_epoch": number, "quantity": quantity, "value": value, "se": se})
        context.checkpoint(state.tensors, {"epochs": number, "curve": curve})
        context.report(number / settings.epochs, f"ELBO {running:,.0f}")
    files.write_json(context.folder / "curve.json", curve)
