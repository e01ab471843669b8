r"""Denoisers that need no training: the exact ones of a finite set of images, whole or in patches.

Notation as in :mod:`~vaelib.models.denoiser`: y_1, ..., y_N are the training images in [-1, 1], x = y + σn. If p_data is their
empirical distribution, smoothed by a Gaussian of standard deviation h (a kernel density, h = 0: the images alone), then

    D(x; σ) = ȳ + h² / (h² + σ²) (x − ȳ),    ȳ = Σ_i w_i y_i,    w_i ∝ exp(−‖x − y_i‖² / 2(h² + σ²)).

With h = 0 this is what every denoiser would become that minimises the training loss without limits: samples are training
images. Kamb & Ganguli (2025) ask what a network does that sees only patches, whose size grows with σ, and does not know
where they lie. Its optimum is one such mean for every pixel u: with Ω_u the pixels no farther from u than r(σ) in either
direction, and s running over small shifts of the training images,

    D_u(x; σ) = Σ_{i,s} w_{i,s}(u) y_{i,u−s},    w_{i,s}(u) ∝ exp(−Σ_{v ∈ Ω_u} (x_v − y_{i,v−s})² / 2σ²).

Its samples agree with a training image in every patch and with none as a whole. The shifts are bounded here (theirs are not,
which costs a thousand times as much), and borders repeat their last pixel.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KernelDenoiser(nn.Module):
    """The exact D(x; σ) of training images, (N, C, H, W) in [-1, 1], smoothed by a Gaussian of standard deviation ``bandwidth``.

    >>> denoiser = KernelDenoiser(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
    >>> denoiser(torch.full((1, 1, 1, 1), 0.5), torch.ones(1)).item() == torch.tensor(0.5).tanh().item()  # of ±1
    True
    """

    def __init__(self, images: Tensor, bandwidth: float = 0.0):
        super().__init__()
        self.bandwidth = bandwidth
        self.register_buffer("images", images.double(), persistent=False)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return E[y | x], shape (B, C, H, W), for noisy images x; σ has shape (B,)."""
        y, noisy, level = self.images.flatten(1), x.double().flatten(1), sigma.double().view(-1, 1).square()
        variance = level + self.bandwidth**2
        near = (noisy @ y.T - y.square().sum(1) / 2) / variance  # −‖x − y‖² / 2 but for ‖x‖², which all share
        mean = near.softmax(1) @ y
        return (mean + self.bandwidth**2 / variance * (noisy - mean)).view(x.shape).to(x.dtype)


class PatchDenoiser(nn.Module):
    """The exact D(x; σ) of patches of training images, (N, C, H, W) in [-1, 1] (Kamb & Ganguli 2025).

    Arguments:
        images: the training images.
        reach: r(σ) = max(1, ⌈reach · σ⌉) pixels: telling two patches apart takes a number of pixels that grows as σ².
        shift: how many pixels a patch may have moved in either direction; 0: each pixel knows where it is.

    >>> denoiser = PatchDenoiser(torch.zeros(2, 1, 8, 8))
    >>> denoiser(torch.randn(3, 1, 8, 8), torch.ones(3)).abs().max().item()
    0.0
    """

    def __init__(self, images: Tensor, reach: float = 4.0, shift: int = 0):
        super().__init__()
        self.reach, self.shift = reach, shift
        self.register_buffer("images", images.float(), persistent=False)

    def _shifted(self) -> Iterator[Tensor]:
        """Yield the training images at every shift."""
        s, (height, width) = self.shift, self.images.shape[-2:]
        wide = F.pad(self.images, (s, s, s, s), mode="replicate") if s else self.images
        for down in range(2 * s + 1):
            for right in range(2 * s + 1):
                yield wide[..., down : down + height, right : right + width].contiguous()

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return E[y | patches of x], shape (B, C, H, W); σ, of shape (B,), is one level for all."""
        level, given, x = float(sigma[0]), x.dtype, x.float()
        if not bool((sigma == level).all()):
            raise ValueError("PatchDenoiser takes images of one noise level at a time")
        radius = max(1, math.ceil(self.reach * level))
        rows, columns = (_band(side, radius, x.device) for side in x.shape[-2:])

        def summed(values: Tensor) -> Tensor:  # over channels and each pixel's patch: (N, C, H, W) -> (N, 1, H, W)
            return rows @ (values.sum(1, keepdim=True) @ columns)

        flat = x.new_zeros(len(x), 1, *x.shape[-2:])
        top, total, mean = flat - torch.inf, flat.clone(), torch.zeros_like(x)
        for images in self._shifted():
            half = summed(images.square()) / 2
            for row, noisy in enumerate(x):
                near = (summed(noisy * images) - half) / level**2
                highest = torch.maximum(top[row], near.amax(0))  # so that no exponential overflows
                weights, before = (near - highest).exp(), (top[row] - highest).exp()
                total[row] = before * total[row] + weights.sum(0)
                mean[row] = before * mean[row] + (weights * images).sum(0)
                top[row] = highest
        return (mean / total).to(given)


def _band(side: int, radius: int, device: torch.device) -> Tensor:
    """Return the (side, side) matrix that adds up what lies no farther than ``radius`` from each place."""
    place = torch.arange(side, device=device)
    return ((place[:, None] - place).abs() <= radius).float()
