"""That ``make gpu-check`` runs: what of it a CPU can do, on a CPU; what it does without a GPU; how it judges."""

import ast
import json
import math
import re
import signal
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

from .gpu import __main__ as program
from .gpu.agreement import Found, measured, teacher, waited
from .gpu.timings import rows


def test_a_number_is_good_if_it_is_small_enough():
    assert Found(0.0, 0.0, "").good
    assert not Found(1.0, 0.5, "").good
    assert not Found(math.nan, 0.5, "").good


@pytest.mark.parametrize("check", [teacher, measured], ids=lambda check: check.__name__)
def test_the_cpu_agrees_with_itself(check):
    found = dict(check("cpu"))
    assert found
    assert all(one.value == 0 for one in found.values()), found


def test_the_table_has_its_rows():
    found = list(rows("cpu", quick=True))
    assert len(found) == 7
    assert all(row["roofline"] > 0 for row in found)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_and_ends_well(capsys):
    assert program.main([]) == 0
    assert capsys.readouterr().out.startswith("gpu-check: skipped, since this machine has no CUDA device")


def test_what_fails_is_named_and_what_follows_still_runs(monkeypatch, capsys, build_folder):
    def breaks(device):
        yield "first", Found(2.0, 1.0, "nats")
        raise ValueError("no such kernel")

    def works(device):
        yield "second", Found(0.0, 1.0, "nats")

    monkeypatch.setattr(program, "CHECKS", (breaks, works))
    monkeypatch.setenv("VAELIB_HEADLESS", "1")
    assert program.main(["--device", "cpu", "--quick", "--only", "breaks", "--only", "works"]) == 1
    said = capsys.readouterr().out
    assert "BAD breaks: ValueError: no such kernel" in said
    assert "1 of 3 checks good" in said
    written = json.loads((build_folder / "gpu-check.json").read_text())
    assert [one["good"] for one in written["checks"].values()] == [False, False, True]


def test_what_there_was_no_time_for_is_named_and_no_success(monkeypatch, capsys, build_folder):
    clock = [0.0]
    monkeypatch.setattr(program.time, "monotonic", lambda: clock[0])

    def slow(device):
        for number in range(3):
            clock[0] += 0.6 * program.SECONDS
            yield f"number {number}", Found(0.0, 1.0, "nats")

    def late(device):
        raise AssertionError("begun when the time was over")
        yield "never", Found(0.0, 1.0, "nats")

    monkeypatch.setattr(program, "CHECKS", (slow, late))
    monkeypatch.setenv("VAELIB_HEADLESS", "1")
    monkeypatch.setattr(program, "_end", math.inf)
    assert program.main(["--device", "cpu", "--quick", "--only", "slow", "--only", "late"]) == 1
    said = capsys.readouterr().out
    assert "2 of 2 checks good" in said
    assert [f"left out: {name}: the 480 s were over" in said for name in ("slow", "late")] == [True, True]
    assert program._left(60) == 1.0  # so a command that is begun now ends soon


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm on this system")
def test_a_part_that_never_ends_is_ended(monkeypatch, capsys):
    def stuck(device):
        while True:
            time.sleep(0.01)
        yield "never", Found(0.0, 1.0, "nats")

    monkeypatch.setattr(program, "CHECKS", (stuck,))
    monkeypatch.setattr(program, "SECONDS", 0.2)
    monkeypatch.setenv("VAELIB_HEADLESS", "1")
    monkeypatch.setattr(program, "_end", math.inf)
    assert program.main(["--device", "cpu", "--quick", "--only", "stuck"]) == 1
    assert "left out: stuck: the 480 s were over" in capsys.readouterr().out


def test_a_command_has_the_time_that_is_left(monkeypatch):
    monkeypatch.setattr(program, "_end", program.time.monotonic() + 1)
    done = program._command(sys.executable, "-c", "import time; time.sleep(60)", seconds=120)
    assert (done.returncode, done.stderr) == (124, "no end within 1 s")


def test_only_pytorchs_own_words_for_a_wait_count_as_one():
    """It says once that it may "not yet detect all synchronizing operations", on the first wait or none."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        prototype = (
            "Synchronization debug mode is a prototype feature and does not yet detect all synchronizing operations"
        )
        for text in (
            prototype,
            "called a synchronizing CUDA operation (Triggered internally at CUDAFunctions.cpp:147.)",
        ):
            warnings.warn(text, stacklevel=1)
    assert len(waited(told)) == 1


def test_the_bundle_lists_what_its_parts_import(capsys):
    """Packages that the loaded modules of the library and the tests that need a GPU import, but for torch and what it brings."""
    program.bundle()
    said = capsys.readouterr().out
    listed = set(re.findall(r"(\S+)==", said))
    assert {
        "distributed",
        "diffusers",
        "jupytext",
        "pandas",
        "papermill",
        "pydantic",
        "pytest",
        "scipy",
        "typer",
    } <= listed
    assert not {"torch", "vaelib", "pyarrow", "torchvision", "jupyter-server"} & listed
    files = [
        Path(program.importlib.import_module(name).__file__) for name in program.USED if name.startswith("vaelib.")
    ]
    files += [*program.with_gpu_tests(), program.ROOT / "tests/conftest.py"]
    owners = program.owners()
    for path in files:
        found = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {one.name for node in found if isinstance(node, ast.Import) for one in node.names}
        names |= {node.module for node in found if isinstance(node, ast.ImportFrom) and not node.level}
        tops = {name.partition(".")[0] for name in names} & set(owners) - {"tests", "torch", "vaelib"}
        assert {program._normal(owners[top][0]) for top in tops} <= listed, path
    sizes = [float(size) for size in re.findall(r"([\d.]+) MB:", said)]
    assert 5 < sizes[0] < 60  # of what has to be carried in any case
    assert said.endswith("PYTHONPATH=$PWD python -m tests.gpu\n")  # `make` would ask the network for more
