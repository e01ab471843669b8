"""The record of the study of smoothness."""

from ...report.study import Study
from ..sweeps.study import on_one_network
from .claims import PART
from .figures import FIG03
from .runs import smoothness

STUDY = Study(
    name="smoothness",
    paper="Fig. 3",
    notebook="04_latent_smoothness",
    runs=smoothness,
    figures=(FIG03,),
    tables=("smoothness_paths", "smoothness"),
    claims=PART,
    seeds="sweep_seeds",
    applies=on_one_network,
    sweep=True,
)
