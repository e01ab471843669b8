"""Figures where all is known, from tables: Fig. 1, Table 1, Remark B.5, estimates beside the truth."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from ...report.canvas import COLOURS, GREY, LABELS, MARKERS, STYLE, ReportFigure, blank, figure_legend, series_handles
from ...text import number

DARK = "#333333"
SHOWN = ("normal", "aug_tuned", "aug_naive", "dmaapx", "p_data")
PANELS = {
    "normal": "$D_{\\rm train}$",
    "aug_tuned": "$p_{\\rm aug}$, tuned",
    "aug_naive": "$p_{\\rm aug}$, naive",
    "dmaapx": "$p_{\\rm DM}$",
    "p_data": "$p_{\\rm data}$",
}


def training_distributions_figure(
    density: pd.DataFrame, points: pd.DataFrame, rows: pd.DataFrame, **frame
) -> ReportFigure:
    """Return Fig. 1: D_train as dots and each other training distribution as a density, within the edge of p_data.

    Arguments:
        density: columns x, y (a grid) and one a distribution.
        points: D_train, columns x and y.
        rows: of each distribution its ``kl``, and the shares ``outside`` and ``missed``.
    """
    about = rows.set_index("method")
    xs, ys = (np.unique(density[axis]) for axis in ("x", "y"))
    truth = _grid(density, "p_data", xs, ys)
    mass = np.sort(truth.ravel())[::-1]
    edge = mass[np.searchsorted(mass.cumsum() / mass.sum(), 0.99)]
    side = 1.86
    with mpl.rc_context(fname=STYLE):
        figure, _ = blank(
            10.4, 3.55, title_note=f"Training distributions from {len(points)} points", grows=False, **frame
        )
        for place, name in enumerate(SHOWN):
            left = 0.15 + place * (side + 0.19)
            ax = figure.box(left, 0.92, side, 1.95)
            ax.set(xlim=(-1.25, 1.25), ylim=(-1.4, 1.4), xticks=[], yticks=[], aspect="equal", anchor="S")
            ax.grid(False)
            for spine in ax.spines.values():
                spine.set_visible(False)
            colour = COLOURS.get(name, DARK)
            shade = LinearSegmentedColormap.from_list("shade", ["#ffffff", colour])
            if name != "normal":
                ax.contourf(
                    xs,
                    ys,
                    np.sqrt(_grid(density, name, xs, ys)),
                    24,
                    cmap=shade,
                    vmin=0,
                    vmax=1.2,
                )
            if name in ("normal", "dmaapx", "aug_tuned"):
                size = 5 if name == "normal" else 0.8
                ax.scatter(points["x"], points["y"], s=size, color=COLOURS["normal"], lw=0, zorder=3)
            ax.contour(xs, ys, truth, [edge], colors=[DARK], linewidths=0.9)
            ax.set_title(PANELS[name], color=colour, pad=3)
            ax.text(0.5, -0.02, _caption(about.loc[name], name), ha="center", va="top", fontsize=8.5, color=DARK,
                    transform=ax.transAxes)  # fmt: skip
    return figure


def _grid(density: pd.DataFrame, name: str, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    return density.pivot(index="y", columns="x", values=name).reindex(index=ys, columns=xs).to_numpy()


def _caption(row: pd.Series, name: str) -> str:
    if name == "p_data":
        return "the truth"
    if name == "normal":
        return f"KL infinite\n{row['unique']:.0%} of samples unique"
    return f"KL {row['kl']:.2f} nats\n{row['outside']:.0%} outside, {row['missed']:.0%} missed"


def accuracy_figure(plane: pd.DataFrame, **frame) -> ReportFigure:
    """Return KL(p_data ‖ p) and the share of near-copies of D_train over N, a line a distribution, a dot a seed."""
    with mpl.rc_context(fname=STYLE):
        figure, _ = blank(8.6, 3.5, title_note="How accurate, how new: both depend on N", grows=False, **frame)
        divergences = plane.loc[plane["method"].isin(SHOWN[1:4]), "kl"].astype(float)
        sides = (("kl", "KL($p_{\\rm data}$ ‖ p) (nats)", "Criterion 2: accurate"),
                 ("copies", "share of samples", "Near-copies of $D_{\\rm train}$"))  # fmt: skip
        for place, (quantity, label, title) in enumerate(sides):
            ax = figure.box(0.85 + place * 4.15, 0.85, 3.2, 1.75)
            for name in ("aug_tuned", "aug_naive", "dmaapx"):
                rows = plane[plane["method"] == name]
                means = rows.groupby("n_train")[quantity].mean()
                ax.plot(means.index, means, color=COLOURS[name])
                ax.scatter(
                    rows["n_train"], rows[quantity], s=14, marker=MARKERS[name], color=COLOURS[name], lw=0, zorder=3
                )
            if quantity == "copies":
                fresh = plane[plane["method"] == "p_data"].groupby("n_train")["copies"].mean()
                ax.plot(fresh.index, fresh, ":", color=DARK)
            sizes = sorted(plane["n_train"].unique())
            ax.set_xscale("log")
            if quantity == "kl":
                ax.set_yscale("log")
                ax.set_yticks(ticks := (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2), [f"{tick:g}" for tick in ticks])
                ax.yaxis.set_minor_formatter(NullFormatter())
                ax.set_ylim(0.8 * divergences.min(), 1.25 * divergences.max())
            else:
                ax.yaxis.set_major_formatter("{x:.0%}")
                ax.set_ylim(bottom=0)
            ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set(xlabel="N, points in $D_{\\rm train}$", ylabel=label)
            ax.set_title(title)
        handles = series_handles(SHOWN[1:4], PANELS)
        handles.append(Line2D([], [], color=DARK, ls=":", label="fresh samples of $p_{\\rm data}$"))
        figure_legend(figure, handles, 4)
    return figure


REMARKS = {  # a model of a distribution -> marker and colour
    "its own, the posterior exact": ("o", "#009E73"),
    "its own, the posterior factorised": ("s", "#0072B2"),
    "its own, the encoder of 6 images": ("^", "#D55E00"),
    "that of p": ("D", "#5B2A86"),
}


def remark_figure(rows: pd.DataFrame, **frame) -> ReportFigure:
    """Return Remark B.5: E_p[ELBO] over -H(p); no point may lie above the diagonal, where the posterior is exact."""
    means = rows.groupby(["distribution", "model"], sort=False)[["bound", "elbo", "exact"]].mean().reset_index()
    with mpl.rc_context(fname=STYLE):
        figure, _ = blank(
            8.6, 3.9, title_note="No model's mean ELBO exceeds minus the entropy of the data", grows=False, **frame
        )
        ax = figure.box(0.85, 0.85, 4.3, 2.5)
        low, high = float(means["bound"].min()) - 6, float(means["bound"].max()) + 4
        ax.plot([low, high], [low, high], color=DARK, lw=1)
        ax.fill_between([low, high], [low, high], high + 8, color=GREY, alpha=0.12, lw=0)
        ax.text(low + 0.5, high + 2, "impossible", color=GREY, va="top")
        floor = min(low, float(means["exact"][means["exact"] > 2 * low].min()) - 4)
        for row in means.itertuples():
            marker, colour = REMARKS[row.model]
            inside = row.exact > floor
            ax.plot(
                row.bound,
                row.exact if inside else floor + 2,
                marker if inside else "v",
                color=colour,
                ms=8,
                mfc="none",
                mew=1.6,
            )
            if inside:
                ax.plot(row.bound, row.elbo, ".", color=colour, ms=4)
            else:
                ax.annotate(number(row.exact), (row.bound, floor + 2), color=colour, va="center", ha="right",
                            xytext=(-8, 0), textcoords="offset points")  # fmt: skip
        ax.set(xlim=(low, high), ylim=(floor, high + 4), xlabel="−H(p) (nats)", ylabel="$E_p$[ELBO] (nats)")
        handles = [
            Line2D([], [], color=c, marker=m, ls="", mfc="none", mew=1.6, ms=8, label=name)
            for name, (m, c) in REMARKS.items()
        ]
        handles.append(Line2D([], [], color=DARK, marker=".", ls="", label="measured, on samples of p"))
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(5.35 / 8.6, 1 - 0.55 / 3.9),
            title="scored under",
            alignment="left",
        )
    return figure


def calibration_figure(rows: pd.DataFrame, **frame) -> ReportFigure:
    """Return one panel a quantity: every repetition's estimate ± 1 and ± 3 stated errors, and the exact value as a line."""
    names = list(dict.fromkeys(rows["quantity"]))
    side = 1.52
    with mpl.rc_context(fname=STYLE):
        figure, _ = blank(10.4, 3.9, title_note="Estimates where the truth is known", grows=False, **frame)
        for place, name in enumerate(names):
            left = 0.62 + place * (side + 0.44)
            ax = figure.box(left, 0.85, side, 1.9)
            draw_calibration(ax, rows[rows["quantity"] == name])
            ax.set_title(name if name != "G_g" and name != "G_a" else f"${name[0]}_{{{name[2]}}}$", pad=18)
            if not place:
                ax.set_ylabel("nats per image")
        handles = [Line2D([], [], color=DARK, lw=1.4, label="exact"),
                   Line2D([], [], color=COLOURS["normal"], lw=2.4, label="estimate ± 1 stated error"),
                   Line2D([], [], color=COLOURS["normal"], lw=0.8, label="± 3 errors"),
                   Line2D([], [], color="#D55E00", lw=2.4, label="exact value further than 3 errors")]  # fmt: skip
        figure_legend(figure, handles, 4)
    return figure


