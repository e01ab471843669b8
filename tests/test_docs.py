"""The documentation says what is so: snippets and doctests run, messages, commands, goals and links exist."""

import doctest
import html
import importlib
import json
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from typer.testing import CliRunner

import vaelib
from vaelib import paths
from vaelib.cli import app
from vaelib.report import study

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
ELSEWHERE = ("machines", "extending")  # SLURM: what needs none is in tests/test_cluster.py; a file of its own: below
TEXTS = [ROOT / "README.md", *PAGES]
SOURCES = "".join(path.read_text() for path in [ROOT / "Makefile", *(ROOT / "vaelib").rglob("*.py")])
WITH_EXAMPLES = [
    path for path in (ROOT / "vaelib").rglob("*.py") if re.search(r"^ *>>> ", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.stem not in ELSEWHERE and "```python" in page.read_text()],
    ids=lambda page: page.stem,
)
def test_the_snippets_of_a_page_run_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page.stem}
    for number, program in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), 1):
        exec(compile(program, f"{page.name}, block {number}", "exec"), names)
    if page.stem == "own-work":
        assert set(names["table"]["method"]) == {"normal", "dmaapx", "aug_naive"}
        assert names["samples"].shape == (20, 1, 32, 32)
        # The sampler carries N(0, 0.25) to uint8: mean 128, standard deviation 64.
        assert abs(float(names["samples"].float().mean()) - 127.5) < 2
        assert abs(float(names["samples"].float().std()) - 62) < 4


def test_a_study_of_ones_own_goes_from_one_file_to_the_report(tmp_path, monkeypatch):
    blocks = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
    (module, program), (installed,), commands = (
        [text for kind, text in blocks if kind == wanted] for wanted in ("python", "toml", "bash")
    )
    (tmp_path / "batches.py").write_text(module)
    # What pip would leave behind.
    (tmp_path / "batches-1.dist-info").mkdir()
    (tmp_path / "batches-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: batches\nVersion: 1\n")
    [(group, points)] = tomllib.loads(installed)["project"]["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {place}" for name, place in points.items())]
    (tmp_path / "batches-1.dist-info/entry_points.txt").write_text("\n".join(lines))
    images = np.random.default_rng(0).integers(0, 256, (120, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(120) % 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(study, "_registered", {})
    study._found.cache_clear()
    try:
        told = [_told(line) for line in commands[0].splitlines()]
        assert "batch_sizes" in told[0]
        assert "2 runs are in" in told[1]
        exec(compile(program, "extending.md", "exec"), {})
        ledger, report = (_told(line) for line in commands[1].splitlines())
    finally:
        study._found.cache_clear()
        sys.modules.pop("batches")
    assert "Small batches close the gap (ours) G_g: " in ledger
    (figure,) = (paths.build_root() / "smoke/figures").glob("batch_sizes_*.json")
    shown = json.loads(figure.read_text())
    assert (shown["study"], len(shown["runs"])) == ("batch_sizes", 2)
    assert report.startswith("report: ")
    page = (paths.build_root() / "smoke/report.html").read_text()
    assert shown["caption"] in page
    assert shown["command"] in html.unescape(page)
    assert f'alt="{html.escape(shown["alt"])}"' in page


def _told(command: str) -> str:
    """Run a line of the page; return what it printed."""
    name, *words = shlex.split(command)
    assert name == "vaelib"
    quick = {"run": ["--workers", "0"], "plan": ["--quick"]}.get(words[0], [])
    done = CliRunner().invoke(app, [*words, *quick])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_doctests(path):
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_what_a_docstring_refers_to_is_there():
    """By its whole name; a name alone is of the same module, and pdoc tells."""
    named = set(re.findall(r":(?:func|class|meth|mod|data|attr):`~?(vaelib(?:\.\w+)+)", SOURCES))
    missing = []
    for name in sorted(named):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing.append(name)
    assert len(named) > 50
    assert missing == []


def test_every_public_name_has_an_example():
    """An error needs none but the one all errors share; a version is no function."""
    bare = {name for name in vaelib.__all__ if ">>>" not in (getattr(vaelib, name).__doc__ or "")}
    assert bare == {"NonFinite", "NonFiniteLoss", "__version__"}


def test_the_messages_of_the_troubleshooting_page_are_real():
    rows = re.findall(r"^\| (`.*?) \| ", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 10
    joined = re.sub(r'"\s*\n\s*f?"', "", SOURCES)  # texts that go on in the next line
    unknown = [message for message in messages if message not in joined]
    # Of the system, and one whose path the Makefile puts together.
    system = {"No space left on device", "Read-only file system", "Permission denied"}
    assert set(unknown) <= {*system, "installing failed: see build/logs/setup.log"}


def test_the_table_of_named_variants_is_what_the_code_has():
    from vaelib.models.residual import VARIANTS
    from vaelib.runs import Profile
    from vaelib.training.mollify import Mollify

    part = (
        (ROOT / "docs/protocol.md").read_text().partition("## Where the paper leaves a choice")[2].partition("\n## ")[0]
    )
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in part.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 10
    for _, default, others, setting in rows:
        (name,) = re.findall(r"`([\w.]+)`", setting)
        if name.endswith(".Mollify"):
            assert all(str(value).removesuffix(".0") in default for value in vars(Mollify()).values())
            continue
        field = Profile.model_fields[name]
        names = (
            list(VARIANTS) if name == "variant" else [one for one in get_args(field.annotation) if isinstance(one, str)]
        )
        if names:
            assert re.findall(r"`(\w+)`", default) == [field.default]
            assert sorted(re.findall(r"`([\w+]+)`", default + others)) == sorted(names)
        elif field.default is not None:
            assert str(field.default) in default


def test_commands_and_goals_exist():
    commands, goals = set(), set()
    for path in TEXTS:
        for code in re.findall(r"`([^`\n]+)`|^((?:vaelib|make) .*)$", path.read_text(), re.MULTILINE):
            for part in code:
                commands |= set(re.findall(r"\bvaelib ([a-z]+)\b", part)) - {"report", "runs"}
                goals |= set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)\b", part))
    done = subprocess.run([sys.executable, "-m", "vaelib", "--help"], capture_output=True, text=True, check=True)
    assert all(re.search(rf"\b{command}\b", done.stdout) for command in commands), commands
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{goal}:", makefile, re.MULTILINE) for goal in goals), goals


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", path.read_text())
    assert [link for link, _ in links if not (path.parent / link).exists()] == []
    lost = [(link, part) for link, part in links if part and part not in _anchors(path.parent / link if link else path)]
    assert lost == []


def _anchors(page: Path) -> set[str]:
    """Return what a Git host calls the headings of a page of Markdown."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_table_of_figures_has_every_figure_in_the_row_of_its_notebook():
    lines = (ROOT / "docs/figures.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("|") and "figures/" in line]
    for one in study.studies().values():
        own = "".join(row for row in rows if one.notebook in row)
        assert [
            figure.name for figure in one.figures if not re.search(rf"\b{figure.name}|\b{figure.name[:4]}_", own)
        ] == []
