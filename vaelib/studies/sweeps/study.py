"""The records of the sweeps; each has a name, a figure and a table of its own."""

from ...report.entries import Part
from ...report.study import Figure, Study
from . import runs
from .claims import PART, SIZE_PART
from .pages import EARLY_STOPPING, FIG04_RIGHT, FIG05, FIG06, FIG07, FIG08, FIG14, FIG15, FIG16


def on_one_network(dataset: str, likelihood: str) -> bool:
    """Return whether ``make all`` sweeps: the paper sweeps one network on one data set, and FashionMNIST stands in for it.

    With another likelihood the sweeps would be the same; BinaryMNIST has no residual network in the paper.
    """
    return dataset != "binary_mnist" and likelihood == "default"


def _sweep(name: str, paper: str, notebook: str, *figures: Figure, claims: Part = PART) -> Study:
    return Study(
        name=name,
        paper=paper,
        notebook=notebook,
        runs=getattr(runs, name),
        figures=figures,
        tables=(name,),
        claims=claims,
        applies=on_one_network,
        sweep=True,
        seeds="sweep_seeds",
    )


HOW_MUCH, PRIOR, OVERPARAMETERIZATION = "06_how_much_synthetic_data", "07_prior_work", "08_overparameterization"
STUDIES = (
    _sweep("limited_k", "Fig. 4 (right)", HOW_MUCH, FIG04_RIGHT),
    _sweep("rha", "Fig. 5", PRIOR, FIG05),
    _sweep("mollify", "Fig. 14", PRIOR, FIG14, EARLY_STOPPING),
    _sweep("mixing", "Fig. 15", HOW_MUCH, FIG15),
    _sweep("teacher_fractions", "Fig. 16", HOW_MUCH, FIG16),
    _sweep("latents", "Fig. 6", OVERPARAMETERIZATION, FIG06, claims=SIZE_PART),
    _sweep("sizes", "Figs. 7 and 8", OVERPARAMETERIZATION, FIG07, FIG08, claims=SIZE_PART),
)
