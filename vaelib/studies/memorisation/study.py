"""The record of the study of teachers that begin to memorise."""

from ...report.study import Study
from .claims import PART
from .figures import FIG_COPYING
from .runs import memorisation


def in_grey(dataset: str, likelihood: str) -> bool:
    """Return whether ``make all`` asks: of the paper's grey images with their own likelihood, whose VAE is the small one."""
    return dataset in ("fashion_mnist", "binary_mnist") and likelihood == "default"


STUDY = Study(
    name="memorisation",
    paper="",
    notebook="12_memorisation",
    runs=memorisation,
    figures=(FIG_COPYING,),
    tables=("memorisation",),
    claims=PART,
    applies=in_grey,
    seeds="seeds",
    shared=("share of copies",),
)
