"""Prove on a GPU what can only be proven there, in at most eight minutes and without a network; write ``build/gpu-check.json``.

python -m tests.gpu                    # make gpu-check; without a GPU it says so and ends well
python -m tests.gpu --device cpu --quick   # what of it runs on a CPU, small
python -m tests.gpu --bundle           # make gpu-check-bundle: what a machine without a network has to be brought
"""

import argparse
import contextlib
import importlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaelib import files, paths
from vaelib.planning.machine_speed import calibrate
from vaelib.precision import mps_runs, usable_gpus
from vaelib.runs import Store, run
from vaelib.runs.cluster import CUDA_NEED
from vaelib.runs.cost.price import this_machine
from vaelib.runs.cost.work import work
from vaelib.runs.provenance import provenance
from vaelib.runs.settings import Data, VAERun
from vaelib.runs.stages import resolve_data

from .agreement import CHECKS, Found, images
from .timings import rows

SECONDS = 480.0  # of the whole; what is not done by then is left out, named, and no success
OVER = f"the {SECONDS:.0f} s were over"
ROOT = Path(__file__).resolve().parents[2]
_end = math.inf  # when the time is over, of time.monotonic()


class _Over(BaseException):
    """The time is over: no exception that a part might take for one of its own."""


def _ring(*_: object) -> None:
    raise _Over


def _left(most: float = math.inf) -> float:
    """Return the seconds that are left, ``most`` at most."""
    return max(min(most, _end - time.monotonic()), 1.0)


def _while_there_is_time(parts: Iterator[Any], name: str, left: dict[str, str]) -> Iterator[Any]:
    """Yield parts until the time is over; the part that is under way then is ended, and the name noted in ``left``."""
    while time.monotonic() < _end:
        try:
            yield next(parts)
        except StopIteration:
            return
    left[name] = OVER


def _command(*words: str, seconds: float, **environment: str) -> subprocess.CompletedProcess:
    """Run a command in the project's folder; its words may be read afterwards, and one without end has failed."""
    seconds = _left(seconds)
    options = {"cwd": ROOT, "env": os.environ | environment, "capture_output": True, "text": True}
    try:
        return subprocess.run(words, timeout=seconds, check=False, **options)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"no end within {seconds:.0f} s")


def _ended(done: subprocess.CompletedProcess) -> Found:
    last = (done.stdout.strip() or done.stderr.strip() or "nothing said").splitlines()[-1]
    return Found(abs(done.returncode), 0, last[-200:])


def with_gpu_tests() -> list[Path]:
    """Return the files with tests that need a GPU; all others would ask for packages that the bundle leaves out."""
    return [path for path in sorted(ROOT.glob("tests/test_*.py")) if "\n@pytest.mark.gpu" in path.read_text()]


