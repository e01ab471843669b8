"""The site: built from a result, every link leads somewhere, nothing comes from elsewhere, it shows in a browser from disk."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from vaelib import paths
from vaelib.errors import VaelibError
from vaelib.site import build as building
from vaelib.site.build import write_site

ROOT = Path(__file__).resolve().parents[1]
TEXT = """# 5. A title with $q^*$

As notebook 03 says, and [this one](00_tour.ipynb#What-this-means), [its source](03_three_gaps.py) and `notebook 03` too;
not notebook 09, nor [that](09_attack_and_similarity.ipynb) or [a file](../pyproject.toml), but [a page](../docs/machines.md)."""


class Page(HTMLParser):
    """What a page links to and loads, and the anchors that it has."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        self.loads += [given[name] for name in ("src", "href") if tag != "a" and given.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the site of the shipped results, with one more notebook that was executed here."""
    folder = tmp_path_factory.mktemp("site")
    results = folder / "build" / "laptop"
    shutil.copytree(ROOT / "results" / "laptop", results)
    cells = [new_markdown_cell(TEXT), new_code_cell("1", execution_count=1)]
    nbformat.write(new_notebook(cells=cells), results / "notebooks" / "05_downstream_tasks.fashion_mnist.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAELIB_BUILD", str(folder / "build"))
        index, size = write_site("laptop")
    assert size == sum(path.stat().st_size for path in index.parent.rglob("*") if path.is_file()) < 40_000_000
    return index.parent


def test_every_link_of_every_page_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    pages = {path: Page(path) for path in site.rglob("*.html")}
    wrong, followed = [], 0
    for path, page in pages.items():
        for address in page.loads:
            parts = urlsplit(address)
            if parts.scheme != "data" and (parts.scheme or not (path.parent / unquote(parts.path)).is_file()):
                wrong.append(f"{path.relative_to(site)} loads {address[:80]}")
        for address in page.links:
            parts = urlsplit(address)
            if parts.scheme or ("api" in path.relative_to(site).parts and not parts.path):
                continue  # another site's page; pdoc's own anchors
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            followed += 1
            inside = target in pages and (
                not parts.fragment
                or "api" in target.parts
                or {parts.fragment, unquote(parts.fragment)} & pages[target].anchors
            )
            if not inside and not (target.is_file() and not parts.fragment):
                wrong.append(f"{path.relative_to(site)} links {address}")
    assert wrong == []
    assert followed > 500
    assert not any(re.search(r"<script[^>]*\ssrc=[\"']?(?:https?:)?//", path.read_text("utf-8")) for path in pages)


def test_all_pages_are_reached_from_the_index(site):
    reached, todo = set(), [site / "index.html"]
    while todo:
        path = todo.pop()
        if path in reached:
            continue
        reached.add(path)
        links = [urlsplit(one) for one in Page(path).links]
        todo += [
            (path.parent / unquote(one.path)).resolve()
            for one in links
            if one.path.endswith(".html") and not one.scheme
        ]
    missed = {str(path.relative_to(site)) for path in set(site.rglob("*.html")) - reached}
    assert missed <= {"api/index.html"}
    assert {f"docs/{path.stem}.html" for path in ROOT.glob("docs/*.md")} < {
        str(path.relative_to(site)) for path in reached
    }


@pytest.mark.parametrize("source", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda path: path.stem)
def test_a_document_shows_the_pictures_of_its_source(site, source):
    """Two folders of results have figures of the same names."""
    meant = re.findall(r"!\[[^]]*\]\(([^)]+)\)", source.read_text(encoding="utf-8"))
    shown = re.findall(r'<img[^>]* src="([^"]+)"', (site / f"docs/{source.stem}.html").read_text(encoding="utf-8"))
    assert len(shown) == len(meant)
    for name, original in zip(shown, meant, strict=True):
        assert (site / "docs" / unquote(name)).read_bytes() == (source.parent / original).read_bytes()


def test_a_notebook_links_to_the_others_and_to_the_documents(site):
    page = Page(site / "notebooks/05_downstream_tasks.fashion_mnist.html")
    three, tour = "03_three_gaps.fashion_mnist.html", "00_tour.fashion_mnist.html"
    beside = sorted(one.name for one in (site / "notebooks").glob("*.html"))  # which ones are shipped may change
    place = beside.index("05_downstream_tasks.fashion_mnist.html")
    before, after = beside[place - 1], beside[place + 1]
    assert [link for link in page.links if not link.startswith("#")] == [
        "../index.html", "../report.html", "../api/vaelib.html", before, after,
        three, f"{tour}#What-this-means", three, "../docs/machines.html",
    ]  # fmt: skip
    text = (site / "notebooks/05_downstream_tasks.fashion_mnist.html").read_text()
    assert "<code>notebook 03</code>" in text
    assert "<math>" in text
    index = (site / "index.html").read_text()
    assert "5. A title with q∗ (fashion_mnist)" in index
    assert 'href="notebooks/03_three_gaps.fashion_mnist.html">rendered</a>' in (site / "report.html").read_text()


def test_it_shows_in_a_browser_from_disk_without_a_network(site, browser):
    context = browser.new_context(offline=True, viewport={"width": 390, "height": 844})
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.goto((site / "index.html").as_uri())
    for name in ("A title with", "All pages", "The report", "All pages", "Follow one image"):
        page.get_by_role("link", name=name).first.click()
        page.wait_for_load_state()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("h1").inner_text().startswith("Follow one image")
    assert wrong == []
    context.close()


def test_a_file_is_no_folder_for_a_site_and_a_link_is_followed(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(VaelibError, match=r"notes.txt is a file; give a folder"):
        write_site("laptop", tmp_path / "notes.txt")
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    monkeypatch.setattr(building, "write_api", lambda folder: None)
    index, _ = write_site("laptop", tmp_path / "link")
    assert index == tmp_path / "disk/index.html"
    assert index.exists()


def test_a_folder_of_something_else_stays_and_a_site_that_is_too_large_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    for page in ("", "index.html"):  # somebody's own page is no site of ours
        if page:
            (other / page).write_text("<h1>My thesis</h1>")
        with pytest.raises(VaelibError, match="holds something that is no site"):
            write_site("laptop", other)
        assert sorted(path.name for path in other.iterdir()) == sorted({"thesis.tex", page} - {""})
    monkeypatch.setattr(building, "LIMIT", 10)
    monkeypatch.setattr(building, "write_api", lambda folder: None)
    with pytest.raises(VaelibError, match=r"the site takes \d+ MB, over 0"):
        write_site("laptop", tmp_path / "site")
    assert not (tmp_path / "site").exists()
    assert not (tmp_path / ".site.part").exists()
    assert paths.build_root() == tmp_path / "build"
