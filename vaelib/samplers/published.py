"""Sample sets that others published as ``.npz``, as a bank: DMaaPx without a teacher of one's own.

Made for the sets of DM-Improves-AT (Wang et al. 2023): ``image``, uint8 (N, 32, 32, 3), and ``label``. Its file of 1 M
CIFAR-10 images is filtered (of each class the 20 % that a classifier was surest of) and the larger ones are sorted by
class, so the first k·N of a file are no sample of anything: images are drawn from all of it by seed. The array is read in
pieces, since such a file can be larger than memory.
"""

import zipfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch

from .. import rng
from ..errors import VaelibError
from ..images import SIDE
from ..progress import Progress

NAMES = ("image.npy", "images.npy")
PIECE = 10_000  # images


class SampleSet(NamedTuple):
    """What an ``.npz`` says of itself: shape (N, 32, 32, C), and a digest of its bytes (CRC and size, unread)."""

    path: Path
    member: str
    shape: tuple[int, int, int, int]
    digest: str

    @property
    def channels(self) -> int:
        """Return C."""
        return self.shape[3]


def _foreign(path: Path, found: object) -> VaelibError:
    return VaelibError(
        f"{path} holds {found}, must be an .npz with one array image, uint8 (N, 32, 32, C) or (N, 32, 32); save it so"
    )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and type of an ``.npy`` stream in C order, which then stands at its first number."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f".npy version {version}")
    shape, fortran, dtype = readers[version](file)
    if fortran or dtype.hasobject:
        raise ValueError("Fortran order or pickled objects")
    return shape, dtype


def open_samples(path: Path) -> SampleSet:
    """Look into a sample set without reading its images.

    Raises:
        VaelibError: absent, damaged, or no such array.
    """
    if not path.is_file():
        raise VaelibError(f"bank_from = {path}: there is no such file; download the sample set and give its path")
    try:
        with zipfile.ZipFile(path) as archive:
            there = [name for name in NAMES if name in archive.namelist()]
            if len(there) != 1:
                raise _foreign(path, ", ".join(there or archive.namelist()) or "nothing")
            (name,) = there
            facts = archive.getinfo(name)
            with archive.open(name) as file:
                shape, dtype = _header(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise _foreign(path, f"something else ({error})") from None
    full = (*shape, 1) if len(shape) == 3 else shape
    if dtype != np.uint8 or len(full) != 4 or full[1:3] != (SIDE, SIDE) or full[3] not in (1, 3) or not full[0]:
        raise _foreign(path, f"{dtype} {shape}")
    return SampleSet(path, name, full, f"{facts.CRC:08x}-{facts.file_size}")


def draw_samples(samples: SampleSet, out: np.ndarray, seed: int = 0, binarize: bool = False) -> None:
    """Fill ``out``, uint8 (n, C, 32, 32), with n different images drawn by ``seed`` from all of the file.

    Image i of a smaller draw is image i of a larger one. ``binarize`` thresholds at one half, to 0 and 255.

    Raises:
        VaelibError: fewer than n images, or a file whose bytes are not those that its checksum was made of.
    """
    count, wanted = samples.shape[0], len(out)
    if wanted > count:
        raise VaelibError(f"bank_from = {samples.path}: {count:,} images are fewer than the {wanted:,} wanted; lower k")
    order = torch.randperm(count, generator=rng.generator(seed, "published samples"))[:wanted].numpy()
    places = np.full(count, -1)
    places[order] = np.arange(wanted)
    size, brightest = int(np.prod(samples.shape[1:])), 0
    try:
        with (
            zipfile.ZipFile(samples.path) as archive,
            archive.open(samples.member) as file,
            Progress(count, f"reading {samples.path.name}", "images") as progress,
        ):
            _header(file)
            for start in range(0, count, PIECE):
                n = min(PIECE, count - start)
                piece = (
                    np.frombuffer(file.read(n * size), np.uint8).reshape(n, *samples.shape[1:]).transpose(0, 3, 1, 2)
                )
                place = places[start : start + n]
                brightest = max(brightest, piece.max())
                chosen = piece[place >= 0]
                out[place[place >= 0]] = np.where(chosen >= 128, 255, 0) if binarize else chosen
                progress.update(n)
            if file.read(1):  # reaching the end compares the checksum
                raise ValueError("more bytes than its shape says")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _foreign(samples.path, f"a damaged array ({error})") from None
    if brightest == 1:
        raise _foreign(samples.path, "only 0 and 1, which is black (multiply by 255)")
