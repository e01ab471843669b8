"""The laboratory's figures where the truth has no closed form: what an upper bound shows, the inference gap in two parts."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .canvas import COLOURS, GREY, LABELS, STYLE, ReportFigure, sheet_legend
from .claims import number
from .world_figures import DARK, sheet


def missed_modes_figure(rows: pd.DataFrame, *, footer: str = "", stamp: str | None = None) -> ReportFigure:
    """Return each image's ELBO* below its tightest upper bound, from one start and from two, images sorted by the first.

    ``rows``: of one likelihood, with ``starts`` 1 and 2.
    """
    width, height, series = 8.6, 3.5, {1: ("o", "#D55E00"), 2: (".", "#009E73")}
    wide = {starts: rows[rows["starts"] == starts].reset_index(drop=True) for starts in series}
    upper = pd.concat([wide[1]["BDMC"], wide[2]["BDMC"]], axis=1).min(axis=1)
    below = {starts: (upper - part["ELBO*"]).clip(lower=0.05) for starts, part in wide.items()}
    order = below[1].sort_values().index
    with mpl.rc_context(fname=STYLE):
        figure = sheet(width, height, "An upper bound shows what an optimiser missed", footer, stamp)
        ax = figure.add_axes((0.85 / width, 0.85 / height, 7.5 / width, 1.9 / height))
        where = np.arange(len(order))
        for starts, (marker, colour) in series.items():
            ax.plot(
                where,
                below[starts][order],
                marker,
                color=colour,
                ms=8 if starts == 1 else 9,
                mfc="none" if starts == 1 else colour,
            )
        ax.set_yscale("log")
        ax.set(xlabel="image, sorted", ylabel="upper bound − ELBO* (nats)", xticks=[])
        names = {1: "ELBO* climbed from the encoder's posterior", 2: "the better of two starts"}
        handles = [
            Line2D([], [], marker=m, color=c, ls="", mfc="none" if s == 1 else c, ms=8, label=names[s])
            for s, (m, c) in series.items()
        ]
        sheet_legend(figure, handles, 2)
    return figure


def brackets_figure(rows: pd.DataFrame, *, title_note: str, footer: str = "", stamp: str | None = None) -> ReportFigure:
    """Return log p(x) - ELBO of trained VAEs as bars, split at ELBO*: what the encoder loses, what the family of q loses.

    Left: test images, log p(x) by its lower bound. Right: the VAEs' own samples, by BDMC's upper bound. The scale is
    logarithmic, so the parts are drawn side by side.
    """
    methods = [name for name in LABELS if name in set(rows["method"])]
    width, height = 8.6, 3.3
    with mpl.rc_context(fname=STYLE):
        figure = sheet(width, height, title_note, footer, stamp)
        for place, (images, end, title) in enumerate(
            (("test images", "lower", "Test images"), ("own samples", "BDMC", "Own samples"))
        ):
            ax = figure.add_axes(((0.85 + 4.15 * place) / width, 0.8 / height, 3.3 / width, 1.6 / height))
            for column, method in enumerate(methods):
                part = rows[(rows["method"] == method) & (rows["images"] == images)]
                draw_losses(ax, column, part, end, COLOURS[method])
            ax.set_yscale("log")
            ax.margins(y=0.25)
            ax.set_xticks(range(len(methods)), [LABELS[method].replace(" ", "\n") for method in methods], fontsize=8)
            ax.set(ylabel="nats per image")
            ax.set_title(title)
        handles = [mpl.patches.Patch(fc=GREY, ec=GREY, label="amortization: ELBO* − ELBO"),
                   mpl.patches.Patch(fc="white", ec=GREY, hatch="////", label="approximation: log p(x) − ELBO*")]  # fmt: skip
        sheet_legend(figure, handles, 2)
    return figure


def draw_losses(ax: Axes, column: int, rows: pd.DataFrame, end: str, colour: str) -> None:
    """Draw a method's two bars with their numbers: ELBO* - ELBO, filled, and ``end`` - ELBO*, hatched."""
    for x, low, high, hatch in ((column - 0.2, "ELBO", "ELBO*", ""), (column + 0.2, "ELBO*", end, "////")):
        lost = (rows[high] - rows[low]).clip(lower=0)
        look = {"color": "white" if hatch else colour, "edgecolor": colour, "hatch": hatch}
        ax.bar(x, lost.mean(), 0.36, yerr=lost.sem(), error_kw={"ecolor": DARK, "elinewidth": 1}, **look)
        place = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center", "fontsize": 8}
        ax.annotate(number(lost.mean()), (x, lost.mean() + lost.sem()), **place)
