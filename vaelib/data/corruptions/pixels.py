"""Corruptions of each pixel on its own: noise (Gaussian, shot, impulse, speckle) and colour (brightness, ...).

Images x are floats in [0, 1], (B, C, 32, 32); ``c`` is the constant of the severity; ``draws`` one generator an image.
"""

import torch
from torch import Tensor

from .tools import FLOAT, normal, uniform

Draws = list[torch.Generator]


def gaussian_noise(x: Tensor, c: float, draws: Draws) -> Tensor:
    """Return x + c ε, ε ~ N(0, 1)."""
    return x + c * normal(draws, *x.shape[1:])


def shot_noise(x: Tensor, c: float, draws: Draws) -> Tensor:
    """Return Poisson(c x) / c."""
    return torch.stack([torch.poisson(c * image, generator=draw) for image, draw in zip(x, draws, strict=True)]) / c


def impulse_noise(x: Tensor, c: float, draws: Draws) -> Tensor:
    """Return x with a share ``c`` of the values (a channel on its own) replaced by 0 or 1, as likely."""
    u = uniform(draws, *x.shape[1:])
    return x.masked_fill(u < c / 2, 0).masked_fill(u > 1 - c / 2, 1)


def speckle_noise(x: Tensor, c: float, draws: Draws) -> Tensor:
    """Return x (1 + c ε), ε ~ N(0, 1)."""
    return x * (1 + c * normal(draws, *x.shape[1:]))


def brightness(x: Tensor, c: float, _: Draws) -> Tensor:
    """Return x with c added to its value V = max(R, G, B) at the same hue and saturation: x min(V + c, 1) / V."""
    value = x.amax(1, keepdim=True)
    lifted = (value + c).clamp(max=1)
    return torch.where(value > 0, x * lifted / value, lifted)


def contrast(x: Tensor, c: float, _: Draws) -> Tensor:
    """Return m + c (x - m), m a channel's mean over the image."""
    return torch.lerp(x.mean((2, 3), keepdim=True), x, c)


def saturate(x: Tensor, c: tuple[float, float], _: Draws) -> Tensor:
    """Return x with saturation S = 1 - min / max mapped to min(c₀ S + c₁, 1) at the same hue and value V = max.

    x = V - (V - x) S' / S. A grey pixel has no hue; as in the benchmark it counts as red. One channel has no saturation.
    """
    if x.shape[1] == 1:
        return x
    value = x.amax(1, keepdim=True)
    distance = value - x
    chroma = distance.amax(1, keepdim=True)  # V S
    red = torch.tensor([0, 1, 1], dtype=FLOAT).view(1, 3, 1, 1)
    tone = torch.where(chroma > 0, distance / chroma, red)
    saturation = torch.where(value > 0, chroma / value, 0)
    return value * (1 - tone * (c[0] * saturation + c[1]).clamp(max=1))
