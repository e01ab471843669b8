"""The sensitivity panel as a figure, and where a choice of protocol changes the order of the methods."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter
from torch import Tensor

from ...gaps.similarity import VARIANTS
from ...report.canvas import (
    COLOURS,
    GREY,
    LABELS,
    MARKERS,
    STYLE,
    ReportFigure,
    blank,
    canvas,
    figure_legend,
    known_methods,
    one_setting,
    series_handles,
    style_legend,
)
from ...report.escape import styled
from ...report.reference import GAPS
from ...runs import Experiment
from ..three_gaps.figures import THREE_GAPS
from .runs import left_out
from .tables import PROTOCOL

TITLES = {panel.gap: panel.title for panel in THREE_GAPS}
UNITS = {"generalization_gap": "nats per image", "amortization_gap": "nats per image", "robustness_gap": "MS-SSIM"}
MARKS = [
    Line2D([], [], ls="", marker="^", color="#222222", ms=6, label="order changes, clear of the seeds' scatter"),
    Line2D([], [], ls="", marker="^", color="#222222", mfc="white", ms=6, label="order changes, within it"),
]


def by_variant(table: pd.DataFrame, gap: str) -> dict[str, pd.DataFrame]:
    """Return a gap under each variant that was measured for it: seeds as rows, methods as columns.

    Where a variant was measured for some methods only, the others keep their value as configured, of the same seeds.
    """
    wide = {
        variant: rows.pivot(index="seed", columns="method", values=gap)
        for variant, rows in one_setting(table).dropna(subset=gap).groupby("variant", sort=False)
    }
    base = wide[PROTOCOL]
    return {variant: found.combine_first(base.loc[found.index]) for variant, found in wide.items()}


def _swaps(before: pd.DataFrame, after: pd.DataFrame) -> tuple[bool, bool]:
    """Return whether two methods change places, and whether some do by more than two standard errors both times."""
    changed = clear = False
    for place, one in enumerate(before.columns):
        for other in before.columns[place + 1 :]:
            pair = [table[one] - table[other] for table in (before, after)]
            if pair[0].mean() * pair[1].mean() < 0:
                changed = True
                clear |= all(len(d) > 1 and abs(d.mean()) > 2 * d.sem() for d in pair)
    return changed, clear


def orders(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a gap and variant: the ``order`` of the methods' means, smallest first, ``changed``, ``clear``.

    ``changed``: another order than as configured on the same seeds; ``clear``: two of the methods that change places are
    apart by more than two standard errors over seeds (paired) both before and after; one seed is never clear.
    """
    rows = []
    for gap in GAPS:
        found = by_variant(table, gap)
        for variant, values in found.items():
            changed, clear = _swaps(found[PROTOCOL].loc[values.index], values)
            order = " < ".join(LABELS[method] for method in values.mean().sort_values().index)
            about = {"gap": gap, "variant": variant, "seeds": len(values)}
            rows.append(about | {"order": order, "changed": changed, "clear": clear})
    return pd.DataFrame(rows)


