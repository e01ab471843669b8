"""The 19 corruptions of CIFAR-10-C (Hendrycks & Dietterich 2019), with CIFAR-10's severities (not ImageNet's).

The first fifteen are the benchmark proper, the last four its extra ones. The formulas stand beside the functions; the
constants below are the published ones. An image's corruption depends on ``(seed, name, its number)`` alone, and the same
draws serve all severities. As in the benchmark's files, bytes are rounded down.

One can also have the published images: put ``CIFAR-10-C/<name>.npy`` under a data root, see :func:`load_official`.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ... import rng
from ...errors import VaelibError, unknown
from ...images import check_images
from ..idx import broken
from . import blurs, pixels, weather
from .tools import FLOAT, SIDE, floor_bytes

CHUNK = 500  # images worked on at once; changes memory, never the result
PUBLISHED = 10_000  # images a severity in the published files


class Corruption(NamedTuple):
    """A function of (images in [0, 1], constants, generators) and its constants at severity 1 to 5."""

    apply: Callable[..., Tensor]
    constants: tuple


TABLE = {
    "gaussian_noise": Corruption(pixels.gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": Corruption(pixels.shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": Corruption(pixels.impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": Corruption(blurs.defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass_blur": Corruption(blurs.glass_blur, ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))),
    "motion_blur": Corruption(blurs.motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom_blur": Corruption(blurs.zoom_blur, (7, 12, 16, 21, 26)),
    "snow": Corruption(
        weather.snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "frost": Corruption(weather.frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": Corruption(weather.fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": Corruption(pixels.brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": Corruption(pixels.contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic_transform": Corruption(
        blurs.elastic_transform,
        ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
    ),
    "pixelate": Corruption(blurs.pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": Corruption(blurs.jpeg_compression, (80, 65, 58, 50, 40)),
    "speckle_noise": Corruption(pixels.speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2)),
    "gaussian_blur": Corruption(blurs.gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1)),
    "spatter": Corruption(
        weather.spatter,
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, False),
            (0.65, 0.1, 0.8, 0.7, 0.5, False),
            (0.65, 0.3, 1, 0.69, 0.5, False),
            (0.65, 0.1, 0.7, 0.69, 0.6, True),
            (0.65, 0.1, 0.5, 0.68, 0.6, True),
        ),
    ),
    "saturate": Corruption(pixels.saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
}
CORRUPTIONS = tuple(TABLE)


def _check(name: str, severity: int) -> None:
    if name not in TABLE:
        raise unknown("corruption =", name, CORRUPTIONS)
    if severity not in range(1, 6):
        raise VaelibError(f"severity = {severity} must be 1, 2, 3, 4 or 5; the paper's is 5")


def corrupt(images: Tensor, name: str, severity: int = 5, seed: int = 0, first: int = 0) -> Tensor:
    """Return ``images`` (N, C, 32, 32) uint8, C = 1 or 3, under the corruption ``name``, same shape and device.

    Arguments:
        name: one of :data:`CORRUPTIONS`; what acts on colour acts on grey images by its luma, saturate not at all.
        severity: 1 to 5.
        first: the number of the first image in its data set, so that a part of it is corrupted as in the whole.

    Raises:
        VaelibError: unknown name, severity out of range, images of another kind, or a missing package: frost needs the
            photographs of imagecorruptions-imaug, spatter up to severity 3 OpenCV, pixelate and jpeg_compression Pillow.
    """
    _check(name, severity)
    check_images(images, side=SIDE, only_bytes=True)
    if images.shape[1] not in (1, 3):
        raise VaelibError(f"images to corrupt have {images.shape[1]} channels; give images of one or three")
    function, constants = TABLE[name]
    parts = []
    for start in range(0, len(images), CHUNK):
        x = images[start : start + CHUNK].cpu().to(FLOAT) / 255
        draws = [rng.generator(seed, f"corrupt/{name}", first + start + i) for i in range(len(x))]
        parts.append(floor_bytes(function(x, constants[severity - 1], draws)))
    return torch.cat(parts).to(images.device)


def available(severity: int = 5) -> tuple[str, ...]:
    """Return the corruptions whose packages are installed (see :func:`corrupt`), in the benchmark's order."""
    _check("frost", severity)
    lacking = {"frost": not weather.has_frost_photos(), "spatter": severity < 4 and not find_spec("cv2")}
    return tuple(name for name in CORRUPTIONS if not lacking.get(name))


def published(root: Path) -> bool:
    """Return True if all published files lie under ``root``, for :func:`load_official`."""
    return all((root / "CIFAR-10-C" / f"{name}.npy").is_file() for name in CORRUPTIONS)


def load_official(name: str, severity: int, root: Path) -> Tensor | None:
    """Return the published images of CIFAR-10's test set, (10000, 3, 32, 32) uint8 in its order, or None if absent.

    Read from ``root/CIFAR-10-C/<name>.npy`` (https://zenodo.org/records/2535967), five severities in a row. Other draws
    than :func:`corrupt`'s, so label results apart. Raises VaelibError: unknown name or severity, damaged file.
    """
    _check(name, severity)
    path = root / "CIFAR-10-C" / f"{name}.npy"
    if not path.is_file():
        return None
    shape, expected = (5 * PUBLISHED, SIDE, SIDE, 3), "a whole .npy file of the benchmark"
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise broken(path, f"a damaged or foreign one ({error})", expected) from error
    if array.dtype != np.uint8 or array.shape != shape:
        raise broken(path, f"{array.dtype} {array.shape}", f"uint8 {shape}")
    chosen = array[(severity - 1) * PUBLISHED : severity * PUBLISHED]
    return torch.from_numpy(np.ascontiguousarray(chosen.transpose(0, 3, 1, 2)))
