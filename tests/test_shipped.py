"""Results that come with the project: packed from a build, drawn from without one."""

import re

import pytest
from typer.testing import CliRunner

from tests.test_report import HEADLINES, publish_alone, tables, three_gaps_figure
from vaelib import paths
from vaelib.cli import app
from vaelib.errors import VaelibError
from vaelib.report import shipped
from vaelib.report.claims import judge_build
from vaelib.report.html import write_report


@pytest.fixture
def build(build_folder, tmp_path, monkeypatch):
    """Return a laptop build with a headline, in a project of its own."""
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "project")
    folder = build_folder / "laptop"
    (folder / "tables").mkdir(parents=True)
    gaps, curves = tables(3)
    for name, table in (("three_gaps", gaps), ("curves", curves)):
        table.to_csv(folder / f"tables/{name}.csv", index=False)
    place = {"dataset": "fashion_mnist", "likelihood": "gaussian"}
    publish_alone(
        three_gaps_figure(curves, gaps, title_note="x"),
        HEADLINES["fashion_mnist", "gaussian"],
        "laptop",
        "three_gaps",
        "fashion_mnist",
        **place,
    )
    judge_build(folder, "laptop")
    return folder


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_packed_build_gives_the_same_report_where_nothing_is_made(build, tmp_path, monkeypatch):
    (build / "logs").mkdir()
    (build / "logs/x.log").write_text("not for readers")
    kept = shipped.pack("laptop")
    own = write_report(build).read_text()
    assert {path.name for path in kept} >= {"three_gaps.csv", "fig11_fashion_mnist.png", "claims.json"}
    assert not any(path.suffix in (".log", ".svg") for path in kept)
    before = bytes_of(shipped.results_folder("laptop"))
    shipped.pack("laptop")
    assert bytes_of(shipped.results_folder("laptop")) == before
    monkeypatch.setenv("VAELIB_BUILD", str(tmp_path / "fresh"))
    done = CliRunner().invoke(app, ["report"])
    assert done.exit_code == 0
    assert "results that come with the project" in done.output
    assert (tmp_path / "fresh/laptop/report.html").read_text() == own
    assert bytes_of(shipped.results_folder("laptop")) == before  # read, not judged again


def test_what_is_made_here_comes_before_what_was_shipped(build):
    shipped.pack("laptop")
    assert shipped.shown_build("laptop") == (build, True)
    (build / "tables/three_gaps.csv").unlink()
    (build / "tables/curves.csv").unlink()
    assert shipped.shown_build("laptop") == (shipped.results_folder("laptop"), False)


@pytest.mark.parametrize(
    ("limit", "words"), [("LARGEST", "fig11_fashion_mnist.png.*over"), ("IN_ALL", "results would take")]
)
def test_what_is_too_large_is_refused_and_nothing_is_lost(build, monkeypatch, limit, words):
    shipped.pack("laptop")
    before = bytes_of(shipped.results_folder("laptop"))
    monkeypatch.setattr(shipped, limit, 1000)
    with pytest.raises(VaelibError, match=words):
        shipped.pack("laptop")
    assert bytes_of(shipped.results_folder("laptop")) == before


def test_what_is_shipped_is_small_and_has_every_record():
    """The files of this checkout themselves."""
    every = [path for path in (paths.project_root() / "results").rglob("*") if path.is_file()]
    assert max((path.stat().st_size for path in every), default=0) <= shipped.LARGEST
    assert sum(path.stat().st_size for path in every) <= shipped.IN_ALL
    for picture in (path for path in every if path.suffix == ".png"):
        assert picture.with_suffix(".json") in every
        assert not re.search(r"\+", picture.with_suffix(".json").read_text().partition('"commit": ')[2])
