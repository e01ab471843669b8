r"""Training the diffusion teacher (Karras et al. 2022; the settings of the paper's Appendix D).

A step draws a batch y, levels ln σ ~ N(−1.2, 1.2²) and noise, and descends the mean of λ(σ) ‖D(y + n; σ) − y‖² with
Adam, its rate rising linearly over the first ``lr_rampup`` images and, for short trainings, falling to 0 over the last
``lr_decay`` (EDM: 0). Sampling uses the exponential moving average

    θ̄ ← β θ̄ + (1 − β) θ,   β = 2^{−batch / h},   h = min(ema_halflife, ema_rampup · images seen).

All random draws of step s come from (seed, "diffusion", s): on the CPU, a resumed training ends in the same bits.

With ``microbatch`` the batch goes through the network in passes whose gradients add up, and pass i draws its dropout from
(seed, "diffusion pass i", s). Under ``torchrun`` every process draws the whole batch and takes every n-th pass, so 1, 2 or 4
processes follow one loss curve, up to the order in which numbers are added.
"""

import contextlib
import copy
import math
from collections.abc import Collection, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from .. import rng
from ..errors import NonFiniteLoss, VaelibError, at_least_one
from ..images import SIDE, check_images
from ..models.denoiser import EDMDenoiser, PlaneNetwork, edm_loss, noise_levels
from ..models.weights import matched
from ..modes import check_learning, tensors_of


class DiffusionStep(NamedTuple):
    """Progress of a training: images seen so far, and the mean loss per pixel since the last report."""

    images_seen: int
    loss: float


class DiffusionState:
    """A denoiser, its moving average (``average``), its Adam state and the images seen: what a checkpoint holds.

    >>> state = DiffusionState(EDMDenoiser(PlaneNetwork()))
    >>> state.images_seen, state.average is state.denoiser
    (0, False)
    """

    def __init__(self, denoiser: EDMDenoiser):
        self.denoiser = denoiser
        self.images_seen = 0
        self.decay = 0.0
        self.average = copy.deepcopy(denoiser)  # with weights θ̄, to sample from
        self.averaging = False  # the first update copies
        self.optimizer = torch.optim.Adam(denoiser.parameters(), fused=True)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move θ̄ towards θ by 1 − β. (PyTorch's AveragedModel counts on the CPU, and a GPU waits for that at every step.)"""
        averages, current = (list(tensors_of(model)) for model in (self.average, self.denoiser))
        if self.averaging:
            pairs = zip(averages, current, strict=True)
            real = [(old, new) for old, new in pairs if old.is_floating_point()]  # a counter has no average
            torch._foreach_lerp_(*map(list, zip(*real, strict=True)), 1 - self.decay)
            averages, current = ([one for one in some if not one.is_floating_point()] for some in (averages, current))
        if averages:
            torch._foreach_copy_(averages, current)
        self.averaging = True

    def to(self, device: str | torch.device) -> "DiffusionState":
        """Move weights, averages and Adam's moments to ``device``."""
        self.denoiser.to(device)
        self.average.to(device)
        for moments in self.optimizer.state.values():
            moments.update({name: value.to(device) for name, value in moments.items()})
        return self

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of everything as flat, contiguous CPU tensors, as safetensors wants them."""
        flat = {f"model/{name}": value for name, value in self.denoiser.state_dict().items()}
        flat |= {f"ema/{name}": value for name, value in self.average.state_dict().items()}
        for name, parameter in self.denoiser.named_parameters():
            flat |= {f"{key}/{name}": value for key, value in self.optimizer.state.get(parameter, {}).items()}
        return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in flat.items()}

    def meta(self) -> dict[str, int]:
        """Return what is not a tensor."""
        return {"images_seen": self.images_seen}

    def load(self, tensors: dict[str, Tensor], meta: dict) -> "DiffusionState":
        """Restore what ``tensors()`` and ``meta()`` returned; raises VaelibError on another network's."""
        wanted = {key: value for key, value in self.tensors().items() if key.startswith(("model/", "ema/"))}
        if any(name.startswith("step/") for name in tensors):  # none before the first step
            for name, parameter in self.denoiser.named_parameters():
                moments = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
                wanted |= {f"{key}/{name}": value for key, value in moments.items()}
        tensors = matched(tensors, wanted, "the checkpoint")

        def under(prefix: str) -> dict[str, Tensor]:
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

        self.denoiser.load_state_dict(under("model/"))
        self.average.load_state_dict(under("ema/"))
        moments = {key: under(f"{key}/") for key in ("step", "exp_avg", "exp_avg_sq")}
        for name, parameter in self.denoiser.named_parameters():
            if name in moments["step"]:
                self.optimizer.state[parameter] = {
                    "step": moments["step"][name].to(parameter.device, copy=True),
                    # empty_like keeps the parameter's memory layout, which the fused kernel relies on.
                    "exp_avg": torch.empty_like(parameter).detach().copy_(moments["exp_avg"][name]),
                    "exp_avg_sq": torch.empty_like(parameter).detach().copy_(moments["exp_avg_sq"][name]),
                }
        self.images_seen = int(meta["images_seen"])
        self.averaging = len(moments["step"]) > 0
        return self


def processes() -> tuple[int, int]:
    """Return this process's rank and how many train together: (0, 1) unless ``torch.distributed`` has been set up."""
    together = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)


