"""Figures of the downstream tasks (Figs. 4 left, 9 and 19) from tidy tables, and Fig. 9 from the trained VAEs themselves.

Bars are means over seeds, whiskers run from the smallest to the largest seed. Figures of tables raise ValueError for a
table that is empty or holds several settings.
"""

import textwrap
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from .. import gaps
from ..models import VAE
from ..runs import Experiment
from ..runs.store import commit
from ..runs.tables import merge_table, read_table, tables_folder
from ..tasks import CLASSIFIERS, reconstruct
from .canvas import COLOURS, GREY, LABELS, STYLE, ReportFigure, frame_sheet, series_handles
from .figures import figures_folder, stamp, stem, title
from .plotting import known_methods, provenance_line, save_figure
from .smoothness import load_test_set
from .sweeps import one_setting
from .task_reference import paper_changes, table_11

Tables = dict[str, pd.DataFrame]
# The order of Fig. 19's panels.
PANELS = (
    *("spatter", "brightness", "jpeg_compression", "elastic_transform", "motion_blur", "zoom_blur", "impulse_noise"),
    *("speckle_noise", "saturate", "gaussian_noise", "shot_noise", "glass_blur", "fog", "gaussian_blur", "pixelate"),
    *("contrast", "defocus_blur", "snow", "frost", "overall"),
)
COLUMNS = 4


def panel_title(corruption: str) -> str:
    """Return a corruption's name as the paper writes it: "JPEG Compression"."""
    return corruption.replace("_", " ").title().replace("Jpeg", "JPEG")


