"""Figures of the number of parameters (Figs. 7 and 8), from the table of the sweep over nc and mz.

Colours are training methods; over nc, markers and lightness are mz, and DMaaPx is hollow. ``paper``, a table of the same
kind, is drawn thin and faint beneath. Both figures raise ValueError for a table that is empty or holds several settings.
"""

import itertools
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from ...report.canvas import (
    COLOURS,
    ELBO_LABEL,
    FAINT,
    GREY,
    LABELS,
    MARKERS,
    STYLE,
    STYLES,
    TEST,
    TRAIN,
    ReportFigure,
    canvas,
    draw_line,
    nats,
    one_setting,
    series_handles,
    spread_ticks,
    style_legend,
)

SIZES, HOLLOW = ("o", "s", "^", "D", "v", "P"), "dmaapx"  # markers of mz; of one method they are hollow
CYAN, BROWN = "#17A2B8", "#A6611A"
METHODS = ("normal", "dmaapx")


def shade(colour: str, place: int, count: int) -> tuple[float, float, float]:
    """Return a colour made lighter for the first of ``count`` members of its family and darker for the last."""
    mix = 0.55 * (1 - place / max(count - 1, 1))  # share of white
    red, green, blue = to_rgb(colour)
    dark = 0.75 if place == count - 1 and count > 1 else 1.0
    return tuple(dark * ((1 - mix) * channel + mix) for channel in (red, green, blue))


def base_width(rows: pd.DataFrame) -> int:
    """Return the nc at which mz was swept: the one with the most values of mz, the larger of equals."""
    counts = rows.groupby("nc")["mz"].nunique()
    return int(counts[counts == counts.max()].index.max())


def swept(rows: pd.DataFrame) -> list[int]:
    """Return the values of mz at which nc was swept: those with two values of nc or more."""
    counts = rows.groupby("mz")["nc"].nunique()
    return [int(mz) for mz in counts[counts > 1].index]


def _markers(mzs: Sequence[int], colours: Sequence) -> list[Line2D]:
    """Return the legend's entries of the values of mz."""
    looks = zip(mzs, colours, itertools.cycle(SIZES), strict=False)
    return [Line2D([], [], color=colour, marker=m, ms=4, lw=1.2, label=f"{mz}") for mz, colour, m in looks]


def _gap_scale(ax: Axes, rows: pd.DataFrame) -> None:
    """Scale a panel of gaps: logarithmic if they span a decade, linear if not, and linear below 1 nat where they go."""
    low, high = rows["generalization_gap"].min(), rows["generalization_gap"].max()
    if low > 1 and high < 10 * low:
        nats(ax)
        return
    if low > 1:
        ax.set_yscale("log")
    else:
        ax.set_yscale("symlog", linthresh=1, linscale=0.5)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _across(ax: Axes, rows: pd.DataFrame, base: int, quantities: Sequence[tuple[str, str]], **look) -> None:
    """Draw quantities (name, line style) of both methods over mz at the base nc."""
    rows = rows[rows["nc"] == base]
    for method in METHODS:
        for quantity, style in quantities:
            own = rows[rows["series"] == method]
            draw_line(ax, own, "mz", quantity, style, color=COLOURS[method], **({"marker": MARKERS[method]} | look))


def _along(ax: Axes, rows: pd.DataFrame, quantity: str, mzs: Sequence[int], **look) -> None:
    """Draw a quantity of both methods over nc, a line for each value of mz."""
    for method in METHODS:
        for i, mz in enumerate(mzs):
            own = rows[(rows["series"] == method) & (rows["mz"] == mz)]
            colour = shade(COLOURS[method], i, len(mzs))
            shape = {"color": colour, "marker": SIZES[i % 6], "mfc": "white" if method == HOLLOW else colour}
            draw_line(ax, own, "nc", quantity, "-", **(shape | look))


def sizes_figure(rows: pd.DataFrame, *, paper: pd.DataFrame | None = None, **frame) -> ReportFigure:
    """Return Fig. 7: ELBOs (a) and gaps (b) over mz at the base nc, test ELBO (c) and gaps (d) over nc at several mz."""
    one_setting(rows)
    base, mzs = base_width(rows), swept(rows)
    series = [method for method in METHODS if method in set(rows["series"])]
    elbos, gaps = [TRAIN[:2], TEST[:2]], [("generalization_gap", "-")]
    with mpl.rc_context(fname=STYLE):
        handles = series_handles(series, LABELS | {HOLLOW: "DMaaPx (hollow in c and d)"})
        fig, pairs = canvas(4, handles, axes_width=3, across=2, **frame)
        a, b, c, d = (ax for ax, _ in pairs)
        for table, look in ((paper, FAINT), (rows, {})):
            if table is None:
                continue
            _across(a, table, base, elbos, **look)
            _across(b, table, base, gaps, **look)
            _along(c, table, "elbo_test", mzs, **look)
            _along(d, table, "generalization_gap", mzs, **look)
        _gap_scale(b, rows[rows["nc"] == base])
        for ax, title, ylabel in (
            (a, f"(a) ELBO at nc = {base}", ELBO_LABEL),
            (b, f"(b) Gap at nc = {base}", "generalization gap (nats per image)"),
            (c, "(c) Test ELBO", "test ELBO (nats per image)"),
            (d, "(d) Gap", "generalization gap (nats per image)"),
        ):
            name = "mz" if ax in (a, b) else "nc"
            ax.set_title(title, pad=22)
            ax.set(xlabel=f"{name} ({'latent' if name == 'mz' else 'internal'} channels)", ylabel=ylabel)
            ax.set_xscale("log", base=2)
            grid = rows[rows["nc"] == base] if name == "mz" else rows[rows["mz"].isin(mzs)]
            powers = [value for value in sorted(grid[name].unique()) if np.log2(value) % 1 == 0]
            spread_ticks(ax, powers or sorted(grid[name].unique()), 0.11)
            if ax is not b:
                nats(ax)
        style_legend(a, STYLES)
        for ax in (c, d):
            style_legend(ax, _markers(mzs, [shade(GREY, i, len(mzs)) for i in range(len(mzs))]), "mz =")
    return fig


