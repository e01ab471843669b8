"""The synthetic bank: uint8 images drawn from a diffusion teacher, on disk as numbered ``.npy`` shards.

Image i is a function of (teacher, seed, i): its noise has a generator of its own, and the network always sees one batch
size (the last batch is padded), because convolution kernels may round otherwise at another. So a bank can be
filled in any order, by any number of workers and in shards of any size, and image i is the same image.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import files, rng
from ..errors import VaelibError, unknown
from ..models.denoiser import EDMDenoiser
from ..modes import evaluating
from ..precision import require_finite
from .dpmpp import dpmpp_2m_sample
from .heun import heun_sample

IMAGE_SIZE = 32
SAMPLERS = {"heun": heun_sample, "dpmpp_2m": dpmpp_2m_sample}


def network_calls(sampler: str, steps: int) -> int:
    """Return how often a sampler calls the network for an image: 2 · steps − 1 times (``heun``) or ``steps`` times."""
    return 2 * steps - 1 if sampler == "heun" else steps


@torch.inference_mode()
def sample_images(
    denoiser: EDMDenoiser,
    indices: Sequence[int],
    *,
    seed: int = 0,
    channels: int,
    sampler: str = "heun",
    steps: int = 18,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    binarize: bool = False,
    device: str | torch.device | None = None,
    batch_size: int = 100,
) -> Tensor:
    """Return images ``indices`` of the bank ``seed``, uint8 (n, C, 32, 32) on the CPU.

    The sample x ∈ [−1, 1] is stored as ⌊127.5 x + 128⌋; ``binarize`` then thresholds at one half, to 0 and 255.
    ``batch_size`` is part of an image's identity, by at most the rounding of the network's kernels. ``sampler``: ``heun``, the
    paper's, or ``dpmpp_2m``, which calls the network once a step. Raises VaelibError for another one, NonFinite.

    >>> denoiser = EDMDenoiser(lambda inputs, c_noise: 0 * inputs)  # the exact one of N(0, ¼)
    >>> sample_images(denoiser, range(3), channels=1, steps=2, device="cpu", batch_size=3).shape
    torch.Size([3, 1, 32, 32])
    """
    if sampler not in SAMPLERS:
        raise unknown("sampler =", sampler, SAMPLERS)
    device = torch.device(device) if device is not None else next(denoiser.parameters()).device
    shape = (channels, IMAGE_SIZE, IMAGE_SIZE)
    batches = []
    for start in range(0, len(indices), batch_size):
        noise = torch.zeros(batch_size, *shape)
        wanted = indices[start : start + batch_size]
        for row, index in enumerate(wanted):
            noise[row] = rng.normal(shape, seed, "bank", int(index))
        with evaluating(denoiser.to(device)):
            x = SAMPLERS[sampler](denoiser, noise.to(device), steps=steps, sigma_min=sigma_min, sigma_max=sigma_max)
        require_finite(x[: len(wanted)], wanted, f"bank {seed}", "set amp=false, or train or choose another teacher")
        images = (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)
        batches.append((images >= 128).to(torch.uint8) * 255 if binarize else images)
    images = torch.cat(batches) if batches else torch.empty(0, *shape, dtype=torch.uint8)
    return images[: len(indices)].cpu()


def shard_path(folder: Path, shard: int) -> Path:
    """Return the file of shard number ``shard``."""
    return folder / f"shard-{shard:05d}.npy"


def read_shard(path: Path) -> np.ndarray | None:
    """Return a shard as a read-only memory map, or None if it is absent, cut short or no array of uint8 images."""
    try:
        images = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError):
        return None
    return images if images.dtype == np.uint8 and images.ndim == 4 else None


def fill_bank(
    folder: Path,
    denoiser: EDMDenoiser,
    size: int,
    *,
    shard_size: int = 5000,
    shards: Iterable[int] | None = None,
    channels: int,
    **sampling,
) -> Iterator[int]:
    """Make images 0 … size − 1 in ``folder``; yield after each shard how many images this call has found or made.

    Shards that are there and whole are kept, so calling again resumes. ``shards`` names this worker's shards (default:
    all); ``sampling`` goes to :func:`sample_images`. A folder belongs to one teacher and one set of settings.
    """
    done = 0
    for shard in range(-(-size // shard_size)) if shards is None else shards:
        indices = range(shard * shard_size, min((shard + 1) * shard_size, size))
        path = shard_path(folder, shard)
        kept = read_shard(path)
        if kept is None or kept.shape != (len(indices), channels, IMAGE_SIZE, IMAGE_SIZE):
            files.write_array(path, sample_images(denoiser, indices, channels=channels, **sampling).numpy())
        done += len(indices)
        yield done


class Bank:
    """A filled bank, memory-mapped: ``len(bank)``; ``bank.images()`` is all of it, ``bank.images(a, b)`` a range."""

    def __init__(self, folder: Path):
        """Open ``folder``; raises VaelibError if a shard is missing or damaged."""
        count = len(list(folder.glob("shard-*.npy")))
        shards = [read_shard(shard_path(folder, shard)) for shard in range(count)]
        if not shards or any(shard is None for shard in shards):
            raise VaelibError(f"the bank {folder} has no images, or lacks a whole shard; fill it again to fix it")
        self.shards: list[np.ndarray] = shards
        self.ends = np.cumsum([len(shard) for shard in shards])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def images(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Return images start … stop − 1 as a uint8 tensor (n, C, 32, 32); only these are read from disk."""
        stop = len(self) if stop is None else stop
        if not 0 <= start < stop <= len(self):
            raise VaelibError(
                f"images {start} to {stop} requested, {len(self):,} in the bank; enlarge the bank or ask for fewer"
            )
        parts = []
        for shard, end in zip(self.shards, self.ends.tolist(), strict=True):
            first = end - len(shard)
            if first < stop and start < end:
                parts.append(shard[max(start - first, 0) : min(stop - first, len(shard))])
        return torch.from_numpy(np.concatenate(parts))
