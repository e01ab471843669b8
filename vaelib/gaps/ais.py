r"""log p(x) from below and above: annealed importance sampling and bidirectional Monte Carlo.

Between a Gaussian q₀ (the prior, or a posterior like q*) and p(x, z) lie the T + 1 densities, 0 = β_0 < ... < β_T = 1,

    log f_β(z) = (1 - β) log q₀(z) + β log p(x, z) = log q₀(z) + β Δ(z),     Δ = log p(x|z) + log p(z) - log q₀(z).

AIS (Neal 2001) starts from z ~ q₀ and visits them in turn, moving by HMC; with z_t after the moves under f_{β_t},

    log w = Σ_t (β_{t+1} - β_t) Δ(z_t),       E[w] = p(x),     so E[log mean_c w_c] ≤ log p(x).

Backwards from an *exact* sample z of p(z|x), the same sum with reversed β has E[w] = 1 / p(x), so -log mean_c w_c is
an upper bound in expectation (Grosse et al. 2015). Images that a VAE generated come with such a z; real ones do not.

HMC runs in u = (z - μ₀) / σ₀, where f_β(u) ∝ exp(-½ |u|² + β Δ). A pilot run tunes its step sizes, one an image and
temperature, towards 65 % acceptance, and spaces the temperatures equally in thermodynamic length ∫ std_β(Δ) dβ (Gelman &
Meng 1998); both are then frozen: adapting them within the run would break E[w] = p(x), and with it the certificate
(:func:`vaelib.gaps.iwae.slack`). All images × chains move at once. Nats per image.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import VaelibError
from ..images import as_float, check_images
from ..models.vae import Posterior
from ..modes import evaluating
from ..rng import sent
from .bounds import block_noise
from .iwae import Bound, check_rows, log_mean, log_weights, rows_of, slack
from .memory import decodings_at_once

TARGET = 0.65  # acceptance of HMC at the best cost (Neal 2011)
PILOT_CHAINS, FIRST_STEP, GAIN = 4, 0.5, 0.2
SIGMOID_REACH = 4.0


class Bracket(NamedTuple):
    """log p(x) of each image from below and above in expectation, (N,) float64 nats on the CPU."""

    lower: Tensor
    upper: Tensor

    def mean(self, delta: float = 0.01) -> tuple[float, float]:
        """Return an interval that holds the images' mean log p(x) with probability at least 1 - δ (Markov), nats."""
        room = slack(len(self.lower), delta / 2)
        return float(self.lower.mean()) - room, float(self.upper.mean()) + room

    def impossible(self, delta: float = 0.01) -> Tensor:
        """Return which images' lower bound lies above the upper one, (N,), further than chance would have it.

        By Markov, for all images at once: with a correct sampler any is True with probability δ at most.
        """
        return self.lower - self.upper > 2 * slack(1, delta / (2 * len(self.lower)))


class Chain(NamedTuple):
    """Where the chains are: u (C, B, d_z), Δ(u) (C, B) and its gradient."""

    u: Tensor
    delta: Tensor
    slope: Tensor


def _sigmoid(count: int) -> Tensor:
    """Return β_0 = 0 ... β_count = 1, (count + 1, 1) float64, finer at both ends (Grosse et al. 2015): the pilot's."""
    even = torch.linspace(0, 1, count + 1, dtype=torch.float64)[:, None]
    raw = torch.sigmoid(SIGMOID_REACH * (2 * even - 1))
    return (raw - raw[0]) / (raw[-1] - raw[0])


