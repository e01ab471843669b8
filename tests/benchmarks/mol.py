"""Images/s of the mixture of logistics: loss with gradient, loss alone, and the plain formulation of the tests.

``rows`` measures this process's thread; ``python -m tests.benchmarks.mol`` also two processes at the same time, which
share a cache and the memory.
"""

import multiprocessing
import time
from collections.abc import Callable

import torch

from vaelib.models import MixtureOfLogistics

from ..test_mol import plain_log_prob
from .table import Row, lines

IMAGES = 64
MIXTURES = 10


def speed(call: Callable[[], object], seconds: float) -> float:
    """Return the images/s of the median call within ``seconds``, of at least three."""
    call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return IMAGES / sorted(times)[len(times) // 2]


def speeds(channels: int, seconds: float) -> tuple[float, float, float]:
    """Return images/s of 32×32 images: with gradient, without, and with gradient in the plain formulation."""
    generator, likelihood = torch.Generator().manual_seed(0), MixtureOfLogistics(MIXTURES)
    params = torch.randn(IMAGES, likelihood.channels_out(channels), 32, 32, generator=generator)
    params[:, (1 + channels) * MIXTURES : (1 + 2 * channels) * MIXTURES] -= 3  # log-scales
    x = torch.randint(256, (IMAGES, channels, 32, 32), generator=generator) / 255
    wanted, weight = params.clone().requires_grad_(), torch.full((IMAGES,), 1 / IMAGES)
    return (
        speed(lambda: torch.autograd.grad(likelihood.log_prob(wanted, x), wanted, weight), seconds),
        speed(lambda: likelihood.log_prob(params, x), seconds),
        speed(lambda: torch.autograd.grad(plain_log_prob(wanted, x, MIXTURES), wanted, weight), seconds),
    )


def rows(quick: bool = False) -> list[Row]:
    """Return each measurement on this process's thread; the gradient beside that of the plain formulation."""
    table = []
    for channels, name in ((1, "grey"), (3, "colour")):
        trained, scored, plain = speeds(channels, 0.0 if quick else 2.0)
        table += [
            Row(f"mixture of logistics, {name}, gradient", "images/s", trained, plain, "plain formulation"),
            Row(f"mixture of logistics, {name}, evaluation", "images/s", scored),
        ]
    return table


def _worker(start, results) -> None:
    torch.set_num_threads(1)
    start.wait()
    results.put(rows())


def two_at_once() -> list[Row]:
    """Return the sums of what two processes measure at the same time."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_worker, args=(start, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    one, other = (results.get() for _ in workers)
    for worker in workers:
        worker.join()
    return [Row(f"{a.what}, two at once", a.unit, a.ours + b.ours) for a, b in zip(one, other, strict=True)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("\n".join(lines(rows() + two_at_once())))
