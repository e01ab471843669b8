"""Where a number comes from: the line below each figure, its table as a link, commits that are mixed, the checker's list."""

import base64
import io
import re

import pandas as pd
import pytest
import yaml

from tests.test_report import HEADLINES, publish_alone, tables, three_gaps_figure
from vaelib import paths
from vaelib.report.html import write_report
from vaelib.report.study import studies
from vaelib.results.codecheck import codecheck
from vaelib.runs import Store
from vaelib.runs.engine import all_artifacts
from vaelib.runs.tables import commits_of
from vaelib.studies.three_gaps.runs import three_gaps
from vaelib.version import __version__

COMMAND = "vaelib run three_gaps --dataset 'a <b>.npz'"


@pytest.fixture
def drawn(build_folder):
    """Return the figure of a build whose runs were made at two commits."""
    folder = build_folder / "laptop"
    (folder / "tables").mkdir(parents=True)
    gaps, curves = tables(3)
    gaps.to_csv(folder / "tables/three_gaps.csv", index=False)
    options = {"dataset": "fashion_mnist", "likelihood": "gaussian", "command": COMMAND}
    return publish_alone(
        three_gaps_figure(curves, gaps, title_note="x"), HEADLINES["fashion_mnist", "gaussian"], "laptop", "three_gaps",
        "fashion_mnist", **options, runs=["0123456789ab"] * 12, commits=["abc1234", "def5678"],
    )  # fmt: skip


def test_the_report_says_below_a_figure_what_makes_it_and_gives_its_table(drawn, build_folder):
    page = write_report(build_folder / "laptop").read_text()
    assert "vaelib run three_gaps --dataset &#39;a &lt;b&gt;.npz&#39;" in page
    assert "runs 0123456 0123456 0123456 … (12)" in page
    name, data = re.search(r'<a download="([^"]+)" href="data:text/csv;base64,([^"]+)"', page).groups()
    assert name == "three_gaps_fashion_mnist_gaussian.csv"
    given = pd.read_csv(io.BytesIO(base64.b64decode(data)))
    pd.testing.assert_frame_equal(given, tables(3)[0])
    assert "several commits: abc1234, def5678" in page


def test_runs_of_one_commit_are_not_flagged(drawn, build_folder):
    path = build_folder / "laptop/figures/fig11_fashion_mnist.json"
    for commits in (' "commits": [\n  "abc1234"\n ]', ' "other": []'):  # and a record that is older than this
        text = re.sub(r' "commits": \[[^]]*\]', commits, path.read_text())
        path.write_text(text)
        assert "several commits" not in write_report(build_folder / "laptop").read_text()


def test_a_notebooks_figure_has_the_same_line(drawn):
    page = drawn._repr_mimebundle_()[0]["text/html"]
    for part in ("&#x27;a &lt;b&gt;.npz&#x27;", "tables/three_gaps.csv", "notebook 03_three_gaps", "abc1234, def5678"):
        assert part in page


def test_the_commits_are_those_of_the_runs_and_of_what_they_are_made_from(toy):
    experiment = three_gaps("smoke", toy, overrides={"n_train": 20, "n_test": 10})
    assert commits_of(experiment) == []
    store, made = Store(), all_artifacts(experiment.runs)
    for number, one in enumerate(made):
        with store.making(one) as folder:
            (folder / "x").write_bytes(b"x")
        path = store.folder(one) / "manifest.json"
        other = "abc" if number else "the data's"
        path.write_text(re.sub(r'("commit": )"[^"]*"', rf'\1"{other}"', path.read_text()))
    assert made[0].kind == "data"
    assert commits_of(experiment) == ["abc"]


def test_the_checkers_list_is_that_of_the_studies():
    text = (paths.project_root() / "codecheck.yml").read_text()
    assert text == codecheck()
    files = [entry["file"] for entry in yaml.safe_load(text)["manifest"]]
    assert len(files) == len(set(files))
    for study in studies().values():
        assert {f"build/<profile>/tables/{table}.csv" for table in study.tables} <= set(files)
        assert all(f"build/<profile>/figures/{figure.name}*.png" in files for figure in study.figures)


def test_the_citation_has_what_its_format_asks_for():
    cited = yaml.safe_load((paths.project_root() / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(cited)
    assert cited["version"] == __version__
    paper = cited["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Xiao", "Zenn", "Bamler"]
    assert {"type", "title", "authors", "year", "url"} <= set(paper)
    assert "doi" not in paper
