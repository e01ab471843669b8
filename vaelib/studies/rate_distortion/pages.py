"""From the experiment ``rate_distortion`` to its figure on disk and its table in a notebook."""

from typing import Any

import pandas as pd

from ...report.canvas import LABELS, ReportFigure, known_methods
from ...report.escape import styled
from ...report.publish import framed, provenance_line, publish, title
from ...report.study import Figure
from ...runs import Experiment
from ...text import with_error
from .claims import last_rows
from .figures import parts, plane_figure

PLANE = Figure(
    "rate_distortion",
    "The rate-distortion plane of the four methods (Alemi et al. 2018): training images (hollow) joined to test images, and "
    "test images over the epochs. On a dotted line the ELBO, −(R + D), is the same. Not in the paper.",
    table="rate_distortion",
)
COLUMNS = {
    "rate": "rate R (nats)",
    "distortion": "distortion D (nats)",
    "elbo": "ELBO = −(R + D)",
    "bits_per_dim": "bits/dim",
    "active_units": "active units",
}


def draw_plane(experiment: Experiment, table: pd.DataFrame) -> ReportFigure:
    """Draw and save the plane as ``rate_distortion_<dataset>``."""
    footer = provenance_line(
        table, profile=experiment.profile.name, shown="a mark each", alone="a mark a method and kind of images"
    )
    frame = framed(experiment, footer, about=f"Rate and distortion: {title(experiment)}")
    return publish(plane_figure(table, **frame), PLANE, experiment)


def split_table(table: pd.DataFrame) -> Any:
    """Return what every ELBO at the last epoch is made of, mean ± standard error over seeds, for a notebook."""
    rows, lines = last_rows(table), {}
    for method in known_methods(rows):
        for split in ("train", "test"):
            own = rows[(rows["method"] == method) & (rows["split"] == split)]
            lines[LABELS[method], split] = {
                label: with_error(own[name].mean(), own[name].sem()) for name, label in COLUMNS.items()
            }
    return styled(pd.DataFrame(lines).T).set_properties(**{"white-space": "nowrap"})


def parts_table(table: pd.DataFrame) -> Any:
    """Return the two parts of each method's generalization gap, mean ± standard error over seeds, for a notebook."""
    found, lines = parts(table), {}
    for method in known_methods(found):
        own = found[found["method"] == method]
        gap = own["rate_part"] + own["distortion_part"]
        lines[LABELS[method]] = {
            "G_g (nats)": with_error(gap.mean(), gap.sem()),
            "of it distortion": with_error(own["distortion_part"].mean(), own["distortion_part"].sem()),
            "of it rate": with_error(own["rate_part"].mean(), own["rate_part"].sem()),
            "distortion's share": with_error(*(100 * own["distortion_part"] / gap).agg(["mean", "sem"]), unit=" %"),
        }
    return styled(pd.DataFrame(lines).T).set_properties(**{"white-space": "nowrap"})
