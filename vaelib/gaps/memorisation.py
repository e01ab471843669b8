r"""How much a model remembers of one training image (van den Burg & Williams 2021), by cross-validation.

    M(x_i) = E[log p(x_i | D)] - E[log p(x_i | D without x_i)]     (nats)

Every model is fitted to a part of D. The first mean is over the models whose part holds x_i, the second over those whose part
does not; with K folds these are K - 1 models and 1, all of them fitted to (K - 1) / K of D, so that no term is favoured by
its number of images. M is 0 for a model that learns what x_i shares with the other images and nothing else.
"""

from typing import NamedTuple

from torch import Tensor

from ..errors import VaelibError


class Memorisation(NamedTuple):
    """log p(x_i) with x_i in the training set and without it, and M, their difference; (N,) each, float64, nats."""

    inside: Tensor
    outside: Tensor
    score: Tensor


def memorisation(log_p: Tensor, left_out: Tensor) -> Memorisation:
    """Return M of every image: the mean log p(x_i) of models that were fitted to x_i minus that of the others.

    Arguments:
        log_p: (models, N) nats.
        left_out: (models, N) bool, True where the model was not fitted to the image.

    Raises:
        VaelibError: other shapes, or an image that all models or none were fitted to.

    >>> import torch
    >>> memorisation(torch.tensor([[3.0, 1.0], [2.0, 5.0]]), torch.tensor([[False, True], [True, False]])).score.tolist()
    [1.0, 4.0]
    """
    if log_p.ndim != 2 or log_p.shape != left_out.shape:
        raise VaelibError(
            f"log_p {tuple(log_p.shape)} and left_out {tuple(left_out.shape)}: both must be (models, images)"
        )
    left_out = left_out.bool()
    counts = left_out.double().sum(0)
    if bad := int(((counts == 0) | (counts == len(log_p))).sum()):
        raise VaelibError(
            f"{bad} images were left out of none of the models, or of all; each needs models of both kinds"
        )
    values = log_p.double()
    inside = values.masked_fill(left_out, 0).sum(0) / (len(values) - counts)
    outside = values.masked_fill(~left_out, 0).sum(0) / counts
    return Memorisation(inside, outside, inside - outside)
