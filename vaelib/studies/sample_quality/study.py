"""The record of the study of the teacher's samples."""

from ...report.study import Study
from ..sweeps.study import on_one_network
from .claims import PART
from .pages import FIG17, FIG18, FIG_AUDIT
from .runs import teacher_sheet

STUDY = Study(
    name="teacher_sheet",
    paper="Figs. 17, 18",
    notebook="02_diffusion_as_data",
    runs=teacher_sheet,
    figures=(FIG17, FIG18, FIG_AUDIT),
    tables=("c2st", "teacher_sheet", "sampling_cost"),
    classes=True,
    claims=PART,
    seeds="c2st_seeds",
    applies=on_one_network,
    sweep=True,
)
