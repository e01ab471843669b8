"""What several corruptions share: draws of one generator an image, and linear maps of an image's rows and columns.

A blur or a zoom of 32 pixels is a (32, 32) matrix A, of an image A x Aᵀ; so a batch is one matrix product. All in
float64: before bytes are rounded down, float32 would let some hang on how many images share a product.
"""

import math
from types import ModuleType

import torch
from torch import Tensor

from ...errors import VaelibError

SIDE = 32
FLOAT = torch.float64
LUMA = torch.tensor([0.299, 0.587, 0.114], dtype=FLOAT)  # of red, green and blue


def pillow() -> ModuleType:
    """Return ``PIL.Image``; raises VaelibError where Pillow is missing."""
    try:
        from PIL import Image
    except ImportError as error:
        raise VaelibError("this corruption needs Pillow; run pip install 'vaelib[eval]'") from error
    return Image


def uniform(draws: list[torch.Generator], *shape: int) -> Tensor:
    """Return U(0, 1) of ``shape`` an image, (B, *shape)."""
    return torch.stack([torch.rand(shape, generator=draw, dtype=FLOAT) for draw in draws])


def normal(draws: list[torch.Generator], *shape: int) -> Tensor:
    """Return N(0, 1) of ``shape`` an image, (B, *shape)."""
    return torch.stack([torch.randn(shape, generator=draw, dtype=FLOAT) for draw in draws])


def luma(x: Tensor) -> Tensor:
    """Return the grey version (..., 1, H, W) of colour or grey images."""
    return x if x.shape[-3] == 1 else (x * LUMA.view(3, 1, 1)).sum(-3, keepdim=True)


def floor_bytes(x: Tensor) -> Tensor:
    """Return floats in [0, 1] as bytes, rounded down as the benchmark does (1e-6 of a grey level forgives x / 255 x 255)."""
    return (255 * x.clamp(0, 1) + 1e-6).byte()


def bell(place: Tensor, sigma: float) -> Tensor:
    """Return weights ∝ exp(-place² / 2 sigma²) that sum to 1."""
    return torch.softmax(-0.5 * (place.to(FLOAT) / sigma).square(), 0)


def smooth(x: Tensor, sigma: float, border: str = "nearest", truncate: float = 4.0) -> Tensor:
    """Return ``x`` (..., 32, 32) under a Gaussian of ``sigma`` pixels, cut off at ``truncate`` sigmas.

    ``border``: "nearest" (a a | a b c) or "reflect" (b a | a b c).
    """
    radius = int(truncate * sigma + 0.5)
    offset = torch.arange(-radius, radius + 1)
    weight = bell(offset, sigma)
    where = torch.arange(SIDE)[:, None] + offset
    where = where.clamp(0, SIDE - 1) if border == "nearest" else where % (2 * SIDE)
    where = torch.minimum(where, 2 * SIDE - 1 - where)
    matrix = torch.zeros(SIDE, SIDE, dtype=FLOAT).scatter_add_(1, where, weight.expand_as(where))
    return matrix @ x @ matrix.T


def magnifier(factor: float) -> Tensor:
    """Return the (32, 32) matrix that enlarges the middle ⌈32 / factor⌉ pixels linearly, and keeps 32 in the middle."""
    crop = math.ceil(SIDE / factor)
    size = round(crop * factor)
    kept = torch.arange(SIDE, dtype=FLOAT) + (size - SIDE) // 2
    position = kept * (crop - 1) / (size - 1) + (SIDE - crop) // 2
    distance = position[:, None] - torch.arange(SIDE)
    return (1 - distance.abs()).clamp(min=0)


def motion(x: Tensor, radius: int, sigma: float, degrees: Tensor) -> Tensor:
    """Return ``x`` (B, C, 32, 32) smeared along each image's angle (B,), as ImageMagick's motion blur does.

    x'(p) = Σᵢ wᵢ x(p + round(i u)), i = 0 ... 2 radius, wᵢ ∝ exp(-i² / 2 sigma²), u = (cos, sin) of the angle (halves
    rounded down), so the smear is one-sided; the border is repeated.
    """
    steps, angle = torch.arange(2 * radius + 1), degrees.deg2rad()
    weights = bell(steps, sigma).tolist()
    columns, rows = (
        (torch.arange(SIDE) + (steps[:, None] * part - 0.5).ceil().long()[..., None]).clamp(0, SIDE - 1)
        for part in (angle.cos(), angle.sin())
    )  # (steps, B, 32) each
    flat, out = x.flatten(2), 0
    for weight, column, row in zip(weights, columns, rows, strict=True):
        index = (SIDE * row[:, :, None] + column[:, None, :]).flatten(1)
        out = out + weight * flat.gather(2, index[:, None].expand_as(flat))
    return out.view_as(x)
