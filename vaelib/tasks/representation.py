r"""Representation learning: how well a classifier reads an image's class from its posterior mean μ (Apps. F and G).

A test set is encoded to its means; a fixed 80 % of them train the classifier, the rest test it. Four classifiers:

| name    | what                                                                 | its input      |
| ------- | -------------------------------------------------------------------- | -------------- |
| LR      | multinomial logistic regression, L2, C = 1                           | μ standardised |
| SVM-L   | linear SVM, squared hinge loss, C = 1, one class against one         | μ standardised |
| SVM-RBF | SVM with kernel exp(-γ \|μ - μ'\|²), C = 1, γ = 1 / (d_z · variance) | μ              |
| kNN     | 5 nearest neighbours, Euclidean                                      | μ              |

Standardised with the training part's mean and deviation, for the solvers' sake: a linear classifier hardly notices.
Distances take μ as it is, or the noise of latents that the VAE leaves unused would count as much as the rest.
The textbook's linear SVM has the plain hinge loss (scikit-learn's SVC); on 10,000 CIFAR-10 images' first 16 (64)
principal components it takes 17 (36) times as long and differs by less than 0.01 in accuracy.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from .. import rng
from ..errors import VaelibError, unknown
from ..images import as_float, check_images
from ..modes import evaluating

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

CLASSIFIERS = ("LR", "SVM-L", "SVM-RBF", "kNN")
SPLIT_SEED = 42  # the same split for every model, corruption and seed
FEWEST = 10


def posterior_means(vae: nn.Module, images: Tensor, batch_size: int = 1000) -> np.ndarray:
    """Return the mean μ of q(z|x) of every image, (N, d_z) float32; ``images`` (N, C, H, W), uint8 or in [0, 1].

    Raises:
        VaelibError: no batch of images (:mod:`vaelib.images`).
    """
    check_images(images, vae)
    with evaluating(vae) as device, torch.inference_mode():
        batches = images.split(batch_size)
        return torch.cat([vae.encode(as_float(x.to(device))).mu for x in batches]).float().cpu().numpy()


def build_classifier(name: str) -> "Pipeline":
    """Return a fresh classifier by the paper's name; raises VaelibError: unknown name, scikit-learn missing."""
    if name not in CLASSIFIERS:
        raise unknown("classifier =", name, CLASSIFIERS)
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsOneClassifier
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC, LinearSVC
    except ImportError as error:
        raise VaelibError("classifiers need scikit-learn; run pip install 'vaelib[eval]'") from error
    if name == "LR":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    if name == "SVM-L":  # liblinear's primal solver draws no random numbers
        return make_pipeline(StandardScaler(), OneVsOneClassifier(LinearSVC(dual=False)))
    return make_pipeline(SVC() if name == "SVM-RBF" else KNeighborsClassifier(5))


def representation_accuracy(features: np.ndarray, labels: np.ndarray | Tensor, classifier: str) -> float:
    """Return the share of held-out images whose class is read from their features correctly (Table 11, Fig. 19).

    Arguments:
        features: (N, d), the posterior means of a test set.
        labels: (N,) whole numbers.
        classifier: one of :data:`CLASSIFIERS`; trained on a fixed 80 %, tested on the other 20 %.

    Raises:
        VaelibError: unknown classifier; features that are not finite; fewer than 10 images, or labels of another
            number; a training part of one class.
    """
    model, labels = build_classifier(classifier), np.asarray(labels)
    if len(features) < FEWEST or len(labels) != len(features):
        raise VaelibError(
            f"{len(features)} features and {len(labels)} labels: a classifier needs as many of one as of the other, "
            f"and at least {FEWEST}; raise n_test"
        )
    if not np.isfinite(features).all():
        raise VaelibError("features hold NaN or infinity: the encoder failed on some image; train the VAE again")
    order = torch.randperm(len(labels), generator=rng.generator(SPLIT_SEED, "representation")).numpy()
    train, test = np.split(order, [round(0.8 * len(order))])
    if len(np.unique(labels[train])) < 2:
        raise VaelibError("labels of the training part are all of one class; use a data set with at least two")
    from sklearn import config_context

    # What was checked above; one class against one, that is 45 pairs, takes half the time without a look at each.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return float(model.fit(features[train], labels[train]).score(features[test], labels[test]))


def overall(features: Sequence[np.ndarray], seed: int = 0) -> np.ndarray:
    """Return (N, d) features of images each under one corruption drawn at random, from K sets of (N, d) (App. G)."""
    sets = np.stack(features)
    chosen = torch.randint(len(sets), sets.shape[1:2], generator=rng.generator(seed, "overall")).numpy()
    return sets[chosen, np.arange(sets.shape[1])]
