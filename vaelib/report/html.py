"""One self-contained page per build: what the paper claims, what came out, every figure, and where it came from.

The page reads what lies in ``build/<profile>``: ``claims.json``, ``tables/*.csv``, ``figures/*.png``, ``twins/*.json``,
``build.json``, and the names of the notebooks' HTML. What is missing is said in a line; nothing is fetched, all text is
escaped. The page is sent alone, so it links to nothing beside it.
"""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..files import read_json, write_text
from ..runs.profiles import protocol
from ..runs.tables import build_records
from ..text import number
from .claims import require_build, shares
from .explorers.curves import curve_twin
from .explorers.live import read_decoders
from .explorers.static import TEMPLATES, TRAVERSAL, read_twin
from .publish import RECORD
from .reference import NAMES, setting
from .rules import VERDICTS
from .sources import source_of, table_rows
from .study import studies

LIMIT = 15_000_000  # bytes of the page; sliders that would exceed it are left to the notebooks


def write_report(build: Path, out: Path | None = None, pages: Sequence[str] | None = None) -> Path:
    """Write ``report.html`` of one profile's build folder and return its path; raises VaelibError without a build.

    ``pages`` are the notebooks' addresses as seen from ``out``, to be linked: for a page that is not sent alone.
    """
    build = require_build(Path(build))
    out = Path(out) if out else build / "report.html"
    record, ledger = build_records(build), build / "claims.json"
    claims = read_json(ledger) if ledger.exists() else []
    drawn = sorted((build / "figures").glob("*.png"), key=place_of)
    figures = [_figure(path, record) for path in drawn]
    _add_twins(figures, build)
    # The paper's data sets come first, in the order of their names here.
    order = {(name, protocol(name).likelihood): place for place, name in enumerate(NAMES)}
    ranked = sorted((f for f in figures if f["headline"]), key=lambda f: order.get((f["dataset"], f["likelihood"]), 9))
    headline = next(iter([*ranked, *figures]), None)
    found = shares(claims)
    run = [_claim(row) for row in found.ours + found.own]
    added: dict[str, Any] = {}
    for study in studies().values():
        added |= study.page(build) if study.page else {}
    rendered = sorted(path for path in build.rglob("*.html") if path != out and path.name != "report.html")
    text = TEMPLATES.get_template("report.html").render(
        profile=build.name,
        headline=headline,
        **added,
        # The paper speaks of other images: its claims come last where nothing of it was run.
        aside=bool(added.get("own")) and not any(row["dataset"] in NAMES for row in run),
        figures=[figure for figure in figures if figure is not headline],
        judged=bool(claims),
        claims=run,
        not_run=len(claims) - sum(map(len, found)),
        audit=[_claim(row) for row in found.printed + found.texts if row["verdict"] != "supported"],
        counts={name: Counter(row["verdict"] for row in rows) for name, rows in found._asdict().items()},
        verdicts=VERDICTS,
        provenance=[
            (f"{entry} · {name}".replace("_", " "), ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact))
            for entry, facts in record.items()
            for name, fact in facts.items()
        ],
        linked=pages is not None,
        pages=[path.relative_to(build).as_posix() for path in rendered] if pages is None else pages,
    )
    write_text(out, text)
    return out


def place_of(path: Path) -> tuple[bool, str]:
    """Return a figure's place among others, to sort by: the paper's by number, then ours."""
    return not path.stem.startswith("fig"), path.stem


def _figure(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return a figure's record with its name, its width in CSS pixels, where it comes from, its pixels as a data URI."""
    beside = path.with_suffix(".json")
    shown = RECORD | (read_json(beside) if beside.exists() else {})
    named = {name: shown[name] or path.stem.replace("_", " ") for name in ("caption", "alt")}
    buffer = io.BytesIO()
    with Image.open(path) as image:
        width = image.width * 96 // 200  # figures are saved at 200 dpi
        # The same pixels in less than half of the bytes; more effort (quality) is another tenth for twice the time.
        image.convert("RGB").save(buffer, "WEBP", lossless=True, method=1, quality=0)
    src = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    explorers = {"twins": [], "decoders": [], "curves": None}
    source = source_of(path.parents[1], shown, record)
    return shown | named | explorers | {"name": path.stem, "width": width, "src": src, "source": source}


def _add_twins(figures: list[dict[str, Any]], build: Path) -> None:
    """Give each figure the explorers of its name, as long as the page stays below its limit."""
    size = sum(len(figure["src"]) for figure in figures)
    for figure in figures:
        rows = table_rows(build, "curves" if figure["headline"] else "", figure["dataset"], figure["likelihood"])
        figure["curves"] = None if rows.empty else curve_twin(rows)
        for path in (build / "twins" / f"{figure['name']}{ending}.json" for ending in ("", TRAVERSAL)):
            if path.exists() and size + path.stat().st_size < LIMIT:
                figure["twins"].append(read_twin(path))
                size += path.stat().st_size
        decoders = read_decoders(build / "twins", figure["name"])
        needed = sum(len(packed) for one in decoders for _, _, packed in one.layers)
        if size + needed < LIMIT:
            figure["decoders"], size = decoders, size + needed


def _claim(row: dict) -> dict[str, Any]:
    """Return a row of the ledger with its numbers as text."""
    ends = row["interval"]
    return {
        "runs": [],
        "notebook": "",
        **row,
        "setting": setting(row["dataset"], row["likelihood"]),
        "sort": {"paper": row["paper_value"], "ours": row["our_value"], "low": ends[0] if ends else None},
        "paper_value": number(row["paper_value"], signed=True),
        "our_value": number(row["our_value"], signed=True),
        "interval": f"[{number(ends[0], True)}, {number(ends[1], True)}]" if ends else "",
    }
