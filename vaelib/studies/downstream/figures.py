"""Figures of the downstream tasks: Figs. 4 (left) and 19 from tidy tables, Fig. 9 and samples from images.

Bars are means over seeds, whiskers run from the smallest to the largest seed. Figures of tables raise ValueError for a
table that is empty or holds several settings.
"""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ...report.canvas import (
    COLOURS,
    GREY,
    LABELS,
    STYLE,
    ReportFigure,
    blank,
    figure_legend,
    known_methods,
    one_setting,
    series_handles,
)
from ...report.pictures import draw_mosaic
from ...tasks import CLASSIFIERS

# The order of Fig. 19's panels.
PANELS = (
    *("spatter", "brightness", "jpeg_compression", "elastic_transform", "motion_blur", "zoom_blur", "impulse_noise"),
    *("speckle_noise", "saturate", "gaussian_noise", "shot_noise", "glass_blur", "fog", "gaussian_blur", "pixelate"),
    *("contrast", "defocus_blur", "snow", "frost", "overall"),
)
COLUMNS = 4


def draw_bars(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the accuracy of each classifier (a group) and method (a bar); ``rows`` has classifier, method, seed, accuracy."""
    methods = known_methods(rows)
    width = 0.8 / len(methods)
    for place, method in enumerate(methods):
        own = rows[rows["method"] == method].groupby("classifier")["accuracy"].agg(["mean", "min", "max"])
        own = own.reindex(list(CLASSIFIERS))
        x = np.arange(len(CLASSIFIERS)) + (place - (len(methods) - 1) / 2) * width
        ax.bar(x, own["mean"], 0.92 * width, color=COLOURS[method])
        ax.vlines(x, own["min"], own["max"], color="#222222", lw=0.9)


def corruptions_figure(corruptions: pd.DataFrame, overall: pd.DataFrame, **frame) -> ReportFigure:
    """Return Fig. 19: one panel a corruption, the last one with a corruption drawn at random for each image.

    Arguments:
        corruptions: corruption, classifier, method, seed, accuracy.
        overall: the same without corruption.
    """
    every = one_setting(pd.concat([corruptions, overall.assign(corruption="overall")], ignore_index=True))
    top = 1.06 * float(every["accuracy"].max()) or 1.0
    with mpl.rc_context(fname=STYLE):
        fig, below = blank(10.4, 10.6, wrap=180, grows=False, **frame)
        grid = fig.subplots(len(PANELS) // COLUMNS, COLUMNS, sharex=True, sharey=True)
        for name, ax in zip(PANELS, grid.flat, strict=True):
            rows = every[every["corruption"] == name]
            if rows.empty:
                look = {"ha": "center", "va": "center", "transform": ax.transAxes, "color": GREY}
                ax.text(0.5, 0.5, "not made: its package\nis not installed", **look)
            else:
                draw_bars(ax, rows)
            ax.set_title(name.replace("_", " ").title().replace("Jpeg", "JPEG"), fontsize=10)
            ax.set(ylim=(0, top), xticks=range(len(CLASSIFIERS)), xticklabels=CLASSIFIERS)
            ax.yaxis.set_major_locator(MaxNLocator(4))
        for ax in grid[:, 0]:
            ax.set_ylabel("accuracy")
        place = {"left": 0.06, "right": 0.99, "bottom": (0.36 + below) / 10.6, "top": 1 - 0.9 / 10.6}
        fig.subplots_adjust(**place, hspace=0.3, wspace=0.06)
        handles = series_handles(known_methods(every), markers={})
        figure_legend(fig, handles, len(handles))
    return fig


def changes(corruptions: pd.DataFrame) -> pd.DataFrame:
    """Return each method's accuracy minus normal training's, paired by corruption and seed, in the column ``change``."""
    keys = ["corruption", "classifier", "seed"]
    normal = corruptions[corruptions["method"] == "normal"].set_index(keys)["accuracy"]
    others = corruptions[corruptions["method"] != "normal"]
    before = normal.reindex(pd.MultiIndex.from_frame(others[keys])).to_numpy()
    return others.assign(change=others["accuracy"].to_numpy() - before)


def _violin(ax: Axes, x: float, values: np.ndarray, colour: str, width: float) -> None:
    """Draw one violin, its points (moved aside by a fixed pattern, so that a redraw is the same) and its mean."""
    if len(values) > 1 and np.ptp(values) > 0:
        (body,) = ax.violinplot([values], [x], widths=width, showextrema=False)["bodies"]
        body.set(facecolor=colour, edgecolor=colour, alpha=0.35)
    aside = 0.3 * width * (np.arange(len(values)) * 0.618 % 1 - 0.5)
    ax.plot(x + aside, values, ".", color=colour, ms=2.5, alpha=0.7, mew=0)
    ax.hlines(values.mean(), x - 0.32 * width, x + 0.32 * width, color=colour, lw=2.4)
    # Beside the bar, so that it covers no point.
    text = f"{values.mean():+z.3f}".replace("-", "−")
    ax.annotate(text, (x, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", color=colour, fontsize=8)


def violins_figure(corruptions: pd.DataFrame, *, paper: pd.DataFrame | None = None, **frame) -> ReportFigure:
    """Return Fig. 4 (left): changes in accuracy over normal training, a point a corruption and seed; numbers are means.

    ``paper`` (:func:`~vaelib.studies.downstream.paper.paper_changes`) marks the paper's means with diamonds.
    """
    found = changes(one_setting(corruptions))
    methods = known_methods(found)
    with mpl.rc_context(fname=STYLE):
        fig, below = blank(7.4, 4.5, wrap=125, grows=False, **frame)
        ax = fig.add_axes((0.13, (0.62 + below) / 4.5, 0.855, 2.75 / 4.5))
        ax.axhline(0, color=COLOURS["normal"], lw=1.2, zorder=1)
        width = 0.84 / len(methods)
        for group, classifier in enumerate(CLASSIFIERS):
            for place, method in enumerate(methods):
                x = group + (place - (len(methods) - 1) / 2) * width
                rows = found[(found["classifier"] == classifier) & (found["method"] == method)]
                _violin(ax, x, rows["change"].to_numpy(), COLOURS[method], 0.9 * width)
                if paper is not None:
                    theirs = paper[(paper["classifier"] == classifier) & (paper["method"] == method)]["change"]
                    ax.plot([x] * len(theirs), theirs, "D", color=COLOURS[method], mfc="white", ms=5, zorder=4)
        ax.set_xticks(range(len(CLASSIFIERS)), CLASSIFIERS)
        ax.set(xlim=(-0.5, len(CLASSIFIERS) - 0.5), xlabel="classifier on the posterior means of corrupted images")
        ax.set_ylabel("accuracy − that of\nnormal training")
        handles = series_handles(["normal", *methods], LABELS | {"normal": "Normal training (0)"}, {})
        figure_legend(fig, handles, len(handles))
    return fig


def reconstructions_figure(
    images: Tensor, rows: Mapping[str, Mapping[str, Tensor]], captions: Mapping[tuple[str, str], str], **frame
) -> ReportFigure:
    """Return Fig. 9: nine images, and beside them what each method makes of them, one row a kind of reconstruction.

    Arguments:
        images: (9, C, H, W) in [0, 1].
        rows: kind → method → images; captions: (kind, method) → text below a block.
    """
    methods = [method for method in LABELS if method in next(iter(rows.values()))]
    side, gap, left = 1.66, 0.1, 0.95
    size = (left + (len(methods) + 1) * (side + gap), 0.12 + len(rows) * (side + 0.27) + 0.65)
    with mpl.rc_context(fname=STYLE):
        fig, _ = blank(*size, wrap=165, **frame)
        size = fig.get_size_inches()
        for line, (kind, blocks) in enumerate(rows.items()):
            y = size[1] - 0.65 - line * (side + 0.27) - side
            fig.text(0.12 / size[0], (y + side / 2) / size[1], kind, va="center", fontsize=9)
            for column, method in enumerate(["", *methods]):
                x = left + column * (side + gap)
                ax = fig.box(x, y, side, side)
                draw_mosaic(ax, images if not method else blocks[method], 3)
                below = captions.get((kind, method), "")
                ax.text(0.5, -0.02, below, transform=ax.transAxes, ha="center", va="top", fontsize=8, color=GREY)
                if line == 0:
                    ax.set_title(
                        LABELS.get(method, "Test images"),
                        fontsize=9.5,
                        color=COLOURS.get(method, "black"),
                        loc="center",
                    )
    return fig


def samples_figure(rows: Mapping[str, Tensor], **frame) -> ReportFigure:
    """Return a row of images from each method's prior: method → (n, C, H, W) in [0, 1]."""
    methods = [method for method in LABELS if method in rows]
    count = len(rows[methods[0]])
    side, left = 0.78, 1.45
    with mpl.rc_context(fname=STYLE):
        fig, _ = blank(left + count * side + 0.1, 0.2 + len(methods) * (side + 0.05) + 0.45, wrap=165, **frame)
        for line, method in enumerate(methods):
            y = fig.get_figheight() - 0.45 - (line + 1) * (side + 0.05)
            ax = fig.box(left, y, count * side, side)
            draw_mosaic(ax, rows[method], count)
            look = {"ha": "right", "va": "center", "color": COLOURS[method], "fontsize": 9.5, "weight": "bold"}
            ax.text(-0.01, 0.5, LABELS[method], transform=ax.transAxes, **look)
    return fig
