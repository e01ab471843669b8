"""The VAE's training loop: Algorithms 1 and 2 with Adam, as a generator that the caller drives.

Everything random is a function of (seed, step), so a :class:`VAEState` saved after any epoch and loaded into a new
process goes on to the same weights, bit for bit on a CPU with an equal number of threads.
"""

import ctypes
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from .. import rng
from ..errors import NonFiniteLoss, VaelibError
from ..images import check_form
from ..models.vae import VAE
from ..models.weights import matched
from ..modes import check_learning
from ..precision import bf16_pays
from .distributions import Stream


class Epoch(NamedTuple):
    """One effective epoch done: its number (from 1) and the mean ELBO of its batches, nats per image."""

    number: int
    elbo: float


class VAEState:
    """A VAE in training: network, Adam's moments and the count of epochs done.

    Arguments:
        vae: the network, already on its device.
        lr: Adam's learning rate; betas are PyTorch's defaults.
        trained: the part of ``vae`` that learns (default: all of it); the rest is frozen and stays in eval mode.
        epochs: effective epochs done before, for a training that goes on from another.

    >>> from vaelib import FullyConnectedVAE
    >>> VAEState(FullyConnectedVAE(d_z=2)).epochs
    0
    """

    def __init__(self, vae: VAE, lr: float = 1e-3, *, trained: nn.Module | None = None, epochs: int = 0):
        self.vae, self.lr, self.epochs = vae, lr, epochs
        self.trained = vae if trained is None else trained
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

    def ascend(self, objective: Tensor, rate: float = 1.0) -> None:
        """Take Adam's step (Kingma & Ba 2015) up the gradient of a scalar, at ``rate`` times the learning rate.

        Through Adam's functional form, with the same bits: ``torch.optim.Adam`` imports PyTorch's compiler when it is
        made (4 s), and its steps take the loop 4 % longer.
        """
        parameters = list(self._parameters.values())
        for parameter in parameters:
            parameter.grad = None
        (-objective).backward()  # not autograd.grad: only backward() gives gradients in the parameters' memory layout
        steps, first, second = zip(*(moments.values() for moments in self._moments.values()), strict=True)
        with torch.no_grad():
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
                lr=self.lr * rate,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return everything needed to go on, flat, for safetensors."""
        flat = {f"vae.{name}": tensor for name, tensor in self.vae.state_dict().items()}
        for name, moments in self._moments.items():
            flat |= {f"adam.{name}.{kind}": tensor for kind, tensor in moments.items()}
        return flat

    def load(self, tensors: dict[str, Tensor], epochs: int) -> None:
        """Go on from :meth:`tensors` as they were after ``epochs`` epochs; raises VaelibError on another network's."""
        tensors = matched(tensors, self.tensors(), "the checkpoint")
        self.vae.load_state_dict({k.removeprefix("vae."): v for k, v in tensors.items() if k.startswith("vae.")})
        for name, moments in self._moments.items():
            for kind, tensor in moments.items():
                tensor.copy_(tensors[f"adam.{name}.{kind}"])
        self.epochs = epochs


def train_vae(
    state: VAEState,
    distribution: Stream,
    *,
    epochs: int = 1000,
    batch_size: int = 64,
    lr_decay: float = 0.0,
    seed: int = 0,
    amp: bool = True,
) -> Iterator[Epoch]:
    """Maximise the ELBO (Eqs. 7–9) and yield after each effective epoch.

    Arguments:
        state: the VAE with its optimiser; advanced in place, so save it whenever the generator yields.
        distribution: what to train on.
        epochs: effective epochs to reach in all, those done before included.
        batch_size: M; all N of an effective epoch's images where they are fewer, so that each epoch takes a step.
        lr_decay: share of all epochs, the last ones, over which the learning rate falls linearly towards 0. The paper's
            is constant; with few steps an epoch its last epoch is then noisy (batch normalisation's averages lag behind).
        seed: of the posterior's noise.
        amp: bfloat16 in the wide hidden layers where the hardware multiplies it; pixels, latents, loss and optimiser
            stay float32.

    Raises:
        NonFiniteLoss: the ELBO became NaN or infinite in this epoch.
        VaelibError: a batch size below 1, images of another shape than the VAE's, or gradients switched off.

    >>> from vaelib import FullyConnectedVAE, TrainingDistribution
    >>> stream = TrainingDistribution(torch.zeros(8, 1, 32, 32, dtype=torch.uint8), n_train=8)
    >>> [epoch.number for epoch in train_vae(VAEState(FullyConnectedVAE(d_z=2)), stream, epochs=2, batch_size=4)]
    [1, 2]
    """
    if batch_size < 1:
        raise VaelibError(f"batch_size = {batch_size} images make no step; give at least 1 (the paper's: 64)")
    check_learning("train_vae")
    _keep_memory()
    vae, device = state.vae, next(state.vae.parameters()).device
    batch_size = min(batch_size, distribution.n_train)
    for number in range(state.epochs + 1, epochs + 1):
        vae.eval()
        state.trained.train()
        steps = range(distribution.steps(number - 1, batch_size), distribution.steps(number, batch_size))
        total = torch.zeros((), device=device)
        rate = min(1.0, (epochs - number + 1) / (lr_decay * epochs)) if lr_decay else 1.0
        for step in steps:
            x = distribution.batch(step, batch_size)
            if step == steps[0]:
                check_form(x, vae, name="batch")
            eps = rng.normal((batch_size, vae.d_z), seed, "posterior", step, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=amp and bf16_pays(device.type)):
                mean_elbo = vae(x, eps).mean()
            state.ascend(mean_elbo, rate)
            total += mean_elbo.detach()
        # The only wait for the device in an epoch; a NaN stays NaN in a sum.
        mean = float(total) / len(steps)
        if not math.isfinite(mean):
            raise NonFiniteLoss(
                f"the ELBO became {mean} in epoch {number}: try a lower lr, amp=False, or for a Gaussian a larger sigma; "
                "the last good checkpoint is kept"
            )
        state.epochs = number
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
