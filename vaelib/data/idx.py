"""IDX, the file format of MNIST and FashionMNIST: magic ``00 00 08 d``, ``d`` big-endian sizes, then bytes.

Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits", file formats.
"""

import gzip
import hashlib
import math
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import VaelibError


def broken(path: Path, found: str, expected: str) -> VaelibError:
    """Return the error for a data file that is not what its name says."""
    return VaelibError(f"{path}: expected {expected}, found {found}; replace or delete this file and run again")


def read_idx(path: Path, ndim: int) -> tuple[np.ndarray, str]:
    """Return an IDX file's uint8 array of ``ndim`` dimensions, read-only, and the MD5 of its unpacked bytes.

    A gzip file is known by its first bytes, whatever its name. A file is read again only if it looks another.
    Raises VaelibError for a truncated or foreign file.
    """
    seen = path.stat()
    return _read(path, ndim, seen.st_size, seen.st_mtime_ns, seen.st_ino)


@lru_cache(maxsize=4)  # the files of one data set: a notebook asks for it some ten times, at half a second each
def _read(path: Path, ndim: int, *_: int) -> tuple[np.ndarray, str]:
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise broken(path, f"a damaged one ({error})", "a whole gzip file") from error
    start = 4 + 4 * ndim
    if len(content) < start or content[:4] != bytes([0, 0, 8, ndim]):
        expected = f"an IDX file of unsigned bytes in {ndim} dimensions (magic 00 00 08 0{ndim})"
        raise broken(path, f"{len(content):,} bytes that open with {content[:4].hex(' ') or 'nothing'}", expected)
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", ndim, 4))
    size = start + math.prod(shape)
    if len(content) != size:
        raise broken(path, f"{len(content):,} bytes (truncated or foreign)", f"{size:,} bytes for shape {shape}")
    array = np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    return array, hashlib.md5(content, usedforsecurity=False).hexdigest()
