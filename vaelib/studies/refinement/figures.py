"""The test ELBO over refinement steps, and over the time that they take."""

from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, StrMethodFormatter

from ...report.canvas import (
    COLOURS,
    GREY,
    LABELS,
    MARKERS,
    STYLE,
    ReportFigure,
    canvas,
    draw_line,
    known_methods,
    nats,
    one_setting,
    padded,
    series_handles,
    style_legend,
)
from ...report.escape import styled
from ...report.publish import framed, provenance_line, publish, title
from ...report.study import Figure
from ...runs import Experiment
from ...text import number
from .tables import steps_to_reach

REFINEMENT = Figure(
    "refinement",
    "Test ELBO after gradient steps on each test image's own posterior, over their number and over the time they take. The "
    "dotted line is DMaaPx without any. Not in the paper.",
    table="refinement",
)
LABELLED = (0, 1, 2, 5, 10, 20, 50, 100, 200, 1000)  # numbers of steps


def refinement_figure(rows: pd.DataFrame, **frame) -> ReportFigure:
    """Return two panels: test ELBO over steps and over milliseconds an image; bands run from the smallest to the largest seed."""
    one_setting(rows)
    methods = known_methods(rows)
    # Over time each seed has places of its own: means over seeds are drawn against mean times.
    times = rows.groupby(["method", "steps"])["seconds"].transform("mean")
    rows = rows.assign(milliseconds=1000 * times)
    first = rows[(rows["method"] == "dmaapx") & (rows["steps"] == 0)]["elbo_test"].mean()
    with mpl.rc_context(fname=STYLE):
        fig, pairs = canvas(2, series_handles(methods), axes_width=3.9, **frame)
        (by_steps, _), (by_time, _) = pairs
        for ax, x in ((by_steps, "steps"), (by_time, "milliseconds")):
            for method in methods:
                own = rows[(rows["method"] == method) & ((x == "steps") | (rows[x] > 0))]
                draw_line(ax, own, x, "elbo_test", color=COLOURS[method], marker=MARKERS[method], ms=4)
            ax.axhline(first, color=GREY, ls=":", lw=1.2, zorder=1)
            ax.set(ylabel="test ELBO (nats per image)", ylim=padded(rows["elbo_test"]))
            nats(ax)
        by_steps.set_xscale("symlog", linthresh=1, linscale=0.4)
        shown = [one for one in sorted(rows["steps"].unique()) if one in LABELLED]
        by_steps.set_xticks(shown, [f"{one:,}" for one in shown], fontsize=8)
        by_steps.minorticks_off()
        by_steps.set(xlabel="steps an image", xlim=(-0.12, 1.3 * rows["steps"].max()))
        by_time.set(xlabel="milliseconds an image, one core or GPU", xscale="log")
        by_time.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        by_time.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        by_time.minorticks_off()
        style_legend(by_steps, [Line2D([], [], color=GREY, ls=":", lw=1.2, label="DMaaPx without a step")])
        by_steps.set_title("By steps", pad=22)
        by_time.set_title("By time", pad=22)
    return fig


def draw_refinement(experiment: Experiment, tables: dict[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save ``refinement_<data set>``."""
    rows = tables["refinement"]
    footer = provenance_line(rows, profile=experiment.profile.name)
    frame = framed(experiment, footer, about=f"Refining test images' posteriors, {title(experiment)}")
    return publish(refinement_figure(rows, **frame), REFINEMENT, experiment)


def reached(rows: pd.DataFrame) -> Any:
    """Return, by method, after how many steps and milliseconds an image it has DMaaPx's test ELBO without a step."""
    target = rows[(rows["method"] == "dmaapx") & (rows["steps"] == 0)]["elbo_test"].mean()
    found = steps_to_reach(rows, target).set_index("method")
    last = rows[rows["steps"] == rows["steps"].max()].groupby("method")["elbo_test"].mean()
    first = rows[rows["steps"] == 0].groupby("method")["elbo_test"].mean()
    table = pd.DataFrame(
        {
            "test ELBO without a step": first.map(number),
            "steps to DMaaPx's": found["steps"].map(lambda steps: "never" if steps != steps else number(steps)),
            "milliseconds an image": (1000 * found["seconds"]).map(number),
            f"test ELBO after {rows['steps'].max():,} steps": last.map(number),
        }
    )
    return styled(table.loc[known_methods(rows)].rename(index=LABELS))
