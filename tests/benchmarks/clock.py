"""Fair clocks: what is compared runs in turn, so that a neighbour's load meets all alike; processes of a known width."""

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import torch


def spent(call: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return a call's seconds: of processor time, which in one thread leaves out what a neighbour's load takes."""
    start = clock()
    call()
    return clock() - start


def in_turn(calls: dict[str, Callable[[], float]], rounds: int = 3) -> dict[str, float]:
    """Return the median of what each call returns; each round calls every one once, and one round more warms up."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            found[name].append(call())
    return {name: statistics.median(values[1:]) for name, values in found.items()}


@contextlib.contextmanager
def workers(count: int, threads: int = 1, *, here: bool = False) -> Iterator[Executor]:
    """Yield ``count`` fresh processes of ``threads`` threads each, so that what one library sets no other inherits.

    With ``here`` it is this process, which costs no start and measures nothing.
    """
    if here:
        with ThreadPoolExecutor(1) as pool:
            yield pool
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, torch.set_num_threads, (threads,)) as pool:
        yield pool


@contextlib.contextmanager
def watched(owner: Any, name: str) -> Iterator[list[float]]:
    """Within the block, collect the wall time of each call of ``owner.name``, which goes on doing what it does."""
    real, times = getattr(owner, name), []

    def timed(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return real(*args, **options)
        finally:
            times.append(time.perf_counter() - start)

    setattr(owner, name, timed)
    try:
        yield times
    finally:
        setattr(owner, name, real)
