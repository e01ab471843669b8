"""What a reader runs, at a size that takes seconds: every notebook, the report they fill, the README's program."""

import json
import re
from pathlib import Path

import jupytext
import nbformat
import pandas as pd
import pytest
from PIL import Image

from vaelib.notebooks import execution
from vaelib.report.claims import judge_build
from vaelib.report.html import write_report
from vaelib.runs import Store
from vaelib.site.rendering import to_html

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
PARAMETERS = {"profile": "smoke", "dataset": "fashion_mnist", "likelihood": "default"}


@pytest.fixture(scope="module")
def shared_build(tmp_path_factory):
    """Return one build folder for all notebooks, with the checkout's downloads in it so that they are made once."""
    folder = tmp_path_factory.mktemp("build")
    (folder / "data").symlink_to(downloads(), target_is_directory=True)
    return folder


def downloads() -> Path:
    """Return the checkout's own download folder."""
    folder = ROOT / "build" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_a_picture(source, shared_build, monkeypatch):
    monkeypatch.setenv("VAELIB_BUILD", str(shared_build))
    out = shared_build / "smoke/notebooks" / f"{source.stem}.ipynb"
    execution.run(source, out, PARAMETERS, timeout=300)
    done = nbformat.read(out, 4)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "stream" and output.name == "stderr" for output in outputs)
    to_html(out, out.with_suffix(".html"))
    assert "data:image/png" in out.with_suffix(".html").read_text()


def test_the_files_that_others_read(shared_build, monkeypatch):
    """Runs after the notebooks: their tables, figures, claims and report are complete."""
    if not (shared_build / "smoke/tables").exists():
        pytest.skip("needs the notebooks' results: run the whole file")
    build = shared_build / "smoke"
    table = pd.read_csv(build / "tables/three_gaps.csv")
    wanted = "dataset likelihood method seed effective_epochs elbo_train elbo_test elbo_star_test generalization_gap"
    assert {*wanted.split(), "amortization_gap", "robustness_gap", "robustness_gap_se"} <= set(table.columns)
    assert set(table["method"]) == {"normal", "dmaapx", "aug_tuned", "aug_naive"}
    assert not table[wanted.split()].isna().any().any()
    assert {"effective_epoch", "quantity", "value"} <= set(pd.read_csv(build / "tables/curves.csv").columns)
    for name in ("table_07", "table_11"):
        assert {"paper", "ours"} <= set(pd.read_csv(build / f"tables/{name}.csv").columns)
    drawn = (
        "fig03 fig04_left fig04_right fig05 fig06 fig07 fig08 fig09 fig11 fig13 fig14 fig15 fig16 fig17 fig18 fig19 audit "
        "early_stopping sensitivity floors ms_ssim attack_strength attack_steps regularisers refinement"
    )
    ground_truth = ["fig01", "table01_accuracy", "remark_b5", "calibration", "missed_modes"]
    for name in (*ground_truth, *(f"{figure}_fashion_mnist" for figure in drawn.split())):
        low, high = Image.open(build / "figures" / f"{name}.png").convert("L").getextrema()
        assert low < 100 < high == 255, f"{name} is blank"
        alternative = json.loads((build / "figures" / f"{name}.json").read_text())["alt"]
        assert alternative.startswith("Figure: ")
        assert not re.search(r"[$\\{}]|,\||\|,", alternative), "what is left of TeX reads badly aloud"
        assert "<svg" in (build / "figures" / f"{name}.svg").read_text()[:2000]
    rows = judge_build(build, "smoke")
    assert {row["verdict"] for row in rows if row["evidence"] == "our runs"} == {"not_testable"}
    keys = {"id", "claim", "paper_location", "quantity", "paper_value", "our_value", "interval", "verdict"}
    assert all(keys <= set(row) for row in json.loads((build / "claims.json").read_text()))
    page = write_report(build).read_text()
    assert "supports no claim" in page
    assert not re.search(r"""(?:src|href)=["']https?:""", page)


SHIPPED = [
    "00_tour",
    "03_three_gaps",
    "04_latent_smoothness",
    "07_prior_work",
    "11_cheap_alternatives",
    "12_memorisation",
]


@pytest.mark.parametrize(("profile", "name"), [*(("laptop", name) for name in SHIPPED), ("overnight", "03_three_gaps")])
def test_run_all_draws_what_comes_with_the_project_and_trains_nothing(profile, name, tmp_path, monkeypatch):
    """As a reader runs it, cells with sliders included; ``make SET=use_results=true`` runs the rest of notebook 03."""
    monkeypatch.setenv("VAELIB_BUILD", str(tmp_path))
    (tmp_path / "data").symlink_to(downloads(), target_is_directory=True)
    cells = [cell for cell in jupytext.read(ROOT / "notebooks" / f"{name}.py").cells if cell.cell_type == "code"]
    names = {}
    for cell in cells:
        exec(compile(cell.source, name, "exec"), names)  # the notebooks of this checkout
        if "parameters" in cell.metadata.get("tags", []):
            names |= {"profile": profile, "overrides": {"use_results": True}}
    assert {folder.name for folder in Store().root.glob("*")} <= {"data"}
    page = write_report(tmp_path / profile).read_text(encoding="utf-8")
    assert name == "00_tour" or "taken from" in page  # the tour has no tables
    assert ('class="live"' in page) == ((profile, name) == ("laptop", "03_three_gaps"))


def test_the_readmes_program_runs(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    exec(compile(program, "README.md", "exec"), names)
    assert names["G_a"] >= 0
    assert capsys.readouterr().out.startswith("1 ")
