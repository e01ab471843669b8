"""Every tuned regulariser beside the paper's four methods: test ELBO and the three gaps, and how each was tuned."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from ...report.canvas import COLOURS, GREY, LABELS, MARKERS, STYLE, ReportFigure, blank, figure_legend, nats, padded
from ...report.escape import styled
from ...report.pages import headed
from ...report.publish import framed, provenance_line, publish, title
from ...report.study import Figure
from ...runs import Experiment
from ...text import how_many, listed, number, with_error
from ...training.distributions import PAIR
from .runs import ON_DMAAPX, REMEDIES
from .stages import Validation

REGULARISERS = Figure(
    "regularisers",
    "Test ELBO and the three gaps of cheap regularisers, each at the value with the highest ELBO on validation images, "
    "beside the paper's four methods; below, the validation ELBO over the values that were tried, with a ring around the best. "
    "Not in the paper.",
    table="regularisers",
)
NAMES = LABELS | {
    "weight_decay": "Weight decay",
    "dropout": "Dropout",
    "denoising": "Denoising",
    "consistency": "Consistency",
    "kl_warmup": "KL warm-up",
    "early_stopping": "Early stopping",
}
# What a value is, for the axis below its curve.
VALUES = {
    "weight_decay": "decay (× learning rate)",
    "dropout": "share of units",
    "denoising": "noise σ",
    "consistency": "weight λ",
    "kl_warmup": "share of the epochs",
    "early_stopping": "effective epochs",
}
REMEDY = "#9C3D00"
ORDER = ("normal", *REMEDIES, "aug_naive", "aug_tuned", "dmaapx", ON_DMAAPX)
PANELS = {
    "elbo_test": "test ELBO (nats)",
    "generalization_gap": "G_g (nats)",
    "amortization_gap": "G_a (nats)",
    "robustness_gap": "G_r (MS-SSIM)",
}
LEFT, ROW, WIDTH, BETWEEN, NUMBERS = 1.75, 0.25, 1.55, 0.12, 0.72  # inches: names, a line, axes, gap, room for numbers


def _look(method: str) -> dict[str, str]:
    """Return a method's colour and marker: one for all remedies, DMaaPx's colour for what stands on it."""
    if method == ON_DMAAPX:
        return {"color": COLOURS["dmaapx"], "marker": "P"}
    return {"color": COLOURS.get(method, REMEDY), "marker": MARKERS.get(method, "X")}


def _named(rows: pd.DataFrame) -> dict[str, str]:
    """Return every method's name; what was chosen for DMaaPx is told."""
    chosen = rows[rows["method"] == ON_DMAAPX]["remedy"]
    return NAMES | {ON_DMAAPX: f"DMaaPx + {_within(chosen.iloc[0])}" if len(chosen) else ""}


def _within(remedy: str) -> str:
    """Return a remedy's name as it stands within a sentence."""
    name = NAMES[remedy]
    return name if name.startswith("KL") else name.lower()


