"""The command line: every verb is a few lines over a library function."""

from pathlib import Path
from typing import Annotated

import typer

from . import paths
from .errors import VaelibError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
notebook = typer.Typer(no_args_is_help=True, help="Run the notebooks headlessly; keep each .ipynb equal to its .py.")
app.add_typer(notebook, name="notebook")

ExperimentArgument = Annotated[str, typer.Argument(help="which experiment")]
ProfileOption = Annotated[str, typer.Option(help="smoke, laptop, overnight, gpu or paper: how much is computed")]
DatasetOption = Annotated[str, typer.Option(help="fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz")]
LikelihoodOption = Annotated[
    str, typer.Option(help="bernoulli, gaussian, mol, or default: the paper's for the data set")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="override a profile's setting: name=value")]


def _experiment(name: str, profile: str, dataset: str, likelihood: str, overrides: list[str] | None):
    from .runs import EXPERIMENTS, parse_overrides

    if name not in EXPERIMENTS:
        raise VaelibError(f"experiment {name!r} is unknown; choose one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name](profile, dataset, likelihood, parse_overrides(overrides or []))


@app.command()
def fetch(
    dataset: DatasetOption = "fashion_mnist",
    source: str = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="stop at an image of a folder that cannot be read")] = False,
) -> None:
    """Get a data set, check it, and say what it is."""
    from .data import load_dataset

    data = load_dataset(dataset, source=source, strict=strict)
    print(f"{data.name}: {data.source}; {len(data.train):,} training and {len(data.test):,} test images")


@app.command()
def plan(
    experiment: Annotated[str | None, typer.Argument(help="one experiment; default: all of the data set")] = None,
    profile: ProfileOption = "laptop",
    dataset: DatasetOption = "fashion_mnist",
    likelihood: LikelihoodOption = "default",
    overrides: SetOption = None,
    hardware: Annotated[str | None, typer.Option(help="a100, h100 or rtx2080ti in place of this machine")] = None,
    count: Annotated[int, typer.Option(help="how many of them")] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="do not calibrate: take the reference machine's rates")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the runs behind the figures, what is already there, and what the rest costs in work, disk and time."""
    import json

    from .runs import EXPERIMENTS, parse_overrides
    from .runs import plan as planning
    from .runs.calibrate import calibrate
    from .runs.price import hardware as known_hardware
    from .runs.price import measured, this_machine

    if experiment is not None and experiment not in EXPERIMENTS:
        raise VaelibError(f"experiment {experiment!r} is unknown; choose one of {', '.join(EXPERIMENTS)}")
    names = [experiment] if experiment else planning.chosen_experiments(dataset, likelihood, EXPERIMENTS)
    if hardware is None and not quick and measured() is None:
        calibrate()
    machine = known_hardware(hardware, count) if hardware else this_machine(quick)
    chosen = {name: EXPERIMENTS[name] for name in names}
    made = planning.make_plan(chosen, machine, profile, dataset, likelihood, parse_overrides(overrides or []))
    print(json.dumps(planning.as_json(made), indent=1) if as_json else planning.format_plan(made))


@app.command()
def run(
    experiment: ExperimentArgument = "three_gaps",
    profile: ProfileOption = "laptop",
    dataset: DatasetOption = "fashion_mnist",
    likelihood: LikelihoodOption = "default",
    overrides: SetOption = None,
    workers: Annotated[int | None, typer.Option(help="processes; default one a core or GPU; 0: none but this")] = None,
    scheduler: Annotated[str | None, typer.Option(help="tcp://host:port of a running Dask scheduler")] = None,
    device: str = "auto",
) -> None:
    """Make every run of an experiment and write its tables; what is there already is kept."""
    from .runs import run as run_graph
    from .runs import tables_folder, write_tables

    chosen = _experiment(experiment, profile, dataset, likelihood, overrides)
    title = f"{experiment} {dataset}"
    run_graph(chosen.runs, workers=workers, scheduler=scheduler, device=device, title=title)
    write_tables(chosen)
    print(f"{title}: {len(chosen.runs)} runs are in; tables are in {paths.shown(tables_folder(profile))}")


@app.command()
def teacher(
    experiment: ExperimentArgument = "three_gaps",
    profile: ProfileOption = "laptop",
    dataset: DatasetOption = "fashion_mnist",
    overrides: SetOption = None,
) -> None:
    """Train the teachers of an experiment, under torchrun with all of its processes."""
    import os

    from .runs.together import train_teachers

    count = train_teachers(_experiment(experiment, profile, dataset, "default", overrides).runs)
    if os.environ.get("RANK", "0") == "0":
        print(f"{count} teachers are in the store")


@app.command()
def verify() -> None:
    """Recompute the checksum of everything in the store."""
    from .progress import track
    from .runs.store import MANIFEST, Store, folder_complaints, read_manifest

    wrong = []
    folders = Store().finished()
    for folder in track(folders, "verify", "artifacts"):
        try:
            wrong += folder_complaints(folder, read_manifest(folder / MANIFEST)["files"])
        except VaelibError as error:
            wrong.append(str(error).partition(";")[0])
    if wrong:
        raise VaelibError(
            f"{len(wrong)} of the store's files are damaged: {'; '.join(wrong)}; delete their folders and run again"
        )
    print(f"{len(folders)} artifacts, all as they were made")


@app.command()
def claims(profile: ProfileOption = "laptop") -> None:
    """Judge the paper's claims by the tables made so far; print the ledger and write claims.json."""
    from .report.claims import format_claims, judge_build
    from .runs import load_profile

    load_profile(profile)  # so that a misspelt name is told
    print(format_claims(judge_build(paths.build_root() / profile, profile)))


