"""Which protocol is the paper's: candidates of :mod:`vaelib.studies.protocol.runs` against the raw curves of Figs. 6 and 10-12.

The figures' thin lines are ELBOs of single epochs, read off the PDF. Their x starts at 0, which is the first epoch or the
weights before it; both are tried, and the smaller distance counts. A candidate's distance is the root mean square of
(ours − paper) / |paper| over train and test ELBO of every epoch that both have, in percent; that of G_g is in nats.

Where a part of the images is repeated instead, the networks learn it by heart, and neither distance says much. How noisy a
curve is does not rest on that: it is compared then, from pass to pass, with the paper's from epoch to epoch. A candidate whose
curve is more than twice as noisy is not the paper's; one that is less noisy may still be another, since neighbouring passes are
more alike than epochs.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ...errors import VaelibError
from ...report.canvas import ELBO_LABEL, STYLE, ReportFigure, canvas, nats
from ...report.publish import framed, provenance_line, publish, title
from ...report.reference import digitised
from ...report.study import Figure
from ...runs import Experiment, Store
from ...runs.stages.data import PUBLISHED, spare_images
from ...text import number
from .runs import DEFAULT, calibrate_protocol, repeats

DISTANCE = Figure(
    "protocol",
    "Candidate protocols after the first epochs, against the raw curves under the paper's figures (notebook 09).",
    table="calibrate_protocol",
)

# Setting -> the digitised figure, and the prefix of normal training's series in it.
RAW = {
    ("fashion_mnist", "gaussian"): ("raw_fashion_fig11", "normal"),
    ("binary_mnist", "bernoulli"): ("raw_mnist_fig10", "normal"),
    ("fashion_mnist", "mol"): ("raw_fashionmol_fig12", "normal"),
    ("cifar10", "mol"): ("raw_cifar_fig6", "mz1"),
}
WHOLE = 0.1  # how near to a whole epoch a digitised point lies
QUANTITIES = ("elbo_train", "elbo_test")
BESIDE = 0.5  # epochs to each side of a single one, where candidates stand side by side
NOISY = 40  # of the paper's first epochs, whose test ELBO shows its noise
SHIFTS = (0, 1)  # of the paper's x: epochs done, or counted from 0
PAPERS = "#777777"  # another grey than that of a legend's kinds of lines
PALETTE = ("#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#A6611A", "#5B2A86", "#B8860B")


def to_compare(experiment: Experiment, overrides: Mapping[str, Any] | None) -> Experiment | None:
    """Return the candidates of an experiment's setting if the paper shows its raw curve.

    Those of a part of the images, repeated, take hours and say less: only what is made already.
    """
    data, place = experiment.data, (experiment.profile.name, experiment.dataset, experiment.likelihood)
    if place[1:] not in RAW:
        return None
    candidates, store = calibrate_protocol(*place, overrides), Store()
    whole = data.n_train + spare_images(data) == PUBLISHED[experiment.dataset][0]
    return candidates if whole or all(map(store.has_manifest, candidates.runs)) else None


def paper_epochs(dataset: str, likelihood: str) -> pd.DataFrame:
    """Return the paper's ELBO at whole x of a setting's raw curves: ``x, elbo_train, elbo_test``, nats per image.

    Only points that the PDF kept. It drops those within a ninth of a pixel of a line, and where a curve rises steeply and an
    epoch is a third of a pixel wide, such a point may lie anywhere in the middle of the rise. NaN where one curve has none.
    """
    name, prefix = RAW[dataset, likelihood]
    table, columns = digitised(name), {}
    lowest = table["elbo"] <= table["elbo"].min() + 1e-6
    cut = lowest & (lowest.sum() > 1)  # several curves on the axis' lower edge went on below it
    for quantity in QUANTITIES:
        series = f"{prefix}_{quantity.removeprefix('elbo_')}"
        whole = table[(table["series"] == series) & ~cut].sort_values("epoch")
        kept = whole[(whole["epoch"] - whole["epoch"].round()).abs() < WHOLE]
        columns[quantity] = pd.Series(kept["elbo"].to_numpy(), index=kept["epoch"].round().abs())
    return pd.DataFrame(columns).rename_axis("x").reset_index()


def distances(curves: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Return one row a candidate, nearest first: its distance (percent) under each shift of x, and the epochs compared.

    ``gap`` is the root mean square of G_g's difference (nats) under the shift of the smaller distance. Train and test ELBO
    move together from one epoch to the next, so G_g tells apart what their noise hides.

    Arguments:
        curves: a sweep's curves, with ``series, effective_epoch, quantity, value``.
        paper: :func:`paper_epochs` of the same setting.

    Raises:
        VaelibError: no epoch in common.
    """
    rows = []
    for name, curve in curves.groupby("series", sort=False):
        whole = curve[curve["effective_epoch"] % 1 == 0]
        ours = whole.pivot_table(index="effective_epoch", columns="quantity", values="value")
        row: dict[str, float | str] = {"candidate": name}
        for shift in SHIFTS:
            theirs = paper.set_index(paper["x"] + shift).add_suffix("_paper")
            both = ours.merge(theirs, left_index=True, right_index=True)
            relative = [both[q] / both[f"{q}_paper"] - 1 for q in QUANTITIES]
            gaps = both["elbo_train"] - both["elbo_test"] - (both["elbo_train_paper"] - both["elbo_test_paper"])
            distance = 100 * _root_mean_square(relative)
            if distance < row.get("distance", math.inf):
                row |= {"distance": distance, "gap": _root_mean_square(gaps), "epochs": len(both)}
            row[f"shift_{shift}"] = distance
        if "distance" not in row:
            raise VaelibError(f"{name}: no epoch in common with the paper's curve; give epochs >= {paper['x'].min():g}")
        rows.append(row)
    return pd.DataFrame(rows).sort_values("distance").reset_index(drop=True)


