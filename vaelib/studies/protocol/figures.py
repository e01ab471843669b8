"""Which protocol is the paper's: candidates of :mod:`vaelib.studies.protocol.runs` against the raw curves of Figs. 6 and 10-12.

The figures' thin lines are ELBOs of single epochs, read off the PDF. Their x starts at 0, which is the first epoch
(:func:`~vaelib.report.reference.epochs_done`). A candidate's distance is the root mean square of (ours − paper) / |paper| over
train and test ELBO of every epoch that both have, in percent; that of G_g is in nats.

A lossy copy of the images is easier by some constant. It is left free: the mean of ours − paper is taken away, and what is
left is compared, in nats.

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

from ...data.sources import CIFAR_LOSSY
from ...errors import VaelibError
from ...report.canvas import ELBO_LABEL, STYLE, ReportFigure, canvas, nats
from ...report.publish import framed, provenance_line, publish, title
from ...report.reference import digitised, epochs_done
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
    """Return the paper's ELBO after whole epochs of a setting's raw curves: ``epoch, elbo_train, elbo_test``, nats per image.

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
        done = epochs_done(kept["epoch"].round(), pd.Series(quantity, index=kept.index))
        columns[quantity] = pd.Series(kept["elbo"].to_numpy(), index=done)
    return pd.DataFrame(columns).rename_axis("epoch").reset_index()


def distances(curves: pd.DataFrame, paper: pd.DataFrame, lossy: bool = False) -> pd.DataFrame:
    """Return one row a candidate, nearest first: its ``distance`` (percent), and the number of epochs compared.

    ``test`` and ``gap`` are the root mean squares of the test ELBO's and G_g's differences (nats). Train and test ELBO move
    together from one epoch to the next, so G_g tells apart what their noise hides.

    Arguments:
        curves: a sweep's curves, with ``series, effective_epoch, quantity, value``.
        paper: :func:`paper_epochs` of the same setting.
        lossy: take the mean of each quantity's differences away first; ``constant`` is the test ELBO's. All candidates are
            compared at the same epochs then, and the nearest is that of the smallest ``test``.

    Raises:
        VaelibError: a candidate has no epoch in common with the paper; of a lossy copy, not two that all candidates have.
    """
    rows, theirs, kept = [], paper.set_index("epoch"), _shared(curves, paper) if lossy else set(paper["epoch"])
    if lossy and len(kept) < 2:
        raise VaelibError(
            "of a lossy copy a constant is free, so two epochs of the paper's are needed; give epochs >= 3"
        )
    near = curves[curves["effective_epoch"].isin(kept)]
    for name in sorted(set(curves["series"]) - set(near["series"])):
        first = paper["epoch"].min()
        raise VaelibError(f"{name}: no epoch in common with the paper's curve; give epochs >= {first:g}")
    for name, curve in near.groupby("series", sort=False):
        ours = curve.pivot(index="effective_epoch", columns="quantity", values="value")
        off = (ours - theirs)[[*QUANTITIES]].dropna(how="all")
        off["gap"] = off["elbo_train"] - off["elbo_test"]
        constants = off.mean() * float(lossy)
        off -= constants
        row = {"distance": 100 * _root_mean_square([off[q] / theirs[q] for q in QUANTITIES])}
        row |= {"test": _root_mean_square(off["elbo_test"]), "gap": _root_mean_square(off["gap"])}
        rows.append({"candidate": name} | row | {"constant": constants["elbo_test"], "epochs": len(off)})
    return pd.DataFrame(rows).sort_values("test" if lossy else "distance").reset_index(drop=True)


def _shared(curves: pd.DataFrame, paper: pd.DataFrame) -> set[float]:
    """Return the epochs of the paper's curve that all candidates have."""
    return set(paper["epoch"]).intersection(*curves.groupby("series")["effective_epoch"].agg(set))


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
    return noise(paper.set_index("epoch")["elbo_test"].reindex(range(1, NOISY + 1)))


