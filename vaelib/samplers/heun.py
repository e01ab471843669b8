r"""Heun's second-order sampler for the probability-flow ODE (Karras et al. 2022, Algorithm 1 with S_churn = 0).

With σ(t) = t the ODE that carries N(0, σ_max²) noise back to data is dx/dt = (x − D(x; t)) / t. The time steps are

    t_i = (σ_max^{1/ρ} + i/(N−1) (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ,   i = 0 … N−1,   t_N = 0         (Karras Eq. 5)

and each step is Heun's, the last (to t = 0, where the slope is undefined) Euler's: 2N − 1 calls of D in all.

Followed the other way, from a point x_0 up to σ_max, the ODE tells the density of what it generates (Song et al. 2021):

    log p(x_0) = log N(x_T; 0, σ_max² I) + ∫ div[(x − D(x; t)) / t] dt.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from ..errors import VaelibError

Denoise = Callable[[Tensor, Tensor], Tensor]


def time_steps(steps: int = 18, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> list[float]:
    """Return the steps + 1 noise levels from ``sigma_max`` down to ``sigma_min``, then 0 (Karras Eq. 5).

    Raises:
        ValueError: fewer than 2 steps.
        VaelibError: levels that do not fall, or not to a positive one.
    """
    if steps < 2:
        raise ValueError(f"steps must be at least 2, not {steps}")
    if not 0 < sigma_min < sigma_max:
        raise VaelibError(f"sigma_min = {sigma_min}, sigma_max = {sigma_max}: give a positive one below a larger one")
    first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [(first + i / (steps - 1) * (last - first)) ** rho for i in range(steps)] + [0.0]


def heun_sample(
    denoise: Denoise,
    noise: Tensor,
    *,
    steps: int = 18,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
) -> Tensor:
    """Return x_0 for standard normal ``noise`` (B, ...), by 2 · steps − 1 calls of D (Karras Algorithm 1, S_churn = 0).

    ``denoise(x, sigma)`` gets x in the precision of ``noise`` and σ of shape (B,); the state itself is float64.

    >>> only_zero = lambda x, sigma: torch.zeros_like(x)  # the denoiser of data that are always 0
    >>> heun_sample(only_zero, torch.randn(4, 2), steps=5).abs().max().item() < 1e-6
    True
    """
    times = time_steps(steps, sigma_min, sigma_max, rho)

    def slope(x: Tensor, t: float) -> Tensor:
        sigma = torch.full((len(x),), t, dtype=noise.dtype, device=noise.device)
        return (x - denoise(x.to(noise.dtype), sigma).double()) / t

    x = noise.double() * times[0]
    for t, t_next in pairwise(times):
        d = slope(x, t)
        euler = x + (t_next - t) * d
        x = euler if t_next == 0 else x + (t_next - t) * (d + slope(euler, t_next)) / 2
    return x.to(noise.dtype)


def flow_log_prob(
    denoise: Denoise, x: Tensor, *, steps: int = 20, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Tensor:
    """Return log p(x), (B,) nats, of what the probability-flow ODE generates (Song et al. 2021, Eq. 39).

    By classical Runge-Kutta steps: Heun's error of a few per cent would not matter to a sample, but to a density. The
    divergence is exact and costs a backward pass a coordinate: for points in the plane (B, 2, ...), not for images.
    ``x`` and ``denoise`` should be float64.
    """

    def slope(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            x = x.clone().detach().requires_grad_(True)
            d = (x - denoise(x, torch.full((len(x),), t, dtype=x.dtype, device=x.device))) / t
            rows = d.flatten(1).sum(0)
            trace = sum(
                torch.autograd.grad(row, x, retain_graph=True)[0].flatten(1)[:, i] for i, row in enumerate(rows)
            )
        return d.detach(), trace.detach()

    log_p = torch.zeros_like(x.flatten(1)[:, 0])
    for t, t_next in pairwise(time_steps(steps, sigma_min, sigma_max, rho)[-2::-1]):
        h = t_next - t
        first = slope(x, t)
        second = slope(x + h / 2 * first[0], t + h / 2)
        third = slope(x + h / 2 * second[0], t + h / 2)
        fourth = slope(x + h * third[0], t_next)
        d, trace = (a + 2 * b + 2 * c + e for a, b, c, e in zip(first, second, third, fourth, strict=True))
        x, log_p = x + h / 6 * d, log_p + h / 6 * trace
    end = x.flatten(1) / sigma_max
    return log_p - 0.5 * end.square().sum(1) - end.shape[1] * math.log(sigma_max * math.sqrt(2 * math.pi))
