"""Figures of the sweeps over training data (Figs. 4 right, 5, 6, 14, 15, 16 and early stopping), from tidy tables.

Dashed is the training set, solid the test set. Lines are means over seeds, bands run from the smallest to the largest
seed. ``paper``, a table of the same kind, is drawn thin and faint beneath. Every figure raises ValueError for a table
that is empty or holds several settings.
"""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

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
    draw_level,
    draw_line,
    nats,
    one_setting,
    robust_limits,
    series_handles,
    spread_ticks,
    style_legend,
)
from ..three_gaps.figures import THREE_GAPS, draw_panel, three_gaps_figure


def _draw_over_x(ax: Axes, rows: pd.DataFrame, series: Sequence[str], **look) -> None:
    """Draw train and test ELBO of ``series`` over x; series without x are horizontal lines."""
    for name in series:
        own, colour = rows[rows["series"] == name], COLOURS[name]
        for quantity, style, _ in (TRAIN, TEST):
            if quantity not in own:
                continue
            if own["x"].isna().all():
                draw_level(ax, own, quantity, style, colour, **{k: v for k, v in look.items() if k != "ms"})
            else:
                draw_line(ax, own, "x", quantity, style, color=colour, marker=MARKERS[name], **look)


def _over_x(
    rows: pd.DataFrame,
    title: str,
    xlabel: str,
    labels: dict[str, str],
    extra: Sequence[Line2D] = (),
    *,
    paper: pd.DataFrame | None = None,
    **frame,
) -> tuple[ReportFigure, Axes]:
    """Return one panel of ELBOs over x with its legends, the paper's beneath, the series in the order of LABELS."""
    one_setting(rows)
    series = [name for name in LABELS if name in set(rows["series"])]
    marked = {name: MARKERS[name] for name in set(rows.dropna(subset="x")["series"])}  # levels have no points
    handles = [*series_handles(series, LABELS | labels, marked), *extra]
    fig, [(ax, _)] = canvas(1, handles, axes_width=5.2, **frame)
    if paper is not None:
        _draw_over_x(ax, paper, [name for name in series if name in set(paper["series"])], **FAINT)
    _draw_over_x(ax, rows, series)
    style_legend(ax, STYLES)
    ax.set_title(title, pad=22)
    ax.set(xlabel=xlabel, ylabel=ELBO_LABEL)
    nats(ax)
    return fig, ax


def limited_k_figure(rows: pd.DataFrame, **frame) -> ReportFigure:
    """Return Fig. 4 (right): DMaaPx on k N samples, normal training as lines, k N held-out real images as a control."""
    labels = {"dmaapx": "DMaaPx (k × N samples)", "held_out": "k × N held-out real images"}
    with mpl.rc_context(fname=STYLE):
        fig, ax = _over_x(rows, "How many samples are enough?", "k (× N images)", labels, **frame)
        ax.set_xscale("log", base=2)
        spread_ticks(ax, sorted(rows["x"].dropna().unique()), 0.06)
    return fig


def mixing_figure(rows: pd.DataFrame, **frame) -> ReportFigure:
    """Return Fig. 15: x % real and 100 - x % synthetic images; the thin line is DMaaPx's test ELBO (0 %, plain)."""
    pure = rows[(rows["series"] == "no_augmentation") & (rows["x"] == 0)]
    line = Line2D([], [], color=COLOURS["dmaapx"], lw=1, label="DMaaPx's test ELBO")
    with mpl.rc_context(fname=STYLE):
        title, extra = "Mixing real and synthetic images", [line] if len(pure) else []
        fig, ax = _over_x(rows, title, "real images (% of the training images)", {}, extra, **frame)
        draw_level(ax, pure, "elbo_test", "-", COLOURS["dmaapx"], lw=1, zorder=1)
        spread_ticks(ax, sorted(rows["x"].dropna().unique()))
    return fig


