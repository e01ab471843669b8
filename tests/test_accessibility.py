"""axe and a keyboard in a real Chromium: the report and a rendered notebook, light and dark, wide and as on a telephone."""

import nbformat
import pandas as pd
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from vaelib.models import FullyConnectedVAE
from vaelib.report import pages
from vaelib.report.claims import judge_build
from vaelib.report.escape import styled
from vaelib.report.explorers.curves import curve_twin
from vaelib.report.explorers.live import keep_decoders
from vaelib.report.html import write_report
from vaelib.site.rendering import to_html
from vaelib.studies.three_gaps.figures import three_gaps_figure

from .test_browser import report  # noqa: F401, a fixture
from .test_report import tables

TEXT = r"""# Gaps

Money is $5, code is `$x$`, and $G_\text{g}$ is

$$G_\text{g} = \mathbb{E}_{x \sim \mathcal{D}_\text{train}}\bigl[\text{ELBO}_\Theta(x)\bigr] -
\mathbb{E}_{x \sim \mathcal{D}_\text{test}}\bigl[\text{ELBO}_\Theta(x)\bigr] + \text{and so on, and so on, and so on} \tag{3}$$

| a | b |
| --- | --- |
| $q^*$ | [a link](#Gaps) |
"""


def shown(output):
    """Return what a notebook keeps of an object that a cell ends with."""
    if hasattr(output, "_repr_mimebundle_"):
        data, _ = output._repr_mimebundle_()
        return new_output("display_data", data)
    return new_output("display_data", {"text/html": output._repr_html_()})


@pytest.fixture
def notebook(tmp_path):
    """Return a rendered notebook with one of everything that notebooks show."""
    gaps, curves = tables(2)
    claims = judge_build_rows(tmp_path)
    wide = pd.concat({name: gaps.groupby("method")[["elbo_test", "robustness_gap"]].mean() for name in "ab"}, axis=1)
    outputs = [
        three_gaps_figure(curves, gaps, title_note="x"),
        styled(wide),
        pages.verdicts(claims),
        curve_twin(curves),
    ]
    cells = [new_markdown_cell(TEXT), new_code_cell("x = 1  # a comment\nprint('said')", execution_count=1)]
    cells[1].outputs = [new_output("stream", name="stdout", text="said " * 60)]
    cells += [new_code_cell(f"show({n})", execution_count=n, outputs=[shown(one)]) for n, one in enumerate(outputs, 2)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "x.ipynb")
    return to_html(tmp_path / "x.ipynb", tmp_path / "x.html")


def judge_build_rows(folder):
    """Return the ledger of a build of synthetic tables."""
    gaps, _ = tables(3)
    (folder / "laptop/tables").mkdir(parents=True)
    gaps.assign(key="0123").to_csv(folder / "laptop/tables/three_gaps.csv", index=False)
    return judge_build(folder / "laptop", "laptop")


CONTROLS = """() => [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
  .filter(one => one.checkVisibility({visibilityProperty: true}))"""


def violations(page):
    """Return what axe finds wrong, in both colour schemes and at two widths, as lines; the page is loaded once."""
    found = []
    for scheme, width in (("light", 1280), ("light", 390), ("dark", 390)):
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)
        done = Axe().run(page).response
        assert len(done["passes"]) > 15
        found += [f"{scheme} {width} {one['id']}: {one['nodes'][0]['html'][:200]}" for one in done["violations"]]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    return found


def unreached(page):
    """Return how many of the controls that are shown the tab key does not come to."""
    page.evaluate("addEventListener('focusin', event => (window.reached ??= new Set()).add(event.target))")
    total = page.evaluate(f"({CONTROLS})().length")
    assert total > 10
    for _ in range(total + 2):
        page.keyboard.press("Tab")
    return page.evaluate(f"({CONTROLS})().filter(one => !window.reached.has(one)).length")


def test_axe_and_the_keyboard_find_nothing_wrong_in_the_report(browser, report):  # noqa: F811
    build = report.parent
    torch.manual_seed(0)
    vaes = {name: FullyConnectedVAE(d_z=4, hidden=8) for name in ("normal", "dmaapx")}
    images = (torch.rand(4, 1, 32, 32) * 255).to(torch.uint8)
    keep_decoders(vaes, images, torch.arange(4), "laptop", "fig11_fashion_mnist")
    page = browser.new_page()
    page.goto(write_report(build).as_uri())
    assert page.locator(".sliders input").count() == 4
    assert violations(page) == []
    assert unreached(page) == 0
    page.close()


def test_axe_and_the_keyboard_find_nothing_wrong_in_a_rendered_notebook(browser, notebook):
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(notebook.as_uri())
    assert violations(page) == []
    assert unreached(page) == 0
    assert page.locator("math").count() == 3
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 17)"  # dark, as asked last
    assert page.locator("img").first.get_attribute("alt").startswith("Figure: x; Generalization gap: ELBO")
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    page.close()
