"""How fast this machine does each kind of work, measured in about ten seconds on small networks of that kind.

One core (or one GPU) is timed, as the engine gives a run. The rates are kept in the build folder until the machine or
torch changes; other sizes than these run up to about twice as fast or slow.
"""

import math
import time
from collections.abc import Callable, Iterator

import torch

from ... import files
from ...models import build_likelihood
from ...progress import track
from ...samplers.bank import sample_images
from ...training.diffusion import train_denoiser
from ...training.distributions import TrainingDistribution
from ...training.vae import VAEState, train_vae
from ..settings import Data, Network, Teacher, VAERun
from ..stages import build_vae
from ..stages.context import pick_device
from ..stages.diffusion import build_teacher
from .price import calibration_file, identity
from .work import PIXELS, teacher_macs, vae_macs

SECONDS = 1.0  # a kind, after a warm-up
IMAGES = 640
DATA = Data(name="calibration", n_train=IMAGES, n_test=1, label="noise", digest="")
TEACHER = Teacher(data=DATA, network="small", width=32, dropout=0.0)


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


def _vae(network: Network, device: torch.device) -> float:
    """Return the FLOP/s of training a VAE; a step of the loop is an epoch."""
    run = VAERun(data=DATA, network=network)
    state = VAEState(build_vae(network, 1).to(device), run.lr)
    stream = TrainingDistribution(_noise(device), IMAGES)
    loop = train_vae(state, stream, epochs=10**6, batch_size=run.batch_size, amp=True)
    return _rate(loop, 6.0 * sum(vae_macs(network, 1)) * IMAGES, device)


def _mixture(device: torch.device) -> float:
    """Return the components a second of a mixture of logistics in colour, with gradients."""
    likelihood, x = build_likelihood("mol"), torch.rand(16, 3, 32, 32, device=device)
    parameters = torch.randn(16, likelihood.channels_out(3), 32, 32, device=device, requires_grad=True)

    def steps() -> Iterator[None]:
        while True:
            likelihood.log_prob(parameters, x).sum().backward()
            yield

    return _rate(steps(), len(x) * 3 * PIXELS * likelihood.mixtures, device)


def _training(device: torch.device) -> float:
    batch = 32
    loop = train_denoiser(
        build_teacher(TEACHER).to(device), _noise(device), n_images=10**9, batch_size=batch, report_every=batch
    )
    return _rate(loop, 6.0 * teacher_macs(TEACHER) * batch, device)


def _sampling(device: torch.device) -> float:
    teacher, batch, steps = build_teacher(TEACHER).to(device), 100, 2

    def samples() -> Iterator[object]:
        while True:
            yield sample_images(teacher, range(batch), channels=1, steps=steps, device=device, batch_size=batch)

    return _rate(samples(), 2.0 * teacher_macs(TEACHER) * batch * (2 * steps - 1), device)


def calibrate() -> dict[str, float]:
    """Measure every kind of work, keep the rates in the build folder and return them."""
    device, threads = pick_device(), torch.get_num_threads()
    residual = Network(architecture="residual", nc=32, mz=1)
    kinds: dict[str, Callable[[], float]] = {
        "fc": lambda: _vae(Network(), device),
        "residual": lambda: _vae(residual, device),
        "training": lambda: _training(device),
        "sampling": lambda: _sampling(device),
        "mixture": lambda: _mixture(device),
    }
    torch.set_num_threads(1)
    try:
        rates = {kind: measure() for kind, measure in track(kinds.items(), "calibration", "kinds")}
    finally:
        torch.set_num_threads(threads)
    files.write_json(calibration_file(), {"machine": identity(), "rates": rates})
    return rates
