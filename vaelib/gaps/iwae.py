r"""The importance-weighted bound on log p(x) (Burda et al. 2016), and the certificate that every such bound carries.

    IWAE_k(x) = log (1/k) Σ_j w_j,     w_j = p(x|z_j) p(z_j) / q(z_j|x),     z_j ~ q(z|x)

E[IWAE_1] is the ELBO; E[IWAE_k] does not fall with k and tends to log p(x). Draw j of an image is always the same, so a
larger k adds draws to a smaller one's. Nats per image.

**How far to trust it.** ``error`` is the standard error of one image's value by the delta method,

    √(Σw² / (Σw)² - 1/k) · √(k / (k - 1)),

the first term the inverse of the effective sample size; an error near 1 says that one draw carries the sum, and that the
value is a bound but not a tight one. Draws of different images are independent: a mean over N images has the standard
error std / √N. And since E[exp IWAE_k(x)] = p(x) exactly, Markov's inequality on the product over images gives

    P{ mean over N images of IWAE_k(x) - log p(x) > log(1/δ) / N } ≤ δ

whatever the weights' tails: a certificate with no estimate of its own error (:func:`slack`).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import VaelibError
from ..images import as_float, check_images
from ..models.vae import Posterior
from ..modes import evaluating, ordinary
from ..rng import sent
from .bounds import block_noise
from .memory import decodings_at_once

DRAWS = 10  # of z an image that share a generator; part of what "the same noise" means, so not a setting


class Bound(NamedTuple):
    """A bound on log p(x) of each image, (N,), and its standard error by Monte Carlo, (N,): float64 nats on the CPU."""

    value: Tensor
    error: Tensor


def slack(n: int, delta: float = 0.01) -> float:
    """Return log(1/δ) / n: what the mean of ``n`` stochastic bounds may be off by, but for probability δ; nats."""
    if not (0 < delta < 1 and n > 0):
        raise VaelibError(f"delta = {delta} must lie between 0 and 1, and n = {n} be positive")
    return -math.log(delta) / n


def log_weights(vae: nn.Module, q: Posterior, x: Tensor, eps: Tensor) -> Tensor:
    """Return log p(x|z) + log p(z) - log q(z) at z = μ + σ eps, (S, B), for ``eps`` (S, B, d_z) and images ``x``."""
    z = q.rsample(eps)
    params = vae.decode(z.flatten(0, 1))
    log_likelihood = vae.likelihood.log_prob(params, x.repeat(len(eps), 1, 1, 1)).view(eps.shape[:2])
    return log_likelihood + (0.5 * (eps.square() - z.square()) + q.sigma.log()).sum(-1)


def log_mean(total: Tensor, squares: Tensor, k: int) -> Bound:
    """Return log of the mean of k weights and its standard error, from log Σw and log Σw²; one weight tells no error."""
    if k == 1:
        return Bound(total, torch.full_like(total, math.inf))
    spread = ((squares - 2 * total).exp() - 1 / k).clamp(min=0)
    return Bound(total - math.log(k), (spread * (k / (k - 1))).sqrt())


def rows_of(q: Posterior, start: int, stop: int, like: Tensor) -> Posterior:
    """Return images ``start`` to ``stop`` of a posterior, in ``like``'s place and precision."""
    return Posterior(*(ordinary(part[start:stop].to(like)) for part in (q.mu, q.sigma)))


def check_draws(k: int) -> None:
    """Raise VaelibError if so many draws bound nothing."""
    if k < 1:
        raise VaelibError(f"k = {k}: at least 1 draw an image is needed (Cremer et al. 2018: 5,000)")


def check_rows(images: Tensor, d_z: int, **rows: Tensor | None) -> None:
    """Raise VaelibError unless what is given has a row of latents for each image."""
    for name, value in rows.items():
        if value is not None and value.shape != (len(images), d_z):
            raise VaelibError(f"{name} of shape {tuple(value.shape)} must have a row an image: ({len(images)}, {d_z})")


@torch.no_grad()
def iwae(
    vae: nn.Module,
    images: Tensor,
    *,
    k: int = 5000,
    q: Posterior | None = None,
    seed: int = 0,
    memory: int | None = None,
    unclipped: bool = False,
) -> Bound:
    """Return IWAE_k of every image (Burda et al. 2016): a stochastic lower bound on log p(x).

    Arguments:
        images: (N, C, H, W), uint8 or floats in [0, 1], on any device.
        k: draws of z an image (Cremer et al. 2018: 5,000).
        q: where they come from, an :class:`OptimizedPosterior` say; the encoder's posterior unless given. A q that is
            narrower than p(z|x) makes heavy-tailed weights: a larger sigma can tighten the bound.
        memory: bytes to hold at once (:mod:`vaelib.gaps.memory`); never changes the noise.
        unclipped: as for :func:`~vaelib.gaps.evaluate_elbo`.

    Raises:
        VaelibError: no batch of images (:mod:`vaelib.images`), no memory, k below 1, or a ``q`` of other images or latents.

    >>> from vaelib import FullyConnectedVAE
    >>> iwae(FullyConnectedVAE(d_z=2), torch.rand(3, 1, 32, 32), k=20).value.shape
    torch.Size([3])
    """
    check_images(images, vae, unclipped=unclipped)
    check_draws(k)
    check_rows(images, vae.d_z, q=None if q is None else q.mu)
    parts = []
    with evaluating(vae) as device:
        room = decodings_at_once(vae, as_float(images[:1].to(device)), memory)
        for start in range(0, len(images), chunk := max(room // DRAWS, 1)):
            x = as_float(images[start : start + chunk].to(device))
            stop = start + len(x)
            own = vae.encode(x) if q is None else rows_of(q, start, stop, x)
            total = squares = torch.full((len(x),), -math.inf, dtype=torch.float64, device=device)
            for first in range(0, k, DRAWS):
                draws = block_noise(start, stop, (DRAWS, vae.d_z), seed, f"iwae/{first // DRAWS}")[:, : k - first]
                eps = sent(draws.transpose(0, 1), device).to(x)
                log_w = log_weights(vae, own, x, eps).double()
                total = torch.logaddexp(total, log_w.logsumexp(0))
                squares = torch.logaddexp(squares, (2 * log_w).logsumexp(0))
            parts.append(torch.stack(log_mean(total, squares, k)).cpu())
    return Bound(*torch.cat(parts, 1))
