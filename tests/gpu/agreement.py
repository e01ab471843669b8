"""That a GPU computes what a CPU does: each check returns what it found and whether that is enough."""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vaelib import gaps
from vaelib.data import NAIVE
from vaelib.models import VAE, FullyConnectedVAE, Gaussian, MixtureOfLogistics, ResidualVAE
from vaelib.models.denoiser import build_denoiser
from vaelib.modes import _no_tf32
from vaelib.samplers.bank import sample_images
from vaelib.training import Regulariser, TrainingDistribution, VAEState, train_vae
from vaelib.training import vae as training
from vaelib.training.diffusion import DiffusionState, train_denoiser


class Found(NamedTuple):
    """What a check found: a number, what it may be at most, and what it is."""

    value: float
    most: float
    what: str

    @property
    def good(self) -> bool:
        """Return True if the number is small enough; NaN is not."""
        return self.value <= self.most


def images(n: int = 256, channels: int = 1) -> Tensor:
    """Return blurred noise, bytes: as smooth as a photograph, so that a VAE has something to learn."""
    noise = torch.rand(n, channels, 32, 32, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.avg_pool2d(noise, 7, 1, 3, count_include_pad=False)
    return ((smooth - 0.3) * 640).clamp(0, 255).to(torch.uint8)


def vaes() -> dict[str, VAE]:
    """Return small VAEs of every kind, on the CPU."""
    torch.manual_seed(0)
    mixtures = {rgb: MixtureOfLogistics(4, rgb=rgb) for rgb in ("pixelcnnpp", "zhang2022")}
    return {
        "fully connected": FullyConnectedVAE(),
        "residual": ResidualVAE(16, 1, 1, Gaussian()),
        **{f"residual, {rgb}": ResidualVAE(8, 1, 3, likelihood) for rgb, likelihood in mixtures.items()},
    }


def small_teacher() -> nn.Module:
    """Return a small U-Net with attention, whose output depends on its input."""
    torch.manual_seed(0)
    net = build_denoiser(1, width=32, multipliers=(1, 2), blocks=1, attention=(16,), dropout=0.0, amp=False)
    nn.init.normal_(net.network.unet.conv_out.weight, std=0.2)
    return net


def apart(one: Tensor, other: Tensor) -> float:
    """Return the largest difference relative to the largest value."""
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-30))


@contextmanager
def captured(on: bool) -> Iterator[None]:
    """Let steps be captured, or not."""
    before, training.CAPTURED_ON = training.CAPTURED_ON, ("cuda",) if on else ()
    try:
        yield
    finally:
        training.CAPTURED_ON = before


REMEDIES = Regulariser(dropout=0.2, denoising=0.1, consistency=0.1, transform=NAIVE)  # a warm-up must know its end


def trained(
    vae: VAE,
    device: str,
    epochs: int,
    *,
    amp: bool = False,
    at: int | None = None,
    augmented: bool = False,
    regulariser: Regulariser | None = None,
) -> dict[str, Tensor]:
    """Return a copy of the VAE's state after some epochs of 4 steps; ``at``: saved there and loaded into a new one."""
    state, start = VAEState(copy.deepcopy(vae).to(device)), 0
    for stop in [epochs] if at is None else [at, epochs]:
        if start:
            saved, state = state.tensors(), VAEState(copy.deepcopy(vae).to(device))
            state.load({name: tensor.cpu().clone() for name, tensor in saved.items()}, start)
        stream = TrainingDistribution(
            images(256, vae.channels).to(device), 256, augmentation=NAIVE if augmented else None
        )
        for _ in train_vae(state, stream, epochs=stop, batch_size=64, amp=amp, regulariser=regulariser):
            pass
        start = stop
    return {name: tensor.cpu().clone() for name, tensor in state.tensors().items()}


def farthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the largest of all tensors' differences."""
    return max(apart(one[name].float(), other[name].float()) for name in one if name.startswith("vae."))


def scored(vae: VAE, tensors: dict[str, Tensor]) -> float:
    """Return the mean ELBO, on the CPU, of a VAE with the weights of a state."""
    one = copy.deepcopy(vae)
    one.load_state_dict({name[4:]: tensor for name, tensor in tensors.items() if name.startswith("vae.")})
    return float(gaps.evaluate_elbo(one, images(256, vae.channels)).mean())


def elbo_and_gradients(device: str) -> Iterator[tuple[str, Found]]:
    """Compare the ELBO and its gradients, TF32 off."""
    for name, vae in vaes().items():
        x, found = images(32, vae.channels).float() / 255, []
        eps = torch.randn(32, vae.d_z, generator=torch.Generator().manual_seed(1))
        for place in ("cpu", device):
            one = copy.deepcopy(vae).to(place)
            with _no_tf32():
                value = one(x.to(place), eps.to(place))
                value.mean().backward()
            found.append((value, torch.cat([p.grad.flatten() for p in one.parameters()])))
        (value, gradient), (ours, its) = found
        yield f"ELBO, {name}", Found(apart(ours, value), 1e-5, "relative")
        yield (
            f"its gradient, {name}",
            Found(apart(its, gradient), 1e-5 if name == "fully connected" else 1e-4, "relative"),
        )


def training_steps(device: str) -> Iterator[tuple[str, Found]]:
    """Compare the ELBO after 20 steps; then resumed with straight, and captured with eager, both bit for bit."""
    with deterministic():
        yield from _training_steps(device)


