"""Figures of the attack and of MS-SSIM on 32 pixels, from tidy tables, and a strip of pictures.

Every figure of a table raises ValueError for one that is empty or holds several settings.
"""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ..gaps.similarity import VARIANTS
from .canvas import (
    COLOURS,
    GREY,
    LABELS,
    MARKERS,
    STYLE,
    ReportFigure,
    canvas,
    frame_sheet,
    series_handles,
    style_legend,
)
from .plotting import known_methods
from .sweeps import one_setting

DASHES = {"raw": "-", "sign": "--"}
KINDS = {"attacked inputs": ".", "reconstructions": "x", "clean reconstructions": "+"}


def _lines(ax: Axes, rows: pd.DataFrame, x: str, y: str, xlabel: str, ylabel: str, title: str) -> None:
    """Draw ``y`` over ``x``, a line a method and gradient, with a band of one standard error where it is known."""
    for (method, gradient), own in rows.groupby(["method", "gradient"], sort=False):
        own = own.sort_values(x)
        look = {"color": COLOURS[method], "ls": DASHES[gradient], "lw": 1.5}
        ax.plot(own[x], own[y], marker=MARKERS[method], ms=4, **look)
        if f"{y}_se" in own and gradient == "raw":
            low, high = own[y] - own[f"{y}_se"], own[y] + own[f"{y}_se"]
            ax.fill_between(own[x], low, high, color=COLOURS[method], alpha=0.14, lw=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_title(title, pad=22)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=x in ("steps", "restarts")))


def strength_figure(
    table: pd.DataFrame, *, steps: int, title_note: str, footer: str = "", stamp: str | None = None
) -> ReportFigure:
    """Return what an attack reaches: SKL and G_r over steps, G_r over δ, and of the worst of so many restarts.

    Arguments:
        table: :func:`~vaelib.report.attacks.attack_strength`.
        steps: of the protocol, Table 2's n_ε, marked by a dotted line.
    """
    rows = one_setting(table)
    whole = rows[rows["restarts"] == rows["of_restarts"]]
    course, over_radius = whole[whole["protocol"]], whole[whole["steps"] == steps]
    worst = rows[rows["protocol"] & (rows["steps"] == steps)]
    radius = float(course["radius"].iloc[0])
    with mpl.rc_context(fname=STYLE):
        handles = series_handles(known_methods(rows))
        fig, pairs = canvas(4, title_note, handles, footer, stamp, axes_width=3, across=2)
        axes = [ax for ax, _ in pairs]
        rest = course[course["steps"] > 0]
        _lines(axes[0], rest, "steps", "skl", "steps", "SKL (nats)", "What is maximised")
        axes[0].set_yscale("log")
        _lines(axes[1], course, "steps", "gap", "steps", "MS-SSIM lost", f"$G_r$ over steps, δ = {radius:g}")
        _lines(axes[2], over_radius, "radius", "gap", "δ", "MS-SSIM lost", f"$G_r$ over δ, {steps} steps")
        _lines(axes[3], worst, "restarts", "gap_worst", "restarts", "MS-SSIM lost", "$G_r$, worst restart")
        for ax, place in zip(axes[:3], (steps, steps, radius), strict=True):
            ax.axvline(place, color=GREY, lw=1, ls=":")
        styles = [Line2D([], [], color=GREY, ls=dash, lw=1.5, label=name) for name, dash in DASHES.items()]
        for ax in axes:
            style_legend(ax, styles)
    return fig


def spread_figure(table: pd.DataFrame, *, title_note: str, footer: str = "", stamp: str | None = None) -> ReportFigure:
    """Return the variants of MS-SSIM against the first one, a point a pair of images, the same pairs in both panels."""
    wide = one_setting(table).pivot_table(index=["method", "image", "pair"], columns="variant", values="value")
    wide = wide.reset_index()
    first, *others = VARIANTS
    with mpl.rc_context(fname=STYLE):
        marks = [Line2D([], [], ls="", marker=m, color=GREY, ms=5, label=kind) for kind, m in KINDS.items()]
        handles = [*series_handles(known_methods(wide), markers={}), *marks]
        fig, pairs = canvas(len(others), title_note, handles, footer, stamp, axes_width=3.3)
        low = float(table["value"].min())
        for other, (ax, _) in zip(others, pairs, strict=True):
            ax.plot([low, 1], [low, 1], color=GREY, lw=1, zorder=1)
            for method in known_methods(wide):
                for kind, marker in KINDS.items():
                    own = wide[(wide["method"] == method) & (wide["pair"] == kind)]
                    ax.plot(own[first], own[other], marker, color=COLOURS[method], ms=4, mew=0.9, alpha=0.6, ls="")
            ax.set(xlabel=first, ylabel=other, xlim=(low - 0.02, 1.01), ylim=(low - 0.02, 1.01))
            ax.set_title(f"MS-SSIM: {other}")
    return fig


def spread_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, by kind of pair, each variant's mean, and the mean and largest difference between variants on one pair."""
    wide = table.pivot_table(index=["pair", "method", "image"], columns="variant", values="value")[list(VARIANTS)]
    spread = wide.max(axis=1) - wide.min(axis=1)
    groups = spread.groupby("pair")
    found = wide.groupby("pair").mean().assign(mean_spread=groups.mean(), largest_spread=groups.max())
    return found.reindex(list(KINDS)).rename(columns=lambda name: name.replace("_spread", " spread"))


def strip_figure(
    rows: Mapping[str, tuple[Tensor, Tensor]],
    captions: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    heads: Sequence[str],
    *,
    title_note: str,
    footer: str = "",
    stamp: str | None = None,
) -> ReportFigure:
    """Return one attack as pictures: for each method a row of inputs and, below, one of their reconstructions.

    Arguments:
        rows: method → (inputs, reconstructions), each (n, C, H, W) in [0, 1].
        captions: the same with a text below each picture; heads: n texts above the columns.
    """
    count, side, left, line = len(heads), 0.98, 1.45, 1.16
    lines = textwrap.wrap(footer, int((left + count * (side + 0.06)) / 0.057))
    bottom = 0.2 + 0.14 * len(lines)
    size = (left + count * (side + 0.06) + 0.1, bottom + 2 * len(rows) * line + 0.65)
    with mpl.rc_context(fname=STYLE):
        fig = ReportFigure(figsize=size)
        for number, (method, images) in enumerate(rows.items()):
            for half, (name, kind) in enumerate(zip(("input", "reconstruction"), images, strict=True)):
                y = size[1] - 0.65 - (2 * number + half + 1) * line + 0.18
                label, look = f"{LABELS[method]}\n{name}", {"ha": "right", "va": "center", "fontsize": 9}
                fig.text((left - 0.1) / size[0], (y + side / 2) / size[1], label, color=COLOURS[method], **look)
                for column in range(count):
                    x = left + column * (side + 0.06)
                    ax = fig.add_axes((x / size[0], y / size[1], side / size[0], side / size[1]))
                    ax.imshow(kind[column].permute(1, 2, 0).clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
                    ax.set_axis_off()
                    text = captions[method][half][column]
                    ax.text(0.5, -0.03, text, transform=ax.transAxes, ha="center", va="top", fontsize=7.5, color=GREY)
                    if number == half == 0:
                        ax.set_title(heads[column], fontsize=9, loc="center", weight="normal")
        frame_sheet(fig, title_note, [], 1, lines, stamp)
    return fig
