"""``build/site``: the report, every executed notebook, the documentation and the API reference behind one index.

It works from disk without a network, and from any host of plain files. Nothing in it is fetched from anywhere else.
"""

import html
import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

import jinja2

from .. import paths
from ..errors import VaelibError
from ..files import write_text
from ..report.claims import judge_build
from ..report.html import write_report
from ..results.shipped import shown_build
from . import markdown
from .api import write_api
from .rendering import to_html

LIMIT = 40_000_000  # bytes of all files
MARK = '<meta name="generator" content="vaelib">'  # in the index of a folder that may be made anew
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
ADDRESS = re.compile(r"""(<(?:a|img)\b[^>]*?\s)(href|src)=(["'])(.*?)\3""", re.DOTALL)
BODY = re.compile(r'<body class="jp-Notebook"[^>]*>')
HEADING = re.compile(r"<h1\b[^>]*>(.*?)</h1>", re.DOTALL)


def write_site(profile: str, out: Path | None = None) -> tuple[Path, int]:
    """Write the site of a profile's build, or of the results that were shipped; return its index and its bytes.

    The folder ``out`` (default ``build/site``) is made anew, whole or not at all.

    Raises:
        VaelibError: there is nothing to show; ``out`` holds something else; the site would take more than 40 MB.
    """
    build, own = shown_build(profile)
    out = paths.expanded(out).resolve() if out else paths.build_root() / "site"
    index = out / "index.html"
    if out.exists() and not out.is_dir():
        raise VaelibError(f"{paths.shown(out)} is a file; give a folder for the site")
    if out.exists() and any(out.iterdir()) and not (index.exists() and MARK in index.read_text(errors="replace")):
        raise VaelibError(
            f"{paths.shown(out)} holds something that is no site made by vaelib, and it would be deleted: give another folder, or "
            "empty this one yourself"
        )
    if own:
        judge_build(build, profile)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        notebooks = _notebooks(build, part)
        documents = _documents(part, notebooks)
        write_api(part / "api")
        write_report(build, part / "report.html", pages=[f"notebooks/{name}" for name in notebooks])
        shown = {"profile": profile, "own": own, "notebooks": notebooks, "documents": documents}
        write_text(part / "index.html", TEMPLATES.get_template("index.html").render(shown))
        size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
        if size > LIMIT:
            raise VaelibError(
                f"the site takes {size / 1e6:.0f} MB, over {LIMIT / 1e6:.0f}: delete notebooks that few need from "
                f"{paths.shown(build)}"
            )
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return index, size


def _title(page: str, otherwise: str) -> str:
    """Return a page's first heading as text."""
    found = HEADING.search(page)
    return (
        html.unescape(re.sub(r"<a class=\"anchor-link\".*?</a>|<[^>]+>", "", found[1])).strip() if found else otherwise
    )


def _notebooks(build: Path, out: Path) -> dict[str, str]:
    """Write the notebooks' pages and return their names with their titles: made anew where the executed notebook is there."""
    found = sorted({path.stem for kind in ("ipynb", "html") for path in build.glob(f"notebooks/[0-9]*.{kind}")})
    titles = {}
    for name in found:
        tag = name.partition(".")[2]
        beside = [other for other in found if other.partition(".")[2] == tag]
        near = {other[:2]: f"{other}.html" for other in found} | {other[:2]: f"{other}.html" for other in beside}
        executed, page = (build / "notebooks" / f"{name}.{kind}" for kind in ("ipynb", "html"))
        target = out / "notebooks" / f"{name}.html"
        if executed.exists():
            to_html(executed, target, links=near)
            text = target.read_text(encoding="utf-8")
        else:
            text = page.read_text(encoding="utf-8")
        place = beside.index(name)
        steps = {"previous": beside[place - 1 : place], "next": beside[place + 1 : place + 2]}
        shown = {word: names[0] for word, names in steps.items() if names}
        bar = TEMPLATES.get_template("bar.html").render(root="../", steps=shown)
        body = _relinked(text, partial(_in_notebook, near=near))
        write_text(target, BODY.sub(lambda found, bar=bar: found[0] + bar, body, count=1))
        titles[f"{name}.html"] = f"{_title(text, name)} ({tag})"
    return titles


def _relinked(page: str, moved: Callable[[str], str | None]) -> str:
    """Return a page whose relative addresses are ``moved``; a link to what the site has not becomes plain text."""

    def place(found: re.Match) -> str:
        before, name, _, address = found.groups()
        parts = urlsplit(html.unescape(address))
        if parts.scheme or parts.netloc or not parts.path:
            return found[0]
        target = moved(unquote(parts.path))
        if target is None:
            return before
        return f'{before}{name}="{html.escape(quote(target) + (f"#{parts.fragment}" if parts.fragment else ""))}"'

    return ADDRESS.sub(place, page)


def _in_notebook(address: str, near: dict[str, str]) -> str | None:
    """Return where a notebook's link leads: to another notebook's page, or to a document."""
    path = PurePosixPath(os.path.normpath(f"notebooks/{address}"))
    if path.parent.name == "notebooks" and path.suffix in (".ipynb", ".py", ".html"):
        return near.get(path.name[:2])
    return f"../docs/{path.stem}.html" if path.suffix == ".md" and (paths.project_root() / path).exists() else None


def _as_on_github(page: str) -> str:
    """Return a document whose headings have the addresses that links in these documents use.

    >>> _as_on_github('<h2 id="Who-is-there,-and-where?">')
    '<h2 id="who-is-there-and-where">'
    """

    def named(found: re.Match) -> str:
        return found[1] + re.sub(r"[^\w-]", "", unquote(html.unescape(found[2])).lower()) + '"'

    return re.sub(r'(<h\d\b[^>]*? id="|<a\b[^>]*? href="#)([^"]*)"', named, page)


def _documents(out: Path, notebooks: dict[str, str]) -> dict[str, str]:
    """Render README, CHANGELOG and ``docs/*.md`` of the checkout, with the pictures they show; return names and titles."""
    root, titles = paths.project_root(), {}
    sources = [
        path for path in (root / "README.md", *sorted(root.glob("docs/*.md")), root / "CHANGELOG.md") if path.exists()
    ]
    for source in sources:

        def moved(address: str, source: Path = source) -> str | None:
            target = Path(os.path.normpath(source.parent / address))
            inside = target.relative_to(root).as_posix() if target.is_relative_to(root) else ""
            if target in sources:
                return f"{target.stem}.html"
            if inside.startswith("notebooks/"):
                return next((f"../notebooks/{name}" for name in notebooks if name.startswith(target.stem)), None)
            if inside.startswith("vaelib/") and target.suffix == ".py":
                return f"../api/{inside.removesuffix('.py').removesuffix('/__init__')}.html"
            if target.suffix == ".png" and target.is_file() and inside:
                name = inside.replace("/", "-")  # of two profiles a figure has the same name
                (out / "docs").mkdir(parents=True, exist_ok=True)
                shutil.copyfile(target, out / "docs" / name)
                return name
            return None

        body = _relinked(_as_on_github(markdown.to_html(source.read_text(encoding="utf-8"))), moved)
        title = _title(body, source.stem)
        write_text(
            out / "docs" / f"{source.stem}.html", TEMPLATES.get_template("document.html").render(title=title, body=body)
        )
        titles[f"{source.stem}.html"] = title
    return titles
