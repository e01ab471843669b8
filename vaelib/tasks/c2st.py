r"""Classifier two-sample test (App. D.3): can a network tell synthetic from real images that it has not seen?

accuracy = share of held-out images classified rightly, half of them real;   50 %: it cannot (Lopez-Paz & Oquab 2017)

Under the null hypothesis the held-out labels carry no information, so every permutation of them is as likely as the true
one. With the network fixed and P of 2n images called real, the number of real ones among these P is hypergeometric, H, and
2H + n − P are right. So the null distribution of all permutations is known exactly and none has to be drawn.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .. import rng
from ..errors import VaelibError
from ..images import check_images
from ..samplers.bank import Bank
from .classifier import logits_of


class C2ST(NamedTuple):
    """A test's outcome.

    Attributes:
        accuracy: on the held-out images, in [0, 1].
        null_low, null_high: 95 % of the permutations lie between them.
        p_value: share of the permutations that are as accurate or more.
        tested: held-out images of each kind.
    """

    accuracy: float
    null_low: float
    null_high: float
    p_value: float
    tested: int


def permutation_test(called_real: Tensor) -> C2ST:
    """Return the test of predictions on n real, then n synthetic images: (2n,) booleans, True for "real".

    Raises:
        VaelibError: not as many of one as of the other.
    """
    if len(called_real) < 2 or len(called_real) % 2:
        raise VaelibError(f"{len(called_real)} predictions: give as many real as synthetic images, one of each or more")
    from scipy.stats import hypergeom

    n, called = len(called_real) // 2, int(called_real.sum())
    hits = int(called_real[:n].sum())
    null = hypergeom(2 * n, n, called)
    low, high, accuracy = ((2 * h + n - called) / (2 * n) for h in (null.ppf(0.025), null.ppf(0.975), hits))
    return C2ST(float(accuracy), float(low), float(high), float(null.sf(hits - 1)), n)


def labelled(real: Tensor, synthetic: Tensor) -> tuple[Tensor, Tensor]:
    """Return both sets as one with its labels, real (1) first.

    Raises:
        VaelibError: images that are not bytes, of another shape, or not as many of one as of the other.
    """
    for name, images in (("real", real), ("synthetic", synthetic)):
        check_images(images, only_bytes=True, name=name)
    if real.shape != synthetic.shape:
        raise VaelibError(
            f"real images {tuple(real.shape)} and synthetic ones {tuple(synthetic.shape)}: a two-sample test wants as many "
            "of one as of the other, of one size and with the same channels"
        )
    return torch.cat([real, synthetic]), torch.arange(2).flip(0).repeat_interleave(len(real))


def two_sample_test(network: nn.Module, real: Tensor, synthetic: Tensor) -> C2ST:
    """Return how well a trained network (logit 1: real) tells held-out images apart, uint8 (n, C, H, W) each."""
    images, _ = labelled(real, synthetic)
    return permutation_test(logits_of(network, images).argmax(1) == 1)


def split_sets(first: Tensor | Bank, n_train: int, n_test: int, seed: int, name: str) -> tuple[Tensor, Tensor]:
    """Return two disjoint random parts of one pool of images; raises VaelibError if it is too small."""
    if n_train + n_test > len(first):
        raise VaelibError(
            f"{n_train:,} + {n_test:,} images requested, {len(first):,} available; lower c2st_images or c2st_tested"
        )
    order = torch.randperm(len(first), generator=rng.generator(seed, "c2st", name))
    return first[order[:n_train]], first[order[n_train : n_train + n_test]]
