"""What a profile would cost before anything is made: runs, FLOPs, bytes and time, by figure and in all.

A run that several figures share counts in each of them and once in the total.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import VaelibError
from ..progress import duration
from .candidates import CANDIDATES
from .engine import all_artifacts, path_lengths
from .experiments import likelihood_of
from .grids import GRIDS
from .price import Machine
from .settings import Artifact, Bank
from .stages.data import reading_once
from .store import Store
from .work import size, work

FIGURES = {
    "three_gaps": "Figs. 2, 10-13, Table 7",
    "downstream": "Figs. 4 left, 9, 19, Table 11",
    "sensitivity": "App. A, Table 2",
    "calibrate_protocol": "the raw curves of Figs. 6, 10-12",
    "teacher_sheet": "Figs. 17, 18",
    "smoothness": "Fig. 3",
    "limited_k": "Fig. 4 right",
    "rha": "Fig. 5",
    "latents": "Fig. 6",
    "sizes": "Figs. 7, 8",
    "mollify": "Fig. 14",
    "mixing": "Fig. 15",
    "teacher_fractions": "Fig. 16",
}


class Cost(NamedTuple):
    """What some runs cost on a machine.

    Attributes:
        runs, made: artifacts in all, and those already in the store.
        flops, bytes: of all of them.
        work_seconds: of what is left, on one core or GPU.
        seconds: of what is left, on the whole machine: work shared out, but no shorter than the longest chain of runs.
    """

    runs: int
    made: int
    flops: float
    bytes: int
    work_seconds: float
    seconds: float


class Plan(NamedTuple):
    """A profile on a data set, priced."""

    profile: str
    dataset: str
    label: str
    likelihood: str
    machine: Machine
    figures: dict[str, Cost]
    skipped: dict[str, str]
    kinds: dict[str, Cost]
    total: Cost


def chosen_experiments(dataset: str, likelihood: str, experiments: Iterable[str]) -> list[str]:
    """Return what ``make all`` runs of ``experiments``.

    The sweeps, and the data sheet that stands on their teachers, only where the paper's own setting is asked for; its
    protocol only where its curves show it.
    """
    left_out = set() if (dataset, likelihood_of(dataset, likelihood)) in CANDIDATES else {"calibrate_protocol"}
    if dataset == "binary_mnist" or likelihood != "default":
        left_out |= {*GRIDS, "teacher_sheet"}
    return [name for name in experiments if name not in left_out]


def price(artifacts: Sequence[Artifact], store: Store, machine: Machine) -> Cost:
    """Return the cost of some artifacts."""
    todo = [artifact for artifact in artifacts if not store.has_manifest(artifact)]
    seconds = {artifact.key: machine.seconds(work(artifact)) for artifact in todo}

    def in_parallel(artifact: Artifact) -> float:
        shares = min(machine.workers, artifact.shards) if isinstance(artifact, Bank) else 1
        return seconds[artifact.key] / shares

    chain = max(path_lengths(todo, in_parallel).values(), default=0.0)
    total = sum(seconds.values())
    return Cost(
        runs=len(artifacts),
        made=len(artifacts) - len(todo),
        flops=sum(work(artifact).flops for artifact in artifacts),
        bytes=sum(map(size, artifacts)),
        work_seconds=total,
        seconds=max(chain, total / machine.workers),
    )


def make_plan(
    experiments: Mapping[str, Any],
    machine: Machine,
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
    store: Store | None = None,
) -> Plan:
    """Return the price of ``experiments`` (name to the function that lists its runs); nothing is made or downloaded.

    Raises:
        VaelibError: not one of the experiments can be planned.
    """
    store, figures, skipped = store or Store(), {}, {}
    wanted: list[Artifact] = []
    with reading_once():
        for name, experiment in experiments.items():
            try:
                chosen = experiment(profile, dataset, likelihood, overrides)
            except VaelibError as error:
                skipped[name] = str(error)
                continue
            figures[name] = price(all_artifacts(chosen.runs), store, machine)
            wanted += chosen.runs
    if not figures:
        raise VaelibError("; ".join(dict.fromkeys(skipped.values())))
    everything = all_artifacts(wanted)
    kinds = {
        kind: price([artifact for artifact in everything if artifact.kind == kind], store, machine)
        for kind in dict.fromkeys(artifact.kind for artifact in everything)
    }
    total = price(everything, store, machine)
    return Plan(profile, chosen.dataset, chosen.data.label, likelihood, machine, figures, skipped, kinds, total)


def _amount(value: float, unit: str) -> str:
    """Return a large number with its prefix.

    >>> _amount(1.536e11, "B"), _amount(0, "FLOP")
    ('154 GB', '0 FLOP')
    """
    for prefix in ("", "k", "M", "G", "T", "P", "E"):
        if value < 999.5 or prefix == "E":
            return f"{value:.3g} {prefix}{unit}" if value < 999.5 else f"{value:,.0f} {prefix}{unit}"
        value /= 1000
    raise AssertionError


def _span(seconds: float) -> str:
    """Return a time that may be years.

    >>> _span(75), _span(464 * 3600), _span(0)
    ('1 min 15 s', '19.3 days', '0 s')
    """
    return f"{seconds / 86_400:,.1f} days" if seconds > 2 * 86_400 else duration(seconds)


def format_plan(plan: Plan) -> str:
    """Return the plan as a table for people."""
    head = f"{'':42} {'runs':>5} {'made':>5} {'work':>11} {'disk':>9} {'left':>14}"

    def line(name: str, cost: Cost) -> str:
        amounts = f"{_amount(cost.flops, 'FLOP'):>11} {_amount(cost.bytes, 'B'):>9}"
        return f"{name:42} {cost.runs:5} {cost.made:5} {amounts} {_span(cost.seconds):>14}"

    lines = [
        f"profile {plan.profile}: {plan.dataset} ({plan.label}), likelihood {plan.likelihood}; time left on {plan.machine.name}",
        head,
        *(line(f"{name} ({FIGURES[name]})" if name in FIGURES else name, cost) for name, cost in plan.figures.items()),
        line("in all, shared runs once", plan.total),
        "",
        *(line(f"  {kind}", cost) for kind, cost in plan.kinds.items()),
        "",
        f"left: {plan.total.work_seconds / 3600:,.1f} {plan.machine.unit}-hours (an estimate, good to a factor of about two)",
        *(f"not planned: {name}: {reason}" for name, reason in plan.skipped.items()),
    ]
    return "\n".join(lines)


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain data."""
    values = plan._asdict()
    return values | {
        "machine": plan.machine._asdict(),
        "figures": {name: {"figure": FIGURES.get(name, "")} | cost._asdict() for name, cost in plan.figures.items()},
        "kinds": {name: cost._asdict() for name, cost in plan.kinds.items()},
        "total": plan.total._asdict(),
    }