def commands(device: str, quick: bool) -> Iterator[tuple[str, Found]]:
    """Run doctor, the tests that need a GPU, and a teacher by torchrun with one process."""
    python = sys.executable
    yield "doctor", _ended(_command(python, "-m", "vaelib", "doctor", seconds=120))
    if device != "cpu":
        files = map(str, with_gpu_tests())
        yield "pytest -m gpu", _ended(_command(python, "-m", "pytest", "-q", "-m", "gpu", *files, seconds=180))
    with tempfile.TemporaryDirectory() as folder:
        options = [
            "--profile",
            "smoke",
            "--dataset",
            _toy(Path(folder)),
            "--set",
            "n_train=40 n_test=16 teacher_images=200",
        ]
        launcher = [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
        done = _command(*launcher, "-m", "vaelib", "teacher", *options, seconds=120, VAELIB_BUILD=folder)
        yield "torchrun, one process", _ended(done)


def _toy(folder: Path) -> str:
    """Write a small data set of two classes; return its path."""
    path = folder / "toy.npz"
    np.savez(path, images=images(80)[:, 0].numpy(), labels=np.arange(80) % 2)
    return str(path)


def killed_worker(device: str, quick: bool) -> Iterator[tuple[str, Found]]:
    """Run a smoke notebook with two workers and kill one of them."""
    import psutil

    with tempfile.TemporaryDirectory() as folder:
        out, tiny = (
            str(Path(folder) / "out.ipynb"),
            "n_train=40 n_test=20 epochs=200 evaluations=10 teacher_images=400 k=1",
        )
        words = [
            sys.executable,
            "-m",
            "vaelib",
            "notebook",
            "run",
            "03_three_gaps",
            "--out",
            out,
            "-p",
            "profile=smoke",
        ]
        words += ["-p", f"dataset={_toy(Path(folder))}", "--set", tiny]
        environment = os.environ | {"VAELIB_BUILD": folder, "VAELIB_WORKERS": "2"}
        started = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        killed, end = 0, time.monotonic() + _left(180)
        while not killed and started.poll() is None and time.monotonic() < end:
            for lock in Path(folder).glob("store/vae/*.lock"):  # of a worker that has begun a VAE
                with contextlib.suppress(OSError, psutil.Error):
                    holder = re.search(r"^pid=(\d+)$", lock.read_text(), re.MULTILINE)
                    if holder and int(holder[1]) != started.pid and not killed:
                        psutil.Process(int(holder[1])).kill()
                        killed += 1
            time.sleep(0.2)
        try:
            said, _ = started.communicate(timeout=_left(180))
        finally:
            started.kill()  # where it has not ended
        yield (
            "a notebook whose worker was killed",
            Found(abs(started.returncode), 0, (said.strip() or "-").splitlines()[-1][-200:]),
        )
        yield "workers killed (1)", Found(abs(killed - 1), 0, str(killed))


def several(device: str, quick: bool) -> Iterator[dict[str, Any]]:
    """Time 1, 4 and 8 VAEs by as many workers; then what the plan says of one beside what it took."""
    from distributed import system

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        size = {"n_train": 40, "n_test": 20} if quick else {"n_train": 2_000, "n_test": 100}
        path = Path(folder) / "own.npz"
        many = images(2 * sum(size.values()))
        np.savez(path, images=many[:, 0].numpy(), labels=np.arange(len(many)) % 2)
        data: Data = resolve_data(str(path), **size)
        epochs = 4 if quick else 200
        for workers in (1, 2) if quick else (1, 4, 8):
            if device != "cpu" and workers > 1 and workers >= system.MEMORY_LIMIT // CUDA_NEED:
                memory = f"{system.MEMORY_LIMIT / 2**30:.0f} GiB of memory is too little"
                yield {"what": f"{workers} VAEs by {workers} workers", "ms": None, "left out": memory}
                continue
            settings = {"epochs": epochs, "evaluations": (epochs,), "snapshots": (epochs,)}
            wanted = [VAERun(data=data, seed=100 * workers + seed, **settings) for seed in range(workers)]
            start = time.perf_counter()
            run(wanted, store=store, workers=workers, device=device, title=f"{workers} at once")
            seconds = time.perf_counter() - start
            inside = max(store.manifest(one)["seconds"] for one in wanted)
            name = f"{workers} VAEs by {workers} workers, {epochs} epochs"
            yield {
                "what": name,
                "ms": 1e3 * inside,
                "vaes_an_hour": 3_600 * workers / inside,
                "with_starting_s": seconds,
            }
        calibrate()
        planned, took = this_machine().seconds(work(wanted[0])), store.manifest(wanted[0])["seconds"]
        yield {"what": "plan, seconds of one of them", "planned_s": planned, "took_s": took, "ratio": planned / took}


USED = (  # modules that load what it needs, and others' packages that these modules import
    "vaelib.cli", "vaelib.runs.worker", "vaelib.notebooks.execution", "vaelib.studies.three_gaps.pages", "vaelib.models.denoiser",
    "diffusers", "distributed", "filelock", "ipykernel.kernelapp", "jupytext", "matplotlib.pyplot", "nbclient", "nbformat",
    "pandas", "papermill", "psutil", "pytest", "scipy.special", "typer", "yaml",
)  # fmt: skip
OFTEN_THERE = {"fonttools", "kiwisolver", "matplotlib", "numpy", "pandas", "pillow", "scipy"}  # beside torch, and large


def _normal(name: str) -> str:
    """Return the name of a distribution, or of the one that a requirement asks for, as packages are compared."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


@cache
def owners() -> Mapping[str, list[str]]:
    """Return the distributions of every top-level module; reading all of their lists takes seconds."""
    return metadata.packages_distributions()


def _with_needs(names: list[str]) -> set[str]:
    """Return distributions and all that they require, without extras."""
    found: set[str] = set()
    while names:
        name = _normal(names.pop())
        if name not in found:
            found.add(name)
            with contextlib.suppress(metadata.PackageNotFoundError):
                names += [need for need in metadata.requires(name) or [] if "extra ==" not in need]
    return found


def wheel_size(name: str) -> int:
    """Return about how many bytes the wheel of an installed distribution has: its files, compressed as a wheel's are."""
    there = [file.locate() for file in metadata.files(name) or []]
    return sum(len(zlib.compress(file.read_bytes())) for file in there if file.is_file() and file.suffix != ".pyc")


def bundle() -> None:
    """Print what a machine that has torch and no network must be brought."""
    for name in USED:
        importlib.import_module(name)
    from diffusers import UNet2DModel  # noqa: F401 - it imports the rest of what it needs

    def of(modules: Iterable[str]) -> set[str]:
        return {_normal(one) for name in modules for one in owners().get(name.partition(".")[0], [])}

    # Loaded, and asked for: packages load what they happen to find, too.
    asked = _with_needs(["vaelib", *of(name for name in USED if not name.startswith("vaelib"))])
    wanted = of(sys.modules) & asked - _with_needs(["torch"]) - {"vaelib"}
    print("# the project without results, 2 MB; the images are made there:")
    print("git archive --prefix=vaelib/ -o vaelib.tar.gz HEAD -- . ':!results'")
    for names, what in (
        (wanted - OFTEN_THERE, "beside torch and what it brings"),
        (wanted & OFTEN_THERE, "more, unless that machine has them"),
    ):
        print(f"# {len(names)} wheels {what}, {sum(map(wheel_size, names)) / 1e6:.0f} MB:")
        print(
            "pip download --no-deps -d wheels "
            + " ".join(f"{name}=={metadata.version(name)}" for name in sorted(names))
        )
    print("# and there:\npip install --no-index --no-deps wheels/*.whl")
    print("tar xzf vaelib.tar.gz && cd vaelib && PYTHONPATH=$PWD python -m tests.gpu")


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return "NaN" if math.isnan(value) else f"{value:.3g}"


def main(words: list[str] | None = None) -> int:
    """Run everything, write it, print the table; return 1 if a check failed or was left out."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--bundle", action="store_true", help="list what has to be carried instead")
    parser.add_argument("--only", action="append", default=[], help="parts by name, again for more")
    given = parser.parse_args(words)
    if given.bundle:
        bundle()
        return 0
    if given.device != "cpu" and not usable_gpus():
        print("gpu-check: skipped, since this machine has no CUDA device; `--device cpu --quick` runs what a CPU can")
        return 0
    os.environ["VAELIB_HEADLESS"] = "1"
    global _end
    start, checked, timed, left = time.monotonic(), {}, [], {}
    _end = start + SECONDS
    if hasattr(signal, "setitimer"):
        before = signal.signal(signal.SIGALRM, _ring)
        signal.setitimer(signal.ITIMER_REAL, SECONDS, 5)  # again, where it rings in code that swallows it

    def part(name: str, call: Callable[[], Iterator[Any]]) -> None:
        if given.only and name not in given.only:
            return
        try:
            for found in _while_there_is_time(call(), name, left):
                if isinstance(found, dict):
                    timed.append(found)
                    print("  ".join(f"{key} {_shown(value)}" for key, value in found.items()), flush=True)
                else:
                    label, result = found
                    checked[label] = result._asdict() | {"good": result.good}
                    word = "good" if result.good else "BAD "
                    print(
                        f"{word} {label}: {_shown(float(result.value))} (≤ {_shown(float(result.most))}, {result.what})",
                        flush=True,
                    )
        except _Over:  # in the middle of a part
            left[name] = OVER
        except Exception as error:  # the rest is worth knowing, too
            checked[name] = {"value": None, "most": None, "what": f"{type(error).__name__}: {error}", "good": False}
            print(f"BAD  {name}: {type(error).__name__}: {error}", flush=True)

    try:
        for check in CHECKS:
            part(check.__name__, lambda check=check: check(given.device))
        for more in (commands, killed_worker, several, rows):  # what is proven before what is timed
            part(more.__name__, lambda more=more: more(given.device, given.quick))
    except _Over:
        left["what came then"] = OVER
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    bad = [name for name, found in checked.items() if not found["good"]]
    record = {
        "machine": provenance(),
        "device": given.device,
        "mps": mps_runs(),
        "quick": given.quick,
        "checks": checked,
        "timings": timed,
    }
    path = paths.build_root() / "gpu-check.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record |= {"left_out": left, "seconds": round(time.monotonic() - start)}
    files.write_json(path, json.loads(json.dumps(record).replace("NaN", "null").replace("Infinity", "null")))
    turns = "at once (CUDA MPS)" if record["mps"] else "in turn (no CUDA MPS)"
    print(f"\n{record['machine']['device']}, workers {turns}, torch {torch.__version__}, {record['seconds']} s")
    for row in timed:
        print(f"| {row['what']} | " + " | ".join(f"{k} {_shown(v)}" for k, v in row.items() if k != "what") + " |")
    print(
        f"{len(checked) - len(bad)} of {len(checked)} checks good"
        + "".join(f"\nBAD {name}: {checked[name]['what']}" for name in bad)
    )
    print("".join(f"left out: {name}: {why}\n" for name, why in left.items()) + f"written: {paths.shown(path)}")
    return int(bool(bad or left))


if __name__ == "__main__":
    sys.exit(main())
