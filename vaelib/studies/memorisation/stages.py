"""How much of a bank, or of held-out real images, is copied from D_train."""

from typing import ClassVar

from pydantic import Field

from ... import files
from ...runs.cost.work import COMPARED, PIXELS, Work
from ...runs.kinds import makes
from ...runs.settings import Artifact, Bank, Data, HeldOut, Samples
from ...runs.stages.context import Context
from ...runs.stages.vae import mean_and_error
from ...runs.store import TENSORS, load_tensor, save_tensors
from ...samplers.bank import Bank as BankImages
from ...tasks.copies import copying

SHOWN = 8  # samples that are kept to be looked at


class Copies(Artifact):
    """:class:`~vaelib.tasks.copies.Copying` of a set of images, in one row, and the first of these with their likeness."""

    kind: ClassVar[str] = "copies"
    data: Data
    pool: Bank | Samples | HeldOut
    images: int = Field(10_000, ge=1, description="of the pool, at most")
    seed: int = 0


def copies_work(copies: Copies) -> Work:
    pairs = min(copies.images, copies.pool.size) * 2 * copies.data.n_train
    return Work(core=1 + pairs * PIXELS * copies.data.channels / COMPARED)


@makes(Copies, work=copies_work, size=lambda copies: SHOWN * PIXELS * copies.data.channels)
def make_copies(settings: Copies, context: Context) -> None:
    """Write the row ``copies``, ``authentic``, ``ratio``, ``distance`` (means over images, each with its ``_se``)."""
    folder, count = context.store.require(settings.pool), min(settings.images, settings.pool.size)
    if isinstance(settings.pool, HeldOut):
        images = load_tensor(folder / "images.npy", count)
    else:
        images = BankImages(folder).images(0, count)
    found = copying(images.to(context.device), context.split(settings.data, "train"))
    row = {}
    for name, values in zip(("ratio", "distance", "copies", "authentic"), found, strict=True):
        row[name], row[f"{name}_se"] = mean_and_error(values)
    files.write_json(context.folder / "rows.json", [row])
    save_tensors(context.folder / TENSORS, {"samples": images[:SHOWN]})