def _root_mean_square(values: Sequence[pd.Series] | pd.Series) -> float:
    """Return it over what is there; inf where nothing is."""
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    return float(np.sqrt(np.mean(np.square(known)))) if known.size else math.inf


def noise(values: pd.Series) -> float:
    """Return the standard deviation of a curve's points about a line through their neighbours, NaN for fewer than three.

    Arguments:
        values: at evenly spaced epochs, NaN where one is missing. Second differences of independent normal noise of standard
            deviation s have s √6, and half of them are smaller than 0.6745 of that; the median heeds no single step.
    """
    return float(values.diff().diff().abs().median() / (0.6745 * math.sqrt(6)))


def _papers_noise(paper: pd.DataFrame) -> float:
    return noise(paper.set_index("x")["elbo_test"].reindex(range(NOISY)))


def protocols_figure(curves: pd.DataFrame, paper: pd.DataFrame, repeated: bool = False, **frame) -> ReportFigure:
    """Return two panels: ELBOs of all candidates over the paper's curve, and how far each one is from it.

    Arguments:
        curves, paper: as in :func:`distances`; an ``effective_epoch`` that is not whole is drawn, not compared.
        repeated: whether few images stand for all; the curves' noise is told then in place of G_g's distance.
    """
    found = distances(curves, paper)
    colours = dict(zip([n for n in curves["series"].unique() if n != DEFAULT], PALETTE, strict=False)) | {
        DEFAULT: "black"
    }
    told = f" (noise {number(_papers_noise(paper))} nats)" if repeated else ""
    handles = [Line2D([], [], color=PAPERS, lw=5, alpha=0.4, label=f"the paper's raw curve{told}")]
    with mpl.rc_context(fname=STYLE):
        fig, [(ax, _), (bars, _)] = canvas(2, handles, axes_width=4.0, **frame)
        epochs = int(curves["effective_epoch"].max())  # whole ones
        shift = min(SHIFTS, key=lambda one: found[f"shift_{one}"].min())
        near = paper[paper["x"] + shift <= epochs]
        (_side_by_side if epochs == 1 else _over_epochs)(ax, curves, near.assign(x=near["x"] + shift), colours)
        ax.set(xlabel="epochs", ylabel=ELBO_LABEL)
        nats(ax)
        rank = range(len(found) - 1, -1, -1)
        bars.barh(rank, found["distance"], color=[colours[name] for name in found["candidate"]], height=0.62)
        for place, (name, value, gap) in zip(
            rank, found[["candidate", "distance", "gap"]].itertuples(index=False), strict=True
        ):
            besides = f"; {number(gap)} nats"
            if repeated:
                own = noise(curves.query("series == @name and quantity == 'elbo_test'")["value"])
                besides = "" if math.isnan(own) else f"; noise {number(own)} nats"
            bars.text(value, place, f" {name}: {value:.1f} %{besides}", va="center", fontsize=8.5)
        bars.set(yticks=[], xlabel="distance from the paper's curve (%)", xlim=(0, 5 * found["distance"].max()))
        bars.set_title("How far from the paper: ELBO; " + ("its noise" if repeated else "$G_\\mathrm{g}$"), pad=8)
        bars.grid(False)
    return fig


