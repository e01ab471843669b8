"""Nothing is lost: kills at random moments, locks whose holder is dead, asleep or elsewhere, and damaged files.

``VAELIB_KILL_SEED`` draws other moments; a failure prints its own.
"""

import collections
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.small import TINY
from vaelib import runs
from vaelib.files import write_json
from vaelib.report.study import study_named
from vaelib.runs import Store, missing
from vaelib.runs.cost import price
from vaelib.runs.engine import all_artifacts

SEED = int(os.environ.get("VAELIB_KILL_SEED", "0"))
# Its children are forked from a process that has everything imported: a start costs milliseconds and shares no state.
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(
    [
        "vaelib.runs.stages",
        "vaelib.report.claims",
        "diffusers.models.unets.unet_2d",
        "sklearn.svm",
        "tests.test_survival",
    ]
)
MAIN = ("teacher", "bank", "vae", "gaps")
TIMES = ("sampling_cost.csv",)  # measured anew by each run


# --- kill -9 ------------------------------------------------------------------------------------------------------


def work(build: str, names: tuple[str, ...], toy: str, settings: dict) -> None:
    """Make experiments and their tables, a checkpoint an epoch."""
    os.setsid()
    torch.set_num_threads(1)
    os.environ["VAELIB_BUILD"] = build
    os.environ["VAELIB_CHECKPOINT_SECONDS"] = "0"
    for name in names:
        chosen = study_named(name).runs("smoke", toy, overrides=settings)
        runs.run(chosen.runs, workers=0)
        runs.write_tables(chosen)


class Program:
    """Something that fills a build folder, may be killed at any time, and is then started again."""

    def __init__(self, build: Path, names: tuple[str, ...], toy: str, settings: dict):
        self.build, self.arguments = build, (str(build), names, toy, settings)
        chosen = [study_named(name).runs("smoke", toy, overrides=settings).runs for name in names]
        self.wanted = [run for some in chosen for run in some]
        self.store = Store(build / "store")

    def start(self) -> tuple[int, object]:
        """Start it in a process group of its own; return the group and a function that waits for its exit status."""
        process = FORK.Process(target=work, args=self.arguments)
        process.start()

        def status(timeout: float | None = None) -> int | None:
            process.join(timeout)
            return process.exitcode

        return process.pid, status

    def finish(self) -> None:
        """Run it to its end."""
        assert self.start()[1]() == 0

    def in_progress(self) -> list[str]:
        """Return the kinds of artifacts that were begun and are not finished."""
        return sorted({path.parent.name for path in self.store.root.glob("*/*.work")})

    def left(self) -> set[str]:
        """Return the kinds of artifacts that are still to be made."""
        return {artifact.kind for artifact in missing(self.wanted, self.store)}

    def kill(self, pattern: str, delay: float) -> list[str]:
        """Start it, kill it ``delay`` seconds after ``pattern`` is in the store; return what it was at, if it was alive."""
        group, status = self.start()
        while status(0.001) is None and not list(self.store.root.glob(pattern)):
            pass
        if status(delay) is not None:
            assert status() == 0
            return []
        os.killpg(group, signal.SIGKILL)
        assert status() in (-signal.SIGKILL, 128 + signal.SIGKILL)
        assert self.survivors() == []
        return self.in_progress() or ["tables"]

    def survivors(self) -> list[int]:
        """Return the processes that work in the build folder ten seconds after the kill: workers, a kernel."""
        alive = [0]
        for _ in range(100):
            if not (alive := processes_of(self.build)):
                break
            time.sleep(0.1)
        return alive


class Notebook(Program):
    """The same through ``vaelib notebook run``: a kernel, and two workers of its own."""

    def start(self) -> tuple[int, object]:
        build, (name,), toy, settings = self.arguments
        slow = {"machine": price.identity(), "rates": dict.fromkeys(price.RATES, 1e3)}  # else there were no workers
        write_json(Path(build) / "calibration.json", slow)
        out = Path(build) / "out.ipynb"
        command = [sys.executable, "-m", "vaelib", "notebook", "run", f"03_{name}", "--out", str(out)]
        for option in ("profile=smoke", f"dataset={toy}", f"overrides={settings}"):
            command += ["-p", option]
        env = os.environ | {"VAELIB_BUILD": build, "VAELIB_CHECKPOINT_SECONDS": "0"}
        process = subprocess.Popen(command, env=env, start_new_session=True, stdout=subprocess.DEVNULL)

        def status(timeout: float | None = None) -> int | None:
            try:
                return process.wait(timeout)
            except subprocess.TimeoutExpired:
                return None

        return process.pid, status


