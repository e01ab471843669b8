"""The EDM augmentation pipeline, drawn per image (paper's App. E; Karras et al. 2020, 2022).

Every operation happens to an image with probability p, independently; draws are, with coordinates in pixels about the
image's centre and colours x̂ = 2x − 1 in [−1, 1]:

    flips           a coin of 1/2 (so p/2 of the images are flipped; "with probability 1": half of them)
    translation     t_x, t_y the rounded draws of a uniform on ±t_max, so that ±t_max are half as likely as the others
    scaling         s = 2^w, w ~ N(0, σ_scale²)
    rotation        θ uniform on ±rotate_max degrees
    anisotropic     a = 2^w, w ~ N(0, σ_aniso²): stretched by a along φ and by 1/a across it; φ uniform on ±π with
                    probability aniso_rotate_prob, else 0
    brightness      x̂ + w, w ~ N(0, σ_brightness²)
    contrast        c x̂, c = 2^w, w ~ N(0, σ_contrast²)
    hue             rotation about the grey axis by an angle uniform on ±π hue_max        (three channels only)
    saturation      distance to the grey axis times 2^w, w ~ N(0, σ_saturation²)          (three channels only)

Draws, and what follows from them alone, are made on the CPU: which images are moved is known there, so that a GPU is sent
what to do and nobody waits for it.

The tables' ranges "[0, 0.2]" are the standard deviations above. Flips and translations copy pixels, exactly; scaling,
rotation and stretching make one affine map, x_out = A R S (F x_in + t), and one resampling; the colours one affine map of
x. An image nothing happened to comes out bit for bit. Beyond its borders an image goes on as its reflection.

EDM resamples on a grid of twice the resolution, which a wavelet's filter makes and its transpose takes back. Here the
values between two pixels are Lagrange's polynomial through the 12 nearest, in whole pixels and halves exactly EDM's, and
bilinear interpolation of this finer image is the result. What differs: the filter back, so that an image shrunk to 0.8
keeps 3 to 8 % more energy in its edges than theirs (under ±10° both keep the same, 0.79 on FashionMNIST, 0.87 on CIFAR-10,
and differ by 0.002 and 0.001 root mean square); results are cut to [0, 1], which likelihoods ask for; EDM's own
translations reach 4 pixels of 32, the paper's 3.
"""

import math
from dataclasses import dataclass, fields
from functools import cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import VaelibError, unknown
from ..images import as_float, check_images
from ..rng import sent

SQRT3 = math.sqrt(3.0)
FLIPS = ("off", "p", "always")
# The largest of each strength. A draw of six standard deviations is then a factor of 2^60, and that of two is still finite.
LARGEST = {"p": 1, "aniso_rotate_prob": 1, "translate_max": 32, "rotate_max": 180, "hue_max": 1}
LARGEST_STD = 10


class Draws(NamedTuple):
    """One batch's draws, each (B,) or (B, 2) on the CPU; a neutral value where the operation was not drawn."""

    flip: Tensor  # (B, 2), +1 or −1 for x and y
    shift: Tensor  # (B, 2), whole pixels
    log2_scale: Tensor
    angle: Tensor  # radians
    log2_aniso: Tensor
    aniso_angle: Tensor  # φ, radians
    brightness: Tensor
    log2_contrast: Tensor
    hue: Tensor  # radians
    log2_saturation: Tensor


