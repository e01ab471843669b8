"""The artifact store: a folder an artifact, named by the hash of its settings, whole or absent.

``<root>/<kind>/<key>/`` holds files and ``manifest.json`` (settings, which hold those of all that is upstream, versions, device,
wall time, peak memory and a SHA-256 a file). It is filled as ``<key>.work/``, synced, and renamed when complete; ``.work`` also
keeps the checkpoints, so whatever was killed goes on from there. Nothing read back is ever unpickled.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .. import files, paths
from ..errors import VaelibError
from .lock import Lock
from .provenance import environment, forget_peak, peak_memory, provenance
from .settings import Artifact, Data

MANIFEST = "manifest.json"
SCRATCH = "checkpoint"
TENSORS = "tensors.safetensors"
CHECKED = 64 * 2**20  # bytes of an artifact that are worth a checksum whenever a process first reads it: 0.1 s
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


class Store:
    """Artifacts under one root; ``$VAELIB_BUILD/store`` unless given."""

    def __init__(self, root: Path | None = None):
        self.root = Path(root or paths.build_root() / "store")

    def folder(self, artifact: Artifact) -> Path:
        """Return where the finished artifact lies (or would)."""
        return self.root / artifact.kind / artifact.key

    def has(self, artifact: Artifact) -> bool:
        """Return True if the artifact is finished; every file is there in its full size."""
        return self.has_manifest(artifact) and not self.complaints(artifact, deep=False)

    def has_manifest(self, artifact: Artifact) -> bool:
        """Return True if the artifact was finished once."""
        return (self.folder(artifact) / MANIFEST).exists()

    def manifest(self, artifact: Artifact) -> dict[str, Any]:
        """Return the manifest.

        Raises:
            VaelibError: it is not JSON, or belongs to other settings.
        """
        path = self.folder(artifact) / MANIFEST
        content = read_manifest(path)
        if content["key"] != artifact.key:
            raise VaelibError(f"{path} belongs to other settings; delete {path.parent} and run again")
        if content["version"] != artifact.version:
            raise VaelibError(
                f"{path} is of version {content['version']}, this vaelib makes and reads {artifact.kind} of version "
                f"{artifact.version}; use the vaelib that made it, or delete {path.parent} and run again"
            )
        return content

    def manifests(self, artifacts: Iterable[Artifact]) -> list[dict[str, Any]]:
        """Return the manifests of those that are there: what a finished artifact was made from may have been deleted since."""
        return [self.manifest(one) for one in artifacts if self.has_manifest(one)]

    def complaints(self, artifact: Artifact, deep: bool = True) -> list[str]:
        """Return what is wrong with a finished artifact; see :func:`folder_complaints`."""
        return folder_complaints(self.folder(artifact), self.manifest(artifact)["files"], deep)

    def require(self, artifact: Artifact) -> Path:
        """Return the folder of a finished artifact.

        Checksums are compared once a process, up to ``CHECKED`` bytes; a bank of gigabytes is for ``vaelib verify``.

        Raises:
            VaelibError: absent or damaged.
        """
        if not self.has_manifest(artifact):
            raise VaelibError(f"{artifact.kind} {artifact.key} is not in {self.root}; make it with `vaelib run`")
        listed = self.manifest(artifact)["files"]
        small = sum(facts["bytes"] for facts in listed.values()) <= CHECKED
        wrong = folder_complaints(self.folder(artifact), listed, small, _sha256_once)
        if wrong:
            raise VaelibError(f"{wrong[0]}; delete {self.folder(artifact)} and run again")
        return self.folder(artifact)

    @contextlib.contextmanager
    def making(self, artifact: Artifact, device: str = "auto") -> Iterator[Path | None]:
        """Hold the artifact's lock and yield its work folder, or None if it is already there; publish on success.

        Two processes, of one host or of two, that want the same artifact make it once: the second waits, then finds it.
        Its manifest says on which ``device`` it was made.
        """
        final = self.folder(artifact)
        if self.has_manifest(artifact):
            self.require(artifact)
            yield None
            return
        with self.plainly(artifact):
            final.parent.mkdir(parents=True, exist_ok=True)
            with Lock(final.with_name(f"{artifact.key}.lock"), f"{artifact.kind} {artifact.key}") as lock:
                if self.has_manifest(artifact):
                    self.require(artifact)
                    yield None
                    return
                work = self.work_folder(artifact)
                work.mkdir(exist_ok=True)
                # Of a holder that was killed, or stood still, while publishing.
                (work / MANIFEST).unlink(missing_ok=True)
                start = time.monotonic()
                forget_peak()
                yield work
                self._publish(artifact, work, final, time.monotonic() - start, lock, device)

    @contextlib.contextmanager
    def plainly(self, artifact: Artifact) -> Iterator[None]:
        """Turn what the disk refuses into one line with the way out."""
        try:
            yield
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            raise VaelibError(
                f"cannot write {artifact.kind} {artifact.key} under {self.root}: {error.strerror or error}; free some "
                "disk or set VAELIB_BUILD to another folder, then run again: it goes on from its checkpoint"
            ) from error

    def work_folder(self, artifact: Artifact) -> Path:
        """Return the folder an unfinished artifact grows in."""
        return self.folder(artifact).with_name(f"{artifact.key}.work")

    def log(self, artifact: Artifact) -> Path:
        """Return where a failed run tells what happened."""
        return self.folder(artifact).with_name(f"{artifact.key}.log")

    def _publish(self, artifact: Artifact, work: Path, final: Path, seconds: float, lock: Lock, device: str) -> None:
        lock.check()
        for path in (work / SCRATCH).glob("*.seconds"):  # parts made elsewhere
            seconds += float(path.read_text(encoding="ascii"))
        whole = (path for path in work.rglob("*") if path.is_file() and not files.is_part(path))
        kept = (path for path in whole if path.name != MANIFEST and work / SCRATCH not in path.parents)
        names = sorted(path.relative_to(work).as_posix() for path in kept)
        for name in names:
            files.sync(work / name)
        manifest = {
            "kind": artifact.kind,
            "key": artifact.key,
            "version": artifact.version,
            "settings": artifact.model_dump(mode="json"),
            "code": provenance(device),
            "environment": environment() | {"peak_bytes": peak_memory()},
            "seconds": round(seconds, 2),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "files": {n: {"bytes": (work / n).stat().st_size, "sha256": files.sha256(work / n)} for n in names},
        }
        files.write_json(work / MANIFEST, manifest)
        lock.check()
        shutil.rmtree(final, ignore_errors=True)  # without a manifest it is nobody's
        os.replace(work, final)
        files.sync(final.parent)
        # The checkpoint is needed until here. What else is left was being written by a process that was killed, or that will
        # find the folder gone (`make_shard`).
        shutil.rmtree(final / SCRATCH, ignore_errors=True)
        for part in filter(files.is_part, final.rglob("*")):
            part.unlink(missing_ok=True)

    def finished(self) -> list[Path]:
        """Return the folders of all finished artifacts."""
        return sorted(path.parent for path in self.root.glob(f"*/*/{MANIFEST}") if path.parent.suffix != ".work")


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a finished artifact, whatever its settings.

    Raises:
        VaelibError: it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        _ = content["key"], content["version"], content["settings"]
        _ = [(facts["bytes"], facts["sha256"]) for facts in content["files"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VaelibError(f"{path} is not a readable manifest ({error}); delete {path.parent} and run again") from None
    return content


def folder_complaints(
    folder: Path, listed: dict[str, dict[str, Any]], deep: bool = True, digest: Callable[[Path], str] = files.sha256
) -> list[str]:
    """Return which of a manifest's files are missing, resized or (``deep``) altered."""
    wrong = []
    for name, facts in listed.items():
        path = folder / name
        if not path.exists():
            wrong.append(f"{path} is missing")
        elif path.stat().st_size != facts["bytes"] or (deep and digest(path) != facts["sha256"]):
            wrong.append(f"{path} was altered after it was made")
    return wrong


