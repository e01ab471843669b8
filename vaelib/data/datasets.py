"""Data sets as the rest of the library sees them: uint8 tensors (N, C, 32, 32), train and test apart.

MNIST's and FashionMNIST's 28x28 images are zero-padded by 2 pixels a side. BinaryMNIST is MNIST rounded: with
x in {0, ..., 255} / 255, a pixel is 1 where x > 0.5 (at rest 255), else 0, deterministically.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .. import paths
from ..errors import VaelibError, hint, unknown
from ..images import SIDE, check_images
from . import folder, own, sources
from .splits import Raw, stratified

DATASETS = ("fashion_mnist", "binary_mnist", "cifar10")
SOURCES = {
    "fashion_mnist": ("auto",),
    "binary_mnist": ("auto", "full", "mnist-5k"),
    "cifar10": ("auto", "original", "lossless_4k", "jpeg"),
}


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images (N, C, 32, 32) uint8 and labels (N,) int64, and what they are.

    ``source`` says it for people ("MNIST, bit-exact train, first 3,000 of 10,000 test images"). ``exact``: the
    published set, whole and bit for bit. ``held_out``: training images that are not in ``train``, as many as were asked
    for, with their labels.

    >>> images, labels = torch.zeros(4, 1, 32, 32, dtype=torch.uint8), torch.arange(4)
    >>> data = ImageData(images, images[:2], labels, labels[:2], "mine", "all black", False, images[:0], labels[:0])
    >>> len(data.train), len(data.test)
    (4, 2)
    """

    train: torch.Tensor
    test: torch.Tensor
    train_labels: torch.Tensor
    test_labels: torch.Tensor
    name: str
    source: str
    exact: bool
    held_out: torch.Tensor
    held_out_labels: torch.Tensor

    def __post_init__(self) -> None:
        for name in ("train", "test", "held_out"):
            if name != "held_out" or len(self.held_out):
                check_images(getattr(self, name), side=SIDE, only_bytes=True, name=name)


def dataset_names() -> tuple[str, ...]:
    """Return the names :func:`load_dataset` knows (it takes the paths of an ImageFolder and of an .npz, too)."""
    return DATASETS


