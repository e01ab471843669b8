"""From a sweep's experiment to its figure on disk: the paper's number in the name, footer, watermark, the paper's beneath."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

from ...errors import VaelibError
from ...report.canvas import LABELS, ReportFigure
from ...report.escape import styled
from ...report.pages import headed
from ...report.publish import PAPERS, as_in_paper, framed, provenance_line, publish, title
from ...report.study import Figure, studies
from ...runs import Experiment
from ...text import as_given, how_many, number
from ..three_gaps.pages import COLUMNS
from .figures import (
    early_stopping_figure,
    latents_figure,
    limited_k_figure,
    mixing_figure,
    mollify_figure,
    path_figure,
    rha_figure,
    sizes_figure,
    teacher_figure,
)
from .paper import paper_sweep, paper_sweep_curves

FIG04_RIGHT = Figure(
    "fig04_right",
    "Test (solid) and training (dashed) ELBO over the number of synthetic images (Fig. 4, right); normal "
    "training as horizontal lines, k × N held-out real images as a control that the paper does not have.",
    table="limited_k",
)
FIG05 = Figure(
    "fig05",
    "Reverse Half Asleep on normal training and on DMaaPx (Fig. 5). A bracket is a gap at the last epoch.",
    table="rha",
)
FIG06 = Figure("fig06", "The three gaps of normal training with few and with more latents (Fig. 6).", table="latents")
FIG07 = Figure(
    "fig07", "ELBOs and gaps over the latent channels mz and the internal channels nc (Fig. 7).", table="sizes"
)
FIG14 = Figure(
    "fig14",
    "Noise on the training images that falls to nothing over the first half (Fig. 14). A bracket is a gap at "
    "the last epoch; below the dotted line the axis is pressed together.",
    table="mollify",
)
FIG15 = Figure("fig15", "Training on a mixture of real and synthetic images (Fig. 15).", table="mixing")
FIG16 = Figure(
    "fig16",
    "DMaaPx with diffusion models that saw only a part of the training images (Fig. 16).",
    table="teacher_fractions",
)
FIG08 = Figure(
    "fig08",
    "Negative test ELBO over the number of parameters (Fig. 8). The path of Sec. 5.7 grows nc (1), then mz "
    "(2), then nc again (3).",
    table="sizes",
)
EARLY_STOPPING = Figure(
    "early_stopping",
    "Each method's last test ELBO beside the best along its curve, which no early stopping can beat, for the runs with and "
    "without Reverse Half Asleep and mollification. Not in the paper.",
    table="rha",
)

LINES = -1.0  # in place of NaN, which finds no partner: the x of a series that is the same everywhere

SWEEP_LABELS = LABELS | {"normal_mollify": "Normal + Aug.Mollify"}

Tables = dict[str, pd.DataFrame]


class Drawn(NamedTuple):
    """How a sweep is shown: its figure, what its x is called, and the keyword of the epoch half way, if it marks that one.

    Over epochs the figure takes the curves, too, and the paper's beneath.
    """

    figure: Callable[..., ReportFigure]
    x: str = "x"
    over_epochs: bool = False
    half_way: str | None = None


DRAWN = {
    "limited_k": Drawn(limited_k_figure, "k"),
    "rha": Drawn(rha_figure, over_epochs=True, half_way="frozen"),
    "latents": Drawn(latents_figure, "mz", over_epochs=True),
    "sizes": Drawn(sizes_figure),
    "mollify": Drawn(mollify_figure, over_epochs=True, half_way="clean"),
    "mixing": Drawn(mixing_figure, "% real"),
    "teacher_fractions": Drawn(teacher_figure, "teacher saw %"),
}


def _frame(experiment: Experiment, rows: pd.DataFrame, paper: pd.DataFrame) -> dict:
    """Return what every figure of a sweep shares; the paper's numbers only where the scale is the paper's."""
    beneath = paper if as_in_paper(experiment) else None
    footer = provenance_line(rows, profile=experiment.profile.name, alone="one seed")
    if beneath is not None:
        footer += PAPERS
    return framed(experiment, footer) | {"paper": beneath}


def draw_sweep(experiment: Experiment, tables: Tables) -> ReportFigure:
    """Draw and save the figure of one sweep from its tables (``rows`` and ``curves``)."""
    name, rows = experiment.name, tables["rows"]
    if name not in DRAWN:
        raise VaelibError(f"experiment {name!r} has no figure here; draw your own (docs/extending.md)")
    drawn = DRAWN[name]
    marked = {drawn.half_way: experiment.profile.epochs / 2} if drawn.half_way else {}
    if drawn.over_epochs:
        frame = _frame(experiment, rows, paper_sweep_curves(name))
        figure = drawn.figure(tables["curves"], rows, **marked, **frame)
    else:
        figure = drawn.figure(rows, **_frame(experiment, rows, paper_sweep(name)))
    return publish(figure, studies()[name].figures[0], experiment)


def draw_path(experiment: Experiment, tables: Tables, axis: str = "log") -> ReportFigure:
    """Draw and save Fig. 8 from the sweep over sizes; ``axis`` is ``log`` or ``linear``."""
    rows = tables["rows"]
    figure = path_figure(rows, axis=axis, **_frame(experiment, rows, paper_sweep("sizes")))
    return publish(figure, FIG08, experiment)


def draw_early_stopping(experiment: Experiment, rows: pd.DataFrame) -> ReportFigure:
    """Draw and save ``early_stopping_<dataset>`` from the rows of one sweep or several, joined."""
    footer = provenance_line(rows, profile=experiment.profile.name, alone="one seed")
    return publish(early_stopping_figure(rows, **framed(experiment, footer)), EARLY_STOPPING, experiment)


def describe_sweeps(*experiments: Experiment) -> str:
    """Return what sweeps over one data set consist of, as Markdown: what they share, then a line each."""
    profile, data = experiments[0].profile, experiments[0].data
    about = (
        f"{data.label} · N = {data.n_train:,} training and {data.n_test:,} test images · "
        f"residual VAE, nc = {profile.nc} and mz = {profile.mz} unless varied · {profile.epochs} effective epochs · "
        f"{how_many(profile.sweep_seeds, 'seed')}"
    )
    lines = [headed(title(experiments[0]), about, *experiments)]
    for one in experiments:
        known = studies().get(one.name)
        vaes = len({point.run.key for point in one.points})
        line = f"- {known.paper if known and known.paper else one.name}: {vaes} VAEs"
        if one.name == "limited_k" and not any(point.series == "held_out" for point in one.points):
            line += "; no control, because beside these N there are not as many real images again"
        lines.append(line)
    return "\n".join([lines[0], "", *lines[1:]])


def sweep_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a sweep's values (means over seeds) beside the paper's at the same points, nats per image.

    ``±`` is the standard error over seeds; of one seed, over test images.
    """
    name = rows["experiment"].iloc[0]
    keys = ["series", "nc", "mz"] if name == "sizes" else ["series", "x"]
    theirs = paper_sweep(name) if name in DRAWN else rows.iloc[:0]  # a sweep of one's own has nothing beside it
    rows, paper = (table.assign(x=table["x"].fillna(LINES)) for table in (rows, theirs))
    rank = {series: place for place, series in enumerate(LABELS)}
    rows = rows.sort_values(keys, key=lambda column: column.map(rank) if column.name == "series" else column)
    quantities = [quantity for quantity in COLUMNS if quantity in rows and rows[quantity].notna().any()]
    groups, parts = rows.groupby(keys, sort=False), {}
    for quantity in quantities:
        errors = groups[quantity].sem() if rows["seed"].nunique() > 1 else groups[f"{quantity}_se"].mean()
        ours = groups[quantity].mean()
        theirs = paper.set_index(keys).reindex(columns=quantities)[quantity].reindex(ours.index)
        for column, values in (("paper (CIFAR-10)", theirs), ("ours", ours), ("±", errors)):
            parts[COLUMNS[quantity], column] = values
    table = pd.DataFrame(parts).reset_index()
    table["series"] = table["series"].map(lambda series: SWEEP_LABELS.get(series, series))
    if name == "latents":
        table["series"] = SWEEP_LABELS["normal"]  # its curves are named by mz, which has a column here
    if "x" in keys and (table["x"] == LINES).all():
        return table.drop(columns="x", level=0)
    called = DRAWN[name].x if name in DRAWN else "x"
    return table.replace({("x", ""): {LINES: math.nan}}).rename(columns={"x": called}, level=0)


def compared_sweep(rows: pd.DataFrame) -> Any:
    """Return :func:`sweep_table` for a notebook."""
    table = sweep_table(rows)
    shown = [column for column in table.columns if column[0] in COLUMNS.values()]
    places = [column for column in table.columns if column not in shown and column[0] != "series"]
    style = styled(table).format(number, subset=shown, na_rep="–")
    return style.format(as_given, subset=places, na_rep="–").hide(axis="index")