def protocols_figure(
    curves: pd.DataFrame, paper: pd.DataFrame, repeated: bool = False, lossy: bool = False, **frame
) -> ReportFigure:
    """Return panels: ELBOs of all candidates over the paper's curve, their G_g over its, and how far each one is from it.

    Arguments:
        curves, paper: as in :func:`distances`; an ``effective_epoch`` that is not whole is drawn, not compared.
        repeated: whether few images stand for all; the curves' noise is told then in place of G_g's distance. A single epoch
            has no panel of G_g.
        lossy: as in :func:`distances`, where two epochs are shared; every curve is drawn less its constant then.
    """
    lossy = lossy and len(_shared(curves, paper)) > 1
    found = distances(curves, paper, lossy)
    colours = dict(zip([n for n in curves["series"].unique() if n != DEFAULT], PALETTE, strict=False)) | {
        DEFAULT: "black"
    }
    told = f" (noise {number(_papers_noise(paper))} nats)" if repeated else ""
    handles = [Line2D([], [], color=PAPERS, lw=5, alpha=0.4, label=f"the paper's raw curve{told}")]
    with mpl.rc_context(fname=STYLE):
        epochs = int(curves["effective_epoch"].max())  # whole ones
        alone = epochs == 1
        fig, pairs = canvas(2 if alone else 3, handles, axes_width=4.0 if alone else 3.4, **frame)
        axes = [ax for ax, _ in pairs]
        near = paper[paper["epoch"] <= epochs]
        constants = curves["series"].map(found.set_index("candidate")["constant"])
        (_side_by_side if alone else _over_epochs)(
            axes[0], curves.assign(value=curves["value"] - constants), near, colours
        )
        if lossy:
            axes[0].set_title("Train (dashed) and test ELBO, less a constant", pad=8)
        axes[0].set(xlabel="epochs", ylabel=ELBO_LABEL)
        nats(axes[0])
        if not alone:
            _gaps(axes[1], curves, near, colours)
        _bars(axes[-1], found, curves, colours, repeated, lossy)
    return fig


def _bars(
    ax: Axes, found: pd.DataFrame, curves: pd.DataFrame, colours: Mapping[str, str], repeated: bool, lossy: bool
) -> None:
    """Draw a bar a candidate; its text says in numbers what the title names."""
    rank, shown = range(len(found) - 1, -1, -1), "test" if lossy else "distance"
    ax.barh(rank, found[shown], color=[colours[name] for name in found["candidate"]], height=0.62)
    for place, one in zip(rank, found.itertuples(), strict=True):
        told = [f"{one.distance:.1f} %", number(one.gap)]
        if lossy:
            told = [number(one.test), number(one.gap), number(one.constant, signed=True)]
        elif repeated:
            own = noise(curves.query("series == @one.candidate and quantity == 'elbo_test'")["value"])
            told = told[:1] + ([] if math.isnan(own) else [f"noise {number(own)} nats"])
        ax.text(getattr(one, shown), place, f" {one.candidate}: {'; '.join(told)}", va="center", fontsize=8.5)
    unit = "left of the test ELBO's difference (nats)" if lossy else "distance from the paper's curve (%)"
    ax.set(yticks=[], xlabel=unit, xlim=(0, 7 * found[shown].max()))
    rest = "ELBO; its noise" if repeated else "ELBO; $G_{\\rm g}$ (nats)"
    ax.set_title("Off by (nats): test ELBO; $G_{\\rm g}$; constant" if lossy else f"How far: {rest}", pad=8)
    ax.grid(False)


def _gaps(ax: Axes, curves: pd.DataFrame, paper: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Draw G_g over epochs, which the noise that train and test ELBO share leaves alone."""
    theirs = (paper["elbo_train"] - paper["elbo_test"]).set_axis(paper["epoch"]).dropna()
    ax.plot(theirs.index, theirs, color=PAPERS, lw=5, alpha=0.4)
    for name, curve in curves.groupby("series", sort=False):
        two = curve.pivot(index="effective_epoch", columns="quantity", values="value")
        gap = two["elbo_train"] - two["elbo_test"]
        ax.plot(gap.index, gap, color=colours[name], lw=2.2 if name == DEFAULT else 1.1, label=name)
    ax.set(xlabel="epochs", ylabel="$G_{\\rm g}$ (nats per image)")
    ax.set_title("Generalization gap", pad=8)


def _over_epochs(ax: Axes, curves: pd.DataFrame, paper: pd.DataFrame, colours: Mapping[str, str]) -> None:
    for quantity, style in (("elbo_test", "-"), ("elbo_train", "--")):
        kept = paper.dropna(subset=[quantity])
        ax.plot(kept["epoch"], kept[quantity], style, color=PAPERS, lw=5, alpha=0.4)
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
        lossy=experiment.data.label.startswith(CIFAR_LOSSY),
        **framed(experiment, footer, about=f"The paper's protocol, {title(experiment)}"),
    )
    return publish(figure, DISTANCE, experiment)
