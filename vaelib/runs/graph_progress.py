"""One bar for a whole graph of runs: what is made, what is under way and how fast, how long the rest will take."""

import math
import time
from collections.abc import Callable, Mapping, Sequence

from ..progress import Progress
from .cost.price import cost
from .settings import Artifact, Bank, Teacher, VAERun


def chain_lengths(needs: Mapping[str, Sequence[str]], prices: Mapping[str, float]) -> dict[str, float]:
    """Return, for each key, the price of the longest chain of runs that begins with it; ``needs`` has upstream first."""
    after: dict[str, float] = {}
    for key in reversed(needs):
        length = after.get(key, 0.0) + prices[key]
        after[key] = length
        for one in needs[key]:
            after[one] = max(after.get(one, 0.0), length)
    return after


# What an artifact's progress counts (a field), and its unit; of others a share says it all.
VOLUMES = {Teacher: ("images", "images"), Bank: ("size", "images"), VAERun: ("epochs", "epochs")}
WIDTH = 70  # of the note: a line of a log should not wrap
# The share of the work that has to be done before it can tell how long the rest takes: first shares may be rounding noise.
FIRST = 1e-4


class GraphProgress:
    """A bar weighted by price; ``tell`` and ``finish`` as work is reported.

    Arguments:
        workers: how many runs go on at once.
        needs: the keys that each run needs, upstream first.
        price: what a run costs.
    """

    def __init__(
        self,
        todo: Sequence[Artifact],
        title: str,
        workers: int,
        needs: Mapping[str, Sequence[str]],
        price: Callable[[Artifact], float] = cost,
    ):
        self.workers, self.needs = workers, needs
        self.prices = {artifact.key: price(artifact) for artifact in todo}
        self.shards = {artifact.key: artifact.shards for artifact in todo if isinstance(artifact, Bank)}
        counted = {artifact.key: (artifact, *VOLUMES[type(artifact)]) for artifact in todo if type(artifact) in VOLUMES}
        self.volumes = {key: (getattr(artifact, count), unit) for key, (artifact, count, unit) in counted.items()}
        self.shares: dict[str, float] = {}
        self.notes: dict[str, str] = {}
        # Time and share of a task's first message: it may go on from half.
        self.began: dict[str, tuple[float, float]] = {}
        self.given = 0.0  # the price of what was done before its first message
        self.busy, self.last = 0.0, time.monotonic()  # seconds of work so far, all workers together
        self.shown = 0
        self.bar = Progress(1000, title, "%")

    def tell(self, name: str, kind: str, share: float, note: str) -> None:
        """Record that a task is ``share`` done; a bank's shards are told apart by a ``/number``."""
        key, _, shard = name.partition("/")
        if key not in self.prices or self.shares.get(key, 0.0) >= 1:
            return  # of another call on the same scheduler, or late
        self._tick()
        parts = self.shards[key] if shard else 1
        self.shares[name] = share / parts
        # A bank's share, not a shard's.
        whole = sum(one for other, one in self.shares.items() if other.partition("/")[0] == key)
        words = [f"{kind} {whole:.0%}", self._speed(name, share, parts), note]
        self.notes[name] = " ".join(word for word in words if word)
        if share >= 1:
            self.notes.pop(name)
        self._show()

    def finish(self, key: str) -> None:
        """Record that an artifact is in the store."""
        self._tick()
        self.shares[key] = 1.0
        self.notes = {name: note for name, note in self.notes.items() if name.partition("/")[0] != key}
        self._show()

    def _tick(self) -> None:
        """Count the time since the last message for every task that was under way."""
        now = time.monotonic()
        self.busy += (now - self.last) * max(1, min(len(self.notes), self.workers))
        self.last = now

    def _speed(self, name: str, share: float, parts: int) -> str:
        """Return "at 12 epochs/s", once a task has been watched for a second."""
        count, unit = self.volumes.get(name.partition("/")[0], (0, ""))
        if name not in self.began:
            self.began[name] = (self.last, share)
            self.given += self.prices[name.partition("/")[0]] * share / parts
        start, before = self.began[name]
        rate = count / parts * (share - before) / (self.last - start) if self.last > start + 1 else 0.0
        return f"at {rate:{',.0f' if rate > 10 else '.2g'}} {unit}/s" if rate > 0 else ""

    def left(self, done: dict[str, float]) -> float:
        """Return the seconds that are left: what is to do over all workers, or the longest chain of runs if that is longer.

        ``done``: each artifact's share. Prices are worth the seconds that they were worth so far; infinite
        where nothing was watched yet: what an earlier process did tells no pace.
        """
        rest = {key: (1 - done[key]) * price for key, price in self.prices.items()}
        whole = sum(self.prices.values())
        made = whole - sum(rest.values()) - self.given
        if made < FIRST * whole or not self.busy:
            return math.inf
        alone = {key: price / min(self.shards.get(key, 1), self.workers) for key, price in rest.items()}
        chain = max(chain_lengths(self.needs, alone).values())
        return max(sum(rest.values()) / self.workers, chain) * self.busy / made

    def _show(self) -> None:
        done = dict.fromkeys(self.prices, 0.0)
        for name, share in list(self.shares.items()):
            key = name.partition("/")[0]
            done[key] = min(1.0, done[key] + share)
        share = sum(done[key] * price for key, price in self.prices.items()) / sum(self.prices.values())
        now = int(1000 * share)
        made = f"{sum(one >= 1 for one in done.values())} of {len(done)} made"
        note = made
        for one in list(self.notes.values())[:-4:-1]:
            note += f", {one}" if len(note) + len(one) < WIDTH else ""
        self.bar.update(max(0, now - self.shown), note, self.left(done))
        self.shown = max(now, self.shown)

    def __enter__(self) -> "GraphProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
