"""How many decodings at once: chunk sizes follow the model and a memory setting in bytes, not a fixed number.

The price of a decoding is measured, on eight of them: the bytes of every tensor that the decoder and the likelihood make
on the way to log p(x|z). A pass without gradients frees most of them as it goes, one with gradients keeps them and makes
as many again, so the estimate errs on the safe side.

What a GPU has in all decides there, never what is free at the moment: another chunk is another order of adding numbers, and a
result must not depend on what a neighbour does. A sixteenth of a card leaves room for eight workers and their networks.
"""

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..errors import VaelibError

MEMORY = 2**30  # bytes, on a CPU
SHARE = 16  # part of a GPU's memory that one worker's chunk takes: 5 GiB of 80
AT_MOST = 1_000  # decodings at once on a CPU: more are no faster
PROBE = 8  # decodings


class _Written(TorchDispatchMode):
    """Counts the bytes of all tensors made inside; views and results written in place make none."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to skip the compiler PyTorch imports it: two seconds

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not function._schema.is_mutable and not function.is_view:
            self.bytes += sum(leaf.nbytes for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


@torch.no_grad()
def bytes_per_decoding(vae: nn.Module, x: Tensor, gradient: bool = False) -> int:
    """Return what log p(x|z) of one image (C, H, W) and one z holds at most, in bytes; ``gradient``: and its slope in z."""
    with _Written() as written:
        vae.likelihood.log_prob(vae.decode(x.new_zeros(PROBE, vae.d_z)), x.expand(PROBE, *x.shape))
    return max((2 if gradient else 1) * written.bytes // PROBE, 1)


def memory_of(device: torch.device, memory: int | None = None) -> int:
    """Return the bytes that a chunk may take: ``memory``, or 1 GiB on a CPU, a sixteenth of what a GPU has in all.

    Raises:
        VaelibError: no memory.
    """
    if memory is not None and memory < 1:
        raise VaelibError(f"memory = {memory} holds nothing; give bytes, for example 2**30, or None")
    if memory is None and device.type == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_properties(device).total_memory // SHARE
    return memory or MEMORY


def decodings_at_once(vae: nn.Module, x: Tensor, memory: int | None, gradient: bool = False, beside: int = 0) -> int:
    """Return how many decodings of images like ``x`` (B, C, H, W) fit in ``memory`` bytes, at least 1; on a CPU at most 1,000.

    Arguments:
        memory: bytes; None: :func:`memory_of` the device.
        gradient: each is differentiated in z.
        beside: bytes that are held beside each, for noise that is drawn ahead.

    Raises:
        VaelibError: no memory.
    """
    fit = max(memory_of(x.device, memory) // (bytes_per_decoding(vae, x[0], gradient) + beside), 1)
    return fit if x.is_cuda else min(fit, AT_MOST)
