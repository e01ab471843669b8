"""Measuring single gaps of a finished VAE again, under another protocol."""

from typing import ClassVar

from pydantic import Field

from ... import files
from ...runs.kinds import makes
from ...runs.settings import Gaps
from ...runs.stages.context import Context
from ...runs.stages.gaps import BOTH, Gap, gaps_work, measure


class Remeasured(Gaps):
    """Gaps of a trained VAE at its last epoch under another protocol, and only those that the protocol touches."""

    kind: ClassVar[str] = "remeasured"
    variant: str = Field("", exclude=True, description="its row in the panel; not part of what it is")
    gaps: tuple[Gap, ...] = Field(BOTH, min_length=1)


@makes(Remeasured, work=lambda run: gaps_work(run, run.gaps, snapshots=1))
def make_remeasured(settings: Remeasured, context: Context) -> None:
    """Measure some gaps at the VAE's last snapshot."""
    files.write_json(
        context.folder / "curve.json", measure(settings, context, settings.vae.snapshots[-1], settings.gaps)
    )
