"""The paper's figures from tidy tables: runs write tables, these functions only read them.

A function draws on the axes it is given; the two ``*_figure`` functions compose them and return a :class:`ReportFigure`,
which a notebook shows as its last expression. Lines are means over seeds, bands run from the smallest to the largest seed. At
the right of a panel each method has a bracket: the gap at the last epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...report.canvas import (
    COLOURS,
    ELBO_LABEL,
    GREY,
    LABELS,
    MARKERS,
    STYLE,
    TEST,
    TRAIN,
    ReportFigure,
    canvas,
    draw_line,
    known_methods,
    nats,
    one_setting,
    robust_limits,
    series_handles,
    style_legend,
)
from ...report.reference import of_setting, setting
from ...runs.tables import SETTING
from ...text import number


@dataclass(frozen=True)
class Panel:
    """One panel: its two curves (name, line style, legend), and the gap = upper - lower at the last epoch."""

    title: str
    upper: tuple[str, str, str]
    lower: tuple[str, str, str]
    gap: str
    ylabel: str = ELBO_LABEL


BEST, ENCODER = ("elbo_star_test", "-.", "optimal $q^*$"), ("elbo_test_subset", "-", "encoder $q_\\phi$")
INPUTS, OUTPUTS = ("input_similarity", ":", "attacked inputs"), ("reconstruction_similarity", "-", "reconstructions")
THREE_GAPS = (
    Panel("Generalization gap", TRAIN, TEST, "generalization_gap"),
    Panel("Amortization gap", BEST, ENCODER, "amortization_gap", "test ELBO (nats per image)"),
    Panel("Robustness gap", INPUTS, OUTPUTS, "robustness_gap", "MS-SSIM"),
)
OWN = Panel("Own distribution against test set", ("elbo_own", ":", "own training distribution"), TEST, "")

FURTHER = 1.25  # times our last epoch: how far the paper's curves are drawn


def _points(curves: pd.DataFrame, method: str, quantity: str) -> pd.DataFrame:
    return curves[(curves["method"] == method) & (curves["quantity"] == quantity)].dropna(subset="value")


def draw_curve(ax: Axes, curves: pd.DataFrame, method: str, quantity: str, linestyle: str) -> list[Artist]:
    """Draw one quantity of one method over effective epochs: mean line and, with two seeds or more, min-max band."""
    rows = _points(curves, method, quantity)
    look = {"color": COLOURS[method], "marker": MARKERS[method], "ms": 4}
    every = max(1, rows["effective_epoch"].nunique() // 8)
    return draw_line(ax, rows, "effective_epoch", "value", linestyle, markevery=every, **look)


def draw_brackets(ax: Axes, brackets: list[tuple[str, float, float, float]], unit_digits: int | None = None) -> None:
    """Draw one bracket (method, lower end, upper end, gap) a column, its number upright beside it in the same colour.

    A column holds one bracket and one number, so nothing can overlap, whatever the values are.
    """
    ax.set(xlim=(0, max(len(brackets), 1)), xticks=[])
    ax.axis("off")
    low, high = ax.get_ylim()
    for column, (method, lower, upper, gap) in enumerate(brackets):
        colour, x = COLOURS[method], column + 0.22
        ends = [x - 0.14, x, x, x - 0.14], [lower, lower, upper, upper]
        ax.plot(*ends, color=colour, lw=1.6, solid_joinstyle="miter")
        text = number(gap) if unit_digits is None else f"{gap:.{unit_digits}f}"
        # Half the number's height in data units at most a sixth of the panel: kept inside, however low the bracket.
        middle = np.clip((lower + upper) / 2, low + (high - low) / 9, high - (high - low) / 9)
        look = {"rotation": 90, "ha": "left", "va": "center", "fontsize": 9.5, "weight": "bold"}
        ax.text(x + 0.14, middle, text, color=colour, **look)


def _end(curves: pd.DataFrame, method: str, quantity: str) -> float:
    """Return the mean over seeds of a quantity at the last epoch, NaN where there is none."""
    rows = _points(curves, method, quantity)
    return float(rows[rows["effective_epoch"] == rows["effective_epoch"].max()]["value"].mean())


def draw_panel(
    ax: Axes,
    strip: Axes,
    curves: pd.DataFrame,
    panel: Panel,
    gaps: pd.DataFrame | None = None,
    paper: pd.DataFrame | None = None,
    handles: Sequence[Line2D] = (),
) -> None:
    """Draw a panel's curves on ``ax`` and its brackets on ``strip``; numbers are the means of ``gaps`` where given.

    ``handles`` join the panel's legend of line styles.
    """
    if paper is not None:  # a little further than ours, which a thousand epochs would squeeze into a corner
        paper = paper[paper["effective_epoch"] <= FURTHER * curves["effective_epoch"].max()]
    pair = (panel.upper, panel.lower)
    quantities = tuple(name for name, _, _ in pair)
    for method in known_methods(curves):
        if paper is not None:
            for name, style, _ in pair:
                for artist in draw_curve(ax, paper, method, name, style):
                    artist.set(alpha=0.35, linewidth=0.9, zorder=1)
        for name, style, _ in pair:
            draw_curve(ax, curves, method, name, style)
    shown = curves if paper is None else pd.concat([curves, paper], ignore_index=True)
    ax.set_ylim(*robust_limits(shown, quantities))
    ax.set_xlim(0, float(shown["effective_epoch"].max()))
    brackets = []
    for method in known_methods(curves):
        upper, lower = (_end(curves, method, name) for name in quantities)
        gap = upper - lower
        if gaps is not None and panel.gap in gaps:
            gap = float(gaps[gaps["method"] == method][panel.gap].mean())
        if np.isfinite([upper, lower, gap]).all():
            brackets.append((method, lower, upper, gap))
    strip.set_ylim(*ax.get_ylim())
    draw_brackets(strip, brackets, 2 if panel.ylabel == "MS-SSIM" else None)
    styles = [Line2D([], [], color=GREY, ls=style, lw=1.5, label=label) for _, style, label in pair]
    style_legend(ax, [*styles, *handles])
    ax.set_title(panel.title, pad=22)
    ax.set(xlabel="effective epoch", ylabel=panel.ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if panel.ylabel == "MS-SSIM":
        ax.yaxis.set_major_locator(MaxNLocator(6))
    else:
        nats(ax)


def three_gaps_figure(
    curves: pd.DataFrame,
    gaps: pd.DataFrame,
    *,
    paper: pd.DataFrame | None = None,
    labels: Mapping[str, str] = LABELS,
    **frame,
) -> ReportFigure:
    """Return the layout of Figs. 2, 10-12 for one setting: generalization, amortization, robustness, gap brackets.

    ``paper`` (:func:`~vaelib.report.reference.paper_curves` of the same setting) is drawn thin and faint beneath;
    ``labels`` are the legend's names of the methods.
    Panels without data are left out. Raises ValueError where the tables hold several settings or no curve.
    """
    present = set(one_setting(curves).dropna(subset="value")["quantity"])
    panels = [panel for panel in THREE_GAPS if {panel.upper[0], panel.lower[0]} <= present]
    if not panels:
        raise ValueError("curves holds no pair of quantities to draw")
    with mpl.rc_context(fname=STYLE):
        methods = known_methods(curves)
        handles = series_handles(methods, labels)
        fig, pairs = canvas(len(panels), handles, brackets=len(methods), **frame)
        for panel, (ax, strip) in zip(panels, pairs, strict=True):
            draw_panel(ax, strip, curves, panel, gaps, paper)
    return fig


def own_distribution_figure(curves: pd.DataFrame, *, paper: pd.DataFrame | None = None, **frame) -> ReportFigure:
    """Return Fig. 13: the ELBO on the distribution really trained on (dotted) and on the test set, a panel a setting.

    The bracket's number is own - test: it is no generalization gap, and its sign can flip.
    """
    settings = [tuple(row) for row in curves[curves["quantity"] == "elbo_own"][SETTING].drop_duplicates().to_numpy()]
    if not settings:
        raise ValueError("curves holds no elbo_own")
    with mpl.rc_context(fname=STYLE):
        methods = known_methods(curves)
        fig, pairs = canvas(len(settings), series_handles(methods), brackets=len(methods), **frame)
        for one, (ax, strip) in zip(settings, pairs, strict=True):
            panel = replace(OWN, title=setting(*one) if len(settings) > 1 else OWN.title)
            ours, theirs = (None if table is None else of_setting(table, *one) for table in (curves, paper))
            draw_panel(ax, strip, ours, panel, None, theirs)
    return fig
