"""The record of the study of per-image memorisation."""

from ...report.study import Study
from .claims import PART
from .pages import MEMORY
from .runs import image_memorisation

STUDY = Study(
    name="image_memorisation",
    paper="beyond the paper: memory of single images",
    notebook="12_memorisation",
    runs=image_memorisation,
    figures=(MEMORY,),
    tables=("image_memorisation", "memorisation_folds"),
    claims=PART,
    seeds="memorisation_repeats",
)
