"""Rows about the gaps: ELBO* and the attack in batches, against the same one image or one pair at a time."""

import time

import torch

from vaelib import gaps
from vaelib.models import FullyConnectedVAE
from vaelib.runs.provenance import cores

from .clock import in_turn, spent, workers
from .table import Row


def _images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, 32, 32), dtype=torch.uint8, generator=generator)


def _climb(count: int, at_once: int, steps: int) -> None:
    """Find ELBO* of ``count`` images, ``at_once`` in a batch, with a fixed number of steps."""
    vae = FullyConnectedVAE()
    for images in _images(count).split(at_once):
        gaps.optimize_posterior(vae, images, max_steps=steps, tol=0.0)


def elbo_star(quick: bool = False) -> list[Row]:
    """Return images/s of ELBO* on one thread, then on two cores: two processes, and torch's two threads for the loop."""
    many, alone, steps = (4, 1, 2) if quick else (200, 4, 100)
    what, peer, rounds = f"ELBO*, {steps} steps", "one image at a time", 1 if quick else 3
    calls = {
        "batch": lambda: many / spent(lambda: _climb(many, many, steps)),
        "single": lambda: alone / spent(lambda: _climb(alone, 1, steps)),
    }
    rate = in_turn(calls, rounds)
    rows = [Row(f"{what}, 1 thread", "images/s", rate["batch"], rate["single"], peer)]
    if cores() < 2:
        return rows
    with workers(2, here=quick) as here, workers(1, threads=2, here=quick) as there:

        def shared() -> None:
            list(here.map(_climb, [many] * 2, [many] * 2, [steps] * 2))

        calls = {
            "batch": lambda: 2 * many / spent(shared, time.perf_counter),
            "single": lambda: alone / spent(lambda: there.submit(_climb, alone, 1, steps).result(), time.perf_counter),
        }
        rate = in_turn(calls, rounds)
    return [*rows, Row(f"{what}, 2 cores", "images/s", rate["batch"], rate["single"], f"{peer}, 2 threads", 20)]


def attack(quick: bool = False) -> list[Row]:
    """Return (image, restart) pairs/s of the encoder attack."""
    many, restarts, alone, steps = (2, 2, 1, 2) if quick else (50, 10, 8, 50)
    vae, x = FullyConnectedVAE(), _images(max(many, alone)).float() / 255

    def singly() -> None:
        for i in range(alone):
            gaps.attack_encoder(vae, x[i : i + 1], restarts=1, steps=steps, indices=[i])

    rate = in_turn(
        {
            "batch": lambda: (
                many * restarts / spent(lambda: gaps.attack_encoder(vae, x[:many], restarts=restarts, steps=steps))
            ),
            "single": lambda: alone / spent(singly),
        },
        1 if quick else 3,
    )
    return [Row(f"attack, {steps} steps", "pairs/s", rate["batch"], rate["single"], "one pair at a time", 10)]
