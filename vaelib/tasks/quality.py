r"""Sample quality in the features of a network: Fréchet distance, Inception score, precision and recall.

    FID = |m_r − m_g|² + tr(S_r + S_g − 2 (S_r S_g)^{1/2})     means m, covariances S of features   (Heusel et al. 2017)
    IS  = exp E_x KL(p(y|x) ‖ p(y))                            p(y|x): softmax of logits           (Salimans et al. 2016)
    precision: share of generated features inside the real manifold, recall: of real inside the generated; a manifold
    is the union of balls around its points that reach to their k-th nearest neighbour            (Kynkäänniemi et al. 2019)

With Inception's features they are the published scores (:mod:`~vaelib.tasks.inception`). With those of
:class:`~vaelib.tasks.classifier.SmallClassifier` they are *proxies*, always named so: they order samples of one data set
under one classifier, and have no relation to a published FID. FID falls with the number of images, so
whatever is compared has to have as many.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import rng
from ..errors import VaelibError
from .classifier import SmallClassifier, features_of
from .neighbours import ROUNDING, check_finite, squared_distances

NEIGHBOURS = 3  # Kynkäänniemi et al.'s k


class PrecisionRecall(NamedTuple):
    """Two shares in [0, 1]: fidelity and coverage."""

    precision: float
    recall: float


class ProxyQuality(NamedTuple):
    """What a classifier of our own makes of generated images; names say that these are proxies.

    Attributes:
        proxy_fid: Fréchet distance to the real images' features; smaller is better.
        proxy_is, proxy_is_sd: score and its standard deviation over splits; between 1 and the number of classes.
        precision, recall: in the same features.
        images: of each kind.
    """

    proxy_fid: float
    proxy_is: float
    proxy_is_sd: float
    precision: float
    recall: float
    images: int


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the Fréchet distance of two sets of features (N, d), (M, d), each taken as a Gaussian.

    Raises:
        VaelibError: fewer than 2 rows, other widths, or values that are not finite.
    """
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:] or a.ndim != 2:
        raise VaelibError(
            f"features {tuple(a.shape)} and {tuple(b.shape)}: give two sets of equal width, 2 rows or more"
        )
    check_finite(a, b)
    a, b = a.double(), b.double()
    s_a, s_b = (torch.atleast_2d(torch.cov(x.T)) for x in (a, b))
    values, vectors = torch.linalg.eigh(s_a)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = (
        torch.linalg.eigvalsh(root @ s_b @ root).clamp_min(0).sqrt().sum()
    )  # of a symmetric matrix: no complex roots
    distance = (a.mean(0) - b.mean(0)).square().sum() + s_a.trace() + s_b.trace() - 2 * cross
    return float(distance.clamp_min(0))


def inception_score(logits: Tensor, splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """Return exp E KL(p(y|x) ‖ p(y)) of logits (N, classes): mean and standard deviation over random ``splits``.

    The splits differ by one image at most; the deviation divides by their number, as Salimans et al.'s own code does.

    Raises:
        VaelibError: fewer images than splits, or values that are not finite.
    """
    if len(logits) < splits or splits < 1:
        raise VaelibError(f"{len(logits)} images do not make {splits} splits; give more images or fewer splits")
    check_finite(logits)
    order = torch.randperm(len(logits), generator=rng.generator(seed, "inception score"))
    scores = []
    for part in logits.double()[order].log_softmax(1).tensor_split(splits):
        marginal = part.exp().mean(0)
        scores.append((part.exp() * (part - marginal.log())).nan_to_num().sum(1).mean().exp())  # 0 log 0 = 0
    values = torch.stack(scores)
    return float(values.mean()), float(values.std(correction=0))


def precision_recall(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> PrecisionRecall:
    """Return precision and recall of ``generated`` features against ``real`` ones, (N, d) and (M, d).

    Balls are closed, up to the distances' rounding: a set lies inside its own manifold, however often its points repeat.

    Raises:
        VaelibError: k or fewer images on a side, features of other widths, or values that are not finite.
    """
    if real.ndim != 2 or real.shape[1:] != generated.shape[1:] or k < 1 or min(len(real), len(generated)) <= k:
        raise VaelibError(
            f"features {tuple(real.shape)} and {tuple(generated.shape)}, k = {k}: give two sets of equal width, with more "
            "than k rows each, and k at least 1"
        )
    check_finite(real, generated)
    reach, of_generated = _reach(real, k), _reach(generated, k)
    centre = real.double().mean(0)
    slack, of_rows = (ROUNDING * (one.double() - centre).square().sum(1) for one in (real, generated))
    precise, recalled = 0, torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for start, block in squared_distances(generated, real):
        rows = slice(start, start + len(block))
        block -= slack + of_rows[rows, None]
        precise += int((block <= reach).any(1).sum())
        recalled |= (block <= of_generated[rows, None]).any(0)
    return PrecisionRecall(precise / len(generated), float(recalled.double().mean()))


def _reach(points: Tensor, k: int) -> Tensor:
    """Return each point's squared distance to its k-th nearest other one: the (k + 1)-th smallest, its own being 0."""
    return torch.cat([block.topk(k + 1, largest=False).values[:, -1] for _, block in squared_distances(points, points)])


def proxy_quality(
    classifier: SmallClassifier, real: Tensor, generated: Tensor, *, k: int = NEIGHBOURS, splits: int = 10
) -> ProxyQuality:
    """Return ``proxy-FID``, ``proxy-IS``, precision and recall of ``generated`` against ``real`` images.

    Arguments:
        classifier: trained on neither of them, or on both.
        real, generated: uint8 (N, C, H, W), as many of one as of the other.

    Raises:
        VaelibError: images that are not bytes, of other channels than the classifier's, of unequal number, or too few.
    """
    if len(real) != len(generated):
        raise VaelibError(
            f"{len(real):,} real and {len(generated):,} generated images: the scores depend on the number; give as many "
            "of one as of the other"
        )
    features = features_of(classifier, real), features_of(classifier, generated)
    with torch.inference_mode():
        logits = classifier.head(features[1].to(classifier.head.weight.device)).cpu()
    score = inception_score(logits, min(splits, len(logits)))
    return ProxyQuality(frechet_distance(*features), *score, *precision_recall(*features, k=k), len(generated))
