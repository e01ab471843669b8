"""The figure of teachers that begin to memorise, from its table, and its numbers for a notebook."""

from itertools import cycle
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, PercentFormatter, StrMethodFormatter

from ...report.canvas import (
    ELBO_LABEL,
    GREY,
    STYLE,
    ReportFigure,
    canvas,
    draw_level,
    draw_line,
    nats,
    one_setting,
    padded,
    style_legend,
)
from ...report.escape import styled
from ...report.pages import headed
from ...report.publish import framed, provenance_line, publish, title
from ...report.study import Figure
from ...runs import Experiment
from ...text import number, with_error

FIG_COPYING = Figure(
    "copying",
    "Snapshots of one training of a diffusion model for each of several N. Above: the share of its samples that are copies of "
    "training images, over the images that it has seen and over its passes over the training set. Below: the VAE that "
    "learns from them beside normal training (dashed). Not in the paper.",
    table="memorisation",
)
LOOKS = (("#8FCDB9", "o"), ("#009E73", "s"), ("#00472F", "^"), ("#5B2A86", "D"))  # of N, from few to many
SOLID, DASHED = (
    Line2D([], [], color=GREY, ls=style, lw=1.5, label=name)
    for style, name in (("-", "DMaaPx"), ("--", "normal training"))
)


def _sizes(rows: pd.DataFrame) -> list[int]:
    return sorted({int(name.rpartition("_")[2]) for name in rows["series"]})


def _draw(ax: Axes, rows: pd.DataFrame, x: str, y: str, levels: bool) -> None:
    """Draw y over x for each N, and normal training as a level."""
    for size, (colour, marker) in zip(_sizes(rows), cycle(LOOKS), strict=False):
        draw_line(ax, rows[rows["series"] == f"dmaapx_{size}"], x, y, color=colour, marker=marker, ms=5)
        if levels:
            draw_level(ax, rows[rows["series"] == f"normal_{size}"], y, "--", colour, lw=1.3)
    snapshots = sorted(set(rows[x].dropna().round()))
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(snapshots[::2] if len(snapshots) > 4 else snapshots)
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.set_xlabel("images seen by the teacher" if x == "x" else "passes over its training images")


def memorisation_figure(rows: pd.DataFrame, **frame) -> ReportFigure:
    """Return four panels: copies over images seen and over passes, the student's test ELBO and generalization gap over passes.

    Raises ValueError for a table that is empty or holds several settings.
    """
    looks = zip(_sizes(one_setting(rows)), cycle(LOOKS), strict=False)
    handles = [Line2D([], [], color=c, lw=3, marker=m, ms=7, label=f"N = {size:,}") for size, (c, m) in looks]
    with mpl.rc_context(fname=STYLE):
        fig, pairs = canvas(4, handles, across=2, axes_width=3.6, **frame)
        axes = [ax for ax, _ in pairs]
        for ax, x in zip(axes, ("x", "teacher_epochs"), strict=False):
            _draw(ax, rows, x, "copies", levels=False)
            ax.set(ylim=(-0.03, 1.03), ylabel="share that are copies")
            ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        for ax, y in zip(axes[2:], ("elbo_test", "generalization_gap"), strict=True):
            _draw(ax, rows, "teacher_epochs", y, levels=True)
            ax.set_ylim(*padded(rows[y].dropna()))
            nats(ax)
        axes[2].set_ylabel(ELBO_LABEL)
        axes[3].set_ylabel("nats per image")
        axes[0].set_title("When does it copy? By images seen", pad=8)
        axes[1].set_title("By passes over D_train", pad=8)
        axes[2].set_title("Test ELBO of the VAE", pad=22)
        axes[3].set_title("Its generalization gap", pad=22)
        for ax in axes[2:]:
            style_legend(ax, (SOLID, DASHED))
    return fig


def draw_memorisation(experiment: Experiment, tables: dict[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save ``copying_<data set>``."""
    rows = tables["rows"]
    footer = provenance_line(rows, profile=experiment.profile.name, alone="one teacher for each N, one VAE a point")
    about = f"A teacher that begins to memorise: {title(experiment)}"
    return publish(memorisation_figure(rows, **framed(experiment, footer, about=about)), FIG_COPYING, experiment)


def describe_memorisation(experiment: Experiment) -> str:
    """Return what the study consists of, as Markdown."""
    profile, shown = experiment.profile, experiment.data.label
    sizes, seen = (
        ", ".join(f"{one:,}" for one in some) for some in (profile.memorisation_sizes, profile.memorisation_seen)
    )
    about = f"{shown} · N = {sizes} · snapshots at {seen} images · k = {profile.k} · {profile.epochs} effective epochs"
    return headed(title(experiment), about, experiment)


def compared_memorisation(tables: dict[str, pd.DataFrame]) -> Any:
    """Return the numbers: a row a snapshot (and normal training), columns copies, authenticity, test ELBO, gap."""
    lines = {}
    for (series, x), own in tables["rows"].groupby(["series", "x"], dropna=False, sort=False):
        size, mean, count = series.rpartition("_")[2], own.mean(numeric_only=True), len(own)
        seen = "normal training" if series.startswith("normal") else f"{x:,.0f} images, {x / int(size):,.0f} passes"
        line = {name: "–" if pd.isna(mean[name]) else f"{mean[name]:.0%}" for name in ("copies", "authentic")}
        for name, label in (("elbo_test", "test ELBO"), ("generalization_gap", "G_g")):
            error = own[name].sem() if count > 1 else mean[f"{name}_se"]
            line[label] = with_error(mean[name], error)
        lines[f"N = {number(int(size), digits=0)}: {seen}"] = line
    return styled(pd.DataFrame(lines).T)
