"""How many decodings at once: chunk sizes follow the model and a memory setting in bytes, not a fixed number.

The price of a decoding is measured, on eight of them: the bytes of every tensor that the decoder and the likelihood make
on the way to log p(x|z). A pass without gradients frees most of them as it goes, one with gradients keeps them and makes
as many again, so the estimate errs on the safe side.
"""

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..errors import VaelibError

MEMORY = 2**30  # bytes, on a CPU
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


def decodings_at_once(vae: nn.Module, x: Tensor, memory: int | None, gradient: bool = False) -> int:
    """Return how many decodings of images like ``x`` (B, C, H, W) fit in ``memory`` bytes, at least 1.

    Without a setting: in 1 GiB on a CPU, in a quarter of what is free on a GPU. On a CPU never over 1,000.

    Raises:
        VaelibError: no memory.
    """
    if memory is not None and memory < 1:
        raise VaelibError(f"memory = {memory} holds nothing; give bytes, for example 2**30, or None")
    on_gpu = x.is_cuda and torch.cuda.is_available()
    if memory is None:
        memory = torch.cuda.mem_get_info(x.device)[0] // 4 if on_gpu else MEMORY
    fit = max(memory // bytes_per_decoding(vae, x[0], gradient), 1)
    return fit if on_gpu else min(fit, AT_MOST)