def path(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the three phases of Sec. 5.7 for normal training, means over seeds, each starting where the last one ends.

    nc rises to the base network's at the smallest mz, then mz rises at that nc, then nc rises at the largest mz.
    """
    base, mzs = base_width(rows), swept(rows)
    means = rows[rows["series"] == "normal"].groupby(["nc", "mz"], as_index=False)[["parameters", "elbo_test"]].mean()
    first = means[(means["mz"] == mzs[0]) & (means["nc"] <= base)].sort_values("nc")
    second = means[(means["nc"] == base) & (means["mz"] >= mzs[0])].sort_values("mz")
    third = means[(means["mz"] == mzs[-1]) & (means["nc"] >= base)].sort_values("nc")
    return [first, second, third]


def _web(ax: Axes, rows: pd.DataFrame, mzs: Sequence[int], faint: bool = False) -> None:
    """Draw the negative test ELBO over the number of parameters along constant mz (cyan) and constant nc (brown)."""
    rows = rows[rows["series"] == "normal"].assign(loss=lambda table: -table["elbo_test"])
    means = rows.groupby(["nc", "mz"], as_index=False)[["parameters", "loss"]].mean()
    look = {"alpha": 0.3, "lw": 0.8, "zorder": 1} if faint else {"alpha": 0.75, "lw": 1.1, "zorder": 2}
    for _, line in means.groupby("nc"):
        ax.plot(line["parameters"], line["loss"], color=BROWN, **look)
    for i, mz in enumerate(mzs):
        line = means[means["mz"] == mz].sort_values("nc")
        marker = {} if faint else {"marker": SIZES[i % 6], "ms": 4}
        ax.plot(line["parameters"], line["loss"], color=CYAN, **look, **marker)
    if not faint and rows["seed"].nunique() > 1:
        ends = rows.groupby(["nc", "mz"]).agg(x=("parameters", "mean"), low=("loss", "min"), high=("loss", "max"))
        ax.vlines(ends["x"], ends["low"], ends["high"], color=GREY, lw=1, zorder=1)


def halfway(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return where a line first crosses the middle between its lowest and highest y."""
    level = (y.min() + y.max()) / 2
    at = next(i for i in range(len(y) - 1) if (y[i] - level) * (y[i + 1] - level) <= 0)
    share = (level - y[at]) / (y[at + 1] - y[at]) if y[at + 1] != y[at] else 0.5
    return float(x[at] ** (1 - share) * x[at + 1] ** share), float(level)


def path_figure(rows: pd.DataFrame, *, axis: str = "log", paper: pd.DataFrame | None = None, **frame) -> ReportFigure:
    """Return Fig. 8: negative test ELBO over the number of parameters, with the three phases of Sec. 5.7 numbered.

    ``axis`` is ``linear``, as in the paper, or ``log``, where the first phase can be seen.
    """
    one_setting(rows)
    if axis not in ("log", "linear"):
        raise ValueError(f"axis = {axis!r} is unknown; choose log or linear")
    if len(swept(rows)) < 2:
        raise ValueError("Fig. 8 needs nc swept at two values of mz or more")
    mzs = swept(rows)
    handles = [
        Line2D([], [], color=CYAN, lw=2, label="fixed mz, nc grows"),
        Line2D([], [], color=BROWN, lw=2, label="fixed nc, mz grows"),
        Line2D([], [], color="#f0c400", lw=6, alpha=0.55, label="path of Sec. 5.7"),
    ]
    with mpl.rc_context(fname=STYLE):
        fig, [(ax, _)] = canvas(1, handles, axes_width=5.2, **frame)
        if paper is not None:
            _web(ax, paper, mzs, faint=True)
        _web(ax, rows, mzs)
        ax.set_xscale(axis)
        for i, phase in enumerate(path(rows), start=1):
            x, y = phase["parameters"].to_numpy(), -phase["elbo_test"].to_numpy()
            ax.plot(x, y, color="#f0c400", lw=6, alpha=0.55, solid_capstyle="round", zorder=1.5)
            if len(x) > 1:
                bubble = {"boxstyle": "circle,pad=0.22", "fc": "#fff4bf", "ec": GREY, "lw": 0.7}
                place = {"ha": "center", "va": "center", "fontsize": 8.5, "zorder": 5}
                ax.text(*halfway(x, y), f"{i}", bbox=bubble, **place)
        if axis == "linear":
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        style_legend(ax, _markers(mzs, [CYAN] * len(mzs)), "mz =")
        ax.set_title("One axis of complexity after the other", pad=22)
        ax.set(xlabel="number of parameters |Θ|", ylabel="negative test ELBO (nats per image)")
        nats(ax)
    return fig