def teacher_figure(rows: pd.DataFrame, **frame) -> ReportFigure:
    """Return Fig. 16: DMaaPx whose teacher saw a part of the training set, normal training on all of it as lines."""
    labels = {"normal": "Normal training (all images)"}
    with mpl.rc_context(fname=STYLE):
        title, xlabel = "How much data does the teacher need?", "images the diffusion model was trained on (% of N)"
        fig, ax = _over_x(rows, title, xlabel, labels, **frame)
        spread_ticks(ax, sorted(rows["x"].dropna().unique()))
    return fig


def _as_methods(table: pd.DataFrame | None, names: dict[str, str] | None = None) -> pd.DataFrame | None:
    """Return a sweep's table with its series in the column ``method``, where the panels of Fig. 2 look for them."""
    if table is None:
        return None
    return table.drop(columns="method", errors="ignore").assign(method=table["series"].replace(names or {}))


def _over_epochs(
    curves: pd.DataFrame,
    rows: pd.DataFrame,
    title: str,
    handles: Sequence[Line2D],
    *,
    paper: pd.DataFrame | None = None,
    **frame,
) -> tuple[ReportFigure, Axes, Axes]:
    """Return one panel of ELBOs over effective epochs, with the gaps as brackets: Fig. 2 (left) for a sweep's series."""
    one_setting(curves)
    series = [name for name in LABELS if name in set(curves["series"])]
    fig, [(ax, strip)] = canvas(1, series_handles(series), brackets=len(series), axes_width=5.2, **frame)
    draw_panel(ax, strip, _as_methods(curves), THREE_GAPS[0], _as_methods(rows), _as_methods(paper), handles)
    ax.set_title(title, pad=22)
    return fig, ax, strip


def rha_figure(curves: pd.DataFrame, rows: pd.DataFrame, *, frozen: float | None = None, **frame) -> ReportFigure:
    """Return Fig. 5: Reverse Half Asleep on normal training and on DMaaPx; at ``frozen`` (epochs) decoders freeze."""
    if frozen is not None:  # before that the runs are one
        curves = curves[~curves["series"].str.endswith("_rha") | (curves["effective_epoch"] >= frozen)]
    mark = [Line2D([], [], color=GREY, ls=":", label="decoder frozen")] if frozen is not None else []
    with mpl.rc_context(fname=STYLE):
        fig, ax, _ = _over_epochs(curves, rows, "Reverse Half Asleep (RHA)", mark, **frame)
        if frozen is not None:
            ax.axvline(frozen, ls=":", color=GREY, lw=1.3, zorder=1)
    return fig


def mollify_figure(curves: pd.DataFrame, rows: pd.DataFrame, *, clean: float | None = None, **frame) -> ReportFigure:
    """Return Fig. 14: noise that falls until epoch ``clean``; as in the paper the axis is pressed together below."""
    mark = [Line2D([], [], color=GREY, ls=":", label="noise gone")] if clean is not None else []
    with mpl.rc_context(fname=STYLE):
        settled = curves[curves["effective_epoch"] >= 0.05 * curves["effective_epoch"].max()]
        knee, high = robust_limits(curves, ("elbo_train", "elbo_test"), 0.6)
        lowest = float(settled["value"].min())
        pressed = knee - lowest > (high - knee) / 2  # a small overhang needs no other scale
        mark += [Line2D([], [], color=GREY, lw=0.8, ls=(0, (1, 3)), label="scale changes")] if pressed else []
        fig, ax, strip = _over_epochs(curves, rows, "Adding scheduled noise (mollification)", mark, **frame)
        if clean is not None:
            ax.axvline(clean, ls=":", color=GREY, lw=1.3, zorder=1)
        if pressed:
            ax.axhline(knee, ls=(0, (1, 3)), color=GREY, lw=0.8, zorder=1)
            press_below((ax, strip), knee, lowest, high)
        elif lowest < knee:
            ax.set_ylim(lowest - 0.03 * (high - lowest), high)
            strip.set_ylim(*ax.get_ylim())
    return fig


