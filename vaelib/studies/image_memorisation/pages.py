"""From the experiment ``image_memorisation`` to its figure on disk and its table in a notebook."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ...images import as_float
from ...report.canvas import LABELS, ReportFigure, known_methods
from ...report.escape import styled
from ...report.pages import headed
from ...report.publish import framed, publish, source_line, title
from ...report.study import Figure
from ...runs import Experiment, Store, run
from ...runs.external import source_of_samples
from ...runs.store import load_split
from ...text import how_many, number, with_error
from .figures import memorisation_figure, over_repeats

MEMORY = Figure(
    "memorisation",
    "What is remembered of single training images (van den Burg & Williams 2021): log p(x) with the image in the training set "
    "minus log p(x) without it, and the images of which each method remembers most and least. Not in the paper.",
    table="image_memorisation",
)


def describe(experiment: Experiment) -> str:
    """Return what the study consists of, as Markdown."""
    profile, data = experiment.profile, experiment.data
    about = (
        f"{data.label} · N = {data.n_train:,} training images in {profile.memorisation_folds} folds, "
        f"{how_many(profile.memorisation_repeats, 'partition')} · {profile.epochs} effective epochs · "
        f"{source_of_samples(profile)}, one a fold"
    )
    return headed(title(experiment), about, experiment)


def draw_memorisation(experiment: Experiment, tables: Mapping[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save distributions of M and the most and least remembered images as ``memorisation_<dataset>``."""
    run([experiment.data])  # read only, where the numbers were shipped
    images = as_float(load_split(Store(), experiment.data, "train"))
    profile = experiment.profile
    footer = source_line(
        experiment,
        f"{profile.memorisation_folds} folds, {how_many(profile.memorisation_repeats, 'partition')}",
        f"IWAE, k = {profile.memorisation_draws}",
        "below an image: M in nats",
    )
    frame = framed(experiment, footer, about=f"What is remembered of single images: {title(experiment)}")
    shown = memorisation_figure(tables["image_memorisation"], images, **frame)
    return publish(shown, MEMORY, experiment)


def summary(tables: Mapping[str, pd.DataFrame]) -> Any:
    """Return what is remembered by each method, over images, as a table."""
    table, lines = tables["image_memorisation"], {}
    scores = over_repeats(table)
    for method in known_methods(scores):
        own, values = table[table["method"] == method], scores[scores["method"] == method]["memorisation"]
        encoder = scores[scores["method"] == method]["memorisation_by_encoder"]
        sides = own.groupby("image")[["inside", "outside"]].mean()  # repeats of one image are no images more
        lines[LABELS[method]] = {
            "mean M (nats)": with_error(values.mean(), values.sem()),
            "median": number(values.median()),
            "largest": number(values.max()),
            "M > 0": f"{(values > 0).mean():.1%}",
            "mean log p(x), inside": with_error(sides["inside"].mean(), sides["inside"].sem()),
            "outside": with_error(sides["outside"].mean(), sides["outside"].sem()),
            "mean M by the encoder's bound": with_error(encoder.mean(), encoder.sem()),
            "Monte Carlo error, median": number(own["error"].median()),
        }
    return styled(pd.DataFrame(lines).T).set_properties(**{"white-space": "nowrap"})
