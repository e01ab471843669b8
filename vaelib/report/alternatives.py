"""What a figure shows, in words and numbers, for those who do not see it: read off the figure that was drawn.

A line is told by where it begins and ends, an upright one by its place, bars, points and rows that have names by their range,
numbers that stand in the figure as they are. Names come from the legends: a series by its colour, its quantity by the kind of
line. A line that no legend names, and a number that belongs to a row, have their names as labels.
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
from matplotlib.ticker import FixedLocator

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
    names, rows, told = _row_names(ax), {}, []
    for line in ax.lines if ax.axison else ():
        x, y = (np.ravel(np.asarray(one, dtype=float)) for one in line.get_data())
        if not line.get_visible() or len(y) < 2:  # a mark may stand anywhere
            continue
        if len({*y}) == 1 and y[0] in names:
            if all(_in_data(line, ax)):  # not from one end of the panel to the other
                rows.setdefault(names[y[0]], []).extend(x)
        else:
            told.append(_line(line, x, y, ax, handles))
    told = [one for one in told if one] + [f"{name}: {_range(values)}" for name, values in rows.items() if name]
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


def _row_names(ax: Axes) -> dict[float, str]:
    """Return the names of rows by their y, where names stand in place of an axis's numbers."""
    if not isinstance(ax.yaxis.get_major_locator(), FixedLocator):
        return {}
    names = {float(y): text.get_text() for y, text in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)}
    return {} if all(NUMBER.fullmatch(name) for name in names.values()) else names


def _in_data(line: Line2D, ax: Axes) -> tuple[bool, bool]:
    """Return whether a line's x, and its y, are data: an upright line's y are the panel's ends."""
    return line.get_transform().contains_branch_seperately(ax.transData)


def _line(line: Line2D, x: np.ndarray, y: np.ndarray, ax: Axes, handles: Sequence[Artist]) -> str:
    """Return a line's name and its first and last value; nothing for one that no legend names."""
    upright = not _in_data(line, ax)[1]
    values = x if upright else y
    values = values[np.isfinite(values)]
    styles = [one for one in handles if isinstance(one, Line2D) and one.get_linestyle() == line.get_linestyle()]
    kind = next((str(one.get_label()) for one in styles if to_hex(one.get_color()) == PLAIN), "")
    name = ", ".join(filter(None, (_named(line.get_color(), handles), kind)))
    if not name and not str(line.get_label()).startswith("_"):  # as matplotlib's own do
        name = str(line.get_label())
    if not name or not len(values):
        return ""
    return f"{name}: {'at ' if upright else ''}{_span(values[0], values[-1])}"


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
    """Return "from 1 to 3" for values of these extremes."""
    return _span(float(np.nanmin(values)), float(np.nanmax(values)))


def _span(first: float, last: float) -> str:
    """Return "from 1 to 3", or one number where both read alike."""
    ends = list(dict.fromkeys(map(number, (float(first), float(last)))))
    return f"from {ends[0]} to {ends[1]}" if len(ends) > 1 else ends[0]
