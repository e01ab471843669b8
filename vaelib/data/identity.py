"""What a data set is called in the names of files and rows: its own name, or for images of one's own a tag.

A path is no identity, because other images may come to lie there, and many folders are called ``images``. A tag is a short
plain name with a digest of what lies at the path, so other images are another data set wherever they are.
"""

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path

from ..errors import VaelibError
from ..files import sha256
from ..paths import from_here
from .datasets import DATASETS, own_path
from .folder import SUFFIXES, visible_files

LONGEST = 40  # characters of the plain name: file names end somewhere


def dataset_tag(name: str) -> str:
    """Return a data set's name for files and rows: letters, digits, ``-`` and ``_`` only.

    >>> dataset_tag("fashion_mnist")
    'fashion_mnist'

    Raises:
        VaelibError: no such data set; files that cannot be read.
    """
    if name in DATASETS:
        return name
    path = Path(os.path.abspath(own_path(name)))
    plain = re.sub(r"[^\w-]+", "_", path.name if path.is_dir() else path.stem)[:LONGEST].strip("_")
    try:
        return f"{plain or 'images'}-{_digest(path, _state(path))}"
    except OSError as error:
        raise VaelibError(f"dataset = {name!r}: {error.strerror}: {error.filename}; fix it and run again") from None


def dataset_from_here(name: str) -> str:
    """Return a data set's name, or the absolute path of what lies at ``name`` as seen from this folder."""
    return name if name in DATASETS else from_here(name)


def _files(path: Path) -> list[Path]:
    """Return the files behind a data set, sorted."""
    if path.is_file():
        return [path]
    return [file for file in visible_files(path) if file.suffix.lower() in SUFFIXES]


def _state(path: Path) -> tuple[tuple[Path, int, int], ...]:
    """Return names, sizes and times: while they are the same, one process reads the bytes once."""
    found = [(file, file.stat()) for file in _files(path)]
    return tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in found)


@lru_cache(maxsize=4)
def _digest(path: Path, state: tuple[tuple[Path, int, int], ...]) -> str:
    """Return a hash of the files' names below ``path`` and of their bytes."""
    whole = hashlib.sha256()
    for file, *_ in state:
        # A single file's own name is no part of it; in a folder, names are the labels.
        whole.update(os.fsencode(file.relative_to(path).as_posix()) + b"\0" + sha256(file).encode())
    return whole.hexdigest()[:8]
