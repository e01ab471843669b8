"""How fast a GPU is at each kind of work: time, kernels, share of time that it computes, peak memory, share of what it can."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from vaelib import gaps
from vaelib.models import FullyConnectedVAE, ResidualVAE
from vaelib.precision import bf16_pays
from vaelib.runs.cost.work import teacher_macs, vae_macs
from vaelib.runs.settings import Data, Network, Teacher
from vaelib.runs.stages.diffusion import build_teacher, compile_to_train
from vaelib.samplers.bank import sample_images
from vaelib.training import TrainingDistribution, VAEState, train_vae
from vaelib.training.diffusion import train_denoiser

from .agreement import images


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _measure(
    name: str, call: Callable[[], object], device: str, units: int, flops: float, roof: float
) -> dict[str, Any]:
    """Return a row: ``call`` does ``units`` steps of ``flops`` each, once to warm up; what does not fit on the card says so."""
    try:
        return {"what": name} | _measured(call, device, units, flops, roof)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return {"what": name, "ms": None, "left out": "more memory than the card has"}


def _measured(call: Callable[[], object], device: str, units: int, flops: float, roof: float) -> dict[str, Any]:
    call()
    _wait(device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    call()
    _wait(device)
    seconds = time.perf_counter() - start
    row = {"ms": 1e3 * seconds / units, "roofline": flops * units / seconds / roof}
    if device == "cpu":
        return row | {"kernels": None, "busy": None, "peak_mib": None}
    peak = torch.cuda.max_memory_allocated() / 2**20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        call()
        _wait(device)
    on_gpu = [event for event in profiler.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    busy = sum(event.time_range.elapsed_us() for event in on_gpu) / 1e6
    return row | {"kernels": len(on_gpu) / units, "busy": busy / seconds, "peak_mib": peak}


def roof(device: str, quick: bool) -> float:
    """Return the FLOP/s of a large product of matrices, in bfloat16 where the hardware multiplies it."""
    size, dtype = 256 if quick else 8_192, torch.bfloat16 if bf16_pays(device) else torch.float32
    a = torch.randn(size, size, device=device, dtype=dtype)
    a @ a
    _wait(device)
    start = time.perf_counter()
    for _ in range(5):
        a @ a
    _wait(device)
    return 5 * 2 * size**3 / (time.perf_counter() - start)


def rows(device: str, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the table's rows."""
    best, steps = roof(device, quick), 2 if quick else 64
    yield {"what": f"product of matrices, {best / 1e12:.1f} TFLOP/s", "ms": None, "roofline": 1.0}
    networks = {
        "VAE, fully connected": (Network(), lambda: FullyConnectedVAE()),
        **{
            f"VAE, residual, nc = {nc}": (
                Network(architecture="residual", nc=nc, likelihood="mol"),
                lambda nc=nc: ResidualVAE(nc, 1, 1),
            )
            for nc in ((8,) if quick else (128, 256))
        },
    }
    for name, (network, make) in networks.items():
        count = steps if network.architecture == "fc" else max(steps // 4, 2)
        pool = images(64 * count).to(device)
        loop = train_vae(VAEState(make().to(device)), TrainingDistribution(pool, len(pool)), epochs=99, batch_size=64)
        flops = 6.0 * sum(vae_macs(network, 1)) * 64
        yield _measure(f"{name}, a step of 64", lambda loop=loop: next(loop), device, count, flops, best)
    vae, many, climb = FullyConnectedVAE().to(device), 8 if quick else 2_000, 5 if quick else 100
    x = images(many).to(device)
    decode = vae_macs(Network(), 1)[1]
    yield _measure(
        f"ELBO*, {many:,} images, {climb} steps",
        lambda: gaps.optimize_posterior(vae, x, max_steps=climb, tol=0.0),
        device, 1, 2.0 * decode * many * climb * 4, best,
    )  # fmt: skip
    pairs, attack = (2, 2) if quick else (50, 50)
    floats = x[:pairs].float() / 255
    yield _measure(
        f"attack, {pairs} images, 10 restarts, {attack} steps",
        lambda: gaps.attack_encoder(vae, floats, restarts=10, steps=attack),
        device, 1, 4.0 * vae_macs(Network(), 1)[0] * pairs * 10 * attack, best,
    )  # fmt: skip
    data = Data(name="check", n_train=64, n_test=1, label="noise", digest="")
    for width in (16,) if quick else (64, 128):
        teacher = Teacher(data=data, network="small" if quick else "edm", width=width)
        batch, count = (4, 1) if quick else (128, 4)
        calls, size = 3, 4 if quick else 100
        for compiled in ("",) if device == "cpu" else ("", ", compiled"):
            net = build_teacher(teacher).to(device)
            if compiled and not compile_to_train(net, images(batch).to(device).float()):
                continue  # a line above says why
            loop = train_denoiser(
                net, images(64), n_images=10**9, batch_size=batch, report_every=batch * count, device=device
            )
            yield _measure(
                f"teacher, width {width}, a step of {batch}{compiled}",
                lambda loop=loop: next(loop),
                device,
                count,
                6.0 * teacher_macs(teacher) * batch,
                best,
            )
            yield _measure(
                f"bank, width {width}, {size} images, {calls} calls{compiled}",
                partial(sample_images, net, range(size), channels=1, steps=2, batch_size=size, device=device),
                device,
                1,
                2.0 * teacher_macs(teacher) * size * calls,
                best,
            )
