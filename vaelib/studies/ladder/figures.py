"""The ladder's figure: a row a rung, with its images, its VAE's test ELBO and gap, and how much of it is copied."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter, StrMethodFormatter
from torch import Tensor

from ...images import as_float
from ...report.canvas import COLOURS, GREY, STYLE, ReportFigure, blank, figure_legend, one_setting, style_legend
from ...report.escape import styled
from ...report.pages import headed
from ...report.pictures import draw_mosaic
from ...report.publish import framed, provenance_line, publish, title
from ...report.study import Figure
from ...runs import Experiment
from ...runs.external import source_of_samples
from ...runs.tables import measured_tensors
from ...text import number, with_error
from ..memorisation.stages import Copies

FIG_LADDER = Figure(
    "ladder",
    "A ladder of teachers, from one that only remembers to real images: samples, the test ELBO and the generalization gap of "
    "a VAE that learns from them (blue: normal training), and how many are copies of training images. Not in the paper.",
    table="ladder",
)
CLOSED = "#5B2A86"  # teachers in closed form
FAMILIES = {
    "in closed form": CLOSED,
    "networks": COLOURS["dmaapx"],
    "real images": COLOURS["held_out"],
    "normal training": COLOURS["normal"],
}
NAMES = {
    "memory": "memory: the exact denoiser",
    "patches": "its patches (local score)",
    "network_half": "a network, half as wide",
    "network": "the network: DMaaPx",
    "held_out": "held-out real images",
    "normal": "normal training",
}
ORDER = ("memory", "ended_", "kernel_", "patches", "network_half", "network", "held_out")
COPIED, AUTHENTIC = (
    Line2D([], [], color=GREY, ls="", marker="o", mfc=fill, ms=6, label=name)
    for fill, name in ((GREY, "copies"), ("white", "authentic"))
)


def name_of(rung: str) -> str:
    """Return a rung's name for people.

    >>> name_of("kernel_0.1"), name_of("ended_4")
    ('training image + noise 0.1', 'averages, ended at σ = 4')
    """
    start, _, amount = rung.partition("_")
    return {"kernel": f"training image + noise {amount}", "ended": f"averages, ended at σ = {amount}"}.get(
        start, NAMES.get(rung, rung)
    )


def rungs_of(rows: pd.DataFrame) -> list[str]:
    """Return normal training, then the rungs of a table from the lowest to the highest."""

    def place(rung: str) -> tuple[int, float]:
        start = next(one for one in ORDER if rung == one or (one.endswith("_") and rung.startswith(one)))
        return ORDER.index(start), float(rung.partition("_")[2]) if start.endswith("_") else 0.0

    return ["normal", *sorted(set(rows["series"]) - {"normal"}, key=place)]


def colour_of(rung: str) -> str:
    """Return the colour of a rung's family."""
    if rung == "normal":
        return FAMILIES["normal training"]
    family = "networks" if rung.startswith("network") else "real images" if rung == "held_out" else "in closed form"
    return FAMILIES[family]


