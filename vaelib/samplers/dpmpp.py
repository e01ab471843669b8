r"""DPM-Solver++(2M), a multistep sampler for the probability-flow ODE (Lu et al. 2022, Algorithm 2), in σ.

With α = 1 and λ = −ln σ the ODE dx/dσ = (x − D(x; σ)) / σ has, between two noise levels, the exact solution

    x_{i+1} = (σ_{i+1}/σ_i) x_i + σ_{i+1} ∫_{λ_i}^{λ_{i+1}} e^λ D(x_λ; σ_λ) dλ.

A first-order step takes D for constant; 2M extrapolates it on a line through the last two evaluations, with
h_i = λ_{i+1} − λ_i and r = h_{i−1} / h_i:

    D̃_i = (1 + 1/(2r)) D_i − 1/(2r) D_{i−1},     x_{i+1} = (σ_{i+1}/σ_i) x_i + (1 − σ_{i+1}/σ_i) D̃_i.

The first step and the last, to σ = 0, are of first order; the last returns D itself. Each step calls D once, where Heun's
calls it twice.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from .heun import Denoise, time_steps


def dpmpp_2m_sample(
    denoise: Denoise,
    noise: Tensor,
    *,
    steps: int = 18,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
) -> Tensor:
    """Return x_0 for standard normal ``noise`` (B, ...), by ``steps`` calls of D, at the noise levels of Heun's sampler.

    Arguments:
        denoise: D(x; σ), called with x in the precision of ``noise`` and σ of shape (B,); the state itself is float64.
        noise: standard normal, (B, ...).
        steps: noise levels, and calls of ``denoise``.
        sigma_min, sigma_max, rho: see :func:`vaelib.samplers.heun.time_steps`.

    Returns:
        x_0 in the shape and precision of ``noise``.

    Raises:
        ValueError: fewer than two steps.

    Example:
        >>> noise = torch.randn(4, 2)
        >>> only_zero = lambda x, sigma: torch.zeros_like(x)  # the denoiser of data that are always 0
        >>> dpmpp_2m_sample(only_zero, noise, steps=5).abs().max().item() < 1e-6
        True
    """

    def clean_at(x: Tensor, t: float) -> Tensor:
        sigma = torch.full((len(x),), t, dtype=noise.dtype, device=noise.device)
        return denoise(x.to(noise.dtype), sigma).double()

    times = time_steps(steps, sigma_min, sigma_max, rho)[:-1]
    x, before, h_before = noise.double() * sigma_max, None, math.inf
    for t, t_next in pairwise(times):
        clean, h = clean_at(x, t), math.log(t / t_next)
        # lerp with a weight above 1 extrapolates: D̃ = D_{i−1} + (1 + 1/(2r)) (D_i − D_{i−1}).
        line = clean if before is None else torch.lerp(before, clean, 1 + h / (2 * h_before))
        x = torch.lerp(line, x, t_next / t)
        before, h_before = clean, h
    return clean_at(x, times[-1]).to(noise.dtype)
