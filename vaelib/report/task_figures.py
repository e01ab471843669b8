"""From the experiment ``downstream`` to its figures and Table 11 on disk: names as in the paper, footers, stamps."""

from collections.abc import Mapping

import pandas as pd

from .. import gaps
from ..models import VAE
from ..runs import Experiment, read_table, tables_folder
from ..runs.origin import commit
from ..runs.tables import merge_table
from ..tasks import generate, reconstruct
from .canvas import ReportFigure
from .figures import figures_folder, stamp, stem, title
from .plotting import provenance_line, save_figure
from .smoothness import load_test_set
from .task_plots import corruptions_figure, reconstructions_figure, samples_figure, violins_figure
from .task_reference import paper_changes, table_11

Tables = dict[str, pd.DataFrame]


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


def draw_samples(experiment: Experiment, vaes: Mapping[str, VAE], count: int = 12, seed: int = 0) -> ReportFigure:
    """Generate images from each method's prior under the same z, draw and save them as ``samples_<dataset>``."""
    rows = {method: generate(vae, count, "sample", seed).float() / 255 for method, vae in vaes.items()}
    data, profile = experiment.data, experiment.profile.name
    footer = (
        f"profile {profile} · {data.label} · {data.n_train:,} training images · VAEs of seed {seed} · x ~ p(x|z), one sample; "
        f"a column has the same z ~ N(0, I) · commit {commit()[:10]}"
    )
    figure = samples_figure(rows, **_frame(experiment, footer))
    save_figure(figure, figures_folder(profile), f"samples_{stem(experiment)}")
    return figure


def write_table_11(experiment: Experiment) -> pd.DataFrame:
    """Write Table 11 with our values beside the paper's, for all settings made so far; return this experiment's rows."""
    folder = tables_folder(experiment.profile.name)
    table = table_11(read_table(folder / "downstream.csv"))
    merge_table(folder / "table_11.csv", table)
    mine = (table["dataset"] == experiment.dataset) & (table["likelihood"] == experiment.likelihood)
    return table[mine].reset_index(drop=True)