def processes_of(build: Path) -> list[int]:
    """Return the processes that have ``build`` as the build folder in their environment."""
    mark = f"VAELIB_BUILD={build}".encode()

    def holds(environ: Path) -> bool:
        try:
            return mark in environ.read_bytes().split(b"\0")
        except OSError:
            return False

    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if holds(path)]


def same(one: Program, other: Program) -> None:
    """Assert that two builds hold the same bytes: every file of every artifact, and the tables."""
    for artifact in all_artifacts(other.wanted):
        assert one.store.manifest(artifact)["files"] == other.store.manifest(artifact)["files"], artifact.kind
        assert other.store.complaints(artifact) == []
    assert other.in_progress() == []
    tables = [path for path in (other.build / "smoke/tables").glob("*.csv") if path.name not in TIMES]
    ours = {path.name: path.read_bytes() for path in tables}
    theirs = {name: (one.build / "smoke/tables" / name).read_bytes() for name in ours if name != "table_07.csv"}
    assert len(theirs) >= 2
    assert theirs == {name: ours[name] for name in theirs}


def seconds_by_kind(program: Program) -> dict[str, float]:
    """Return how long the shortest artifact of each kind took."""
    found: dict[str, float] = {}
    for artifact in all_artifacts(program.wanted):
        seconds = program.store.manifest(artifact)["seconds"]
        found[artifact.kind] = min(seconds, found.get(artifact.kind, seconds))
    return found


def test_kill_9_then_resume_is_bit_identical(toy, tmp_path):
    straight, killed = (Program(tmp_path / name, ("three_gaps",), toy, TINY) for name in ("straight", "killed"))
    straight.finish()
    rng, length, hits = np.random.default_rng(SEED), seconds_by_kind(straight), collections.Counter()
    for kind in MAIN:
        hits.update(killed.kill(f"{kind}/*.work", rng.uniform(0, length[kind])))
    print(f"seed {SEED}, killed in {dict(hits)}")
    assert hits.total() >= 3
    killed.finish()
    same(straight, killed)


@pytest.mark.slow
def test_twenty_kills_in_every_stage_and_a_notebook(tmp_path, capsys):
    toy, rng = str(tmp_path / "toy.npz"), np.random.default_rng(SEED)
    labels = np.arange(320) % 2  # enough to test classifiers on
    np.savez(toy, images=(rng.random((320, 28, 28)) * 80 + 100 * labels[:, None, None]).astype(np.uint8), labels=labels)
    settings = TINY | {"n_test": 60, "epochs": 30, "teacher_images": 2_000}
    settings |= {"classifier_images": 20, "c2st_images": 20, "c2st_tested": 8}
    names = ("three_gaps", "downstream", "teacher_sheet")
    straight, killed = (Program(tmp_path / name, names, toy, settings) for name in ("straight", "killed"))
    straight.finish()
    length, hits = seconds_by_kind(straight), collections.Counter()
    for artifact in all_artifacts(killed.wanted):
        for _ in range(2 if artifact.kind in MAIN else 1):
            if not killed.store.has_manifest(artifact):
                # The machine may be quicker now: a short delay, lest the kill come after the end.
                delay = rng.uniform(0, min(0.3, length[artifact.kind] / 4))
                hits.update(killed.kill(f"{artifact.kind}/{artifact.key}.work", delay))
    killed.finish()
    same(straight, killed)

    notebook, seen = Notebook(tmp_path / "notebook", names[:1], toy, settings), collections.Counter()
    for kind in ("teacher", "bank", "vae", "vae", "gaps", "gaps"):
        if kind in notebook.left():
            seen.update(notebook.kill(f"{kind}/*.work", rng.uniform(0, min(1.0, length[kind]))))
    notebook.finish()
    same(straight, notebook)
    with capsys.disabled():
        print(f"\nseed {SEED}: killed in {dict(hits)}, with a notebook in {dict(seen)}")
    assert hits.total() + seen.total() >= 20
    assert set(MAIN) <= {kind for kind, count in hits.items() if count > 1}
