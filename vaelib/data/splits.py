"""Stratified draws: n of N images with the class proportions kept.

Class c with N_c images gets n N_c / N of the n places; the fractions left are given by largest remainder. Where there are fewer
places than classes, each goes to another class, by chance: by remainder the same classes would go without at every seed.
"""

from typing import NamedTuple

import numpy as np
import torch

from .. import rng


class Raw(NamedTuple):
    """A data set as it lies on disk: uint8 images (N, H, W) or (N, H, W, 3), integer labels (N,), where from."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    source: str
    exact: bool


def quotas(counts: np.ndarray, n: int) -> np.ndarray:
    """Return how many of ``n`` places each class gets, by largest remainder (ties to the earlier class)."""
    places, remainder = np.divmod(n * counts, counts.sum())
    order = np.argsort(-remainder, kind="stable")
    places[order[: n - places.sum()]] += 1
    return places


def stratified(labels: np.ndarray, n: int, seed: int, purpose: str, index: int = 0) -> np.ndarray:
    """Return ``n`` shuffled indices into ``labels``; per class, a smaller draw is the beginning of a larger one."""
    order = torch.randperm(len(labels), generator=rng.generator(seed, purpose, index)).numpy()
    classes, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    if n < len(classes):
        return order[np.sort(first)[:n]]
    taken = np.zeros(len(labels), dtype=bool)
    for label, places in zip(classes, quotas(counts, n), strict=True):
        taken[order[labels[order] == label][:places]] = True
    return order[taken[order]]


def hold_out(images: np.ndarray, labels: np.ndarray, n_test: int, source: str) -> Raw:
    """Split one set into train and test, stratified; the split is fixed, so that no seed leaks test images."""
    test = np.zeros(len(images), dtype=bool)
    test[stratified(labels, n_test, seed=0, purpose="hold out")] = True
    return Raw(images[~test], labels[~test], images[test], labels[test], source, exact=False)