def _retimed(betas: Tensor, spread: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Return temperatures (T + 1, B) at equal thermodynamic distances ∫ std_β(Δ) dβ, and their steps (T - 1, B).

    ``spread`` (T, B) is std(Δ) at all ``betas`` (T + 1, B) but the last; a tenth of the distance stays that of
    ``betas``, lest an estimate of 0 leave a hole.
    """
    pace = spread * betas.diff(dim=0) + 1e-12
    even = torch.linspace(0, 1, len(betas), dtype=betas.dtype, device=betas.device)[:, None].expand_as(betas)
    way = 0.9 * torch.cat([torch.zeros_like(pace[:1]), pace.cumsum(0) / pace.sum(0)]) + 0.1 * even
    after = torch.searchsorted(way.T.contiguous(), even.T.contiguous()).T.clamp(1, len(pace))
    left, right = way.gather(0, after - 1), way.gather(0, after)
    fraction = ((even - left) / (right - left)).clamp(0, 1)
    found = torch.lerp(betas.gather(0, after - 1), betas.gather(0, after), fraction)
    found[-1] = 1
    return found, steps.gather(0, (after[1:-1] - 1).clamp(max=len(steps) - 1))


class _Annealer:
    """The chains of images ``start`` to ``stop``: Δ and its slope, HMC, and a walk through the temperatures."""

    def __init__(self, vae: nn.Module, q: Posterior, x: Tensor, start: int, leapfrogs: int, seed: int):
        self.vae, self.q, self.x, self.start, self.leapfrogs, self.seed = vae, q, x, start, leapfrogs, seed

    def noise(self, name: str, chains: int, numbers: int) -> Tensor:
        """Return standard normal noise (chains, B, numbers), each image's own."""
        draws = block_noise(self.start, self.start + len(self.x), (chains, numbers), self.seed, f"ais/{name}")
        return sent(draws.transpose(0, 1), self.x.device).to(self.x)

    def visit(self, u: Tensor) -> Chain:
        """Return Δ and dΔ/du at ``u`` (C, B, d_z)."""
        u = u.detach().requires_grad_(True)
        with torch.enable_grad():
            delta = log_weights(self.vae, self.q, self.x, u)
            (slope,) = torch.autograd.grad(delta.sum(), u)
        return Chain(u.detach(), delta.detach(), slope)

    def move(self, chain: Chain, beta: Tensor, step: Tensor, noise: Tensor) -> tuple[Chain, Tensor]:
        """Return the chains after one HMC move under f_β, and the probability of acceptance (C, B).

        ``beta`` and ``step`` (B,); ``noise`` (C, B, d_z + 1): the momentum, and a number whose normal quantile decides acceptance.
        """
        slopes, step, start = beta[:, None], step[:, None], noise[..., :-1]
        found, momentum = chain, start + step / 2 * (slopes * chain.slope - chain.u)
        for last in [False] * (self.leapfrogs - 1) + [True]:
            found = self.visit(found.u + step * momentum)
            momentum = momentum + (step / 2 if last else step) * (slopes * found.slope - found.u)
        energy = 0.5 * (found.u.square() - chain.u.square() + momentum.square() - start.square()).sum(-1)
        gain = (beta * (found.delta - chain.delta) - energy).nan_to_num(-math.inf)  # NaN: the path diverged
        taken = torch.special.log_ndtr(noise[..., -1]) < gain
        u, slope = (torch.where(taken[..., None], new, old) for new, old in zip(found[::2], chain[::2], strict=True))
        return Chain(u, torch.where(taken, found.delta, chain.delta), slope), gain.clamp(max=0).exp()

    def walk(self, name: str, u: Tensor, betas: Tensor, steps: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return log w (C, B) of chains that start at ``u`` and visit ``betas`` (T + 1, B).

        Also the spread of Δ over the chains (T, B) and the step sizes (T - 1, B), tuned on the way unless given.
        """
        chain, spreads, used = self.visit(u), [], []
        log_w = torch.zeros_like(chain.delta, dtype=torch.float64)
        step = torch.full_like(chain.delta[0], FIRST_STEP)
        for t, (here, there) in enumerate(pairwise(betas)):
            log_w += (there - here) * chain.delta.double()
            spreads.append(chain.delta.double().std(0, correction=0))
            if t == len(betas) - 2:  # a move under the last density would change no weight
                break
            step = step if steps is None else steps[t]
            used.append(step)
            noise = self.noise(f"{name}/{t}", len(u), u.shape[-1] + 1)
            chain, acceptance = self.move(chain, there.to(step), step, noise)
            step = step * torch.exp(GAIN * (acceptance.mean(0) - TARGET))
        return log_w, torch.stack(spreads), torch.stack(used)


def _log_mean_exp(log_w: Tensor) -> Bound:
    """Return log of the mean weight over the chains (C, B), and its standard error."""
    return log_mean(log_w.logsumexp(0), (2 * log_w).logsumexp(0), len(log_w))


def check_annealing(chains: int = 8, temperatures: int = 500, leapfrogs: int = 2) -> None:
    """Raise VaelibError if these numbers anneal nothing."""
    if chains < 1 or temperatures < 2 or leapfrogs < 1:
        raise VaelibError(
            f"chains = {chains} and leapfrogs = {leapfrogs} must be at least 1, temperatures = {temperatures} at least 2"
        )


@torch.no_grad()
def _anneal(
    vae: nn.Module,
    z: Tensor | None,
    images: Tensor,
    q: Posterior | None,
    chains: int,
    temperatures: int,
    leapfrogs: int,
    seed: int,
    memory: int | None,
    unclipped: bool,
) -> tuple[Tensor, ...]:
    """Return AIS's value and error, (N,) each, and the upper bound where ``z`` is given."""
    check_images(images, vae, unclipped=unclipped)
    check_annealing(chains, temperatures, leapfrogs)
    check_rows(images, vae.d_z, z=z, q=None if q is None else q.mu)
    parts = []
    with evaluating(vae, gradients=True) as device:
        room = decodings_at_once(vae, as_float(images[:1].to(device)), memory, gradient=True)
        for start in range(0, len(images), chunk := max(room // max(chains, PILOT_CHAINS), 1)):
            x = as_float(images[start : start + chunk].to(device))
            prior = Posterior(x.new_zeros(len(x), vae.d_z), x.new_ones(len(x), vae.d_z))
            own = prior if q is None else rows_of(q, start, start + len(x), x)
            annealer = _Annealer(vae, own, x, start, leapfrogs, seed)
            betas = _sigmoid(temperatures).to(device).expand(-1, len(x))
            _, spread, steps = annealer.walk("pilot", annealer.noise("pilot", PILOT_CHAINS, vae.d_z), betas)
            betas, steps = _retimed(betas, spread, steps)
            forward, *_ = annealer.walk("forward", annealer.noise("forward", chains, vae.d_z), betas, steps)
            found = [*_log_mean_exp(forward)]
            if z is not None:
                exact = ((z[start : start + len(x)].to(x) - own.mu) / own.sigma).expand(chains, -1, -1)
                backward, *_ = annealer.walk("backward", exact, betas.flip(0), steps.flip(0))
                found.append(-_log_mean_exp(backward).value)
            parts.append(torch.stack(found).cpu())
    return torch.cat(parts, 1).unbind(0)


def ais_lower(
    vae: nn.Module,
    images: Tensor,
    *,
    q: Posterior | None = None,
    chains: int = 8,
    temperatures: int = 500,
    leapfrogs: int = 2,
    seed: int = 0,
    memory: int | None = None,
    unclipped: bool = False,
) -> Bound:
    """Return AIS's stochastic lower bound on log p(x) of every image (Neal 2001), with its standard error.

    Arguments:
        images: (N, C, H, W), uint8 or floats in [0, 1], on any device.
        q: q₀, where the chains start: a posterior (N, d_z) such as q*, or the prior unless given.
        chains: an image; the cost of a call is (chains + 4) · temperatures · leapfrogs decodings an image.
        temperatures: T. The bound's distance to log p(x) falls like 1/T; from q*, 50 to 100 usually suffice.
        leapfrogs: steps of one HMC move; at equal cost, few steps and many temperatures are tighter.
        memory: bytes to hold at once (:mod:`vaelib.gaps.memory`); never changes the noise.
        unclipped: as for :func:`~vaelib.gaps.evaluate_elbo`.

    Raises:
        VaelibError: no batch of images (:mod:`vaelib.images`), no memory, counts below 1 (temperatures: 2), or a ``q`` of
            another number of images.
    """
    return Bound(*_anneal(vae, None, images, q, chains, temperatures, leapfrogs, seed, memory, unclipped))


def bdmc(
    vae: nn.Module,
    z: Tensor,
    images: Tensor,
    *,
    q: Posterior | None = None,
    chains: int = 8,
    temperatures: int = 500,
    leapfrogs: int = 2,
    seed: int = 0,
    memory: int | None = None,
) -> Bracket:
    """Return log p(x) of images that ``vae`` generated from ``z``, from both sides (Grosse et al. 2015).

    ``z`` (N, d_z) and ``images`` come from :meth:`vaelib.data.worlds.DecoderWorld.pairs`, unclipped and not rounded;
    all else is :func:`ais_lower`'s, at twice the cost.

    >>> from vaelib.data.worlds import random_decoder
    >>> world = random_decoder(d_z=2, hidden=8)
    >>> bracket = bdmc(world.vae, *world.pairs(3), chains=2, temperatures=5)
    >>> bracket.lower.shape, bracket.upper.shape
    (torch.Size([3]), torch.Size([3]))
    """
    lower, _, upper = _anneal(vae, z, images, q, chains, temperatures, leapfrogs, seed, memory, True)
    return Bracket(lower, upper)
