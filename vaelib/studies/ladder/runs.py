"""A ladder of teachers as data: one training set, one VAE, and training distributions from pure memory to new real images.

| rung            | where the VAE's images come from                                                           |
| --------------- | ------------------------------------------------------------------------------------------ |
| ``memory``      | the exact denoiser of D_train: every sample is a training image                            |
| ``kernel_h``    | a kernel density: a training image and Gaussian noise of standard deviation h              |
| ``ended_s``     | the exact denoiser, asked for its mean at noise level s: averages of a few training images |
| ``patches``     | the exact denoiser of patches (Kamb & Ganguli 2025): mosaics of training images            |
| ``network_half``| a diffusion model of half the profile's width                                              |
| ``network``     | the profile's diffusion model: DMaaPx                                                      |
| ``held_out``    | as many real images beside D_train                                                         |
| ``normal``      | D_train itself                                                                             |

All but the last two are teachers, sampled by one sampler from one noise, k·N samples each. The first four have a closed form and
nothing but the training images: smoothing without learning. Only networks and real images can bring what is not there yet.
"""

import math
from collections.abc import Mapping
from typing import Any

from ...runs.experiments import (
    Experiment,
    Point,
    bank_for,
    bank_of,
    likelihood_of,
    own_teachers,
    prepared,
    teacher_for,
    vae_for,
)
from ...runs.profiles import load_profile
from ...runs.settings import Bank, Exact, HeldOut, Samples
from ...runs.stages import spare_images
from ..memorisation.stages import Copies
from .tables import ladder_tables


def ladder(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return the VAEs of every rung (its series) and seed, and how much of each rung's images is copied.

    Held-out images are a rung where there are as many as samples. Arguments and errors as for
    :func:`~vaelib.studies.three_gaps.runs.three_gaps`; a profile's section ``ladder`` holds the budget.
    """
    chosen = likelihood_of(dataset, likelihood)
    data, budget = prepared(dataset, load_profile(profile, "ladder", overrides))
    own_teachers("ladder", budget)
    half = teacher_for(data, budget, width=max(8, budget.teacher_width // 2))
    patches = Exact(data=data, reach=budget.ladder_reach, shift=budget.ladder_shift)
    pools: dict[str, Bank | Samples | HeldOut] = {"memory": bank_of(Exact(data=data), data, budget)}
    for width in budget.ladder_bandwidths:
        pools[f"kernel_{width:g}"] = bank_of(Exact(data=data, bandwidth=width), data, budget)
    for sigma in budget.ladder_ends:
        pools[f"ended_{sigma:g}"] = bank_of(Exact(data=data), data, budget, sigma_min=sigma)
    pools["patches"] = bank_of(patches, data, budget)
    pools["network_half"] = bank_of(half, data, budget)
    pools["network"] = bank_for(data, budget)
    if spare_images(data) >= (size := budget.k * data.n_train):
        pools["held_out"] = HeldOut(data=data, size=size)

    def points(seed: int) -> list[Point]:
        found = [Point("normal", math.nan, vae_for(data, budget, chosen, "normal", seed))]
        for name, pool in pools.items():
            method = "held_out" if isinstance(pool, HeldOut) else "dmaapx"
            source = {"held_out": pool, "k": budget.k} if method == "held_out" else {"bank": pool}
            found.append(Point(name, math.nan, vae_for(data, budget, chosen, method, seed, **source)))
        return found

    every = [point for seed in range(budget.seeds) for point in points(seed)]
    also = [Point(name, math.nan, Copies(data=data, pool=pool)) for name, pool in pools.items()]
    files = {"rows": "ladder", "curves": "sweep_curves"}
    return Experiment("ladder", budget, data.name, chosen, every, ladder_tables, files, also)
