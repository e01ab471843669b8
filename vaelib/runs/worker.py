"""What runs on a worker: one artifact, or one shard of a bank, tried twice, with a log of what went wrong."""

import contextlib
import gc
import os
import platform
import re
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ..errors import VaelibError
from .cluster import gpus_for
from .settings import Artifact, Bank
from .stages import make, make_shard
from .store import Store

TOPIC = "vaelib-progress"


def _own_device(device: str) -> str:
    """Return this worker's own GPU where the caller left the choice open and there are several.

    Its number is the last one in its name: 3 of ``LocalCluster``'s worker 3 and of ``dask worker --name gpu``'s gpu-3; without
    a name it is the port.
    """
    from distributed import get_worker

    gpus, number = len(gpus_for(device)), re.search(r"\d+$", str(get_worker().name))
    return f"cuda:{int(number[0]) % gpus}" if gpus > 1 and number else device


@contextlib.contextmanager
def _giving_memory_back() -> Iterator[None]:
    """Let others have the GPU's memory afterwards that this process would keep for the next time."""
    try:
        yield
    finally:
        if torch.cuda.is_initialized():
            gc.collect()
            torch.cuda.empty_cache()


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


def make_task(artifact: Artifact, store: Store, device: str, call: str, _: list) -> str:
    """Make one artifact; return its key."""
    device, report = _own_device(device), _teller(artifact.key, artifact.kind)
    attempt(store.log(artifact), call, lambda: make(artifact, store, device, report))
    return artifact.key


def shard_task(bank: Bank, number: int, store: Store, device: str, call: str, _: list) -> int:
    """Sample one shard of a bank; return its number."""
    device, report = _own_device(device), _teller(f"{bank.key}/{number}", "bank")
    log = store.log(bank).with_suffix(f".{number}.log")
    attempt(log, call, lambda: make_shard(bank, number, store, device, report))
    return number


def attempt(log: Path, call: str, work: Callable[[], Any]) -> None:
    """Do ``work``, once more if it fails for a reason that is not the user's to fix, and log what went wrong.

    A worker that dies cannot tell, but the log then says that the work was begun: by the same ``call`` at most twice.

    Raises:
        VaelibError: it failed or its worker died, and did so again.
    """
    begun = f"{call} begun by process {os.getpid()} on {platform.node()}\n"
    if _append(log, begun).count(f"{call} begun") > 2 and call:
        raise VaelibError(
            f"its worker process died twice, most likely for want of memory ({_memory()}): give fewer --workers, so that "
            f"each has more; its log is {log}"
        )
    for again in (True, False):
        try:
            with _giving_memory_back():
                work()
            break
        except VaelibError:
            log.unlink(missing_ok=True)  # its text says it all
            raise
        except Exception as error:
            _append(log, traceback.format_exc())
            if not again:
                raise VaelibError(f"{type(error).__name__}: {error}; its log is {log}") from error
    log.unlink(missing_ok=True)


def _memory() -> str:
    from distributed import get_worker

    return f"{get_worker().memory_manager.memory_limit / 2**30:.1f} GiB for this worker"


def _append(log: Path, text: str) -> str:
    """Add to a run's log and return the whole; a disk that takes nothing is reported by the run itself."""
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a+", encoding="utf-8") as file:
            file.write(text)
            file.seek(0)
            return file.read()
    return text
