"""The command line: every verb is a few lines over a library function."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import click
import typer

from . import paths
from .data.identity import dataset_from_here, dataset_tag
from .errors import VaelibError, hint
from .version import __version__


class Verbs(typer.core.TyperGroup):
    """The verbs; Ctrl-C is no mistake, and exits as a shell reports it."""

    def invoke(self, ctx: click.Context) -> None:
        """Run a verb."""
        try:
            super().invoke(ctx)
        except KeyboardInterrupt:
            print("stopped; the same command goes on from there", file=sys.stderr)
            sys.exit(130)


class OfStudies(typer.core.TyperCommand):
    """A verb that takes a study's name; its help lists the names there are, which costs imports that nothing else needs."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help."""
        from .report.study import studies

        names = ", ".join(study.name for study in studies().values() if study.runs)
        for parameter in self.params:
            if parameter.name == "study":
                parameter.help = f"{names}{parameter.help}"
        super().format_help(ctx, formatter)


app = typer.Typer(cls=Verbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
notebook = typer.Typer(no_args_is_help=True, help="Run the notebooks headlessly; keep each .ipynb equal to its .py.")
app.add_typer(notebook, name="notebook")


def _known_profile(name: str) -> str:
    from .runs import load_profile

    return load_profile(name).name


StudyArgument = Annotated[str, typer.Argument(help="")]
ProfileOption = Annotated[
    str, typer.Option(help="smoke, laptop, overnight, gpu or paper: how much is computed", callback=_known_profile)
]
DatasetOption = Annotated[
    str,
    typer.Option(
        help="fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz", callback=dataset_from_here
    ),
]
LikelihoodOption = Annotated[
    str, typer.Option(help="bernoulli, gaussian, mol, or default: the paper's for the data set")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="override a profile's setting: name=value")]
SourceOption = Annotated[
    str, typer.Option(help="which copy: auto; binary_mnist: full, mnist-5k; cifar10: original, lossless_4k, jpeg")
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto: a GPU where there is one")]


def _version(asked: bool) -> None:
    if asked:
        print(f"vaelib {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Train VAEs on real and on synthetic images, measure their three gaps, and draw the paper's figures and tables."""


def _experiment(name: str, profile: str, dataset: str, likelihood: str, overrides: list[str] | None):
    from .report.study import study_named
    from .runs import parse_overrides

    return study_named(name).runs(profile, dataset, likelihood, parse_overrides(overrides or []))


def _tag(profile: str, dataset: str, likelihood: str, overrides: list[str] | None) -> str:
    from .report.study import without_classes
    from .runs import likelihood_of, load_profile, parse_overrides

    load_profile(profile, overrides=parse_overrides(overrides or []))
    likelihood_of(dataset, likelihood)
    tag = dataset_tag(dataset) + (f"-{likelihood}" if likelihood != "default" else "")
    return " ".join([tag, *without_classes(dataset)])


@app.command("studies")
def list_studies(
    dataset: DatasetOption = "fashion_mnist",
    likelihood: LikelihoodOption = "default",
    make: Annotated[bool, typer.Option("--make", help="print what `make` reads: which notebooks there are")] = False,
    check: Annotated[bool, typer.Option("--codecheck", help="print codecheck.yml: what all of them make")] = False,
) -> None:
    """List the studies, where the paper has them, and the notebook that shows each."""
    from .studies.catalogue import format_studies, make_lines

    if check:
        from .results.codecheck import codecheck

        print(codecheck(), end="")
        return
    print(make_lines(dataset, likelihood) if make else format_studies())


@app.command()
def fetch(
    dataset: DatasetOption = "fashion_mnist",
    source: SourceOption = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="stop at an image of a folder that cannot be read")] = False,
) -> None:
    """Get a data set, check it, and say what it is."""
    from .data import load_dataset

    data = load_dataset(dataset, source=source, strict=strict)
    print(f"{data.name}: {data.source}; {len(data.train):,} training and {len(data.test):,} test images")


