"""The record of the study of two teachers of disjoint halves."""

from ...report.study import Study
from ..memorisation.study import in_grey
from .claims import PART
from .figures import FIG_HALVES
from .runs import halves

STUDY = Study(
    name="halves",
    paper="",
    notebook="12_memorisation",
    runs=halves,
    figures=(FIG_HALVES,),
    tables=("halves",),
    claims=PART,
    applies=in_grey,
)
