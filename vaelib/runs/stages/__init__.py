"""How each artifact is made: one function a kind, all idempotent and resumable.

A stage gets its settings and a :class:`~vaelib.runs.stages.context.Context`; it writes its files into
``context.folder``, keeps checkpoints below it, and reads upstream artifacts through ``context.store``.
"""

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from ... import files
from ...errors import VaelibError
from ...samplers.bank import shard_path
from ..kinds import kind_of
from ..settings import Artifact, Bank
from ..store import SCRATCH, Store
from . import external, gaps  # noqa: F401 - what they make is known once they are imported
from .classifier import load_classifier
from .context import Context, take_device
from .data import lowered, resolve_data, spare_images
from .diffusion import fill_shards, load_teacher
from .vae import build_vae, load_vae, training_distribution


def make(
    settings: Artifact,
    store: Store,
    device: str = "auto",
    report: Callable[[float, str], None] = lambda share, note: None,
) -> Path:
    """Make one artifact whose upstream is there, or find it made; return its folder."""
    with store.making(settings, device) as folder:
        if folder is not None:
            (folder / SCRATCH).mkdir(exist_ok=True)
            if not any((folder / SCRATCH).iterdir()):
                report(0.0, "")  # whoever watches counts from here; one that goes on counts from what it first tells
            kind_of(settings).make(settings, Context(store, folder, take_device(device), report))
    return store.folder(settings)


def make_shard(settings: Bank, shard: int, store: Store, device: str, report: Callable[[float, str], None]) -> None:
    """Sample one shard of a bank ahead of :func:`make`, which then finds it there.

    No lock is held, so that many can; whoever makes the same bank may publish it at any moment, and so move the folder.
    """
    folder, start = store.work_folder(settings), time.monotonic()
    if store.has_manifest(settings):
        return
    with store.plainly(settings):
        try:
            (folder / SCRATCH).mkdir(parents=True, exist_ok=True)
            if not shard_path(folder, shard).exists():
                report(0.0, "")
            fill_shards(settings, Context(store, folder, take_device(device), report), [shard])
            with contextlib.suppress(FileNotFoundError):  # it is being published
                files.write_text(folder / SCRATCH / f"shard-{shard}.seconds", str(time.monotonic() - start))
        except (OSError, VaelibError):
            if not store.has_manifest(settings):
                raise
        if store.has_manifest(settings):  # what came too late is nobody's
            shutil.rmtree(folder, ignore_errors=True)


__all__ = [
    "build_vae", "load_classifier", "load_teacher", "load_vae", "lowered", "make", "make_shard", "resolve_data",
    "spare_images", "training_distribution",
]  # fmt: skip
