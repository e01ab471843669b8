"""What a study is: one record that holds its runs, tables, figures and claims, and the list of all of them.

Whatever lists studies or figures reads these records: ``vaelib run`` and ``plan``, the order in which ``make`` runs the
notebooks, the ledger and the report. The paper's own are in :mod:`vaelib.studies.catalogue`; another package adds its own
by an entry point of the group ``vaelib.studies``, or a program by one call of :func:`register`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ..data.datasets import has_classes
from ..errors import VaelibError, unknown
from ..runs.experiments import Experiment
from .entries import Finding, Part


@dataclass(frozen=True)
class Figure:
    """A figure as the report knows it.

    Attributes:
        name: the start of its files' names; the data set's tag follows.
        caption: what it shows, in whole sentences.
        table: the file below ``tables`` whose rows it shows, without ``.csv``.
        headline: whether it stands first in the report, with its training curves beside it.
    """

    name: str
    caption: str
    table: str = ""
    headline: bool = False


@dataclass(frozen=True)
class Study:
    """One question, from its runs to its claims.

    Attributes:
        name: what ``vaelib run`` and the tables call it.
        paper: where the paper asks it; empty for a study of one's own.
        notebook: the name of the notebook that shows it.
        runs: (profile, data set, likelihood, overrides) -> the :class:`~vaelib.runs.experiments.Experiment`; None where
            there is nothing to run from the command line.
        figures: all that it draws.
        tables: the files below ``tables`` that it writes, without ``.csv``.
        derived: files below ``tables`` that are computed over seeds: (name, which of ``tables`` they are computed from, how);
            rows with the columns of a setting and ``n_train``.
        classes: whether it tests classifiers, so that images of one class alone leave its notebook out.
        claims: the sentences that its tables judge.
        errata: where the paper disagrees with itself beyond its claims' numbers.
        applies: whether ``make all`` runs it for a data set and a likelihood as the user named them.
        sweep: whether it belongs to ``make sweeps``.
        seeds: the profile's setting of how many VAEs (or tests) a point has; empty where none adds seeds to it.
        shared: quantities of its claims that are one for all seeds, as what their one teacher copied.
        after: names of studies whose VAEs it shows where they are there, so that ``make all`` makes those first.
        page: (build folder) -> what it adds to the report, by the names that the page's template knows.
    """

    name: str
    paper: str
    notebook: str
    runs: Callable[..., Experiment] | None = None
    figures: tuple[Figure, ...] = ()
    tables: tuple[str, ...] = ()
    derived: tuple[tuple[str, str, Callable[..., Any]], ...] = ()
    classes: bool = False
    claims: Part | None = None
    errata: Callable[[], Sequence[Finding]] | None = None
    applies: Callable[[str, str], bool] = lambda dataset, likelihood: True
    sweep: bool = False
    seeds: str = ""
    shared: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    page: Callable[[Path], dict[str, Any]] | None = None


_registered: dict[str, Study] = {}


def register(study: Study) -> Study:
    """Add a study to the list and return it; the same record may be added again.

    Raises:
        VaelibError: another study has its name, or a figure of another one.
    """
    taken = {figure.name: one.name for one in _registered.values() for figure in one.figures if one.name != study.name}
    if _registered.get(study.name, study) is not study:
        raise VaelibError(f"there is a study {study.name} already; give yours another name")
    for figure in study.figures:
        if figure.name in taken:
            raise VaelibError(
                f"study {study.name}: {taken[figure.name]} has a figure {figure.name} already; rename yours"
            )
    return _registered.setdefault(study.name, study)


@cache
def _found() -> list[str]:
    """Register the paper's studies, then those of installed packages; return the names in this order."""
    paper = import_module("vaelib.studies.catalogue").STUDIES
    others = [entry.load() for entry in entry_points(group="vaelib.studies")]
    return [register(study).name for study in (*paper, *others)]


def studies() -> dict[str, Study]:
    """Return all studies by name: the paper's in its order, then those of other packages and programs."""
    return {name: _registered[name] for name in dict.fromkeys([*_found(), *_registered])}


def wanted(dataset: str, likelihood: str) -> list[Study]:
    """Return the studies that ``make all`` runs for a data set and a likelihood as the user named them."""
    return [study for study in studies().values() if study.applies(dataset, likelihood)]


def without_classes(dataset: str) -> list[str]:
    """Return the notebooks that cannot be made of a data set: none can test a classifier on images of one class.

    Raises:
        VaelibError: no such data set, or a damaged one.
    """
    return [] if has_classes(dataset) else sorted({study.notebook for study in studies().values() if study.classes})


def study_named(name: str) -> Study:
    """Return a study that can be run.

    Raises:
        VaelibError: there is none of that name.
    """
    known = {study.name: study for study in studies().values() if study.runs}
    if name not in known:
        raise unknown("experiment", name, known)
    return known[name]
