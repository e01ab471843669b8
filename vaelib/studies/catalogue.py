"""All studies, in the order of the ledger; and what ``vaelib studies`` tells of them, to a person and to make."""

from collections.abc import Iterable

from ..report.study import Study, studies, wanted
from . import tour
from .claims.study import STUDY as CLAIMS
from .downstream.study import STUDY as DOWNSTREAM
from .ground_truth.study import STUDY as GROUND_TRUTH
from .halves.study import STUDY as HALVES
from .image_memorisation.study import STUDY as IMAGE_MEMORISATION
from .ladder.study import STUDY as LADDER
from .memorisation.study import STUDY as MEMORISATION
from .protocol.study import STUDY as PROTOCOL
from .rate_distortion.study import STUDY as RATE_DISTORTION
from .refinement.study import STUDY as REFINEMENT
from .regularisers.study import STUDY as REGULARISERS
from .sample_quality.study import STUDY as SAMPLE_QUALITY
from .sensitivity.study import STUDY as SENSITIVITY
from .smoothness.study import STUDY as SMOOTHNESS
from .sweeps.study import STUDIES as SWEEPS
from .three_gaps.study import STUDY as THREE_GAPS

STUDIES: tuple[Study, ...] = (
    Study("tour", paper="", notebook="00_tour", figures=(tour.SHOWN_OVERFITTING, tour.SHOWN_ATTACK)),
    GROUND_TRUTH,
    THREE_GAPS,
    RATE_DISTORTION,
    *SWEEPS,
    SMOOTHNESS,
    DOWNSTREAM,
    SAMPLE_QUALITY,
    SENSITIVITY,
    PROTOCOL,
    IMAGE_MEMORISATION,
    REGULARISERS,
    REFINEMENT,
    LADDER,
    MEMORISATION,
    HALVES,
    CLAIMS,
)


def format_studies() -> str:
    """Return all studies as a table: name, place in the paper, notebook."""
    rows = [(study.name, study.paper, study.notebook) for study in studies().values()]
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(text.ljust(n) for text, n in zip(row, wide, strict=True)).rstrip() for row in rows)


def make_lines(dataset: str, likelihood: str) -> str:
    """Return the notebooks of ``make all``, of ``make sweeps`` and of ``make``, and what comes after what, for make."""
    chosen, notebook = wanted(dataset, likelihood), {study.name: study.notebook for study in studies().values()}

    def names(some: Iterable[Study]) -> str:
        return " ".join(sorted({study.notebook for study in some}))

    after = {(study.notebook, notebook[name]) for study in chosen for name in study.after}
    lines = [
        f"ALL := {names(chosen)}",
        f"SWEEPS := {names(study for study in studies().values() if study.sweep)}",
        f"HEADLINE := {notebook['three_gaps']}",
        f"LEDGER := {notebook['claims']}",
        *(f"AFTER_{late} := {early}" for late, early in sorted(after)),
    ]
    return "\n".join(lines)
