"""How far apart two teachers' samples from the same noise are, beside those from different noise."""

from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor

from ... import files
from ...runs.cost.work import PIXELS
from ...runs.kinds import makes
from ...runs.settings import Artifact, Bank, Data
from ...runs.stages.context import Context
from ...runs.stages.vae import mean_and_error
from ...runs.store import TENSORS, save_tensors
from ...samplers.bank import Bank as BankImages
from ...tasks.audit import pixels

SHOWN = 12  # pairs that are kept to be looked at


class EqualSeeds(Artifact):
    """The distance of two banks' images of the same number, and that of each to the next number's of the other bank."""

    kind: ClassVar[str] = "equal_seeds"
    data: Data
    first: Bank
    second: Bank
    seed: int = Field(0, description="of both banks")

    @model_validator(mode="after")
    def _compares_like_with_like(self) -> "EqualSeeds":
        if {bank.seed for bank in (self.first, self.second)} != {self.seed} or self.first.size != self.second.size:
            raise ValueError(
                "give two banks of one size and one seed; else no image of one belongs to one of the other"
            )
        return self


def ratio_of_means(equal: Tensor, other: Tensor) -> tuple[float, float]:
    """Return mean equal / mean other and its standard error, to first order; neighbouring pairs share an image."""
    ratio = equal.mean() / other.mean()
    part = (equal - ratio * other) / other.mean()
    variance = (part.square().mean() + 2 * (part * part.roll(1)).mean()).clamp(min=0)
    return float(ratio), float((variance / len(part)).sqrt())


@makes(EqualSeeds, size=lambda run: 2 * SHOWN * PIXELS * run.data.channels, gpu=False)
def make_equal_seeds(settings: EqualSeeds, context: Context) -> None:
    """Write the row ``equal``, ``other``, ``apart`` = mean equal / mean other (each with its ``_se``), and the first pairs."""
    banks = [BankImages(context.store.require(bank)).images() for bank in (settings.first, settings.second)]
    first, second = map(pixels, banks)
    equal, other = (first - second).norm(dim=1), (first - second.roll(1, 0)).norm(dim=1)
    row = {}
    for name, values in {"equal": equal, "other": other}.items():
        row[name], row[f"{name}_se"] = mean_and_error(values)
    row["apart"], row["apart_se"] = ratio_of_means(equal, other)
    files.write_json(context.folder / "rows.json", [row])
    pairs = {name: bank[:SHOWN] for name, bank in zip(("first", "second"), banks, strict=True)}
    save_tensors(context.folder / TENSORS, pairs)