def summary(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Return ``mean`` and ``error`` of a quantity by method: the standard error over seeds, of one seed over images."""
    groups = rows.groupby("method")
    several = groups["seed"].nunique().max() > 1
    errors = groups[quantity].sem() if several else groups[f"{quantity}_se"].mean()
    return pd.DataFrame({"mean": groups[quantity].mean(), "error": errors})


def _points(ax: Axes, rows: pd.DataFrame, quantity: str, methods: Sequence[str], named: bool) -> None:
    """Draw one quantity: a point, its error and its number a method, from the first method down, ``named`` at the left."""
    found, names = summary(rows, quantity), _named(rows)
    for place, method in enumerate(methods):
        mean, error = found.loc[method, "mean"], found.loc[method, "error"]
        look = _look(method)
        ax.errorbar(mean, place, xerr=error, fmt=look["marker"], color=look["color"], ms=5.5, capsize=2.5, lw=1.4)
        place_of = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 8, "color": look["color"]}
        ax.text(1.03, place, number(mean), **place_of).set_label(names[method])
    around = found["error"].fillna(0.0)  # a single seed beside several has none
    low, high = padded(np.concatenate([found["mean"] - around, found["mean"] + around]))
    ax.set(xlim=(low, high), ylim=(len(methods) - 0.4, -0.6), xlabel=PANELS[quantity])
    ax.xaxis.set_major_locator(MaxNLocator(3))
    if quantity != "robustness_gap":
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.grid(axis="x")
    ax.set_yticks(range(len(methods)), [names[method] for method in methods] if named else [])
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=8)


def _tuning(ax: Axes, tuning: pd.DataFrame, remedy: str) -> None:
    """Draw the validation ELBO over a remedy's values, on normal training and on DMaaPx, and both without it (dotted)."""
    for method in PAIR:
        own, look = tuning[tuning["method"] == method], _look(method)
        rows = own[own["remedy"] == remedy].sort_values("strength")
        x, y = rows["strength"].to_numpy(), rows["elbo_validation"].to_numpy()
        if rows.empty:
            continue
        plain = own[own["remedy"].fillna("") == ""]["elbo_validation"]  # a table on disk has nothing for no remedy
        if len(plain):
            ax.axhline(plain.iloc[0], color=look["color"], ls=":", lw=1.3)
        ax.plot(x, y, "-", ms=5, **look)
        best = int(np.argmax(y))
        ax.plot(x[best], y[best], "o", ms=10, mfc="none", mec=look["color"], mew=1.3, clip_on=False)
    x = np.unique(tuning[tuning["remedy"] == remedy]["strength"])
    ax.set_xscale("log")
    ax.set_xlim(x[0] / 1.5, x[-1] * 1.5)
    ax.set_xticks(x, [f"{one:g}" for one in x], fontsize=7.5)
    ax.minorticks_off()
    ax.set_xlabel(VALUES[remedy], fontsize=8.5)
    ax.set_title(NAMES[remedy], fontsize=9.5, pad=5)


def _limits(tuning: pd.DataFrame) -> tuple[float, float]:
    """Return limits for what was chosen and for no remedy, with some room below: a value far too strong may leave the panel."""
    best = tuning.groupby(["method", "remedy"], dropna=False)["elbo_validation"].max()
    lowest = best.min() - 0.6 * (best.max() - best.min())
    return padded(tuning["elbo_validation"][tuning["elbo_validation"] >= lowest])


def regularisers_figure(rows: pd.DataFrame, tuning: pd.DataFrame, **frame) -> ReportFigure:
    """Return the comparison of all methods above, and the tuning of each remedy below."""
    methods = [method for method in ORDER if method in set(rows["method"])]
    remedies = [remedy for remedy in REMEDIES if remedy in set(tuning["remedy"])]
    tall, low, pitch = ROW * len(methods), 1.55, WIDTH + NUMBERS + BETWEEN
    width = LEFT + len(PANELS) * pitch + 0.05
    with mpl.rc_context(fname=STYLE):
        fig, below = blank(width, tall + low + 2.3, **frame)
        for column, quantity in enumerate(PANELS):
            ax = fig.box(LEFT + column * pitch, below + low + 1.75, WIDTH, tall)
            _points(ax, rows, quantity, methods, named=column == 0)
        left, between = 0.95, 0.16
        wide = (width - left - 0.1) / len(remedies) - between
        limits = _limits(tuning)
        for column, remedy in enumerate(remedies):
            ax = fig.box(left + column * (wide + between), below + 0.62, wide, low)
            _tuning(ax, tuning, remedy)
            ax.set_ylim(*limits)
            nats(ax)
            if column:
                ax.set_yticklabels([])
            else:
                ax.set_ylabel("validation ELBO (nats)")
        handles = [
            Line2D([], [], lw=2, label="added to normal training", **_look("normal")),
            Line2D([], [], lw=2, label="added to DMaaPx", **_look("dmaapx")),
            Line2D([], [], color=GREY, ls=":", label="without it"),
            Line2D([], [], color=GREY, marker="o", ls="", mfc="none", ms=9, label="chosen by validation images"),
        ]
        height = fig.get_figheight()
        place = {"bbox_to_anchor": (0.12 / width, (below + low + 1.28) / height)}
        figure_legend(fig, handles, len(handles), **place, fontsize=9)
    return fig


def draw_regularisers(experiment: Experiment, tables: dict[str, pd.DataFrame]) -> ReportFigure:
    """Draw and save ``regularisers_<data set>``."""
    rows, tuning = tables["regularisers"], tables["tuning"]
    shown = "point: mean, bar: standard error"
    about = {"profile": experiment.profile.name, "shown": shown, "alone": "bar: standard error over images"}
    footer = provenance_line(rows, **about)
    footer += f" · tuned from seed 0 on {int(tuning['validation_images'].max()):,} validation images"
    frame = framed(experiment, footer, about=f"Cheap regularisers beside DMaaPx, {title(experiment)}")
    return publish(regularisers_figure(rows, tuning, **frame), REGULARISERS, experiment)


def describe_regularisers(experiment: Experiment) -> str:
    """Return what the study consists of, as Markdown."""
    data, profile, tried = experiment.data, experiment.profile, experiment.measured(Validation)
    values = {name: len({point.x for point in tried if point.series == name}) for name in REMEDIES}
    about = (
        f"{data.label} · N = {data.n_train:,} training, {tried[0].run.held_out.size:,} validation and {data.n_test:,} test "
        f"images · {profile.epochs} effective epochs · {how_many(profile.seeds, 'seed')} of each choice · values tried: "
        f"{listed([f'{_within(name)} {count}' for name, count in values.items()])}"
    )
    return headed(title(experiment), about, experiment)


def regularisers_table(rows: pd.DataFrame):
    """Return all methods as a table: the chosen value, the ELBOs and the gaps, mean ± standard error; the best in bold."""
    columns = {"elbo_train": "train ELBO", **PANELS}
    methods = [method for method in ORDER if method in set(rows["method"])]
    found = {quantity: summary(rows, quantity).loc[methods] for quantity in columns}
    chosen = rows.drop_duplicates("method").set_index("method").loc[methods]
    cells = pd.DataFrame({"chosen": [_chosen(row) for row in chosen.itertuples()]}, index=methods)
    marks = pd.DataFrame("", index=methods, columns=["chosen", *columns.values()])
    for quantity, name in columns.items():
        values = found[quantity]
        cells[name] = [with_error(row.mean, row.error) for row in values.itertuples()]
        if quantity != "elbo_train":
            best = values["mean"].idxmax() if quantity == "elbo_test" else values["mean"].idxmin()
            marks.loc[best, name] = "font-weight: bold"
    renamed = [frame.rename(index=_named(rows)) for frame in (cells, marks)]
    return styled(renamed[0]).apply(lambda _: renamed[1], axis=None).set_properties(**{"white-space": "nowrap"})


def _chosen(row) -> str:
    """Return what was chosen for a method: "0.3", "denoising 0.1", with a note where it ends its grid."""
    if not isinstance(row.remedy, str) or not row.remedy:
        return ""
    what = f"{_within(row.remedy)} " if row.remedy != row.Index else ""
    return f"{what}{row.strength:g}{' (end of its grid)' if row.at_edge else ''}"
