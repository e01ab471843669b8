"""Rows about sampling: our Heun sampler as the bank calls it, against diffusers' own pipeline around the same U-Net.

Equal: the network (the laptop teacher's ``UNet2DModel``), its evaluations an image, the images, the thread. The solver's
arithmetic is nothing beside the network's, so the difference is how the network runs: ours in bfloat16 where the
processor multiplies it and with channels last; the pipeline in float32, channels first, as it comes. ``norm_groups`` and
``space_to_depth`` belong to the network and are the same in both.
"""

import functools
import logging
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from vaelib import files
from vaelib.models.denoiser import EDMDenoiser, build_denoiser
from vaelib.runs.settings import Bank, Teacher
from vaelib.runs.stages import make, resolve_data
from vaelib.runs.store import Store
from vaelib.samplers.bank import sample_images

from .clock import in_turn, spent, watched
from .table import Row

STEPS = 8  # of Heun, as in the laptop's profile
BATCH = 100


def laptop_teacher(width: int = 32) -> EDMDenoiser:
    """Return the laptop's network, untrained."""
    shape: dict[str, Any] = {"multipliers": (1, 2, 2), "blocks": 1, "attention": (), "space_to_depth": 2}
    return build_denoiser(1, width=width, norm_groups=max(1, width // 16), dropout=0.0, **shape).eval()


def pipeline(network: nn.Module) -> Any:
    """Return diffusers' pipeline around a fresh U-Net of the same configuration."""
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    pipe = DDIMPipeline(UNet2DModel.from_config(network.unet.config).eval(), DDIMScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def against_diffusers(quick: bool = False) -> list[Row]:
    """Return images/s on one thread at equal network and number of evaluations."""
    width, batch, alone, steps = (16, 2, 1, 2) if quick else (32, BATCH, 3, STEPS)
    evaluations = 2 * steps - 1
    denoiser = laptop_teacher(width)
    pipe = pipeline(denoiser.network)

    def heun(amp: bool) -> float:
        denoiser.amp = amp
        call = functools.partial(sample_images, denoiser, range(batch), channels=1, steps=steps, batch_size=batch)
        return batch / spent(call)

    def theirs(size: int, calls: int) -> float:
        options = {"num_inference_steps": evaluations, "output_type": "np"}
        return size * calls / spent(lambda: [pipe(batch_size=size, **options) for _ in range(calls)])

    rate = in_turn(
        {
            "ours": lambda: heun(True),
            "fp32": lambda: heun(False),
            "batch": lambda: theirs(batch, 1),
            "default": lambda: theirs(1, alone),
        },
        1 if quick else 3,
    )
    name = f"sampling, {evaluations} evaluations of the laptop's U-Net, 1 thread"
    return [
        Row(name, "images/s", rate["ours"], rate["batch"], f"diffusers' DDIMPipeline, batch {batch}", 1.5),
        Row(f"{name}, float32", "images/s", rate["fp32"], rate["batch"], f"diffusers' DDIMPipeline, batch {batch}"),
        Row(name, "images/s", rate["ours"], rate["default"], "diffusers' DDIMPipeline, its default batch 1"),
    ]


def random_images(folder: Path, count: int) -> Path:
    """Return an .npz of random images that a data set can be made from."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32), dtype=np.uint8)
    np.savez(folder / "noise.npz", train=pixels, test=pixels[:10])
    return folder / "noise.npz"


def bank_writing(quick: bool = False) -> list[Row]:
    """Return the seconds that writing, hashing and publishing take of making a bank as the laptop does."""
    size, width, steps = (8, 16, 2) if quick else (1_000, 32, STEPS)
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / "store")
        data = resolve_data(str(random_images(Path(name), 100)))
        options: dict[str, Any] = {"network": "small", "width": width, "images": 32, "batch_size": 32, "dropout": 0.0}
        teacher = Teacher(data=data, **options)
        for artifact in (data, teacher):
            make(artifact, store, "cpu")
        wanted = Bank(teacher=teacher, size=size, steps=steps, shard_size=size, batch_size=min(size, BATCH))
        with watched(files, "write_array") as shards, watched(Store, "_publish") as publishing:
            whole = spent(lambda: make(wanted, store, "cpu"), time.perf_counter)
    written = math.fsum(shards + publishing)
    return [Row(f"writing a bank of {size:,} images", "s", written, whole, "making it", 0.03, most=True)]


logging.getLogger("diffusers").setLevel(logging.ERROR)
