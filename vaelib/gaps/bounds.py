r"""Two lower bounds on log p(x): the encoder's, ELBO(x), and the best one its decoder allows, ELBO*(x) (Eqs. 2 and 4).

    ELBO(x)  = E_{z ~ q(z|x)}[log p(x|z)] - KL(q(z|x) ‖ p(z))            q(z|x) from the encoder
    ELBO*(x) = max over (μ, σ) of the same with q = N(μ, diag σ²)        the decoder frozen (Cremer et al. 2018)

The KL term is exact; the expectation is an average over noise that is a function of (seed, purpose, image index), so a
model always gets the same score whatever the batch size, and two posteriors are compared under common noise.
Everything is in nats per image, in float32, with the model in eval mode.

ELBO* needs care in three places. (1) Selection and report use different noise: each image's best point is picked under
one set, and both bounds are then scored under a fresh one, or the maximum over candidates would flatter ELBO*.
(2) ELBO* is a maximum over a set that holds the encoder's own posterior, so an image whose candidate scores worse than
that under the fresh noise keeps the encoder's, and its gap is exactly 0. This tilts the mean gap upwards by less than
the Monte Carlo error of the images whose gap is about 0; such images are flagged. (3) So are unconverged ones, never
dropped. A climb from the encoder's posterior ends at the top of *its* hill: further ``starts`` look at others.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import at_least_one
from ..images import as_float, check_images
from ..models.vae import Posterior, elbo_at, log_likelihood_at
from ..modes import evaluating
from ..rng import normal, sent
from .memory import decodings_at_once

ACTIVE = 0.01  # variance of the posterior's mean over images above which a latent is active (Burda et al. 2016)
NOISE_BLOCK = 100  # images that share a generator; part of what "the same noise" means, so not a setting
PATIENCE = 3  # blocks in a row without improvement after which an image has converged
IMAGES_AT_ONCE = 500  # in one climb on a CPU, at most
CLIMB = 250  # steps after which ELBO* is flat for most images, of at most 1,000: what a climb costs
SCORING = 0.8  # decodings a step that select the best posterior: 16 every 20 steps
CANDIDATES, NARROWER = 1_000, 0.1  # a further start: the likeliest of so many draws from the prior, so narrow


def antithetic(draws: Tensor, samples: int) -> Tensor:
    """Return ``samples`` of (draws, -draws) along the first axis: pairs cancel the odd part of an integrand."""
    return draws if samples == 1 else torch.cat([draws, -draws])[:samples]


def block_noise(start: int, stop: int, shape: tuple[int, ...], seed: int, purpose: str) -> Tensor:
    """Return the noise of images ``start`` to ``stop``, (stop - start, *shape): image j's is always the same."""
    first, last = start // NOISE_BLOCK, -(-stop // NOISE_BLOCK)
    draws = torch.cat([normal((NOISE_BLOCK, *shape), seed, purpose, block) for block in range(first, last)])
    return draws[start - first * NOISE_BLOCK : stop - first * NOISE_BLOCK]


