"""That the benchmarks run: every one at a tiny size, its rows finite. What they measure is never asserted."""

import importlib.util
import json
import math
import sys

import pytest

from vaelib.precision import bf16_pays

from .benchmarks import __main__ as program
from .benchmarks.table import LeftOut, Row, lines

PEERLESS = importlib.util.find_spec("pythae") is None


@pytest.mark.parametrize("bench", program.COMPARED + program.ALONE, ids=lambda bench: bench.name)
def test_every_benchmark_runs(bench):
    if bench.name == "make":
        with pytest.raises(LeftOut, match="make smoke"):
            bench.run(True)
        return
    if bench.name in ("pythae", "sweep") and PEERLESS:
        with pytest.raises(LeftOut, match="pip install"):
            bench.run(True)
        pytest.skip("pythae is not installed")
    if bench.name == "elbo" and not bf16_pays("cpu"):
        with pytest.raises(LeftOut, match="no bfloat16 products"):
            bench.run(True)
        return
    rows = list(bench.run(True))
    assert rows
    assert all(row.finite() for row in rows), rows


def test_a_row_judges_itself():
    faster = Row("sampling", "images/s", 3.0, 2.0, "theirs", 1.5)
    assert (faster.ratio, faster.met) == (1.5, True)
    share = Row("writing", "s", 3.0, 60.0, "all of it", 0.03, most=True)
    assert (share.ratio, share.met) == (0.05, False)
    alone = Row("import", "s", 2.0)
    assert alone.met is None
    assert alone.finite()
    assert not Row("broken", "s", math.nan).finite()
    assert not Row("broken", "s", 1.0, math.nan, "theirs").finite()
    assert json.dumps(alone.record(), allow_nan=False)
    table = lines([faster, share, alone])
    assert table[1].split()[-5:] == ["theirs", "1.5", "≥", "1.5", "yes"]
    assert table[2].split()[-3:] == ["≤", "0.03", "NO"]


def test_only_what_was_asked_for_runs_and_what_is_left_out_says_why(monkeypatch, capsys, build_folder):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "make"])
    program.main()
    said = capsys.readouterr().out
    assert "left out: make: no whole smoke build" in said
    written = json.loads((build_folder / "benchmarks.json").read_text())
    assert written["rows"] == []
    assert list(written["left_out"]) == ["make"]
    assert [one.name for one in program.chosen([], long=False) if one.long] == []
