"""Randomness by name: every draw is a function of ``(seed, purpose, index)`` and of nothing drawn before.

So image ``i`` of a bank is the same image in any order and shard size, and a resumed run draws what an uninterrupted
one would have drawn. Generators live on the CPU: CUDA's streams depend on the card (its multiprocessor count).
"""

import contextlib
import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor


def derive(seed: int, purpose: str, index: int = 0) -> int:
    """Return a 63-bit seed for ``(seed, purpose, index)``, equal on every machine.

    >>> derive(0, "shuffle", 3) == derive(0, "shuffle", 3) != derive(0, "shuffle", 4)
    True
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """Return a fresh CPU generator for ``(seed, purpose, index)``."""
    return torch.Generator().manual_seed(derive(seed, purpose, index))


@contextlib.contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Within the block PyTorch's global generator of the CPU starts from ``(seed, purpose)``; a GPU's is not touched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, purpose))
        yield


def sent(drawn: Tensor, device: str | torch.device) -> Tensor:
    """Return what was drawn on the CPU on ``device``, without waiting for it: a GPU fetches from pinned memory alone so."""
    real = drawn.untyped_storage().device.type == "cpu"
    pinned = torch.device(device).type == "cuda" and torch.cuda.is_available() and real
    return (drawn.pin_memory() if pinned else drawn).to(device, non_blocking=True)


def normal(shape: tuple[int, ...], seed: int, purpose: str, index: int = 0, device: str | torch.device = "cpu"):
    """Return standard normal noise of ``shape``, drawn on the CPU and moved to ``device`` without waiting."""
    return sent(torch.randn(shape, generator=generator(seed, purpose, index)), device)
