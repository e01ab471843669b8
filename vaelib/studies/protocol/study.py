"""The record of the search for the paper's protocol."""

from ...report.study import Study
from ...runs.experiments import likelihood_of
from .figures import DISTANCE
from .runs import CANDIDATES, calibrate_protocol

STUDY = Study(
    name="calibrate_protocol",
    paper="the raw curves of Figs. 6, 10-12",
    notebook="09_attack_and_similarity",
    runs=calibrate_protocol,
    figures=(DISTANCE,),
    tables=("calibrate_protocol",),
    applies=lambda dataset, likelihood: (dataset, likelihood_of(dataset, likelihood)) in CANDIDATES,
)
