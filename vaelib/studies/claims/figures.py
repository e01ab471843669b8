"""Pictures of the ledger: how many claims of each section hold, and by how much.

Margins have units of their own (nats, MS-SSIM, accuracies). Divided by half the width of its 95 % interval a margin has
none, and the verdict can be read off: beyond 1 the interval lies above zero (supported), below -1 it lies below.
"""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...report.canvas import GREY, STYLE, ReportFigure, blank, figure_legend
from ...report.claims import OURS, shares
from ...report.publish import footer_line, publish_alone
from ...report.reference import dataset_name
from ...report.rules import VERDICTS
from ...report.study import Figure

CLAIMS = Figure(
    "claims",
    "Every claim, the paper's and our own, that these runs can judge (notebook 10): verdicts by section, and margins in "
    "half-widths of their 95 % intervals; right of the grey band a claim is supported, left of it "
    "contradicted. A hollow point rests on one seed.",
)

Row = Mapping[str, Any]
# Green and vermilion differ in lightness too; what cannot be told is light.
COLOURS = dict(zip(VERDICTS, ("#00563B", "#d55e00", "#c9ced4"), strict=True))
UNCUT = 1_000  # letters: this footer has one line
FAR = 30  # margins beyond this many half-widths are drawn there
LINE, LEFT, WIDTH = 0.19, 4.0, 4.2  # inches: a row's height, room for its name, the axes' width


def section(row: Row) -> str:
    """Return the section of the paper a claim is first made in: "5.2", "B.3", "F", "Abstract".

    >>> section({"paper_location": "B.6, Fig. 14"})
    'B.6'
    """
    return re.split(r"[,;( ]", row["paper_location"], maxsplit=1)[0]


