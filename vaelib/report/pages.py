"""What a notebook shows between its figures: short tables and notes, as HTML tables or Markdown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from ..data.identity import dataset_tag
from ..runs import Experiment, Store, missing, provenance
from ..runs.engine import all_artifacts
from ..runs.outside import source_of_samples
from ..tasks import CLASSIFIERS
from .canvas import LABELS, ReportFigure
from .claims import NOT_RUN, OURS, how_many, number, with_error
from .escape import in_markdown, nothing, styled
from .figures import figures_folder, title
from .plotting import save_figure
from .reference import paper_sweep
from .task_plots import changes
from .task_reference import paper_changes

GAP_LABELS = {
    "generalization_gap": "generalization gap G_g (nats)",
    "amortization_gap": "amortization gap G_a (nats)",
    "robustness_gap": "robustness gap G_r (MS-SSIM)",
}


def describe(experiment: Experiment) -> str:
    """Return what an experiment consists of, as Markdown."""
    profile, data = experiment.profile, experiment.data
    todo = missing(experiment.runs, Store())
    about = (
        f"{data.label} · N = {data.n_train:,} training and {data.n_test:,} test images · {profile.epochs} effective epochs · "
        f"{how_many(profile.seeds, 'seed')} · {source_of_samples(profile)}"
    )
    return f"**{in_markdown(title(experiment))}** · {in_markdown(about)}. {to_be_made(todo)}"


def to_be_made(todo: Sequence[Any]) -> str:
    """Return whether anything is left to be made, as a sentence."""
    return f"To be made now: {len(todo)} artifacts." if todo else "Everything is in the store already."


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
    return styled(wide).format(number, na_rep="–").highlight_min(subset=smallest, props="font-weight: bold")


# A verdict brings its own background, so that it can be read in a dark JupyterLab too.
VERDICTS = {"supported": "#00563b", "contradicted": "#b3261e", "not testable": "#5c6670"}


def verdicts(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return the ledger's rows on these runs: the claim, the paper's margin, ours with its interval, the verdict."""
    names = ["claim", "paper_location", "quantity", "paper_value", "our_value", "interval", "verdict", "note"]
    table = (
        pd.DataFrame([row for row in rows if row["evidence"] == OURS and row["note"] != NOT_RUN])
        .reindex(columns=names)
        .assign(verdict=lambda shown: shown["verdict"].map(lambda verdict: verdict.replace("_", " ")))
        .rename(columns=lambda name: name.replace("_", " "))
    )
    if table.empty:
        return nothing("None of the paper's claims.")
    return (
        styled(table)
        .format(number, subset=["paper value", "our value"], na_rep="–")
        .format(
            lambda pair: "–" if not isinstance(pair, list | tuple) else " … ".join(map(number, pair)),
            subset=["interval"],
        )
        .set_properties(subset=["claim", "paper location", "quantity", "note"], **{"text-align": "left"})
        .set_properties(subset=["interval", "verdict"], **{"white-space": "nowrap"})
        .map(lambda verdict: f"color: #ffffff; background-color: {VERDICTS[verdict]}", subset=["verdict"])
        .hide(axis="index")
    )


SWEEP_FIGURES = {
    "smoothness": "Fig. 3",
    "limited_k": "Fig. 4 (right)",
    "rha": "Fig. 5",
    "latents": "Fig. 6",
    "sizes": "Figs. 7 and 8",
    "mollify": "Fig. 14",
    "mixing": "Fig. 15",
    "teacher_fractions": "Fig. 16",
}


def describe_sweeps(*experiments: Experiment) -> str:
    """Return what sweeps over one data set consist of, as Markdown: what they share, then a line each."""
    profile, data = experiments[0].profile, experiments[0].data
    lines = [
        f"**{in_markdown(title(experiments[0]))}** · {in_markdown(data.label)} · "
        f"N = {data.n_train:,} training and {data.n_test:,} test images · "
        f"residual VAE, nc = {profile.nc} and mz = {profile.mz} unless varied · {profile.epochs} effective epochs · "
        f"{how_many(profile.sweep_seeds, 'seed')}. ",
    ]
    todo = missing([run for one in experiments for run in one.runs], Store())
    lines[0] += to_be_made(todo)
    for one in experiments:
        line = f"- {SWEEP_FIGURES[one.name]}: {len(one.runs)} VAEs"
        if one.name == "limited_k" and not any(point.series == "held_out" for point in one.points):
            line += "; no control, because beside these N there are not as many real images again"
        lines.append(line)
    return "\n".join([lines[0], "", *lines[1:]])


