"""The record of the study of per-image memorisation."""

from ...report.study import Study
from ...runs.experiments import likelihood_of
from ...runs.profiles import architecture
from .claims import PART
from .pages import MEMORY
from .runs import image_memorisation


def on_a_fully_connected_network(dataset: str, likelihood: str) -> bool:
    """Return whether Table 3 has a fully connected network for a setting; ten residual ones and their teachers want a GPU."""
    return architecture(dataset, likelihood_of(dataset, likelihood)) == "fc"


STUDY = Study(
    name="image_memorisation",
    paper="beyond the paper: memory of single images",
    notebook="12_memorisation",
    runs=image_memorisation,
    figures=(MEMORY,),
    tables=("image_memorisation", "memorisation_folds"),
    claims=PART,
    seeds="memorisation_repeats",
    applies=on_a_fully_connected_network,
)
