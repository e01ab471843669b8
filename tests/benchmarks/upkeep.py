"""Rows about what is not science: checkpoints, and a second ``make all`` that finds everything made."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from vaelib import paths
from vaelib.models import MixtureOfLogistics, ResidualVAE
from vaelib.runs.settings import VAERun
from vaelib.runs.stages import context, make, resolve_data
from vaelib.runs.store import Store, save_tensors
from vaelib.training.vae import VAEState

from .clock import spent, watched
from .sampling import random_images
from .table import LeftOut, Row

PATIENCE = 120  # seconds, after which a second `make all` has found something to do


def checkpoints(quick: bool = False) -> list[Row]:
    """Return the seconds of a checkpoint beside the training between two.

    The stage's own writing is timed, made more frequent so that a short run has some; a second row has the paper's
    largest residual network on two floors of latents, whose checkpoint is the heaviest that a VAE has.
    """
    images, epochs, pause = (64, 2, 0.0) if quick else (2_000, 20, 0.5)
    usual, rows = context.checkpoint_seconds(), []
    with tempfile.TemporaryDirectory() as name:
        store, data = Store(Path(name) / "store"), resolve_data(str(random_images(Path(name), images)))
        make(data, store, "cpu")
        with (
            mock.patch.dict(os.environ, VAELIB_CHECKPOINT_SECONDS=str(pause)),
            watched(context, "save_tensors") as times,
        ):
            make(VAERun(data=data, epochs=epochs, evaluations=(epochs,), snapshots=(epochs,)), store, "cpu")
        state = VAEState(ResidualVAE(4 if quick else 256, 1, 3, MixtureOfLogistics()))
        heavy = [spent(lambda: save_tensors(Path(name) / "state", state.tensors()), time.perf_counter) for _ in "123"]
    for network, seconds in (("fully connected", times), (f"residual, {'nc = 4' if quick else 'nc = 256'}", heavy)):
        written = statistics.median(seconds)
        against = f"training between two, {usual:g} s"
        rows.append(Row(f"checkpoint of a VAE, {network}", "s", written, usual, against, 0.02, most=True))
    return rows


def _is_current(build: Path, root: Path) -> bool:
    """Return True if the smoke profile was made whole by this very code: what the Makefile itself compares."""
    scripts = sorted((root / "notebooks").glob("[0-9]*.py"))
    made = [build / f"smoke/notebooks/{path.stem}.fashion_mnist.ipynb" for path in scripts]
    copies, code = [build / "src" / path.name for path in scripts], build / "src/lib.sum"
    if not all(path.exists() for path in [*copies, *made, code, build / "smoke/report.html"]):
        return False
    line = "cat $(find vaelib -type f -not -name '*.pyc') | cksum"
    now = subprocess.run(["bash", "-c", line], cwd=root, capture_output=True, text=True, check=True).stdout
    pairs = zip(copies, scripts, strict=True)
    return code.read_text() == now and all(copy.read_bytes() == path.read_bytes() for copy, path in pairs)


def warm_make(quick: bool = False) -> list[Row]:
    """Return the seconds of a ``make all PROFILE=smoke`` that finds everything made."""
    build, root = paths.build_root(), paths.project_root()
    if quick or shutil.which("make") is None or not _is_current(build, root):
        raise LeftOut("no whole smoke build of this code is there; `make smoke` makes it in some minutes")
    settings = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # of the make that runs this
    environment = {name: value for name, value in os.environ.items() if name not in settings}
    prefix = Path(sys.prefix)
    command = ["make", "all", "PROFILE=smoke", f"ENV={prefix}", "-o", str(prefix / ".vaelib-ready")]
    start = time.perf_counter()
    try:
        subprocess.run(
            command, cwd=root, env=environment | {"VAELIB_BUILD": str(build)}, capture_output=True, timeout=PATIENCE
        ).check_returncode()
    except subprocess.TimeoutExpired:
        raise LeftOut(
            f"`make all PROFILE=smoke` had more to do than {PATIENCE} s hold; run it, then this again"
        ) from None
    return [Row("second `make all`, smoke", "s", time.perf_counter() - start)]