SWEEP_COLUMNS = {
    "elbo_train": "ELBO on D_train",
    "elbo_test": "ELBO on D_test",
    "generalization_gap": "gap G_g",
    "amortization_gap": "gap G_a",
    "robustness_gap": "gap G_r (MS-SSIM)",
}
LINES = -1.0  # in place of NaN, which finds no partner: the x of a series that is the same everywhere
SWEEP_LABELS = LABELS | {"normal_mollify": "Normal + Aug.Mollify"}


def sweep_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a sweep's values (means over seeds) beside the paper's at the same points, nats per image.

    ``±`` is the standard error over seeds; of one seed, over test images.
    """
    name = rows["experiment"].iloc[0]
    keys = ["series", "nc", "mz"] if name == "sizes" else ["series", "x"]
    rows, paper = (table.assign(x=table["x"].fillna(LINES)) for table in (rows, paper_sweep(name)))
    rank = {series: place for place, series in enumerate(LABELS)}
    rows = rows.sort_values(keys, key=lambda column: column.map(rank) if column.name == "series" else column)
    quantities = [quantity for quantity in SWEEP_COLUMNS if quantity in rows and rows[quantity].notna().any()]
    groups, parts = rows.groupby(keys, sort=False), {}
    for quantity in quantities:
        errors = groups[quantity].sem() if rows["seed"].nunique() > 1 else groups[f"{quantity}_se"].mean()
        ours = groups[quantity].mean()
        theirs = paper.set_index(keys).reindex(columns=quantities)[quantity].reindex(ours.index)
        for column, values in (("paper (CIFAR-10)", theirs), ("ours", ours), ("±", errors)):
            parts[SWEEP_COLUMNS[quantity], column] = values
    table = pd.DataFrame(parts).reset_index()
    table["series"] = table["series"].map(lambda series: SWEEP_LABELS.get(series, series))
    if name == "latents":
        table["series"] = SWEEP_LABELS["normal"]  # its curves are named by mz, which has a column here
    if "x" in keys and (table["x"] == LINES).all():
        return table.drop(columns="x", level=0)
    axis = {"limited_k": "k", "mixing": "% real", "teacher_fractions": "teacher saw %", "latents": "mz"}
    return table.replace({("x", ""): {LINES: math.nan}}).rename(columns={"x": axis.get(name, "x")}, level=0)


def compared_sweep(rows: pd.DataFrame) -> Any:
    """Return :func:`sweep_table` for a notebook."""
    table = sweep_table(rows)
    shown = [column for column in table.columns if column[0] in SWEEP_COLUMNS.values()]
    places = [column for column in table.columns if column not in shown and column[0] != "series"]
    style = styled(table).format(number, subset=shown, na_rep="–")
    return style.format("{:,.0f}", subset=places, na_rep="–").hide(axis="index")


def early_stopping(rows: pd.DataFrame) -> Any:
    """Return each method's last and best test ELBO, and how far they stay below DMaaPx's last, ours and the paper's."""
    columns = {}
    papers = pd.concat([paper_sweep(name) for name in rows["experiment"].unique()])
    for who, table in (("paper (CIFAR-10)", papers), ("ours", rows)):
        means = table.drop_duplicates(["series", "seed"]).groupby("series")
        means = means[["elbo_test", "best_elbo_test", "best_epoch"]].mean()
        columns[who, "last"] = means["elbo_test"]
        columns[who, "best"] = means["best_elbo_test"]
        columns[who, "at epoch"] = means["best_epoch"]
        columns[who, "best below DMaaPx's last by"] = (
            means["elbo_test"].get("dmaapx", math.nan) - means["best_elbo_test"]
        )
    table = pd.DataFrame(columns).reindex([series for series in LABELS if series in set(rows["series"])])
    style = styled(table.rename(index=SWEEP_LABELS)).format(number, na_rep="–")
    return style.format("{:.0f}", subset=[column for column in table if column[1] == "at epoch"], na_rep="–")


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
SMALLER_IS_BETTER = ("fid", "proxy_fid")


