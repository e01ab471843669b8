"""In a real Chromium: JupyterLab and Voila run a paired notebook whose slider answers; the report works with the network cut.

Without a browser (or Voila) these tests are skipped, in CI (``CI=true``) they fail. Pictures are kept in ``build/screenshots``.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote

import jupytext
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from vaelib.models import FullyConnectedVAE
from vaelib.notebooks.execution import run as run_notebook
from vaelib.notebooks.pairs import sync
from vaelib.report.claims import judge_build
from vaelib.report.explorers.curves import CurveLists, curve_twin, heaviest, settled
from vaelib.report.explorers.static import attack_twin
from vaelib.report.html import write_report
from vaelib.report.publish import publish_alone
from vaelib.site.rendering import to_html
from vaelib.studies.three_gaps.figures import three_gaps_figure
from vaelib.studies.three_gaps.pages import HEADLINES

from .conftest import PICTURES
from .test_report import tables
from .test_safety import NAME, hostile_outputs

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 240_000  # milliseconds, for a machine that others use too


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Return a report from synthetic tables, with the ledger, a figure and a slider of two."""
    monkeypatch.setenv("VAELIB_BUILD", str(tmp_path))
    build = tmp_path / "laptop"
    gaps, curves = tables(3)
    (build / "tables").mkdir(parents=True)
    gaps.assign(key="0123").to_csv(build / "tables/three_gaps.csv", index=False)
    pd.DataFrame(curves).to_csv(build / "tables/curves.csv", index=False)
    setting = {"dataset": "fashion_mnist", "likelihood": "gaussian"}
    figure = three_gaps_figure(curves, gaps, title_note="x")
    publish_alone(figure, HEADLINES["fashion_mnist", "gaussian"], "laptop", "three_gaps", "fashion_mnist", **setting)
    torch.manual_seed(0)
    vaes = {name: FullyConnectedVAE(d_z=2, hidden=8) for name in ("normal", "dmaapx")}
    attack_twin(vaes, torch.rand(1, 1, 32, 32), 0, "laptop", "fig11_fashion_mnist", steps=10)
    judge_build(build, "laptop")
    return write_report(build)


def test_names_like_markup_run_nothing_in_pages(browser, report, tmp_path):
    """Every kind of output that shows a name, the report, and a whole notebook, on data called like a script."""
    build = report.parent
    outputs = [nbformat.v4.new_output("display_data", {kind: text}) for kind, text in hostile_outputs(tmp_path)]
    cells = [nbformat.v4.new_code_cell("shown", outputs=outputs, execution_count=1)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "shown.ipynb")
    gaps = pd.read_csv(build / "tables/three_gaps.csv").assign(dataset=f"/data/{NAME}", source=NAME)
    gaps.to_csv(build / "tables/three_gaps.csv", index=False)
    series = pd.DataFrame({"series": ["dmaapx", "normal"], "x": [1.0, np.nan], "elbo_test": [1.0, 0.0], "seed": 0})
    series.assign(dataset=f"/data/{NAME}", likelihood="gaussian", n_train=3, source=NAME, elbo_train=2.0).assign(
        elbo_test_se=0.1, elbo_train_se=0.1, experiment="limited_k"
    ).to_csv(build / "tables/limited_k.csv", index=False)
    figure = next((build / "figures").glob("fig11*.png"))
    record = json.loads(figure.with_suffix(".json").read_text())
    record |= dict.fromkeys(("dataset", "caption", "alt", "command", "commit", "study"), NAME) | {"runs": [NAME]}
    figure.with_name(f"fig02_{NAME}.json").write_text(json.dumps(record))
    figure.rename(figure.with_name(f"fig02_{NAME}.png"))
    (build / "build.json").write_text(json.dumps({NAME: {NAME: NAME}}))
    judge_build(build, "laptop")
    images = tmp_path / NAME
    (images / "class").mkdir(parents=True)
    Image.new("L", (32, 32)).save(images / "class/0.png")
    run_notebook(ROOT / "notebooks/10_claims.py", tmp_path / "10.ipynb", {"dataset": str(images)}, log=False)
    pages = [to_html(tmp_path / name, tmp_path / f"{name}.html") for name in ("shown.ipynb", "10.ipynb")]
    page, asked = browser.new_page(), []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    for path in (*pages, write_report(build)):
        page.goto(path.as_uri())
        page.wait_for_timeout(200)
        assert "onerror=alert(1)" in page.inner_text("body")
        assert [url for url in asked if not url.startswith(("data:", f"file://{quote(str(tmp_path))}"))] == []
        assert [url for url in asked if url.startswith("file:") and not url.endswith((".html", ".html#"))] == []
    page.close()