def _dots(ax: Axes, rows: pd.DataFrame, rungs: list[str], quantity: str) -> None:
    """Draw a quantity's mean and span over seeds for every rung, with its number; normal training's goes down all of them."""
    base = float(rows[rows["series"] == "normal"][quantity].mean())
    ax.vlines(base, -0.5, len(rungs) - 0.5, color=colour_of("normal"), lw=1.4, alpha=0.6, zorder=1)
    for y, rung in enumerate(rungs):
        own = rows[rows["series"] == rung][quantity]
        ax.hlines(y, own.min(), own.max(), color=colour_of(rung), lw=1.4)
        ax.plot(own.mean(), y, "o", color=colour_of(rung), ms=6)
        look = {"ha": "center", "va": "bottom", "fontsize": 7.5, "color": colour_of(rung), "label": name_of(rung)}
        look |= {"bbox": {"fc": "white", "ec": "none", "pad": 0.6}}  # the line goes behind the number
        ax.annotate(number(own.mean()), (own.mean(), y), (0, 4.5), textcoords="offset points", **look)
    low, high = rows[quantity].min(), rows[quantity].max()
    room = 0.16 * (high - low) or 1.0
    ax.set(xlim=(low - room, high + room), xlabel="nats per image")
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def ladder_figure(rows: pd.DataFrame, samples: Mapping[str, Tensor], **frame) -> ReportFigure:
    """Return the figure; ``samples``: rung → some of its images, uint8 (n, C, H, W).

    Raises ValueError for a table that is empty or holds several settings.
    """
    rungs, columns = rungs_of(one_setting(rows)), 6
    pitch, left, thumbs = 0.47, 1.95, 2.75
    tall, width, wide = pitch * len(rungs), 11.4, 1.95
    with mpl.rc_context(fname=STYLE):
        fig, below = blank(width, 0.72 + tall + 1.05, **frame)
        bottom = 0.66 + below
        for y, rung in enumerate(rungs):
            images = samples.get(rung)
            if images is not None and len(images):
                shown = as_float(images[:columns])
                place = fig.box(left, bottom + tall - (y + 1) * pitch + 0.02, 0.43 * len(shown), pitch - 0.04)
                draw_mosaic(place, shown, len(shown))
        panels = []
        for column in range(3):
            panels.append(fig.box(left + thumbs + column * (wide + 0.18), bottom, wide, tall))
        for ax in panels:
            ax.set(ylim=(len(rungs) - 0.5, -0.5))
            ax.set_yticks(range(len(rungs)), [""] * len(rungs))
            ax.tick_params(axis="y", length=0)
            ax.grid(visible=False)
            for y in np.arange(0.5, len(rungs) - 1):
                ax.axhline(y, color="#e6e6e6", lw=0.7, zorder=0)
        size = fig.get_size_inches()
        for y, rung in enumerate(rungs):
            at = (left - 0.08) / size[0], (bottom + tall - (y + 0.5) * pitch) / size[1]
            fig.text(*at, name_of(rung), ha="right", va="center", fontsize=9, color=colour_of(rung))
        _dots(panels[0], rows, rungs, "elbo_test")
        _dots(panels[1], rows, rungs, "generalization_gap")
        means = rows.groupby("series")[["copies", "authentic"]].mean()
        for y, rung in enumerate(rungs[1:], 1):
            for quantity, fill in (("authentic", "white"), ("copies", colour_of(rung))):
                panels[2].plot(means.loc[rung, quantity], y, "o", color=colour_of(rung), mfc=fill, ms=6, clip_on=False)
        panels[2].set(xlim=(-0.04, 1.04), xlabel="share of the images")
        panels[2].xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        panels[2].xaxis.set_major_locator(MultipleLocator(0.5))
        panels[0].set_title("Test ELBO", pad=8)
        panels[1].set_title("Generalization gap", pad=8)
        panels[2].set_title("Copied?", pad=22)
        style_legend(panels[2], (COPIED, AUTHENTIC))
        handles = [Line2D([], [], color=colour, lw=3, label=name) for name, colour in FAMILIES.items()]
        figure_legend(fig, handles, len(handles))
    return fig


def draw_ladder(experiment: Experiment, tables: dict[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save ``ladder_<data set>``."""
    rows = tables["rows"]
    samples = {name: found["samples"] for name, found in measured_tensors(experiment, Copies).items()}
    shown = "dot: mean, line: min to max; samples: the first, none chosen; noise and σ of pixels in [0, 1] and [−1, 1]"
    footer = provenance_line(rows, profile=experiment.profile.name, shown=shown, alone=f"one VAE a rung; {shown}")
    about = f"A ladder of teachers: {title(experiment)}"
    return publish(ladder_figure(rows, samples, **framed(experiment, footer, about=about)), FIG_LADDER, experiment)


def describe_ladder(experiment: Experiment) -> str:
    """Return what the study consists of, as Markdown."""
    profile, data = experiment.profile, experiment.data
    about = f"{data.label} · N = {data.n_train:,} · {profile.epochs} effective epochs · {source_of_samples(profile)}"
    return headed(title(experiment), about, experiment)


def compared_ladder(tables: dict[str, pd.DataFrame]) -> Any:
    """Return the numbers: a row a rung and normal training, columns copies, authenticity, distance, test ELBO, gap."""
    rows, lines = tables["rows"], {}
    for rung in rungs_of(rows):
        own = rows[rows["series"] == rung]
        mean = own.mean(numeric_only=True)
        line = {name: "–" if pd.isna(mean[name]) else f"{mean[name]:.0%}" for name in ("copies", "authentic")}
        line["distance to D_train"] = number(mean["distance"])
        for name, label in (("elbo_test", "test ELBO"), ("generalization_gap", "G_g")):
            line[label] = with_error(mean[name], own[name].sem() if len(own) > 1 else mean[f"{name}_se"])
        lines[name_of(rung)] = line
    return styled(pd.DataFrame(lines).T)
