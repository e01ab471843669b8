"""From a sweep's experiment to its figure on disk: the paper's number in the name, footer, stamp, the paper's beneath."""

import pandas as pd

from ..runs import RHA, Experiment
from ..runs.origin import commit
from .figures import figures_folder, stamp, stem, title
from .plotting import ReportFigure, provenance_line, save_figure
from .reference import SWEEP_SETTING, paper_sweep, paper_sweep_curves
from .size_figures import path_figure, sizes_figure
from .sweeps import (
    early_stopping_figure,
    latents_figure,
    limited_k_figure,
    mixing_figure,
    mollify_figure,
    rha_figure,
    teacher_figure,
)

Tables = dict[str, pd.DataFrame]
NAMES = {
    "limited_k": "fig04_right",
    "rha": "fig05",
    "latents": "fig06",
    "sizes": "fig07",
    "mollify": "fig14",
    "mixing": "fig15",
    "teacher_fractions": "fig16",
}
OVER_X = {
    "limited_k": limited_k_figure,
    "sizes": sizes_figure,
    "mixing": mixing_figure,
    "teacher_fractions": teacher_figure,
}


def _frame(experiment: Experiment, rows: pd.DataFrame, paper: pd.DataFrame | None) -> dict:
    """Return what every figure of a sweep shares; the paper's numbers only where the scale is the paper's."""
    comparable = experiment.profile.name in ("gpu", "paper")
    comparable &= (experiment.dataset, experiment.likelihood) == SWEEP_SETTING
    about = {"profile": experiment.profile.name, "commit": commit(), "alone": "one seed, as in the paper"}
    beneath = paper if comparable else None
    footer = provenance_line(rows, **about) + ("" if beneath is None else " · thin and faint: the paper's")
    return {"title_note": title(experiment), "footer": footer, "stamp": stamp(experiment), "paper": beneath}


def _saved(figure: ReportFigure, experiment: Experiment, name: str) -> ReportFigure:
    """Save a figure of an experiment under ``name`` and the data set's, and return it."""
    save_figure(figure, figures_folder(experiment.profile.name), f"{name}_{stem(experiment)}")
    return figure


def draw_sweep(experiment: Experiment, tables: Tables) -> ReportFigure:
    """Draw and save the figure of one sweep from its tables (``rows`` and ``curves``)."""
    name, rows, curves = experiment.name, tables["rows"], tables["curves"]
    if name in OVER_X:
        figure = OVER_X[name](rows, **_frame(experiment, rows, paper_sweep(name)))
    elif name == "rha":
        frozen = next(point.run.start for point in experiment.points if isinstance(point.run, RHA))
        figure = rha_figure(curves, rows, frozen=frozen, **_frame(experiment, rows, paper_sweep_curves(name)))
    elif name == "mollify":
        clean = experiment.profile.epochs / 2
        figure = mollify_figure(curves, rows, clean=clean, **_frame(experiment, rows, paper_sweep_curves(name)))
    else:
        figure = latents_figure(curves, rows, **_frame(experiment, rows, paper_sweep_curves(name)))
    return _saved(figure, experiment, NAMES[name])


def draw_path(experiment: Experiment, tables: Tables, axis: str = "log") -> ReportFigure:
    """Draw and save Fig. 8 from the sweep over sizes; ``axis`` is ``log`` or ``linear``."""
    rows = tables["rows"]
    figure = path_figure(rows, axis=axis, **_frame(experiment, rows, paper_sweep("sizes")))
    return _saved(figure, experiment, "fig08")


def draw_early_stopping(experiment: Experiment, rows: pd.DataFrame) -> ReportFigure:
    """Draw and save ``early_stopping_<dataset>`` from the rows of one sweep or several, joined."""
    return _saved(early_stopping_figure(rows, **_frame(experiment, rows, None)), experiment, "early_stopping")
