"""All studies, in the order of the ledger."""

from ..report.claim_figures import CLAIMS
from ..report.study import Study
from . import tour
from .downstream.study import STUDY as DOWNSTREAM
from .ground_truth.study import STUDY as GROUND_TRUTH
from .protocol.study import STUDY as PROTOCOL
from .sample_quality.study import STUDY as SAMPLE_QUALITY
from .sensitivity.study import STUDY as SENSITIVITY
from .smoothness.study import STUDY as SMOOTHNESS
from .sweeps.study import STUDIES as SWEEPS
from .three_gaps.study import STUDY as THREE_GAPS

STUDIES: tuple[Study, ...] = (
    Study("tour", paper="", notebook="00_tour", figures=(tour.SHOWN_OVERFITTING, tour.SHOWN_ATTACK)),
    GROUND_TRUTH,
    THREE_GAPS,
    *SWEEPS,
    SMOOTHNESS,
    DOWNSTREAM,
    SAMPLE_QUALITY,
    SENSITIVITY,
    PROTOCOL,
    Study("claims", paper="every claim", notebook="10_claims", figures=(CLAIMS,)),
)
