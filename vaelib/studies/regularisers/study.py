"""The record of the study of cheap regularisers."""

from ...report.study import Study
from .claims import PART
from .figures import REGULARISERS
from .runs import regularisers


def on_the_small_network(dataset: str, likelihood: str) -> bool:
    """Return whether ``make all`` tunes regularisers: for the fully connected network, of which fifty are trained."""
    return dataset != "cifar10" and likelihood == "default"


STUDY = Study(
    name="regularisers",
    paper="",
    notebook="11_cheap_alternatives",
    runs=regularisers,
    figures=(REGULARISERS,),
    tables=("regularisers", "regulariser_tuning"),
    claims=PART,
    seeds="seeds",
    applies=on_the_small_network,
    after=("three_gaps",),
)
