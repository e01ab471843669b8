"""The sweeps as data: which runs stand behind Figs. 4–8 and 14–16, on the residual network.

| experiment            | figure  | series                                         | x |
| --------------------- | ------- | ---------------------------------------------- | --- |
| ``limited_k``         | 4 right | normal, dmaapx, held_out (a control)           | k |
| ``rha``               | 5       | normal, normal_rha, dmaapx, dmaapx_rha         | none |
| ``latents``           | 6       | mz1, mz10                                      | mz |
| ``sizes``             | 7, 8    | normal, dmaapx                                 | none: nc and mz are columns |
| ``mollify``           | 14      | normal, normal_mollify, dmaapx, dmaapx_mollify | none |
| ``mixing``            | 15      | no_augmentation, aug_tuned                     | real images, percent |
| ``teacher_fractions`` | 16      | normal, dmaapx                                 | share of D_train that the teacher saw, % |

Equal settings are one run: the base VAEs (normal training and DMaaPx at the profile's nc and mz) serve every figure.
"""

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from ...errors import VaelibError
from ...runs.experiments import Experiment, Point, bank_for, gaps_for, likelihood_of, methods_for, prepared, vae_for
from ...runs.profiles import Profile, load_profile
from ...runs.settings import RHA, Data, HeldOut, Network, VAERun, checked
from ...runs.stages import spare_images
from ...training.distributions import PAIR
from .tables import sweep_experiment


