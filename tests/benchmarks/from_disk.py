"""A row about a bank larger than memory: trained from on disk, beside the same images held in memory.

``python -m tests.benchmarks.from_disk FOLDER N EPOCHS disk|memory`` trains the paper's fully connected VAE, N images an epoch,
and prints images a second of wall time after the first epoch. On ``disk`` the process may have ``LIMIT`` bytes of memory of its
own, and what it has read of the bank is dropped from the system's cache at once, as if no memory were left for that.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vaelib import paths
from vaelib.models import FullyConnectedVAE
from vaelib.samplers.bank import Bank, shard_path
from vaelib.training.distributions import TrainingDistribution
from vaelib.training.vae import VAEState, train_vae

from .clock import in_turn
from .table import LeftOut, Row

LIMIT = 3 * 2**29  # bytes
SHARD = 5_000  # images of 1,024 bytes


class Uncached(Bank):
    """A bank of which nothing stays in the system's cache."""

    def gather(self, rows: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Return images ``rows``."""
        found = super().gather(rows, out)
        forget(self.folder)
        return found


def forget(folder: Path) -> None:
    """Drop a folder's files from the system's cache."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def train(folder: Path, n_train: int, epochs: int, disk: bool) -> float:
    """Return images a second."""
    torch.set_num_threads(1)
    if disk:
        resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    pool = Uncached(folder) if disk else Bank(folder).images()
    loop = train_vae(VAEState(FullyConnectedVAE()), TrainingDistribution(pool, n_train), epochs=epochs)
    clock = [time.perf_counter() for _ in loop]
    return (epochs - 1) * n_train / (clock[-1] - clock[0])


def _fill(folder: Path, images: int) -> None:
    noise = np.random.default_rng(0)
    for shard, start in enumerate(range(0, images, SHARD)):
        np.save(shard_path(folder, shard), noise.integers(0, 256, (min(SHARD, images - start), 1, 32, 32), np.uint8))
    os.sync()  # only what has been written can be dropped


def from_disk(quick: bool = False) -> list[Row]:
    """Return training images/s from a bank of 4 GB on disk, and from memory."""
    if not hasattr(os, "posix_fadvise"):
        raise LeftOut("this system cannot be told to drop a file from its cache")
    images, n_train, epochs = (200, 128, 3) if quick else (4_000_000, 20_000, 4)
    if shutil.disk_usage(tempfile.gettempdir()).free < 2 * 1_024 * images:
        raise LeftOut(
            f"the bank takes {1_024 * images / 1e9:.1f} GB of {tempfile.gettempdir()}, which has not twice that"
        )
    with tempfile.TemporaryDirectory() as name:
        _fill(Path(name), images)

        def measured(where: str) -> float:
            command = [sys.executable, "-m", "tests.benchmarks.from_disk", name, str(n_train), str(epochs), where]
            return float(subprocess.check_output(command, cwd=paths.project_root(), text=True))

        if quick:
            rates = {"disk": measured("disk"), "memory": train(Path(name), n_train, epochs, False)}
        else:
            rates = in_turn({where: lambda where=where: measured(where) for where in ("disk", "memory")}, 2)
    title = f"VAE training from a bank of {1_024 * images / 1e9:.1f} GB on disk in {LIMIT / 2**30:g} GiB of memory, 1 thread"
    return [Row(title, "images/s", rates["disk"], rates["memory"], "from memory", 0.95)]


if __name__ == "__main__":
    print(train(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "disk"))
