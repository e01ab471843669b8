"""Running a graph of artifacts on both cores, all GPUs, or a cluster of ``dask.distributed``, the most urgent first.

Every task is :func:`vaelib.runs.stages.make`, idempotent by its key, so a lost worker or a killed process costs the
time since its last checkpoint. Upstream artifacts are made first; what is in the store is skipped, and if all of it
is, or what is left is done sooner than workers are started, no worker is.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..errors import VaelibError
from .cluster import client_of, dashboard, place_of, places, threads_as_workers, workers_wanted
from .cost.price import cost
from .graph_progress import GraphProgress, chain_lengths
from .kinds import kind_of
from .settings import Artifact, Bank, Data
from .stages import make
from .stages.context import pick_device
from .store import Store
from .worker import TOPIC, attempt, make_task

STARTING = 10.0  # seconds of one core that starting workers takes, since each imports torch
TAKEN_BACK = (
    "the scheduler took it back before it was made (somebody cancelled it, or restarted the cluster); run again"
)
KILLED = "its workers died again and again; their logs, where they were started, say why"


def all_artifacts(wanted: Sequence[Artifact], skip: Callable[[Artifact], bool] = lambda _: False) -> list[Artifact]:
    """Return ``wanted`` and everything they are made from, upstream first, each once; ``skip`` ends a branch."""
    found: dict[str, Artifact] = {}

    def visit(artifact: Artifact) -> None:
        if artifact.key not in found and not skip(artifact):
            for one in _needs(artifact):
                visit(one)
            found[artifact.key] = artifact

    for artifact in wanted:
        visit(artifact)
    return list(found.values())


def missing(wanted: Sequence[Artifact], store: Store) -> list[Artifact]:
    """Return what has to be made for ``wanted``, upstream first, each once."""
    return all_artifacts(wanted, store.has_manifest)


def _needs(artifact: Artifact) -> list[Artifact]:
    """Return the direct upstream artifacts, and theirs that the stage reads too (the data set)."""
    direct = artifact.upstream()
    return direct + [deep for one in direct for deep in _needs(one) if isinstance(deep, Data)]


def run(
    wanted: Sequence[Artifact],
    *,
    store: Store | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    title: str = "runs",
) -> None:
    """Make all of ``wanted`` and what they need; return when they are in the store.

    Arguments:
        workers: processes; default one a core, or several a GPU (:func:`~vaelib.runs.cluster.share_out`), and none where the
            work takes less than starting them. 0 makes everything in this process, one after another.
        scheduler: address of a running Dask scheduler (``tcp://host:8786``) whose workers see the same store.

    Raises:
        VaelibError: no such device, a negative number of workers, or workers beside a scheduler, at once; or runs failed, and
            the independent rest has been finished.
    """
    if workers is not None and workers < 0:
        raise VaelibError(
            f"workers = {workers} must be 0 (none but this process) or more; leave it out for one a core or GPU"
        )
    if scheduler is None:
        pick_device(device)
    elif not scheduler or workers is not None:  # its workers are there already, and know their own devices
        raise VaelibError(
            f"scheduler = {scheduler!r} must be an address, tcp://host:8786, and comes without a number of workers: leave one of "
            "the two out"
        )
    store = store or Store()
    todo = missing(wanted, store)
    if not todo:
        return
    try:
        if workers == 0:
            _run_here(todo, store, device, title)
        elif (
            workers is None
            and scheduler is None
            and not workers_wanted()
            and sum(cost(one, device) for one in todo) < STARTING
        ):
            with threads_as_workers(device):
                _run_here(todo, store, device, title)
        else:
            with client_of(workers, scheduler, device) as client:
                _run_on(client, todo, store, device, title, scheduler, places(workers, scheduler, device))
    except KeyboardInterrupt:
        print("stopped; the next run goes on from the last checkpoints", flush=True)
        raise


def _run_here(todo: Sequence[Artifact], store: Store, device: str, title: str) -> None:
    unmade: dict[str, str] = {}
    with GraphProgress(todo, title, 1, _keys(todo), partial(cost, device=device)) as shown:
        for artifact in todo:
            causes = [unmade[one.key] for one in _needs(artifact) if one.key in unmade]
            if causes:
                unmade[artifact.key] = causes[0]
                continue
            tell = partial(shown.tell, artifact.key, artifact.kind)
            try:
                attempt(store.log(artifact), "", partial(make, artifact, store, device, tell))
                shown.finish(artifact.key)
            except VaelibError as error:
                unmade[artifact.key] = str(error)
    _refuse(todo, unmade)


def _run_on(
    client: Any, todo: Sequence[Artifact], store: Store, device: str, title: str, scheduler: str | None, free: Counter
) -> None:
    """Hand out the most urgent of what can be made whenever a worker is ``free``, so that nothing waits in a worker's own queue."""
    from distributed import KilledWorker, as_completed

    # Of a cluster that others run a worker may be taken away at any time, which is nobody's fault.
    call = "" if scheduler else secrets.token_hex(4)
    price = partial(cost, device=device)
    path = path_lengths(todo, price)
    waiting = _tasks(sorted(todo, key=lambda one: -path[one.key]))  # nothing's path is longer than its upstream's
    made: set[str] = set()
    unmade: dict[str, str] = {}
    under_way, finished = {}, as_completed()
    where = {gpu: place_of(gpu, scheduler, device) for gpu in (True, False)}  # looks for GPUs: once

    def begin() -> None:
        for name, (artifact, shard, above) in list(waiting.items()):
            place = where[kind_of(artifact).gpu]
            if (cause := next((unmade[one] for one in above if one in unmade), None)) is not None:
                unmade[name] = cause
            elif made.issuperset(above) and free[place] > 0:
                free[place] -= 1
                options = {"resources": {place: 1}} if place else {}
                given = (artifact, shard, store, device, call)
                future = client.submit(
                    make_task, *given, key=f"{artifact.kind}-{name}", priority=path[artifact.key], pure=False, **options
                )
                under_way[future] = name, place
                finished.add(future)
            else:
                continue
            del waiting[name]

    with GraphProgress(todo, title, len(client.ncores()) or 1, _keys(todo), price) as shown, dashboard(client):
        client.subscribe_topic(TOPIC, lambda event: shown.tell(*event[1]))
        begin()
        for future in finished:
            name, place = under_way.pop(future)
            free[place] += 1
            if future.status == "finished":
                made.add(name)
                if name in path:
                    shown.finish(name)
            elif future.status == "error":
                error = future.exception()
                unmade[name] = KILLED if isinstance(error, KilledWorker) else str(error)
            else:
                unmade[name] = TAKEN_BACK
            begin()
        client.unsubscribe_topic(TOPIC)
    _refuse(todo, {name: cause for name, cause in unmade.items() if name in path})


def _tasks(todo: Sequence[Artifact]) -> dict[str, tuple[Artifact, int | None, list[str]]]:
    """Return the tasks by name, in the order of ``todo``: artifact, shard of a bank, and the tasks that come before it."""
    tasks: dict[str, tuple[Artifact, int | None, list[str]]] = {}
    keys = {artifact.key for artifact in todo}
    for artifact in todo:
        above = [one.key for one in _needs(artifact) if one.key in keys]
        if isinstance(artifact, Bank):
            shards = {f"{artifact.key}/{number}": number for number in range(artifact.shards)}
            tasks |= {name: (artifact, number, above) for name, number in shards.items()}
            above = list(shards)
        tasks[artifact.key] = artifact, None, above
    return tasks


def _refuse(todo: Sequence[Artifact], unmade: dict[str, str]) -> None:
    """Raise VaelibError if any of ``todo`` could not be made; ``unmade`` tells why, by key, in the order of failing."""
    kinds = {artifact.key: artifact.kind for artifact in todo}
    failures: dict[str, str] = {}  # dependants fail with their upstream's text, so each cause is told once
    for key, text in unmade.items():
        failures.setdefault(text, f"{kinds[key]} {key}")
    if failures:
        lines = "; ".join(f"{name}: {text}" for text, name in failures.items())
        waiting = f", {len(unmade) - len(failures)} more need them" if len(unmade) > len(failures) else ""
        raise VaelibError(
            f"{len(failures)} of {len(todo)} runs failed ({lines}){waiting}; the other {len(todo) - len(unmade)} are in "
            "the store: fix it and run again"
        )


def path_lengths(todo: Sequence[Artifact], price: Callable[[Artifact], float] = cost) -> dict[str, float]:
    """Return, for each artifact, the price of the longest chain of runs that begins with it: the priority to start by."""
    return chain_lengths(_keys(todo), {artifact.key: price(artifact) for artifact in todo})


def _keys(todo: Sequence[Artifact]) -> dict[str, list[str]]:
    """Return the keys that each artifact's key needs."""
    return {artifact.key: [one.key for one in _needs(artifact)] for artifact in todo}
