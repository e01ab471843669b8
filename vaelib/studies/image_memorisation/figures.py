"""Per-image memorisation from its table: distributions, one method against the other, and the images themselves."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
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
    style_legend,
)
from ...report.pictures import draw_mosaic
from ...text import number
from ...training.distributions import PAIR
from .tables import rank_correlation

BOUNDS = {"memorisation": ("-", "best posterior $q^*$"), "memorisation_by_encoder": (":", "encoder's")}
STYLES = [Line2D([], [], color=GREY, ls=style, label=name) for style, name in BOUNDS.values()]
SHOWN = 12  # images a row


def over_repeats(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over repeats of every image: a row a method and image."""
    scores = table.groupby(["method", "image"], as_index=False)[list(BOUNDS)].mean()
    return scores.merge(table[["method", "image", "label"]].drop_duplicates(), on=["method", "image"])


def _scale(ax: Axes, axis: str, values: np.ndarray) -> None:
    """Make an axis logarithmic, beyond a scale of the data where signs differ, for M spreads over orders of magnitude."""
    rescale, shown = getattr(ax, f"set_{axis}scale"), getattr(ax, f"{axis}axis")
    if (values > 0).all():
        rescale("log")
    else:
        size = max(float(np.quantile(np.abs(values), 0.25)), 1.0)
        rescale("symlog", linthresh=10.0 ** np.floor(np.log10(size)), linscale=0.6)
        shown.set_minor_locator(mpl.ticker.NullLocator())
    shown.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: number(value, digits=0)))


def _distribution(ax: Axes, scores: pd.DataFrame) -> None:
    """Draw M of all images in order, from the least to the most remembered, by method and bound."""
    for method in known_methods(scores):
        own = scores[scores["method"] == method]
        for name, (style, _) in BOUNDS.items():
            values = np.sort(own[name].to_numpy())
            ax.plot((np.arange(len(values)) + 0.5) / len(values), values, style, color=COLOURS[method])
    if (scores[list(BOUNDS)] <= 0).any(axis=None):
        ax.axhline(0, color=GREY, lw=0.8, ls="--")
    _scale(ax, "y", scores[list(BOUNDS)].to_numpy().ravel())
    ax.set(xlabel="training images, in order of M", ylabel="memorisation M (nats)", xlim=(0, 1))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_title("How much is remembered of an image", pad=22)
    style_legend(ax, STYLES)


def _against(ax: Axes, scores: pd.DataFrame) -> None:
    """Draw M of every image under one method over M under the other."""
    pair = scores.pivot(index="image", columns="method", values="memorisation")
    if not set(PAIR) <= set(pair.columns):
        ax.text(0.5, 0.5, "one method alone", ha="center", va="center", transform=ax.transAxes, color=GREY)
        ax.set_axis_off()
        return
    ax.scatter(pair["normal"], pair["dmaapx"], s=7, color=COLOURS["dmaapx"], alpha=0.45, lw=0)
    for line, name in ((ax.axhline, "dmaapx"), (ax.axvline, "normal")):
        if (pair[name] <= 0).any():
            line(0, color=GREY, lw=0.8, ls="--")
    for axis, name in (("x", "normal"), ("y", "dmaapx")):
        _scale(ax, axis, pair[name].to_numpy())
    ax.set(xlabel="M under normal training (nats)", ylabel="M under DMaaPx (nats)")
    rho = rank_correlation(pair[[*PAIR]])
    ax.set_title(f"The same images? (rank correlation {number(rho)})", pad=22)


def extremes(scores: pd.DataFrame, method: str, count: int = SHOWN) -> pd.DataFrame:
    """Return the ``count`` images of which a method remembers most, then as many of which it remembers least."""
    own = scores[scores["method"] == method].sort_values("memorisation", ascending=False, kind="stable")
    return pd.concat([own.head(count), own.tail(count)])


def memorisation_figure(table: pd.DataFrame, images: Tensor, **frame) -> ReportFigure:
    """Return two panels over rows of pictures: for each method the images that are remembered most and least, M below.

    Arguments:
        table: ``image_memorisation`` of one setting.
        images: D_train, (N, C, H, W) in [0, 1].
    """
    one_setting(table)
    scores = over_repeats(table)
    methods, count = known_methods(scores), min(SHOWN, len(images) // 2)
    left, side, cell = 1.0, 3.6, 0.6
    row, panels = cell + 0.2, 2.5
    strips = len(methods) * (2 * row + 0.34)
    with mpl.rc_context(fname=STYLE):
        fig, _ = blank(2 * (left + side) + 0.3, panels + strips + 2.05, **frame)
        width, height = fig.get_size_inches()
        figure_legend(fig, series_handles(methods, LABELS, {}), len(methods))
        bottom = height - 1.15 - panels
        _distribution(fig.box(left, bottom, side, panels), scores)
        _against(fig.box(2 * left + side, bottom, side, panels), scores)
        y = bottom - 0.62
        for method in methods:
            found = extremes(scores, method, count)
            fig.text(0.12 / width, y / height, LABELS[method], va="top", color=COLOURS[method], weight="bold")
            for name, some in {"most": found[:count], "least": found[count:]}.items():
                y -= row
                _row(fig.box(left, y - 0.08, (width - left - 0.12), cell), images, some, name)
            y -= 0.34
    return fig


def _row(ax: Axes, images: Tensor, found: pd.DataFrame, name: str) -> None:
    """Draw one row of images with M below each."""
    draw_mosaic(ax, images[found["image"].tolist()], len(found), aspect="auto")
    ax.text(-0.01, 0.5, name, transform=ax.transAxes, ha="right", va="center", fontsize=9)
    for i, value in enumerate(found["memorisation"]):
        place = {"transform": ax.transAxes, "ha": "center", "va": "top", "fontsize": 7.5, "color": GREY}
        ax.text((i + 0.5) / len(found), -0.03, number(value), **place)
