"""Corruptions that mix neighbouring pixels: blurs, the elastic warp, and the two that discard detail.

Images x are floats in [0, 1], (B, C, 32, 32); ``c`` holds the constants of the severity; ``draws`` one generator an
image.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .tools import FLOAT, SIDE, bell, floor_bytes, magnifier, motion, pillow, smooth, uniform

Draws = list[torch.Generator]


def gaussian_blur(x: Tensor, c: float, _: Draws) -> Tensor:
    """Return x under a Gaussian of ``c`` pixels."""
    return smooth(x, c)


def defocus_blur(x: Tensor, c: tuple[float, float], _: Draws) -> Tensor:
    """Return x under a disk of radius c₀ whose edge is softened by a 3x3 Gaussian of c₁ pixels."""
    radius, soft = c
    place = torch.arange(-2, 3)
    disk = (place.square() + place[:, None].square() <= radius**2).to(FLOAT)
    line = bell(torch.arange(-1, 2), soft)
    kernel = F.conv2d((disk / disk.sum())[None, None], line.outer(line)[None, None], padding=1)
    padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
    return F.conv2d(padded.flatten(0, 1)[:, None], kernel).view_as(x)


def glass_blur(x: Tensor, c: tuple[float, int], draws: Draws) -> Tensor:
    """Return x blurred by c₀ pixels, its pixels displaced c₁ times, blurred again.

    A displaced pixel becomes its neighbour 0 or 1 to the left and 0 or 1 above. The benchmark means to swap the two, but
    its assignment (of NumPy views) copies; its published images have these copies, so these do, too.
    """
    sigma, times = c
    place = torch.arange(SIDE)
    inner = (place >= 2) & (place[:, None] >= 2)
    back = (uniform(draws, times, 2, SIDE, SIDE) < 0.5) & inner
    y = floor_bytes(smooth(x, sigma)).flatten(2)
    for step in range(times):
        up, left = back[:, step].long().unbind(1)
        index = (SIDE * (place[:, None] - up) + place - left).flatten(1)
        y = y.gather(2, index[:, None].expand_as(y))
    return smooth(y.view_as(x).to(FLOAT) / 255, sigma)


def motion_blur(x: Tensor, c: tuple[int, float], draws: Draws) -> Tensor:
    """Return x smeared with radius c₀ and width c₁ along an angle uniform on ±45°."""
    return motion(x, *c, 90 * uniform(draws) - 45)


def zoom_blur(x: Tensor, c: int, _: Draws) -> Tensor:
    """Return the mean of x and of x enlarged by 1, 1.01, ..., 1 + (c - 1) / 100."""
    total = torch.eye(SIDE**2, dtype=FLOAT)
    for step in range(c):
        matrix = magnifier(1 + step * (1.01 - 1))  # NumPy's arange: its last bits decide how 26 x 1.25 is rounded
        total += torch.kron(matrix, matrix)
    return (x.flatten(2) @ (total / (c + 1)).T).view_as(x)


def elastic_transform(x: Tensor, c: tuple[float, float, float], draws: Draws) -> Tensor:
    """Return x under a random affine map, then under random displacements.

    The affine map moves three corners of a square by up to c₂ each way; the displacements are uniform on ±1 smoothed
    over c₁ pixels, times c₀. Bilinear both times, with the border mirrored.
    """
    amount, smoothness, corner = c
    at = torch.tensor([[26, 26], [26, 6], [6, 6]], dtype=FLOAT)
    moved = at + corner * (2 * uniform(draws, 3, 2) - 1)
    back = torch.linalg.solve(torch.cat([moved, torch.ones_like(moved[..., :1])], 2), at)  # where a pixel comes from
    grid = torch.stack(torch.meshgrid(*[torch.arange(SIDE, dtype=FLOAT)] * 2, indexing="xy"), -1)  # (x, y)
    source = (grid.flatten(0, 1) @ back[:, :2] + back[:, 2:]).view(-1, SIDE, SIDE, 2)
    y = F.grid_sample(x, 2 * source / (SIDE - 1) - 1, padding_mode="reflection", align_corners=True)
    if not amount:
        return y
    shift = amount * smooth(2 * uniform(draws, 2, SIDE, SIDE) - 1, smoothness, "reflect", truncate=3.0)
    source = grid + shift.movedim(1, -1)
    return F.grid_sample(y, (2 * source + 1) / SIDE - 1, padding_mode="reflection", align_corners=False)


def _each(x: Tensor, change: Callable) -> Tensor:
    """Return what ``change`` makes of every image, from one Pillow image to another."""
    pixels = (255 * x).round().byte().movedim(1, -1).numpy()
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    changed = np.stack([np.asarray(change(pillow().fromarray(image))) for image in pixels])
    return torch.from_numpy(changed).view(len(x), SIDE, SIDE, -1).movedim(-1, 1).to(FLOAT) / 255


def pixelate(x: Tensor, c: float, _: Draws) -> Tensor:
    """Return x averaged over boxes to ⌊32 c⌋ pixels a side, and back."""
    small, box = (int(SIDE * c),) * 2, pillow().Resampling.BOX
    return _each(x, lambda image: image.resize(small, box).resize((SIDE, SIDE), box))


def jpeg_compression(x: Tensor, c: int, _: Draws) -> Tensor:
    """Return x after a JPEG file of quality ``c``."""

    def through(image):
        file = BytesIO()
        image.save(file, "JPEG", quality=c)
        return pillow().open(file)

    return _each(x, through)
