"""The modes that code runs in: a module's training or eval mode, autocast, gradients, TF32, inference tensors.

Whatever evaluates a module does so inside :func:`evaluating`, which gives every mode back.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from .errors import VaelibError

SIZES = 64  # PyTorch's own limit is 8


def tensors_of(module: nn.Module | None) -> Iterator[Tensor]:
    """Return all parameters and buffers; none of None."""
    return chain(module.parameters(), module.buffers()) if isinstance(module, nn.Module) else iter(())


def precision_of(module: nn.Module) -> torch.dtype:
    """Return the precision of a network's weights."""
    return next((one.dtype for one in module.parameters() if one.is_floating_point()), torch.float32)


def device_of(module: nn.Module) -> torch.device:
    """Return where a module lives (its first parameter's or buffer's device)."""
    return next(tensors_of(module), torch.empty(0)).device


@contextmanager
def _no_tf32() -> Iterator[None]:
    """Let a GPU multiply float32 as float32, not as TF32 with its ten bits of fraction; then give the settings back."""
    backends = torch.backends
    if hasattr(backends.cudnn, "conv"):  # PyTorch 2.9 and later
        places, name, off = (backends.cuda.matmul, backends.cudnn.conv), "fp32_precision", "ieee"
    else:
        places, name, off = (backends.cuda.matmul, backends.cudnn), "allow_tf32", False
    before = [getattr(place, name) for place in places]
    for place in places:
        setattr(place, name, off)
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(place, name, value)


@contextmanager
def evaluating(module: nn.Module, gradients: bool = False) -> Iterator[torch.device]:
    """Hold a module in eval mode and float32 (no autocast, no TF32), then give each part its own mode back; yields its device.

    Gradients are off, and so is inference mode, whose tensors could not take part in a gradient: inside,
    ``torch.enable_grad()`` works wherever the caller is. ``gradients``: some will be asked for.

    Raises:
        VaelibError: gradients asked through weights that were made in inference mode.
    """
    if gradients and any(one.is_inference() for one in tensors_of(module)):
        raise VaelibError("the model was made inside torch.inference_mode() and has no gradients; make it outside")
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        device = device_of(module)
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False), _no_tf32():
            yield device
    finally:
        for part, training in modes:
            part.training = training


def compile_in_place(module: nn.Module, trial: Callable[[], object], backend: str | Callable = "inductor") -> bool:
    """Compile a module where it stands and try it once; if that fails, say so in a line, leave it as it was, return False.

    Its weights keep their names, copies of it are not compiled, and random numbers go on as if nothing had been tried. Each batch
    size has code of its own, up to ``SIZES`` in a process, so that what a network computes does not depend on the sizes that came
    before, and dropout draws what it would draw uncompiled.

    Arguments:
        trial: calls the module as it will be called.
        backend: PyTorch's compiler by name, or a function.
    """
    device = device_of(module)
    options = {"fallback_random": True} if backend == "inductor" else None
    torch._dynamo.config.recompile_limit = SIZES  # of all networks together; what comes later would not be compiled
    module.compile(backend=backend, dynamic=False, options=options)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a compiler that would be faster elsewhere
            trial()
    # No C compiler, no Triton, a network that it cannot follow: each has an exception of its own.
    except Exception as error:
        module._compiled_call_impl = None
        tell_slower("the network is not compiled", error)
        return False
    return True


def tell_slower(what: str, error: Exception) -> None:
    """Say in one line that something goes another way, which is slower and gives the same, and why."""
    reason = " ".join(str(error).split()) or type(error).__name__
    print(f"{what}, which changes its speed alone ({reason[:200]})", flush=True)


def ordinary(tensor: Tensor) -> Tensor:
    """Return the tensor, or a copy that can take part in a gradient if it was made in inference mode."""
    return tensor.clone() if tensor.is_inference() and not torch.is_inference_mode_enabled() else tensor


def check_learning(what: str) -> None:
    """Raise VaelibError inside ``torch.no_grad()`` and ``torch.inference_mode()``, where nothing learns."""
    if not torch.is_grad_enabled():
        raise VaelibError(f"{what} needs gradients; call it outside torch.no_grad() and torch.inference_mode()")
