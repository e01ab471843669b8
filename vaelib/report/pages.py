"""What a notebook shows between its figures: short tables and notes, as HTML tables or Markdown."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from ..runs import Experiment, Store, missing
from ..runs.engine import all_artifacts
from ..runs.external import source_of_samples
from ..runs.provenance import provenance
from ..runs.tables import SETTING, read_table, shipped_record, tables_folder
from ..text import how_many, number, with_error
from .canvas import LABELS
from .claims import NOT_RUN, OURS
from .escape import in_markdown, nothing, styled
from .publish import title
from .reference import of_setting, setting


def describe(experiment: Experiment) -> str:
    """Return what an experiment consists of, as Markdown."""
    profile, data = experiment.profile, experiment.data
    about = (
        f"{data.label} · N = {data.n_train:,} training and {data.n_test:,} test images · {profile.epochs} effective epochs · "
        f"{how_many(profile.seeds, 'seed')} · {source_of_samples(profile)}"
    )
    return headed(title(experiment), about, experiment)


def headed(name: str, about: str, *experiments: Experiment) -> str:
    """Return a name, facts about experiments, and whether anything of them is left to be made, as Markdown."""
    if experiments[0].profile.use_results:
        left = "Nothing is computed: the numbers come with the project."
    else:
        todo = missing([run for one in experiments for run in one.runs], Store())
        left = f"To be made now: {len(todo)} artifacts." if todo else "Everything is in the store already."
    return f"**{in_markdown(name)}** · {in_markdown(about)}. {left}"


# A verdict brings its own background, so that it can be read in a dark JupyterLab too.
# White on each is read easily; the figure of the ledger has colours that the colour-blind tell apart.
VERDICT_COLOURS = {"supported": "#00563b", "contradicted": "#b3261e", "not testable": "#5c6670"}


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
        .map(lambda verdict: f"color: #ffffff; background-color: {VERDICT_COLOURS[verdict]}", subset=["verdict"])
        .hide(axis="index")
    )


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


def compared(
    table: pd.DataFrame,
    of: str,
    names: Mapping[str, str],
    smaller: Collection[str],
    *,
    theirs: str = "paper",
    digits: Callable[[str], int | None] = lambda quantity: None,
) -> Any:
    """Return a table of the paper's with ours below: a line a quantity and side, a column a method, the best in bold.

    Arguments:
        table: ``method, paper, paper_sd, ours, ours_sd``, and in the column ``of`` what is compared.
        names: of the quantities to show; of those in ``smaller`` less is better, and of an ELBO on D_train nothing.
        digits: the least decimals of a quantity.
    """
    cells, bold = {}, {}
    for quantity in (one for one in names if one in set(table[of])):
        rows = table[table[of] == quantity].set_index("method")
        methods = [method for method in LABELS if method in rows.index]
        for side, name in (("paper", theirs), ("ours", "ours")):
            values, spreads = rows[side], rows[f"{side}_sd"]
            if values.isna().all():
                continue
            best = values.min() if quantity in smaller else values.max() if quantity != "elbo_train" else None
            line = names[quantity], name
            cells[line] = {LABELS[m]: with_error(values[m], spreads[m], digits=digits(quantity)) for m in methods}
            bold[line] = {LABELS[m]: "font-weight: bold" if values[m] == best else "" for m in methods}
    shown, marks = (pd.DataFrame(what).T.fillna("") for what in (cells, bold))
    return styled(shown).apply(lambda _: marks, axis=None).set_properties(**{"white-space": "nowrap"})


def blocks(table: pd.DataFrame, name: str, show: Callable[[pd.DataFrame], Any]) -> list[dict[str, str]]:
    """Return a table for the report, an HTML table a setting: what ``show`` makes of its rows for a notebook."""
    found = []
    for (dataset, likelihood), rows in table.groupby(SETTING, sort=False):
        html = show(rows).to_html(table_uuid=f"{name}_{len(found)}")
        found.append({"setting": setting(dataset, likelihood), "about": images_and_seeds(rows), "html": html})
    return found


def derived(experiment: Experiment, name: str) -> pd.DataFrame:
    """Return an experiment's rows of what its study computes over seeds (:class:`~vaelib.report.study.Study`); maybe none."""
    path = tables_folder(experiment.profile.name) / f"{name}.csv"
    rows = of_setting(read_table(path), **experiment.setting) if path.exists() else pd.DataFrame()
    return rows.reset_index(drop=True)


def images_and_seeds(rows: pd.DataFrame) -> str:
    """Return "1,000 training images, 3 seeds" of the runs behind some rows of one setting."""
    seeds = int(rows["seeds"].max()) if "seeds" in rows else rows["seed"].nunique()
    return f"{int(rows['n_train'].max()):,} training images, {how_many(seeds, 'seed')}"


def machine_note() -> str:
    """Return versions and device as one Markdown line."""
    return "*" + " · ".join(f"{name} {value}" for name, value in provenance().items()) + "*"


def provenance_note(*experiments: Experiment) -> str:
    """Return where the numbers of experiments come from: seeds, wall time of the runs, device, versions."""
    if experiments[0].profile.use_results:
        found = map(shipped_record, experiments)
        told = [
            f"{seeds_named(one['seeds'])}, {one['time in all']}, commit {one['commit']}, {one['device']}"
            for one in found
        ]
        return f"*Made before and kept with the project: {'; '.join(told)}*\n\n{machine_note()}"
    manifests = Store().manifests(all_artifacts([run for one in experiments for run in one.runs]))
    hours = sum(manifest["seconds"] for manifest in manifests) / 3600
    seeds = seeds_named({point.subject.seed for one in experiments for point in one.points})
    return f"*{seeds} · {len(manifests)} artifacts, {hours:.2f} process-hours in all*\n\n{machine_note()}"


def seeds_named(seeds: Iterable[int]) -> str:
    """Return "seed 0" or "seeds 0, 1, 2"."""
    listed = ", ".join(map(str, sorted(seeds)))
    return f"{'seeds' if ',' in listed else 'seed'} {listed}"