@dataclass(frozen=True)
class Augmentation:
    """Strengths of the EDM pipeline and the probability ``p`` of each operation; call it on a batch in [0, 1].

    A flip is "off", drawn with probability "p", or "always" drawn (unless p = 0, which turns everything off). Of binary
    data Bernoulli sees the greys between. Raises VaelibError for p outside [0, 1] and for strengths that are negative or
    beyond :data:`LARGEST`.

    >>> x = torch.rand(2, 1, 32, 32)
    >>> Augmentation(p=0.0, rotate_max=10.0)(x, torch.Generator()).equal(x)  # nothing is ever drawn
    True
    """

    p: float = 0.12
    xflip: Literal["off", "p", "always"] = "off"
    yflip: Literal["off", "p", "always"] = "off"
    translate_max: int = 0
    scale_std: float = 0.0
    rotate_max: float = 0.0
    aniso_std: float = 0.0
    aniso_rotate_prob: float = 0.0
    brightness_std: float = 0.0
    contrast_std: float = 0.0
    hue_max: float = 0.0
    saturation_std: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in ("xflip", "yflip"):
                if value not in FLIPS:
                    raise unknown(f"augmentation {name} =", value, FLIPS)
                continue
            largest = LARGEST.get(name, LARGEST_STD)
            if not isinstance(value, int if name == "translate_max" else int | float) or not 0 <= value <= largest:
                kind = "whole number" if name == "translate_max" else "number"
                raise VaelibError(f"augmentation {name} = {value!r} must be a {kind} from 0 to {largest}")

    def draw(self, batch: int, generator: torch.Generator) -> Draws:
        """Return the draws of ``batch`` images; how many numbers it takes depends on ``batch`` alone."""
        uniform = torch.rand(batch, 18, generator=generator)
        normal = torch.randn(batch, 5, generator=generator)
        flips = [{"off": 0.0, "p": self.p, "always": float(self.p > 0)}[flip] for flip in (self.xflip, self.yflip)]
        # Columns 0-10: is it drawn? x flip, y flip, translation, scale, aniso, brightness, contrast, saturation,
        # rotation, hue, φ. Columns 11-17: coins of the flips, t_x, t_y; rotation, hue, φ.
        drawn = (uniform[:, :11] < torch.tensor([*flips, *[self.p] * 8, self.aniso_rotate_prob])).float()
        scale, aniso, brightness, contrast, saturation = (normal * drawn[:, 3:8] * self._stds()).unbind(1)
        angle, hue, phi = ((2 * uniform[:, 15:] - 1) * drawn[:, 8:] * self._angles()).unbind(1)
        return Draws(
            flip=1 - 2 * drawn[:, :2] * (uniform[:, 11:13] < 0.5),
            shift=((2 * uniform[:, 13:15] - 1) * self.translate_max).round() * drawn[:, 2:3],
            log2_scale=scale,
            angle=angle,
            log2_aniso=aniso,
            aniso_angle=phi,
            brightness=brightness,
            log2_contrast=contrast,
            hue=hue,
            log2_saturation=saturation,
        )

    def _stds(self) -> Tensor:
        stds = self.scale_std, self.aniso_std, self.brightness_std, self.contrast_std, self.saturation_std
        return torch.tensor(stds)

    def _angles(self) -> Tensor:
        return torch.tensor([math.radians(self.rotate_max), math.pi * self.hue_max, math.pi])

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return ``x`` (B, C, H, H), floats in [0, 1] or uint8, on any device, augmented; draws from a CPU ``generator``.

        Raises VaelibError for what is no batch of images (:mod:`vaelib.images`) or not square, and for other channels than
        one or three.
        """
        check_images(x, name="x")
        if x.shape[1] not in (1, 3) or x.shape[2] != x.shape[3]:
            raise VaelibError(f"x of shape {tuple(x.shape)} must be square images of one or three channels")
        return self.apply(as_float(x), generator)

    def apply(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return floats ``x`` augmented, unchecked: for a training's every step."""
        draws = self.draw(len(x), generator)
        out = warp(shift(x, draws), draws)
        out = recolour(out, draws) if self.brightness_std or self.contrast_std or x.shape[1] == 3 else out
        return out.clamp(0, 1)


def shift(x: Tensor, draws: Draws) -> Tensor:
    """Return ``x`` (B, C, H, H) flipped, then moved by whole pixels."""
    where = ((draws.flip < 0) | (draws.shift != 0)).any(1).nonzero()[:, 0]
    if not len(where):
        return x
    side = x.shape[-1]
    source = torch.arange(side) - draws.shift[where, :, None].long()
    source = side - 1 - (side - 1 - source % (2 * side - 2)).abs()  # reflected about the pixels at the border
    columns, rows = sent(torch.where(draws.flip[where, :, None] < 0, side - 1 - source, source), x.device).unbind(1)
    where, shape = sent(where, x.device), (-1, x.shape[1], side, side)
    moved = x[where].gather(2, rows[:, None, :, None].expand(shape)).gather(3, columns[:, None, None].expand(shape))
    return x.index_copy(0, where, moved)


def warp(x: Tensor, draws: Draws) -> Tensor:
    """Return ``x`` (B, C, H, H) scaled, rotated and stretched."""
    inverse = inverse_linear(draws)
    where = (inverse != torch.eye(2)).any(2).any(1).nonzero()[:, 0]
    if not len(where):
        return x
    theta = sent(F.pad(inverse[where], (0, 1)).to(x.dtype), x.device)
    where, between = (sent(one, x.device) for one in (where, _between(x.shape[-1]).to(x.dtype)))
    finer = between @ x[where] @ between.T
    # Corners are centres of pixels here, so that the borders' reflection is about them.
    grid = F.affine_grid(theta, [len(where), *x.shape[1:]], align_corners=True)
    warped = F.grid_sample(finer, grid, padding_mode="reflection", align_corners=True)
    return x.index_copy(0, where, warped)


@cache
def _between(side: int) -> Tensor:
    """Return (2 side - 1, side): a row's pixels, and between two of them Lagrange's polynomial through the 12 nearest."""
    nodes = torch.arange(12, dtype=torch.float64)
    apart = (nodes[:, None] - nodes).fill_diagonal_(1)
    taps = ((5.5 - nodes).prod() / (5.5 - nodes) / apart.prod(1)).float()
    matrix = torch.zeros(2 * side - 1, side)
    matrix[::2] = torch.eye(side)
    source = (torch.arange(side - 1)[:, None] + torch.arange(-5, 7)) % (2 * side - 2)
    source = side - 1 - (side - 1 - source).abs()
    matrix[1::2].scatter_add_(1, source, taps.expand(side - 1, -1))
    return matrix


