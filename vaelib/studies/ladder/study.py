"""The record of the ladder of teachers."""

from ...report.study import Study
from ..memorisation.study import in_grey
from .claims import PART
from .figures import FIG_LADDER
from .runs import ladder

STUDY = Study(
    name="ladder",
    paper="",
    notebook="12_memorisation",
    runs=ladder,
    figures=(FIG_LADDER,),
    tables=("ladder",),
    claims=PART,
    seeds="seeds",
    applies=in_grey,
)
