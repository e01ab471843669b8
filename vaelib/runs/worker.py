"""What runs on a worker: one artifact, or one shard of a bank, tried twice, with a log of what went wrong."""

import contextlib
import gc
import os
import platform
import re
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..errors import VaelibError
from ..precision import gpus_for
from .cluster import CORE
from .settings import Artifact
from .stages import make, make_shard
from .store import Store

TOPIC = "vaelib-progress"


def _own_device(device: str) -> str:
    """Return this worker's own GPU where the caller left the choice open and there are several.

    Its number is the last one in its name: 3 of ``LocalCluster``'s worker 3 and of ``dask worker --name gpu``'s gpu-3; without
    a name it is the port. The worker for what needs no GPU has none.
    """
    from distributed import get_worker

    if get_worker().name == CORE:
        return "cpu"
    gpus, number = gpus_for(device), re.search(r"\d+$", str(get_worker().name))
    return f"cuda:{gpus[int(number[0]) % len(gpus)]}" if len(gpus) > 1 and number else device


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


def make_task(artifact: Artifact, shard: int | None, store: Store, device: str, call: str) -> None:
    """Make one artifact, or sample one ``shard`` of a bank."""
    log, name, work = store.log(artifact), artifact.key, partial(make, artifact)
    if shard is not None:
        log, name, work = log.with_suffix(f".{shard}.log"), f"{name}/{shard}", partial(make_shard, artifact, shard)
    attempt(log, call, partial(work, store, _own_device(device), _teller(name, artifact.kind)))


def attempt(log: Path, call: str, work: Callable[[], Any]) -> None:
    """Do ``work``, once more if it fails for a reason that is not the user's to fix, and log what went wrong.

    A worker that dies cannot tell, but the log then says that the work was begun: by the same ``call`` at most twice.

    Raises:
        VaelibError: it failed or its worker died, and did so again.
    """
    begun = f"{call} begun by process {os.getpid()} on {platform.node()}\n"
    if _append(log, begun).count(f"{call} begun") > 2 and call:
        from distributed import get_worker

        raise VaelibError(
            "its worker process died twice, most likely for want of memory unless its log says more "
            f"({get_worker().memory_manager.memory_limit / 2**30:.1f} GiB for this worker): give fewer --workers, so that each has "
            f"more; its log is {log}"
        )
    for again in (True, False):
        try:
            work()
            break
        except VaelibError:
            log.unlink(missing_ok=True)  # its text says it all
            raise
        except torch.AcceleratorError:  # of the device, which this process cannot use any more
            _append(log, traceback.format_exc())
            if call or _watched():
                os._exit(1)  # Dask starts another, which tries once more
            raise
        except Exception as error:
            _append(log, traceback.format_exc())
            if not again:
                raise VaelibError(f"{type(error).__name__}: {error}; its log is {log}") from error
        finally:
            # Others may have what this process would keep.
            if torch.cuda.is_initialized() and torch.cuda.memory_reserved():
                gc.collect()
                with contextlib.suppress(RuntimeError):  # older PyTorch cannot after a capture that failed
                    torch.cuda.empty_cache()
    log.unlink(missing_ok=True)


def _watched() -> bool:
    """Return whether this is a worker of somebody's cluster with a nanny that would start it again."""
    from distributed import get_worker

    with contextlib.suppress(ValueError):  # no worker at all
        return get_worker().nanny is not None
    return False


def _append(log: Path, text: str) -> str:
    """Add to a run's log and return the whole; a disk that takes nothing is reported by the run itself."""
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a+", encoding="utf-8") as file:
            file.write(text)
            file.seek(0)
            return file.read()
    return text