class Base:
    """A profile's residual VAEs on a data set: what every sweep varies.

    Arguments are those of :func:`~vaelib.studies.three_gaps.runs.three_gaps`.
    """

    def __init__(self, profile: str, dataset: str, likelihood: str, overrides: Mapping[str, Any] | None):
        self.likelihood = likelihood_of(dataset, likelihood)
        self.data: Data
        self.budget: Profile
        budget = load_profile(profile, f"residual_{dataset}", overrides, architecture="residual")
        self.data, self.budget = prepared(dataset, budget)
        self.dataset = self.data.name

    def vae(self, method: str, seed: int, **changes: Any) -> VAERun:
        """Return one VAE; ``changes`` are fields of VAERun."""
        return vae_for(self.data, self.budget, self.likelihood, method, seed, **changes)

    def sized(self, method: str, seed: int, nc: int, mz: int) -> VAERun:
        """Return one VAE of another size."""
        network = self.vae(method, seed).network.model_dump() | {"nc": nc, "mz": mz}
        return self.vae(method, seed, network=checked(Network, network, "the residual network"))

    @cached_property
    def spare(self) -> HeldOut | None:
        """Return as many real images beside D_train as the largest k asks for and there are; None for fewer than N."""
        n_train = self.data.n_train
        there = [k for k in self.budget.k_grid if k <= spare_images(self.data) // n_train]
        return HeldOut(data=self.data, size=max(there) * n_train) if there else None


def sweep(points: Callable[[Base, int], list[Point]]) -> Callable[..., Experiment]:
    """Make an experiment of a function that lists the points of one seed."""

    def experiment(
        profile: str = "laptop",
        dataset: str = "fashion_mnist",
        likelihood: str = "default",
        overrides: Mapping[str, Any] | None = None,
    ) -> Experiment:
        base = Base(profile, dataset, likelihood, overrides)
        every = [point for seed in range(base.budget.sweep_seeds) for point in points(base, seed)]
        return sweep_experiment(points.__name__, base.budget, base.dataset, base.likelihood, every)

    experiment.__name__ = experiment.__qualname__ = points.__name__
    experiment.__doc__ = f"""{points.__doc__}

    Arguments and errors as for :func:`~vaelib.studies.three_gaps.runs.three_gaps`; the network is residual.
    """
    return experiment


@sweep
def limited_k(base: Base, seed: int) -> list[Point]:
    """Return Fig. 4 (right): DMaaPx on k·N samples, and on k·N held-out real images where there are as many."""
    budget, real = base.budget, base.spare
    if max(budget.k_grid) > budget.k:
        raise VaelibError(f"k_grid reaches {max(budget.k_grid)}, the bank holds k = {budget.k}; raise k or cut k_grid")
    control = [k for k in budget.k_grid if real and k * base.data.n_train <= real.size]
    return [
        Point("normal", math.nan, base.vae("normal", seed)),
        *(Point("dmaapx", k, base.vae("dmaapx", seed, k=None if k == budget.k else k)) for k in budget.k_grid),
        *(Point("held_out", k, base.vae("held_out", seed, k=k, held_out=real)) for k in control),
    ]


@sweep
def rha(base: Base, seed: int) -> list[Point]:
    """Return Fig. 5: Reverse Half Asleep from half time on, after normal training and after DMaaPx."""
    half = base.budget.epochs // 2
    points = []
    for method in PAIR:
        run = base.vae(method, seed)
        if half not in run.snapshots:
            raise VaelibError(
                f"epochs = {run.epochs} and gap_points = {base.budget.gap_points}: Reverse Half Asleep begins at half of the "
                "epochs, where no weights are kept; make both even"
            )
        late = tuple(epoch for epoch in run.evaluations if epoch > half)
        given = {"vae": run, "start": half, "epochs": run.epochs, "evaluations": late, "seed": seed}
        values = base.budget.values(RHA, **given)
        asleep = checked(RHA, values, "Reverse Half Asleep")
        points += [Point(method, math.nan, run), Point(f"{method}_rha", math.nan, asleep)]
    return points


@sweep
def latents(base: Base, seed: int) -> list[Point]:
    """Return Fig. 6: the three gaps of normal training with few and with more latents."""
    if base.budget.latents_mz == base.budget.mz:
        raise VaelibError(
            f"latents_mz = {base.budget.mz} is mz, with which it is compared; set it to another whole number from 1 to 64"
        )
    sizes = [base.sized("normal", seed, base.budget.nc, mz) for mz in (base.budget.mz, base.budget.latents_mz)]
    return [Point(f"mz{run.network.mz}", run.network.mz, gaps_for(run, base.budget)) for run in sizes]


@sweep
def sizes(base: Base, seed: int) -> list[Point]:
    """Return Figs. 7 and 8: a sweep of mz at the base nc, and of nc at several mz, without and with DMaaPx."""
    budget = base.budget
    grid = {(budget.nc, mz) for mz in budget.mz_grid} | {(nc, mz) for nc in budget.nc_grid for mz in budget.nc_mz}
    return [Point(m, math.nan, base.sized(m, seed, nc, mz)) for m in PAIR for nc, mz in sorted(grid)]


@sweep
def mollify(base: Base, seed: int) -> list[Point]:
    """Return Fig. 14: scheduled noise over the first half, on top of normal training and of DMaaPx."""
    noises = {"": "none", "_mollify": "sigmoid"}
    return [
        Point(method + suffix, math.nan, base.vae(method, seed, mollify=noise))
        for method in PAIR
        for suffix, noise in noises.items()
    ]


@sweep
def mixing(base: Base, seed: int) -> list[Point]:
    """Return Fig. 15: x % real and 100 - x % synthetic images, without and with augmentation of both."""
    bank, augmented = bank_for(base.data, base.budget), methods_for(base.dataset)[2]

    def mixed(method: str, percent: float) -> VAERun:
        if percent == 100:
            return base.vae(method, seed)
        if percent == 0 and method == "normal":
            return base.vae("dmaapx", seed)
        return base.vae(method, seed, real_share=percent / 100, bank=bank)

    every = {"no_augmentation": "normal", augmented: augmented}
    return [Point(name, x, mixed(method, x)) for name, method in every.items() for x in base.budget.real_shares]


@sweep
def teacher_fractions(base: Base, seed: int) -> list[Point]:
    """Return Fig. 16: DMaaPx with teachers that were fitted to a part of D_train."""
    banks = {percent: bank_for(base.data, base.budget, percent / 100) for percent in base.budget.teacher_fractions}
    taught = [Point("dmaapx", percent, base.vae("dmaapx", seed, bank=bank)) for percent, bank in banks.items()]
    return [Point("normal", math.nan, base.vae("normal", seed)), *taught]
