r"""log p(x) of each image bracketed by every bound there is, and what speaks against the bracket: one call.

    ELBO ≤ ELBO* ≤ log p(x),      IWAE_k, AIS ≤ log p(x) ≤ BDMC  in expectation

The lower end of the bracket is log ½ (e^IWAE + e^AIS): a mean of two unbiased estimates of p(x) is one, their maximum
is not. The upper end needs an exact sample of p(z|x), so it is infinite but for images that the model itself generated.

**Stationarity.** Half of g₁ᵀ F⁻¹ g₂, with two gradients of the ELBO in (μ, log σ) at q* under independent noise and the
Fisher matrix F = diag(1/σ², 2) of q, estimates the nats that one natural-gradient step still promises, without the bias
that squaring one noisy gradient has. It is 0 on average where q* is stationary. Nats per image.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..images import as_float, check_images
from ..models.vae import Posterior, elbo_at
from ..modes import evaluating
from .ais import Bracket, ais_lower, bdmc, check_annealing
from .bounds import OptimizedPosterior, image_noise, optimize_posterior
from .iwae import Bound, check_draws, check_rows, iwae, rows_of
from .memory import decodings_at_once

GROUP = 8  # samples of z decoded at once


def _slope(vae: nn.Module, q: Posterior, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ELBO's gradient in μ and in log σ, (B, d_z) each, averaged over ``eps`` (S, B, d_z)."""
    totals = torch.zeros_like(q.mu), torch.zeros_like(q.sigma)
    for part in eps.split(GROUP):
        mu, sigma = q.mu.detach().requires_grad_(True), q.sigma.detach().requires_grad_(True)
        with torch.enable_grad():
            slopes = torch.autograd.grad(elbo_at(vae, Posterior(mu, sigma), x, part).sum(), (mu, sigma))
        for total, slope in zip(totals, slopes, strict=True):
            total += slope * (len(part) / len(eps))
    return totals[0], totals[1] * q.sigma


@torch.no_grad()
def promised(
    vae: nn.Module,
    images: Tensor,
    q: Posterior,
    *,
    samples: int = 64,
    seed: int = 0,
    memory: int | None = None,
    unclipped: bool = False,
) -> Tensor:
    """Return the nats that a natural-gradient step from ``q`` (N, d_z) promises each image (see the module's text), (N,).

    Noisy image by image; its mean over images, with std / √N, tests whether ``q`` is stationary.

    Arguments:
        images: (N, C, H, W), uint8 or floats in [0, 1].
        samples: of z an image, for each of the two gradients.
        memory: bytes to hold at once (:mod:`vaelib.gaps.memory`).
        unclipped: as for :func:`~vaelib.gaps.evaluate_elbo`.

    Raises:
        VaelibError: no batch of images (:mod:`vaelib.images`), no memory.
    """
    check_images(images, vae, unclipped=unclipped)
    parts = []
    with evaluating(vae, gradients=True) as device:
        room = decodings_at_once(vae, as_float(images[:1].to(device)), memory, gradient=True)
        for start in range(0, len(images), chunk := max(room // GROUP, 1)):
            x = as_float(images[start : start + chunk].to(device))
            own = rows_of(q, start, start + len(x), x)
            noise = (
                image_noise(start, start + len(x), samples, vae.d_z, seed, f"promised/{half}").to(x) for half in (1, 2)
            )
            (first_mu, first_sigma), (mu, sigma) = (_slope(vae, own, x, eps) for eps in noise)
            promise = 0.5 * (own.sigma.square() * first_mu * mu + 0.5 * first_sigma * sigma).sum(1)
            parts.append(promise.cpu())
    return torch.cat(parts)


class Certified(NamedTuple):
    """All bounds on log p(x) of N images, nats: the per-image optimum, IWAE_k and AIS from q*, BDMC's upper bound.

    ``upper`` is infinite where no exact z is known; ``promised`` is the stationarity test of q*.
    """

    optimum: OptimizedPosterior
    weighted: Bound
    annealed: Tensor
    upper: Tensor
    promised: Tensor

    @property
    def bracket(self) -> Bracket:
        """log p(x) from both sides, (N,) each."""
        return Bracket(torch.logaddexp(self.weighted.value, self.annealed) - math.log(2), self.upper)

    def bounds(self) -> dict[str, Tensor]:
        """Return every bound by name, (N,) each: lower ones, then the upper one where it is finite."""
        found = {"ELBO": self.optimum.elbo.double(), "ELBO*": self.optimum.elbo_star.double()}
        found |= {"IWAE": self.weighted.value, "AIS": self.annealed, "lower": self.bracket.lower}
        return found | ({"BDMC": self.upper} if self.upper.isfinite().all() else {})

    def complaints(self) -> dict[str, int]:
        """Return how many images speak against the bracket: q* unconverged, a negative gap, lower above upper."""
        return {
            "unconverged": int((~self.optimum.converged).sum()),
            "negative gaps": int(self.optimum.reverted.sum()),
            "impossible brackets": int(self.bracket.impossible().sum()),
        }


def certify(
    vae: nn.Module,
    images: Tensor,
    *,
    z: Tensor | None = None,
    k: int = 5000,
    starts: int = 1,
    max_steps: int = 1000,
    chains: int = 8,
    temperatures: int = 100,
    widen: float = 1.2,
    seed: int = 0,
    memory: int | None = None,
) -> Certified:
    """Return every bound on log p(x) of ``images`` (N, C, H, W), and the tests that they pass or fail.

    Arguments:
        z: (N, d_z) that the images were generated from (:meth:`vaelib.data.worlds.DecoderWorld.pairs`), for the upper
            bound; leave it out for real images. With it, images may leave [0, 1], as a Gaussian's draws do.
        k: draws of IWAE, from q* with its σ times ``widen``: a proposal narrower than p(z|x) has heavy-tailed weights.
        starts, max_steps: climbs towards q* an image, and the most steps of each.
        chains, temperatures: of AIS and BDMC, from q*.
        memory: bytes to hold at once (:mod:`vaelib.gaps.memory`).

    Raises:
        VaelibError: no batch of images (:mod:`vaelib.images`), counts below 1, no memory, or a ``z`` of another number of images.
    """
    check_draws(k)
    check_annealing(chains, temperatures)
    check_rows(images, vae.d_z, z=z)
    shared = {"seed": seed, "memory": memory}
    known = {"unclipped": z is not None, **shared}
    optimum = optimize_posterior(vae, images, starts=starts, max_steps=max_steps, **known)
    wide = Posterior(optimum.mu, widen * optimum.sigma)
    weighted = iwae(vae, images, k=k, q=wide, **known)
    annealing = {"q": wide, "chains": chains, "temperatures": temperatures, **shared}
    if z is None:
        annealed, upper = ais_lower(vae, images, **annealing).value, torch.full_like(weighted.value, math.inf)
    else:
        annealed, upper = bdmc(vae, z, images, **annealing)
    q = Posterior(optimum.mu, optimum.sigma)
    return Certified(optimum, weighted, annealed, upper, promised(vae, images, q, **known))
