"""Data sets as artifacts: looked up, hashed, written once, memory-mapped by every worker."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from ...data import load_dataset
from ...errors import VaelibError
from ..settings import Data, HeldOut
from .context import Context


def _digest(arrays: list[Tensor]) -> str:
    state = hashlib.sha256()
    for array in arrays:
        state.update(array.numpy().tobytes())
    return state.hexdigest()[:20]


def resolve_data(
    name: str, n_train: int | None = None, n_test: int | None = None, seed: int = 0, source: str = "auto"
) -> Data:
    """Look the data set up and return settings that name exactly these images."""
    data = load_dataset(name, n_train=n_train, n_test=n_test, seed=seed, source=source)
    return Data(
        name=name,
        n_train=len(data.train),
        n_test=len(data.test),
        seed=seed,
        source=source,
        label=data.source,
        channels=data.train.shape[1],
        digest=_digest([data.train, data.test, data.train_labels, data.test_labels]),
    )


def spare_images(data: Data) -> int:
    """Return how many training images there are beside D_train."""
    return len(load_dataset(data.name, n_test=1, seed=data.seed, source=data.source).train) - data.n_train


def make_data(settings: Data, context: Context) -> None:
    """Write the splits as ``.npy`` files."""
    loaded = load_dataset(
        settings.name, n_train=settings.n_train, n_test=settings.n_test, seed=settings.seed, source=settings.source
    )
    arrays = {
        "train": loaded.train,
        "test": loaded.test,
        "train_labels": loaded.train_labels,
        "test_labels": loaded.test_labels,
    }
    if _digest(list(arrays.values())) != settings.digest:
        raise VaelibError(f"dataset = {settings.name}: its files changed while it was read; run again")
    for split, tensor in arrays.items():
        np.save(context.folder / f"{split}.npy", tensor.numpy())


def make_held_out(settings: HeldOut, context: Context) -> None:
    """Write real training images that D_train does not hold."""
    data = settings.data
    loaded = load_dataset(
        data.name,
        n_train=data.n_train,
        n_test=data.n_test,
        held_out=settings.size,
        seed=data.seed,
        source=data.source,
    )
    if not torch.equal(loaded.train, context.split(data, "train").cpu()):
        raise VaelibError(f"dataset = {data.name}: its files are not those it was prepared from; restore them")
    np.save(context.folder / "images.npy", loaded.held_out.numpy())
