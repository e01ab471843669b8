"""The synthetic bank: uint8 images drawn from a diffusion teacher, on disk as numbered ``.npy`` shards.

It stays on disk: whoever reads it gets the images asked for, and a shard is mapped into memory only while it is read, so that a
bank may be larger than memory and have more shards than a process may have open files.

Image i is a function of (teacher, seed, i): its noise has a generator of its own, and the network always sees one batch
size (the last batch is padded), because convolution kernels may round otherwise at another. So a bank can be
filled in any order, by any number of workers and in shards of any size, and image i is the same image.
"""

import contextlib
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import files, rng
from ..errors import VaelibError, at_least_one, unknown
from ..images import SIDE
from ..models.denoiser import EDMDenoiser
from ..modes import device_of, evaluating
from ..precision import require_finite
from .dpmpp import dpmpp_2m_sample
from .heun import heun_sample

# A disk answers many requests in the time of one: it is asked for so many shards before the first of them is read, for images
# at most so many bytes apart at once, and for no more bytes at once than a system takes in one request.
AHEAD, NEAR, AT_ONCE = 16, 2**14, 2**20
SAMPLERS = {"heun": heun_sample, "dpmpp_2m": dpmpp_2m_sample}


def network_calls(sampler: str, steps: int) -> int:
    """Return how often a sampler calls the network for an image: 2 · steps − 1 times (``heun``) or ``steps`` times."""
    return 2 * steps - 1 if sampler == "heun" else steps


