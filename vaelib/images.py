"""What a batch of images is: bytes from 0 to 255 or floats in [0, 1], (N, C, H, W), finite, at least one.

Every public function that takes images asks here, once a call and not once a step: to read the smallest and the largest
value is a wait for the device. Bytes have one wrong range: 0 and 1 alone, which is black.
"""

from typing import Any

import torch
from torch import Tensor

from .errors import VaelibError
from .modes import ordinary, tensors_of
from .precision import imagined

SIDE = 32  # pixels of an image of the paper's, and of what is trained on such
LOOKED_AT = 1_000  # so many images tell whether their bytes are 0 and 1 alone; a bank has millions


def as_float(images: Tensor) -> Tensor:
    """Return images in [0, 1]: bytes are divided by 255; floats are left alone, but half precision becomes float32."""
    if not images.is_floating_point():
        return images.float() / 255
    return ordinary(images.float() if images.dtype.itemsize < 4 else images)


def check_images(
    images: Tensor,
    model: Any = None,
    *,
    side: int | None = None,
    only_bytes: bool = False,
    unclipped: bool = False,
    name: str = "images",
) -> None:
    """Raise VaelibError unless ``images`` are a batch of images; the message says how to convert.

    Arguments:
        model: whose images they are: its ``image_shape`` (C, H, W), where it has one, is theirs, and its precision.
        side: their height and width, where no model tells.
        only_bytes: floats are refused too.
        unclipped: floats may leave [0, 1], as a Gaussian's own draws do; so may those of a model that says ``unclipped``.
        name: of the argument.
    """
    check_form(images, model, side=side, only_bytes=only_bytes, name=name)
    if images.is_floating_point() and not imagined(images):
        _check_range(images, unclipped or getattr(model, "unclipped", False), name)
    elif not imagined(images) and int(images[:LOOKED_AT].max()) == 1:
        raise VaelibError(f"{name} hold only 0 and 1, which is black in bytes; give 255 * {name} of binary images")


def check_form(
    images: Tensor, model: Any = None, *, side: int | None = None, only_bytes: bool = False, name: str = "images"
) -> None:
    """Raise VaelibError for whatever :func:`check_images` refuses without a look at the values."""
    if not isinstance(images, Tensor):
        raise VaelibError(f"{name} = a {type(images).__name__} is no tensor; give torch.as_tensor({name})")
    floats = images.is_floating_point()
    if images.dtype != torch.uint8 and not floats:
        cure = f"255 * {name}.to(torch.uint8)"
        cure = cure if images.dtype == torch.bool else f"{name}.to(torch.uint8) where they run from 0 to 255"
        raise VaelibError(f"{name} are {images.dtype}; bytes (0 to 255) or floats in [0, 1] are wanted: give {cure}")
    if only_bytes and floats:
        raise VaelibError(
            f"{name} are {images.dtype}; bytes (0 to 255) are wanted: give (255 * {name}).round().to(torch.uint8) of "
            "floats in [0, 1]"
        )
    _check_shape(images, getattr(model, "image_shape", None) or (None, side, side), name, hasattr(model, "encode"))
    ours = torch.float64 if images.dtype == torch.float64 else torch.float32  # what as_float makes of them
    theirs = next((one.dtype for one in tensors_of(model) if one.is_floating_point()), ours)
    if ours != theirs:
        cure = {torch.float32: f"{name}.float()", torch.float64: f"{name}.double()" + (" / 255" if not floats else "")}
        raise VaelibError(f"{name} are {ours} and the model {theirs}; give {cure.get(theirs, 'a model.float()')}")


def _check_shape(images: Tensor, shape: tuple[int | None, ...], name: str, sized: bool) -> None:
    """Raise VaelibError unless ``images`` are (N, C, H, W) of the given (C, H, W), None standing for any, and N ≥ 1.

    ``sized``: a VAE asks, which might be made for other images.
    """
    form = "(N, " + ", ".join(str(size or letter) for size, letter in zip(shape, "CHW", strict=True)) + ")"
    found, cure = tuple(images.shape), ""
    if images.ndim != 4:
        cure = (
            f"{name}[:, None] of a batch of greys, {name}[None] of one image"
            if images.ndim == 3
            else f"{name}.view{form}"
        )
    elif not len(images):
        raise VaelibError(f"{name} = an empty set; give at least one image")
    elif any(want not in (None, size) for want, size in zip(shape, found[1:], strict=True)):
        channels, *sides = shape
        if found[-1] in (1, 3) and found[1:3] in ((SIDE, SIDE), tuple(sides)):
            cure = f"{name}.permute(0, 3, 1, 2)"
        elif channels not in (None, found[1]):
            cure = f"images of {channels} channel(s), or a model made with channels={found[1]}"
        else:
            size = found[2] if found[2] == found[3] else found[2:]
            cure = (
                f"images padded or resized to it (torch.nn.functional.pad, interpolate), or a VAE made with size={size}"
            )
            cure = cure if sized else cure.partition(", or")[0]
    elif shape == (None, None, None) and found[-1] in (1, 3) and found[1] > 4:
        cure = f"{name}.permute(0, 3, 1, 2)"
    if cure:
        raise VaelibError(f"{name} of shape {found} are wanted as {form}; give {cure}")


def _check_range(images: Tensor, unclipped: bool, name: str) -> None:
    """Raise VaelibError unless floats are finite and, if clipped, in [0, 1]."""
    low, high = torch.stack(torch.aminmax(images)).tolist()
    if not -torch.inf < low <= high < torch.inf:
        raise VaelibError(
            f"{name} hold NaN or infinity; give finite values, {name}[{name}.isfinite().all((1, 2, 3))] say"
        )
    if unclipped or (low >= 0 and high <= 1):
        return
    cure = f"{name}.clamp(0, 1), scaled to that range before if need be"
    if low >= 0 and 2 < high <= 255:
        cure = f"{name} / 255"
    elif -1 <= low < -0.01 and high <= 1:
        cure = f"({name} + 1) / 2"
    raise VaelibError(f"{name} hold values from {low:g} to {high:g}; floats are wanted in [0, 1]: give {cure}")


def check_labels(labels: Tensor, images: int, classes: int | None = None) -> None:
    """Raise VaelibError unless ``labels`` are one whole number from 0 on for each of ``images``, below ``classes``."""
    if not isinstance(labels, Tensor) or labels.ndim != 1 or len(labels) != images:
        found = tuple(labels.shape) if isinstance(labels, Tensor) else f"a {type(labels).__name__}"
        raise VaelibError(f"labels = {found} for {images:,} images; give one label an image, a tensor ({images},)")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise VaelibError(f"labels are {labels.dtype}; give whole numbers, labels.long()")
    low, high = torch.stack(torch.aminmax(labels)).tolist()
    if low < 0 or (classes is not None and high >= classes):
        above = "" if classes is None else f" to {classes - 1}"
        raise VaelibError(
            f"labels run from {low} to {high}; give the classes whole numbers from 0{above}, or drop the others"
        )
