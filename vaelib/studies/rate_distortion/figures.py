"""The rate-distortion plane from its table (Alemi et al. 2018)."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...report.canvas import (
    COLOURS,
    GREY,
    LABELS,
    MARKERS,
    STYLE,
    ReportFigure,
    canvas,
    known_methods,
    nats,
    one_setting,
    padded,
    series_handles,
    style_legend,
)
from ...text import number

HOLLOW = {"mfc": "white", "mew": 1.3}
SPLITS = [
    Line2D([], [], color=GREY, marker="o", ls="", label="test"),
    Line2D([], [], color=GREY, marker="o", ls="", label="train", **HOLLOW),
]


def iso_elbo(ax: Axes, lines: int = 6) -> None:
    """Draw lines of equal ELBO = -(R + D) through the limits that ``ax`` has, each with its value beyond the right edge."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    beyond = {"transform": ax.get_yaxis_transform(), "fontsize": 7.5, "color": GREY}
    for total in MaxNLocator(lines).tick_values(left + low, right + high):
        ax.plot([left, right], [total - left, total - right], color=GREY, lw=0.7, ls=(0, (1, 2)), zorder=0)
        if low < total - right < high:
            ax.text(1.015, total - right, number(0.0 - total, digits=0), va="center", **beyond)
    ax.text(1.015, 1.04, "ELBO", va="bottom", **beyond | {"transform": ax.transAxes})
    ax.set(xlim=(left, right), ylim=(low, high))


def _draw(ax: Axes, rows: pd.DataFrame, title: str, path: bool) -> None:
    """Draw every VAE: its training images' point joined to its test images', or its test images' path over epochs."""
    for method in known_methods(rows):
        look = {"color": COLOURS[method], "marker": MARKERS[method], "ms": 6}
        for _, own in rows[rows["method"] == method].groupby("seed"):
            ax.plot(
                own["rate"], own["distortion"], lw=1.0, **look | {"marker": look["marker"] if path else "", "ms": 3}
            )
            for row in own.itertuples():
                if row.split == "train":
                    ax.plot(row.rate, row.distortion, **look, **HOLLOW)
                elif row.effective_epoch == rows["effective_epoch"].max():
                    ax.plot(row.rate, row.distortion, **look)
    ax.set(xlabel="rate R (nats per image)", ylabel="distortion D (nats per image)", title=title)
    ax.set(xlim=padded(rows["rate"]), ylim=padded(rows["distortion"]))
    ax.xaxis.set_major_locator(MaxNLocator(6))
    nats(ax)
    ax.grid(visible=False)
    iso_elbo(ax)


def plane_figure(table: pd.DataFrame, **frame) -> ReportFigure:
    """Return two panels: training and test images of each VAE at its last epoch, and test images over epochs, closer.

    Arguments:
        table: ``rate_distortion`` of one setting.
    """
    one_setting(table)
    last = table[table["effective_epoch"] == table["effective_epoch"].max()]
    methods = known_methods(table)
    with mpl.rc_context(fname=STYLE):
        handles = series_handles(methods, LABELS, MARKERS)
        fig, [(whole, _), (near, _)] = canvas(2, handles, axes_width=4.0, brackets=2, **frame)
        _draw(whole, last, "From training to test images", path=False)
        _draw(near, table[table["split"] == "test"], "Test images over the epochs", path=True)
        epochs = sorted(set(table["effective_epoch"]))
        before = ", ".join(map(str, epochs[:-1]))
        sizes = [(3, f"epoch {before}")] * (len(epochs) > 1) + [(6, f"epoch {epochs[-1]}")]
        style_legend(near, [Line2D([], [], color=GREY, marker="o", ls="", ms=ms, label=text) for ms, text in sizes])
        style_legend(whole, SPLITS)
        for ax in (whole, near):
            ax.set_title(ax.get_title(loc="left"), pad=22)
    return fig


def parts(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the generalization gap of every VAE is made of: ``rate_part`` + ``distortion_part``, in nats.

    Each part is the test images' minus the training images', at the last epoch, so that their sum is G_g.
    """
    last = table[table["effective_epoch"] == table["effective_epoch"].max()]
    sides = last.pivot(index=["method", "seed"], columns="split", values=["rate", "distortion"])
    found = {f"{name}_part": sides[name]["test"] - sides[name]["train"] for name in ("rate", "distortion")}
    return pd.DataFrame(found).astype(np.float64).reset_index()