def draw_calibration(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw one quantity's estimates, and how many lie within 3 of their errors."""
    exact = float(rows["exact"].iloc[0])
    off = (rows["value"] - exact).abs() > 3 * rows["error"]
    colours = np.where(off, "#D55E00", COLOURS["normal"])
    for factor, lw in ((3, 0.8), (1, 2.4)):
        low, high = rows["value"] - factor * rows["error"], rows["value"] + factor * rows["error"]
        ax.vlines(rows["repetition"], low, high, colors=colours, lw=lw)
    ax.axhline(exact, color=DARK, lw=1.4, zorder=0.9)
    ax.set(xlabel="repetition", xticks=[0, len(rows) - 1], xticklabels=["1", str(len(rows))])
    ax.text(
        0, 1.02, f"{int((~off).sum())} of {len(rows)} within 3 errors", transform=ax.transAxes, fontsize=8, color=GREY
    )


def missed_modes_figure(rows: pd.DataFrame, **frame) -> ReportFigure:
    """Return each image's ELBO* below its tightest upper bound, from one start and from two, images sorted by the first.

    ``rows``: of one likelihood, with ``starts`` 1 and 2.
    """
    series = {1: ("o", "#D55E00"), 2: (".", "#009E73")}
    wide = {starts: rows[rows["starts"] == starts].reset_index(drop=True) for starts in series}
    upper = pd.concat([wide[1]["BDMC"], wide[2]["BDMC"]], axis=1).min(axis=1)
    below = {starts: (upper - part["ELBO*"]).clip(lower=0.05) for starts, part in wide.items()}
    order = below[1].sort_values().index
    with mpl.rc_context(fname=STYLE):
        figure, _ = blank(8.6, 3.5, title_note="An upper bound shows what an optimiser missed", grows=False, **frame)
        ax = figure.box(0.85, 0.85, 7.5, 1.9)
        where = np.arange(len(order))
        for starts, (marker, colour) in series.items():
            ax.plot(
                where,
                below[starts][order],
                marker,
                color=colour,
                ms=8 if starts == 1 else 9,
                mfc="none" if starts == 1 else colour,
            )
        ax.set_yscale("log")
        ax.set(xlabel="image, sorted", ylabel="upper bound − ELBO* (nats)", xticks=[])
        names = {1: "ELBO* climbed from the encoder's posterior", 2: "the better of two starts"}
        handles = [
            Line2D([], [], marker=m, color=c, ls="", mfc="none" if s == 1 else c, ms=8, label=names[s])
            for s, (m, c) in series.items()
        ]
        figure_legend(figure, handles, 2)
    return figure


def brackets_figure(rows: pd.DataFrame, **frame) -> ReportFigure:
    """Return log p(x) - ELBO of trained VAEs as bars, split at ELBO*: what the encoder loses, what the family of q loses.

    Left: test images, log p(x) by its lower bound. Right: the VAEs' own samples, by BDMC's upper bound. The scale is
    logarithmic, so the parts are drawn side by side.
    """
    methods = [name for name in LABELS if name in set(rows["method"])]
    with mpl.rc_context(fname=STYLE):
        figure, _ = blank(8.6, 3.3, grows=False, **frame)
        for place, (images, end, title) in enumerate(
            (("test images", "lower", "Test images"), ("own samples", "BDMC", "Own samples"))
        ):
            ax = figure.box(0.85 + 4.15 * place, 0.8, 3.3, 1.6)
            for column, method in enumerate(methods):
                part = rows[(rows["method"] == method) & (rows["images"] == images)]
                draw_losses(ax, column, part, end, COLOURS[method])
            ax.set_yscale("log")
            ax.margins(y=0.25)
            ax.set_xticks(range(len(methods)), [LABELS[method].replace(" ", "\n") for method in methods], fontsize=8)
            ax.set(ylabel="nats per image")
            ax.set_title(title)
        handles = [mpl.patches.Patch(fc=GREY, ec=GREY, label="amortization: ELBO* − ELBO"),
                   mpl.patches.Patch(fc="white", ec=GREY, hatch="////", label="approximation: log p(x) − ELBO*")]  # fmt: skip
        figure_legend(figure, handles, 2)
    return figure


def draw_losses(ax: Axes, column: int, rows: pd.DataFrame, end: str, colour: str) -> None:
    """Draw a method's two bars with their numbers: ELBO* - ELBO, filled, and ``end`` - ELBO*, hatched."""
    for x, low, high, hatch in ((column - 0.2, "ELBO", "ELBO*", ""), (column + 0.2, "ELBO*", end, "////")):
        lost = (rows[high] - rows[low]).clip(lower=0)
        look = {"color": "white" if hatch else colour, "edgecolor": colour, "hatch": hatch}
        ax.bar(x, lost.mean(), 0.36, yerr=lost.sem(), error_kw={"ecolor": DARK, "elinewidth": 1}, **look)
        place = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center", "fontsize": 8}
        ax.annotate(number(lost.mean()), (x, lost.mean() + lost.sem()), **place)
