"""The record of the study of rate and distortion."""

from ...report.study import Study
from .claims import PART
from .pages import PLANE
from .runs import rate_distortion

STUDY = Study(
    name="rate_distortion",
    paper="beyond the paper: rate and distortion",
    notebook="03_three_gaps",
    runs=rate_distortion,
    figures=(PLANE,),
    tables=("rate_distortion",),
    claims=PART,
    seeds="seeds",
)
