"""What notebook 10 shows of the ledger between its figures: counts, the paper against itself, what is still to be run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ... import paths
from ...report.claims import NOT_RUN, OURS, PAPER, shares
from ...report.escape import in_markdown, nothing, styled
from ...report.reference import setting
from ...text import how_many, number
from .resolve import FIRST, Way, ways, write_ways


def counted(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how many claims have which verdict, as a Markdown table: by setting, then our own, then the paper's by its numbers."""
    found = shares(rows)
    lines = ["| setting | supported | contradicted | not testable |", "| --- | --- | --- | --- |"]
    groups: dict[str, list[str]] = {}
    for several, whose in ((found.ours, ""), (found.own, ": claims of our own")):
        for row in several:
            groups.setdefault(setting(row["dataset"], row["likelihood"]) + whose, []).append(row["verdict"])
    groups["the paper's own numbers"] = [row["verdict"] for row in found.printed]
    for name, found in groups.items():
        counts = (found.count(verdict) for verdict in ("supported", "contradicted", "not_testable"))
        lines.append(f"| {in_markdown(name)} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def audit(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return the sentences of the paper that its own numbers, figures or other sentences do not bear out."""
    papers = [row for row in rows if row["evidence"] == PAPER and row["verdict"] == "contradicted"]
    shown = pd.DataFrame(papers)[["claim", "paper_location", "quantity", "paper_value", "note"]]
    shown = shown.rename(columns={"paper_location": "where", "paper_value": "paper's margin"})
    style = styled(shown).format(number, subset=["paper's margin"], na_rep="–")
    return style.set_properties(subset=["claim", "where", "quantity", "note"], **{"text-align": "left"}).hide(
        axis="index"
    )


def to_be_run(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return which notebooks would judge the claims that have no number of ours yet, as Markdown."""
    missing = [row for row in rows if row["evidence"] == OURS and row["note"] == NOT_RUN]
    absent = Counter((row["dataset"], row["likelihood"], row["notebook"]) for row in missing)
    lines = [
        f'- `{notebook}` with <code>dataset = "{in_markdown(dataset)}"</code>, `likelihood = "{likelihood}"`: {count} claims'
        for (dataset, likelihood, notebook), count in sorted(absent.items())
    ]
    return "\n".join(lines) or "Every claim of the ledger has a number of ours."


def what_it_takes(rows: Sequence[Mapping[str, Any]], profile: str) -> Any:
    """Return what would decide each claim that is not testable, cheapest first, and write it as ``what_it_takes.csv``.

    The claims that one first run would judge stand in one line.
    """
    found = ways(rows, profile)
    write_ways(paths.build_root() / profile, found)
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for way in found:
        place = setting(way.dataset, way.likelihood)
        first = (way.study, place) if way.way == FIRST else (way.id, way.way)
        lines.setdefault(first, {"ways": [], "setting": place})["ways"].append(way)
    shown = [_line(line["ways"], line["setting"]) for line in lines.values()]
    if not shown:
        return nothing("Nothing is left to decide." if profile != "smoke" else "The profile smoke decides nothing.")
    style = styled(pd.DataFrame(shown)).hide(axis="index")
    return style.set_properties(subset=["claim", "setting", "what", "note"], **{"text-align": "left"})


def _line(found: Sequence[Way], place: str) -> dict[str, str]:
    way = found[0]
    first = way.way == FIRST
    return {
        "minutes": way.minutes,
        "claim": f"{how_many(len(found), 'claim')} of {way.study}"
        if first
        else f"{way.id.partition('/')[0]}: {way.claim}",
        "setting": place,
        "what": way.way,
        "margin": "–" if way.margin is None else number(way.margin),
        "points to": way.verdict or "–",
        "note": way.note,
    }
