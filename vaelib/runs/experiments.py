"""Experiments as data: which runs stand behind which figure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import VaelibError
from ..training.distributions import METHODS
from .profiles import Profile, load_profile, protocol
from .settings import Bank, Data, Gaps, Network, Teacher, VAERun, checked
from .stages import resolve_data


class Experiment(NamedTuple):
    """A profile applied to a data set, and the runs it asks for."""

    name: str
    profile: Profile
    dataset: str
    likelihood: str
    runs: list[Gaps]

    @property
    def data(self) -> Data:
        """Return the data set that all runs share."""
        return self.runs[0].vae.data


def spaced(last: int, points: int) -> tuple[int, ...]:
    """Return up to ``points`` evenly spaced whole numbers that end in ``last``, without 0.

    >>> spaced(200, 4)
    (50, 100, 150, 200)
    """
    return tuple(sorted({max(1, round(last * i / points)) for i in range(1, points + 1)}))


def teacher_for(data: Data, profile: Profile) -> Teacher:
    """Return the diffusion model of a data set under a profile."""
    return Teacher(
        data=data,
        network=profile.teacher,
        width=profile.teacher_width,
        dropout=profile.teacher_dropout,
        images=profile.teacher_images,
        batch_size=profile.teacher_batch_size,
        lr=profile.teacher_lr,
        lr_rampup=profile.teacher_lr_rampup,
        lr_decay=profile.teacher_lr_decay,
        ema_halflife=profile.teacher_ema_halflife,
        amp=profile.amp,
    )


def bank_for(data: Data, profile: Profile, k: int | None = None) -> Bank:
    """Return the bank of k·N samples of a data set's teacher."""
    binarize = protocol(data.name).binarize if profile.binarize_bank is None else profile.binarize_bank
    return Bank(
        teacher=teacher_for(data, profile),
        size=(k or profile.k) * data.n_train,
        steps=profile.sampler_steps,
        sigma_min=profile.sampler_sigma_min,
        sigma_max=profile.sampler_sigma_max,
        batch_size=profile.sampler_batch_size,
        binarize=binarize,
        shard_size=profile.shard_size,
        amp=profile.amp,
    )


def vae_for(data: Data, profile: Profile, likelihood: str, method: str, seed: int) -> VAERun:
    """Return one VAE of the method comparison (Sec. 5.2)."""
    network = Network(
        latents=profile.latents,
        hidden=profile.hidden,
        likelihood=likelihood,
        sigma=profile.sigma,
        mixtures=profile.mixtures,
    )
    # Where ten points or more are affordable, three early ones show the start of the curve.
    early = [epoch for epoch in (1, 2, 5) if epoch < profile.epochs and profile.evaluations >= 10]
    values = {
        "data": data,
        "network": network,
        "method": method,
        "bank": bank_for(data, profile) if method == "dmaapx" else None,
        "augment_probability": profile.augment_probability,
        "epochs": profile.epochs,
        "batch_size": profile.batch_size,
        "lr": profile.lr,
        "amp": profile.amp,
        "evaluations": tuple(sorted({*early, *spaced(profile.epochs, profile.evaluations)})),
        "snapshots": spaced(profile.epochs, profile.gap_points),
        "seed": seed,
    }
    return checked(VAERun, values, "a VAE run")


def gaps_for(vae: VAERun, profile: Profile) -> Gaps:
    """Return the gap measurement of a VAE; what the profile leaves open is Table 2's."""
    table_2 = protocol(vae.data.name)
    images = profile.amortization_images
    return Gaps(
        vae=vae,
        amortization_images=min(images, vae.data.n_test) if images else None,
        amortization_samples=profile.amortization_samples,
        amortization_steps=profile.amortization_steps,
        amortization_lr=profile.amortization_lr,
        attack_images=min(profile.attack_images or table_2.attack_images, vae.data.n_test),
        attack_restarts=profile.attack_restarts,
        attack_steps=profile.attack_steps or table_2.attack_steps,
        attack_radius=profile.attack_radius or table_2.attack_radius,
        attack_gradient=profile.attack_gradient,
        similarity=profile.similarity,
        reconstruction=profile.reconstruction,
    )


def three_gaps(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return the headline experiment (Figs. 2, 10–13, Table 7): four training methods × seeds, and their gaps.

    Arguments:
        profile: ``smoke``, ``laptop``, ``gpu`` or ``paper``.
        dataset: a name or path that :func:`vaelib.data.load_dataset` knows.
        likelihood: ``bernoulli``, ``gaussian``, ``mol`` or ``default`` (the paper's for the data set).
        overrides: settings of :class:`~vaelib.runs.profiles.Profile` by name.

    Raises:
        VaelibError: an unknown name or a value out of range; the data set is not to be had.
    """
    chosen = protocol(dataset).likelihood if likelihood == "default" else likelihood
    if chosen not in ("bernoulli", "gaussian", "mol"):
        raise VaelibError(f"likelihood = {likelihood!r} is unknown; choose default, bernoulli, gaussian or mol")
    budget = load_profile(profile, chosen, overrides)
    data = resolve_data(dataset, budget.n_train, budget.n_test, source=budget.source)
    if chosen == "mol" and data.channels != 1:
        raise VaelibError(
            f"likelihood = mol scores 1 channel and {dataset} has {data.channels}; use likelihood = gaussian"
        )
    methods = [m for m in METHODS if m != "aug_tuned" or dataset in ("fashion_mnist", "binary_mnist", "cifar10")]
    runs = [
        gaps_for(vae_for(data, budget, chosen, method, seed), budget)
        for seed in range(budget.seeds)
        for method in methods
    ]
    return Experiment("three_gaps", budget, dataset, chosen, runs)


EXPERIMENTS = {"three_gaps": three_gaps}
