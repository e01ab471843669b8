"""The Dask cluster that runs are made on: of this machine's cores or GPUs for as long as a call lasts, or another's."""

import contextlib
import logging
import math
import os
import threading
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from tqdm import tqdm

from ..errors import VaelibError
from ..precision import gpus_for
from .provenance import cores

# Ctrl-C reaches the whole process group; only the caller should act on it, by closing the cluster.
IGNORE_CTRL_C = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
# Dask's workers give freed memory back at once (MALLOC_TRIM_THRESHOLD_=65536); a training loop that frees and asks for
# the same megabytes at every step then spends half its time in page faults. 32 MiB is the largest threshold glibc takes.
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TOP_PAD_": str(2**26),
}
NEED = 2 * 2**30  # bytes that a worker of the laptop's budget stays below
CUDA_NEED = 6 * 2**30  # the same for one that has loaded CUDA's libraries
GPU_NEED, GPU_MOST = 8 * 2**30, 8  # bytes of a card for each of its workers, and the most of these
GPU, CORE = "gpu", "core"  # what a task asks of its worker; the one without a GPU is called CORE
DASHBOARD_AFTER = 5.0  # seconds after which somebody may want to look


@contextlib.contextmanager
def client_of(workers: int | None, scheduler: str | None, device: str = "auto") -> Iterator[Any]:
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
    count, share = share_out(workers, device)
    threads = _threads_each(workers, device)
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} | KEEP_MEMORY
    settings = {
        # Before the worker's process starts: glibc reads its settings once. (LocalCluster's `env` comes too late.)
        "distributed.nanny.pre-spawn-environ": environment,
        "distributed.worker.profile.enabled": False,
        # Results are keys alone: there is nothing to spill, and a worker that pauses would never go on.
        **{f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause")},
        "distributed.worker.memory.terminate": 0.95,
        # Dask blames every task that a dead worker had in its queue; `worker` counts those that were running.
        "distributed.scheduler.allowed-failures": 1000,
        # A nanny starts its worker again; a cluster would close it if that took 15 seconds, or if the worker died again meanwhile.
        "distributed.deploy.lost-worker-timeout": "365 days",
        # A worker that could not be started again must not leave the rest waiting for ever.
        "distributed.scheduler.no-workers-timeout": "3 minutes",
    }
    with dask.config.set(settings), environment_kept():  # nannies write their workers' settings into it, and more
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=share,
            silence_logs=logging.CRITICAL,
            preload=[IGNORE_CTRL_C],
            resources={GPU: 1},
        )
        if gpus_for(device):
            options = cluster.new_spec["options"] | {"resources": {CORE: 1}}
            cluster.worker_spec[CORE] = cluster.new_spec | {"options": options}
            cluster.scale(count + 1)
        with cluster, Client(cluster) as client:
            yield client


def place_of(gpu: bool, scheduler: str | None, device: str) -> str:
    """Return what a task asks of its worker: on our own cluster with GPUs, one that has a GPU, or the one that has none."""
    return "" if scheduler or not gpus_for(device) else GPU if gpu else CORE


def places(workers: int | None, scheduler: str | None, device: str) -> Counter:
    """Return how many tasks go on at once, by what they ask; a cluster that others run is handed all, and shares them out."""
    if scheduler:
        return Counter({"": math.inf})
    count, _ = share_out(workers, device)
    return Counter({GPU: count, CORE: 1} if gpus_for(device) else {"": count})


def _threads_each(workers: int | None, device: str) -> str:
    """Return the threads of each worker."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "2,1": that of the outermost level
    if given and not given.isdecimal():
        raise VaelibError(f"OMP_NUM_THREADS = {given} is no number of threads; give one, or unset it")
    return given or str(max(1, cores() // share_out(workers, device)[0]))


@contextlib.contextmanager
def threads_as_workers(device: str = "auto") -> Iterator[None]:
    """Within the block this process computes with as many threads as a worker would: sums of floats depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(_threads_each(None, device)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def environment_kept() -> Iterator[None]:
    """Leave the environment as it was before the block: whatever is written into it holds for all that comes after."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def share_out(workers: int | None, device: str = "auto") -> tuple[int, int]:
    """Return how many workers there are, and each one's share of the memory that this process may use, in bytes.

    Without a number (``workers``, else ``$VAELIB_WORKERS``): on a CPU one a core, as far as memory goes; on GPUs several a card,
    because a small network leaves most of it idle: one for each ``GPU_NEED`` bytes of the card that has least, as far as cores
    and memory go, and at most ``GPU_MOST``. So it depends on the machine and on nothing that changes while it runs.
    """
    from distributed import system

    memory = system.MEMORY_LIMIT
    count, gpus = workers or workers_wanted(), gpus_for(device)
    if count is None:
        count = max(1, min(cores(), memory // (CUDA_NEED if gpus else NEED)))
        if gpus:
            least = min(torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus)
            count = len(gpus) * max(1, min(workers_a_card(least), count // len(gpus)))
    return count, memory // (count + bool(gpus))  # with GPUs there is one more (:func:`client_of`)


def workers_a_card(memory: int) -> int:
    """Return how many workers share a GPU of so many bytes, where there are cores enough."""
    return max(1, min(GPU_MOST, memory // GPU_NEED))


def workers_wanted() -> int | None:
    """Return ``$VAELIB_WORKERS``, which notebooks and the Makefile hand on; None: not set.

    Raises:
        VaelibError: not a whole number from 1 on.
    """
    text = os.environ.get("VAELIB_WORKERS", "").strip()
    if text and not (text.isdecimal() and int(text) > 0):
        raise VaelibError(f"VAELIB_WORKERS = {text!r} is no number of workers; set it to 1 or more, or unset it")
    return int(text) if text else None


@contextlib.contextmanager
def dashboard(client: Any) -> Iterator[None]:
    """Print the address of Dask's own page once, if it takes long enough for somebody to look."""

    def say() -> None:
        if (link := client.dashboard_link) and find_spec("bokeh") and not os.environ.get("VAELIB_HEADLESS"):
            tqdm.write(f"what each worker is doing: {link}")

    timer = threading.Timer(DASHBOARD_AFTER, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
