"""Images to train and test on: where they come from, splits and padding, augmentation (App. E)."""

from .augment import NAIVE, TUNED_CIFAR, TUNED_MNIST, Augmentation, augmentation
from .datasets import ImageData, dataset_names, load_dataset

__all__ = [
    "NAIVE", "TUNED_CIFAR", "TUNED_MNIST", "Augmentation", "ImageData", "augmentation", "dataset_names", "load_dataset",
]  # fmt: skip
