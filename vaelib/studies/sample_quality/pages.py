"""From the experiment ``teacher_sheet`` to its figures and tables for a notebook: footers, watermarks, names as in the paper."""

from typing import Any

import pandas as pd

from ...images import as_float
from ...progress import duration
from ...report.canvas import ReportFigure
from ...report.escape import styled
from ...report.pages import headed
from ...report.publish import as_in_paper, framed, provenance_line, publish, source_line
from ...report.reference import dataset_name
from ...report.study import Figure
from ...runs import Bank, Experiment, Store
from ...runs.external import source_of_samples
from ...runs.store import load_split, load_tensors
from ...samplers.bank import Bank as BankImages
from ...text import as_given, number, with_error
from .claims import paper_c2st
from .figures import STRIP, audit_figure, c2st_figure, samples_figure
from .tables import audit_of

FIG17 = Figure(
    "fig17",
    "Test images, samples of the diffusion model (Fig. 17), and the samples that lie nearest to a training image.",
    table="teacher_sheet",
)
FIG18 = Figure(
    "fig18",
    "Accuracy of a network that tells samples from real images it has not seen, over the share of the "
    "training images that the diffusion model saw (Fig. 18). Grey: what permuted labels give.",
    table="c2st",
)
FIG_AUDIT = Figure(
    "audit",
    "Audit of the samples: distances to the training images, classes, precision, recall and extreme pixels. "
    "Not in the paper.",
    table="teacher_sheet",
)

Tables = dict[str, pd.DataFrame]


def _frame(experiment: Experiment, footer: str) -> dict:
    return framed(experiment, footer, about=dataset_name(experiment.dataset) + ": the diffusion model's samples")


def describe_samples(experiment: Experiment) -> str:
    """Return what the study of samples consists of, as Markdown."""
    profile, audit = experiment.profile, audit_of(experiment)
    shares = sorted({point.x for point in experiment.points if point.series == "teacher"})
    about = (
        f"{experiment.data.label} · N = {experiment.data.n_train:,} training images · {source_of_samples(profile)} · "
        f"{audit.bank.size:,} samples of each · teachers "
        f"of {', '.join(map(as_given, shares))} % of the training images · {profile.c2st_seeds} two-sample tests each"
    )
    return headed(dataset_name(experiment.dataset), about, experiment)


