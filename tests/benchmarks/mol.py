"""Images/s of the mixture of logistics on one thread: loss with gradient, loss alone, and the plain formulation.

Every number is the best of many short calls, taken in turns, so that another process on the machine disturbs the ratio
little. ``python -m tests.benchmarks.mol`` also measures two processes at once: no cache or memory is private to one.
"""

import multiprocessing
import time
from collections.abc import Callable

import torch

from vaelib.models import MixtureOfLogistics

from ..test_mol import plain_log_prob

IMAGES = 16
MIXTURES = 10


def best_seconds(calls: list[Callable[[], object]], seconds: float = 4.0) -> list[float]:
    """Return the shortest time of each call, one after the other, again and again for ``seconds``."""
    best = [float("inf")] * len(calls)
    for call in calls:
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def speeds(channels: int) -> tuple[float, float, float]:
    """Return images/s of 32×32 images: forward and backward, forward alone, forward and backward of the plain one."""
    generator, likelihood = torch.Generator().manual_seed(0), MixtureOfLogistics(MIXTURES)
    params = torch.randn(IMAGES, likelihood.channels_out(channels), 32, 32, generator=generator)
    params[:, (1 + channels) * MIXTURES : (1 + 2 * channels) * MIXTURES] -= 3  # log-scales
    x = torch.randint(256, (IMAGES, channels, 32, 32), generator=generator) / 255
    wanted, weight = params.clone().requires_grad_(), torch.full((IMAGES,), 1 / IMAGES)
    calls = [
        lambda: torch.autograd.grad(likelihood.log_prob(wanted, x), wanted, weight),
        lambda: likelihood.log_prob(params, x),
        lambda: torch.autograd.grad(plain_log_prob(wanted, x, MIXTURES), wanted, weight),
    ]
    return tuple(IMAGES / s for s in best_seconds(calls))


def rows() -> list[tuple[str, float, str]]:
    """Return (name, value, unit) of each measurement on this process's thread."""
    table = []
    for channels, name in ((1, "grey"), (3, "colour")):
        both, forward, plain = speeds(channels)
        table += [
            (f"mixture of logistics, {name}, with gradient", both, "images/s"),
            (f"mixture of logistics, {name}, evaluation", forward, "images/s"),
            (f"mixture of logistics, {name}, over plain", both / plain, "times"),
        ]
    return table


def _one_of_two(start, results) -> None:
    torch.set_num_threads(1)
    start.wait()
    results.put(rows())


def two_processes() -> list[tuple[str, float, str]]:
    """Return the sum of what two processes measure at the same time."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_one_of_two, args=(start, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    tables = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return [(f"{name}, two at once", a + b, unit) for (name, a, unit), (_, b, _) in zip(*tables) if unit == "images/s"]


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    for name, value, unit in rows() + two_processes():
        print(f"{name:58} {value:10,.1f} {unit}")


if __name__ == "__main__":
    main()
