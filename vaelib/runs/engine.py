"""Running a graph of artifacts on both cores, all GPUs, or a cluster: ``dask.distributed`` and nothing of our own.

Every task is :func:`vaelib.runs.stages.make`, idempotent by its key, so a lost worker or a killed process costs the
time since its last checkpoint. Upstream artifacts are made first; what is in the store is skipped, and if all of it
is, no worker is started.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from ..errors import VaelibError
from .board import Board, chain_lengths
from .price import cost
from .settings import Artifact, Bank, Data
from .stages import make, make_shard
from .store import Store, cores

TOPIC = "vaelib-progress"
# Ctrl-C reaches the whole process group; only the caller should act on it, by closing the cluster.
IGNORE_CTRL_C = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
# Dask's workers give freed memory back at once (MALLOC_TRIM_THRESHOLD_=65536); a training loop that frees and asks for
# the same megabytes at every step then spends half its time in page faults. 32 MiB is the largest threshold glibc takes.
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TOP_PAD_": str(2**26),
}


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
        workers: processes; default one a core, or one a GPU. 0 makes everything in this process, one after another.
        scheduler: address of a running Dask scheduler (``tcp://host:8786``) whose workers see the same store.

    Raises:
        VaelibError: runs failed; the independent rest has been finished.
    """
    store = store or Store()
    todo = missing(wanted, store)
    if not todo:
        return
    try:
        if workers == 0:
            _run_here(todo, store, device, title)
        else:
            with _client(workers, scheduler) as client:
                _run_on(client, todo, store, device, title)
    except KeyboardInterrupt:
        print("stopped; the next run goes on from the last checkpoints", flush=True)
        raise


def _run_here(todo: Sequence[Artifact], store: Store, device: str, title: str) -> None:
    with Board(todo, title, 1, _keys(todo)) as board:
        for artifact in todo:
            make(artifact, store, device, lambda share, note, a=artifact: board.tell(a.key, a.kind, share, note))
            board.tell(artifact.key, artifact.kind, 1.0, "")


@contextlib.contextmanager
def _client(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    """Yield a Dask client: of a running scheduler, or of a cluster that lives as long as the call."""
    import dask
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout=15)
        except (OSError, TimeoutError, ValueError) as error:
            raise VaelibError(
                f"scheduler = {scheduler} does not answer ({error}); check the address, tcp://host:port"
            ) from None
        with client:
            yield client
        return
    gpus = torch.cuda.device_count()
    count = workers or gpus or cores()
    threads = max(1, cores() // count)
    environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} | KEEP_MEMORY
    settings = {
        # Before the worker's process starts: glibc reads its settings once. (LocalCluster's `env` comes too late.)
        "distributed.nanny.pre-spawn-environ": environment,
        "distributed.worker.profile.enabled": False,
    }
    with dask.config.set(settings):
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=None,  # the runs know their size; a worker killed at a guess would only lose work
            silence_logs=logging.CRITICAL,
            preload=[IGNORE_CTRL_C],
        )
        with cluster, Client(cluster) as client:
            yield client


def _run_on(client: Any, todo: Sequence[Artifact], store: Store, device: str, title: str) -> None:
    from distributed import as_completed

    futures: dict[str, Any] = {}
    with Board(todo, title, len(client.ncores()) or 1, _keys(todo)) as board:
        client.subscribe_topic(TOPIC, lambda event: board.tell(*event[1]))
        path = path_lengths(todo)
        for artifact in todo:
            after = [futures[one.key] for one in _needs(artifact) if one.key in futures]
            options = {"priority": path[artifact.key], "pure": False}
            if isinstance(artifact, Bank):
                after = [
                    client.submit(
                        _shard, artifact, number, store, device, after, key=f"shard-{artifact.key}-{number}", **options
                    )
                    for number in range(artifact.shards)
                ]
            futures[artifact.key] = client.submit(
                _task, artifact, store, device, after, key=f"{artifact.kind}-{artifact.key}", **options
            )
        names = {futures[artifact.key]: artifact for artifact in todo}
        failures: dict[str, str] = {}  # dependants fail with their upstream's text, so each cause is told once
        unmade = 0
        for future in as_completed(list(names)):
            artifact = names[future]
            if future.status == "error":
                failures.setdefault(str(future.exception()), f"{artifact.kind} {artifact.key}")
                unmade += 1
            else:
                board.finish(artifact.key)
        client.unsubscribe_topic(TOPIC)
    if failures:
        lines = "; ".join(f"{name}: {text}" for text, name in failures.items())
        waiting = f", {unmade - len(failures)} more need them" if unmade > len(failures) else ""
        raise VaelibError(
            f"{len(failures)} of {len(todo)} runs failed ({lines}){waiting}; the other {len(todo) - unmade} are in the "
            "store: mend it and run again"
        )


def path_lengths(todo: Sequence[Artifact], price: Callable[[Artifact], float] = cost) -> dict[str, float]:
    """Return, for each artifact, the price of the longest chain of runs that begins with it: the priority to start by."""
    return chain_lengths(_keys(todo), {artifact.key: price(artifact) for artifact in todo})


def _keys(todo: Sequence[Artifact]) -> dict[str, list[str]]:
    """Return the keys that each artifact's key needs."""
    return {artifact.key: [one.key for one in _needs(artifact)] for artifact in todo}


def _own_device(device: str) -> str:
    """Return this worker's own GPU where the caller left the choice open and there are several."""
    from distributed import get_worker

    gpus, number = torch.cuda.device_count(), get_worker().name
    return f"cuda:{number % gpus}" if device == "auto" and gpus > 1 and isinstance(number, int) else device


def _teller(name: str, kind: str):
    """Return a report function that sends at most two messages a second to whoever watches."""
    from distributed import get_worker

    worker, last = get_worker(), 0.0

    def tell(share: float, note: str) -> None:
        nonlocal last
        if time.monotonic() - last > 0.5:
            last = time.monotonic()
            worker.log_event(TOPIC, [name, kind, share, note])

    return tell


def _task(artifact: Artifact, store: Store, device: str, _: list) -> str:
    """Run on a worker: make one artifact, once more if it fails for a reason that is not the user's to mend."""
    device, report = _own_device(device), _teller(artifact.key, artifact.kind)
    try:
        make(artifact, store, device, report)
    except VaelibError:
        raise
    except Exception:
        logging.getLogger(__name__).exception("%s %s failed, trying once more", artifact.kind, artifact.key)
        make(artifact, store, device, report)
    return artifact.key


def _shard(bank: Bank, number: int, store: Store, device: str, _: list) -> int:
    make_shard(bank, number, store, _own_device(device), _teller(f"{bank.key}/{number}", "bank"))
    return number
