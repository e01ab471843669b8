"""From the experiment ``downstream`` to its figures and Table 11 on disk: names as in the paper, footers, watermarks."""

from pathlib import Path
from typing import Any

import pandas as pd

from ...images import as_float
from ...report.canvas import LABELS, ReportFigure
from ...report.escape import styled
from ...report.pages import blocks, compared
from ...report.publish import as_in_paper, framed, provenance_line, publish, source_line
from ...report.study import Figure
from ...runs import Experiment, read_table
from ...runs.tables import measured_tensors
from ...tasks import CLASSIFIERS
from ...text import number, with_error
from .figures import changes, corruptions_figure, reconstructions_figure, samples_figure, violins_figure
from .paper import paper_changes
from .stages import Pictures

FIG04_LEFT = Figure(
    "fig04_left",
    "Accuracy on corrupted images minus that of normal training, for four classifiers on the encoder's means "
    "(Fig. 4, left). A point is one corruption and seed.",
    table="downstream",
)
FIG09 = Figure(
    "fig09",
    "Reconstructions of nine test images, from one sample of p(x|z) as in the paper and from its mean (Fig. 9).",
    table="downstream",
)
FIG19 = Figure(
    "fig19",
    "Accuracy of four classifiers on the encoder's means under each corruption of CIFAR-10-C (Fig. 19).",
    table="downstream",
)
SAMPLES = Figure(
    "samples",
    "Images from each method's prior, one sample of p(x|z) each, with the same z for every method.",
    table="downstream",
)

TASK_LABELS = {
    "accuracy_LR": "representation: LR (↑)",
    "accuracy_SVM-L": "representation: SVM-L (↑)",
    "accuracy_SVM-RBF": "representation: SVM-RBF (↑)",
    "accuracy_kNN": "representation: kNN (↑)",
    "psnr_sample": "reconstruction: PSNR of a sample, dB (↑)",
    "psnr_mean": "reconstruction: PSNR of the mean, dB (↑)",
    "fid": "samples: FID (↓)",
    "proxy_fid": "samples: proxy-FID (↓)",
    "inception_score": "samples: IS (↑)",
    "proxy_is": "samples: proxy-IS (↑)",
}

Tables = dict[str, pd.DataFrame]


def _footer(experiment: Experiment, tables: Tables, shown: str) -> str:
    table = tables["downstream"]
    line = provenance_line(table, profile=experiment.profile.name, shown=shown, alone="one run")
    made = f"severity {int(table['severity'].max())}, {table['corruptions'].iloc[0]}"
    return f"{line} · corruptions: {made} · classifiers: 80 % of {int(table['images'].max()):,} test images, tested on 20 %"


def draw_violins(experiment: Experiment, tables: Tables) -> ReportFigure:
    """Draw and save Fig. 4 (left) as ``fig04_left_<dataset>``."""
    paper = None
    footer = _footer(experiment, tables, "a point: one corruption and seed; bar and number: mean")
    if as_in_paper(experiment):
        paper, footer = paper_changes(), f"{footer} · diamonds: the paper's means"
    figure = violins_figure(tables["corruptions"], paper=paper, **framed(experiment, footer))
    return publish(figure, FIG04_LEFT, experiment)


def draw_corruptions(experiment: Experiment, tables: Tables) -> ReportFigure:
    """Draw and save Fig. 19 as ``fig19_<dataset>``."""
    rows = tables["downstream"]
    rows = rows[rows["quantity"].str.startswith("overall_")].rename(columns={"value": "accuracy"})
    overall = rows.assign(classifier=rows["quantity"].str.removeprefix("overall_"))
    footer = (
        _footer(experiment, tables, "bar: mean, whisker: min to max")
        + " · Overall: one corruption drawn for each image"
    )
    figure = corruptions_figure(tables["corruptions"], overall, **framed(experiment, footer))
    return publish(figure, FIG19, experiment)


def draw_reconstructions(experiment: Experiment, tables: Tables) -> ReportFigure:
    """Draw and save Fig. 9 as ``fig09_<dataset>``; PSNRs are of the whole test set."""
    shown = measured_tensors(experiment, Pictures)
    names = {"sample": "one sample\nof p(x|z)", "mean": "mean\nE[x|z]"}
    rows = {names[kind]: {method: one[kind] for method, one in shown.items()} for kind in names}
    found = tables["downstream"].groupby(["quantity", "method"])["value"].mean()
    captions = {(names[k], m): f"{found[f'psnr_{k}', m]:.2f} dB" for k in names for m in shown}
    footer = source_line(
        experiment,
        "VAEs of seed 0, z the posterior's mean; the paper shows samples",
        f"below: PSNR of all {experiment.data.n_test:,} test images, mean over seeds",
    )
    figure = reconstructions_figure(next(iter(shown.values()))["x"], rows, captions, **framed(experiment, footer))
    return publish(figure, FIG09, experiment)


def draw_samples(experiment: Experiment) -> ReportFigure:
    """Draw and save images from each method's prior under the same z as ``samples_<dataset>``."""
    rows = {method: as_float(one["prior"]) for method, one in measured_tensors(experiment, Pictures).items()}
    footer = source_line(experiment, "VAEs of seed 0", "x ~ p(x|z), one sample; a column has the same z ~ N(0, I)")
    figure = samples_figure(rows, **framed(experiment, footer))
    return publish(figure, SAMPLES, experiment)


def compared_tasks(table: pd.DataFrame) -> Any:
    """Return Table 11's rows of one setting, ours below the paper's (CIFAR-10), mean ± sd over seeds, the best in bold.

    Accuracies have three digits, the rest as many as a reader wants.
    """
    smaller, caption = (
        ("fid", "proxy_fid"),
        f"{int(table['samples'].max()):,} generated images against as many test images",
    )
    style = compared(
        table,
        "quantity",
        TASK_LABELS,
        smaller,
        theirs="paper (CIFAR-10)",
        digits=lambda quantity: 3 if quantity.startswith("accuracy") else 2,
    )
    return style.set_caption(f"samples: {caption}")


def changes_on_corruptions(corruptions: pd.DataFrame) -> Any:
    """Return each method's mean change in accuracy over normal training beside the paper's, and where DMaaPx is best.

    ``±`` is the standard error over seeds of the mean over corruptions. "Best" compares means over seeds.
    """
    found, paper = changes(corruptions), paper_changes().set_index(["classifier", "method"])["change"]
    means = corruptions.groupby(["classifier", "corruption", "method"])["accuracy"].mean().unstack()
    lines = {}
    for classifier in CLASSIFIERS:
        own, line = found[found["classifier"] == classifier], {}
        for method in (m for m in LABELS if m in set(own["method"])):
            by_seed = own[own["method"] == method].groupby("seed")["change"].mean()
            line[LABELS[method], "paper (CIFAR-10)"] = number(paper[classifier, method], signed=True, digits=3)
            line[LABELS[method], "ours"] = with_error(by_seed.mean(), by_seed.sem(), signed=True, digits=3)
        best = means.loc[classifier].idxmax(axis=1) == "dmaapx"
        line["DMaaPx best", "on"] = f"{best.sum()} of {len(best)} corruptions"
        lines[classifier] = line
    return styled(pd.DataFrame(lines).T)


def report_page(build: Path) -> dict[str, Any]:
    """Return what the downstream tasks add to the report: Table 11."""
    path = build / "tables" / "table_11.csv"
    return {"tasks": blocks(read_table(path), "table_11", compared_tasks) if path.exists() else []}
