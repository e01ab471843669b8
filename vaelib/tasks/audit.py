"""Audit of a bank of samples against the data it stands for: copies, near copies, duplicates, classes, exact zeros.

Distances are Euclidean, over pixels in [0, 1]. "Near" needs a yardstick: real test images have near neighbours in D_train
too, so whatever is measured of samples is measured of D_test as well.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import VaelibError
from ..images import as_float, check_images
from .neighbours import nearest


class Neighbours(NamedTuple):
    """Each sample's nearest real images.

    Attributes:
        to_train, to_test: distance of each sample to the nearest image of D_train and of D_test, (N,).
        train_index, test_index: which image that is, (N,).
        reference: distance of each test image to the nearest of D_train: what is near for an image that is new.
        within: distance of each of the first min(N, test images) samples to the nearest other one of these.
        reference_within: the same among as many test images.
        leaning: share of samples nearer to D_train than to D_test, of which equally many images are taken; ties count half.
        leaning_reference: the same of the other test images, which know neither: about 0.5, but for the chance of which
            images were taken.
    """

    to_train: Tensor
    train_index: Tensor
    to_test: Tensor
    test_index: Tensor
    reference: Tensor
    within: Tensor
    reference_within: Tensor
    leaning: float
    leaning_reference: float


def pixels(images: Tensor) -> Tensor:
    """Return uint8 images as points of ℝ^d in [0, 1]."""
    check_images(images, only_bytes=True)
    return as_float(images.flatten(1))


def neighbours(samples: Tensor, train: Tensor, test: Tensor) -> Neighbours:
    """Return the nearest real and synthetic images of ``samples``, all uint8 (·, C, H, W).

    Raises:
        VaelibError: images that are not bytes or of other shapes, or fewer than two samples or test images.
    """
    if not samples.shape[1:] == train.shape[1:] == test.shape[1:]:
        shapes = ", ".join(str(tuple(one.shape[1:])) for one in (samples, train, test))
        raise VaelibError(f"samples, D_train and D_test hold images of {shapes}; compare images of one shape")
    x, train_x, test_x = map(pixels, (samples, train, test))
    to_train, train_index = nearest(x, train_x)
    to_test, test_index = nearest(x, test_x)
    equal, many = min(len(train_x), len(test_x) // 2), min(len(x), len(test_x))

    def leaning(points: Tensor) -> float:
        a, b = nearest(points, train_x[:equal])[0], nearest(points, test_x[:equal])[0]
        return float(((a < b).float() + 0.5 * (a == b).float()).mean())

    return Neighbours(
        to_train,
        train_index,
        to_test,
        test_index,
        nearest(test_x, train_x)[0],
        nearest(x[:many], x[:many], within=True)[0],
        nearest(test_x[:many], test_x[:many], within=True)[0],
        leaning(x),
        leaning(test_x[equal:]),
    )


def summary(found: Neighbours, level: float = 0.01) -> dict[str, float]:
    """Return the numbers of an audit.

    ``too_near_train``: share of samples nearer to D_train than all but ``level`` of the test images are, so ``level`` is
    what chance gives; ``near_duplicates`` the same within the samples, of which as many are taken as there are test images;
    ``copies_train``, ``copies_test`` and, among those, ``duplicates``: exactly equal images.
    """

    def below(distances: Tensor, reference: Tensor) -> float:
        return float((distances < reference.quantile(level)).float().mean())

    return {
        "distance_train": float(found.to_train.median()),
        "distance_train_reference": float(found.reference.median()),
        "too_near_train": below(found.to_train, found.reference),
        "leaning_train": found.leaning,
        "leaning_reference": found.leaning_reference,
        "near_duplicates": below(found.within, found.reference_within),
        "copies_train": float((found.to_train == 0).float().mean()),
        "copies_test": float((found.to_test == 0).float().mean()),
        "duplicates": float((found.within == 0).float().mean()),
    }


def class_shares(classes: Tensor, count: int) -> list[float]:
    """Return the share of each of ``count`` classes among whole numbers (N,)."""
    return (torch.bincount(classes, minlength=count)[:count].double() / len(classes)).tolist()


def total_variation(a: list[float], b: list[float]) -> float:
    """Return half the sum of |a_i − b_i|: the share of samples that would have to change their class."""
    return 0.5 * sum(abs(x - y) for x, y in zip(a, b, strict=True))


def share_of(images: Tensor, value: int) -> float:
    """Return the share of pixels that are exactly ``value``."""
    check_images(images, only_bytes=True)
    return float((images == value).double().mean())
