"""From the experiment ``sensitivity`` to its figures on disk: the panel, the floors, MS-SSIM's spread, the attack."""

import pandas as pd

from ...gaps.robustness import RECONSTRUCTIONS
from ...report.canvas import ReportFigure
from ...report.publish import framed, provenance_line, publish, source_line
from ...report.study import Figure
from ...runs import Experiment
from ...runs.tables import measured_tensors
from .figures import floors_figure, sensitivity_figure, spread_figure, strength_figure, strip_figure
from .stages import AttackSteps
from .tables import PROTOCOL

PANEL = Figure(
    "sensitivity",
    "The three gaps under every named choice of protocol (App. A, Table 2). A triangle: the order of the "
    "methods is another one.",
    table="sensitivity",
)
FLOORS = Figure(
    "floors",
    "The robustness gap from samples and from means of p(x|z), and what two reconstructions of one clean "
    "image already differ by (hollow).",
    table="sensitivity",
)
MS_SSIM = Figure(
    "ms_ssim",
    "Three variants of MS-SSIM on the same pairs of 32×32 images; on the line they agree.",
    table="similarity_pairs",
)
STRENGTH = Figure(
    "attack_strength",
    "What the attack reaches over its steps, radius, random starts and kind of gradient.",
    table="attack_strength",
)
STEPS = Figure(
    "attack_steps",
    "One test image under attack, step by step, and what becomes of its reconstruction.",
)


def _footer(experiment: Experiment, table: pd.DataFrame, shown: str) -> str:
    return provenance_line(table, profile=experiment.profile.name, shown=shown, alone="one VAE a method")


def _words(experiment: Experiment) -> str:
    """Return the attack's protocol for a footer."""
    run = experiment.points[0].run  # as notebook 03 measures
    return f"δ = {run.attack_radius:g}, {run.attack_steps} steps, {run.attack_gradient} gradient"


def draw_sensitivity(experiment: Experiment, table: pd.DataFrame) -> ReportFigure:
    """Draw and save the panel as ``sensitivity_<dataset>``."""
    footer = _footer(experiment, table, "point: mean, stroke: min to max")
    footer += " · vertical lines: as configured, all seeds · a variant trained again has the first seeds alone"
    return publish(sensitivity_figure(table, **framed(experiment, footer)), PANEL, experiment)


def both_kinds(table: pd.DataFrame) -> pd.DataFrame:
    """Return the panel's rows of G_r from samples and from means, with ``kind``."""
    other = table["variant"].map({f"reconstructions: {kind}": kind for kind in RECONSTRUCTIONS})
    [found] = other.dropna().unique()
    kind = other.where(table["variant"] != PROTOCOL, {"mean": "sample", "sample": "mean"}[found])
    return table.assign(kind=kind).dropna(subset="kind")


def draw_floors(experiment: Experiment, table: pd.DataFrame) -> ReportFigure:
    """Draw and save G_r from samples beside G_r from means, with their floors, as ``floors_<dataset>``."""
    footer = _footer(experiment, table, "mark: mean, stroke: min to max") + f" · {_words(experiment)}"
    footer += " · floor: 1 − MS-SSIM of two reconstructions of the same clean image; z is sampled for both kinds"
    return publish(floors_figure(both_kinds(table), **framed(experiment, footer)), FLOORS, experiment)


def draw_spread(experiment: Experiment, pairs: pd.DataFrame) -> ReportFigure:
    """Draw and save the variants of MS-SSIM on the same pairs as ``ms_ssim_<dataset>``."""
    footer = _footer(experiment, pairs, "") + f" · {_words(experiment)}, one restart · a mark: one pair of 32×32 images"
    return publish(spread_figure(pairs, **framed(experiment, footer)), MS_SSIM, experiment)


def draw_strength(experiment: Experiment, table: pd.DataFrame) -> ReportFigure:
    """Draw and save what attacks of other strengths reach as ``attack_strength_<dataset>``."""
    run = experiment.points[0].run
    images = f"{int(table['images'].max())} test images × {int(table['of_restarts'].max())} restarts"
    footer = _footer(experiment, table, "") + f" · {images}; band: ± one standard error over images"
    footer += " · E[x|z] at z = μ, so there is no floor · dotted: Table 2's protocol"
    figure = strength_figure(table, steps=run.attack_steps, **framed(experiment, footer))
    return publish(figure, STRENGTH, experiment)


def draw_strip(experiment: Experiment) -> ReportFigure:
    """Draw and save the attack on one test image, step by step, as ``attack_steps_<dataset>``."""
    run, rows, captions = experiment.measured(AttackSteps)[0].run, {}, {}
    for method, found in measured_tensors(experiment, AttackSteps).items():
        rows[method] = found["inputs"], found["outputs"]
        captions[method] = tuple(["", *(f"{value:.2f}" for value in row[1:])] for row in found["similarity"].tolist())
    heads = ["x", *(f"step {stop}" if stop else "random start" for stop in run.stops)]
    footer = source_line(
        experiment,
        f"VAEs of seed 0, test image {run.index} · {_words(experiment)} · E[x|z = μ] · "
        "below: MS-SSIM with the first column",
    )
    return publish(strip_figure(rows, captions, heads, **framed(experiment, footer)), STEPS, experiment)