@app.command()
def report(profile: ProfileOption = "laptop") -> None:
    """Write the self-contained report.html of a profile from its tables and figures."""
    from .report.claims import judge_build, require_build
    from .report.html import write_report
    from .runs import load_profile

    load_profile(profile)
    folder = require_build(paths.build_root() / profile)
    judge_build(folder, profile)
    print(f"report: {paths.shown(write_report(folder))}")


def _notebooks() -> dict[str, Path]:
    """Return the notebooks' sources by name; they come with a checkout, not with the installed package."""
    folder = paths.project_root() / "notebooks"
    found = {path.stem: path for path in sorted(folder.glob("[0-9]*.py"))}
    if not found:
        raise VaelibError(
            f"{folder} holds no notebooks: they need a checkout of the repository; run this in its folder"
        )
    return found


@notebook.command("run")
def notebook_run(
    name: Annotated[str, typer.Argument(help="the notebook's name, for example 03_three_gaps")],
    out: Annotated[Path, typer.Option(help="where the executed notebook goes")],
    parameter: Annotated[list[str] | None, typer.Option("-p", help="name=value")] = None,
    html: Annotated[Path | None, typer.Option(help="also render it here")] = None,
) -> None:
    """Execute a notebook with parameters; its output lands only if every cell ran."""
    from .report import notebooks
    from .runs import parse_overrides

    sources = _notebooks()
    if name not in sources:
        raise VaelibError(f"there is no notebook {name}; choose one of {', '.join(sources)}")
    done = notebooks.run(sources[name], out.resolve(), parse_overrides(parameter or []))
    if html:
        notebooks.to_html(done, html.resolve())
    print(f"notebook: {paths.shown(done)}")


@notebook.command("sync")
def notebook_sync() -> None:
    """Write every .ipynb from its .py (always in this direction); an edit in the .ipynb alone is kept beside it."""
    from .report import pairs

    _notebooks()
    changed = pairs.sync()
    print("\n".join(f"wrote {name}" for name in changed) or "all pairs are in step")


@notebook.command("copy")
def notebook_copy() -> None:
    """Put copies of the notebooks into build/lab, where they can be run and saved; edited copies stay as they are."""
    from .report import pairs

    folder = paths.build_root() / "lab"
    for name in pairs.copies(folder):
        print(f"{paths.shown(folder / name)} is your own version; delete it for a fresh copy")


@notebook.command("check")
def notebook_check() -> None:
    """Fail if a pair is out of step or a notebook breaks the house rules."""
    from .report import notebooks, pairs

    sources = _notebooks().values()
    wrong = [f"{name} is out of step with its .py: run `make sync`" for name in pairs.sync(check=True)]
    for path in sources:
        wrong += notebooks.lint(path)
    if wrong:
        raise VaelibError("\n  ".join(["the notebooks need mending:", *wrong]))
    print("notebooks: pairs in step, rules kept")


@app.command()
def doctor() -> None:
    """Say what this machine has, and what each missing thing costs."""
    from .report.doctor import examine, format_findings

    print(format_findings(examine()))


@app.command()
def docs(out: Annotated[Path | None, typer.Option(help="the folder; default build/api")] = None) -> None:
    """Write the API reference from the docstrings; needs no network."""
    from .report.api import write_api

    print(f"API reference: {paths.shown(write_api(out or paths.build_root() / 'api'))}")
