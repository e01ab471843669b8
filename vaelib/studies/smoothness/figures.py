"""Fig. 3, and what it shows on more than one pair: log q(z_α | x̃_α) on lines between latents of test images (Sec. 5.3).

The paper shows one exemplary pair, one reconstruction of each z_α and one training of each method. Here the same curve
is drawn beside its average over reconstructions, and "higher" and "smoother" are measured on many pairs by the definitions
of :class:`~vaelib.tasks.interpolation.PathStatistics`, paired by pair and by seed; the ledger judges.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from ...models import VAE
from ...report.canvas import COLOURS, LABELS, STYLE, ReportFigure, blank
from ...report.escape import styled
from ...report.explorers.frames import PathPicture
from ...report.explorers.static import Twin, keep, twin_of
from ...report.pictures import LINE_LABEL, draw_mosaic, draw_path
from ...report.publish import framed, publish, source_line, stem
from ...report.study import Figure
from ...report.trained import load_test_set
from ...runs import Experiment
from ...tasks.interpolation import Interpolation, interpolate
from ...text import number, with_error
from .stages import OnePath
from .tables import shown_paths

FIG03 = Figure(
    "fig03",
    "Density of the encoder along a line between two test images' latents (Fig. 3).",
    table="smoothness",
)

IMAGES = 11  # of a strip: alpha = 0, 0.1, ..., 1
MEANINGS = {
    "level": "mean log q (nats)",
    "variation": "total variation of log q along the path (nats)",
    "jitter": "spread of log q at one α (nats)",
    "quiet_variation": "total variation without pixel noise (nats)",
    "roughness": "total variation per nat of range",
}


def smoothness_figure(paths: Mapping[str, Interpolation], **frame) -> ReportFigure:
    """Return Fig. 3: log q(z_α | x̃_α) of both methods, the first one's images above the curves, the second's below.

    Raises ValueError unless there are two paths.
    """
    (upper, lower), (left, width, height) = paths, (1.25, 5.5, 2.5)
    side, half = width / IMAGES, 0.5 / (IMAGES - 1)  # half, so that an image of a strip is centred over its alpha
    with mpl.rc_context(fname=STYLE):
        fig, below = blank(left + width + 0.15, 0.75 + height + 2 * side + 0.5, wrap=121, **frame)
        bottom, span = 0.75 + side + below, (-half, 1 + half)
        ax = fig.box(left, bottom, width, height)
        for method, path in paths.items():
            draw_path(ax, path, COLOURS[method])
        ax.set(xlim=span, xlabel=r"$\alpha$   (0: $x_1$, 1: $x_0$)", ylabel=LINE_LABEL)
        ax.set_xticks(np.linspace(0, 1, IMAGES))
        ax.yaxis.set_major_formatter("{x:,.10g}")
        for method, y in ((upper, bottom + height + 0.06), (lower, bottom - side - 0.5)):
            strip, look = fig.box(left, y, width, side), {"ha": "right", "va": "center", "weight": "bold"}
            images = paths[method].images
            shown = images[np.linspace(0, len(images) - 1, IMAGES).round().astype(int)]
            draw_mosaic(strip, shown, IMAGES, extent=(*span, 0, 1), aspect="auto")
            name = LABELS[method].replace(" ", "\n")
            strip.text(-0.015, 0.5, name, transform=strip.transAxes, color=COLOURS[method], **look)
    return fig


def draw_smoothness(experiment: Experiment) -> ReportFigure:
    """Draw and save Fig. 3 as ``fig03_<dataset>``."""
    pair, paths = shown_paths(experiment)
    run = experiment.measured(OnePath)[0].run
    footer = source_line(
        experiment,
        f"x₀, x₁: test images {pair[0]}, {pair[1]}",
        f"seed {run.seed}",
        f"thin: one reconstruction of each z, as in the paper; thick and band: mean and central 80 % of {run.samples}",
        "images: E[x|z]",
    )
    return publish(smoothness_figure(paths, **framed(experiment, footer)), FIG03, experiment)


def _interval(ends: tuple[float, float] | None) -> str:
    return "–" if ends is None else " … ".join(number(end, signed=True) for end in ends)


def compared(found: pd.DataFrame) -> Any:
    """Return :func:`differences` as a table for a notebook."""
    rows = {
        MEANINGS[row.quantity]: {
            LABELS["normal"]: number(row.normal),
            LABELS["dmaapx"]: number(row.dmaapx),
            "median difference": number(row.difference, signed=True),
            "95 % over pairs": _interval(row.over_pairs),
            "better on": f"{row.better_on:.0%} of pairs",
            "mean ± s.e.": with_error(row["mean"], row.mean_se, signed=True),
            "95 % over seeds": _interval(row.over_seeds),
        }
        for _, row in found.iterrows()
    }
    return styled(pd.DataFrame(rows).T)


def slider(experiment: Experiment, vaes: Mapping[str, VAE], pair: Sequence[int]) -> Twin:
    """Return, and keep for the report, the slider of Fig. 3 between two test images, given by number."""
    images, _ = load_test_set(experiment)
    path = {name: interpolate(vae, *images[list(pair)], alphas=21, samples=4) for name, vae in vaes.items()}
    caption = f"Drag α: E[x|z] between test images {pair[1]} (α = 0) and {pair[0]} (α = 1), and log q with a marker."
    return keep(twin_of(PathPicture(path), caption), experiment.profile.name, f"{FIG03.name}_{stem(experiment)}")
