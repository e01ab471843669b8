"""A row of the table: what was measured, ours and the peer's side by side, the ratio and what it should be."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class LeftOut(Exception):
    """A row cannot be measured here; the message says why and what would change that."""


class Row(NamedTuple):
    """Ours beside a peer's in one unit, from one run.

    Attributes:
        what: the work, the same for both.
        peer: value of ``against``, or NaN where ours stands alone.
        target: what ``ratio`` (without a peer, ours) should be at least, or with ``most`` at most; None: no target.
    """

    what: str
    unit: str
    ours: float
    peer: float = math.nan
    against: str = ""
    target: float | None = None
    most: bool = False

    @property
    def ratio(self) -> float:
        """Return ours over the peer's."""
        return self.ours / self.peer

    @property
    def met(self) -> bool | None:
        """Return if the target is met; None without one."""
        if self.target is None:
            return None
        value = self.ours if math.isnan(self.peer) else self.ratio
        return value <= self.target if self.most else value >= self.target

    def finite(self) -> bool:
        """Return True if everything measured is a number."""
        return math.isfinite(self.ours) and (not self.against or math.isfinite(self.ratio))

    def record(self) -> dict[str, Any]:
        """Return the row for JSON, where there is no NaN."""
        known = self._asdict() | {"ratio": self.ratio, "met": self.met}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in known.items()}


class Bench(NamedTuple):
    """A named measurement: ``run(quick)`` returns rows; ``seconds`` is what it takes on two idle cores."""

    name: str
    run: Callable[[bool], Iterable[Any]]
    seconds: float
    long: bool = False


def number(value: float) -> str:
    """Return a value with three to four digits that matter.

    >>> number(12345.6), number(3.14159), number(0.0123), number(float("nan"))
    ('12,346', '3.14', '0.0123', '')
    """
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


HEAD = ("what", "ours", "peer", "unit", "against", "ratio", "target", "met")


def lines(rows: Iterable[Row]) -> list[str]:
    """Return the table as text, a line a row."""
    cells = [HEAD]
    for row in rows:
        target = "" if row.target is None else f"{'≤' if row.most else '≥'} {row.target:g}"
        met = "" if row.met is None else "yes" if row.met else "NO"
        values = (number(value) for value in (row.ours, row.peer))
        cells.append((row.what, *values, row.unit, row.against, number(row.ratio), target, met))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = {1, 2, 5, 6}
    return [
        "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in cells
    ]
