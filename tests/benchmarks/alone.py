"""Timings that have no peer: how fast the hot paths are here, one thread, for a change to be seen by."""

import subprocess
import sys
from collections.abc import Callable

import torch

from vaelib import gaps
from vaelib.data import NAIVE
from vaelib.models import FullyConnectedVAE, build_likelihood
from vaelib.training.diffusion import train_denoiser
from vaelib.training.distributions import TrainingDistribution
from vaelib.training.vae import VAEState, train_vae

from .clock import in_turn, spent
from .sampling import laptop_teacher
from .table import Row

IMAGES = torch.randint(0, 256, (2_000, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _mixture(images: torch.Tensor) -> None:
    state = VAEState(FullyConnectedVAE(likelihood=build_likelihood("mol")))
    for _ in train_vae(state, TrainingDistribution(images, len(images)), epochs=1):
        pass


def _batches(augmentation: object, steps: int) -> None:
    stream = TrainingDistribution(IMAGES, len(IMAGES), augmentation=augmentation)
    for step in range(steps):
        stream.batch(step, 64)


def _teacher(images: int, width: int) -> None:
    options = {"n_images": images, "batch_size": 32, "lr_rampup": 0}
    for _ in train_denoiser(laptop_teacher(width), IMAGES, **options):
        pass


def rows(quick: bool = False) -> list[Row]:
    """Return images/s of training, batches, evaluation and the teacher."""
    mixed, steps, scored, seen, width = (64, 2, 64, 32, 16) if quick else (640, 50, 2_000, 1_600, 32)
    vae = FullyConnectedVAE()
    jobs: dict[str, tuple[int, Callable[[], object]]] = {
        "VAE training, mixture of logistics": (mixed, lambda: _mixture(IMAGES[:mixed])),
        "training batches, plain": (64 * steps, lambda: _batches(None, steps)),
        "training batches, Aug.Naive": (64 * steps, lambda: _batches(NAIVE, steps)),
        "ELBO evaluation": (scored, lambda: gaps.evaluate_elbo(vae, IMAGES[:scored])),
        "laptop teacher, training": (seen, lambda: _teacher(seen, width)),
    }
    found = in_turn({name: lambda call=call: spent(call) for name, (_, call) in jobs.items()}, 1 if quick else 2)
    return [Row(name, "images/s", count / found[name]) for name, (count, _) in jobs.items()]


def import_time(quick: bool = False) -> list[Row]:
    """Return the seconds that ``import vaelib`` adds to ``import torch``."""
    code = "import time, torch; t = time.perf_counter(); import vaelib; print(time.perf_counter() - t)"
    times = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(1 if quick else 3)]
    return [Row("import vaelib, beyond torch", "s", min(times))]