def draw_bars(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the accuracy of each classifier (a group) and method (a bar); ``rows`` has classifier, method, seed, accuracy."""
    methods = known_methods(rows)
    width = 0.8 / len(methods)
    for place, method in enumerate(methods):
        own = rows[rows["method"] == method].groupby("classifier")["accuracy"].agg(["mean", "min", "max"])
        own = own.reindex(list(CLASSIFIERS))
        x = np.arange(len(CLASSIFIERS)) + (place - (len(methods) - 1) / 2) * width
        ax.bar(x, own["mean"], 0.92 * width, color=COLOURS[method])
        ax.vlines(x, own["min"], own["max"], color="#222222", lw=0.9)


def corruptions_figure(
    corruptions: pd.DataFrame, overall: pd.DataFrame, *, title_note: str, footer: str = "", stamp: str | None = None
) -> ReportFigure:
    """Return Fig. 19: one panel a corruption, the last one with a corruption drawn at random for each image.

    Arguments:
        corruptions: corruption, classifier, method, seed, accuracy.
        overall: the same without corruption.
    """
    every = one_setting(pd.concat([corruptions, overall.assign(corruption="overall")], ignore_index=True))
    lines, size = textwrap.wrap(footer, 180), (10.4, 10.6)
    top = 1.06 * float(every["accuracy"].max()) or 1.0
    with mpl.rc_context(fname=STYLE):
        fig = ReportFigure(figsize=size)
        grid = fig.subplots(len(PANELS) // COLUMNS, COLUMNS, sharex=True, sharey=True)
        for name, ax in zip(PANELS, grid.flat, strict=True):
            rows = every[every["corruption"] == name]
            if rows.empty:
                look = {"ha": "center", "va": "center", "transform": ax.transAxes, "color": GREY}
                ax.text(0.5, 0.5, "not made: its package\nis not installed", **look)
            else:
                draw_bars(ax, rows)
            ax.set_title(panel_title(name), fontsize=10)
            ax.set(ylim=(0, top), xticks=range(len(CLASSIFIERS)), xticklabels=CLASSIFIERS)
            ax.yaxis.set_major_locator(MaxNLocator(4))
        for ax in grid[:, 0]:
            ax.set_ylabel("accuracy")
        below = 0.36 + 0.14 * len(lines)
        place = {"left": 0.06, "right": 0.99, "bottom": below / size[1], "top": 1 - 0.9 / size[1]}
        fig.subplots_adjust(**place, hspace=0.3, wspace=0.06)
        handles = series_handles(known_methods(every))
        frame_sheet(fig, title_note, handles, len(handles), lines, stamp)
    return fig


def changes(corruptions: pd.DataFrame) -> pd.DataFrame:
    """Return each method's accuracy minus normal training's, paired by corruption and seed, in the column ``change``."""
    keys = ["corruption", "classifier", "seed"]
    normal = corruptions[corruptions["method"] == "normal"].set_index(keys)["accuracy"]
    others = corruptions[corruptions["method"] != "normal"]
    before = normal.reindex(pd.MultiIndex.from_frame(others[keys])).to_numpy()
    return others.assign(change=others["accuracy"].to_numpy() - before)


def _violin(ax: Axes, x: float, values: np.ndarray, colour: str, width: float) -> None:
    """Draw one violin, its points (moved aside by a fixed pattern, so that a redraw is the same) and its mean."""
    if len(values) > 1 and np.ptp(values) > 0:
        (body,) = ax.violinplot([values], [x], widths=width, showextrema=False)["bodies"]
        body.set(facecolor=colour, edgecolor=colour, alpha=0.35)
    aside = 0.3 * width * (np.arange(len(values)) * 0.618 % 1 - 0.5)
    ax.plot(x + aside, values, ".", color=colour, ms=2.5, alpha=0.7, mew=0)
    ax.hlines(values.mean(), x - 0.32 * width, x + 0.32 * width, color=colour, lw=2.4)
    # Beside the bar, so that it covers no point.
    text = f"{values.mean():+z.3f}".replace("-", "−")
    ax.annotate(text, (x, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", color=colour, fontsize=8)


def violins_figure(
    corruptions: pd.DataFrame,
    *,
    title_note: str,
    footer: str = "",
    stamp: str | None = None,
    paper: pd.DataFrame | None = None,
) -> ReportFigure:
    """Return Fig. 4 (left): changes in accuracy over normal training, a point a corruption and seed; numbers are means.

    ``paper`` (:func:`~vaelib.report.task_reference.paper_changes`) marks the paper's means with diamonds.
    """
    found = changes(one_setting(corruptions))
    methods = known_methods(found)
    lines, size = textwrap.wrap(footer, 125), (7.4, 4.5)
    with mpl.rc_context(fname=STYLE):
        fig = ReportFigure(figsize=size)
        ax = fig.add_axes((0.13, (0.62 + 0.14 * len(lines)) / size[1], 0.855, 2.75 / size[1]))
        ax.axhline(0, color=COLOURS["normal"], lw=1.2, zorder=1)
        width = 0.84 / len(methods)
        for group, classifier in enumerate(CLASSIFIERS):
            for place, method in enumerate(methods):
                x = group + (place - (len(methods) - 1) / 2) * width
                rows = found[(found["classifier"] == classifier) & (found["method"] == method)]
                _violin(ax, x, rows["change"].to_numpy(), COLOURS[method], 0.9 * width)
                if paper is not None:
                    theirs = paper[(paper["classifier"] == classifier) & (paper["method"] == method)]["change"]
                    ax.plot([x] * len(theirs), theirs, "D", color=COLOURS[method], mfc="white", ms=5, zorder=4)
        ax.set_xticks(range(len(CLASSIFIERS)), CLASSIFIERS)
        ax.set(xlim=(-0.5, len(CLASSIFIERS) - 0.5), xlabel="classifier on the posterior means of corrupted images")
        ax.set_ylabel("accuracy − that of\nnormal training")
        handles = series_handles(["normal", *methods], LABELS | {"normal": "Normal training (0)"})
        frame_sheet(fig, title_note, handles, len(handles), lines, stamp)
    return fig


def mosaic(images: Tensor, columns: int) -> Tensor:
    """Return images (n, C, H, W) in [0, 1] as one (H', W', C) picture of ``columns``, a white pixel between them."""
    tiles = torch.nn.functional.pad(images.float(), (1, 1, 1, 1), value=1.0)
    n, channels, height, width = tiles.shape
    grid = tiles.view(n // columns, columns, channels, height, width)
    return grid.permute(0, 3, 1, 4, 2).reshape(n // columns * height, columns * width, channels)


def reconstructions_figure(
    images: Tensor,
    rows: Mapping[str, Mapping[str, Tensor]],
    captions: Mapping[tuple[str, str], str],
    *,
    title_note: str,
    footer: str = "",
    stamp: str | None = None,
) -> ReportFigure:
    """Return Fig. 9: nine images, and beside them what each method makes of them, one row a kind of reconstruction.

    Arguments:
        images: (9, C, H, W) in [0, 1].
        rows: kind → method → images; captions: (kind, method) → text below a block.
    """
    methods = [method for method in LABELS if method in next(iter(rows.values()))]
    lines = textwrap.wrap(footer, 165)
    side, gap, left = 1.66, 0.1, 0.95
    bottom = 0.12 + 0.14 * len(lines)
    size = (left + (len(methods) + 1) * (side + gap), bottom + len(rows) * (side + 0.27) + 0.65)
    with mpl.rc_context(fname=STYLE):
        fig = ReportFigure(figsize=size)
        for line, (kind, blocks) in enumerate(rows.items()):
            y = size[1] - 0.65 - line * (side + 0.27) - side
            fig.text(0.12 / size[0], (y + side / 2) / size[1], kind, va="center", fontsize=9)
            for column, method in enumerate(["", *methods]):
                x = left + column * (side + gap)
                ax = fig.add_axes((x / size[0], y / size[1], side / size[0], side / size[1]))
                pixels = mosaic(images if not method else blocks[method], 3)
                ax.imshow(pixels.clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                ax.set_axis_off()
                below = captions.get((kind, method), "")
                ax.text(0.5, -0.02, below, transform=ax.transAxes, ha="center", va="top", fontsize=8, color=GREY)
                if line == 0:
                    ax.set_title(
                        LABELS.get(method, "Test images"),
                        fontsize=9.5,
                        color=COLOURS.get(method, "black"),
                        loc="center",
                    )
        frame_sheet(fig, title_note, [], 1, lines, stamp)
    return fig


def _footer(experiment: Experiment, tables: Tables, shown: str) -> str:
    table = tables["downstream"]
    line = provenance_line(table, profile=experiment.profile.name, commit=commit(), shown=shown, alone="one run")
    made = f"severity {int(table['severity'].max())}, {table['corruptions'].iloc[0]}"
    return f"{line} · corruptions: {made} · classifiers: 80 % of {int(table['images'].max()):,} test images, tested on 20 %"


def _frame(experiment: Experiment, footer: str) -> dict:
    return {"title_note": title(experiment), "footer": footer, "stamp": stamp(experiment)}


def draw_violins(experiment: Experiment, tables: Tables) -> ReportFigure:
    """Draw and save Fig. 4 (left) as ``fig04_left_<dataset>``."""
    paper = None
    footer = _footer(experiment, tables, "a point: one corruption and seed; bar and number: mean")
    if experiment.profile.name in ("gpu", "paper") and (experiment.dataset, experiment.likelihood) == (
        "cifar10",
        "mol",
    ):
        paper, footer = paper_changes(), f"{footer} · diamonds: the paper's means"
    figure = violins_figure(tables["corruptions"], paper=paper, **_frame(experiment, footer))
    save_figure(figure, figures_folder(experiment.profile.name), f"fig04_left_{stem(experiment)}")
    return figure


def draw_corruptions(experiment: Experiment, tables: Tables) -> ReportFigure:
    """Draw and save Fig. 19 as ``fig19_<dataset>``."""
    rows = tables["downstream"]
    rows = rows[rows["quantity"].str.startswith("overall_")].rename(columns={"value": "accuracy"})
    overall = rows.assign(classifier=rows["quantity"].str.removeprefix("overall_"))
    footer = (
        _footer(experiment, tables, "bar: mean, whisker: min to max")
        + " · Overall: one corruption drawn for each image"
    )
    figure = corruptions_figure(tables["corruptions"], overall, **_frame(experiment, footer))
    save_figure(figure, figures_folder(experiment.profile.name), f"fig19_{stem(experiment)}")
    return figure


def draw_reconstructions(
    experiment: Experiment, tables: Tables, vaes: Mapping[str, VAE], seed: int = 0
) -> ReportFigure:
    """Reconstruct nine test images, draw and save Fig. 9 as ``fig09_<dataset>``; PSNRs are of the whole test set."""
    images, labels = load_test_set(experiment)
    x = images[gaps.stratified(labels, 9, seed)].float() / 255
    names = {"sample": "one sample\nof p(x|z)", "mean": "mean\nE[x|z]"}
    rows = {names[kind]: {m: reconstruct(vae, x, kind, seed) for m, vae in vaes.items()} for kind in names}
    found = tables["downstream"].groupby(["quantity", "method"])["value"].mean()
    captions = {(names[k], m): f"{found[f'psnr_{k}', m]:.2f} dB" for k in names for m in vaes}
    data, profile = experiment.data, experiment.profile.name
    footer = (
        f"profile {profile} · {data.label} · {data.n_train:,} training images · VAEs of seed {seed}, z the posterior's mean; "
        f"the paper shows samples · below: PSNR of all {data.n_test:,} test images, mean over seeds · commit {commit()[:10]}"
    )
    figure = reconstructions_figure(x, rows, captions, **_frame(experiment, footer))
    save_figure(figure, figures_folder(profile), f"fig09_{stem(experiment)}")
    return figure


def write_table_11(experiment: Experiment) -> pd.DataFrame:
    """Write Table 11 with our values beside the paper's, for all settings made so far; return this experiment's rows."""
    folder = tables_folder(experiment.profile.name)
    table = table_11(read_table(folder / "downstream.csv"))
    merge_table(folder / "table_11.csv", table)
    mine = (table["dataset"] == experiment.dataset) & (table["likelihood"] == experiment.likelihood)
    return table[mine].reset_index(drop=True)
