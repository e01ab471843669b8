r"""The unsupervised encoder attack (Eq. 10, Appendix A, Table 2), after Kuzina et al. (2022).

    ε* = arg max over ‖ε‖_∞ ≤ δ of SKL[q(·|x_r + ε) ‖ q(·|x_r)],      x_a = x_r + ε*
    SKL[q ‖ p] = ½ KL(q ‖ p) + ½ KL(p ‖ q)

For diagonal Gaussians q = N(μ, diag σ²), p = N(ν, diag τ²) with Δ = μ - ν the logarithms cancel, and with ratios of
standard deviations nothing overflows or cancels where the attack has driven σ down to its floor:

    SKL = ¼ Σᵢ [(σᵢ² + Δᵢ²) / τᵢ² + (τᵢ² + Δᵢ²) / σᵢ² - 2] = ¼ Σᵢ [(σᵢ/τᵢ - τᵢ/σᵢ)² + (Δᵢ/τᵢ)² + (Δᵢ/σᵢ)²].

Projected gradient ascent: after every step x_a lies within δ of x_r and within the range [min, max] of x_r's own pixels.
The start is random, ε ~ N(0, 0.2²), because the gradient at ε = 0 is exactly zero. In the published code ε is clipped to
the pixels' range alone before the first gradient, so that this one is mostly taken outside the δ-ball, in which the first
step ends (``kuzina2022``); with ``projected`` it is taken in the ball. An attack of no steps, which the published code does
not know, is the start projected to the ball, so that no image outside is ever shown or measured.

A step adds η times the raw gradient (``raw``, as published) or its sign (``sign``); η halves for a pair whose best SKL has
not grown by 1e-4 of itself for more than 20 steps; the last iterate is the attack. Every (image, restart) pair is on its
own, whatever else shares the batch.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import VaelibError, unknown
from ..images import as_float, check_images
from ..models.vae import Posterior
from ..modes import evaluating
from ..rng import normal

START_STD = 0.2
PATIENCE = 20
GRADIENTS = ("raw", "sign")
LONGEST = 1e30  # a slope's number; any step crosses the whole range of pixels long before
STARTS = ("kuzina2022", "projected")


def symmetric_kl(q: Posterior, p: Posterior) -> Tensor:
    """Return SKL[q ‖ p] = ½ KL(q ‖ p) + ½ KL(p ‖ q) of diagonal Gaussians, (B,), nats summed over latents."""
    offset = q.mu - p.mu
    terms = q.sigma / p.sigma - p.sigma / q.sigma, offset / p.sigma, offset / q.sigma
    return 0.25 * torch.stack([term.square() for term in terms]).sum((0, -1))


def _double(q: Posterior) -> Posterior:
    """Return q in float64, in which SKL overflows at no σ that float32 can hold."""
    return Posterior(q.mu.double(), q.sigma.double())


def check_attack(gradient: str, start: str, *, radius: float = 0.1, steps: int = 50, restarts: int = 10) -> None:
    """Raise VaelibError unless there is such an attack."""
    for what, name, known in (("gradient", gradient, GRADIENTS), ("start", start, STARTS)):
        if name not in known:
            raise unknown(f"attack {what}", name, known)
    if not radius > 0:
        raise VaelibError(
            f"attack radius = {radius} leaves no room; give a positive number (the paper's: 0.1, CIFAR-10 0.05)"
        )
    for what, count, least in (("steps", steps, 0), ("restarts", restarts, 1)):
        if count < least:
            raise VaelibError(f"attack {what} = {count} must be {least} or more (the paper's: 50 steps, 10 restarts)")


def _iterates(
    vae: nn.Module, x: Tensor, eps: Tensor, *, radius: float | Tensor, steps: int, lr: float, gradient: str, start: str
) -> Iterator[Tensor]:
    """Yield x + ε projected, then x_a after each of ``steps`` ascent steps, for pairs (B, C, H, W)."""
    column = (-1, 1, 1, 1)
    lowest, highest = x.flatten(1).amin(1).view(column), x.flatten(1).amax(1).view(column)
    lower, upper = torch.maximum(x - radius, lowest), torch.minimum(x + radius, highest)
    with torch.no_grad():
        clean = _double(vae.encode(x))
    rate = torch.full((len(x),), lr, dtype=x.dtype, device=x.device)
    best, idle = torch.zeros_like(rate), torch.zeros_like(rate)
    x_a = x + START_STD * eps
    yield x_a.clamp(lower, upper)
    x_a = x_a.clamp(lower, upper) if start == "projected" else x_a.clamp(lowest, highest)
    for _ in range(steps):
        x_a.requires_grad_(True)
        with torch.enable_grad():
            skl = symmetric_kl(_double(vae.encode(x_a)), clean)
            # Divided by a power of two, which changes no bit, the slope cannot overflow to inf - inf inside the network.
            scale = torch.ldexp(torch.ones_like(skl), skl.detach().clamp_min(1).frexp().exponent)
            (slope,) = torch.autograd.grad((skl / scale).sum(), x_a)
        slope = (slope * scale.view(column)).clamp(-LONGEST, LONGEST).to(x)
        x_a, skl = x_a.detach(), skl.detach().to(x)
        improved = skl > best * (1 + 1e-4)
        best, idle = torch.where(improved, skl, best), torch.where(improved, 0, idle + 1)
        tired = idle > PATIENCE
        rate, idle = torch.where(tired, rate / 2, rate), torch.where(tired, 0, idle)
        x_a = (x_a + rate.view(column) * (slope.sign() if gradient == "sign" else slope)).clamp(lower, upper)
        yield x_a


def _stops(vae: nn.Module, x: Tensor, eps: Tensor, at: Sequence[int], **options: Any) -> Tensor:
    """Return those of :func:`_iterates` after ``at`` steps, (len(at), pairs, C, H, W)."""
    path = enumerate(_iterates(vae, x, eps, steps=max(at), **options))
    found = {step: x_a.detach() for step, x_a in path if step in at}
    return torch.stack([found[step] for step in at])


def attack_course(
    vae: nn.Module,
    x: Tensor,
    at: Sequence[int],
    *,
    radius: float = 0.1,
    lr: float = 1.0,
    restarts: int = 10,
    seed: int = 0,
    gradient: str = "raw",
    start: str = "kuzina2022",
    indices: Sequence[int] | None = None,
    chunk: int = 500,
) -> Tensor:
    """Return the attack of :func:`attack_encoder` after each number of steps in ``at``, (len(at), restarts, B, C, H, W).

    The price is that of the longest one. Other arguments and errors are those of :func:`attack_encoder`.
    """
    check_attack(gradient, start, radius=radius, steps=min(at), restarts=restarts)
    check_images(x, vae, name="x")
    indices = range(len(x)) if indices is None else indices
    if len(indices) != len(x):
        raise VaelibError(f"{len(indices)} indices for {len(x)} images; give each its number, or leave indices out")
    with evaluating(vae, gradients=True) as device:
        x = as_float(x.to(device))
        noise = torch.stack(
            [
                normal(tuple(x.shape[1:]), seed, f"attack/{restart}", index)
                for restart in range(restarts)
                for index in indices
            ]
        )
        pairs = x.repeat(restarts, 1, 1, 1)
        attacked = [
            _stops(vae, clean, eps.to(device), at, radius=radius, lr=lr, gradient=gradient, start=start)
            for clean, eps in zip(pairs.split(chunk), noise.split(chunk), strict=True)
        ]
        return torch.cat(attacked, 1).unflatten(1, (restarts, len(x)))


def attack_encoder(vae: nn.Module, x: Tensor, *, steps: int = 50, **options: Any) -> Tensor:
    """Return attacked images x_a of Eq. 10, (restarts, B, C, H, W), floats in x's pixel range, on the model's device.

    Arguments:
        x: clean images x_r, (B, C, H, W), uint8 or floats in [0, 1].
        steps: n_ε of Table 2 (CIFAR-10: 100).
        options: ``radius``, ``lr``, ``restarts``: δ, η, n_a of Table 2 (CIFAR-10: radius 0.05); ``seed``;
            ``gradient``: "raw" (published) or "sign"; ``start``: "kuzina2022" (published) or "projected"; ``indices``: the
            images' numbers in their data set, which name their random starts, 0 … B - 1 unless given; ``chunk``: (image,
            restart) pairs in one batch, which changes memory, never the result. Defaults are those of
            :func:`attack_course`.

    Raises:
        VaelibError: unknown ``gradient`` or ``start``, a ``radius`` that is not positive, ``steps`` below 0, ``restarts``
            below 1, ``indices`` of another number of images, or no batch of images (:mod:`vaelib.images`).

    >>> from vaelib import FullyConnectedVAE
    >>> x = torch.rand(3, 1, 32, 32)
    >>> x_a = attack_encoder(FullyConnectedVAE(d_z=2), x, steps=2, restarts=4, radius=0.1)
    >>> x_a.shape, bool(((x_a - x).abs() < 0.101).all())
    (torch.Size([4, 3, 1, 32, 32]), True)
    """
    return attack_course(vae, x, (steps,), **options)[0]


def attack_path(
    vae: nn.Module,
    x: Tensor,
    radii: Sequence[float],
    *,
    steps: int = 50,
    every: int = 1,
    lr: float = 1.0,
    seed: int = 0,
    gradient: str = "raw",
    start: str = "kuzina2022",
    index: int = 0,
) -> Tensor:
    """Return how the attack on one image grows, (len(radii), 1 + steps // every, C, H, W), on the model's device.

    Entry [r, s] is restart 0 of :func:`attack_encoder` with radius ``radii[r]`` (0: the image itself) after s · ``every``
    steps (s = 0: the random start, projected), at the price of a single attack. Arguments and errors are those of
    :func:`attack_encoder`; ``x`` is one image.
    """
    check_attack(gradient, start, steps=steps)
    check_images(x[None], vae, name="x[None]")
    with evaluating(vae, gradients=True) as device:
        x = as_float(x.to(device)).expand(len(radii), *x.shape)
        eps = normal(tuple(x.shape[1:]), seed, "attack/0", index).to(device)
        radius = torch.tensor(radii, dtype=x.dtype, device=device).view(-1, 1, 1, 1)
        path = _iterates(vae, x, eps, radius=radius, steps=steps, lr=lr, gradient=gradient, start=start)
        return torch.stack([x_a.detach() for step, x_a in enumerate(path) if step % every == 0], 1)