def shown(page):
    """Return the number of the slider's frame that is visible."""
    return page.eval_on_selector_all(
        ".twin img", "all => all.map((m, i) => m.offsetParent ? i : -1).filter(i => i >= 0)"
    )


def drawn(page):
    """Return the points of each curve that the page has drawn."""
    lines = page.eval_on_selector_all(".curves polyline", "all => all.map(one => one.getAttribute('points'))")
    return [np.array([place.split(",") for place in line.split()], dtype=float) for line in lines]


def smoothed(values, weight, first):
    """Return a curve averaged exponentially from its point ``first`` on, which nothing earlier drags.

    y_t = Σ_s w^{t-s} x_s / Σ_s w^{t-s}, first ≤ s ≤ t, for points that are taken as evenly spaced; y_t = x_t before.
    """
    result = np.array(values, dtype=float)
    for t in range(first, len(values)):
        weights = weight ** np.arange(t - first, -1, -1)
        result[t] = weights @ values[first : t + 1] / weights.sum()
    return result


def curves_answer(page):
    """Pick runs, smooth and change the axis of the report's training curves, and compare with the library's numbers."""
    curves = json.loads(page.locator(".curves").get_attribute("data-points"))["elbo_test"]
    before = np.array(curves[0][1])
    page.locator(".curves [type=range]").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert page.locator(".curves output").text_content() == "0.50"
    even = smoothed(before, 0.5, settled(np.array(curves[0][0])))
    slope, offset = np.polyfit(even, drawn(page)[0][:, 1], 1)  # the axis fits the smoothed lines
    np.testing.assert_allclose(drawn(page)[0][:, 1], slope * even + offset, atol=0.01)
    page.keyboard.press("End")
    assert page.locator(".curves output").text_content() == f"{heaviest([np.array(curves[0][0])]):.2f}"
    late = np.concatenate([line[settled(np.array(xs)) :, 1] for line, (xs, _) in zip(drawn(page), curves, strict=True)])
    assert 10 < late.min() < 40  # from the top of the plot to its bottom
    assert 225 < late.max() < 255
    page.locator(".curves .log").check()
    across = np.polyval(np.polyfit(np.log(curves[0][0]), drawn(page)[0][:, 0], 1), np.log(curves[0][0]))
    np.testing.assert_allclose(drawn(page)[0][:, 0], across, atol=0.01)
    assert len(drawn(page)) == len(curves) > 3
    for run in page.locator(".curves .run").all()[1:]:
        run.uncheck()
    assert len(drawn(page)) == 1
    page.locator(".curves .run").first.uncheck()
    assert page.locator(".curves > svg").text_content() == "no such run picked"
    for run in page.locator(".curves .run").all():
        run.check()


