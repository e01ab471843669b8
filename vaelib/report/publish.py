"""A figure on its way to disk: what it is called, what stands in its footer and across it, and the record beside it.

Beside ``<name>.png`` and ``<name>.svg`` lies ``<name>.json``: study, setting, caption, alternative text, keys of the runs,
table, command, the commit that drew it and those of its runs. The report reads these records; no code takes a file name apart.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from .. import paths
from ..files import write_atomic, write_json
from ..runs.experiments import Experiment
from ..runs.profiles import Profile, protocol
from ..runs.provenance import commit
from ..runs.stages.data import PUBLISHED
from ..runs.tables import commits_of
from .canvas import STYLE, ReportFigure
from .reference import SMOKE, SWEEP_SETTING, setting
from .study import Figure as Shown
from .study import studies

# What a figure's record holds, in this order; all that is known of a figure that somebody put there without one.
RECORD: dict[str, Any] = {
    "figure": "", "study": "", "profile": "", "dataset": "", "likelihood": "", "headline": False, "caption": "", "alt": "",
    "table": "", "runs": [], "command": "", "commit": "", "commits": [],
}  # fmt: skip

ENOUGH = 0.2  # of the paper's epochs, after which an end compares with the paper's
PAPERS = " · thin and faint: the paper's"  # ends a footer where the paper's numbers lie beneath


def setting_tag(dataset: str, likelihood: str) -> str:
    """Return the data set's part of a file name; a likelihood that is not the default for it is named too."""
    return dataset if likelihood == protocol(dataset).likelihood else f"{dataset}_{likelihood}"


def stem(experiment: Experiment) -> str:
    """Return an experiment's part of a file name."""
    return setting_tag(experiment.dataset, experiment.likelihood)


def command_of(experiment: Experiment) -> str:
    """Return the command that makes the runs of an experiment."""
    setting = f"--dataset {shlex.quote(experiment.data.place)} --likelihood {experiment.likelihood}"
    changed = "".join(f" --set {shlex.quote(pair)}" for pair in experiment.profile.given)
    return f"vaelib run {experiment.name} --profile {experiment.profile.name} {setting}{changed}"


def watermark(profile: str) -> str | None:
    """Return what is printed across figures of the smoke profile."""
    return SMOKE if profile == "smoke" else None


def title(experiment: Experiment) -> str:
    """Return a figure's title: the data set and its likelihood."""
    return f"{setting(experiment.dataset, experiment.likelihood)} likelihood"


def framed(experiment: Experiment, footer: str, about: str = "") -> dict[str, str | None]:
    """Return what every figure of an experiment has: its title (``about`` in place of it), its footer, its watermark."""
    if experiment.profile.use_results:
        footer += " · numbers that come with the project, not made here"
    return {"title_note": about or title(experiment), "footer": footer, "watermark": watermark(experiment.profile.name)}


def papers_images(experiment: Experiment) -> bool:
    """Return True if an experiment trains on as many images as the paper, so that numbers at the same epoch compare."""
    return experiment.data.n_train == PUBLISHED.get(experiment.dataset, (0,))[0]


def as_in_paper(experiment: Experiment) -> bool:
    """Return True if an experiment has the setting of the paper's sweeps and about its scale, so that numbers compare."""
    long = experiment.profile.epochs >= ENOUGH * Profile().epochs
    return (experiment.dataset, experiment.likelihood) == SWEEP_SETTING and long and papers_images(experiment)


def footer_line(profile: str, *facts: str) -> str:
    """Return a footer: the profile, what else there is to say, the commit."""
    return " · ".join([f"profile {profile}", *facts, f"commit {commit()[:10]}"])


def source_line(experiment: Experiment, *facts: str) -> str:
    """Return the footer of a figure that shows images: profile, data, what else there is to say, commit."""
    data = experiment.data
    return footer_line(experiment.profile.name, data.label, f"{data.n_train:,} training images", *facts)


def provenance_line(
    gaps: pd.DataFrame,
    *,
    profile: str,
    alone: str = "one run: no band",
    shown: str = "line: mean, band: min to max",
) -> str:
    """Return the footer of a figure: profile, data source, n_train, n_test, seeds, what lines and bands are, commit.

    ``alone`` is what is said of a single seed, ``shown`` of several.
    """
    seeds = sorted(int(seed) for seed in set(gaps["seed"]))
    run = (
        f"{seeds[0]}\N{EN DASH}{seeds[-1]}"
        if len(seeds) > 1 and seeds[-1] - seeds[0] == len(seeds) - 1
        else ", ".join(map(str, seeds))
    )
    sources = "; ".join(dict.fromkeys(gaps["source"].astype(str)))
    sizes = ", ".join(f"{int(size):,}" for size in sorted(set(gaps["n_train"])))
    images = f"{sizes} training and {int(gaps['n_test'].max()):,} test images"
    return footer_line(
        profile, sources, images, f"seeds {run} ({shown})" if len(seeds) > 1 else f"seed {run} ({alone})"
    )


def save_figure(fig: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``name.png`` (200 dpi) and ``name.svg`` into ``folder``, whole or not at all, the same bytes each time."""
    paths = [Path(folder) / f"{name}.{kind}" for kind in ("png", "svg")]
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    with mpl.rc_context(fname=STYLE):
        for path in paths:
            kind = path.suffix[1:]
            write_atomic(path, lambda part, kind=kind: fig.savefig(part, format=kind, metadata=metadata[kind]))
    return paths


def publish(figure: ReportFigure, shown: Shown, experiment: Experiment) -> ReportFigure:
    """Save an experiment's figure with its record, under a name that no other setting has, and return it."""
    about = {"runs": [run.key for run in experiment.runs], "command": command_of(experiment)}
    about |= experiment.setting | {"commits": commits_of(experiment)}
    return publish_alone(figure, shown, experiment.profile.name, experiment.name, stem(experiment), **about)


def short(keys: Sequence[str]) -> str:
    """Return the beginnings of the first keys, and how many there are.

    >>> short(["0123456789", "abcdefghij"]), short(["0123456789"] * 5)
    ('runs 0123456 abcdefg', 'runs 0123456 0123456 0123456 … (5)')
    """
    first = " ".join(key[:7] for key in keys[:3])
    return f"runs {first}" + (f" … ({len(keys)})" if len(keys) > 3 else "") if keys else ""


def origin(record: Mapping[str, Any]) -> str:
    """Return the line below a figure in its notebook: what makes it, its table, its notebook, its runs, its commit."""
    study = studies().get(record["study"])
    parts = [
        record["command"],
        f"tables/{record['table']}.csv" if record["table"] else "",
        f"notebook {study.notebook}" if study and study.notebook else "",  # a study of somebody's may have none
        short(record["runs"]),
        f"commit {', '.join(record['commits'] or [record['commit']])}",
    ]
    return " · ".join(filter(None, parts))


def publish_alone(
    figure: ReportFigure, shown: Shown, profile: str, study: str, tag: str = "", **about: Any
) -> ReportFigure:
    """Save a figure that no single experiment stands behind with its record and return it.

    ``tag`` ends its name; ``about`` is what its record says of data set, likelihood, runs, command and commits.
    """
    name, folder = "_".join(filter(None, [shown.name, tag])), paths.build_root() / profile / "figures"
    save_figure(figure, folder, name)
    record = RECORD | {"figure": shown.name, "study": study, "profile": profile, "commit": commit()} | about
    record |= {"headline": shown.headline, "caption": shown.caption, "alt": figure.words(), "table": shown.table}
    figure.origin = origin(record)
    write_json(folder / f"{name}.json", record)
    return figure
