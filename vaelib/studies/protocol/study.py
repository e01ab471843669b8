"""The record of the search for the paper's protocol."""

from ...report.study import Study
from ...runs.experiments import likelihood_of
from .figures import DISTANCE
from .runs import CANDIDATES, calibrate_protocol


def has_curves(dataset: str, likelihood: str) -> bool:
    """Return whether the paper's raw curves show a setting."""
    return (dataset, likelihood_of(dataset, likelihood)) in CANDIDATES


STUDY = Study(
    name="calibrate_protocol",
    paper="the raw curves of Figs. 6, 10-12",
    notebook="09_attack_and_similarity",
    runs=calibrate_protocol,
    figures=(DISTANCE,),
    applies=has_curves,
)
