"""Rows about memory: it must grow with the data and not with the run. Each training has a process of its own.

``python -m tests.benchmarks.memory FILE STEPS...`` trains the paper's fully connected VAE on an ``.npy`` of images as a run
does and prints the process's peak memory, bytes, after each of STEPS.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from vaelib import paths
from vaelib.models import FullyConnectedVAE
from vaelib.runs.store import load_array
from vaelib.training.distributions import TrainingDistribution
from vaelib.training.vae import VAEState, train_vae

from .table import LeftOut, Row

IMAGE_BYTES = 1_024
SIZES = (2_000, 20_000, 60_000)
STATUS = Path("/proc/self/status")


def peak() -> int:
    """Return the most memory that this process held, bytes (not getrusage's: that starts at the parent's)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return 1_024 * int(line.split()[1])


def train(path: Path, stops: list[int]) -> dict[int, int]:
    """Train for the longest of ``stops`` steps; return the peak after each."""
    torch.set_num_threads(1)
    pool, batch = torch.from_numpy(np.array(load_array(path))), 64  # as a stage reads it
    found = {}
    stream = TrainingDistribution(pool, batch)  # an epoch of one batch, so that the loop can be looked at anywhere
    for step, _ in enumerate(train_vae(VAEState(FullyConnectedVAE()), stream, epochs=max(stops)), 1):
        if step in stops:
            found[step] = peak()
    return found


def _start(folder: Path, images: int, stops: tuple[int, int]) -> subprocess.Popen:
    """Start a fresh process that runs :func:`train` on a file of ``images``."""
    path = folder / f"{images}.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (images, 1, 32, 32), dtype=np.uint8))
    command = [sys.executable, "-m", "tests.benchmarks.memory", str(path), *map(str, stops)]
    return subprocess.Popen(command, cwd=paths.project_root(), stdout=subprocess.PIPE, text=True)


def memory(quick: bool = False) -> list[Row]:
    """Return how the peak memory of training a VAE grows with the images, and from step 100 to step 1,000."""
    if not STATUS.exists():
        raise LeftOut("peak memory is read from /proc, which this system does not have")
    sizes, stops = ((64, 6_000), (1, 2)) if quick else (SIZES, (100, 1_000))
    with tempfile.TemporaryDirectory() as name:
        started = {images: _start(Path(name), images, stops) for images in sizes}
        peaks = {images: json.loads(process.communicate()[0]) for images, process in started.items()}
    early, late = (np.array([peaks[images][str(stop)] for images in sizes], float) for stop in stops)
    slope, largest = float(np.polyfit(sizes, late, 1)[0]), sizes[-1]
    run = f"peak memory of training on n images, steps {stops[0]} to {stops[1]:,}"
    sizes_named = [Row(f"peak memory, n = {n:,}", "MiB", value / 2**20) for n, value in zip(sizes, late, strict=True)]
    return [
        Row("peak memory, for an image more", "bytes", slope, IMAGE_BYTES, "its pixels", 1.25, most=True),
        Row(run, "MiB", float((late - early).max()) / 2**20, largest * IMAGE_BYTES / 2**20, f"{largest:,} images"),
        *sizes_named,
    ]


if __name__ == "__main__":
    print(json.dumps(train(Path(sys.argv[1]), [int(stop) for stop in sys.argv[2:]])))
