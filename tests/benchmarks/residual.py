"""The residual VAE's training step beside this core's fp32 convolutions: ``python -m tests.benchmarks.residual``.

The step is everything but the likelihood (both networks, posterior, KL, Adam). Its ceiling: the same convolutions on
the same shapes, forward and both backward products in fp32, each alone and in the faster of the two memory layouts.
"""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaelib.models import MixtureOfLogistics, ResidualVAE
from vaelib.models.residual import PixelHead

BATCH, ROUNDS = 64, 7
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return each call's median seconds of processor time: in one thread, without what a neighbour's load takes."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def training_step(vae: ResidualVAE, channels: int, amp: bool) -> Callable[[], None]:
    """Return one step of training with a constant gradient in place of the likelihood's."""
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-4, fused=True)
    x, eps = torch.rand(BATCH, channels, 32, 32), torch.randn(BATCH, vae.d_z)
    gradient = torch.randn_like(vae.decode(eps).detach())

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            q = vae.encode(x)
            params = vae.decode(q.rsample(eps))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([params, q.kl()], [gradient, torch.ones(BATCH)])
        optimizer.step()

    return step


def convolutions(vae: ResidualVAE, channels: int) -> list[tuple[nn.Module, Tensor]]:
    """Return every convolution of a forward pass with its input."""
    found: list[tuple[nn.Module, Tensor]] = []
    layers = [layer for layer in vae.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | PixelHead)]
    hooks = [layer.register_forward_hook(lambda layer, args, _: found.append((layer, args[0]))) for layer in layers]
    with torch.no_grad():
        vae.decode(vae.encode(torch.rand(BATCH, channels, 32, 32)).mu)
    for hook in hooks:
        hook.remove()
    return found


def alone(layer: nn.Module, x: Tensor, layout: torch.memory_format) -> tuple[Callable[[], object], float]:
    """Return one convolution's forward and backward products as a call, and the call's GFLOP."""
    function = F.conv_transpose2d if isinstance(layer, nn.ConvTranspose2d) else F.conv2d
    weight = layer.weight.detach()[(...,) + (None,) * (4 - layer.weight.ndim)]
    geometry = {"stride": getattr(layer, "stride", 1), "padding": getattr(layer, "padding", 0)}
    weight = weight.clone(memory_format=layout).requires_grad_()
    images = x.shape[2] == 32 and geometry["padding"]  # they need no gradient
    x = x.detach().clone(memory_format=layout).requires_grad_(not images)
    y = function(x, weight, **geometry)
    gradient, wanted = torch.randn_like(y), [tensor for tensor in (x, weight) if tensor.requires_grad]

    def call() -> object:
        return torch.autograd.grad(function(x, weight, **geometry), wanted, gradient)

    positions = min(y[0, 0].numel(), x[0, 0].numel()) if function is F.conv_transpose2d else y[0, 0].numel()
    return call, 2 * BATCH * positions * weight.numel() * (1 + len(wanted)) / 1e9


def measure(nc: int, channels: int) -> list[tuple[str, float, str]]:
    """Return the rows of one network."""
    torch.manual_seed(0)
    vae = ResidualVAE(nc, 1, channels, MixtureOfLogistics())
    calls = {f"{amp}": training_step(vae, channels, amp) for amp in (False, True)}
    work, layers = 0.0, convolutions(vae, channels)
    for number, (layer, x) in enumerate(layers):
        for layout in LAYOUTS:
            calls[f"{number}/{layout}"], gflop = alone(layer, x, layout)
        work += gflop
    seconds = medians(calls)
    ceiling = work / sum(min(seconds[f"{number}/{layout}"] for layout in LAYOUTS) for number in range(len(layers)))
    rows = [(f"residual VAE nc={nc} C={channels}, fp32 convolutions alone", ceiling, "GFLOP/s")]
    for name, amp in (("fp32", "False"), ("bf16", "True")):
        row, rate = f"residual VAE nc={nc} C={channels}, step {name}", work / seconds[amp]
        rows += [
            (row, BATCH / seconds[amp], "images/s"),
            (row, rate, "GFLOP/s"),
            (f"{row} over fp32 ceiling", rate / ceiling, "times"),
        ]
    return rows


def rows() -> list[tuple[str, float, str]]:
    """Return (what, value, unit) of the networks a CPU can train, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [row for nc in (8, 32, 64) for row in measure(nc, 3)] + measure(64, 1)
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    for name, value, unit in rows():
        print(f"{name:52} {value:10,.2f} {unit}")
