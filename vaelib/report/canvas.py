"""What every figure of the companion shares: colours, names, the frame with its title, legend, footer and watermark."""

import base64
import html
import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import BboxBase

from ..runs.tables import SETTING
from ..text import as_given
from .alternatives import PLAIN, words

STYLE = Path(__file__).with_name("style.mplstyle")
GREY = PLAIN
ELBO_LABEL = "ELBO (nats per image)"
TRAIN, TEST = ("elbo_train", "--", "train"), ("elbo_test", "-", "test")
STYLES = [Line2D([], [], color=GREY, ls=style, lw=1.5, label=name) for _, style, name in (TRAIN, TEST)]
FAINT = {"alpha": 0.35, "linewidth": 0.9, "zorder": 1, "ms": 2}  # the paper's lines beneath ours
WARM_UP = 0.2  # the share of a run's epochs that no axis has to show: there ELBOs start very low
# Blue for normal training, green for DMaaPx and purples for augmentation, as in the paper. Hues were kept and lightness
# computed (tests/test_colours.py): any two that meet in a figure are at least 20 apart (CIEDE2000) for trichromats,
# protanopes and deuteranopes. The order is that of legends and brackets.
SERIES = {  # colour; marker, for those who see no colours; name
    "normal": ("#25688E", "o", "Normal training"),
    "normal_rha": ("#56B4E9", "X", "Normal + RHA"),
    "normal_mollify": ("#56B4E9", "X", "Aug.Mollify"),
    "dmaapx": ("#009E73", "s", "DMaaPx"),
    "dmaapx_rha": ("#00472F", "P", "DMaaPx + RHA"),
    "dmaapx_mollify": ("#00472F", "P", "DMaaPx + Aug.Mollify"),
    "held_out": ("#AA4400", "^", "Held-out real images"),
    "no_augmentation": ("#8C4A0F", "X", "No augmentation"),
    "aug_tuned": ("#2A035F", "D", "Aug.Tuned"),
    "aug_naive": ("#B976F7", "v", "Aug.Naive"),
    "few_latents": ("#25688E", "o", "fewer latents"),
    "more_latents": ("#56B4E9", "D", "more latents"),
}
COLOURS, MARKERS, LABELS = ({name: look[part] for name, look in SERIES.items()} for part in range(3))


class MeasuredMargins(LayoutEngine):
    """Axes give way to their own labels: ELBOs of -1,000,000 need more room at the left than those of -100.

    When a figure is drawn, axes whose labels would leave the figure or reach into what stands at their left are made
    narrower, and so are those that begin at the same x. All others stay where they were put.
    """

    _adjust_compatible, _colorbar_gridspec = True, True
    step, least = 0.05, 0.8  # inches: room is given in steps, so that other pixels find enough; no axes are narrower

    def execute(self, fig: Figure) -> None:
        """Measure the labels of every axes, and move its edges."""
        shown = [ax for ax in fig.axes if ax.get_visible()]
        before = {ax: ax.get_position(original=True) for ax in shown}
        room: dict[float, tuple[float, float]] = {}  # by a column's left edge: inches needed at the left, at the right
        for ax in filter(lambda ax: ax.axison, shown):
            left, right = room.get(round(before[ax].x0, 4), (0.0, 0.0))
            more = self._needed(fig, ax, before)
            room[round(before[ax].x0, 4)] = max(left, more[0]), max(right, more[1])
        for ax, box in before.items():
            left, right = (one / fig.get_figwidth() for one in room.get(round(box.x0, 4), (0.0, 0.0)))
            if (left or right) and box.width - left - right >= self.least / fig.get_figwidth():
                ax.set_position((box.x0 + left, box.y0, box.width - left - right, box.height))

    def _needed(self, fig: Figure, ax: Axes, boxes: Mapping[Axes, BboxBase]) -> tuple[float, float]:
        """Return by how many inches the labels of ``ax`` reach too far to the left and to the right."""
        own, (width, _) = boxes[ax], fig.get_size_inches()
        beside = [one.x1 for one in boxes.values() if one.x1 <= own.x0 and one.y0 < own.y1 and own.y0 < one.y1]
        ends = [axis.get_tightbbox() for axis in (ax.yaxis, ax.xaxis)]
        inches = [box.transformed(fig.dpi_scale_trans.inverted()) for box in ends if box is not None]
        if not inches:
            return 0.0, 0.0
        short = (
            max([0.0, *beside]) * width + self.step - min(box.x0 for box in inches),
            max(box.x1 for box in inches) - width,
        )
        return tuple(math.ceil(max(one, 0.0) / self.step) * self.step for one in short)


