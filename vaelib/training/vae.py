"""The VAE's training loop: Algorithms 1 and 2 with Adam, as a generator that the caller drives.

Everything random is a function of (seed, step), so a :class:`VAEState` saved after any step (its ``tensors()`` and ``meta()``)
and loaded into a new process goes on to the same weights, bit for bit on a CPU with an equal number of threads.

On a GPU nothing within an epoch waits for the device, unless ``after_step`` does: batches and noise are sent ahead, and the
step is one CUDA graph. The noise is drawn on the CPU and has the same numbers everywhere. Where PyTorch's settings allow TF32
(as it comes: in convolutions), a training in float32 uses it; what is measured never does (:func:`vaelib.modes.evaluating`).
"""

import ctypes
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from .. import rng
from ..errors import NonFiniteLoss, VaelibError
from ..images import check_form
from ..models.vae import VAE
from ..models.weights import matched
from ..modes import check_learning, device_of, tell_slower
from ..precision import bf16_pays
from .distributions import Stream
from .regularise import Regulariser

CAPTURED_ON = ("cuda",)  # kinds of devices on which a step is captured once and then replayed
NOISE_AT_ONCE, STEPS_AT_ONCE = 2**24, 64  # the most bytes, and steps, whose noise is sent to a GPU at once
# Where a gradient has become 0 (a unit that fires no more, a pixel whose mean is saturated) Adam's first moment shrinks by 0.9
# a step, and below 1e-38, where rounding keeps it from ever being 0, a processor takes many times as long for it: from step
# 750 on a quarter of a laptop's moments, and half of its speed. A moment below 1e-30 moves a weight by less than 1e-25, far
# below the last bit of any weight: so it becomes 0. In the steps between it shrinks to 1e-36, not to 1e-38.
NO_MOMENT, STEPS_BETWEEN = 1e-30, 128


class Epoch(NamedTuple):
    """One effective epoch done: its number (from 1) and the mean ELBO of its batches, nats per image."""

    number: int
    elbo: float


