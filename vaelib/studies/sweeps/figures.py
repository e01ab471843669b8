"""Figures of the sweeps over training data and sizes (Figs. 4 right, 5 to 8, 14 to 16, early stopping), from tidy tables.

Dashed is the training set, solid the test set. Lines are means over seeds, bands run from the smallest to the largest
seed. ``paper``, a table of the same kind, is drawn thin and faint beneath. Colours are training methods; over nc (Fig. 7)
markers and lightness are mz, and DMaaPx is hollow. Every figure raises ValueError for a table that is empty or holds several
settings.
"""

import itertools
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter

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
from ...training.distributions import PAIR
from ..three_gaps.figures import THREE_GAPS, draw_panel, three_gaps_figure

SHAPES, HOLLOW = ("o", "s", "^", "D", "v", "P"), "dmaapx"  # markers of mz; of one method they are hollow
CYAN, BROWN = "#17A2B8", "#A6611A"


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
    mark: tuple[float, str],
    handles: Sequence[Line2D] = (),
    *,
    paper: pd.DataFrame | None = None,
    **frame,
) -> tuple[ReportFigure, Axes, Axes]:
    """Return one panel of ELBOs over effective epochs, with the gaps as brackets: Fig. 2 (left) for a sweep's series.

    ``mark`` is an epoch that a dotted line marks, and what the legend says of it.
    """
    one_setting(curves)
    series, (epoch, label) = [name for name in LABELS if name in set(curves["series"])], mark
    handles = [Line2D([], [], color=GREY, ls=":", lw=1.5, label=label), *handles]
    fig, [(ax, strip)] = canvas(1, series_handles(series), brackets=len(series), axes_width=5.2, **frame)
    draw_panel(ax, strip, _as_methods(curves), THREE_GAPS[0], _as_methods(rows), _as_methods(paper), handles)
    ax.set_title(title, pad=22)
    ax.axvline(epoch, ls=":", color=GREY, lw=1.3, zorder=1)
    return fig, ax, strip


def rha_figure(curves: pd.DataFrame, rows: pd.DataFrame, *, frozen: float, **frame) -> ReportFigure:
    """Return Fig. 5: Reverse Half Asleep on normal training and on DMaaPx; at ``frozen`` (whole epochs) decoders freeze."""
    frozen = int(frozen)
    # Before that the runs are one.
    curves = curves[~curves["series"].str.endswith("_rha") | (curves["effective_epoch"] >= frozen)]
    with mpl.rc_context(fname=STYLE):
        return _over_epochs(curves, rows, "Reverse Half Asleep (RHA)", (frozen, "decoder frozen"), **frame)[0]


def mollify_figure(curves: pd.DataFrame, rows: pd.DataFrame, *, clean: float, **frame) -> ReportFigure:
    """Return Fig. 14: noise that falls until epoch ``clean``; as in the paper the axis is pressed together below."""
    title, mark = "Adding scheduled noise (mollification)", (clean, "noise gone")
    with mpl.rc_context(fname=STYLE):
        settled = curves[curves["effective_epoch"] >= 0.05 * curves["effective_epoch"].max()]
        knee, high = robust_limits(curves, ("elbo_train", "elbo_test"), 0.6)
        lowest = float(settled["value"].min())
        pressed = knee - lowest > (high - knee) / 2  # a small overhang needs no other scale
        more = [Line2D([], [], color=GREY, lw=0.8, ls=(0, (1, 3)), label="scale changes")] if pressed else []
        fig, ax, strip = _over_epochs(curves, rows, title, mark, more, **frame)
        if pressed:
            ax.axhline(knee, ls=(0, (1, 3)), color=GREY, lw=0.8, zorder=1)
            press_below((ax, strip), knee, lowest, high)
        elif lowest < knee:
            ax.set_ylim(lowest - 0.03 * (high - lowest), high)
            strip.set_ylim(*ax.get_ylim())
    return fig


def press_below(axes: Sequence[Axes], knee: float, lowest: float, high: float) -> None:
    """Give what lies below ``knee`` 28 % of the axes' height, on a coarser linear scale, with ticks of its own."""
    factor = 0.28 / (1 - 0.28) * (high - knee) / (knee - lowest)

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


def early_stopping_figure(rows: pd.DataFrame, **frame) -> ReportFigure:
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
    looks = zip(mzs, colours, itertools.cycle(SHAPES), strict=False)
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
    for method in PAIR:
        for quantity, style in quantities:
            own = rows[rows["series"] == method]
            draw_line(ax, own, "mz", quantity, style, color=COLOURS[method], **({"marker": MARKERS[method]} | look))


def _along(ax: Axes, rows: pd.DataFrame, quantity: str, mzs: Sequence[int], **look) -> None:
    """Draw a quantity of both methods over nc, a line for each value of mz."""
    for method in PAIR:
        for i, mz in enumerate(mzs):
            own = rows[(rows["series"] == method) & (rows["mz"] == mz)]
            colour = shade(COLOURS[method], i, len(mzs))
            shape = {"color": colour, "marker": SHAPES[i % 6], "mfc": "white" if method == HOLLOW else colour}
            draw_line(ax, own, "nc", quantity, "-", **(shape | look))


def sizes_figure(rows: pd.DataFrame, *, paper: pd.DataFrame | None = None, **frame) -> ReportFigure:
    """Return Fig. 7: ELBOs (a) and gaps (b) over mz at the base nc, test ELBO (c) and gaps (d) over nc at several mz."""
    one_setting(rows)
    base, mzs = base_width(rows), swept(rows)
    series = [method for method in PAIR if method in set(rows["series"])]
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
    second = means[(means["nc"] == base) & means["mz"].between(mzs[0], mzs[-1])].sort_values("mz")
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
        marker = {} if faint else {"marker": SHAPES[i % 6], "ms": 4}
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