def by_section(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Return the number of each verdict by section, in the paper's order (digits, then appendices)."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        found = counts.setdefault(section(row), dict.fromkeys(VERDICTS, 0))
        found[row["verdict"]] += 1
    return {name: counts[name] for name in sorted(counts, key=_place)}


def _place(name: str) -> tuple[bool, str]:
    """Return a section's place in the paper, to sort by."""
    return name != "Abstract", name


def _bars(ax: Axes, counts: Mapping[str, Mapping[str, int]], sections: Sequence[str], title: str) -> None:
    """Draw one stacked bar a section, the numbers inside."""
    for place, name in enumerate(sections):
        start = 0
        for verdict, colour in COLOURS.items():
            count = counts.get(name, {}).get(verdict, 0)
            if count:
                ax.barh(place, count, left=start, color=colour, height=0.72)
                ink = "black" if verdict == "not_testable" else "white"
                ax.text(start + count / 2, place, str(count), ha="center", va="center", color=ink, fontsize=8)
            start += count
    ax.set_title(title, loc="left", fontsize=10)
    ax.set_ylim(len(sections) - 0.4, -0.6)
    ax.set_yticks(range(len(sections)), sections)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.spines[["bottom", "left"]].set_visible(False)


def _legend(fig: ReportFigure, more: Sequence[Line2D] = ()) -> None:
    """Write the legend of verdicts, and of what else there is, in one row."""
    names = [Patch(color=colour, label=verdict.replace("_", " ")) for verdict, colour in COLOURS.items()]
    figure_legend(fig, [*names, *more], len(names) + len(more), handlelength=1.2, columnspacing=1.2)


def counts_figure(rows: Sequence[Row], title: str, footer: str = "") -> ReportFigure:
    """Return the verdicts by section of the paper: on our runs, and of the same rules on the paper's own numbers."""
    found = shares(rows)
    ours, papers = by_section(found.ours + found.own), by_section(found.printed)
    sections = sorted({*papers, *ours}, key=_place)
    tall = 0.24 * len(sections)
    with mpl.rc_context(fname=STYLE):
        fig, _ = blank(8.2, tall + 1.35, title_note=title, footer=footer, wrap=UNCUT, grows=False)
        boxes = [fig.box(x, 0.35, 3.4, tall) for x in (0.85, 4.65)]
        _bars(boxes[0], ours, sections, "our runs")
        _bars(boxes[1], papers, sections, "the paper's own numbers")
        if not ours:
            boxes[0].text(0, len(sections) / 2, "nothing has been run yet", color=GREY, va="center")
        boxes[1].set_yticklabels([])
        boxes[0].set_ylabel(f"section of the paper{', or ours' if found.own else ''}")
        _legend(fig)
    return fig


def measured(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of our runs that have an interval, by section."""
    found = [row for row in rows if row["evidence"] == OURS and row["interval"]]
    return sorted(found, key=lambda row: _place(section(row)))


def scaled(row: Row) -> float:
    """Return a margin in half-widths of its interval, at most :data:`FAR` either way."""
    low, high = row["interval"]
    half = (high - low) / 2
    return max(-FAR, min(FAR, row["our_value"] / half)) if half > 0 else FAR * (1 if row["our_value"] > 0 else -1)


def margins_figure(rows: Sequence[Row], dataset: str, title: str, footer: str = "") -> ReportFigure | None:
    """Return every measured claim of a data set as a point with its interval; None where nothing was measured.

    The triangle at the left is the paper's own number: up, it bears the claim out; down, it does not; none, none printed. A
    hollow point rests on one seed, and its interval on an allowance for what another would change.
    """
    shown = measured(row for row in rows if row["dataset"] == dataset)
    if not shown:
        return None
    several = len({row["likelihood"] for row in shown}) > 1
    names = [  # whole sentences, in as many lines as that takes
        textwrap.fill(f"{section(row)}  {row['claim']}" + (f" [{row['likelihood']}]" if several else ""), 64)
        for row in shown
    ]
    ends = np.cumsum([1 + 0.7 * name.count("\n") for name in names])  # a sentence of two lines takes more room
    places, tall = (ends + np.concatenate([[0], ends[:-1]])) / 2, LINE * ends[-1]
    with mpl.rc_context(fname=STYLE):
        fig, _ = blank(LEFT + WIDTH + 0.3, tall + 1.65, title_note=title, footer=footer, wrap=UNCUT, grows=False)
        ax = fig.box(LEFT, 0.72, WIDTH, tall)
        ax.axvspan(-1, 1, color=COLOURS["not_testable"], alpha=0.35, lw=0, zorder=0)
        ax.axvline(0, color=GREY, lw=0.8, zorder=1)
        for place, row in zip(places, shown, strict=True):
            x, colour = scaled(row), COLOURS[row["verdict"]]
            dark = GREY if row["verdict"] == "not_testable" else colour
            ax.plot([x - 1, x + 1], [place, place], color=dark, lw=1.6, solid_capstyle="butt")
            ax.plot(x, place, "o", color=dark, mfc="white" if row["seeds"] == 1 else dark, ms=4)
            if row["paper_value"]:
                mark = "^" if row["paper_value"] > 0 else "v"
                ax.plot(-FAR * 1.5, place, mark, color=GREY, ms=4, clip_on=False)
        ax.set_xscale("symlog", linthresh=3, linscale=1.2)
        ax.set_xlim(-FAR * 1.9, FAR * 1.4)
        ax.set_xticks([-FAR, -3, -1, 0, 1, 3, FAR], [f"≤−{FAR}", "−3", "−1", "0", "1", "3", f"≥{FAR}"])
        ax.minorticks_off()
        ax.set_ylim(ends[-1] + 0.1, -0.1)
        ax.set_yticks(places, names, fontsize=7.5, linespacing=1.1)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("margin, in half-widths of its 95 % interval")
        marks = {"^": "the paper's number agrees", "v": "disagrees", "o": "one seed"}
        _legend(fig, [
            Line2D([], [], color=GREY, marker=mark, mfc="white" if mark == "o" else GREY, ls="", label=text)
            for mark, text in marks.items()
        ])  # fmt: skip
    return fig


def draw_counts(rows: Sequence[Row], profile: str) -> ReportFigure:
    """Draw and save ``claims``: the verdicts by section, of every setting that was run."""
    figure = counts_figure(rows, "The claims, judged", _footer(rows, profile))
    return publish_alone(figure, CLAIMS, profile, "claims")


def draw_margins(rows: Sequence[Row], dataset: str, profile: str) -> ReportFigure | str:
    """Draw and save ``claims_<dataset>``: the margins of one data set; a text where none was measured."""
    title = f"{dataset_name(dataset)}: by how much each claim holds"
    figure = margins_figure(rows, dataset, title, _footer([row for row in rows if row["dataset"] == dataset], profile))
    if figure is None:
        return f"No claim about {dataset} has a number of ours with an interval yet; the last section says what to run."
    return publish_alone(figure, CLAIMS, profile, "claims", dataset, dataset=dataset)


def _footer(rows: Iterable[Row], profile: str) -> str:
    """Return what was judged: profile, images, commit."""
    sources = {row["source"] for row in rows if row["source"]}
    return footer_line(profile, *sorted(sources))
