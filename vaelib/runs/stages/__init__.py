"""How each artifact is made: one function a kind, all idempotent and resumable.

A stage gets its settings and a :class:`~vaelib.runs.stages.context.Context`; it writes its files into
``context.folder``, keeps checkpoints below it, and reads upstream artifacts through ``context.store``.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..evaluations import (
    C2ST,
    Audit,
    Brackets,
    Calibration,
    Classifier,
    Corrupted,
    Downstream,
    Plane,
    Remark,
    Remeasured,
    SampleElbo,
    WorldBounds,
)
from ..settings import RHA, Artifact, Bank, Data, Gaps, HeldOut, Pretrained, Samples, Teacher, VAERun
from ..store import SCRATCH, Store
from .classifier import load_classifier, make_classifier
from .context import Context, pick_device
from .data import lowered, make_data, make_held_out, resolve_data, spare_images
from .diffusion import fill_shards, load_teacher, make_bank, make_teacher
from .gaps import make_gaps, make_remeasured
from .laboratory import make_brackets, make_calibration, make_plane, make_remark, make_world_bounds
from .outside import make_pretrained, make_samples
from .rha import make_rha
from .sheet import make_audit, make_c2st, make_sample_elbo
from .tasks import make_corrupted, make_downstream
from .vae import build_vae, load_vae, make_vae, training_distribution

STAGES: dict[type[Artifact], Callable[[Any, Context], None]] = {
    Data: make_data,
    HeldOut: make_held_out,
    Teacher: make_teacher,
    Pretrained: make_pretrained,
    Samples: make_samples,
    Bank: make_bank,
    VAERun: make_vae,
    RHA: make_rha,
    Gaps: make_gaps,
    Remeasured: make_remeasured,
    Corrupted: make_corrupted,
    Downstream: make_downstream,
    Classifier: make_classifier,
    Plane: make_plane,
    Calibration: make_calibration,
    Remark: make_remark,
    WorldBounds: make_world_bounds,
    Brackets: make_brackets,
    C2ST: make_c2st,
    Audit: make_audit,
    SampleElbo: make_sample_elbo,
}


def make(
    settings: Artifact,
    store: Store,
    device: str = "auto",
    report: Callable[[float, str], None] = lambda share, note: None,
) -> Path:
    """Make one artifact whose upstream is there, or find it made; return its folder."""
    with store.making(settings) as folder:
        if folder is not None:
            (folder / SCRATCH).mkdir(exist_ok=True)
            STAGES[type(settings)](settings, Context(store, folder, pick_device(device), report))
    return store.folder(settings)


def make_shard(settings: Bank, shard: int, store: Store, device: str, report: Callable[[float, str], None]) -> None:
    """Sample one shard of a bank ahead of :func:`make`, which then finds it there."""
    folder, start = store.work_folder(settings), time.monotonic()
    if store.has_manifest(settings):
        return
    with store.plainly(settings):
        (folder / SCRATCH).mkdir(parents=True, exist_ok=True)
        fill_shards(settings, Context(store, folder, pick_device(device), report), [shard])
        (folder / SCRATCH / f"shard-{shard}.seconds").write_text(str(time.monotonic() - start))


__all__ = [
    "STAGES",
    "build_vae",
    "load_classifier",
    "load_teacher",
    "load_vae",
    "lowered",
    "make",
    "make_shard",
    "resolve_data",
    "spare_images",
    "training_distribution",
]
