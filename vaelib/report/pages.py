"""What a notebook shows between its figures: short tables and notes, as HTML tables or Markdown."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from ..runs import Experiment, Store, missing, provenance
from ..runs.engine import all_artifacts
from .claims import NOT_RUN, OURS, number
from .figures import figures_folder, title
from .plotting import LABELS, ReportFigure, save_figure

GAP_LABELS = {
    "generalization_gap": "generalization gap G_g (nats)",
    "amortization_gap": "amortization gap G_a (nats)",
    "robustness_gap": "robustness gap G_r (MS-SSIM)",
}


def describe(experiment: Experiment) -> str:
    """Return what an experiment consists of, as Markdown."""
    profile, data = experiment.profile, experiment.data
    todo = missing(experiment.runs, Store())
    teacher = f"teacher `{profile.teacher}`, {profile.teacher_images:,} training images, k = {profile.k}"
    return (
        f"**{title(experiment)}** · {data.label} · N = {data.n_train:,} training and {data.n_test:,} test images · "
        f"{profile.epochs} effective epochs · {profile.seeds} seeds · {teacher}, {profile.sampler_steps} Heun steps. "
        + ("Everything is in the store already." if not todo else f"To be made now: {len(todo)} artifacts.")
    )


def compared(table: pd.DataFrame) -> Any:
    """Return Table 7's rows of one setting, ours beside the paper's, the smallest gap of each column in bold."""
    shown = table.assign(method=table["method"].map(LABELS), gap=table["gap"].map(GAP_LABELS))
    wide = shown.pivot_table(
        index="method", columns="gap", values=["paper", "ours", "ours_se"], sort=False, dropna=False
    )
    columns = [(gap, who) for gap in GAP_LABELS.values() for who in ("paper", "ours", "ours_se")]
    wide = wide.swaplevel(axis=1).reindex(columns=[c for c in columns if c in wide.swaplevel(axis=1).columns])
    wide = wide.rename(columns={"ours_se": "± s.e. over seeds"})
    smallest = [column for column in wide.columns if "s.e." not in column[1]]
    return wide.style.format(number, na_rep="–").highlight_min(subset=smallest, props="font-weight: bold")


def verdicts(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return the ledger's rows on these runs: the claim, the paper's margin, ours with its interval, the verdict."""
    names = ["claim", "paper_location", "quantity", "paper_value", "our_value", "interval", "verdict", "note"]
    table = (
        pd.DataFrame([row for row in rows if row["evidence"] == OURS and row["note"] != NOT_RUN])
        .reindex(columns=names)
        .rename(columns=lambda name: name.replace("_", " "))
    )
    colours = {"supported": "color: #00734f", "contradicted": "color: #b3261e"}
    return (
        table.style.format(number, subset=["paper value", "our value"], na_rep="–")
        .format(
            lambda pair: "–" if not isinstance(pair, list | tuple) else " … ".join(map(number, pair)),
            subset=["interval"],
        )
        .set_properties(subset=["claim", "paper location", "quantity", "note"], **{"text-align": "left"})
        .map(lambda verdict: colours.get(verdict, "color: #666666"), subset=["verdict"])
        .hide(axis="index")
    )


def fine_print(three_gaps: pd.DataFrame) -> Any:
    """Return what qualifies the gaps, as means over seeds: unconverged q*, clean floor, similarities."""
    columns = ["unconverged", "input_similarity", "reconstruction_similarity", "clean_floor", "robustness_gap"]
    means = three_gaps.groupby("method", sort=False)[columns].mean()
    return means.rename(index=LABELS, columns=lambda name: name.replace("_", " ")).style.format(number)


def means(table: Mapping[str, Mapping[str, Tensor]]) -> Any:
    """Return mean ± standard error over images of each entry, as a table."""
    cells = {
        row: {
            name: f"{number(float(v.mean()))} ± {number(float(v.std() / math.sqrt(len(v))))}"
            for name, v in columns.items()
        }
        for row, columns in table.items()
    }
    return pd.DataFrame(cells).T.style


def saved(figure: ReportFigure, profile: str, dataset: str, name: str) -> ReportFigure:
    """Save a figure as ``build/<profile>/figures/<name>_<dataset>`` and return it."""
    save_figure(figure, figures_folder(profile), f"{name}_{Path(dataset).stem}")
    return figure


def machine_note() -> str:
    """Return versions and device as one Markdown line."""
    return "*" + " · ".join(f"{name} {value}" for name, value in provenance().items()) + "*"


def provenance_note(experiment: Experiment) -> str:
    """Return where an experiment's numbers come from: seeds, wall time of the runs, device, versions."""
    store = Store()
    manifests = [store.manifest(one) for one in all_artifacts(experiment.runs)]
    hours = sum(manifest["seconds"] for manifest in manifests) / 3600
    seeds = ", ".join(str(seed) for seed in range(experiment.profile.seeds))
    return f"*seeds {seeds} · {len(manifests)} artifacts, {hours:.2f} process-hours in all*\n\n{machine_note()}"
