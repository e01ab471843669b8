"""What a figure shows, in words and numbers, for those who do not see it: read off the figure that was drawn.

A line is told by where it begins and ends, bars and points by their range, numbers that stand in the figure as they are.
Names come from the legends: a series by its colour, its quantity by the kind of line. A line that no legend names, and a number
that belongs to a row, have their names as labels.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import same_color, to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..text import how_many, listed, number

PLAIN = "#666666"  # the colour of a legend's entries that name a kind of line, for any series
NUMBER = re.compile(r"[+\N{MINUS SIGN}-]?[\d,.]+ ?%?")  # as figures write it
MOST = 12  # lines, or numbers, of a panel that are told one by one


def words(figure: Figure) -> str:
    """Return a figure's alternative text: its title, its panels with their axes and numbers, its series."""
    said = [text.get_text() for text in (figure._suptitle, *figure.texts[:1]) if text is not None][:1]
    legends = [one for one in (*figure.legends, *(ax.get_legend() for ax in figure.axes)) if one]
    handles = [handle for one in legends for handle in one.legend_handles if handle is not None]
    for ax in figure.axes:
        labels = " over ".join(filter(None, (ax.get_ylabel(), ax.get_xlabel()))) if ax.axison else ""
        heading = ": ".join(filter(None, (ax.get_title(loc="left") if ax.axison else "", labels)))
        own = ax.get_legend()
        here = [*(own.legend_handles if own else ()), *handles]  # its own legend says what its kinds of lines are
        said.append(". ".join(filter(None, (heading, "; ".join(_shown(ax, here))))))
    named = dict.fromkeys(text.get_text() for one in legends for text in one.get_texts())
    series = [name for name in named if not any(name in one for one in said)]
    said.append(f"series: {', '.join(series)}" if series else "")
    plain = re.sub(r"\\rm ?|\\,|[$\\{}]", "", "; ".join(filter(None, map(str.strip, said)))).replace("\n", " ")
    return f"Figure: {plain or 'pictures'}"


def _shown(ax: Axes, handles: Sequence[Artist]) -> Iterator[str]:
    """Yield what stands between a panel's axes."""
    lines = (
        [line for line in ax.lines if line.get_visible() and len(np.ravel(line.get_ydata())) > 1] if ax.axison else []
    )
    told = [_line(line, handles) for line in lines]
    told = [one for one in told if one]
    yield from dict.fromkeys(told[:MOST])
    if len(told) > MOST:
        yield f"and {len(told) - MOST} more lines"
    bars = [value for one in ax.containers if isinstance(one, BarContainer) for value in one.datavalues]
    if ax.axison and bars:
        yield f"{how_many(len(bars), 'bar')}, {_range(bars)}"
    points = [y for one in ax.collections if isinstance(one, PathCollection) for y in one.get_offsets()[:, 1]]
    if ax.axison and np.isfinite(points).any():
        yield f"{how_many(len(points), 'point')}, {_range(points)}"
    if ax.images:
        yield how_many(len(ax.images), "picture")
    written = [one for one in ax.texts if NUMBER.fullmatch(one.get_text().strip())]
    numbers = [f"{one.get_label() or _named(one.get_color(), handles)} {one.get_text()}".strip() for one in written]
    if 0 < len(numbers) <= MOST:
        yield f"marked {listed(numbers)}"


def _line(line: Line2D, handles: Sequence[Artist]) -> str:
    """Return a line's name and its first and last value; nothing for one that no legend names."""
    values = np.asarray(line.get_ydata(), dtype=float)
    values = values[np.isfinite(values)]
    styles = [one for one in handles if isinstance(one, Line2D) and one.get_linestyle() == line.get_linestyle()]
    kind = next((str(one.get_label()) for one in styles if to_hex(one.get_color()) == PLAIN), "")
    name = ", ".join(filter(None, (_named(line.get_color(), handles), kind)))
    if not name and not str(line.get_label()).startswith("_"):  # as matplotlib's own do
        name = str(line.get_label())
    if not name or not len(values):
        return ""
    first, last = number(values[0]), number(values[-1])
    return f"{name}: {first}" if first == last else f"{name}: from {first} to {last}"


def _named(colour: object, handles: Sequence[Artist]) -> str:
    """Return the series that a legend shows in a colour, if there is one."""
    for handle in handles:
        if (
            isinstance(handle, Line2D)
            and to_hex(handle.get_color()) != PLAIN
            and same_color(handle.get_color(), colour)
        ):
            return str(handle.get_label())
    return ""


def _range(values: Sequence[float]) -> str:
    """Return "from 1 to 3"."""
    return f"from {number(float(np.nanmin(values)))} to {number(float(np.nanmax(values)))}"