def inverse_linear(draws: Draws) -> Tensor:
    """Return (B, 2, 2): S⁻¹ R⁻¹ A⁻¹.

    A⁻¹ is symmetric with eigenvalue 1/a along φ and a across it: m I + d [[cos 2φ, sin 2φ], [sin 2φ, −cos 2φ]] with
    m = (1/a + a)/2, d = (1/a − a)/2; exactly I for a = 1.
    """
    a = draws.log2_aniso.exp2()
    m, d = (1 / a + a) / 2, (1 / a - a) / 2
    dc, ds = d * (2 * draws.aniso_angle).cos(), d * (2 * draws.aniso_angle).sin()
    size = (-draws.log2_scale).exp2()
    cos, sin = size * draws.angle.cos(), size * draws.angle.sin()  # R⁻¹ S⁻¹ = [[cos, sin], [−sin, cos]]
    rows = [cos * (m + dc) + sin * ds, cos * ds + sin * (m - dc), cos * ds - sin * (m + dc), cos * (m - dc) - sin * ds]
    return torch.stack(rows, 1).view(-1, 2, 2)


def colour_matrix(draws: Draws) -> Tensor:
    """Return (B, 4, 4): (r, g, b, 1) in [0, 1] to (saturation · hue · contrast · brightness)(r, g, b, 1).

    With P the projection on the grey axis v = (1, 1, 1)/√3, Q = I − P and K the cross product with v, hue and
    saturation are P + s (cos h Q + sin h K); they leave greys alone, so that c (x̂ + b) keeps its simple offset.
    """
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / SQRT3
    contrast, saturation = draws.log2_contrast.exp2(), draws.log2_saturation.exp2()
    along, around = saturation * draws.hue.cos(), saturation * draws.hue.sin()
    linear = grey + along[:, None, None] * (torch.eye(3) - grey) + around[:, None, None] * cross
    matrix = torch.eye(4).repeat(len(contrast), 1, 1)
    matrix[:, :3, :3] = contrast[:, None, None] * linear
    matrix[:, :3, 3] = _offset(draws, contrast)[:, None]
    return matrix


def _offset(draws: Draws, contrast: Tensor) -> Tensor:
    """Return o of x ↦ c x + o, the map x̂ ↦ c (x̂ + b) with x̂ = 2x − 1."""
    return contrast * (draws.brightness - 1) / 2 + 0.5


def recolour(x: Tensor, draws: Draws) -> Tensor:
    """Return ``x`` (B, C, H, W) under each image's colour map; one channel has neither hue nor saturation."""
    if x.shape[1] == 1:
        contrast = draws.log2_contrast.exp2()
        maps = sent(torch.stack([contrast, _offset(draws, contrast)]).to(x.dtype), x.device)
        gain, offset = maps[:, :, None, None, None]
        return torch.addcmul(offset, x, gain)
    matrix = sent(colour_matrix(draws).to(x.dtype), x.device)
    return torch.baddbmm(matrix[:, :3, 3:], matrix[:, :3, :3], x.flatten(2)).view_as(x)


# Table 8, the naive set for images in general; Table 9, tuned to (Fashion)MNIST; Table 10, tuned to CIFAR-10.
NAIVE = Augmentation(
    xflip="p",
    translate_max=3,
    scale_std=0.2,
    rotate_max=10.0,
    aniso_std=0.2,
    aniso_rotate_prob=0.5,
    brightness_std=0.2,
    contrast_std=0.25,
    hue_max=0.25,
    saturation_std=0.5,
)
TUNED_MNIST = Augmentation(translate_max=3, scale_std=0.15, rotate_max=10.0, aniso_std=0.15, aniso_rotate_prob=0.4)
TUNED_CIFAR = Augmentation(
    xflip="always", yflip="p", scale_std=0.2, rotate_max=180.0, aniso_std=0.2, aniso_rotate_prob=0.5
)
TUNED = {"binary_mnist": TUNED_MNIST, "fashion_mnist": TUNED_MNIST, "cifar10": TUNED_CIFAR}


def augmentation(method: str, dataset: str) -> Augmentation:
    """Return the paper's augmentation: "aug_naive" (Table 8) or "aug_tuned" (Tables 9, 10); p = 0.12.

    Another b is ``dataclasses.replace(augmentation(...), p=0.1)``. Raises VaelibError for an unknown method, and for
    a data set the paper has tuned none for.

    >>> augmentation("aug_tuned", "fashion_mnist").translate_max
    3
    """
    if method == "aug_naive":
        return NAIVE
    if method != "aug_tuned":
        raise unknown("augmentation method =", method, ("aug_naive", "aug_tuned"))
    if dataset not in TUNED:
        raise VaelibError(
            f"method aug_tuned exists for {', '.join(TUNED)}, not for dataset {dataset!r}; choose aug_naive"
        )
    return TUNED[dataset]