def test_one_list_of_runs_is_shown_at_a_time_and_answers(browser, tmp_path):
    rows = pd.DataFrame({"method": "normal", "seed": 0, "quantity": "elbo_test", "effective_epoch": [1, 2, 3, 4, 5]})
    twins = [curve_twin(rows.assign(value=values)) for values in ([1.0, 2, 3, 4, 5], [5.0, 4, 3, 2, 1])]
    file = tmp_path / "lists.html"
    file.write_text(CurveLists(dict(zip(("<b>up", "down"), twins, strict=True)))._repr_html_(), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    visible = page.locator("figure.curves:visible")
    assert visible.count() == 1
    up, down = drawn(page)  # both are drawn, one is shown
    assert up[0, 1] > up[-1, 1]
    assert down[0, 1] < down[-1, 1]
    assert json.loads(visible.get_attribute("data-points"))["elbo_test"][0][1] == [1, 2, 3, 4, 5]
    page.locator("select").first.select_option("down")
    assert visible.count() == 1
    assert json.loads(visible.get_attribute("data-points"))["elbo_test"][0][1] == [5, 4, 3, 2, 1]
    page.close()


def test_the_report_works_from_a_file_with_the_network_cut(browser, report):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page, wrong, asked = context.new_page(), [], []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    curves_answer(page)
    delta, steps = page.locator(".twin input").all()
    assert shown(page) == [3 * 6 + 5]
    delta.focus()
    page.keyboard.press("ArrowRight")
    steps.focus()
    page.keyboard.press("Home")
    assert shown(page) == [4 * 6]
    assert page.locator(".twin output").all_text_contents() == ["0.15", "0"]
    assert page.eval_on_selector_all("img", "all => all.every(one => one.naturalWidth > 0)")

    ledger = page.locator("table.ledger").first
    every = ledger.locator("tbody tr").count()
    page.locator(".filters select").first.select_option("contradicted")
    left = ledger.locator("tbody tr:visible")
    assert 0 < left.count() < every
    assert set(left.locator("td:first-child").all_text_contents()) == {"contradicted"}
    assert page.locator(".filters output").first.text_content() == f"{left.count()} of {every}"
    page.locator(".filters select").first.select_option("")
    page.locator(".filters input").first.fill("amortization")
    assert 0 < left.count() < every
    page.locator(".filters input").first.fill("")
    for sign in (1, -1):
        ledger.locator("th button", has_text="Ours").click()
        cells = ledger.locator("tbody td:nth-child(7)")
        values = [float(text) for text in cells.evaluate_all("all => all.map(one => one.dataset.value)") if text]
        assert values == sorted(values, reverse=sign < 0)
        assert len(values) > 3
    page.screenshot(path=PICTURES / "report_light.png")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=PICTURES / "report_dark.png")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 28)"
    page.emulate_media(media="print", color_scheme="dark")
    page.screenshot(path=PICTURES / "report_print.png", full_page=True)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".filters").first.is_visible()
    assert wrong == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    context.close()


def test_on_a_telephone_the_headline_opens_at_full_size_and_the_page_stays_in_place(browser, report):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(report.as_uri())
    picture, drawn_at = page.locator("figure img").first, int(page.locator("figure img").first.get_attribute("width"))
    width = "one => one.getBoundingClientRect().width"
    assert picture.evaluate(width) < 390 < drawn_at
    page.screenshot(path=PICTURES / "report_telephone.png")
    picture.click()
    assert picture.evaluate(width) == drawn_at
    page.screenshot(path=PICTURES / "report_telephone_full.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_text("fit to the page").first.click()
    assert picture.evaluate(width) < 390
    links = page.eval_on_selector_all("a[href]", "all => all.map(one => one.getAttribute('href'))")
    links = [link for link in links if link != "#" and not link.startswith("data:text/csv;")]  # a table to keep
    assert all(page.locator(f"[id='{unquote(link[1:])}']").count() == 1 for link in links)
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_a_page_looks_the_same_without_the_styles_that_it_does_not_use(browser, tmp_path, monkeypatch, width, scheme):
    """A notebook's text and outputs, rendered with JupyterLab's whole sheets and with what is left of them."""
    v4 = nbformat.v4
    text = "# A title\n\nText with $x^2$, `code`, a [link](a.html):\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    outputs = [v4.new_output("stream", text="seen\n"), v4.new_output("stream", name="stderr", text="warned\n")]
    table = {"text/html": pd.DataFrame({"a": [1.5]}).to_html()}
    outputs.append(v4.new_output("execute_result", table, execution_count=1))
    code = v4.new_code_cell("x = 1  # a comment\nprint('seen')", execution_count=1, outputs=outputs)
    nbformat.write(v4.new_notebook(cells=[v4.new_markdown_cell(text), code]), tmp_path / "a.ipynb")
    slim = to_html(tmp_path / "a.ipynb", tmp_path / "slim.html")
    monkeypatch.setattr("vaelib.site.rendering.slim", lambda page: page)
    whole = to_html(tmp_path / "a.ipynb", tmp_path / "whole.html")
    assert len(slim.read_bytes()) < len(whole.read_bytes()) - 200_000
    assert "Copyright (c) Jupyter Development Team" in slim.read_text()
    page = browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
    seen = []
    for path in (slim, whole):
        page.goto(path.as_uri())
        seen.append(page.screenshot(full_page=True))
    page.close()
    assert seen[0] == seen[1]


@pytest.fixture
def tour(tmp_path):
    """Return a folder with notebook 00 and its pair at smoke size, and the environment to serve it in."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copy(ROOT / "notebooks/jupytext.toml", folder)
    source = (ROOT / "notebooks/00_tour.py").read_text()
    assert 'profile = "laptop"' in source
    (folder / "00_tour.py").write_text(source.replace('profile = "laptop"', 'profile = "smoke"'))
    sync(folder=folder)
    data = tmp_path / "build"
    data.mkdir()
    (ROOT / "build/data").mkdir(parents=True, exist_ok=True)
    (data / "data").symlink_to(ROOT / "build/data", target_is_directory=True)
    homes = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "RUNTIME")}
    environment = os.environ | homes | {"PYTHONPATH": str(ROOT), "VAELIB_BUILD": str(data), "HOME": str(tmp_path)}
    environment.pop("MPLBACKEND", None)
    return folder, environment


@contextlib.contextmanager
def serving(module, options, environment, log):
    """Run a server as ``python -m module`` on a free port of this machine alone; yield its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", module, *options, "--no-browser", f"--port={port}"]
    with open(log, "w") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=ROOT)
        try:
            for _ in range(150):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert server.poll() is None, log.read_text()
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture
def lab(tmp_path, tour):
    """Return JupyterLab's address of notebook 00, and the folder it lies in."""
    folder, environment = tour
    settings = tmp_path / "settings"
    wanted = {
        "notebook-extension/tracker": '{"windowingMode": "none"}',  # else cells out of sight are not in the page
        "apputils-extension/notification": '{"fetchNews": "false"}',
    }
    for name, text in wanted.items():
        path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    options = [
        "--allow-root", "--ip=127.0.0.1", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}",
        f"--LabApp.user_settings_dir={settings}",
    ]  # fmt: skip
    with serving("jupyterlab", options, environment, tmp_path / "lab.log") as address:
        yield f"{address}/lab/tree/00_tour.ipynb?reset", folder


