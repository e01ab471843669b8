"""Figures of the teacher's samples: Fig. 17 from images, Fig. 18 and the audit from tidy tables.

Figures of tables raise ValueError for a table that is empty or holds several settings.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter
from torch import Tensor

from ...report.canvas import COLOURS, GREY, STYLE, ReportFigure, blank, canvas, one_setting, spread_ticks
from ...report.pictures import draw_mosaic

REAL, SAMPLES, CONTROL = COLOURS["normal"], COLOURS["dmaapx"], COLOURS["held_out"]
STRIP = ("sample", "nearest in D_train", "nearest in D_test")


def samples_figure(
    real: Tensor, samples: Tensor, strip: Mapping[str, Tensor], distances: Mapping[str, Sequence[float]], **frame
) -> ReportFigure:
    """Return Fig. 17: real images beside samples, and below the samples nearest to D_train with their neighbours.

    Arguments:
        real, samples: as many of each, a multiple of 12 or fewer, (n, C, H, W) in [0, 1].
        strip: the rows of :data:`STRIP`, (m, C, H, W) in [0, 1]; distances: row → a number under each image.
    """
    columns, count = min(12, len(real)), len(strip[STRIP[0]])
    side, gap, left = 4.9, 0.3, 0.12
    rows = len(real) // columns
    grid, cell = side * rows / columns, (2 * side + gap - 1.5) / count
    strip_height = len(STRIP) * (cell + 0.17)
    with mpl.rc_context(fname=STYLE):
        fig, _ = blank(2 * side + gap + 2 * left, 0.16 + strip_height + 0.42 + grid + 0.72, wrap=168, **frame)
        size = fig.get_size_inches()
        y = size[1] - 0.72 - grid
        for images, x, name, colour in (
            (real, left, "Test images", REAL),
            (samples, left + side + gap, "Samples of the diffusion model", SAMPLES),
        ):
            ax = fig.box(x, y, side, grid)
            draw_mosaic(ax, images, columns)
            ax.set_title(name, fontsize=10, color=colour, loc="left", pad=3)
        heading = "The samples nearest to a training image (below: Euclidean distance, pixels in [0, 1])"
        fig.text(left / size[0], (y - 0.14) / size[1], heading, va="top", fontsize=10)
        for line, name in enumerate(STRIP):
            bottom = y - 0.4 - (line + 1) * (cell + 0.17) + 0.17
            ax = fig.box(left + 1.5, bottom, count * cell, cell)
            draw_mosaic(ax, strip[name], count)
            ax.text(-0.01, 0.5, name, transform=ax.transAxes, ha="right", va="center", fontsize=9)
            for i, number in enumerate(distances.get(name, ())):
                place = {"transform": ax.transAxes, "ha": "center", "va": "top", "fontsize": 7.5, "color": GREY}
                ax.text((i + 0.5) / count, -0.02, f"{number:.2f}", **place)
    return fig


def c2st_figure(c2st: pd.DataFrame, *, paper: pd.DataFrame | None = None, **frame) -> ReportFigure:
    """Return Fig. 18: accuracy of telling samples from real images over the teacher's share of D_train.

    ``paper`` (share, accuracy) is drawn thin and faint beneath.
    """
    one_setting(c2st)
    taught, control = (c2st[c2st["series"] == name] for name in ("teacher", "real"))
    groups = taught.groupby("x")
    stats = groups["accuracy"].agg(["mean", "std"]).fillna(0.0)
    handles = [
        Line2D([], [], color=SAMPLES, lw=3, label="samples against real images"),
        Line2D([], [], color=CONTROL, lw=3, label="real against real images"),
        Patch(color=GREY, alpha=0.25, lw=0, label="95 % of label permutations"),
    ]
    with mpl.rc_context(fname=STYLE):
        fig, [(ax, _)] = canvas(1, handles, axes_width=5.6, **frame)
        ax.axhspan(c2st["null_low"].min(), c2st["null_high"].max(), color=GREY, alpha=0.25, lw=0)
        ax.axhline(0.5, color=GREY, lw=0.8)
        if paper is not None:
            ax.plot(paper["share"], paper["accuracy"], "o-", color=SAMPLES, alpha=0.35, lw=0.9, ms=2)
        if len(control):
            ax.axhline(control["accuracy"].mean(), color=CONTROL, lw=1.4, ls="--")
            ax.plot([1.02] * len(control), control["accuracy"], "o", color=CONTROL, ms=3.5, clip_on=False,
                    transform=ax.get_yaxis_transform())  # fmt: skip
        ax.errorbar(stats.index, stats["mean"], 1.96 * stats["std"], fmt="o-", color=SAMPLES, ms=5, capsize=3)
        ax.plot(taught["x"], taught["accuracy"], ".", color=SAMPLES, ms=4, alpha=0.5)
        ax.set(xlabel="images the diffusion model was trained on (% of N)", ylabel="accuracy on held-out images")
        ax.set_xlim(min(0, stats.index.min()), 104)
        ax.set_ylim(min(0.44, c2st["null_low"].min() - 0.02, c2st["accuracy"].min() - 0.02), 1.02)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.yaxis.set_major_locator(MultipleLocator(0.1))
        ax.set_title("Can a network tell the samples from real images?", pad=8)
        spread_ticks(ax, sorted(stats.index))
    return fig


def _distances(ax: Axes, distances: Mapping[str, np.ndarray]) -> None:
    """Draw the distributions of distances to the nearest training image."""
    top = max(float(np.quantile(values, 0.998)) for values in distances.values())
    bins = np.linspace(0, top, 41)
    for (name, values), colour in zip(distances.items(), (REAL, SAMPLES), strict=True):
        weights = np.full(len(values), 1 / len(values))
        ax.hist(values, bins, weights=weights, histtype="stepfilled", color=colour, alpha=0.22)
        ax.hist(values, bins, weights=weights, histtype="step", color=colour, lw=1.5, label=name)
    ax.set(xlabel="distance to the nearest training image", ylabel="share of images", xlim=(0, top))
    ax.set_title("Copies of D_train?")


def _classes(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the share of each predicted class among real images and samples."""
    found = rows[rows["quantity"].str.match(r"class_\d")]
    places = found["quantity"].str.removeprefix("class_").astype(int)
    for kind, shift, colour in (("real", -0.2, REAL), ("teacher", 0.2, SAMPLES)):
        own = found["images"] == kind
        ax.bar(places[own] + shift, found["value"][own], 0.38, color=colour)
    ax.set(xlabel="class, as the classifier sees it", ylabel="share of images")
    ax.set_title("All classes?")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _shares(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw precision, recall and the shares of extreme pixels of real images and samples."""
    names = {
        "proxy_precision": "precision",
        "proxy_recall": "recall",
        "pixels_0": "pixels\n= 0",
        "pixels_255": "pixels\n= 255",
    }
    values = rows.set_index(["images", "quantity"])["value"]
    for kind, shift, colour in (("real", -0.2, REAL), ("teacher", 0.2, SAMPLES)):
        heights = [values.get((kind, name), np.nan) for name in names]
        ax.bar(np.arange(len(names)) + shift, heights, 0.38, color=colour)
        for place, height in enumerate(heights):
            text = f"{height:.0%}" if height >= 0.005 or height == 0 else "<1%"
            beside = place + 1.15 * shift  # two labels of 100% side by side are wider than their bars
            ax.annotate(text, (beside, height), (0, 1), textcoords="offset points", ha="center", fontsize=7.5)
    ax.set(ylabel="share", ylim=(0, 1.12))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xticks(range(len(names)), list(names.values()), fontsize=8.5)
    ax.set_title("Good? Complete? Clean?")


def audit_figure(rows: pd.DataFrame, distances: Mapping[str, np.ndarray], **frame) -> ReportFigure:
    """Return the audit's three panels: distances to D_train, predicted classes, precision, recall and extreme pixels.

    Arguments:
        rows: the table ``teacher_sheet`` of one setting.
        distances: real and synthetic images' distances to the nearest training image, in this order.
    """
    one_setting(rows)
    names = ("test images", "samples of the diffusion model")
    handles = [
        Line2D([], [], color=colour, lw=3, label=name) for name, colour in zip(names, (REAL, SAMPLES), strict=True)
    ]
    with mpl.rc_context(fname=STYLE):
        fig, pairs = canvas(3, handles, **frame)
        _distances(pairs[0][0], distances)
        _classes(pairs[1][0], rows)
        _shares(pairs[2][0], rows)
    return fig