@torch.no_grad()
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
    """Return images ``indices`` of the bank ``seed``, uint8 (n, C, H, W) on the CPU; 32×32 unless the denoiser says otherwise.

    The sample x ∈ [−1, 1] is stored as ⌊127.5 x + 128⌋; ``binarize`` then thresholds at one half, to 0 and 255.
    ``batch_size`` is part of an image's identity, by at most the rounding of the network's kernels. ``sampler``: ``heun``, the
    paper's, or ``dpmpp_2m``, which calls the network once a step. Raises VaelibError for another one or for ``channels`` that
    the denoiser does not have, NonFinite.

    >>> denoiser = EDMDenoiser(lambda inputs, c_noise: 0 * inputs)  # the exact one of N(0, ¼)
    >>> sample_images(denoiser, range(3), channels=1, steps=2, device="cpu", batch_size=3).shape
    torch.Size([3, 1, 32, 32])
    """
    if sampler not in SAMPLERS:
        raise unknown("sampler =", sampler, SAMPLERS)
    device = torch.device(device) if device is not None else device_of(denoiser)
    shape = getattr(denoiser, "image_shape", (channels, SIDE, SIDE))
    at_least_one(batch_size=batch_size)
    if shape[0] != channels:
        raise VaelibError(f"channels = {channels}: this denoiser makes images of {shape[0]}")
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
    """Return a shard as a memory map, or None if it is absent, cut short or no array of uint8 images.

    What is written to it never reaches the disk; PyTorch warns of arrays that cannot be written to.
    """
    try:
        images = np.lib.format.open_memmap(path, mode="c")
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
    done, shape = 0, getattr(denoiser, "image_shape", (channels, SIDE, SIDE))
    for shard in range(-(-size // shard_size)) if shards is None else shards:
        indices = range(shard * shard_size, min((shard + 1) * shard_size, size))
        path = shard_path(folder, shard)
        kept = read_shard(path)
        if kept is None or kept.shape != (len(indices), *shape):
            files.write_array(path, sample_images(denoiser, indices, channels=channels, **sampling).numpy())
        done += len(indices)
        yield done


def _ask(path: Path, begin: int, each: int, rows: np.ndarray) -> None:
    """Let the system fetch images ``rows``, in rising order, of a shard without waiting for them; it need not do so.

    They begin at byte ``begin`` of the file and have ``each`` bytes. (Not by ``madvise``, for which Python keeps its lock.)
    """
    if not hasattr(os, "posix_fadvise"):
        return
    apart = (np.diff(rows) - 1) * each > NEAR
    starts, stops = rows[np.r_[True, apart]] * each + begin, (rows[np.r_[apart, True]] + 1) * each + begin
    with contextlib.suppress(OSError), open(path, "rb") as file:
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            for place in range(start, stop, AT_ONCE):
                os.posix_fadvise(file.fileno(), place, min(AT_ONCE, stop - place), os.POSIX_FADV_WILLNEED)


class Bank:
    """A filled bank on disk: ``len(bank)``, ``bank.shape``; ``bank.images(a, b)`` is a range, ``bank.gather(rows)`` any images.

    Arguments:
        folder: of the shards.
        size: only its first so many images; None: all.

    Raises:
        VaelibError: a shard is missing or damaged, or there are fewer images.
    """

    def __init__(self, folder: Path, size: int | None = None):
        self.folder, self._begins = folder, []  # of a shard's images, in its file
        sizes, shape = [], (0, 0, 0)
        for shard in range(len(list(folder.glob("shard-*.npy")))):
            images = read_shard(shard_path(folder, shard))
            if images is None:
                raise self._incomplete()
            sizes.append(len(images))
            self._begins.append(images.offset)
            shape = images.shape[1:]
        if not sum(sizes):
            raise self._incomplete()
        self._ends = torch.tensor(sizes).cumsum(0)
        self.shape = (sum(sizes) if size is None else size, *shape)
        self._check(0, len(self), sum(sizes))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.gather(rows)

    def images(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Return images start … stop − 1 as a uint8 tensor (n, C, 32, 32); only these are read from disk."""
        stop = len(self) if stop is None else stop
        self._check(start, stop, len(self))
        return self.gather(torch.arange(start, stop))

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """Return images ``rows`` (n,), in any order and as often as they are named, uint8 (n, C, 32, 32); ``out`` takes them.

        They are read in the order of the disk, which is asked for those of the next shards before it is waited for.
        """
        out = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8) if out is None else out
        rows, places = rows.long().sort()
        if len(rows) and not 0 <= int(rows[0]) <= int(rows[-1]) < len(self):
            raise VaelibError(
                f"rows from {int(rows[0]):,} to {int(rows[-1]):,} of a bank of {len(self):,} images; give others"
            )
        asked: deque[tuple[int, Tensor, Tensor]] = deque()  # shards, which of their images, and where these go

        def read() -> None:
            shard, some, where = asked.popleft()
            out.index_copy_(0, where, torch.from_numpy(self._mapped(shard)).index_select(0, some))

        begin, first = 0, 0
        ends = torch.searchsorted(rows, self._ends).tolist()  # where in `rows` each shard ends
        for shard, (end, last) in enumerate(zip(ends, self._ends.tolist(), strict=True)):
            if begin < end:
                some = rows[begin:end] - first
                _ask(shard_path(self.folder, shard), self._begins[shard], math.prod(self.shape[1:]), some.numpy())
                asked.append((shard, some, places[begin:end]))
            begin, first = end, last
            if len(asked) > AHEAD:
                read()
        while asked:
            read()
        return out

    def _mapped(self, shard: int) -> np.memmap:
        """Return a shard as a memory map, without its header, which Python 3.11 cannot parse in two threads at once."""
        size = int(self._ends[shard]) - (int(self._ends[shard - 1]) if shard else 0)
        try:
            path, begin = shard_path(self.folder, shard), self._begins[shard]
            return np.memmap(path, np.uint8, "c", begin, (size, *self.shape[1:]))
        except (OSError, ValueError):
            raise self._incomplete() from None

    def _incomplete(self) -> VaelibError:
        return VaelibError(f"the bank {self.folder} has no images, or lacks a whole shard; fill it again to fix it")

    def _check(self, start: int, stop: int, size: int) -> None:
        if not 0 <= start < stop <= size:
            raise VaelibError(
                f"images {start} to {stop} requested, {size:,} in the bank; enlarge the bank or ask for fewer"
            )
