"""Corruptions that lay something over the image: snow, frost, fog, spatter.

Images x are floats in [0, 1], (B, C, 32, 32); ``c`` holds the constants of the severity; ``draws`` one generator an
image.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import VaelibError
from .tools import FLOAT, SIDE, floor_bytes, luma, magnifier, motion, normal, pillow, smooth, uniform

Draws = list[torch.Generator]
PHOTOS = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")  # the benchmark never draws its sixth
WATER = torch.tensor([175, 238, 238], dtype=FLOAT) / 255
MUD = torch.tensor([63, 42, 20], dtype=FLOAT) / 255


def snow(x: Tensor, c: tuple[float, ...], draws: Draws) -> Tensor:
    """Return x whitened, under two layers of streaked flakes, the second the first turned by half a turn.

    Flakes: N(c₀, c₁²) enlarged by c₂, 0 below c₃, smeared with radius c₄ and width c₅ along an angle of -135° to -45°;
    whitened: c₆ x + (1 - c₆) max(x, 1.5 luma + 0.5).
    """
    mean, std, size, threshold, radius, width, keep = c
    matrix = magnifier(size)
    flakes = matrix @ (mean + std * normal(draws, 1, SIDE, SIDE)) @ matrix.T
    flakes = floor_bytes(torch.where(flakes < threshold, 0, flakes)).to(FLOAT) / 255
    flakes = floor_bytes(motion(flakes, int(radius), width, -45 - 90 * uniform(draws))).to(FLOAT) / 255
    whitened = torch.lerp(torch.maximum(x, 1.5 * luma(x) + 0.5), x, keep)
    return whitened + flakes + flakes.flip(2, 3)


def has_frost_photos() -> bool:
    """Return True if the package that carries the photographs is installed."""
    return find_spec("imagecorruptions") is not None


@cache
def frost_photos() -> list[Tensor]:
    """Return the benchmark's photographs at a fifth of their size, (3, h, w) in [0, 1] each.

    Raises VaelibError where the package that carries them is not installed (it is not imported: only its files are read).
    """
    package = find_spec("imagecorruptions")
    if package is None:
        raise VaelibError(
            "corruption frost needs the photographs in imagecorruptions-imaug; "
            "run pip install --no-deps imagecorruptions-imaug, or leave frost out"
        )
    folder = Path(package.origin).parent / "frost"
    photos = [np.asarray(pillow().open(folder / name).convert("RGB"))[2::5, 2::5] for name in PHOTOS]
    return [torch.from_numpy(photo.copy()).movedim(-1, 0).to(FLOAT) / 255 for photo in photos]


def frost(x: Tensor, c: tuple[float, float], draws: Draws) -> Tensor:
    """Return c₀ x + c₁ f, f a random crop of one of five photographs of frost."""
    crops = []
    for draw in draws:
        photo = frost_photos()[torch.randint(len(PHOTOS), (), generator=draw)]
        top, left = (int(torch.randint(size - SIDE, (), generator=draw)) for size in photo.shape[1:])
        crops.append(photo[:, top : top + SIDE, left : left + SIDE])
    layer = torch.stack(crops)
    return c[0] * x + c[1] * (luma(layer) if x.shape[1] == 1 else layer)


def plasma(u: Tensor, decay: float) -> Tensor:
    """Return clouds in [0, 1], (B, 32, 32), from ``u`` uniform on ±1: the diamond-square algorithm on a torus.

    From coarse to fine, a new point is the mean of its four neighbours plus a² u; a starts at 100 and is divided by
    ``decay`` each time the spacing halves.
    """
    height, step, amplitude = torch.zeros_like(u), SIDE, 100.0
    while step > 1:
        old, new = slice(0, None, step), slice(step // 2, None, step)
        rough = amplitude**2 * u
        corner = height[:, old, old]
        square = corner + corner.roll(-1, 1)
        height[:, new, new] = (square + square.roll(-1, 2)) / 4 + rough[:, new, new]
        middle = height[:, new, new]
        height[:, old, new] = (middle + middle.roll(1, 1) + corner + corner.roll(-1, 2)) / 4 + rough[:, old, new]
        height[:, new, old] = (middle + middle.roll(1, 2) + corner + corner.roll(-1, 1)) / 4 + rough[:, new, old]
        step, amplitude = step // 2, amplitude / decay
    height = height - height.amin((1, 2), keepdim=True)
    return height / height.amax((1, 2), keepdim=True)


def fog(x: Tensor, c: tuple[float, float], draws: Draws) -> Tensor:
    """Return (x + c₀ clouds) M / (M + c₀), M the image's brightest value, c₁ the decay of the clouds' roughness."""
    clouds = plasma(2 * uniform(draws, SIDE, SIDE) - 1, c[1])[:, None]
    brightest = x.amax((1, 2, 3), keepdim=True)
    return (x + c[0] * clouds) * brightest / (brightest + c[0])


def _relief(liquid: np.ndarray) -> np.ndarray:
    """Return one layer of drops (32, 32) lit from a corner: grey levels times an embossed distance to the edges."""
    try:
        import cv2
    except ImportError as error:
        raise VaelibError(
            "corruption spatter at severity 1 to 3 needs OpenCV; run pip install opencv-python-headless"
        ) from error
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    levels = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8))
    light = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float32)
    return liquid * cv2.blur(cv2.filter2D(levels, cv2.CV_8U, light), (3, 3)).astype(np.float32)


def spatter(x: Tensor, c: tuple[float, ...], draws: Draws) -> Tensor:
    """Return x under drops: N(c₀, c₁²) smoothed over c₂ pixels, 0 below c₃; of water (c₅ = 0) or of mud.

    Water: x + c₄ d colour with d the drops' relief, brightest 1. Mud: (1 - m) x + m colour, m the drops' outline smoothed
    over c₄ pixels where that is at least 0.8, else 0.
    """
    mean, std, sigma, threshold, strength, mud = c
    liquid = smooth(mean + std * normal(draws, 1, SIDE, SIDE), sigma)
    colour = (MUD if mud else WATER).view(3, 1, 1)
    colour = luma(colour) if x.shape[1] == 1 else colour
    if mud:
        cover = smooth((liquid > threshold).to(FLOAT), strength)
        return torch.lerp(x, colour, torch.where(cover < 0.8, 0, cover))
    grey = (255 * torch.where(liquid < threshold, 0, liquid)).byte().numpy()
    drops = torch.from_numpy(np.stack([_relief(layer) for layer in grey[:, 0]]))[:, None].to(FLOAT)
    return x + strength * drops / drops.amax((1, 2, 3), keepdim=True).clamp(min=1) * colour
