"""How fast this machine does each kind of work, measured in about ten seconds.

One core (or one GPU) is timed, as the engine gives a run: a core on small networks of each kind; a GPU on networks so large
that its arithmetic counts, and on small ones for how long it waits for a kernel. The rates are kept in the build folder until
the machine or torch changes; other sizes than these run up to about twice as fast or slow.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from .. import files
from ..models import build_likelihood
from ..progress import track
from ..runs.cost.price import calibration_file, identity
from ..runs.cost.work import KERNELS, PASSES, PIXELS, teacher_macs, vae_macs
from ..runs.settings import Data, Network, Teacher, VAERun
from ..runs.stages import build_vae
from ..runs.stages.context import take_device
from ..runs.stages.diffusion import build_teacher
from ..samplers.bank import sample_images
from ..training.diffusion import train_denoiser
from ..training.distributions import TrainingDistribution
from ..training.vae import VAEState, train_vae

SECONDS = 1.0  # a kind, after a warm-up
IMAGES = 640
DATA = Data(name="calibration", n_train=IMAGES, n_test=1, label="noise", digest="")


class Sizes(NamedTuple):
    """What is timed: hidden units, channels and width of three networks, and the images of each step."""

    hidden: int
    nc: int
    width: int
    batch: int
    trained: int
    sampled: int
    mixtures: int


SMALL = Sizes(hidden=512, nc=32, width=32, batch=64, trained=32, sampled=100, mixtures=16)
LARGE = Sizes(hidden=4096, nc=256, width=128, batch=640, trained=512, sampled=500, mixtures=400)


def _rate(steps: Iterator[object], units: float, device: torch.device) -> float:
    """Return units a second, when each of ``steps`` does ``units``: by the fastest, so that other programs count less."""
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    next(steps)  # warms up
    end, fastest = time.perf_counter() + SECONDS, math.inf
    while time.perf_counter() < end:
        wait()
        start = time.perf_counter()
        next(steps)
        wait()
        fastest = min(fastest, time.perf_counter() - start)
    return units / fastest


def _noise(device: torch.device) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (IMAGES, 1, 32, 32), dtype=torch.uint8, generator=generator).to(device)


def _vae(network: Network, batch: int, device: torch.device) -> float:
    """Return the epochs a second of training a VAE."""
    state = VAEState(build_vae(network, 1).to(device), VAERun(data=DATA).lr)
    stream = TrainingDistribution(_noise(device), IMAGES)
    return _rate(train_vae(state, stream, epochs=10**6, batch_size=batch, amp=True), 1, device)


def _vae_flops(network: Network, batch: int, device: torch.device) -> float:
    return 6.0 * sum(vae_macs(network, 1)) * IMAGES * _vae(network, batch, device)


def _mixture(images: int, device: torch.device) -> float:
    """Return the components a second of a mixture of logistics in colour, with gradients."""
    likelihood, x = build_likelihood("mol"), torch.rand(images, 3, 32, 32, device=device)
    parameters = torch.randn(images, likelihood.channels_out(3), 32, 32, device=device, requires_grad=True)

    def steps() -> Iterator[None]:
        while True:
            likelihood.log_prob(parameters, x).sum().backward()
            yield

    return _rate(steps(), len(x) * 3 * PIXELS * likelihood.mixtures, device)


def _teacher(width: int) -> Teacher:
    return Teacher(data=DATA, network="small", width=width, dropout=0.0)


def _training(size: Sizes, device: torch.device) -> float:
    """Return the steps a second of training a teacher."""
    denoiser, batch = build_teacher(_teacher(size.width)).to(device), size.trained
    loop = train_denoiser(denoiser, _noise(device), n_images=10**9, batch_size=batch, report_every=batch)
    return _rate(loop, 1, device)


def _sampling(size: Sizes, device: torch.device) -> float:
    teacher, batch, steps = build_teacher(_teacher(size.width)).to(device), size.sampled, 2

    def samples() -> Iterator[object]:
        while True:
            yield sample_images(teacher, range(batch), channels=1, steps=steps, device=device, batch_size=batch)

    return _rate(samples(), 2.0 * teacher_macs(_teacher(size.width)) * batch * (2 * steps - 1), device)


def rates_of(device: torch.device, size: Sizes, waits: bool) -> dict[str, float]:
    """Measure every kind of work on networks of a size and, where there are ``waits``, how long small ones wait for a kernel."""
    fc, residual = Network(hidden=size.hidden), Network(architecture="residual", nc=size.nc, mz=1)
    kinds: dict[str, Callable[[], float]] = {
        "fc": lambda: _vae_flops(fc, size.batch, device),
        "residual": lambda: _vae_flops(residual, size.batch, device),
        "training": lambda: 6.0 * teacher_macs(_teacher(size.width)) * size.trained * _training(size, device),
        "sampling": lambda: _sampling(size, device),
        "mixture": lambda: _mixture(size.mixtures, device),
    }
    if waits:  # steps so small that they are all waiting: for Python, or in a graph for the kernel before
        started, captured, least = (
            PASSES * KERNELS["small"],
            KERNELS["fc"] * IMAGES / 64,
            size._replace(width=8, trained=1),
        )
        kinds["launch"] = lambda: 1 / (started * _training(least, device))
        kinds["shortest"] = lambda: 1 / (captured * _vae(Network(), 64, device))
    return {kind: measure() for kind, measure in track(kinds.items(), "calibration", "kinds")}


def calibrate() -> dict[str, float]:
    """Measure this machine, keep what was found in the build folder and return it."""
    device, threads = take_device("auto"), torch.get_num_threads()
    gpu = device.type == "cuda"
    torch.set_num_threads(1)
    try:
        rates = rates_of(device, LARGE if gpu else SMALL, waits=gpu)
    finally:
        torch.set_num_threads(threads)
    files.write_json(calibration_file(), {"machine": identity(), "rates": rates})
    return rates