@cache
def _sha256_of(path: Path, size: int, mtime: int) -> str:
    return files.sha256(path)


def _sha256_once(path: Path) -> str:
    """Return a file's SHA-256, computed again only if the file looks another."""
    return _sha256_of(path, path.stat().st_size, path.stat().st_mtime_ns)


def _digest(tensors: dict[str, Tensor], meta: str) -> str:
    state = hashlib.sha256(meta.encode())
    for name in sorted(tensors):
        state.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        state.update(tensors[name].flatten().view(torch.uint8).numpy())
    return state.hexdigest()


def save_tensors(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any] | None = None) -> None:
    """Write tensors as safetensors, atomically; ``meta`` is kept as JSON in the header, beside a checksum of it all."""
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    meta = dict(meta or {})
    # One entry: several are written in any order, and equal content should be equal bytes.
    header = {"meta": json.dumps(meta | {"sha256": _digest(flat, json.dumps(meta))})}

    def write(part: Path) -> None:
        try:
            save_file(flat, str(part), metadata=header)
        except SafetensorError as error:  # its own, where others raise OSError
            raise OSError(errno.EIO, str(error)) from error

    files.write_atomic(path, write)


def load_tensors(path: Path, device: str | torch.device = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read :func:`save_tensors`.

    Raises:
        VaelibError: the file is truncated, altered or something else.
    """
    from safetensors import safe_open

    try:
        with safe_open(str(path), "pt") as file:
            header = file.metadata() or {}
        tensors, meta = load_file(str(path)), dict(json.loads(header.get("meta", "{}")))
    except (OSError, SafetensorError, ValueError) as error:
        raise VaelibError(f"{path} is not a readable checkpoint ({error}); delete it and run again") from None
    if (digest := meta.pop("sha256", None)) and digest != _digest(tensors, json.dumps(meta)):
        raise VaelibError(f"{path} was altered after it was made; delete it and run again")
    return {name: tensor.to(device) for name, tensor in tensors.items()}, meta


def load_split(store: Store, data: Data, name: str) -> Tensor:
    """Return a split of a finished data set: ``train``, ``test``, ``train_labels`` or ``test_labels``."""
    return load_tensor(store.require(data) / f"{name}.npy")


def load_tensor(path: Path, stop: int | None = None) -> Tensor:
    """Return a copy in memory of what :func:`load_array` maps, or of its first rows; raises what that does."""
    return torch.from_numpy(np.array(load_array(path)[:stop]))


def load_array(path: Path) -> np.ndarray:
    """Memory-map an ``.npy`` file; pickled content is refused.

    Raises:
        VaelibError: the file is truncated or something else.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")  # np.load would open a zip, too
    except (OSError, ValueError) as error:
        raise VaelibError(f"{path} is not a readable array ({error}); delete its folder and run again") from None
