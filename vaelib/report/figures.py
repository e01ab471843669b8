"""From an experiment to its figures and tables on disk: names as in the paper, footers, stamps."""

from pathlib import Path

import pandas as pd

from .. import paths
from ..runs import Experiment, protocol, read_table, tables_folder
from ..runs.origin import commit
from ..runs.tables import merge_table
from .plotting import ReportFigure, own_distribution_figure, provenance_line, save_figure, three_gaps_figure
from .reference import FIGURES, LIKELIHOODS, NAMES, paper_curves, table_07


def figures_folder(profile: str) -> Path:
    """Return ``build/<profile>/figures``."""
    return paths.build_root() / profile / "figures"


def stem(experiment: Experiment) -> str:
    """Return the data set's part of a file name; a likelihood that is not the default for it is named too."""
    name = Path(experiment.dataset).stem
    default = experiment.likelihood == protocol(experiment.dataset).likelihood
    return name if default else f"{name}_{experiment.likelihood}"


def figure_number(experiment: Experiment) -> str:
    """Return ``"11"`` for the paper's Fig. 11; own images and other likelihoods count as ``"02"``."""
    label = FIGURES.get((experiment.dataset, experiment.likelihood), "Fig. 2")
    return f"{int(label.removeprefix('Fig. ')):02d}"


def stamp(experiment: Experiment) -> str | None:
    """Return what is printed across figures of the smoke profile."""
    return "smoke: no claim" if experiment.profile.name == "smoke" else None


def title(experiment: Experiment) -> str:
    """Return a figure's title: the data set and its likelihood."""
    name = NAMES.get(experiment.dataset, Path(experiment.dataset).stem)
    return f"{name}, {LIKELIHOODS[experiment.likelihood]} likelihood"


def _frame(experiment: Experiment, gaps: pd.DataFrame) -> dict:
    """Return what every figure of an experiment shares; the paper's curves only where the scale is the paper's."""
    setting = (experiment.dataset, experiment.likelihood)
    beneath = None
    if experiment.profile.name in ("overnight", "gpu", "paper") and setting in FIGURES:
        curves = paper_curves()
        beneath = curves[(curves.dataset == setting[0]) & (curves.likelihood == setting[1])]
    footer = provenance_line(gaps, profile=experiment.profile.name, commit=commit())
    return {"title_note": title(experiment), "footer": footer, "stamp": stamp(experiment), "paper": beneath}


def draw_three_gaps(experiment: Experiment, tables: dict[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save the three panels of Figs. 2 and 10–12 for one experiment."""
    curves, gaps = tables["curves"], tables["three_gaps"]
    figure = three_gaps_figure(curves, gaps, **_frame(experiment, gaps))
    name = f"fig{figure_number(experiment)}_{stem(experiment)}"
    save_figure(figure, figures_folder(experiment.profile.name), name)
    return figure


def draw_own_distributions(experiment: Experiment, tables: dict[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save Fig. 13's panel: the ELBO on what was really trained on, beside the test ELBO."""
    figure = own_distribution_figure(tables["curves"], **_frame(experiment, tables["three_gaps"]))
    save_figure(figure, figures_folder(experiment.profile.name), f"fig13_{stem(experiment)}")
    return figure


def write_table_07(experiment: Experiment) -> pd.DataFrame:
    """Write the paper's Table 7 with our values beside it, for all settings made so far; return this experiment's rows."""
    folder = tables_folder(experiment.profile.name)
    table = table_07(read_table(folder / "three_gaps.csv"))
    merge_table(folder / "table_07.csv", table)
    mine = (table.dataset == experiment.dataset) & (table.likelihood == experiment.likelihood)
    return table[mine].reset_index(drop=True)
