"""Making what others made one's own: copied into the store, checked, read from there like everything else."""

import os
import shutil
from pathlib import Path

import numpy as np

from ... import files
from ...errors import VaelibError
from ...images import SIDE
from ...models import pretrained
from ...models.pretrained import CONFIG, SCHEDULE, WEIGHTS
from ...samplers.bank import shard_path
from ...samplers.published import draw_samples, open_samples
from ..cost.work import DDPM_PARAMETERS, PIXELS
from ..kinds import makes
from ..settings import Pretrained, Samples
from .context import Context


def _from_hub(settings: Pretrained) -> Path:
    """Return the folder of a hub model at its pinned commit, downloaded if it is not in the hub's cache."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError:
        raise VaelibError(
            f"teacher_from = {settings.model} needs huggingface_hub; pip install 'vaelib[diffusion]'"
        ) from None
    try:
        for name in (CONFIG, WEIGHTS):
            path = Path(hf_hub_download(settings.model, name, revision=settings.revision))
        try:
            hf_hub_download(settings.model, SCHEDULE, revision=settings.revision)
        except EntryNotFoundError as error:  # not every model has one; but one that was not reached is no such answer
            if isinstance(error, LocalEntryNotFoundError):
                raise
    except Exception as error:  # its errors have no common base: no route, no such file, a gate
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise VaelibError(
            f"teacher_from = {settings.model} did not come from the hub ({reason}); download {CONFIG}, {WEIGHTS} and "
            f"{SCHEDULE} of commit {settings.revision} into a folder and set teacher_from to it"
        ) from None
    return path.parent


@makes(Pretrained, size=lambda _: 4 * DDPM_PARAMETERS, gpu=False)
def make_pretrained(settings: Pretrained, context: Context) -> None:
    """Copy network, weights and schedule into the store; the weights must be those that were named."""
    source = Path(settings.folder) if settings.folder else _from_hub(settings)
    pretrained.check_model(source, settings.channels)
    found = pretrained.model_files(source)
    actual = files.sha256(found[WEIGHTS])
    if settings.shape and pretrained.model_shape(source) != settings.shape:
        raise VaelibError(f"teacher_from = {settings.folder}: the folder changed since it was looked at; run again")
    if actual != settings.sha256:
        raise VaelibError(
            f"teacher_from = {settings.model}: its {WEIGHTS} has SHA-256 {actual}, expected {settings.sha256}; fetch it again"
        )
    pretrained.load_pretrained(source)  # a network that does not fit its weights is found now, not in every shard
    if pretrained.network_folder(source) == source / pretrained.AVERAGE:
        print(
            f"{source}: {pretrained.AVERAGE} is taken, the average of the weights, not unet; for that name {source}/unet",
            flush=True,
        )
    if SCHEDULE not in found:
        print(f"{settings.model} has no {SCHEDULE}: DDPM's schedule is taken", flush=True)
    for name, path in found.items():
        shutil.copyfile(path, context.folder / name)


@makes(Samples, size=lambda samples: samples.size * PIXELS * samples.channels, gpu=False)
def make_samples(settings: Samples, context: Context) -> None:
    """Draw the images from the file into one shard."""
    found = open_samples(Path(settings.path))
    if found.digest != settings.digest:
        raise VaelibError(f"bank_from = {settings.path}: the file changed since it was looked at; run again")
    part, shape = context.folder / "drawn.part", (settings.size, settings.channels, SIDE, SIDE)
    out = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
    with open(part, "r+b") as file:  # a full disk is told here; in mapped memory it would end the process
        os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
    draw_samples(found, out, settings.seed, settings.binarize)
    out.flush()
    part.replace(shard_path(context.folder, 0))