def draw_samples(experiment: Experiment, rows: int = 5, nearest: int = 12) -> ReportFigure:
    """Draw and save Fig. 17 as ``fig17_<dataset>``: the bank's first images, none chosen, and the most suspicious ones."""
    audit, store = audit_of(experiment), Store()
    there = min(experiment.data.n_test, audit.bank.size)
    count = min(12 * rows, 12 * (there // 12)) or there  # whole rows of twelve
    bank = BankImages(store.require(audit.bank))
    train, test = (as_float(load_split(store, experiment.data, name)) for name in ("train", "test"))
    found = load_tensors(store.require(audit) / "neighbours.safetensors")[0]
    order = found["to_train"].argsort()[:nearest]
    chosen = as_float(bank.images(0, len(found["to_train"]))[order])
    near = train[found["train_index"][order]], test[found["test_index"][order]]
    strip = dict(zip(STRIP, (chosen, *near), strict=True))
    distances = {STRIP[1]: found["to_train"][order].tolist(), STRIP[2]: found["to_test"][order].tolist()}
    footer = source_line(
        experiment,
        source_of_samples(experiment.profile),
        f"above: the first {count} of each, none chosen",
        f"below: of {len(found['to_train']):,} samples the {len(order)} nearest to D_train",
    )
    samples = as_float(bank.images(0, count))
    figure = samples_figure(test[:count], samples, strip, distances, **_frame(experiment, footer))
    return publish(figure, FIG17, experiment)


def draw_c2st(experiment: Experiment, tables: Tables) -> ReportFigure:
    """Draw and save Fig. 18 as ``fig18_<dataset>``; the paper's beneath where the scale is the paper's."""
    rows, paper = tables["c2st"], paper_c2st() if as_in_paper(experiment) else None
    taught = rows[rows["series"] == "teacher"]
    shown = "line: mean, whiskers: ± 1.96 sd, points: seeds"
    footer = provenance_line(rows, profile=experiment.profile.name, shown=shown)
    footer += (
        f" · network {rows['network'].iloc[0]}, learned from {int(taught['learned_from'].max()):,} images of each kind, tested on "
        f"{int(taught['tested'].max()):,} of each · dots at the right: seeds of the control"
    )
    footer += "" if paper is None else " · thin and faint: the paper's"
    return publish(c2st_figure(rows, paper=paper, **_frame(experiment, footer)), FIG18, experiment)


def draw_audit(experiment: Experiment, tables: Tables) -> ReportFigure:
    """Draw and save the audit's figure as ``audit_<dataset>``."""
    found = load_tensors(Store().require(audit_of(experiment)) / "neighbours.safetensors")[0]
    distances = {"real": found["reference"].numpy(), "teacher": found["to_train"].numpy()}
    rows = tables["teacher_sheet"]
    values = rows.set_index(["images", "quantity"])["value"]
    footer = source_line(
        experiment,
        source_of_samples(experiment.profile),
        f"{len(distances['teacher']):,} samples, {len(distances['real']):,} test images",
        "Euclidean distance, pixels in [0, 1]",
        f"classifier of our own, {values['real', 'classifier_accuracy']:.1%} right on D_test",
        f"precision and recall of {int(values['teacher', 'proxy_images']):,} images of each kind in its features",
    )
    return publish(audit_figure(rows, distances, **_frame(experiment, footer)), FIG_AUDIT, experiment)


KINDS = {"real": "other test images", "teacher": "samples", "noise": "noise"}
SCORES = {
    "elbo": "mean ELBO under normal training, nats (↑)",
    "elbo_median": "its median over images",
    "proxy_fid": "proxy-FID (↓)",
    "proxy_is": "proxy-IS (↑)",
    "proxy_precision": "precision (↑)",
    "proxy_recall": "recall (↑)",
    "pixels_0": "pixels exactly 0",
    "pixels_255": "pixels exactly 255",
}
AUDIT = {
    "distance_train": "median distance to the nearest training image",
    "distance_train_reference": "the same of test images",
    "too_near_train": "nearer to D_train than 99 % of the test images (by chance: 1 %)",
    "leaning_train": "nearer to D_train than to as many test images",
    "leaning_reference": "the same of the other test images",
    "near_duplicates": "nearer to another sample than 99 % of the test images to each other (by chance: 1 %)",
    "copies_train": "exact copies of a training image",
    "copies_test": "exact copies of a test image",
    "duplicates": "exact duplicates within the bank",
    "class_distance": "would have to change class to match the test images",
}


def scores_table(tables: Tables) -> Any:
    """Return proxy-FID and its kin of real images, samples and noise, for a notebook."""
    rows = tables["teacher_sheet"]
    table = rows[rows["quantity"].isin(SCORES)].pivot(index="quantity", columns="images", values="value")
    table = table.reindex(index=list(SCORES), columns=list(KINDS)).rename(index=SCORES, columns=KINDS)
    return styled(table.rename_axis(index=None, columns=None)).format(number, na_rep="–")


def audit_table(tables: Tables) -> Any:
    """Return what the audit found in the bank, for a notebook."""
    rows = tables["teacher_sheet"]
    values = rows[rows["images"] == "teacher"].set_index("quantity")["value"]
    texts = {
        label: number(values[name]) if name.startswith("distance") else f"{values[name]:.2%}"
        for name, label in AUDIT.items()
    }
    return styled(pd.DataFrame({"samples": texts})).set_properties(**{"text-align": "right"})


def c2st_summary(tables: Tables) -> Any:
    """Return accuracy (mean ± sd over seeds), its null and the largest p-value of each teacher and of the control."""
    rows = tables["c2st"].assign(x=tables["c2st"]["x"].fillna(-1.0))
    lines = {}
    for (series, x), own in rows.groupby(["series", "x"]):
        name = "real against real" if series == "real" else f"teacher of {as_given(x)} % of D_train"
        lines[name] = {
            "accuracy": with_error(*(100 * own["accuracy"].agg(["mean", "std"])), digits=1, unit="%"),
            "95 % of permutations": f"{own['null_low'].min():.1%} … {own['null_high'].max():.1%}",
            "largest p": f"{p:.2g}" if (p := own["p_value"].max()) > 0 else "< 1e-300",
            "seeds": len(own),
        }
    return styled(pd.DataFrame(lines).T)


def cost_table(experiment: Experiment, tables: Tables) -> Any:
    """Return Appendix D.2 for this teacher: time and bytes of k·N samples, as measured here and forecast for an A100."""
    rows, bank = tables["sampling_cost"], audit_of(experiment).bank
    if not isinstance(bank, Bank):
        return styled(pd.DataFrame({"cost": {bank.name: "samples of others: nothing was computed here"}}))
    lines = {}
    for row in rows.to_dict("records"):
        name = f"k = {row['k']:,}" if row["k"] else "training the diffusion model"
        lines[name] = {
            "images": f"{row['images']:,}",
            "on disk": f"{row['bytes'] / 1e6:,.1f} MB" if row["bytes"] else "–",
            "images a second": number(row["images_per_second"]),
            f"here ({row['device']}), one process": duration(row["seconds"]),
            "forecast, one A100": duration(row["seconds_a100"]),
        }
    return styled(pd.DataFrame(lines).T)
