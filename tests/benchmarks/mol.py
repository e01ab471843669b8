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

IMAGES = 64
MIXTURES = 10


def speed(call: Callable[[], object], seconds: float = 2.0) -> float:
    """Return the images/s of the median call within ``seconds``, of at least three."""
    call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return IMAGES / sorted(times)[len(times) // 2]


def speeds(channels: int) -> tuple[float, float, float]:
    """Return images/s of 32×32 images: with gradient, without, and with gradient in the plain formulation."""
    generator, likelihood = torch.Generator().manual_seed(0), MixtureOfLogistics(MIXTURES)
    params = torch.randn(IMAGES, likelihood.channels_out(channels), 32, 32, generator=generator)
    params[:, (1 + channels) * MIXTURES : (1 + 2 * channels) * MIXTURES] -= 3  # log-scales
    x = torch.randint(256, (IMAGES, channels, 32, 32), generator=generator) / 255
    wanted, weight = params.clone().requires_grad_(), torch.full((IMAGES,), 1 / IMAGES)
    return (
        speed(lambda: torch.autograd.grad(likelihood.log_prob(wanted, x), wanted, weight)),
        speed(lambda: likelihood.log_prob(params, x)),
        speed(lambda: torch.autograd.grad(plain_log_prob(wanted, x, MIXTURES), wanted, weight)),
    )


def rows() -> list[tuple[str, float, str]]:
    """Return (name, value, unit) of each measurement on this process's thread."""
    table = []
    for channels, name in ((1, "grey"), (3, "colour")):
        trained, scored, plain = speeds(channels)
        table += [
            (f"mixture of logistics, {name}, gradient", trained, "images/s"),
            (f"mixture of logistics, {name}, evaluation", scored, "images/s"),
            (f"mixture of logistics, {name}, gradient, over plain", trained / plain, "times"),
        ]
    return table


def _worker(start, results) -> None:
    torch.set_num_threads(1)
    start.wait()
    results.put(rows())


def two_at_once() -> list[tuple[str, float, str]]:
    """Return the sums of what two processes measure at the same time."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_worker, args=(start, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    one, other = (results.get() for _ in workers)
    for worker in workers:
        worker.join()
    pairs = zip(one, other, strict=True)
    return [(f"{name}, two at once", a + b, unit) for (name, a, unit), (_, b, _) in pairs if unit == "images/s"]


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    for name, value, unit in rows() + two_at_once():
        print(f"{name:56} {value:10,.1f} {unit}")


if __name__ == "__main__":
    main()