def pad(images: np.ndarray) -> np.ndarray:
    """Return uint8 images (N, H, W) or (N, H, W, C) as contiguous (N, C, 32, 32), zeros around the centre."""
    images = (images[..., None] if images.ndim == 3 else images).transpose(0, 3, 1, 2)
    missing = [SIDE - size for size in images.shape[2:]]
    around = [(size // 2, size - size // 2) for size in missing]
    return np.ascontiguousarray(np.pad(images, [(0, 0), (0, 0), *around]))


def binarise(images: np.ndarray) -> np.ndarray:
    """Return uint8 images rounded at 0.5 in [0, 1]: 0 or 255."""
    return np.where(images >= 128, np.uint8(255), np.uint8(0))


def subset(labels: np.ndarray, n: int | None, seed: int, setting: str, sorted_by_class: bool = False) -> np.ndarray:
    """Return the indices of a seeded, stratified subset of ``n``; all of them, or None: in the file's order.

    Where the file may be ``sorted_by_class``, all of them are shuffled as well, for the first n of them are taken for a sample.
    """
    n = len(labels) if n is None else n
    if n == len(labels) and not sorted_by_class:
        return np.arange(n)
    if not 1 <= n <= len(labels):
        raise VaelibError(f"{setting} = {n:,} must lie between 1 and the {len(labels):,} images there are; lower it")
    return stratified(labels, n, seed, "subset", ("n_train", "n_test").index(setting))


def _beside(labels: np.ndarray, taken: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return the indices of ``n`` stratified training images that are not among ``taken``."""
    left = np.setdiff1d(np.arange(len(labels)), taken)
    if n > len(left):
        raise VaelibError(
            f"held_out = {n:,}: beside n_train = {len(taken):,} only {len(left):,} training images are left; lower either"
        )
    return left[stratified(labels[left], n, seed, "held out")] if n else left[:0]


def _read(name: str, source: str, roots: list[Path], download: bool, strict: bool) -> Raw:
    """Return what ``name`` stands for, unpadded, whole."""
    allowed = SOURCES.get(name, ("auto",))
    if source not in allowed:
        raise unknown(f"source of {name} =", source, allowed)
    if name == "fashion_mnist":
        return sources.fashion_mnist(roots, download)
    if name == "binary_mnist":
        return sources.mnist(roots, source, download)
    if name == "cifar10":
        return sources.cifar10(roots, source, download)
    path = own_path(name)
    return folder.image_folder(path, strict) if path.is_dir() else own.npz(path)


def own_path(name: str) -> Path:
    """Return the folder or .npz of images of one's own at ``name``; raises VaelibError: there is none."""
    path = paths.expanded(name)
    if name and (path.is_dir() or (path.suffix == ".npz" and path.is_file())):
        return path
    raise VaelibError(
        f"dataset = {name!r} is unknown; choose one of {', '.join(DATASETS)}, "
        f"or the path of a folder of class folders or of an .npz{hint(name, DATASETS) or '; check the spelling'}"
    )


def has_classes(name: str) -> bool:
    """Return whether a data set's labels tell classes apart; files of images are not opened for it.

    Raises:
        VaelibError: no such data set, or a damaged one.
    """
    if name in DATASETS:
        return True
    path = own_path(name)
    return folder.has_classes(path) if path.is_dir() else own.has_classes(path)


def load_dataset(
    name: str,
    *,
    n_train: int | None = None,
    n_test: int | None = None,
    held_out: int = 0,
    at_most: bool = False,
    seed: int = 0,
    source: str = "auto",
    roots: list[Path] | None = None,
    download: bool = True,
    strict: bool = False,
) -> ImageData:
    """Return a data set, fetched if need be: train and test are disjoint, subsets stratified and nested per class.

    One's own images come in a seeded order, because a folder is read class by class.

    Arguments: ``name`` one of :func:`dataset_names`, or the path of an ImageFolder or an .npz; ``n_train``,
    ``n_test`` sizes (None: all); ``held_out`` how many training images beside ``train`` to give; ``at_most`` take all
    where a size is beyond what there is, which else is an error; ``seed`` of the subsets; ``source`` binary_mnist:
    auto | full | mnist-5k, cifar10: auto | original | lossless_4k | jpeg; ``roots`` folders searched (the last is the
    cache that downloads go to); ``strict`` refuses a folder with an image that cannot be read (else it is left out, and
    printed and said in ``source``; more than half are always refused).
    Raises VaelibError: unknown name or source, n too large, files that are damaged, missing or not readable.

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/mine.npz"
    >>> np.savez(path, images=np.zeros((10, 28, 28), np.uint8))
    >>> load_dataset(path).train.shape  # four fifths, padded
    torch.Size([8, 1, 32, 32])
    """
    if roots is None:
        roots = paths.data_roots()
        if len(roots) > 1 and not roots[0].is_dir():
            raise VaelibError(f"VAELIB_DATA = {roots[0]} is no folder; correct it or unset it")
    try:
        raw = _read(name, source, roots, download, strict)
    except OSError as error:
        where = "" if error.filename is None else f" {error.filename}"
        raise VaelibError(
            f"dataset = {name}: cannot read{where} ({error.strerror or error}); make it readable and run again"
        ) from error
    if at_most:
        n_train, n_test = (n and min(n, len(there)) for n, there in ((n_train, raw.train), (n_test, raw.test)))
    own_images = name not in DATASETS
    pick = (
        subset(raw.train_labels, n_train, seed, "n_train", own_images),
        subset(raw.test_labels, n_test, seed, "n_test", own_images),
    )
    beside = _beside(raw.train_labels, pick[0], held_out, seed)
    chosen = ((raw.train, pick[0]), (raw.test, pick[1]), (raw.train, beside))
    train, test, others = (pad(images[index]) for images, index in chosen)
    if name == "binary_mnist":
        train, test, others = binarise(train), binarise(test), binarise(others)
    labels = (raw.train_labels[pick[0]], raw.test_labels[pick[1]], raw.train_labels[beside])
    return ImageData(
        train=torch.from_numpy(train),
        test=torch.from_numpy(test),
        train_labels=torch.from_numpy(labels[0].astype(np.int64)),
        test_labels=torch.from_numpy(labels[1].astype(np.int64)),
        name=name if name in DATASETS else Path(name).stem,
        source=raw.source + (", rounded at 0.5" if name == "binary_mnist" else ""),
        exact=raw.exact,
        held_out=torch.from_numpy(others),
        held_out_labels=torch.from_numpy(labels[2].astype(np.int64)),
    )
