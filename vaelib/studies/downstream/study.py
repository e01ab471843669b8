"""The record of the downstream tasks."""

from ...report.study import Study
from .claims import PART
from .pages import FIG04_LEFT, FIG09, FIG19, SAMPLES, report_page
from .paper import table_11
from .runs import downstream

STUDY = Study(
    name="downstream",
    paper="Figs. 4 left, 9, 19, Table 11",
    notebook="05_downstream_tasks",
    runs=downstream,
    figures=(FIG04_LEFT, FIG09, FIG19, SAMPLES),
    tables=("downstream", "corruptions"),
    derived=(("table_11", "downstream", table_11),),
    classes=True,
    claims=PART,
    seeds="seeds",
    page=report_page,
)