class ReportFigure(Figure):
    """A figure that shows itself in a notebook under any matplotlib backend, and cuts no label off.

    Attributes:
        origin: where it comes from, a small line below it.
    """

    origin = ""

    def __init__(self, *args, **options):
        super().__init__(*args, **{"layout": MeasuredMargins()} | options)

    def savefig(self, *args: Any, **options: Any) -> None:
        """Write the figure; its axes are laid out here, for which matplotlib would draw all of it a first time."""
        engine = self.get_layout_engine()
        if engine is not None:
            engine.execute(self)
        self.set_layout_engine("none")
        try:
            super().savefig(*args, **options)
        finally:
            self.set_layout_engine(engine)

    def text(self, *place: Any, **look: Any) -> Text:
        """Write a text beside the panels: titles and footers have users' names in them, whose $ is no formula."""
        return super().text(*place, **{"parse_math": False} | look)

    def box(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes by their place in inches and return them."""
        w, h = self.get_size_inches()
        return self.add_axes((x / w, y / h, width / w, height / h))

    def words(self) -> str:
        """Return what the figure shows, for those who do not see it (:mod:`.alternatives`)."""
        return words(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        """Return the picture with its alternative text: as HTML, since JupyterLab gives a bare PNG none, and as PNG."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=120)
        png, words = base64.b64encode(buffer.getvalue()).decode(), self.words()
        page = f'<img src="data:image/png;base64,{png}" alt="{html.escape(words)}" style="max-width: 100%">'
        if self.origin:
            page += f'<div style="font-size: 0.75em; opacity: 0.8">{html.escape(self.origin)}</div>'
        return {"image/png": png, "text/html": page, "text/plain": words}, {"image/png": {"alt": words}}


def series_handles(
    series: Iterable[str], labels: Mapping[str, str] = LABELS, markers: Mapping[str, str] = MARKERS
) -> list[Line2D]:
    """Return the legend's entries for series by name: a thick stroke in each one's colour, and its marker if it has one."""
    return [
        Line2D([], [], color=COLOURS[name], lw=3, marker=markers.get(name), ms=7, label=labels[name]) for name in series
    ]


def canvas(
    n_panels: int,
    handles: Sequence[Line2D],
    *,
    title_note: str,
    footer: str = "",
    watermark: str | None = None,
    brackets: int = 0,
    axes_width: float | None = None,
    across: int | None = None,
) -> tuple[ReportFigure, list[tuple[Axes, Axes]]]:
    """Return a figure with ``n_panels`` pairs (axes, strip for ``brackets`` columns), title, legend, footer, watermark.

    ``across`` panels stand side by side (default: all).
    Every box has its place in inches, so the brackets' columns are as wide as their numbers in any figure.
    """
    left, strip_width, height, bottom, axes_height = 0.98, 0.28 * brackets or 0.25, 4.28, 0.82, 2.35
    # Three panels: at least as wide as their legends of line styles.
    axes_width = axes_width or (max(2.0, 2.85 - strip_width) if n_panels > 2 else 2.7 if n_panels == 2 else 4.6)
    across, pitch = across or n_panels, axes_height + 1.1
    rows = math.ceil(n_panels / across)
    width = across * (left + axes_width + 0.1 + strip_width) + 0.1
    entries = [0.6 + 0.075 * len(str(handle.get_label())) for handle in handles]
    columns = len(handles) if sum(entries) < width else max(1, int(width / max(entries)))
    lines = textwrap.wrap(footer, int(width / 0.057))
    below, above = 0.14 * max(len(lines) - 1, 0), 0.2 * (math.ceil(len(handles) / max(columns, 1)) - 1)
    height, bottom = height + below + above + (rows - 1) * pitch, bottom + below
    fig = _framed(width, height, title_note, lines, watermark)
    pairs = []
    for i in range(n_panels):
        row, column = divmod(i, across)
        x, y = column * (left + axes_width + 0.1 + strip_width) + left, bottom + (rows - 1 - row) * pitch
        strip = (x + axes_width + 0.1, y, strip_width, axes_height)
        pairs.append((fig.box(x, y, axes_width, axes_height), fig.box(*strip)))
    for _, strip in pairs:
        strip.axis("off")
    figure_legend(fig, handles, columns)
    return fig, pairs


def blank(
    width: float,
    height: float,
    *,
    title_note: str,
    footer: str = "",
    watermark: str | None = None,
    wrap: int = 0,
    grows: bool = True,
) -> tuple[ReportFigure, float]:
    """Return a figure (inches) with title, footer and watermark, and how high its footer is.

    It ``grows`` by the footer, whose lines have at most ``wrap`` letters (0: as many as fit).
    """
    lines = textwrap.wrap(footer, wrap or int(width / 0.057))
    below = 0.14 * len(lines)
    return _framed(width, height + below * grows, title_note, lines, watermark), below


def _framed(width: float, height: float, title: str, lines: Sequence[str], watermark: str | None) -> ReportFigure:
    """Return a figure with its title above, its footer's ``lines`` below, its watermark across."""
    fig, edge = ReportFigure(figsize=(width, height)), 0.12 / width
    fig.text(edge, 1 - 0.1 / height, title, va="top", fontsize=12.5, weight="bold")
    fig.text(edge, 0.08 / height, "\n".join(lines), va="bottom", fontsize=7.5, color=GREY)
    if watermark:
        style = {"rotation": 12, "ha": "center", "va": "center", "color": "black", "alpha": 0.13, "zorder": 10}
        fig.text(0.5, 0.45, watermark, fontsize=min(4.4 * width, 48), **style)
    return fig


def figure_legend(fig: Figure, handles: Sequence[Artist], columns: int, **look) -> None:
    """Write a figure's legend below its title."""
    width, height = fig.get_size_inches()
    place = {
        "loc": "upper left",
        "bbox_to_anchor": (0.12 / width, 1 - 0.36 / height),
        "borderaxespad": 0.0,
        "borderpad": 0.0,
    }
    fig.legend(handles=handles, ncols=columns, **{"handlelength": 1.4} | place | look)


def style_legend(ax: Axes, handles: Sequence[Line2D], heading: str = "") -> None:
    """Put a legend of line styles in one row between a panel's title and its axes; with a heading, set closely."""
    place = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "borderaxespad": 0.1}
    look = {"columnspacing": 1.2, "fontsize": 9}
    if heading:  # as the first entry: a title would take a line of its own
        handles = [Line2D([], [], ls="", label=heading), *handles]
        look = {"columnspacing": 0.7, "fontsize": 8.5, "handlelength": 1.3, "handletextpad": 0.35}
    ax.legend(handles=handles, ncols=len(handles), **place, **look)


