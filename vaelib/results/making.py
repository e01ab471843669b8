"""What a notebook or ``vaelib run`` gets of an experiment: its tables, of runs that are made now or were shipped."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from .. import paths
from ..errors import VaelibError
from ..report.reference import of_setting
from ..report.study import studies
from ..runs.engine import run
from ..runs.experiments import Experiment
from ..runs.profiles import parse_overrides
from ..runs.tables import CHANGED, build_records, merge_table, note_build, read_table, tables_folder, write_tables
from .shipped import TAKEN


def made(experiment: Experiment, title: str = "runs", **options: Any) -> dict[str, pd.DataFrame]:
    """Make an experiment's runs and write its tables; under ``use_results`` take the tables that were shipped.

    ``options`` are those of :func:`vaelib.runs.run`. Returns the experiment's own rows by the tables' names.
    """
    return made_together([experiment], title, **options)[experiment.name]


def made_together(
    experiments: Sequence[Experiment], title: str = "runs", **options: Any
) -> dict[str, dict[str, pd.DataFrame]]:
    """Do as :func:`made` for experiments of one profile, whose runs wait for no others; return their tables by name."""
    shipped = experiments[0].profile.use_results
    if not shipped:
        run([one for experiment in experiments for one in experiment.runs], title=title, **options)
    tables = {}
    for experiment in experiments:
        tables[experiment.name] = take(experiment) if shipped else write_tables(experiment)
        _derive_for(experiment)
    return tables


def _derive_for(experiment: Experiment) -> None:
    """Write what a study computes over the seeds of an experiment."""
    study, folder = studies().get(experiment.name), tables_folder(experiment.profile.name)
    for name, source, compute in study.derived if study else ():
        path, table = folder / f"{name}.csv", read_table(folder / f"{source}.csv")
        rows = of_setting(compute(table), **experiment.setting)
        # The paper's numbers stand beside runs of all of its images, whatever the curves are of.
        others = rows["n_train"].notna() & (rows["n_train"] != experiment.data.n_train)
        rows = rows[~others]
        if "n_test" not in table:  # curves do not say of how many images they are
            rows = rows.assign(n_test=experiment.data.n_test)
        if len(rows) or path.exists():
            merge_table(path, rows, experiment.place)


def _measured_beside(experiment: Experiment, about: dict[str, Any]) -> set[str]:
    """Return the keys of what was measured beside an experiment's points under the settings that it was shipped with."""
    if experiment.name not in studies():
        return set()
    settings = parse_overrides([about.get(CHANGED, "")])
    kept = studies()[experiment.name].runs(experiment.profile.name, experiment.dataset, experiment.likelihood, settings)
    return {point.run.key for point in kept.also}


def take(experiment: Experiment) -> dict[str, pd.DataFrame]:
    """Return an experiment's tables as they were shipped, and put them into its build as what they are: not made here.

    Raises:
        VaelibError: nothing was shipped of it, or under other settings.
    """
    profile, shipped, tables = experiment.profile.name, paths.results_folder(experiment.profile.name), {}
    name = experiment.entry
    about = build_records(shipped).get(name, {})
    known = studies()[experiment.name].tables if experiment.name in studies() else ()
    names = {name: name for name in known} | {file: table for table, file in experiment.files.items()}
    for file, table in names.items():
        path = shipped / f"tables/{file}.csv"
        rows = read_table(path) if path.exists() else pd.DataFrame(columns=[*experiment.place])
        own = [rows[column] == value for column, value in experiment.place.items() if column in rows]
        tables[table] = rows[pd.concat(own, axis=1).all(axis=1)].reset_index(drop=True)
    found = {key for rows in tables.values() for key in rows.get("key", ())}
    points, also = ({point.run.key for point in some} for some in (experiment.points, experiment.also))
    beside = also - found  # not every table names what it holds
    same = points <= found <= points | also and (not beside or beside <= _measured_beside(experiment, about))
    if not about or not same:
        raise VaelibError(
            f"use_results: {name} was not shipped for the profile {profile} with these settings; leave use_results out, "
            "and it is computed, or leave the others out"
        )
    for table, rows in tables.items():
        path = tables_folder(profile) / f"{experiment.files.get(table, table)}.csv"
        if len(rows) or path.exists():
            merge_table(path, rows, experiment.place)
    source = shipped.relative_to(paths.project_root()).as_posix()
    note_build(experiment, about | {TAKEN: source})
    print(f"nothing was computed: these numbers come with the project, {source}, made at commit {about['commit']}")
    return tables