@app.command(cls=OfStudies)
def plan(
    study: Annotated[str | None, typer.Argument(help="; default: all of the data set")] = None,
    profile: ProfileOption = "laptop",
    dataset: DatasetOption = "fashion_mnist",
    likelihood: LikelihoodOption = "default",
    overrides: SetOption = None,
    hardware: Annotated[
        str | None, typer.Option(help="a100, h100 or rtx2080ti in place of this machine, which is timed")
    ] = None,
    count: Annotated[int | None, typer.Option(help="how many of them; default 1", min=1)] = None,
    mps: Annotated[bool, typer.Option("--mps", help="with NVIDIA's MPS on: workers compute on a card at once")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="do not calibrate: take the reference machine's rates")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the runs behind the figures, what is already there, and what the rest costs in work, disk and time."""
    import json

    from .planning import plan as planning
    from .planning.machine_speed import calibrate
    from .report.study import study_named, wanted
    from .runs import parse_overrides
    from .runs.cost.price import hardware as known_hardware
    from .runs.cost.price import measured, this_machine

    if quick and hardware:
        raise VaelibError(
            f"--quick takes the reference machine's rates and --hardware {hardware} that card's; give one"
        )
    if count and not hardware:
        raise VaelibError(f"--count {count} counts what --hardware names; give both, or neither for this machine")
    if mps and not hardware:
        raise VaelibError("--mps needs --hardware; of this machine it is seen whether MPS is on")
    only, settings = study_named(study) if study else None, parse_overrides(overrides or [])
    if settings.get("use_results"):
        raise VaelibError("use_results makes nothing that could be planned; leave it out")
    _tag(profile, dataset, likelihood, overrides)  # mistakes are told before this machine is timed
    chosen = [only] if only else [study for study in wanted(dataset, likelihood) if study.runs]
    functions, titles = {one.name: one.runs for one in chosen}, {one.name: one.paper for one in chosen}
    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):  # what is said on the way is no JSON
        if hardware is None and not quick and measured() is None:
            calibrate()
        machine = known_hardware(hardware, count or 1, mps) if hardware else this_machine(quick)
        made = planning.make_plan(functions, machine, profile, dataset, likelihood, settings, titles=titles)
    print(json.dumps(planning.as_json(made), indent=1) if as_json else planning.format_plan(made))


@app.command(cls=OfStudies)
def run(
    study: StudyArgument = "three_gaps",
    profile: ProfileOption = "laptop",
    dataset: DatasetOption = "fashion_mnist",
    likelihood: LikelihoodOption = "default",
    overrides: SetOption = None,
    workers: Annotated[
        int | None, typer.Option(help="processes; default one a core, or several a GPU; 0: none but this", min=0)
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="tcp://host:port of a running Dask scheduler")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Make every run of a study and write its tables; what is there already is kept."""
    from .results.making import made
    from .runs import tables_folder
    from .runs.stages.context import pick_device

    if scheduler is None:
        pick_device(device)  # told before data is fetched
    chosen = _experiment(study, profile, dataset, likelihood, overrides)
    title = f"{study} {chosen.dataset}"
    made(chosen, workers=workers, scheduler=scheduler, device=device, title=title)
    what = "what was shipped of it is" if chosen.profile.use_results else f"{len(chosen.runs)} runs are"
    print(f"{title}: {what} in; tables are in {paths.shown(tables_folder(profile))}")


@app.command(cls=OfStudies)
def teacher(
    study: StudyArgument = "three_gaps",
    profile: ProfileOption = "laptop",
    dataset: DatasetOption = "fashion_mnist",
    overrides: SetOption = None,
) -> None:
    """Train the teachers of a study, under torchrun with all of its processes."""
    import os

    from .runs.ddp import train_teachers

    chosen = _experiment(study, profile, dataset, "default", overrides)
    if chosen.profile.use_results:
        raise VaelibError("use_results trains nothing; leave it out")
    count = train_teachers(chosen.runs)
    if os.environ.get("RANK", "0") == "0":
        print(f"{count} teachers are in the store")


@app.command()
def tag(
    profile: ProfileOption = "laptop",
    dataset: DatasetOption = "fashion_mnist",
    likelihood: LikelihoodOption = "default",
    overrides: SetOption = None,
) -> None:
    """Check settings before anything is made, and print what files are called by, and which notebooks cannot be made."""
    print(_tag(profile, dataset, likelihood, overrides))


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
def scorecard(
    ctx: typer.Context,
    whose: Annotated[
        str,
        typer.Argument(
            help="module:function, which returns a VAE or (vae, train, test, labels), or the key of a VAE in the store"
        ),
    ],
    dataset: DatasetOption = "fashion_mnist",
    n_train: Annotated[int | None, typer.Option(help="training images of the data set, stratified; all")] = None,
    n_test: Annotated[int | None, typer.Option(help="test images of the data set, stratified; all")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="also write the record here")] = None,
    amortization_images: Annotated[int, typer.Option(help="test images of G_a; 0 leaves it out", min=0)] = 100,
    attack_images: Annotated[int, typer.Option(help="test images of G_r; 0 leaves it out", min=0)] = 50,
    attack_steps: Annotated[int, typer.Option(help="steps of an attack", min=1)] = 50,
    restarts: Annotated[int, typer.Option(help="attacks an image", min=1)] = 10,
    radius: Annotated[float, typer.Option(help="of the attack, on pixels in [0, 1]")] = 0.1,
    similarity: Annotated[
        str, typer.Option(help="kuzina2022, kuzina2022_fixed or wang2003_upsampled: which MS-SSIM")
    ] = "kuzina2022",
    log_p_images: Annotated[int, typer.Option(help="images of the bounds on log p(x); 0: none", min=0)] = 5,
    seed: Annotated[int, typer.Option(help="of noise, attacks and subsets")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Measure a VAE of your own: rate, distortion, ELBO, active units, the three gaps and bounds on log p(x)."""
    from .data import load_dataset
    from .runs.stages.context import pick_device
    from .scoring import scorecard as measure
    from .subject import find

    place = pick_device(device)
    subject = find(whose)
    if subject.images is None:
        data = load_dataset(dataset, n_train=n_train, n_test=n_test)
        theirs, ours = tuple(subject.vae.image_shape), tuple(data.test.shape[1:])
        if theirs != ours:
            raise VaelibError(
                f"{whose} takes images {theirs}, those of {data.name} are {ours}; choose another --dataset, or let the "
                "function return (vae, train, test, labels)"
            )
        print(f"images: {data.source}; {len(data.train):,} training and {len(data.test):,} test images")
        subject = subject._replace(images=(data.train, data.test, data.test_labels))
    elif named := [
        name for name in ("dataset", "n_train", "n_test") if ctx.get_parameter_source(name).name != "DEFAULT"
    ]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        raise VaelibError(
            f"{whose} comes with its own images, so {options} would change nothing; leave that out, or give a function that "
            "returns the VAE alone"
        )
    card = measure(
        subject.vae.to(place),
        *subject.images,
        name=subject.name,
        seed=seed,
        amortization_images=amortization_images,
        attack_images=attack_images,
        attack_steps=attack_steps,
        restarts=restarts,
        radius=radius,
        similarity=similarity,
        log_p_images=log_p_images,
    )
    print(card)
    if json_file:
        card.write_json(json_file)
        print(f"record: {paths.shown(json_file)}")


@app.command()
def claims(
    profile: ProfileOption = "laptop",
    resolve: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="run the cheapest way to decide this claim, after its price; notebook 10 and claims.json have the IDs",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="processes for that; default one a core, or several a GPU; 0: none but this", min=0),
    ] = None,
) -> None:
    """Judge all claims by the tables made so far, print the ledger, write claims.json; without tables, show what was shipped."""
    from .report.claims import format_claims, judge_build, require_build
    from .report.study import study_named
    from .results.making import made
    from .results.shipped import judged

    build = paths.build_root() / profile
    if resolve is None:
        if workers is not None:
            raise VaelibError(f"--workers {workers} is for the runs of --resolve ID; give both, or neither")
        print(format_claims(judged(profile)))
        return
    from .studies.claims.resolve import cheapest, plan_line

    way = cheapest(judge_build(require_build(build), profile), profile, resolve)
    print(plan_line(way, profile), flush=True)
    made(study_named(way.study).runs(profile, way.dataset, way.likelihood, dict(way.overrides)), workers=workers)
    print(format_claims([row for row in judge_build(build, profile) if row["id"] == way.id]))


@app.command()
def report(
    profile: ProfileOption = "laptop",
    open_it: Annotated[bool, typer.Option("--open", help="show it in the browser")] = False,
) -> None:
    """Write the self-contained report.html of a profile from its tables and figures, or from those that were shipped."""
    import webbrowser

    from .report.claims import judge_build
    from .report.html import write_report
    from .results.shipped import shown_build

    folder, own = shown_build(profile)
    if own:
        judge_build(folder, profile)
    else:
        print(f"nothing is made here yet: these are the results that come with the project, {paths.shown(folder)}")
    page = write_report(folder, paths.build_root() / profile / "report.html")
    print(f"report: {paths.shown(page)}")
    if open_it:
        webbrowser.open(page.as_uri())


@app.command()
def pack(
    profile: ProfileOption = "laptop",
    join: Annotated[
        bool, typer.Option("--join", help="keep what is shipped of other data sets and of other seeds")
    ] = False,
) -> None:
    """Copy what a reader should see of a build into results/<profile>, which comes with the project."""
    from .results import shipped

    files = shipped.pack(profile, join)
    total = sum(path.stat().st_size for path in files) / 1e6
    print(f"{len(files)} files, {total:.1f} MB, are in {paths.shown(paths.results_folder(profile))}")


@app.command()
def compare(profile: ProfileOption = "laptop") -> None:
    """Hold a build's tables beside those that come with the project; exit with 1 if they differ, 2 if none are shared."""
    from .results import compare as comparing

    build = paths.build_root() / profile
    try:
        found = comparing.compare(paths.results_folder(profile), build)
    except comparing.NothingToCompare as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    found.values.to_csv(build / "compare.csv", index=False)
    print(comparing.format_comparison(found))
    print(f"every value: {paths.shown(build / 'compare.csv')}")
    if not found.agrees:
        raise typer.Exit(1)


@app.command()
def site(
    profile: ProfileOption = "laptop",
    out: Annotated[Path | None, typer.Option(help="the folder; default build/site")] = None,
) -> None:
    """Write report, executed notebooks, documentation and API reference as one site that works from disk."""
    from .site.build import write_site

    index, size = write_site(profile, out)
    print(f"site: {paths.shown(index)}, {size / 1e6:.1f} MB in all")


@notebook.command("run")
def notebook_run(
    name: Annotated[str, typer.Argument(help="the notebook's name, for example 03_three_gaps")],
    out: Annotated[Path, typer.Option(help="where the executed notebook goes")],
    parameter: Annotated[list[str] | None, typer.Option("-p", help="a parameter of the notebook: name=value")] = None,
    overrides: SetOption = None,
    html: Annotated[Path | None, typer.Option(help="also render it here")] = None,
) -> None:
    """Execute a notebook with parameters; its output lands only if every cell ran."""
    from .notebooks import execution, pairs

    sources = {source.stem: source for source in pairs.sources()}
    if name not in sources:
        raise VaelibError(f"there is no notebook {name}; choose one of {', '.join(sources)}{hint(name, sources)}")
    parameters = execution.read_parameters(sources[name], parameter or [], overrides or [])
    done = execution.run(sources[name], out.resolve(), parameters)
    if html:
        from .site.rendering import to_html

        to_html(done, html.resolve())
    print(f"notebook: {paths.shown(done)}")


@notebook.command("sync")
def notebook_sync() -> None:
    """Write every .ipynb from its .py (always in this direction); an edit in the .ipynb alone is kept beside it."""
    from .notebooks import pairs

    changed = pairs.sync()
    print("\n".join(f"wrote {name}" for name in changed) or "all pairs are in step")


@notebook.command("copy")
def notebook_copy() -> None:
    """Put copies of the notebooks into build/lab, where they can be run and saved; edited copies stay as they are."""
    from .notebooks import pairs

    folder = paths.build_root() / "lab"
    for name in pairs.copies(folder):
        print(f"{paths.shown(folder / name)} is your own version; delete it for a fresh copy")


@notebook.command("check")
def notebook_check() -> None:
    """Fail if a pair is out of step."""
    from .notebooks import pairs

    if wrong := pairs.sync(check=True):
        raise VaelibError("; ".join(f"{name} is out of step with its .py" for name in wrong) + ": run `make sync`")
    print("notebooks: all pairs are in step")


@app.command()
def doctor() -> None:
    """Say what this machine has, and what each missing thing costs."""
    from .doctor import examine, format_findings

    print(format_findings(examine()))


@app.command()
def docs(out: Annotated[Path | None, typer.Option(help="the folder; default build/api")] = None) -> None:
    """Write the API reference from the docstrings; needs no network."""
    from .site.api import write_api

    print(f"API reference: {paths.shown(write_api(out or paths.build_root() / 'api'))}")
