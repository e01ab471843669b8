"""Data sets as artifacts: looked up, hashed, written once, memory-mapped by every worker."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ... import files, paths
from ...data import load_dataset
from ...data.datasets import DATASETS
from ...data.identity import dataset_tag
from ...errors import VaelibError
from ..cost.work import PIXELS
from ..kinds import makes
from ..settings import Data, HeldOut
from .context import Context

# Training and test images and channels of the published sets, for plans where the files are not there.
PUBLISHED = {"fashion_mnist": (60_000, 10_000, 1), "binary_mnist": (60_000, 10_000, 1), "cifar10": (50_000, 10_000, 3)}
_read: ContextVar[dict[Any, Any] | None] = ContextVar("read", default=None)


@contextlib.contextmanager
def reading_once() -> Iterator[None]:
    """Within the block each data set is read once and none is downloaded: a plan asks for the same one for every figure.

    A published set that is not there has its published size, a name for a label, and no key that is in any store.
    """
    token = _read.set({})
    try:
        yield
    finally:
        _read.reset(token)


def _digest(arrays: list[Tensor]) -> str:
    state = hashlib.sha256()
    for array in arrays:
        state.update(array.numpy().tobytes())
    return state.hexdigest()[:20]


def resolve_data(
    name: str,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
    source: str = "auto",
    at_most: bool = False,
) -> Data:
    """Look the data set up and return settings that name exactly these images.

    Of images of one's own (``at_most``: of any) as many are taken as there are, where more are asked for, and a line says so.
    """
    asked, known = (name, n_train, n_test, seed, source, at_most), _read.get()
    if known is None:
        return _resolve(*asked)
    if asked not in known:
        try:
            known[asked] = _resolve(*asked, download=False)
        except VaelibError:
            if name not in PUBLISHED or _is_here(name, source):
                raise
            known[asked] = _published(*asked)
    return known[asked]


def _is_here(name: str, source: str) -> bool:
    """Return True if a published data set is at hand, so that a failure to read it has another reason."""
    try:
        load_dataset(name, n_train=1, n_test=1, source=source, download=False)
    except VaelibError:
        return False
    return True


def _published(name: str, n_train: int | None, n_test: int | None, seed: int, source: str, at_most: bool) -> Data:
    """Return a data set that is not here as it was published."""
    train, test, channels = PUBLISHED[name]
    sizes = {"n_train": min(n_train or train, train), "n_test": min(n_test or test, test)}
    about = {"label": "not here yet, size as published", "channels": channels, "digest": ""}
    return Data(name=name, **sizes, seed=seed, source=source, **about)


def _resolve(
    name: str, n_train: int | None, n_test: int | None, seed: int, source: str, at_most: bool, download: bool = True
) -> Data:
    own, sizes = name not in DATASETS, {"n_train": n_train, "n_test": n_test}
    data = load_dataset(name, **sizes, at_most=own or at_most, seed=seed, source=source, download=download)
    tag = dataset_tag(name)
    for (setting, wanted), there in zip(sizes.items(), (data.train, data.test), strict=True):
        lowered(tag, setting, wanted, len(there))
    return Data(
        name=tag,
        path=os.path.abspath(paths.expanded(name)) if own else None,
        n_train=len(data.train),
        n_test=len(data.test),
        seed=seed,
        source=source,
        label=data.source,
        channels=data.train.shape[1],
        digest=_digest([data.train, data.test, data.train_labels, data.test_labels]),
    )


def lowered(tag: str, setting: str, wanted: int | None, most: int) -> int:
    """Return ``wanted``, or ``most`` where that is less; then a line says so, once."""
    if wanted is None or wanted <= most:
        return most if wanted is None else wanted
    tell_once(f"{tag}: {setting} = {wanted:,} is lowered to {most:,}, for there are no more images")
    return most


@cache
def tell_once(line: str) -> None:
    """Print a line; each only once."""
    print(line, flush=True)


def spare_images(data: Data) -> int:
    """Return how many training images there are beside D_train."""
    known, whole = _read.get(), ("training images", data.name, data.source)
    if known is None:
        return _training_images(data) - data.n_train
    if whole not in known:
        known[whole] = _training_images(data, download=False) if data.digest else PUBLISHED[data.name][0]
    return known[whole] - data.n_train


def _training_images(data: Data, download: bool = True) -> int:
    return len(load_dataset(data.place, n_test=1, seed=data.seed, source=data.source, download=download).train)


@makes(Data, size=lambda data: (data.n_train + data.n_test) * PIXELS * data.channels, gpu=False)
def make_data(settings: Data, context: Context) -> None:
    """Write the splits as ``.npy`` files."""
    loaded = load_dataset(
        settings.place, n_train=settings.n_train, n_test=settings.n_test, seed=settings.seed, source=settings.source
    )
    arrays = {name: getattr(loaded, name) for name in ("train", "test", "train_labels", "test_labels")}
    if _digest(list(arrays.values())) != settings.digest:
        raise VaelibError(f"dataset = {settings.name}: its files changed while it was read; run again")
    for split, tensor in arrays.items():
        files.write_array(context.folder / f"{split}.npy", tensor.numpy())


def beside_train(data: Data, count: int, context: Context) -> tuple[Tensor, Tensor]:
    """Return ``count`` real training images that D_train does not hold, and their labels."""
    sizes = {"n_train": data.n_train, "n_test": data.n_test, "held_out": count}
    loaded = load_dataset(data.place, **sizes, seed=data.seed, source=data.source)
    if not torch.equal(loaded.train, context.split(data, "train").cpu()):
        raise VaelibError(f"dataset = {data.name}: its files are not those it was prepared from; restore them")
    return loaded.held_out, loaded.held_out_labels


@makes(HeldOut, size=lambda real: real.size * PIXELS * real.data.channels, gpu=False)
def make_held_out(settings: HeldOut, context: Context) -> None:
    """Write real training images that D_train does not hold."""
    files.write_array(context.folder / "images.npy", beside_train(settings.data, settings.size, context)[0].numpy())