def press_below(axes: Sequence[Axes], knee: float, lowest: float, high: float, share: float = 0.28) -> None:
    """Give what lies below ``knee`` a ``share`` of the axes' height, on a coarser linear scale, with ticks of its own."""
    factor = share / (1 - share) * (high - knee) / (knee - lowest)

    def forward(y: np.ndarray) -> np.ndarray:
        return np.where(y >= knee, y, knee + (y - knee) * factor)

    def inverse(y: np.ndarray) -> np.ndarray:
        return np.where(y >= knee, y, knee + (y - knee) / factor)

    for ax in axes:
        ax.set_yscale("function", functions=(forward, inverse))
        ax.set_ylim(lowest, high)
    above = [tick for tick in MaxNLocator(5).tick_values(knee, high) if knee <= tick <= high]
    room = 0.08 * (high - knee)  # in the upper part's units, so that labels keep apart
    below = [y for y in MaxNLocator(3).tick_values(lowest, knee) if lowest <= y and forward(y) < min(above) - room]
    axes[0].yaxis.set_minor_locator(NullLocator())
    axes[0].set_yticks([*below, *above], [f"{tick:,.0f}".replace("-", "−") for tick in [*below, *above]])


def latents_figure(
    curves: pd.DataFrame, rows: pd.DataFrame, *, paper: pd.DataFrame | None = None, **frame
) -> ReportFigure:
    """Return Fig. 6: the three gaps of normal training with few and with more latents, in the layout of Fig. 2."""
    one_setting(rows)
    few, *_, more = sorted(set(rows["series"]), key=lambda name: int(name.removeprefix("mz")))
    names = {few: "few_latents", more: "more_latents"}
    labels = {key: f"mz = {name.removeprefix('mz')}" for name, key in names.items()}
    if paper is not None and set(paper["series"]) != set(names):
        paper = None  # of other sizes
    tables = [_as_methods(table, names) for table in (curves, rows, paper)]
    return three_gaps_figure(*tables[:2], paper=tables[2], labels=labels, **frame)


def early_stopping_figure(rows: pd.DataFrame, *, paper: None = None, **frame) -> ReportFigure:
    """Return each method's last test ELBO beside the best along its curve, an oracle, and beside DMaaPx's last."""
    one_setting(rows)
    rows = rows.drop_duplicates(["series", "seed"])
    series = [name for name in LABELS if name in set(rows["series"])]
    handles = [
        Line2D([], [], color=GREY, marker="o", ls="", label="last epoch"),
        Line2D([], [], color=GREY, marker="o", mfc="white", ls="", label="best epoch (an oracle)"),
        Line2D([], [], color=COLOURS["dmaapx"], lw=1, label="DMaaPx, last epoch"),
    ]
    with mpl.rc_context(fname=STYLE):
        fig, [(ax, _)] = canvas(1, handles, axes_width=5.2, **frame)
        box = ax.get_position()
        shift = 1.15 / fig.get_figwidth()  # room for the methods' names
        ax.set_position((box.x0 + shift, box.y0, box.width - shift, box.height))
        dmaapx = rows[rows["series"] == "dmaapx"]["elbo_test"]
        if len(dmaapx):
            ax.axvline(float(dmaapx.mean()), color=COLOURS["dmaapx"], lw=1, zorder=1)
        names = []
        for place, name in enumerate(series):
            own = rows[rows["series"] == name]
            last, best = own["elbo_test"], own["best_elbo_test"]
            ax.plot([last.mean(), best.mean()], [place, place], color=COLOURS[name], lw=1.2)
            for values, fill in ((last, COLOURS[name]), (best, "white")):
                ax.plot([values.min(), values.max()], [place, place], color=COLOURS[name], lw=4, alpha=0.3)
                ax.plot(values.mean(), place, "o", color=COLOURS[name], mfc=fill, zorder=3)
            epoch = own["best_epoch"].mean()
            names.append(f"{LABELS[name]}\nbest at epoch {epoch:,.0f}")
        ax.set_yticks(range(len(series)), names)
        ax.set_ylim(len(series) - 0.5, -0.5)
        ax.grid(axis="x")
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        ax.set(xlabel="test ELBO (nats per image)")
        ax.set_title("Would early stopping do?", pad=8)
    return fig
