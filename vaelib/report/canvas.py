"""What every figure of the companion shares: colours, names, the sheet with its title, legend, footer and stamp."""

import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

STYLE = Path(__file__).with_name("style.mplstyle")
GREY = "#666666"
# Okabe and Ito's blue, green, vermilion and sky blue; members of one family differ in lightness, so no pair that
# meets in a figure relies on hue alone. The order is that of legends and brackets.
COLOURS = {
    "normal": "#0072B2",
    "normal_rha": "#56B4E9",
    "normal_mollify": "#56B4E9",
    "dmaapx": "#009E73",
    "dmaapx_rha": "#00472F",
    "dmaapx_mollify": "#00472F",
    "held_out": "#D55E00",
    "no_augmentation": "#A6611A",
    "aug_tuned": "#5B2A86",
    "aug_naive": "#B573D0",
    "few_latents": "#0072B2",
    "more_latents": "#56B4E9",
}
LABELS = {
    "normal": "Normal training",
    "normal_rha": "Normal + RHA",
    "normal_mollify": "Aug.Mollify",
    "dmaapx": "DMaaPx",
    "dmaapx_rha": "DMaaPx + RHA",
    "dmaapx_mollify": "DMaaPx + Aug.Mollify",
    "held_out": "Held-out real images",
    "no_augmentation": "No augmentation",
    "aug_tuned": "Aug.Tuned",
    "aug_naive": "Aug.Naive",
    "few_latents": "fewer latents",
    "more_latents": "more latents",
}


class ReportFigure(Figure):
    """A figure that shows itself in a notebook under any matplotlib backend."""

    def text(self, *place: Any, **look: Any) -> Text:
        """Write a text beside the panels: titles and footers have users' names in them, whose $ is no formula."""
        return super().text(*place, **{"parse_math": False} | look)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=120)
        return buffer.getvalue()


def series_handles(series: Iterable[str], labels: Mapping[str, str] = LABELS) -> list[Line2D]:
    """Return the legend's entries for series by name: a thick stroke in each one's colour."""
    return [Line2D([], [], color=COLOURS[name], lw=3, label=labels[name]) for name in series]


def canvas(
    n_panels: int,
    title: str,
    handles: Sequence[Line2D],
    footer: str = "",
    stamp: str | None = None,
    *,
    brackets: int = 0,
    axes_width: float | None = None,
    across: int | None = None,
) -> tuple[ReportFigure, list[tuple[Axes, Axes]]]:
    """Return a figure with ``n_panels`` pairs (axes, strip for ``brackets`` columns), title, legend, footer, stamp.

    ``across`` panels stand side by side (default: all).
    Every box has its place in inches, so the brackets' columns are as wide as their numbers in any figure.
    """
    left, strip_width, height, bottom, axes_height = 0.98, 0.28 * brackets or 0.25, 4.28, 0.82, 2.35
    # Three panels: at least as wide as their legends of line styles.
    axes_width = axes_width or (max(2.0, 2.85 - strip_width) if n_panels > 2 else 2.7 if n_panels == 2 else 4.6)
    across, pitch = across or n_panels, axes_height + 1.1
    floors = math.ceil(n_panels / across)
    width = across * (left + axes_width + 0.1 + strip_width) + 0.1
    entries = [0.6 + 0.075 * len(str(handle.get_label())) for handle in handles]
    columns = len(handles) if sum(entries) < width else max(1, int(width / max(entries)))
    lines = textwrap.wrap(footer, int(width / 0.057))
    below, above = 0.14 * max(len(lines) - 1, 0), 0.2 * (math.ceil(len(handles) / max(columns, 1)) - 1)
    height, bottom = height + below + above + (floors - 1) * pitch, bottom + below
    fig = ReportFigure(figsize=(width, height))

    def box(x: float, y: float, w: float) -> Axes:
        return fig.add_axes((x / width, y / height, w / width, axes_height / height))

    pairs = []
    for i in range(n_panels):
        floor, place = divmod(i, across)
        x, y = place * (left + axes_width + 0.1 + strip_width) + left, bottom + (floors - 1 - floor) * pitch
        pairs.append((box(x, y, axes_width), box(x + axes_width + 0.1, y, strip_width)))
    for _, strip in pairs:
        strip.axis("off")
    frame_sheet(fig, title, handles, columns, lines, stamp)
    return fig, pairs


def frame_sheet(
    fig: Figure, title: str, handles: Sequence[Line2D], columns: int, lines: Sequence[str], stamp: str | None
) -> None:
    """Write a sheet's title and legend (in ``columns``) above, its footer's ``lines`` below, its stamp across."""
    width, height = fig.get_size_inches()
    edge = 0.12 / width
    fig.text(edge, 1 - 0.1 / height, title, va="top", fontsize=12.5, weight="bold")
    sheet_legend(fig, handles, columns)
    fig.text(edge, 0.08 / height, "\n".join(lines), va="bottom", fontsize=7.5, color=GREY)
    if stamp:
        style = {"rotation": 12, "ha": "center", "va": "center", "color": "black", "alpha": 0.13, "zorder": 10}
        fig.text(0.5, 0.45, stamp, fontsize=min(4.4 * width, 48), **style)


def sheet_legend(fig: Figure, handles: Sequence[Artist], columns: int, **look) -> None:
    """Write a sheet's legend below its title."""
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
