"""The record of the headline study."""

from ...report.study import Study
from .claims import PART
from .numbers import against_paper
from .pages import FIG13, HEADLINES
from .paper import table_07
from .runs import three_gaps
from .sentences import report_page

STUDY = Study(
    name="three_gaps",
    paper="Figs. 2, 10-13, Table 7",
    notebook="03_three_gaps",
    runs=three_gaps,
    figures=(*HEADLINES.values(), FIG13),
    tables=("three_gaps", "curves"),
    derived=(("table_07", "three_gaps", table_07), ("numbers", "curves", against_paper)),
    claims=PART,
    seeds="seeds",
    page=report_page,
)
