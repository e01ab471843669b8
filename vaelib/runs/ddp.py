"""One teacher trained by several processes: GPUs or hosts that ``torchrun`` started.

    torchrun --standalone --nproc-per-node 8 -m vaelib teacher --profile paper --dataset cifar10

The first process holds the artifact's lock, writes its checkpoints and publishes it; the others compute and read the same
store. What comes out has the key that ``vaelib run`` looks for.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch
from torch import distributed

from ..precision import usable_gpus
from ..progress import Progress
from .engine import all_artifacts
from .settings import Artifact, Teacher
from .stages import make
from .stages.context import Context, pick_device, take_device
from .stages.diffusion import make_teacher
from .store import SCRATCH, Store


@contextlib.contextmanager
def _group() -> Iterator[tuple[int, int, torch.device]]:
    """Yield rank, number of processes and device; alone where ``torchrun`` started nothing."""
    if "WORLD_SIZE" not in os.environ:
        yield 0, 1, pick_device()
        return
    gpu = bool(usable_gpus())
    device = take_device(f"cuda:{os.environ['LOCAL_RANK']}" if gpu else "cpu")
    # The others wait while the first one prepares data, or for a lock, far longer than the ten minutes that nccl would.
    distributed.init_process_group("nccl" if gpu else "gloo", timeout=timedelta(days=1))
    try:
        yield distributed.get_rank(), distributed.get_world_size(), device
    finally:
        distributed.destroy_process_group()


def _agree(value: bool, count: int, device: torch.device) -> bool:
    """Return the first process's ``value`` in all of them; a meeting point too."""
    shared = torch.tensor(int(value), device=device)
    if count > 1:
        distributed.broadcast(shared, 0)
    return bool(shared)


def _lead(teacher: Teacher, store: Store, count: int, device: torch.device) -> None:
    with store.making(teacher, str(device)) as folder, Progress(1000, f"teacher, {count} processes", "%") as bar:
        if _agree(folder is not None, count, device):
            (folder / SCRATCH).mkdir(exist_ok=True)
            _agree(True, count, device)  # the folder is there

            def tell(share: float, note: str) -> None:
                bar.update(int(1000 * share) - bar.done, note)

            make_teacher(teacher, Context(store, folder, device, tell))


def train_teachers(wanted: Sequence[Artifact]) -> int:
    """Make the teachers behind ``wanted``, each by all processes of this group; return how many there are.

    Raises:
        VaelibError: more processes than a batch has passes (``teacher_microbatch``).
    """
    store = Store()
    teachers = [artifact for artifact in all_artifacts(wanted) if isinstance(artifact, Teacher)]
    with _group() as (rank, count, device):
        for teacher in teachers:
            if rank == 0:
                for one in all_artifacts([teacher.data]):  # a fold is made from a data set
                    make(one, store)
                _lead(teacher, store, count, device)
            elif _agree(False, count, device):  # it is not there yet
                _agree(False, count, device)
                make_teacher(teacher, Context(store, store.work_folder(teacher), device, lambda *_: None, lead=False))
            _agree(True, count, device)  # nobody leaves before it is published
    return len(teachers)
