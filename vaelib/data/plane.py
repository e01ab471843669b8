r"""Worlds in the plane: the letter S of Fig. 1, and its training distributions as densities.

D_train blurred by a Gaussian and D_train under random rotations and jitter are Gaussian mixtures again, so that p_aug of
Fig. 1 has a density (:func:`smoothed`, :func:`augmented`, :func:`tuned`). So has p_DM: the *ideal* denoiser of N points,
which reaches the least training loss, generates exactly their blur by N(0, σ_min² I) (Karras et al. 2022, App. B.3), and
a trained one's follows from its probability-flow ODE (:func:`vaelib.samplers.heun.flow_log_prob`). D_train itself has
none: its KL divergence from anything continuous is infinite. Nats, differential.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import rng
from ..errors import VaelibError

PAIRS_AT_ONCE = 10_000_000  # (point, component) pairs held in memory: 80 MB
ANGLES = 21
REACH = 9.0  # standard deviations to the edge of the grid: beyond lies 1e-19 of the mass


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Σ_k w_k N(x; m_k, s_k² I) in the plane: p_data, or a training distribution, of Fig. 1.

    ``means`` (K, 2), ``stds`` (K,) and ``weights`` (K,), which sum to 1.
    """

    means: Tensor
    stds: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        if not (self.stds > 0).all():
            raise VaelibError("a Gaussian of width 0 has no density; give a positive std, bandwidth or jitter")

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` points, (n, 2) float32."""
        chosen = self.weights.multinomial(n, replacement=True, generator=rng.generator(seed, "world/component"))
        noise = rng.normal((n, 2), seed, "world/noise").to(self.means)
        return (self.means[chosen] + self.stds[chosen, None] * noise).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) of points (n, 2), (n,) float64 nats."""
        means, stds, weights = (part.to(x.device, torch.float64) for part in (self.means, self.stds, self.weights))
        constant = weights.log() - 2 * stds.log() - math.log(2 * math.pi)

        def score(points: Tensor) -> Tensor:
            return torch.logsumexp(constant - 0.5 * (torch.cdist(points, means) / stds).square(), 1)

        rows = max(PAIRS_AT_ONCE // len(means), 1)
        return torch.cat([score(points) for points in x.double().split(rows)])

    def nodes(self, per_std: float = 3.0) -> tuple[Tensor, Tensor]:
        """Return grid points (G, 2) and their mass (G,): the trapezoidal rule, ``per_std`` points a narrowest std."""
        step = float(self.stds.min()) / per_std
        reach = REACH * self.stds[:, None]
        lowest, highest = ((self.means - reach).amin(0), (self.means + reach).amax(0))
        axes = [
            torch.arange(low, high + step, step, dtype=torch.float64)
            for low, high in zip(lowest.tolist(), highest.tolist(), strict=True)
        ]
        points = torch.cartesian_prod(*axes)
        return points, self.log_prob(points).exp() * step**2


@dataclass(frozen=True, eq=False)
class Points:
    """D_train itself, ``points`` (N, 2): each with probability 1/N, nothing in between."""

    points: Tensor

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` of the points, with repetition, (n, 2)."""
        return self.points[torch.randint(len(self.points), (n,), generator=rng.generator(seed, "world/points"))]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density at ``x`` (n, 2), (n,) float64: infinite on a point, minus infinite elsewhere."""
        on = (x[:, None].to(self.points) == self.points).all(2).any(1)
        return torch.where(on, math.inf, -math.inf).double()


def smoothed(points: Tensor, bandwidth: float) -> GaussianMixture:
    """Return ``points`` (N, 2) blurred by N(0, bandwidth² I): a kernel density, and what an ideal denoiser generates."""
    means = points.double().cpu()
    return GaussianMixture(means, torch.full_like(means[:, 0], bandwidth), torch.full_like(means[:, 0], 1 / len(means)))


def augmented(points: Tensor, *, degrees: float = 20.0, jitter: float = 0.05, flip: bool = False) -> GaussianMixture:
    """Return p_aug(x') = E_{x ~ D_train}[p_aug(x'|x)] (Eq. 9) of points (N, 2): a rotation about 0, then jitter.

    Arguments:
        degrees: the angle is one of 21 equally likely ones, evenly spaced over ±degrees.
        jitter: the standard deviation of the Gaussian noise added to each coordinate.
        flip: every other point is mirrored left to right first, which is wrong for a letter S.
    """
    if flip:
        points = torch.cat([points, points * points.new_tensor([-1.0, 1.0])])
    angle = torch.linspace(-1, 1, ANGLES, dtype=torch.float64) * math.radians(degrees)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    return smoothed(torch.einsum("aij,nj->nai", rotation, points.double().cpu()).reshape(-1, 2), jitter)


def tuned(points: Tensor, *, held_out: float = 0.2, seed: int = 0) -> GaussianMixture:
    """Return p_aug with the rotation and the jitter that score best on a part of ``points`` (N, 2) set aside.

    Without knowing p_data: the share ``held_out`` is scored under the rest for each of 20 settings; then all points are
    augmented by the best.
    """
    order = torch.randperm(len(points), generator=rng.generator(seed, "world/tuned"))
    cut = max(int(held_out * len(points)), 1)
    aside, rest = points[order[:cut]], points[order[cut:]]
    grid = [(degrees, jitter) for degrees in (0.0, 5.0, 10.0, 20.0) for jitter in (0.05, 0.07, 0.1, 0.14, 0.2)]
    scores = [augmented(rest, degrees=d, jitter=j).log_prob(aside).mean() for d, j in grid]
    degrees, jitter = grid[int(torch.stack(scores).argmax())]
    return augmented(points, degrees=degrees, jitter=jitter)


def s_curve(components: int = 24, std: float = 0.12) -> GaussianMixture:
    """Return the p_data of Fig. 1: a letter S of two half circles, 2 high, as a chain of equal Gaussians."""
    t = torch.linspace(-1, 1, components, dtype=torch.float64)
    angle = 1.5 * math.pi * t.abs() - 0.5 * math.pi
    x, y = 0.5 * angle.cos(), 0.5 + 0.5 * angle.sin()
    means = torch.stack([-x * t.sign(), y * t.sign()], 1)
    equal = torch.full((components,), 1 / components, dtype=torch.float64)
    return GaussianMixture(means, torch.full_like(equal, std), equal)
