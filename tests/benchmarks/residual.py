"""The residual VAE's training step beside this core's fp32 convolutions: ``python -m tests.benchmarks.residual``.

The step is everything but the likelihood (both networks, posterior, KL, Adam). Its ceiling: the same convolutions on
the same shapes, forward and both backward products in fp32, each alone and in the faster of the two memory layouts.
"""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaelib.models import MixtureOfLogistics, ResidualVAE
from vaelib.models.residual import PixelHead

from .clock import in_turn, spent
from .table import Row, lines

BATCH = 64
LAYOUTS = (torch.contiguous_format, torch.channels_last)


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


def measure(nc: int, channels: int, rounds: int = 6) -> tuple[float, dict[str, float], float]:
    """Return the GFLOP of a step of training, its seconds in ``fp32`` and ``bf16``, and its convolutions' alone."""
    torch.manual_seed(0)
    vae = ResidualVAE(nc, 1, channels, MixtureOfLogistics())
    calls = {name: training_step(vae, channels, amp) for name, amp in (("fp32", False), ("bf16", True))}
    work, layers = 0.0, convolutions(vae, channels)
    for number, (layer, x) in enumerate(layers):
        for layout in LAYOUTS:
            calls[f"{number}/{layout}"], gflop = alone(layer, x, layout)
        work += gflop
    seconds = in_turn({name: functools.partial(spent, call) for name, call in calls.items()}, rounds)
    least = sum(min(seconds[f"{number}/{layout}"] for layout in LAYOUTS) for number in range(len(layers)))
    return work, {name: seconds[name] for name in ("fp32", "bf16")}, least


def against_ceiling(nc: int, channels: int, quick: bool = False) -> Row:
    """Return a training step's rate beside that of its convolutions alone in float32."""
    work, step, least = measure(nc, channels, 1 if quick else 6)
    name = f"VAE training, residual, nc = {nc}, C = {channels}, 1 thread"
    return Row(name, "GFLOP/s", work / step["bf16"], work / least, "its float32 convolutions alone", 0.6)


def rows(quick: bool = False) -> list[Row]:
    """Return the steps of the networks a CPU can train, on one thread, in both precisions."""
    found = []
    for nc, channels in [(4, 1)] if quick else [(8, 3), (32, 3), (64, 1)]:
        work, step, least = measure(nc, channels, 1 if quick else 6)
        for precision, seconds in step.items():
            name = f"residual VAE nc = {nc}, C = {channels}, step in {precision}"
            found += [
                Row(name, "GFLOP/s", work / seconds, work / least, "its float32 convolutions alone"),
                Row(name, "images/s", BATCH / seconds),
            ]
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("\n".join(lines([against_ceiling(64, 3), *rows()])))
