r"""How much of a set of samples is copied from the training images: nearest over second nearest, and authenticity.

With d_1 ≤ d_2 the distances of a sample to its nearest training images, a sample is a *copy* if d_1 / d_2 < 1/3 (Yoon et al.
2023; Bonnaire et al. 2025): one training image is much nearer than any other. It is *authentic* if it is farther from its nearest
training image than that image is from its own nearest neighbour in D_train; AuthPct is the share of these (Alaa et al. 2022).
Distances are Euclidean, over pixels.
"""

from typing import NamedTuple

from torch import Tensor

from ..errors import VaelibError
from .audit import pixels
from .neighbours import nearest

COPIED = 1 / 3


class Copying(NamedTuple):
    """What is known of each sample, (N,).

    Attributes:
        ratio: d_1 / d_2, in [0, 1]; 0 for an exact copy of an image that D_train has once, 1 where it has that twice.
        distance: d_1, pixels in [0, 1].
        copied, authentic: see the module's head.
    """

    ratio: Tensor
    distance: Tensor
    copied: Tensor
    authentic: Tensor


def copying(samples: Tensor, train: Tensor) -> Copying:
    """Return how near samples lie to training images, both uint8 (·, C, H, W).

    Raises:
        VaelibError: images that are not bytes or of other shapes, or fewer than two training images.

    Example:
        >>> import torch
        >>> train = torch.tensor([0, 90, 255], dtype=torch.uint8).view(3, 1, 1, 1)
        >>> found = copying(torch.tensor([1, 45], dtype=torch.uint8).view(2, 1, 1, 1), train)
        >>> found.copied.tolist(), found.authentic.tolist()
        ([True, False], [False, False])
    """
    if samples.shape[1:] != train.shape[1:]:
        raise VaelibError(
            f"samples and D_train hold images of {tuple(samples.shape[1:])} and {tuple(train.shape[1:])}; compare images of "
            "one shape"
        )
    x, y = pixels(samples), pixels(train)
    first, index = nearest(x, y)
    second = nearest(x, y, 2)[0]
    reach = nearest(y, y, within=True)[0]
    ratio = (first / second).nan_to_num(1.0)  # 0 / 0: two training images are the same
    return Copying(ratio, first, ratio < COPIED, first > reach[index])
