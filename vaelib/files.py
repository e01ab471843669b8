"""Files that are either whole or absent: written beside their final name, synced, renamed."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .errors import VaelibError

PART = ".part"
_PROCESS = secrets.token_hex(4)  # process numbers repeat on another host


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Force a file or a folder's entries to disk."""
    posix = hasattr(os, "O_DIRECTORY")
    if not posix and path.is_dir():
        return  # Windows opens no folder
    handle = os.open(path, os.O_RDONLY if posix else os.O_RDWR)  # nor syncs what is open for reading alone
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Call ``write(part)`` on a name beside ``path``, then sync and rename; a reader never sees half a file."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{_PROCESS}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        sync(part)
        os.replace(part, path)
        sync(path.parent)
    except OSError as error:
        raise VaelibError(
            f"cannot write {path}: {error.strerror or error}; free or change the disk and run again"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # of the folder; what it refused before says more
            part.unlink(missing_ok=True)


def is_part(path: Path) -> bool:
    """Return whether a file is what :func:`write_atomic` has not finished."""
    return path.name.startswith(".") and path.name.endswith(PART)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an ``.npy`` file, atomically; objects, which NumPy would pickle, are refused."""

    def write(part: Path) -> None:
        with open(part, "wb") as file:
            np.save(file, array, allow_pickle=False)

    write_atomic(path, write)


def write_text(path: Path, text: str) -> None:
    """Write a text, atomically."""
    write_atomic(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        VaelibError: absent, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VaelibError(f"{path} is not readable JSON ({error}); delete it and run again") from None