def image_noise(start: int, stop: int, samples: int, d_z: int, seed: int, purpose: str) -> Tensor:
    """Return antithetic noise of images ``start`` to ``stop``, (samples, stop - start, d_z)."""
    return antithetic(block_noise(start, stop, (-(-samples // 2), d_z), seed, purpose).transpose(0, 1), samples)


class ELBOTerms(NamedTuple):
    """The two terms of the ELBO and the posterior's mean, all on the CPU: rate and distortion (N,), nats; mu (N, d_z)."""

    rate: Tensor
    distortion: Tensor
    mu: Tensor

    @property
    def elbo(self) -> Tensor:
        """ELBO = -(rate + distortion) of each image (Eq. 2), (N,) nats."""
        return -(self.rate + self.distortion)

    @property
    def active_units(self) -> int:
        """The latents whose posterior's mean varies over the images, by a variance above 0.01 (Burda et al. 2016)."""
        return int((self.mu.double().var(0) > ACTIVE).sum()) if len(self.mu) > 1 else 0

    def bits_per_dim(self, dimensions: int) -> Tensor:
        """Return -ELBO / (d log 2) of each image of d = C·H·W numbers, (N,) float64."""
        return -self.elbo.double() / (dimensions * math.log(2))


def elbo_terms(
    vae: nn.Module, images: Tensor, seed: int = 0, samples: int = 1, batch_size: int = 1000, unclipped: bool = False
) -> ELBOTerms:
    """Return what the ELBO of every image is made of: rate KL(q(z|x) ‖ p(z)) and distortion -E_q[log p(x|z)].

    Arguments and errors are those of :func:`evaluate_elbo`.
    """
    check_images(images, vae, unclipped=unclipped)
    at_least_one(samples=samples, batch_size=batch_size)
    parts = []
    with evaluating(vae) as device, torch.inference_mode():
        for start in range(0, len(images), batch_size):
            x = as_float(images[start : start + batch_size].to(device))
            eps = sent(image_noise(start, start + len(x), samples, vae.d_z, seed, "elbo"), device)
            q = vae.encode(x)
            parts.append((q.kl(), -log_likelihood_at(vae, q, x, eps), q.mu))
        return ELBOTerms(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))


def evaluate_elbo(
    vae: nn.Module, images: Tensor, seed: int = 0, samples: int = 1, batch_size: int = 1000, unclipped: bool = False
) -> Tensor:
    """Return the ELBO of every image under the encoder's posterior (Eq. 2), (N,) on the CPU, nats per image.

    Arguments:
        images: (N, C, H, W), uint8 or floats in [0, 1], on any device.
        samples: of z an image; the paper's ancestors take 1.
        batch_size: images decoded at once; changes memory, never the noise.
        unclipped: the images are a Gaussian's own draws (:meth:`vaelib.data.worlds.DecoderWorld.pairs`), which leave [0, 1].

    Raises:
        VaelibError: no batch of images (:mod:`vaelib.images`), no sample of z, or an empty batch.

    >>> from vaelib import FullyConnectedVAE
    >>> evaluate_elbo(FullyConnectedVAE(d_z=2), torch.rand(3, 1, 32, 32)).shape
    torch.Size([3])
    """
    return elbo_terms(vae, images, seed, samples, batch_size, unclipped).elbo


class OptimizedPosterior(NamedTuple):
    """The per-image optimum q* = N(mu, diag sigma²), (N, d_z) each, and both bounds (N,), all on the CPU.

    ``elbo`` and ``elbo_star`` share one set of fresh noise; ``converged`` (N,) is False where ``max_steps`` came first.
    ``reverted`` (N,) is True where the optimum found scored below the encoder's posterior under that noise: an impossible
    negative gap, which is reported as 0. ``start`` (N,) tells which start won, 0 being the encoder's output, and ``steps``
    is the largest number of steps that an image took from one start.
    """

    mu: Tensor
    sigma: Tensor
    elbo: Tensor
    elbo_star: Tensor
    converged: Tensor
    reverted: Tensor
    start: Tensor
    steps: int

    @property
    def gap(self) -> Tensor:
        """The amortization gap ELBO* - ELBO of each image (Eq. 4), (N,) nats, never negative."""
        return self.elbo_star - self.elbo


def optimize_posterior(
    vae: nn.Module,
    images: Tensor,
    *,
    seed: int = 0,
    lr: float = 0.1,
    samples: int = 2,
    block: int = 20,
    max_steps: int = 1000,
    tol: float = 1e-3,
    eval_samples: int = 16,
    final_samples: int = 64,
    starts: int = 1,
    memory: int | None = None,
    unclipped: bool = False,
) -> OptimizedPosterior:
    """Return ELBO* of every image (Eq. 4; Cremer et al. 2018): Adam on (μ, softplus⁻¹σ) from the encoder's output.

    The defaults come within 1 % of the gap found with five times the work (fully connected; Gaussian, Bernoulli).

    Arguments:
        images: (N, C, H, W), uint8 or floats in [0, 1].
        lr: Adam's first step size; divided by 3 for an image after each block that did not improve it.
        samples: of z an image and step, in antithetic pairs.
        block: steps between two scorings of the candidates.
        max_steps: the most steps an image may take; with 0 none, and every gap is 0.
        tol: a block improved an image if its best ELBO rose by more than tol · (1 + |ELBO|); after three blocks in
            a row without improvement the image has converged and leaves the batch.
        eval_samples, final_samples: of z an image, to select the best candidate and for the report.
        starts: climbs an image. The first starts from the encoder's output, each other one from the likeliest of
            1,000 draws from the prior; the best is kept. The cost grows in proportion.
        memory: bytes to hold at once (:mod:`vaelib.gaps.memory`); never changes the noise.
        unclipped: as for :func:`evaluate_elbo`.

    Raises:
        VaelibError: no batch of images (:mod:`vaelib.images`), another number below 1, no memory.

    >>> from vaelib import FullyConnectedVAE
    >>> best = optimize_posterior(FullyConnectedVAE(d_z=2), torch.rand(3, 1, 32, 32), max_steps=20)
    >>> bool((best.gap >= 0).all())
    True
    """
    check_images(images, vae, unclipped=unclipped)
    at_least_one(starts=starts, samples=samples, block=block, eval_samples=eval_samples, final_samples=final_samples)
    climbing, parts = (seed, lr, samples, block, max_steps, tol), []
    with evaluating(vae, gradients=True) as device:
        first = as_float(images[:1].to(device))
        # On a CPU the chunks are what they have always been: so few images' noise is small.
        noise = 4 * vae.d_z * (eval_samples + final_samples) // samples if first.is_cuda else 0
        room = decodings_at_once(vae, first, memory, gradient=True, beside=noise) // samples
        chunk = max(room if first.is_cuda else min(room, IMAGES_AT_ONCE), 1)
        for start in range(0, len(images), chunk):
            x = as_float(images[start : start + chunk].to(device))
            own = vae.encode(x)
            select, fresh = (
                image_noise(start, start + len(x), count, vae.d_z, seed, purpose).to(device)
                for count, purpose in ((eval_samples, "select"), (final_samples, "report"))
            )
            best, converged, won, steps = _search(vae, x, own, select, starts, *climbing)
            tiled = x.repeat(samples, 1, 1, 1)
            elbo, star = (_score(vae, q, tiled, fresh) for q in (own, best))
            worse = star < elbo
            best = Posterior(*(torch.where(worse[:, None], *pair) for pair in zip(own, best, strict=True)))
            won = torch.where(worse, 0, won)
            parts.append((*best, elbo, torch.maximum(star, elbo), converged, worse, won, steps))
    *tensors, steps = zip(*parts, strict=True)
    return OptimizedPosterior(*(torch.cat(part).cpu() for part in tensors), max(steps))


def _score(vae: nn.Module, q: Posterior, tiled: Tensor, eps: Tensor) -> Tensor:
    """Return the ELBO averaged over ``eps`` (S, B, d_z); images come ``tiled``, as often as samples are decoded at once."""
    images = len(q.mu)
    parts = eps.split(len(tiled) // images)
    scores = [elbo_at(vae, q, tiled[: len(part) * images], part) * len(part) for part in parts]
    return torch.stack(scores).sum(0) / len(eps)


class _Climb:
    """Adam on (μ, ρ) of a batch of images, each on its own: σ = softplus(ρ), a learning rate and a best point an image.

    Adam acts on each number alone and every step's noise is shared by all images, so an image's path does not depend on
    its neighbours, and converged ones can leave the batch.
    """

    def __init__(self, start: Posterior, lr: float):
        # softplus⁻¹(σ) = σ + log(1 - e^-σ)
        self.q = torch.cat([start.mu, start.sigma + torch.log(-torch.expm1(-start.sigma))], 1)
        self.first, self.second = torch.zeros_like(self.q), torch.zeros_like(self.q)
        self.lr = torch.full_like(self.q[:, :1], lr)
        self.steps = 0

    def posterior(self) -> Posterior:
        mu, rho = self.q.chunk(2, 1)
        return Posterior(mu, F.softplus(rho))

    def step(self, objective: Callable[[Posterior], Tensor]) -> None:
        """Take one Adam step (Kingma & Ba 2015) up the gradient of ``objective``."""
        self.q.requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(objective(self.posterior()).sum(), self.q)
        self.q = self.q.detach()
        self.steps += 1
        self.first.lerp_(gradient, 0.1)
        self.second.lerp_(gradient.square(), 0.001)
        first, second = self.first / (1 - 0.9**self.steps), self.second / (1 - 0.999**self.steps)
        self.q = self.q + self.lr * first / (second.sqrt() + 1e-8)

    def keep(self, rows: Tensor) -> None:
        """Drop every image but those of ``rows``."""
        self.q, self.first, self.second, self.lr = (t[rows] for t in (self.q, self.first, self.second, self.lr))


class _Found(NamedTuple):
    """What a climb found on a chunk: (μ, σ) side by side (B, 2 d_z), its score under ``select``, who converged, steps."""

    q: Tensor
    score: Tensor
    converged: Tensor
    steps: int


def _optimize(
    vae: nn.Module,
    x: Tensor,
    start: Posterior,
    select: Tensor,
    seed: int,
    lr: float,
    samples: int,
    block: int,
    max_steps: int,
    tol: float,
) -> _Found:
    """Climb from ``start`` on one chunk; return each image's best posterior under ``select``."""
    climb = _Climb(start, lr)
    best, record = torch.cat(start, 1), _score(vae, start, x.repeat(samples, 1, 1, 1), select)
    active = torch.arange(len(x), device=x.device)
    idle = torch.zeros_like(active)  # blocks in a row without improvement
    converged = torch.zeros_like(active, dtype=torch.bool)
    while climb.steps < max_steps and len(active):
        tiled = x[active].repeat(samples, 1, 1, 1)
        for _ in range(min(block, max_steps - climb.steps)):
            draws = normal((-(-samples // 2), 1, vae.d_z), seed, "climb", climb.steps, x.device)
            eps = antithetic(draws, samples).expand(-1, len(active), -1)
            climb.step(lambda q, tiled=tiled, eps=eps: elbo_at(vae, q, tiled, eps))
        found, before = climb.posterior(), record[active]
        gain = _score(vae, found, tiled, select[:, active]) - before
        best[active] = torch.where((gain > 0).unsqueeze(1), torch.cat(found, 1), best[active])
        record[active] = before + gain.clamp(min=0)
        idle = torch.where(gain > tol * (1 + before.abs()), 0, idle + 1)
        climb.lr = torch.where((idle > 0).unsqueeze(1), climb.lr / 3, climb.lr)
        converged[active] = idle >= PATIENCE
        rows = (idle < PATIENCE).nonzero().squeeze(1)  # the only wait for the device, once a block
        climb.keep(rows)
        active, idle = active[rows], idle[rows]
    return _Found(best, record, converged, climb.steps)


def _likely_start(vae: nn.Module, x: Tensor, own: Posterior, seed: int, number: int) -> Posterior:
    """Return start ``number``: the draw from the prior under which each image is likeliest, a tenth of the encoder's σ.

    A posterior that starts too wide averages over hills and climbs the broadest.
    """
    draws = normal((CANDIDATES, vae.d_z), seed, "start", number).to(own.mu)
    params = (one for part in draws.split(20) for one in vae.decode(part))
    scores = [vae.likelihood.log_prob(one.expand(len(x), *one.shape), x) for one in params]
    return Posterior(draws[torch.stack(scores).argmax(0)], NARROWER * own.sigma)


def _search(
    vae: nn.Module, x: Tensor, own: Posterior, select: Tensor, starts: int, *climbing: float
) -> tuple[Posterior, Tensor, Tensor, int]:
    """Climb from every start on one chunk; return each image's best posterior, if it converged, its start, the steps."""
    best = _optimize(vae, x, own, select, *climbing)
    won = torch.zeros_like(best.converged, dtype=torch.long)
    for number in range(1, starts):
        other = _optimize(vae, x, _likely_start(vae, x, own, climbing[0], number), select, *climbing)
        better = other.score > best.score
        rows = torch.where(better[:, None], other.q, best.q)
        kept = (torch.where(better, new, old) for new, old in zip(other[1:3], best[1:3], strict=True))
        best = _Found(rows, *kept, max(best.steps, other.steps))
        won = torch.where(better, number, won)
    return Posterior(*best.q.chunk(2, 1)), best.converged, won, best.steps
