"""What a stage works with: its folder, its device, its checkpoints and a way to report progress."""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import files
from ...errors import VaelibError
from ...precision import usable_gpus
from ..settings import Data
from ..store import SCRATCH, Store, load_split, load_tensors, save_tensors


def checkpoint_seconds() -> float:
    """Return ``$VAELIB_CHECKPOINT_SECONDS``, the least between two checkpoints (0: at every report); 20 where it is not set.

    Raises:
        VaelibError: not a number from 0 on.
    """
    text = os.environ.get("VAELIB_CHECKPOINT_SECONDS", "20")
    try:
        if not 0 <= (seconds := float(text)) < math.inf:
            raise ValueError
    except ValueError:
        raise VaelibError(
            f"VAELIB_CHECKPOINT_SECONDS = {text!r} is no number of seconds; set it to 0 (always) or more, or unset it"
        ) from None
    return seconds


@dataclass
class Context:
    """What a stage works with.

    Attributes:
        store: where upstream artifacts are.
        folder: the stage's own work folder.
        device: where to compute.
        report: called with (share done in [0, 1], a short note).
        lead: False in the processes that help another one to make the artifact: they read and compute, and write nothing.
    """

    store: Store
    folder: Path
    device: torch.device
    report: Callable[[float, str], None]
    lead: bool = True
    saved: float = field(default_factory=time.monotonic)
    interval: float = field(default_factory=checkpoint_seconds)

    def split(self, data: Data, name: str) -> Tensor:
        """Return a split (``train``, ``test``, ``train_labels``, ``test_labels``) on the context's device."""
        return load_split(self.store, data, name).to(self.device)

    def checkpoint(self, state: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]]) -> None:
        """Save what ``state`` returns if the last checkpoint is old enough for writing this one to cost under 2 % of the time.

        It is asked for nothing before, so that a GPU is waited for only then.
        """
        if self.lead and time.monotonic() - self.saved > self.interval:
            start = time.monotonic()
            save_tensors(self.folder / SCRATCH / "state.safetensors", *state())
            self.saved = time.monotonic()
            if pause := checkpoint_seconds():
                self.interval = max(pause, 50 * (self.saved - start))

    def resume(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last checkpoint; None if there is none, or none that can be trusted."""
        path = self.folder / SCRATCH / "state.safetensors"
        return self._trusted(path, lambda: load_tensors(path, "cpu")) if path.exists() else None

    def measure(self, parts: Sequence[Any], rows_of: Callable[[Any], Iterable[dict[str, Any]]]) -> None:
        """Write ``rows.json``, the rows of each of ``parts``; the finished ones are kept, so a killed run goes on from there.

        JSON has no infinity: a number that is not finite is written as None, which a table shows as NaN.
        """
        found = self.kept("rows.json")
        for number, part in enumerate(parts):
            if number >= len(found):
                found.append([{name: _finite(value) for name, value in row.items()} for row in rows_of(part)])
                self.keep("rows.json", found)
            self.report((number + 1) / len(parts), f"part {number + 1}")
        files.write_json(self.folder / "rows.json", [row for rows in found for row in rows])

    def keep(self, name: str, rows: list[Any]) -> None:
        """Keep what was measured so far."""
        files.write_json(self.folder / SCRATCH / name, {"rows": rows, "sha256": _digest(rows)})

    def kept(self, name: str) -> list[Any]:
        """Return what was measured before this process began; empty if nothing was, or nothing that can be trusted."""
        path = self.folder / SCRATCH / name

        def read() -> list[dict[str, Any]]:
            content = files.read_json(path)
            if not isinstance(content, dict) or content.get("sha256") != _digest(content.get("rows")):
                raise VaelibError(f"{path} was altered after it was made")
            return content["rows"]

        return (self._trusted(path, read) if path.exists() else None) or []

    def _trusted(self, path: Path, read: Callable[[], Any]) -> Any:
        """Return what ``read`` finds; a damaged file costs its work once more, which is said, and nothing else."""
        try:
            return read()
        except VaelibError as error:
            print(f"{str(error).partition(';')[0]}: this run begins again without it", flush=True)
            if self.lead:
                path.unlink()
            return None


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _digest(rows: Any) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called ``auto`` (a GPU if there is one that can be used), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        VaelibError: no such device here, or one of a kind that lacks what is computed (float64 on ``mps``).
    """
    if name == "auto":
        return torch.device(f"cuda:{usable[0]}" if (usable := usable_gpus()) else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise VaelibError(f"device = {name!r} is unknown; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise VaelibError(
            f"device = {name} is not supported: what is computed needs float64; use auto, cpu, cuda or cuda:N"
        )
    there, usable = torch.cuda.device_count() if torch.cuda.is_available() else 0, usable_gpus()
    if not there:
        raise VaelibError(f"device = {name}: this machine has no CUDA device; use device = cpu or auto")
    if device.index is None and usable:
        return torch.device(f"cuda:{usable[0]}")
    number = device.index or 0
    if number >= there:
        raise VaelibError(
            f"device = {name}: this machine has {there} CUDA device(s), numbered from 0; use cuda or auto"
        )
    if number not in usable:
        raise VaelibError(
            f"device = {name}: this PyTorch has no kernels for the {torch.cuda.get_device_name(number)}; install a PyTorch that "
            "has, or use device = auto or cpu"
        )
    return device


def take_device(name: str) -> torch.device:
    """Return :func:`pick_device`'s, made the one that work without a device in mind is done on."""
    device = pick_device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
