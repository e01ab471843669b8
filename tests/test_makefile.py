"""The Makefile: its own table of contents, and that nothing runs twice."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Makefile").read_text()


def make(*arguments: str) -> str:
    return subprocess.run(
        ["make", *([] if "-C" in arguments else ["-C", str(ROOT)]), *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_help_lists_every_goal():
    listed = re.findall(r"^  make (\w+)", make("help"), re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)", TEXT, re.MULTILINE).group(1).split()
    assert sorted(listed) == sorted(set(phony) - {"FORCE"})


def test_the_default_goal_is_the_headline_and_every_notebook_belongs_to_all(tmp_path):
    dry = make("-n", f"VAELIB_BUILD={tmp_path}")
    assert "notebook run 03_three_gaps" in dry
    assert "report --profile laptop" in dry
    everything = make("-n", "all", f"VAELIB_BUILD={tmp_path}", "DATASET=some/folder/shoes")
    for path in ROOT.glob("notebooks/[0-9]*.py"):
        assert f"notebook run {path.stem} --out {tmp_path}/laptop/notebooks/{path.stem}.shoes.ipynb" in everything


def test_sweeps_are_run_where_the_paper_has_them(tmp_path):
    """They are on the residual network with a mixture of logistics whatever LIKELIHOOD says."""
    build = f"VAELIB_BUILD={tmp_path}"
    for arguments in (["DATASET=binary_mnist"], ["LIKELIHOOD=mol"]):
        dry = make("-n", "all", build, *arguments)
        assert "notebook run 03_three_gaps" in dry
        assert "notebook run 08_overparameterization" not in dry
    sweeps = make("-n", "sweeps", build, "DATASET=binary_mnist")
    assert "notebook run 08_overparameterization" in sweeps
    assert "notebook run 03_three_gaps" not in sweeps


def test_recipes_name_the_log_when_they_fail():
    assert TEXT.count("failed: see $(") == 2


FAKE_PYTHON = """#!/bin/bash
while [ $# -gt 0 ]; do
  if [ "$1" = --out ]; then mkdir -p "$(dirname "$2")"; touch "$2"; fi
  if [ "$1" = report ]; then echo REPORT; touch "$VAELIB_BUILD/laptop/report.html"; fi
  shift
done
"""


def test_another_data_set_renews_the_report_and_nothing_renews_it_twice(tmp_path):
    """With a Python that only touches files: make's own decisions."""
    environment, project = tmp_path / "env", tmp_path / "project"
    for folder in (environment / "bin", project / "vaelib", project / "notebooks"):
        folder.mkdir(parents=True)
    (project / "Makefile").write_text(TEXT)
    for name in ("pyproject.toml", "vaelib/a.py", "notebooks/00_tour.py", "notebooks/03_three_gaps.py"):
        (project / name).write_text("")
    (environment / "bin/python").write_text(FAKE_PYTHON)
    (environment / "bin/python").chmod(0o755)
    (environment / ".vaelib-ready").write_text("")
    reports = []
    for dataset in ("fashion_mnist", "binary_mnist", "binary_mnist"):
        settings = [f"DATASET={dataset}", f"VAELIB_BUILD={tmp_path / 'build'}", f"ENV={environment}"]
        reports.append("REPORT" in make("-C", str(project), "all", *settings))
    assert reports == [True, True, False]
