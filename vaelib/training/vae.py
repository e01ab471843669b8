"""The VAE's training loop: Algorithms 1 and 2 with Adam, as a generator that the caller drives.

>>> for epoch in train_vae(vae, distribution, epochs=300):      # doctest: +SKIP
...     print(epoch.number, epoch.elbo)

Everything random is a function of (seed, step), so a :class:`VAEState` saved after any epoch and loaded into a new
process goes on to the same weights, bit for bit on a CPU with an equal number of threads.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .. import rng
from ..errors import NonFiniteLoss
from ..models.vae import VAE
from .distributions import TrainingDistribution


class Epoch(NamedTuple):
    """One effective epoch done: its number (from 1) and the mean ELBO of its batches, nats per image."""

    number: int
    elbo: float


class VAEState:
    """A VAE in training: network, Adam's moments and the count of epochs done.

    Arguments:
        vae: the network, already on its device.
        lr: Adam's learning rate; betas are PyTorch's defaults.
    """

    def __init__(self, vae: VAE, lr: float = 1e-3):
        self.vae, self.epochs = vae, 0
        self.optimizer = torch.optim.Adam(vae.parameters(), lr=lr, fused=True)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything needed to go on, flat, for safetensors."""
        flat = {f"vae.{name}": tensor for name, tensor in self.vae.state_dict().items()}
        for (name, _), moments in zip(self.vae.named_parameters(), self._moments(), strict=False):
            flat |= {f"adam.{name}.{kind}": tensor for kind, tensor in moments.items()}
        return flat

    def load(self, tensors: dict[str, Tensor], epochs: int) -> None:
        """Go on from :meth:`tensors` as they were after ``epochs`` epochs."""
        self.vae.load_state_dict({k.removeprefix("vae."): v for k, v in tensors.items() if k.startswith("vae.")})
        state = {}
        for index, (name, _) in enumerate(self.vae.named_parameters()):
            prefix = f"adam.{name}."
            state[index] = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        groups = self.optimizer.state_dict()["param_groups"]
        if any(state.values()):
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.epochs = epochs

    def _moments(self) -> list[dict[str, Tensor]]:
        return [self.optimizer.state[p] for p in self.vae.parameters() if p in self.optimizer.state]


def train_vae(
    state: VAEState,
    distribution: TrainingDistribution,
    *,
    epochs: int = 1000,
    batch_size: int = 64,
    seed: int = 0,
    amp: bool = True,
) -> Iterator[Epoch]:
    """Maximise the ELBO (Eqs. 7–9) and yield after each effective epoch.

    Arguments:
        state: the VAE with its optimiser; advanced in place, so save it whenever the generator yields.
        distribution: what to train on.
        epochs: effective epochs to reach in all, those done before included.
        batch_size: M.
        seed: of the posterior's noise.
        amp: bfloat16 in the wide hidden layers; pixels, latents, loss and optimiser stay float32.

    Raises:
        NonFiniteLoss: the ELBO became NaN or infinite in this epoch.
    """
    vae, device = state.vae, next(state.vae.parameters()).device
    for number in range(state.epochs + 1, epochs + 1):
        vae.train()
        steps = range(distribution.steps(number - 1, batch_size), distribution.steps(number, batch_size))
        total = torch.zeros((), device=device)
        for step in steps:
            x = distribution.batch(step, batch_size)
            eps = rng.normal((batch_size, vae.d_z), seed, "posterior", step, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                mean_elbo = vae(x, eps).mean()
            state.optimizer.zero_grad(set_to_none=True)
            (-mean_elbo).backward()
            state.optimizer.step()
            total += mean_elbo.detach()
        # The only wait for the device in an epoch; a NaN stays NaN in a sum.
        mean = float(total) / max(len(steps), 1)
        if not torch.isfinite(total):
            raise NonFiniteLoss(
                f"the ELBO became {mean} in epoch {number}: try a lower lr, amp=False, or for a Gaussian a larger sigma; "
                "the last good checkpoint is kept"
            )
        state.epochs = number
        yield Epoch(number, mean)