class VAEState:
    """A VAE in training: network, Adam's moments, and the count of epochs and of steps of the next one done.

    Arguments:
        vae: the network, already on its device.
        lr: Adam's learning rate; betas are PyTorch's defaults.
        trained: the part of ``vae`` that learns (default: all of it); the rest is frozen and stays in eval mode.
        epochs: effective epochs done before, for a training that goes on from another.
        weight_decay: before each step the weights (no biases, nothing that normalises) shrink by this times the step's
            learning rate: decoupled from the gradient (Loshchilov & Hutter 2019).

    >>> from vaelib import FullyConnectedVAE
    >>> VAEState(FullyConnectedVAE(d_z=2)).epochs
    0
    """

    def __init__(
        self,
        vae: VAE,
        lr: float = 1e-3,
        *,
        trained: nn.Module | None = None,
        epochs: int = 0,
        weight_decay: float = 0.0,
    ):
        if weight_decay < 0:
            raise VaelibError(f"weight_decay = {weight_decay} must be 0 (none) or more")
        self.vae, self.lr, self.epochs, self.weight_decay = vae, lr, epochs, weight_decay
        self.trained = vae if trained is None else trained
        device = device_of(vae)
        self.steps, self.total = 0, torch.zeros((), device=device)  # of the epoch under way: its ELBOs' sum
        # Adam's rate: on a GPU in its memory, where a captured step reads it anew each time.
        self._rate: float | Tensor = torch.full((), lr, device=device) if device.type == "cuda" else lr
        vae.requires_grad_(False)
        self.trained.requires_grad_(True)
        self._parameters = {name: p for name, p in vae.named_parameters() if p.requires_grad}
        self._moments = {
            # zeros_like keeps the parameter's memory layout, which the fused kernel relies on.
            name: {
                "step": torch.zeros((), device=p.device),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
            for name, p in self._parameters.items()
        }

    def pace(self, rate: float) -> None:
        """Let the next steps be at ``rate`` times the learning rate."""
        if isinstance(self._rate, Tensor):
            self._rate.fill_(self.lr * rate)
        else:
            self._rate = self.lr * rate

    def ascend(self, objective: Tensor, rate: float | None = 1.0) -> None:
        """Take Adam's step (Kingma & Ba 2015) up the gradient of a scalar, at ``rate`` times the learning rate (None: as paced).

        Through Adam's functional form, with the same bits: ``torch.optim.Adam`` imports PyTorch's compiler when it is
        made (4 s), and its steps take the loop 4 % longer.
        """
        if rate is not None:
            self.pace(rate)
        for parameter in self._parameters.values():
            parameter.grad = None
        (-objective).backward()  # not autograd.grad: only backward() gives gradients in the parameters' memory layout
        used = [name for name, parameter in self._parameters.items() if parameter.grad is not None]
        parameters = [self._parameters[name] for name in used]
        steps, first, second = zip(*(self._moments[name].values() for name in used), strict=True)
        with torch.no_grad():
            if self.weight_decay:
                shrunk = 1 - self._rate * self.weight_decay  # a number, or a tensor on the GPU
                torch._foreach_mul_([one for one in parameters if one.ndim > 1], shrunk)
            adam(
                parameters,
                [parameter.grad for parameter in parameters],
                list(first),
                list(second),
                [],
                list(steps),
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self._rate,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )

    def settle(self) -> None:
        """Let first moments that move no weight any more be 0."""
        for moments in self._moments.values():
            moments["exp_avg"].masked_fill_(moments["exp_avg"].abs() < NO_MOMENT, 0.0)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything needed to go on, flat, for safetensors."""
        flat = {f"vae.{name}": tensor for name, tensor in self.vae.state_dict().items()}
        for name, moments in self._moments.items():
            flat |= {f"adam.{name}.{kind}": tensor for kind, tensor in moments.items()}
        return flat

    def mean(self) -> float:
        """Return the mean ELBO of the steps of the epoch under way: a wait for the device. Raises NonFiniteLoss."""
        mean = float(self.total) / self.steps  # a NaN stays NaN in a sum
        if not math.isfinite(mean):
            self._refuse(f"the ELBO became {mean}")
        return mean

    def _refuse(self, found: str) -> NoReturn:
        raise NonFiniteLoss(
            f"{found} in epoch {self.epochs + 1}: try a lower lr, amp=False, or for a Gaussian a larger sigma; the last good "
            "checkpoint is kept"
        )

    def meta(self) -> dict[str, float]:
        """Return what is not a tensor; raises NonFiniteLoss where any number is not finite, so that no checkpoint is taken."""
        if self.steps:
            self.mean()
        # An update with a bad gradient comes after its ELBO was measured.
        if not all(bool(one.isfinite().all()) for one in self.tensors().values() if one.is_floating_point()):
            self._refuse("a weight became NaN or infinite")
        return {"epochs": self.epochs, "steps": self.steps, "total": float(self.total)}

    def load(self, tensors: dict[str, Tensor], epochs: int, steps: int = 0, total: float = 0.0) -> None:
        """Go on from what :meth:`tensors` and :meth:`meta` returned; raises VaelibError on another network's."""
        tensors = matched(tensors, self.tensors(), "the checkpoint")
        self.vae.load_state_dict({k.removeprefix("vae."): v for k, v in tensors.items() if k.startswith("vae.")})
        for name, moments in self._moments.items():
            for kind, tensor in moments.items():
                tensor.copy_(tensors[f"adam.{name}.{kind}"])
        self.epochs, self.steps = epochs, steps
        self.total.fill_(total)


class _Captured:
    """A training step as one CUDA graph: its hundred-odd kernels are started at once, not one by one from Python.

    A graph works on the same memory at each replay, so batches and noise are copied to where it looks for them. What is
    captured must have run before; these steps are undone. Other threads may go on asking the GPU for memory meanwhile.

    Raises:
        RuntimeError: something in the step asks the GPU for a value, which cannot be captured; nothing of the state has changed.
    """

    def __init__(self, state: VAEState, objective: Callable[..., Tensor], inputs: Sequence[Tensor]):
        self.state, self.inputs, self.graph = state, [one.clone() for one in inputs], torch.cuda.CUDAGraph()
        before = {name: tensor.clone() for name, tensor in state.tensors().items()}

        def step() -> Tensor:
            elbo = objective(*self.inputs)
            state.ascend(elbo, None)
            return elbo.detach()

        # The inner block gives this thread its stream back, whatever happens during the capture.
        device = inputs[0].device
        with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
            beside = torch.cuda.Stream()
            try:
                beside.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(beside):
                    for _ in range(3):
                        step()
                torch.cuda.current_stream().wait_stream(beside)
                # On the stream that was warmed up: PyTorch's own for captures belongs to the first device that captured.
                with torch.cuda.graph(self.graph, stream=beside, capture_error_mode="thread_local"):
                    self.elbo = step()
            finally:
                torch.cuda.synchronize()  # once: whatever failed on the other stream is over
                for name, tensor in state.tensors().items():
                    tensor.copy_(before[name])

    def __call__(self, inputs: Sequence[Tensor], rate: float) -> Tensor:
        """Take the step; return the batch's mean ELBO, which the next step overwrites."""
        for ours, given in zip(self.inputs, inputs, strict=True):
            ours.copy_(given)
        self.state.pace(rate)
        self.graph.replay()
        return self.elbo


def _captured(state: VAEState, objective: Callable[..., Tensor], inputs: Sequence[Tensor]) -> _Captured | None:
    """Return the captured step, or None with a line that says why there is none."""
    try:
        return _Captured(state, objective, inputs)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        tell_slower("this VAE's step runs uncaptured", error)
        return None


def _noise(steps: range, shape: tuple[int, int], seed: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the posterior's noise of each step; a GPU is sent that of many steps at once."""
    at_once = min(max(NOISE_AT_ONCE // (4 * math.prod(shape)), 1), STEPS_AT_ONCE) if device.type == "cuda" else 1
    for first in range(0, len(steps), at_once):
        draws = [rng.normal(shape, seed, "posterior", step) for step in steps[first : first + at_once]]
        yield from rng.sent(torch.stack(draws), device) if device.type == "cuda" else draws


def train_vae(
    state: VAEState,
    distribution: Stream,
    *,
    epochs: int = 1000,
    batch_size: int = 64,
    lr_decay: float = 0.0,
    seed: int = 0,
    amp: bool = True,
    regulariser: Regulariser | None = None,
    after_step: Callable[[float], None] | None = None,
) -> Iterator[Epoch]:
    """Maximise the ELBO (Eqs. 7–9), or what a regulariser makes of it, and yield after each effective epoch.

    Arguments:
        state: the VAE with its optimiser; advanced in place, so save it whenever the generator yields, or ``after_step``.
        distribution: what to train on.
        epochs: effective epochs to reach in all, those done before included.
        batch_size: M; all N of an effective epoch's images where they are fewer, so that each epoch takes a step.
        lr_decay: share of all epochs, the last ones, over which the learning rate falls linearly towards 0. The paper's
            is constant; with few steps an epoch its last epoch is then noisy (batch normalisation's averages lag behind).
        seed: of the posterior's noise.
        amp: bfloat16 in the wide hidden layers where the hardware multiplies it; pixels, latents, loss and optimiser
            stay float32. Of a VAE of your own the last layers are rounded, too, unless they are
            :class:`~vaelib.models.vae.Linear32` or :class:`~vaelib.models.residual.Conv32`.
        regulariser: what to maximise in place of the ELBO; an epoch's number is then the mean of that.
        after_step: called with the effective epochs done, a fraction within an epoch, where an epoch may take many minutes.

    Raises:
        NonFiniteLoss: the ELBO became NaN or infinite in this epoch.
        VaelibError: a batch size below 1 or larger than that of an epoch that was begun, an ``lr_decay`` outside [0, 1], images
            of another shape than the VAE's, or gradients switched off.

    >>> from vaelib import FullyConnectedVAE, TrainingDistribution
    >>> stream = TrainingDistribution(torch.zeros(8, 1, 32, 32, dtype=torch.uint8), n_train=8)
    >>> [epoch.number for epoch in train_vae(VAEState(FullyConnectedVAE(d_z=2)), stream, epochs=2, batch_size=4)]
    [1, 2]
    """
    if batch_size < 1:
        raise VaelibError(f"batch_size = {batch_size} images make no step; give at least 1 (the paper's: 64)")
    if not 0 <= lr_decay <= 1:
        raise VaelibError(
            f"lr_decay = {lr_decay} must be a share of the epochs, from 0 (a constant rate, the paper's) to 1"
        )
    check_learning("train_vae")
    _keep_memory()
    vae, device = state.vae, next(state.vae.parameters()).device
    batch_size = min(batch_size, distribution.n_train)
    capture, captured = device.type in CAPTURED_ON, None
    last, units = max(distribution.steps(epochs, batch_size), 1), None

    def objective(x: Tensor, eps: Tensor, *draws: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=amp and bf16_pays(device.type)):
            return vae(x, eps).mean() if regulariser is None else regulariser.objective(vae, x, eps, draws)

    for number in range(state.epochs + 1, epochs + 1):
        vae.eval()
        state.trained.train()
        begin, end = (distribution.steps(epoch, batch_size) for epoch in (number - 1, number))
        steps = range(begin + state.steps, end)
        if state.steps > end - begin:
            raise VaelibError(
                f"batch_size = {batch_size}: {state.steps} steps of epoch {number} were done with smaller batches; go on with "
                "those, or begin with a new VAEState"
            )
        rate = min(1.0, (epochs - number + 1) / (lr_decay * epochs)) if lr_decay else 1.0
        for step, eps in zip(steps, _noise(steps, (batch_size, vae.d_z), seed, device), strict=True):
            x = distribution.batch(step, batch_size)
            if step == steps[0]:
                check_form(x, vae, name="batch")
            inputs = [x, eps]
            if regulariser is not None:
                units = regulariser.units(vae, x) if units is None else units
                inputs += regulariser.draws(x, eps, step, step / last, units)
            if capture and captured is None:
                captured = _captured(state, objective, inputs)
                capture = captured is not None
            if captured is not None:
                state.total += captured(inputs, rate)
            else:
                mean_elbo = objective(*inputs)
                state.ascend(mean_elbo, rate)
                state.total += mean_elbo.detach()
                if step % STEPS_BETWEEN == 0 and device.type == "cpu":  # a GPU takes no longer for small numbers
                    state.settle()
            state.steps += 1
            if after_step is not None:
                after_step(number - 1 + state.steps / (end - begin))
        mean = state.mean()  # the loop's only wait for the device in an epoch
        state.epochs, state.steps = number, 0
        state.total.zero_()
        yield Epoch(number, mean)


def early_stopping_oracle(curve: Iterable[tuple[int, float]]) -> Epoch:
    """Return the epoch of the best test ELBO along a curve of (epoch, ELBO): an upper bound on what early stopping gives.

    It picks by the test set; a rule that stops by other images can at best find the same epoch. Of equals, the first.

    Raises:
        VaelibError: no finite value.
    """
    finite = [Epoch(*point) for point in curve if math.isfinite(point[1])]
    if not finite:
        raise VaelibError("the curve has no finite ELBO to stop at; give at least one evaluated epoch")
    return max(finite, key=lambda point: point.elbo)


def _keep_memory() -> None:
    """Let glibc keep the memory that a step frees, since the next asks for the same; elsewhere this does nothing.

    A mixture of logistics' last layer has a gradient of 63 MB, which glibc would map and fault in anew at every step:
    147 ms a step instead of 117. Its environment variables cannot be set from inside a process.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    m_trim_threshold, m_mmap_max = -1, -4
    mallopt(m_trim_threshold, 2**30)
    mallopt(m_mmap_max, 0)