def one_setting(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``table`` if it holds rows of exactly one (dataset, likelihood); raise ValueError if not."""
    settings = table[SETTING].drop_duplicates()
    if len(settings) != 1:
        raise ValueError(f"a figure shows one (dataset, likelihood), this table holds {len(settings)}: filter it first")
    return table


def draw_line(ax: Axes, rows: pd.DataFrame, x: str, y: str, linestyle: str = "-", **look) -> list[Artist]:
    """Draw the mean of ``y`` over ``x`` and, with two seeds or more, the min-max band; no rows, no line."""
    stats = rows.dropna(subset=[x, y]).groupby(x)[y].agg(["mean", "min", "max", "count"])
    if stats.empty:
        return []
    look = {"marker": "o", "ms": 3.5} | look
    artists: list[Artist] = ax.plot(stats.index, stats["mean"], linestyle, **look)
    if stats["count"].max() > 1:
        band = ax.fill_between(stats.index, stats["min"], stats["max"], color=look["color"], alpha=0.16, lw=0)
        artists.append(band)
    return artists


def draw_level(ax: Axes, rows: pd.DataFrame, y: str, linestyle: str, color: str, **look) -> None:
    """Draw the mean of ``y`` as a horizontal line and, with two seeds or more, the min-max band."""
    values = rows[y].dropna()
    if len(values):
        ax.axhline(float(values.mean()), ls=linestyle, color=color, **look)
    if len(values) > 1:
        ax.axhspan(values.min(), values.max(), color=color, alpha=0.1, lw=0)


def spread_ticks(ax: Axes, values: Sequence[float], room: float = 0.09) -> None:
    """Label the grid's own values on the x axis, leaving out those nearer than ``room`` (of the axis) to a labelled one."""
    scale = np.log if ax.get_xscale() == "log" else np.asarray
    places, (low, high) = scale(values), scale(ax.get_xlim())
    kept: list[int] = []
    for i in [0, len(values) - 1, *range(1, len(values) - 1)]:
        if all(abs(places[i] - places[j]) >= room * (high - low) for j in kept):
            kept.append(i)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks([values[i] for i in sorted(kept)], [as_given(values[i]) for i in sorted(kept)])


def nats(ax: Axes) -> None:
    """Label the y axis in whole nats, or in tenths where it spans few."""
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}" if high - low > 8 else "{x:,.1f}"))


def known_methods(table: pd.DataFrame) -> list[str]:
    """Return the methods (or a sweep's series, in the same column) found in ``table``, in the order of legends."""
    return [method for method in LABELS if method in set(table["method"])]


def padded(values: np.ndarray | pd.Series) -> tuple[float, float]:
    """Return the limits of an axis that shows all of ``values``."""
    low, high = float(values.min()), float(values.max())
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - pad, high + pad


def robust_limits(curves: pd.DataFrame, quantities: tuple[str, ...], warm_up: float = WARM_UP) -> tuple[float, float]:
    """Return y-limits that the first ``warm_up`` share of the epochs cannot stretch: there ELBOs start very low."""
    rows = curves[curves["quantity"].isin(quantities)].dropna(subset="value")
    return padded(rows[rows["effective_epoch"] >= warm_up * rows["effective_epoch"].max()]["value"])