def _together(denoiser: EDMDenoiser, batch_size: int, microbatch: int | None) -> nn.Module:
    """Return the module to train: under ``torchrun`` one whose gradients are averaged over the processes."""
    count, passes = processes()[1], -(-batch_size // (microbatch or batch_size))
    if count == 1:
        return denoiser
    if count > passes:
        raise VaelibError(
            f"teacher_microbatch = {microbatch}: a batch of {batch_size} has {passes} passes, too few for {count} processes; "
            f"set it to at most {max(batch_size // count, 1)}"
        )
    return DistributedDataParallel(denoiser, broadcast_buffers=False)


def _backward(
    model: nn.Module, images: Tensor, batch_size: int, microbatch: int | None, seed: int, step: int
) -> Tensor:
    """Add the gradient of a random batch's mean loss; return this process's part of that loss.

    The batch is drawn with replacement from uint8 ``images`` on their device, whole in every process.
    """
    device, (rank, count) = images.device, processes()
    y = images[torch.randint(len(images), (batch_size,), device=device)].float() / 127.5 - 1
    sigma = noise_levels(torch.randn(batch_size, device=device))
    noise = torch.randn_like(y)
    if microbatch is None:
        loss = edm_loss(model, y, sigma, noise).mean()
        loss.backward()
        return loss.detach()
    total, mine = torch.zeros((), device=device), range(-(-batch_size // microbatch))[rank::count]
    for number in mine:
        part = slice(number * microbatch, (number + 1) * microbatch)
        torch.manual_seed(rng.derive(seed, f"diffusion pass {number}", step))
        last = number == mine[-1] or count == 1
        with contextlib.nullcontext() if last else model.no_sync():
            loss = edm_loss(model, y[part], sigma[part], noise[part]).sum() / batch_size
            (loss * count).backward()  # the processes' gradients are averaged
        total += loss.detach()
    return total


def train_denoiser(
    denoiser: EDMDenoiser,
    images: Tensor,
    *,
    n_images: int = 200_000_000,
    batch_size: int = 512,
    lr: float = 1e-3,
    lr_rampup: int = 10_000_000,
    lr_decay: int = 0,
    ema_halflife: int = 500_000,
    ema_rampup: float = 0.05,
    seed: int = 0,
    device: str | torch.device | None = None,
    amp: bool = True,
    microbatch: int | None = None,
    state: DiffusionState | None = None,
    report_every: int | None = None,
    stops: Collection[int] = (),
) -> Iterator[DiffusionStep]:
    """Train on uint8 ``images`` (N, C, 32, 32) until ``n_images`` are seen; a generator that the caller drives.

    Yields a :class:`DiffusionStep` every ``report_every`` images (default: 2 %), at ``stops`` (images seen, multiples of
    ``batch_size``) and at the end; checkpoints are taken there, from the ``state`` that the caller passed (and may have
    loaded). The defaults are EDM's for CIFAR-10.
    ``microbatch``: images in one pass through the network (default: all of ``batch_size``).
    Raises NonFiniteLoss; VaelibError: images that are no bytes (:mod:`vaelib.images`) or of another shape than the
    denoiser's, gradients switched off, or more processes than passes. Each step reseeds torch's global generator, from which
    dropout draws too.

    >>> loop = train_denoiser(EDMDenoiser(PlaneNetwork()), torch.randn(50, 2, 1, 1), n_images=200, batch_size=100)
    >>> [step.images_seen for step in loop]
    [100, 200]
    """
    state = DiffusionState(denoiser) if state is None else state
    if state.denoiser is not denoiser:
        raise ValueError("state belongs to another denoiser")
    check_learning("train_denoiser")
    at_least_one(batch_size=batch_size, ema_halflife=ema_halflife)
    if not isinstance(denoiser.network, PlaneNetwork):  # points in the plane come unrounded
        check_images(images, denoiser, side=SIDE, only_bytes=True)
    state.to(device if device is not None else next(denoiser.parameters()).device)
    denoiser.amp = state.average.amp = amp
    denoiser.train()
    images = images.to(next(denoiser.parameters()).device)
    model = _together(denoiser, batch_size, microbatch)
    every = max((report_every or n_images // 50) // batch_size, 1)
    total, steps = torch.zeros((), device=images.device), 0
    while state.images_seen < n_images:
        step = state.images_seen // batch_size
        torch.manual_seed(rng.derive(seed, "diffusion", step))
        rise, fall = state.images_seen / max(lr_rampup, 1), (n_images - state.images_seen) / max(lr_decay, 1)
        state.optimizer.param_groups[0]["lr"] = lr * min(rise, fall, 1.0)
        state.optimizer.zero_grad(set_to_none=True)
        loss = _backward(model, images, batch_size, microbatch, seed, step)
        state.optimizer.step()
        state.images_seen += batch_size
        state.decay = 0.5 ** (batch_size / min(ema_halflife, ema_rampup * state.images_seen))
        state.update_average()
        total, steps = total + loss, steps + 1
        if (step + 1) % every == 0 or state.images_seen >= n_images or state.images_seen in stops:
            yield _report(state.images_seen, total, steps)
            denoiser.train()
            total, steps = torch.zeros_like(total), 0


def _report(images_seen: int, total: Tensor, steps: int) -> DiffusionStep:
    """Read the accumulated loss: the loop's only wait for the device. One non-finite step makes the sum non-finite."""
    if processes()[1] > 1:
        distributed.all_reduce(total)
    mean = total.item() / steps
    if not math.isfinite(mean):
        raise NonFiniteLoss(
            f"the teacher's loss became {mean} by image {images_seen:,}; lower teacher_lr (halve it) or set amp=false, "
            "then run again: it goes on from the last checkpoint"
        )
    return DiffusionStep(images_seen, mean)
