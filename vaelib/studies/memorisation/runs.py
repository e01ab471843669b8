"""Teachers that begin to memorise, as data: snapshots of one training for each of several N, and a VAE from each.

A diffusion model first learns what images have in common, then the images; the time when it begins to copy is said to grow in
proportion to N (Bonnaire et al. 2025; Favero et al. 2025), while the time that it needs to make good samples does not. Of each
snapshot k·N samples are drawn, searched for copies, and given to a VAE. The teacher's learning rate stays constant and its moving
average is as long as 5 % of what it has seen, so that a snapshot is what a shorter training would have ended in.
"""

import math
from collections.abc import Mapping
from typing import Any

from ...runs.experiments import (
    Experiment,
    Point,
    bank_of,
    likelihood_of,
    of_sizes,
    own_teachers,
    prepared,
    teacher_for,
    vae_for,
)
from ...runs.profiles import Profile, load_profile
from ...runs.settings import Data
from .stages import Copies
from .tables import memorisation_tables


def rounded(seen: tuple[int, ...], batch_size: int) -> list[int]:
    """Return numbers of images as multiples of a batch, each once, in order.

    >>> rounded((100, 250), 50), rounded((10, 20, 129), 64)
    ([100, 250], [64, 128])
    """
    return sorted({max(1, round(images / batch_size)) * batch_size for images in seen})


def memorisation(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return, for each N, normal training (``normal_N``) and the VAEs of a teacher's snapshots (``dmaapx_N``; x: images seen).

    Arguments and errors as for :func:`~vaelib.studies.three_gaps.runs.three_gaps`; a profile's section ``snapshots`` holds the
    budget.
    """
    chosen = likelihood_of(dataset, likelihood)
    base = load_profile(profile, "snapshots", overrides)
    points, also, known = [], [], set()
    own_teachers("memorisation", base)
    for wanted in of_sizes("memorisation", "memorisation_sizes", base, overrides):
        data, budget = prepared(dataset, base.changed({"n_train": wanted}), at_most=True)
        if data.n_train in known:  # a small data set has fewer than were asked for
            continue
        known.add(data.n_train)
        some, more = _of_size(data, chosen, budget)
        points, also = points + some, also + more
    files = {"rows": "memorisation", "curves": "sweep_curves"}
    return Experiment("memorisation", budget, data.name, chosen, points, memorisation_tables, files, also)


def _of_size(data: Data, likelihood: str, budget: Profile) -> tuple[list[Point], list[Point]]:
    """Return the VAEs of one N, and the searches for copies."""
    size = data.n_train
    seen = rounded(budget.memorisation_seen, budget.teacher_batch_size)
    times = {"images": seen[-1], "snapshots": tuple(seen[:-1]), "lr_decay": 0, "ema_halflife": 10 * seen[-1]}
    teacher = teacher_for(data, budget, **times)
    points, also = [], []
    for seed in range(budget.seeds):
        points.append(Point(f"normal_{size}", math.nan, vae_for(data, budget, likelihood, "normal", seed)))
    for images in seen:
        bank = bank_of(teacher, data, budget, snapshot=None if images == seen[-1] else images)
        also.append(Point(f"dmaapx_{size}", float(images), Copies(data=data, pool=bank)))
        for seed in range(budget.seeds):
            vae = vae_for(data, budget, likelihood, "dmaapx", seed, bank=bank)
            points.append(Point(f"dmaapx_{size}", float(images), vae))
    return points, also
