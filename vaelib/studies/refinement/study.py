"""The record of the study of refinement at test time."""

from ...report.study import Study
from .claims import PART
from .figures import REFINEMENT
from .runs import refinement

STUDY = Study(
    name="refinement",
    paper="",
    notebook="11_cheap_alternatives",
    runs=refinement,
    figures=(REFINEMENT,),
    tables=("refinement",),
    claims=PART,
    seeds="seeds",
    after=("three_gaps",),
)
