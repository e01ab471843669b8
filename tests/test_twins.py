"""Sliders without a kernel, and what the report says of each figure: whole, escaped, and nothing fetched."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from vaelib.errors import VaelibError
from vaelib.models import FullyConnectedVAE
from vaelib.report import html
from vaelib.report.explorers import static as twins
from vaelib.report.explorers.curves import curve_twin
from vaelib.report.explorers.frames import PathPicture
from vaelib.report.explorers.static import Twin, attack_twin, keep, read_twin, traversal_twin, twin_of
from vaelib.report.html import write_report
from vaelib.report.sources import source_of
from vaelib.studies.three_gaps.pages import FIG13, HEADLINES
from vaelib.studies.three_gaps.runs import three_gaps
from vaelib.tasks.interpolation import interpolate

FIG11, FIG12 = (HEADLINES["fashion_mnist", likelihood] for likelihood in ("gaussian", "mol"))
FIGURES = [
    ("fig11_fashion_mnist", FIG11, "gaussian"),
    ("fig12_fashion_mnist", FIG12, "mol"),
    ("fig13_fashion_mnist", FIG13, "gaussian"),
    ("fig13_fashion_mnist_mol", FIG13, "mol"),
]

HOSTILE = """<img src=x onerror="alert(1)"> & 'quoted' </script><script>alert(2)</script>"""


@pytest.fixture(scope="module")
def picture():
    torch.manual_seed(0)
    vae, (x0, x1) = FullyConnectedVAE(d_z=2, hidden=8), torch.rand(2, 1, 32, 32)
    return PathPicture({"normal": interpolate(vae, x0, x1, alphas=3, samples=2)})


def pixels(frame):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(frame))).convert("RGB")).astype(int)


def test_a_twin_holds_the_picture_of_every_stop(picture, build_folder):
    twin = keep(twin_of(picture, "drag"), "smoke", "fig03_x")
    assert read_twin(build_folder / "smoke/twins/fig03_x.json").frames == twin.frames
    for stop, frame in enumerate(twin.frames):
        shown = np.asarray(picture.image(stop)).astype(int)
        assert np.abs(pixels(frame) - shown).mean() < 3
    page = twin._repr_html_()
    assert page.count("<img") == 3
    assert page.count("display: none") == 2
    assert "http" not in page


def test_two_sliders_count_their_frames_as_the_page_does(build_folder):
    torch.manual_seed(0)
    vaes = {"normal": FullyConnectedVAE(d_z=2, hidden=8)}
    twin = attack_twin(vaes, torch.rand(3, 1, 32, 32), 1, "smoke", "attack", steps=2)
    (_, radii), (_, steps) = twin.axes
    assert len(twin.frames) == len(radii) * len(steps) == 18
    assert twin.shown == twin.start[0] * 3 + twin.start[1]


def test_the_traversal_stands_beside_fig_3(build, picture, monkeypatch, build_folder):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8)
    monkeypatch.setattr(twins, "load_test_set", lambda experiment: (images, None))
    vaes = {name: FullyConnectedVAE(d_z=4, hidden=8) for name in ("normal", "dmaapx")}
    experiment = three_gaps("smoke", "fashion_mnist")
    made = traversal_twin(experiment, vaes, 3, latents=2, stops=5, figure="fig03")
    assert [len(stops) for _, stops in made.axes] == [2, 5]
    assert len(set(made.frames)) == len(made.frames) == 10
    (build / "twins").mkdir()
    kept = build_folder / "smoke/twins/fig03_fashion_mnist.traversal.json"
    (build / "twins" / kept.name).write_text(kept.read_text())
    (build / "twins/fig03_fashion_mnist.json").write_text(json.dumps(twin_of(picture, "drag α")._asdict()))
    png(build / "figures/fig03_fashion_mnist.png")
    page = write_report(build).read_text()
    assert page.index('alt="drag α"') < page.index(f'alt="{made.caption}"')
    assert page.count('type="range"') == 3


def test_the_report_draws_the_curves_of_a_headline_figures_own_setting(build):
    rows = [
        {"dataset": "fashion_mnist", "likelihood": likelihood, "method": method, "seed": seed, "quantity": quantity}
        | {"effective_epoch": epoch, "value": epoch + seed}
        for likelihood in ("gaussian", "mol")
        for method in ("dmaapx", "normal")
        for seed in (0, 1)
        for quantity in ("elbo_test", "elbo_train")
        for epoch in (20, 10)
        if likelihood == "gaussian" or method == "normal"
    ]
    pd.DataFrame(rows).to_csv(build / "tables/curves.csv", index=False)
    page = write_report(build).read_text()
    shown = [dict(found)["data-points"] for _, found in tags(page) if "data-points" in dict(found)]
    own = {"elbo_test": [[[10, 20], [10, 20]], [[10, 20], [11, 21]]] * 2}
    own |= {"elbo_train": own["elbo_test"], "generalization_gap": [[[10, 20], [0, 0]]] * 4}
    assert [json.loads(points) for points in shown] == [own, {name: series[:2] for name, series in own.items()}]
    assert page.count('class="run"') == 6
    for name in ("ELBO on test images", "ELBO on training images", "generalization gap"):
        assert page.count(f">{name}</option>") == 2


def test_curves_of_a_run_without_a_quantity_are_empty():
    rows = {"method": ["normal", "held_out"], "seed": 0, "quantity": ["elbo_test", "elbo_own"], "effective_epoch": 5}
    twin = curve_twin(pd.DataFrame(rows | {"value": [-1.23456789, 2.0]}))
    assert [name for name, *_ in twin.runs] == ["Normal training · seed 0", "Held-out real images · seed 0"]
    assert twin.points == {"elbo_test": [([5], [-1.23457]), ([], [])], "elbo_own": [([], []), ([5], [2.0])]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": ["AAAA"]}, "one frame for each stop"),
        ({"start": [9]}, "one frame"),
        ({"frames": ["<b>"] * 3}, "readable"),
    ],
)
def test_a_damaged_twin_is_refused(tmp_path, change, words):
    good = Twin([("α", ["0", "1", "2"])], [1], ["AAAA"] * 3, 10, "x")._asdict()
    (tmp_path / "t.json").write_text(json.dumps(good | change))
    with pytest.raises(VaelibError, match=words):
        read_twin(tmp_path / "t.json")
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(VaelibError, match="readable"):
        read_twin(tmp_path / "t.json")


def tags(page):
    """Return every start tag of a page with its attributes, as a browser would read them."""
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, attributes))
    parser.feed(page)
    return found


def png(path, colour="white"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (400, 200), colour).save(path)


@pytest.fixture
def build(tmp_path):
    """Return a build with two settings of one table, a record, rendered notebooks, and figures of both."""
    build = tmp_path / "laptop"
    (build / "tables").mkdir(parents=True)
    (build / "notebooks").mkdir()
    rows = [
        {"dataset": "fashion_mnist", "likelihood": likelihood, "method": "normal", "seed": seed, "n_train": 1000}
        | {"n_test": 500, "effective_epochs": 300, "source": f"Fashion <{likelihood}>", "key": f"{likelihood}-{seed}"}
        for likelihood in ("gaussian", "mol")
        for seed in (0, 1)
    ]
    pd.DataFrame(rows).to_csv(build / "tables/three_gaps.csv", index=False)
    record = {"fashion_mnist, mol": {"time in all": "9.5 process-minutes", "device": "CPU", "commit": "abc"}}
    (build / "build.json").write_text(json.dumps(record))
    for name in ("03_three_gaps.fashion_mnist", "03_three_gaps.fashion_mnist-mol", "00_tour.fashion_mnist"):
        (build / f"notebooks/{name}.html").write_text("")
    for name, shown, likelihood in FIGURES:
        png(build / f"figures/{name}.png")
        record = {"figure": shown.name, "study": "three_gaps", "dataset": "fashion_mnist", "likelihood": likelihood}
        record |= {
            "headline": shown.headline,
            "caption": shown.caption,
            "alt": "x",
            "table": shown.table,
            "command": "make",
            "commits": [],
        }
        record |= {"runs": [f"{likelihood}-0", f"{likelihood}-1"], "commit": "abc"}
        (build / f"figures/{name}.json").write_text(json.dumps(record))
    return build


@pytest.mark.parametrize(("name", "likelihood"), [(name, likelihood) for name, _, likelihood in FIGURES])
def test_a_figure_knows_its_setting_runs_time_and_notebook(build, name, likelihood):
    shown = json.loads((build / f"figures/{name}.json").read_text())
    source = source_of(build, shown, json.loads((build / "build.json").read_text()))
    facts = dict(source.facts)
    assert facts["data"] == f"Fashion <{likelihood}>"
    assert (facts["training images"], facts["epochs"], facts["seeds"]) == ("1,000", "300", "0, 1")
    assert ("wall time, teacher and samples included" in facts) == (likelihood == "mol")
    ending = "-mol" if likelihood == "mol" else ""
    assert source.href == f"notebooks/03_three_gaps.fashion_mnist{ending}.html"


def test_a_notebook_whose_default_likelihood_was_named_is_found(build):
    """`make LIKELIHOOD=gaussian` names it in the file, for it makes other notebooks than `make` does."""
    shown = json.loads((build / "figures/fig11_fashion_mnist.json").read_text())
    page = build / "notebooks/03_three_gaps.fashion_mnist.html"
    page.rename(page.with_stem("03_three_gaps.fashion_mnist-gaussian"))
    assert source_of(build, shown, {}).href == "notebooks/03_three_gaps.fashion_mnist-gaussian.html"


def test_a_figure_without_a_table_still_finds_its_notebook(build):
    shown = json.loads((build / "figures/fig11_fashion_mnist.json").read_text())
    shown |= {"study": "tour", "table": "", "runs": [], "command": "", "commit": ""}
    assert source_of(build, shown, {}).href == "notebooks/00_tour.fashion_mnist.html"
    assert source_of(build, shown | {"dataset": "binary_mnist"}, {}).href == ""
    assert source_of(build, shown | {"study": "of another package", "dataset": ""}, {})[:3] == ([], "", "")


def test_a_figure_that_somebody_put_there_is_shown_by_its_name(build):
    png(build / "figures/of_mine.png")
    assert "of mine" in write_report(build).read_text()


def test_whatever_the_build_holds_is_shown_as_text(build, picture):
    row = dict.fromkeys(["claim", "paper_location", "quantity", "notebook", "note"], HOSTILE) | {"runs": [HOSTILE]}
    row |= {"verdict": HOSTILE, "dataset": HOSTILE, "likelihood": HOSTILE, "evidence": "our runs", "id": "x"}
    row |= {"paper_value": None, "our_value": -1.5, "interval": [-2.0, -1.0]}
    (build / "claims.json").write_text(json.dumps([row, row | {"evidence": "paper's numbers"}]))
    (build / "build.json").write_text(json.dumps({HOSTILE: {HOSTILE: HOSTILE}}))
    png(build / "figures" / "fig03_&'quoted'.png")
    (build / "twins").mkdir()
    twin = twin_of(picture, HOSTILE)._replace(axes=[(HOSTILE, [HOSTILE, "1", "2"])])
    (build / "twins" / "fig03_&'quoted'.json").write_text(json.dumps(twin._asdict()))
    page = write_report(build).read_text()
    assert page.count("<script") == 1
    assert "<img src=x" not in page
    attributes = {name for _, found in tags(page) for name, _ in found}
    assert {name for name in attributes if name.startswith("on")} == {"oninput"}
    assert "&lt;img src=x onerror=" in page
    assert not re.search(r"""(?:src|href)=["'](?!data:image/webp;base64,|data:text/csv;base64,|#)""", page)


def test_sliders_are_left_out_before_the_page_grows_too_large(build, picture, monkeypatch):
    (build / "twins").mkdir()
    (build / "twins/fig11_fashion_mnist.json").write_text(json.dumps(twin_of(picture, "drag")._asdict()))
    assert 'type="range"' in write_report(build).read_text()
    monkeypatch.setattr(html, "LIMIT", 2_000)
    assert 'type="range"' not in write_report(build).read_text()
