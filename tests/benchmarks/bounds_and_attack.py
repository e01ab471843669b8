"""Rows about the gaps: ELBO* and the attack in batches, against the same one image or one pair at a time, one thread."""

import torch

from vaelib import gaps
from vaelib.models import FullyConnectedVAE

from .clock import in_turn, spent
from .table import Row


def _images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, 32, 32), dtype=torch.uint8, generator=generator)


def elbo_star(quick: bool = False) -> list[Row]:
    """Return images/s of ELBO* with 4 samples and a fixed number of steps."""
    many, alone, steps = (4, 1, 2) if quick else (200, 4, 100)
    vae, images, options = FullyConnectedVAE(), _images(many), {"max_steps": steps, "tol": 0.0}

    def singly() -> None:
        for i in range(alone):
            gaps.optimize_posterior(vae, images[i : i + 1], **options)

    rate = in_turn(
        {
            "batch": lambda: many / spent(lambda: gaps.optimize_posterior(vae, images, **options)),
            "single": lambda: alone / spent(singly),
        },
        1 if quick else 3,
    )
    return [Row(f"ELBO*, {steps} steps", "images/s", rate["batch"], rate["single"], "one image at a time", 20)]


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
