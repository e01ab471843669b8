"""Where bfloat16 pays: on hardware that multiplies it. Elsewhere it is emulated, many times slower than float32.

Which GPUs can be used at all: those that this build of PyTorch has kernels for.

And what no precision may yield: NaN or infinity, which comparing, clipping and bytes would turn into black or white pixels.
"""

import os
import re
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from .errors import NonFinite

RETRAIN = "train this VAE again with a lower lr or amp=False"  # the way out where a decoder gives NaN or infinity


def imagined(values: Tensor) -> bool:
    """Return True for fake and meta tensors, which have no values to ask."""
    return values.untyped_storage().device.type == "meta"


def require_finite(values: Tensor, numbers: Sequence[int], what: str, way_out: str) -> None:
    """Raise NonFinite unless all of ``values`` (B, ...) are finite; ``numbers`` are those of the B images in ``what``."""
    if imagined(values) or values.isfinite().all():
        return
    bad = [
        int(number)
        for number, one in zip(numbers, values.flatten(1).isfinite().all(1).tolist(), strict=True)
        if not one
    ]
    others = f" ({len(bad):,} of this batch's {len(values):,})" if len(bad) > 1 else ""
    raise NonFinite(f"image {bad[0]} of {what} holds NaN or infinity{others}; {way_out}")


def hold_in_bfloat16(module: nn.Module) -> None:
    """Round the weights that autocast would round to bfloat16 at every call, once: for a network that learns no more.

    These are the convolutions' and the linear layers'. What comes out has the same bits; normalisation stays in float32.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.to(torch.bfloat16)


@cache
def bf16_pays(device: str) -> bool:
    """Return True if this machine's ``cpu`` or ``cuda`` multiplies bfloat16 itself.

    ``amp`` settings ask for bfloat16 and get it only here. With the instruction missing, measured on one CPU by hiding
    it, the fully connected VAE trains at 0.15 (AVX2) to 0.66 (AVX-512) of float32's speed; with it at 1.3.
    """
    if device == "cuda":  # a GPU that is only imagined (fake tensors) counts as a recent one
        return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def usable_gpus() -> list[int]:
    """Return the numbers of the GPUs that this build of PyTorch has kernels for; PyTorch calls others available, too.

    Kernels built for one capability (``sm_75``) run on the same major number from that minor number on (7.5 to 7.9), those of
    an architecture's own (``sm_90a``) on that capability alone, and those that a driver builds (``compute_90``) on all later
    cards. A build that names none of these is not CUDA's, and believed.
    """
    if not torch.cuda.is_available():
        return []
    numbers = list(range(torch.cuda.device_count()))
    built = [re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", one) for one in torch.cuda.get_arch_list()]
    known = [(one[1], (int(one[2]), int(one[3])), one[4] == "a") for one in built if one]

    def fits(card: tuple[int, int]) -> bool:
        return any(
            card == low or (low < card and not own and (kind == "compute" or low[0] == card[0]))
            for kind, low, own in known
        )

    return [number for number in numbers if not known or fits(torch.cuda.get_device_capability(number))]


def mps_runs() -> bool:
    """Return True if NVIDIA's MPS is there, under which kernels of several processes run on a GPU at once, not in turn."""
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY") or "/tmp/nvidia-mps"
    return os.path.exists(os.path.join(folder, "control"))  # Path.exists raises where another user's folder is barred


def gpus_for(device: str) -> list[int]:
    """Return the GPUs that ``device`` means: all of them for ``auto`` and ``cuda``, one for ``cuda:1``, none for ``cpu``."""
    kind, _, number = device.partition(":")
    there = usable_gpus() if kind in ("auto", "cuda") else []
    return [int(number)] if number and there else there
