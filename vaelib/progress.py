"""Progress with an estimate of the time left: a bar in a terminal and in a notebook, a handful of lines in a log."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


SHARE = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"  # where units of work differ in size


def in_notebook() -> bool:
    """Return True in a kernel with somebody before it, and with the widgets that draw a bar."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell" and find_spec("ipywidgets") is not None


def headless() -> bool:
    """Return True where bars would only fill a log: papermill (``VAELIB_HEADLESS``), or neither terminal nor notebook."""
    return bool(os.environ.get("VAELIB_HEADLESS")) or not (sys.stderr.isatty() or in_notebook())


def _bar(**options: Any) -> tqdm:
    """Return a bar for where we are; it shows itself after two seconds."""
    if in_notebook():
        from tqdm.notebook import tqdm as kind
    else:
        kind = tqdm
    return kind(delay=2, **options)


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    >>> duration(75), duration(5), duration(0.2), duration(float("inf"))
    ('1 min 15 s', '5 s', '<1 s', 'unknown time')
    """
    if seconds == float("inf"):
        return "unknown time"
    if 0 < seconds < 0.5:
        return "<1 s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Progress:
    """Count ``total`` units of work under a title; ``update(n, note)`` as they are done.

    Quiet for the first seconds, so short work prints nothing. With the unit ``"%"`` only the share is shown.
    """

    def __init__(self, total: int, title: str, unit: str = "it"):
        self.total, self.title, self.unit, self.done = total, title, unit, 0
        self.start = self.shown = time.monotonic()
        look = {"bar_format": SHARE} if unit == "%" else {"unit": unit, "unit_scale": total > 9999}
        self.bar = None if headless() else _bar(total=total, desc=title, **look)

    def update(self, n: int = 1, note: str = "", left: float | None = None) -> None:
        """Report ``n`` more units done, with an optional short note (the loss, say).

        ``left``: the seconds to go where the caller knows better than the pace so far.
        """
        self.done += n
        if self.bar is not None:
            if self.unit == "%":
                note = f"{duration(self._left(left))} left" + (f", {note}" if note else "")
            if note:
                self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(n)
            return
        now = time.monotonic()
        spent = now - self.start
        # About ten lines a job, but a sign of life every minute.
        if now - self.shown > max(5.0, min(60.0, 0.1 * spent * self.total / max(self.done, 1))):
            self.shown = now
            rate = self.done / spent
            count = f"{self.done / self.total:.0%}" if self.unit == "%" else f"{self.done:,}/{self.total:,} {self.unit}"
            speed = "" if self.unit == "%" else f" at {rate:{',.0f' if rate > 10 else '.1f'}} {self.unit}/s"
            print(
                f"{self.title}: {count}{speed}, {duration(self._left(left))} left" + (f" ({note})" if note else ""),
                flush=True,
            )

    def _left(self, known: float | None) -> float:
        """Return the seconds to go."""
        if known is not None or not self.done:
            return float("inf") if known is None else known
        return (time.monotonic() - self.start) * (self.total - self.done) / self.done

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def track(items: Iterable[Item], title: str, unit: str = "it", total: int | None = None) -> Iterator[Item]:
    """Yield from ``items`` under a :class:`Progress`."""
    with Progress(len(items) if total is None else total, title, unit) as progress:  # type: ignore[arg-type]
        for item in items:
            yield item
            progress.update()