def log_ticks(low: float, high: float) -> list[float]:
    """Return a few round numbers for a logarithmic scale: matplotlib takes nine a decade where it finds but one of its choice.

    >>> log_ticks(213, 930), log_ticks(80, 3_000), log_ticks(5, 20_000)
    ([300, 400, 600, 800], [100, 200, 500, 1000, 2000], [10, 100, 1000, 10000])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    for digits in ((1,), (1, 2, 5), (1, 2, 3, 4, 6, 8)):
        ticks = [digit * 10**decade for decade in decades for digit in digits if low <= digit * 10**decade <= high]
        if len(ticks) > 2:
            break
    return ticks


def draw_gap(ax: Axes, table: pd.DataFrame, gap: str, variants: Sequence[str]) -> None:
    """Draw a gap's panel: a row a variant, a point a method (mean over seeds) with its span, triangles where orders change."""
    found, methods = by_variant(table, gap), known_methods(table)
    marks = orders(table).set_index(["gap", "variant"])
    for method in methods:
        ax.axvline(float(found[PROTOCOL][method].mean()), color=COLOURS[method], lw=0.8, alpha=0.45, zorder=1)
    for y, variant in enumerate(variants):
        if variant not in found:
            look = {"ha": "center", "va": "center", "fontsize": 7.5, "color": "#999999"}
            ax.text(0.5, y, "not touched", transform=ax.get_yaxis_transform(), bbox={"fc": "white", "lw": 0}, **look)
            continue
        for place, method in enumerate(methods):
            own, lane = found[variant][method], y + 0.15 * (place - (len(methods) - 1) / 2)
            ax.hlines(lane, own.min(), own.max(), color=COLOURS[method], lw=1.2)
            ax.plot(own.mean(), lane, MARKERS[method], color=COLOURS[method], ms=5)
        changed, clear = marks.loc[(gap, variant), ["changed", "clear"]]
        if changed:
            look = {"color": "#222222", "mfc": "#222222" if clear else "white", "ms": 6, "clip_on": False}
            ax.plot(1.035, y, "^", transform=ax.get_yaxis_transform(), **look)
    positive = all((values > 0).all(axis=None) for values in found.values())
    low, high = ax.get_xlim()
    if positive and gap != "robustness_gap" and high > 4 * low > 0:
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ax.xaxis.set_major_locator(FixedLocator(log_ticks(low, high)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    else:  # a narrow range has no round numbers for a logarithmic scale; large numbers are wide
        ax.xaxis.set_major_locator(MaxNLocator(4 if max(abs(low), abs(high)) < 1e5 else 2))
        if gap != "robustness_gap":
            ax.xaxis.set_major_formatter("{x:,.10g}")
    ax.set(ylim=(len(variants) - 0.5, -0.5), xlabel=UNITS[gap])
    ax.set_title(TITLES[gap])
    ax.grid(visible=False)
    for y in np.arange(0.5, len(variants) - 1):
        ax.axhline(y, color="#e6e6e6", lw=0.7, zorder=0)


def sensitivity_figure(table: pd.DataFrame, **frame) -> ReportFigure:
    """Return the panel: rows are choices of protocol, columns the three gaps; the first row is the one in use.

    Raises ValueError for a table that is empty or holds several settings.
    """
    variants = list(dict.fromkeys(one_setting(table)["variant"]))
    tall, left, gap = 0.36 * len(variants), 2.3, 0.35
    with mpl.rc_context(fname=STYLE):
        fig, below = blank(11.2, 0.72 + tall + 0.92, **frame)
        width = (11.2 - left - 0.3) / 3 - gap
        for column, name in enumerate(GAPS):
            ax = fig.box(left + column * (width + gap), 0.72 + below, width, tall)
            draw_gap(ax, table, name, variants)
            ax.set_yticks(range(len(variants)), variants if column == 0 else [""] * len(variants))
            ax.tick_params(axis="y", length=0)
        handles = [*series_handles(known_methods(table)), *MARKS]
        figure_legend(fig, handles, len(handles))
    return fig


def floors_figure(table: pd.DataFrame, **frame) -> ReportFigure:
    """Return G_r from samples and from means of p(x|z), each beside its clean-sample floor (hollow).

    ``table`` holds the panel's rows "as configured" and of the other kind of reconstruction, with ``kind``: sample or mean.
    Raises ValueError for a table that is empty or holds several settings.
    """
    methods = known_methods(one_setting(table))
    shapes = {"sample": "o", "mean": "D"}
    with mpl.rc_context(fname=STYLE):
        fig, below = blank(6.9, 4.2, wrap=115, grows=False, **frame)
        bottom = (0.42 + below) / 4.2
        ax = fig.add_axes((0.1, bottom, 0.88, 1 - bottom - 1.0 / 4.2))
        for x, method in enumerate(methods):
            for aside, (kind, shape) in zip((-0.2, 0.2), shapes.items(), strict=True):
                own = table[(table["method"] == method) & (table["kind"] == kind)]
                for column, fill in (("robustness_gap", COLOURS[method]), ("clean_floor", "white")):
                    ax.vlines(x + aside, own[column].min(), own[column].max(), color=COLOURS[method], lw=1.2)
                    ax.plot(x + aside, own[column].mean(), shape, color=COLOURS[method], mfc=fill, ms=7)
        ax.set_xticks(range(len(methods)), [LABELS[method] for method in methods])
        ax.set(xlim=(-0.5, len(methods) - 0.5), ylabel="similarity lost (MS-SSIM)")
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
        words = {
            ("sample", GREY): "$G_r$, one sample of p(x|z)",
            ("mean", GREY): "$G_r$, mean E[x|z]",
            ("sample", "white"): "clean floor, sample",
            ("mean", "white"): "clean floor, mean",
        }
        handles = [
            Line2D([], [], ls="", marker=shapes[kind], color=GREY, mfc=fill, ms=7, label=text)
            for (kind, fill), text in words.items()
        ]
        figure_legend(fig, handles, 2)
    return fig


def changed_orders(table: pd.DataFrame) -> Any:
    """Return, for each gap, the order as configured and those of the variants that change it."""
    rows = orders(table)
    shown = rows[rows["changed"] | (rows["variant"] == PROTOCOL)].assign(gap=lambda found: found["gap"].map(TITLES))
    words = np.where(shown["variant"] == PROTOCOL, "", np.where(shown["clear"], "yes", "within the scatter"))
    shown = shown.assign(**{"order changes": words})[["gap", "variant", "seeds", "order", "order changes"]]
    left = {"text-align": "left"}
    return styled(shown).hide(axis="index").set_properties(subset=["gap", "variant", "order"], **left)


def not_run(experiment: Experiment) -> Any:
    """Return the named choices that have no row, with the reason."""
    rows = pd.DataFrame(left_out(experiment).items(), columns=["choice", "why it is not in the panel"])
    return styled(rows).hide(axis="index").set_properties(**{"text-align": "left"})


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


def strength_figure(table: pd.DataFrame, *, steps: int, **frame) -> ReportFigure:
    """Return what an attack reaches: SKL and G_r over steps, G_r over δ, and of the worst of so many restarts.

    Arguments:
        table: ``attack_strength`` of :func:`~vaelib.studies.sensitivity.tables.panel_tables`.
        steps: of the protocol, Table 2's n_ε, marked by a dotted line.
    """
    rows = one_setting(table)
    whole = rows[rows["restarts"] == rows["of_restarts"]]
    course, over_radius = whole[whole["protocol"]], whole[whole["steps"] == steps]
    worst = rows[rows["protocol"] & (rows["steps"] == steps)]
    radius = float(course["radius"].iloc[0])
    with mpl.rc_context(fname=STYLE):
        handles = series_handles(known_methods(rows))
        fig, pairs = canvas(4, handles, axes_width=3, across=2, **frame)
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


def spread_figure(table: pd.DataFrame, **frame) -> ReportFigure:
    """Return the variants of MS-SSIM against the first one, a point a pair of images, the same pairs in both panels."""
    wide = one_setting(table).pivot_table(index=["method", "image", "pair"], columns="variant", values="value")
    wide = wide.reset_index()
    first, *others = VARIANTS
    with mpl.rc_context(fname=STYLE):
        marks = [Line2D([], [], ls="", marker=m, color=GREY, ms=5, label=kind) for kind, m in KINDS.items()]
        handles = [*series_handles(known_methods(wide), markers={}), *marks]
        fig, pairs = canvas(len(others), handles, axes_width=3.3, **frame)
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
    **frame,
) -> ReportFigure:
    """Return one attack as pictures: for each method a row of inputs and, below, one of their reconstructions.

    Arguments:
        rows: method → (inputs, reconstructions), each (n, C, H, W) in [0, 1].
        captions: the same with a text below each picture; heads: n texts above the columns.
    """
    count, side, left, line = len(heads), 0.98, 1.45, 1.16
    width = left + count * (side + 0.06)
    with mpl.rc_context(fname=STYLE):
        fig, _ = blank(width + 0.1, 0.2 + 2 * len(rows) * line + 0.65, wrap=int(width / 0.057), **frame)
        size = fig.get_size_inches()
        for number, (method, images) in enumerate(rows.items()):
            for half, (name, kind) in enumerate(zip(("input", "reconstruction"), images, strict=True)):
                y = size[1] - 0.65 - (2 * number + half + 1) * line + 0.18
                label, look = f"{LABELS[method]}\n{name}", {"ha": "right", "va": "center", "fontsize": 9}
                fig.text((left - 0.1) / size[0], (y + side / 2) / size[1], label, color=COLOURS[method], **look)
                for column in range(count):
                    x = left + column * (side + 0.06)
                    ax = fig.box(x, y, side, side)
                    ax.imshow(kind[column].permute(1, 2, 0).clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
                    ax.set_axis_off()
                    text = captions[method][half][column]
                    ax.text(0.5, -0.03, text, transform=ax.transAxes, ha="center", va="top", fontsize=7.5, color=GREY)
                    if number == half == 0:
                        ax.set_title(heads[column], fontsize=9, loc="center", weight="normal")
    return fig