def _over_epochs(ax: Axes, curves: pd.DataFrame, paper: pd.DataFrame, colours: Mapping[str, str]) -> None:
    for quantity, style in (("elbo_test", "-"), ("elbo_train", "--")):
        kept = paper.dropna(subset=[quantity])
        ax.plot(kept["x"], kept[quantity], style, color=PAPERS, lw=5, alpha=0.4)
        for name, curve in curves[curves["quantity"] == quantity].groupby("series", sort=False):
            width = 2.2 if name == DEFAULT else 1.1
            label = f"{name}, {quantity.removeprefix('elbo_')}"
            ax.plot(curve["effective_epoch"], curve["value"], style, color=colours[name], lw=width, label=label)
    low, high = (edge(paper[[*QUANTITIES]].to_numpy()) for edge in (np.nanmin, np.nanmax))
    ax.set_ylim(low - 0.6 * (high - low), high + 0.25 * (high - low))
    ax.set_title("Train (dashed) and test ELBO", pad=8)


def _side_by_side(ax: Axes, curves: pd.DataFrame, paper: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Draw what has a single epoch: a level for the paper's, a point for each candidate, and the passes that led to it."""
    begins = curves["effective_epoch"].min()
    room = 0.6 if begins < 1 else 0.0  # on the left, for the passes of others
    for quantity, style, inside in (("elbo_test", "-", None), ("elbo_train", "--", "white")):
        for level in paper[quantity].dropna():
            ax.axhline(level, ls=style, color=PAPERS, lw=5, alpha=0.4)
        of = curves[curves["quantity"] == quantity].groupby("series")
        for place, (name, colour) in zip(np.linspace(-0.5, 0.5, len(colours)), colours.items(), strict=True):
            passes = of.get_group(name).sort_values("effective_epoch")
            ax.plot(passes["effective_epoch"], passes["value"], style, color=colour, lw=1.1)
            beside = 0.0 if len(passes) > 1 else room + place
            label = f"{name}, {quantity.removeprefix('elbo_')}"
            last = passes["value"].iloc[-1:]
            ax.plot([1 + BESIDE * beside], last, "o", color=colour, mfc=inside or colour, label=label)
    ax.set(xticks=sorted({round(begins, 1), 1}), xlim=(min(begins, 1 - BESIDE), 1 + BESIDE + 0.1 * (begins < 1)))
    ax.set_title("Train (hollow) and test ELBO", pad=8)


def _papers_count(epochs: pd.Series, passes: float) -> pd.Series:
    """Return epochs in the paper's number of images: whole where ours is the nearest to a whole one, else a fraction."""
    whole = (epochs / passes).round()
    return whole.where((whole * passes).round() == epochs, epochs / passes)


def draw_protocols(experiment: Experiment, tables: dict[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save ``protocol_<data set>`` from the tables of :func:`~vaelib.studies.protocol.runs.calibrate_protocol`."""
    footer = provenance_line(tables["rows"], profile=experiment.profile.name, alone="one seed")
    passes, curves = repeats(experiment.data, experiment.profile), tables["curves"]
    if passes > 1:
        footer += f" · {experiment.data.n_train:,} images stand for {PUBLISHED[experiment.dataset][0]:,}, repeated"
    figure = protocols_figure(
        curves.assign(effective_epoch=_papers_count(curves["effective_epoch"], passes)),
        paper_epochs(experiment.dataset, experiment.likelihood),
        repeated=passes > 1,
        **framed(experiment, footer, about=f"The paper's protocol, {title(experiment)}"),
    )
    return publish(figure, DISTANCE, experiment)
