"""A world of finitely many images, whose density and entropy are sums, and by how much values fall short of an entropy."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vaelib import rng
from vaelib.data.worlds import unique_share
from vaelib.errors import VaelibError
from vaelib.images import SIDE


def entropy(p) -> float:
    """Return H(p) = -E_p[log p(x)], nats, of a distribution under which expectations are sums over its ``nodes()``."""
    points, weights = p.nodes()
    return -float((weights * p.log_prob(points)).sum())


def kl_divergence(p, q) -> float:
    """Return KL(p ‖ q) = E_p[log p(x) - log q(x)], nats; infinite where q misses some of p (criterion 2 of Table 1)."""
    points, weights = p.nodes()
    return float((weights * (p.log_prob(points) - q.log_prob(points))).sum())


def entropy_shortfall(h: float, values: Tensor, weights: Tensor | None = None) -> float:
    r"""Return -H(p) - E_p[values], nats, not negative by Remark B.5: E_p[ELBO] ≤ E_p[log p_θ] ≤ -H(p)  (Eq. 11).

    For ``values`` log p_θ(x) it is KL(p ‖ p_θ); for ELBO(x), that plus the mean inference gap.

    Arguments:
        h: H(p).
        values: (N,), at samples of p, or at its nodes with their ``weights`` (N,).
    """
    mean = values.double().mean() if weights is None else (weights.to(values.device) * values).sum()
    return -h - float(mean)


@dataclass(frozen=True, eq=False)
class FiniteWorld:
    """One of M distinct images, ``images`` (M, C, H, W) uint8, with probabilities ``weights`` (M,) float64."""

    images: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        if unique_share(self.images) < 1 or not math.isclose(float(self.weights.sum()), 1, rel_tol=1e-6):
            raise VaelibError("a finite world needs distinct images and weights that sum to 1; use FiniteWorld.of")

    @classmethod
    def of(cls, samples: Tensor) -> "FiniteWorld":
        """Return the empirical distribution of ``samples`` (n, C, H, W): D_train itself."""
        images, counts = samples.cpu().unique(dim=0, return_counts=True)
        return cls(images, counts.double() / len(samples))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` images, (n, C, H, W) uint8."""
        return self.images[self.weights.multinomial(n, replacement=True, generator=rng.generator(seed, "world/image"))]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) of uint8 images (n, C, H, W), (n,) float64 nats; -inf for an image of another world."""
        known = {image.numpy().tobytes(): weight.log() for image, weight in zip(self.images, self.weights, strict=True)}
        never = torch.tensor(-math.inf, dtype=torch.float64)
        return torch.stack([known.get(image.numpy().tobytes(), never) for image in x.cpu()])

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Return the images and their probabilities."""
        return self.images, self.weights

    @cached_property
    def entropy(self) -> float:
        """H(p) = -Σ w log w, nats."""
        return entropy(self)


def bars_and_stripes(side: int = 4) -> FiniteWorld:
    """Return the 2 · 2^side - 2 equally likely images of full rows or full columns, side × side cells on 32 × 32 pixels.

    Its entropy is log(2^(side+1) - 2): 3.40 nats for 4 × 4 cells. Raises VaelibError unless ``side`` is 2, 4 or 8.
    """
    if side not in (2, 4, 8):
        raise VaelibError(f"side = {side} is out of range; choose 2, 4 or 8 cells, which fill 32 pixels")
    lines = (torch.arange(2**side)[:, None] >> torch.arange(side)) & 1
    rows = lines[:, :, None].expand(-1, -1, side)
    cells = torch.cat([rows, rows.mT[1:-1]])  # all off and all on are bars and stripes at once: once only
    scale = SIDE // side
    images = cells.repeat_interleave(scale, 1).repeat_interleave(scale, 2).unsqueeze(1).to(torch.uint8) * 255
    return FiniteWorld(images, torch.full((len(images),), 1 / len(images), dtype=torch.float64))