@contextmanager
def deterministic() -> Iterator[None]:
    """Let convolutions add in one order; by the attribute, since ``cudnn.flags`` reads settings that may not be read now."""
    before, torch.backends.cudnn.deterministic = torch.backends.cudnn.deterministic, True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def _training_steps(device: str) -> Iterator[tuple[str, Found]]:
    for name, vae in vaes().items():
        with _no_tf32():
            here, there = (scored(vae, trained(vae, place, 5, augmented=True)) for place in ("cpu", device))
        # Not the weights: Adam moves one whose gradient is nothing but rounding as far as any other.
        yield f"ELBO after 20 steps, {name}", Found(abs(there / here - 1), 1e-2, "relative")
        for amp, regulariser in ((False, None), (True, None), (False, REMEDIES)):
            options = {"amp": amp, "regulariser": regulariser}
            with captured(False):
                eager, again = trained(vae, device, 5, **options), trained(vae, device, 5, **options)
            ours, resumed = trained(vae, device, 5, **options), trained(vae, device, 5, **options, at=2)
            # Some kernels add in any order: then eager differs from itself, and captured may differ as much.
            noise = 2 * farthest(again, eager)
            label = f"{name}{', bfloat16' if amp else ''}{', regularised' if regulariser else ''}"
            yield f"captured and eager, {label}", Found(farthest(ours, eager), noise, "relative; eager and eager twice")
            yield (
                f"resumed and straight, {label}",
                Found(farthest(resumed, ours), noise, "relative; eager and eager twice"),
            )


def teacher(device: str) -> Iterator[tuple[str, Found]]:
    """Compare Heun's samples, and the average of a teacher's weights after 10 steps with that of PyTorch's AveragedModel."""
    here, there = (
        sample_images(small_teacher(), range(20), channels=1, steps=4, batch_size=10, device=place).int()
        for place in ("cpu", device)
    )
    yield "Heun's samples", Found(float((here - there).abs().max()), 1, "grey levels")
    net = small_teacher()
    state = DiffusionState(net)
    theirs = torch.optim.swa_utils.AveragedModel(
        net.to(device),
        multi_avg_fn=lambda mean, now, _: torch._foreach_lerp_(mean, now, 1 - state.decay),
        use_buffers=True,
    )
    options = {"n_images": 160, "batch_size": 16, "lr_rampup": 0, "ema_halflife": 50, "report_every": 16, "amp": False}
    for _ in train_denoiser(net, images(64), device=device, state=state, **options):
        theirs.update_parameters(net)
    differ = [apart(a, b) for a, b in zip(state.average.parameters(), theirs.module.parameters(), strict=True)]
    yield "the teacher's average, after PyTorch's", Found(max(differ), 0, "relative")


def measured(device: str) -> Iterator[tuple[str, Found]]:
    """Compare ELBO* and the attack."""
    vae, x = vaes()["fully connected"], images(24)
    labels = torch.arange(24) % 2
    stars, robust = [], []
    for place in ("cpu", device):
        one = copy.deepcopy(vae).to(place)
        stars.append(gaps.optimize_posterior(one, x.to(place), max_steps=100).elbo_star)
        found = gaps.robustness_gap(
            one, x.to(place), labels.to(place), n_images=8, restarts=2, steps=5, reconstruction="mean"
        )
        robust.append(found.gap.mean())
    yield "ELBO*", Found(apart(stars[1], stars[0]), 1e-3, "relative")
    yield "robustness gap", Found(float((robust[1] - robust[0]).abs()), 0.02, "MS-SSIM")


def _waits(step: Callable[[], object], device: str) -> list[str]:
    """Return where Python waited for the GPU during ``step``; nothing is known of it on a CPU."""
    if device == "cpu":
        step()
        return []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return waited(told)


def waited(told: list[warnings.WarningMessage]) -> list[str]:
    """Return the places of waits; PyTorch also warns, once, that it may not "detect all synchronizing operations"."""
    return [f"{one.filename}:{one.lineno}" for one in told if "called a synchronizing" in str(one.message)]


def syncs(device: str) -> Iterator[tuple[str, Found]]:
    """Count waits in an epoch of 16 steps after the first; its mean ELBO is read once."""
    for name, vae in vaes().items():
        for augmentation in (None, NAIVE):
            pool = images(1_024, vae.channels).to(device)
            loop = train_vae(
                VAEState(vae.to(device)),
                TrainingDistribution(pool, 1_024, augmentation=augmentation),
                epochs=3,
                batch_size=64,
            )
            next(loop)
            places = _waits(lambda loop=loop: next(loop), device)
            label = f"waits in 16 steps, {name}{', augmented' if augmentation else ''}"
            yield label, Found(len(places), 1, "; ".join(sorted(set(places))) or "none")
    loop = train_denoiser(
        small_teacher().to(device),
        images(64),
        n_images=512,
        batch_size=16,
        lr_rampup=0,
        report_every=256,
        device=device,
    )
    next(loop)
    places = _waits(lambda: next(loop), device)
    yield "waits in 16 steps, teacher", Found(len(places), 1, "; ".join(sorted(set(places))) or "none")


CHECKS = (elbo_and_gradients, training_steps, teacher, measured, syncs)