@pytest.fixture
def voila(tmp_path, tour):
    """Return the address of notebook 00 as Voila shows it, or skip (in CI: fail) without Voila."""
    if find_spec("voila") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Voila: pip install voila")
    folder, environment = tour
    options = [str(folder / "00_tour.ipynb"), "--Voila.ip=127.0.0.1"]
    with serving("voila", options, environment, tmp_path / "voila.log") as address:
        yield address


def slider_changes_the_picture(page):
    """Drag the attack explorer's δ and wait for another picture; it has thumbnails and, last, the picture itself."""
    picture = page.locator("img.widget-image").last
    picture.wait_for()
    page.wait_for_function("[...document.querySelectorAll('img.widget-image')].at(-1).naturalWidth > 0")
    picture.scroll_into_view_if_needed()
    old, seen = picture.get_attribute("src"), picture.screenshot()
    page.locator(".widget-slider .noUi-handle").first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function("old => [...document.querySelectorAll('img.widget-image')].at(-1).src !== old", arg=old)
    page.wait_for_timeout(300)
    assert picture.screenshot() != seen


def test_jupyterlab_runs_a_paired_notebook_and_its_slider_changes_the_picture(browser, lab):
    address, folder = lab
    before = (folder / "00_tour.py").read_text()
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    slider_changes_the_picture(page)
    page.screenshot(path=PICTURES / "jupyterlab_attack.png")
    page.keyboard.press("Control+s")
    page.wait_for_function("!document.querySelector('.jp-mod-dirty')")
    page.close()
    saved = jupytext.read(folder / "00_tour.py")
    assert [cell.source for cell in saved.cells] == [cell.source for cell in jupytext.reads(before, "py:percent").cells]
    assert any(cell.get("outputs") for cell in jupytext.read(folder / "00_tour.ipynb").cells)
    assert sync(check=True, folder=folder) == []  # outputs and all that Jupyter noted do not count


def test_voila_shows_a_paired_notebook_without_code_and_its_slider_changes_the_picture(browser, voila):
    page, asked = browser.new_page(viewport={"width": 1280, "height": 900}), []
    page.set_default_timeout(PATIENCE)
    # Voila's template names fonts of another host; voila.json lets the browser ask nobody else ("csp": it did not).
    page.on("requestfailed", lambda request: asked.remove(request.url) if request.failure == "csp" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(voila)
    page.get_by_role("heading", name="Gap three: robustness").wait_for()
    slider_changes_the_picture(page)
    page.screenshot(path=PICTURES / "voila_attack.png")
    assert "attack_explorer" not in page.inner_text("body")
    assert [url for url in asked if not url.startswith(("data:", "blob:", voila))] == []
    page.close()
