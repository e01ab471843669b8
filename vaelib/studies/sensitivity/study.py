"""The record of the sensitivity panel."""

from ...report.study import Study
from .pages import FLOORS, MS_SSIM, PANEL, STEPS, STRENGTH
from .runs import sensitivity

STUDY = Study(
    name="sensitivity",
    paper="App. A, Table 2",
    notebook="09_attack_and_similarity",
    runs=sensitivity,
    figures=(PANEL, FLOORS, MS_SSIM, STRENGTH, STEPS),
    tables=("sensitivity", "similarity_pairs", "attack_strength"),
)
