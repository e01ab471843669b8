"""The figure of two teachers of disjoint halves: their images from the same noise, and how far apart these are."""

from collections.abc import Mapping

import matplotlib as mpl
import pandas as pd
import torch
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from ...images import as_float
from ...report.canvas import COLOURS, STYLE, ReportFigure, blank, figure_legend, one_setting, spread_ticks
from ...report.pages import headed
from ...report.pictures import draw_mosaic
from ...report.publish import framed, provenance_line, publish
from ...report.reference import dataset_name
from ...report.study import Figure
from ...runs import Experiment
from ...runs.tables import measured_tensors
from .stages import EqualSeeds

FIG_HALVES = Figure(
    "halves",
    "Samples that two diffusion models of disjoint halves of the data draw from the same noise, above each other, and their "
    "distance as a share of that of samples from different noise. Not in the paper.",
    table="halves",
)


def halves_figure(rows: pd.DataFrame, pairs: Mapping[str, Mapping[str, Tensor]], **frame) -> ReportFigure:
    """Return the figure; ``pairs``: series → the images ``first`` and ``second``, uint8 (n, C, H, W).

    Raises ValueError for a table that is empty or holds several settings.
    """
    rows, colour = one_setting(rows).sort_values("x"), COLOURS["dmaapx"]
    cell, left, tall = 0.42, 1.1, 1.06 * len(rows)
    shown = max((len(one["first"]) for one in pairs.values()), default=0)
    with mpl.rc_context(fname=STYLE):
        start = left + cell * shown + 0.85
        fig, below = blank(start + 3.9, max(tall, 2.2) + 1.75, **frame)
        bottom, size = 0.75 + below, fig.get_size_inches()
        for place, row in enumerate(rows.itertuples()):
            y = bottom + max(tall, 2.2) - (place + 1) * 1.06
            at = (left - 0.1) / size[0], (y + cell) / size[1]
            fig.text(*at, f"{row.x:,.0f} images\neach", ha="right", va="center", fontsize=9)
            if row.series in pairs:
                both = as_float(torch.cat([pairs[row.series][name] for name in ("first", "second")]))
                draw_mosaic(fig.box(left, y, cell * shown, 2 * cell), both, len(both) // 2)
        ax = fig.box(start, bottom, 3.6, max(tall, 2.2))
        ax.axhline(1.0, color=COLOURS["normal"], lw=1.4, ls="--")
        ax.errorbar(rows["x"], rows["apart"], 1.96 * rows["apart_se"], color=colour, fmt="none", capsize=3)
        ax.plot(rows["x"], rows["apart"], "o-", color=colour, ms=6)
        ax.set_xscale("log")
        ax.set(ylim=(0, max(1.12, 1.05 * rows["apart"].max())), xlabel="images of each half", ylabel="distance")
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        spread_ticks(ax, sorted(rows["x"]))
        handles = [
            Line2D([], [], color=colour, lw=3, marker="o", ms=7, label="from the same noise"),
            Line2D([], [], color=COLOURS["normal"], lw=2, ls="--", label="from different noise: 100 %"),
        ]
        figure_legend(fig, handles, 2)
    return fig


def draw_halves(experiment: Experiment, tables: dict[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save ``halves_<data set>``."""
    rows = tables["halves"]
    footer = provenance_line(rows, profile=experiment.profile.name, alone="bars: 95 % over samples; the first pairs")
    about = f"Two teachers of disjoint halves: {dataset_name(experiment.dataset)}"
    pairs = measured_tensors(experiment, EqualSeeds)
    return publish(halves_figure(rows, pairs, **framed(experiment, footer, about=about)), FIG_HALVES, experiment)


def describe_halves(experiment: Experiment) -> str:
    """Return what the study consists of, as Markdown."""
    profile = experiment.profile
    sizes = ", ".join(f"{size:,}" for size in profile.halves_sizes)
    about = f"{experiment.data.label} · halves of {sizes} images · teachers that see {profile.teacher_images:,} images"
    return headed(dataset_name(experiment.dataset), about, experiment)
