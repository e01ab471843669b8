"""What a profile would cost before anything is made: runs, FLOPs, bytes and time, by figure and in all.

A run that several figures share counts in each of them and once in the total.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import VaelibError
from ..progress import duration
from ..runs.cost.price import Machine
from ..runs.cost.work import size, work
from ..runs.engine import all_artifacts, path_lengths
from ..runs.provenance import processor
from ..runs.settings import Artifact, Bank
from ..runs.stages.data import reading_once
from ..runs.store import Store
from ..text import how_many


class Cost(NamedTuple):
    """What some runs cost on a machine.

    Attributes:
        runs, made: artifacts in all, and those already in the store.
        flops, bytes: of all of them.
        work_seconds: of what is left, on one core or GPU with its workers.
        seconds: of what is left, on the whole machine: work shared out, but no shorter than the longest chain of runs.
        memory: bytes, the most that one process took for what is made already, on this kind of processor; 0: unknown.
    """

    runs: int
    made: int
    flops: float
    bytes: int
    work_seconds: float
    seconds: float
    memory: int = 0


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
    titles: Mapping[str, str] = {}


def price(artifacts: Sequence[Artifact], store: Store, machine: Machine) -> Cost:
    """Return the cost of some artifacts."""
    todo = [artifact for artifact in artifacts if not store.has_manifest(artifact)]
    amounts = {artifact.key: work(artifact) for artifact in artifacts}
    seconds = {artifact.key: machine.seconds(amounts[artifact.key]) for artifact in todo}
    busy = {artifact.key: machine.busy(amounts[artifact.key]) for artifact in todo}

    def in_parallel(artifact: Artifact) -> float:
        shards = artifact.shards if isinstance(artifact, Bank) else 1
        alone, shared = seconds[artifact.key], busy[artifact.key]
        return max(alone / min(machine.workers, shards), shared / min(machine.cards, shards))

    chain = max(path_lengths(todo, in_parallel).values(), default=0.0)
    held = max(sum(busy.values()), sum(seconds.values()) * machine.cards / machine.workers)
    return Cost(
        runs=len(artifacts),
        made=len(artifacts) - len(todo),
        flops=sum(amounts[artifact.key].flops for artifact in artifacts),
        bytes=sum(map(size, artifacts)),
        work_seconds=held,
        seconds=max(chain, held / machine.cards),
        memory=max((peak(store, artifact) for artifact in artifacts), default=0),
    )


def peak(store: Store, artifact: Artifact) -> int:
    """Return the bytes of memory that an artifact took here; 0: not made, made elsewhere or not known."""
    if not store.has_manifest(artifact):
        return 0
    environment = store.manifest(artifact).get("environment", {})
    return environment.get("peak_bytes") or 0 if environment.get("processor") == processor() else 0


def make_plan(
    experiments: Mapping[str, Any],
    machine: Machine,
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
    store: Store | None = None,
    titles: Mapping[str, str] | None = None,
) -> Plan:
    """Return the price of ``experiments``, functions by name that list runs; ``titles`` say what each is. Nothing is made.

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
    return Plan(
        profile, chosen.dataset, chosen.data.label, likelihood, machine, figures, skipped, kinds, total, titles or {}
    )


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
    known = plan.total.memory > 0
    head = f"{'':42} {'runs':>5} {'made':>5} {'work':>11} {'disk':>9} {'left':>14}" + f" {'memory':>9}" * known

    def line(name: str, cost: Cost) -> str:
        amounts = f"{_amount(cost.flops, 'FLOP'):>11} {_amount(cost.bytes, 'B'):>9}"
        memory = f" {_amount(cost.memory, 'B') if cost.memory else '–':>9}" * known
        return f"{name:42} {cost.runs:5} {cost.made:5} {amounts} {_span(cost.seconds):>14}{memory}"

    lines = [
        f"profile {plan.profile}: {plan.dataset} ({plan.label}), likelihood {plan.likelihood}; time left on {plan.machine.name}",
        head,
        *(
            line(f"{name} ({plan.titles[name]})" if plan.titles.get(name) else name, cost)
            for name, cost in plan.figures.items()
        ),
        line("in all, shared runs once", plan.total),
        "",
        "the same, by kind of run",
        *(line(f"  {kind}", cost) for kind, cost in plan.kinds.items()),
        "",
        *["memory: the most that one process took for what is made already, on this kind of processor"] * known,
        f"left: {plan.total.work_seconds / 3600:,.1f} {plan.machine.unit}-hours, with "
        f"{how_many(plan.machine.workers, 'worker')} (an estimate, {plan.machine.trust})",
        *(f"not planned: {name}: {reason}" for name, reason in plan.skipped.items()),
    ]
    return "\n".join(lines)


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain data."""
    values = plan._asdict()
    del values["titles"]
    return values | {
        "machine": plan.machine._asdict(),
        "figures": {
            name: {"figure": plan.titles.get(name, "")} | cost._asdict() for name, cost in plan.figures.items()
        },
        "kinds": {name: cost._asdict() for name, cost in plan.kinds.items()},
        "total": plan.total._asdict(),
    }
