"""The record of the study where the truth is known; its runs need no data set, so ``vaelib run`` does not list it."""

from ...report.study import Study
from .claims import PART
from .pages import BRACKETS, CALIBRATION, FIG01, MISSED_MODES, REMARK_B5, TABLE01

STUDY = Study(
    name="ground_truth",
    paper="Fig. 1, Table 1, Remark B.5",
    notebook="01_training_distributions",
    figures=(FIG01, TABLE01, REMARK_B5, CALIBRATION, MISSED_MODES, BRACKETS),
    tables=("plane", "remark_b5", "calibration", "world_bounds", "brackets"),
    claims=PART,
    seeds="plane_seeds",
    after=("three_gaps",),  # it brackets the VAEs that are there
)