def compared_tasks(table: pd.DataFrame) -> Any:
    """Return Table 11's rows of one setting, ours below the paper's (CIFAR-10), mean ± sd over seeds, the best in bold."""
    cells, bold = {}, {}
    for quantity in (q for q in TASK_LABELS if q in set(table["quantity"])):
        rows = table[table["quantity"] == quantity].set_index("method")
        methods = [method for method in LABELS if method in rows.index]
        for side, name in (("paper", "paper (CIFAR-10)"), ("ours", "ours")):
            values, spreads = rows[side], rows[f"{side}_sd"]
            if values.isna().all():
                continue
            best = values.min() if quantity in SMALLER_IS_BETTER else values.max()
            line = TASK_LABELS[quantity], name
            cells[line] = {LABELS[m]: _with_spread(quantity, values[m], spreads[m]) for m in methods}
            bold[line] = {LABELS[m]: "font-weight: bold" if values[m] == best else "" for m in methods}
    shown, marks = (pd.DataFrame(what).T.fillna("") for what in (cells, bold))
    caption = f"samples: {int(table['samples'].max()):,} generated images against as many test images"
    style = styled(shown).apply(lambda _: marks, axis=None).set_properties(**{"white-space": "nowrap"})
    return style.set_caption(caption)


def _with_spread(quantity: str, value: float, spread: float) -> str:
    """Return "0.370 ± 0.018": accuracies to three digits, the rest as a reader wants it; a dash where there is none."""
    return with_error(value, spread, digits=3 if quantity.startswith("accuracy") else 2)


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


def fine_print(three_gaps: pd.DataFrame) -> Any:
    """Return what qualifies the gaps, as means over seeds: unconverged q*, floors, similarities."""
    columns = ["unconverged", "input_similarity", "reconstruction_similarity", "clean_floor", "at_sigma_floor"]
    columns.append("robustness_gap")
    means = three_gaps.groupby("method", sort=False)[columns].mean()
    return styled(means.rename(index=LABELS, columns=lambda name: name.replace("_", " "))).format(number)


def means(table: Mapping[str, Mapping[str, Tensor]]) -> Any:
    """Return mean ± standard error over images of each entry, as a table."""
    cells = {
        row: {name: with_error(float(v.mean()), float(v.std() / math.sqrt(len(v)))) for name, v in columns.items()}
        for row, columns in table.items()
    }
    return styled(pd.DataFrame(cells).T)


def facts(record: Mapping[str, float]) -> Any:
    """Return a record of numbers as a table of one row."""
    row = pd.DataFrame([record]).rename(columns=lambda name: name.replace("_", " "))
    return styled(row).format(number).hide(axis="index")


def saved(figure: ReportFigure, profile: str, dataset: str, name: str) -> ReportFigure:
    """Save a figure as ``build/<profile>/figures/<name>_<the data set's tag>`` and return it."""
    save_figure(figure, figures_folder(profile), f"{name}_{dataset_tag(dataset)}")
    return figure


def machine_note() -> str:
    """Return versions and device as one Markdown line."""
    return "*" + " · ".join(f"{name} {value}" for name, value in provenance().items()) + "*"


def provenance_note(*experiments: Experiment) -> str:
    """Return where the numbers of experiments come from: seeds, wall time of the runs, device, versions."""
    store = Store()
    manifests = [store.manifest(one) for one in all_artifacts([run for one in experiments for run in one.runs])]
    hours = sum(manifest["seconds"] for manifest in manifests) / 3600
    seeds = ", ".join(str(seed) for seed in sorted({point.subject.seed for one in experiments for point in one.points}))
    word = "seeds" if "," in seeds else "seed"
    return f"*{word} {seeds} · {len(manifests)} artifacts, {hours:.2f} process-hours in all*\n\n{machine_note()}"
