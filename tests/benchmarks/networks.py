"""The networks that are trained for the table, and ours and pythae's training of one; importable by a fresh process.

pythae (Chadebec et al. 2022) has no likelihood with a scale and none of logistics: its nearest is ``mse``, half the
squared error summed over pixels, which costs what our Gaussian costs. Everything else is equal: layers, initial weights,
images, batch size, learning rate, Adam.
"""

import contextlib
import importlib.util
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaelib.models import VAE, FullyConnectedVAE, Gaussian, ResidualVAE
from vaelib.training.distributions import TrainingDistribution
from vaelib.training.vae import VAEState, train_vae

from .table import LeftOut

BATCH, RATE = 64, 1e-3
COMMAND = "python -m pip install --no-deps pythae==0.1.2 cloudpickle imageio"


class Job(NamedTuple):
    """One training: of the fully connected network (``nc`` 0) or the residual one, on ``images`` grey images of noise."""

    images: int
    epochs: int
    nc: int = 0
    seed: int = 0
    amp: bool = True
    mean: str = "sigmoid"

    def network(self) -> VAE:
        """Return the untrained network, a function of the seed."""
        torch.manual_seed(self.seed)
        likelihood = Gaussian(mean=self.mean)
        return ResidualVAE(self.nc, 1, 1, likelihood) if self.nc else FullyConnectedVAE(likelihood=likelihood)

    def pool(self) -> Tensor:
        """Return the training images, uint8."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randint(0, 256, (self.images, 1, 32, 32), dtype=torch.uint8, generator=generator)


def _median_step(ticks: list[float]) -> float:
    return statistics.median(after - before for before, after in pairwise(ticks))


def ours(job: Job, clock: Callable[[], float] = time.process_time) -> float:
    """Train as the engine does; return the seconds of a median epoch, from one epoch's end to the next."""
    state, pool = VAEState(job.network(), RATE), job.pool()
    loop = train_vae(
        state, TrainingDistribution(pool, len(pool)), epochs=job.epochs, batch_size=BATCH, seed=job.seed, amp=job.amp
    )
    return _median_step([clock() for _ in loop])


def needs_pythae() -> None:
    """Raise LeftOut if pythae is not installed."""
    if importlib.util.find_spec("pythae") is None:
        raise LeftOut(f"pythae is not installed; {COMMAND}")


def _pythae(vae: VAE) -> Any:
    """Return pythae's VAE around our layers."""
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = vae.encoder

        def forward(self, x: Tensor) -> ModelOutput:
            mu, log_variance = vae.encoder_output(x).chunk(2, 1)
            return ModelOutput(embedding=mu, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = vae.decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=vae.decode(z))

    config = VAEConfig(input_dim=(1, 32, 32), latent_dim=vae.d_z, reconstruction_loss="mse")
    return PythaeVAE(config, Encoder(), Decoder())


def pythae(job: Job, clock: Callable[[], float] = time.process_time) -> float:
    """Train by pythae's own trainer; return the seconds of a median epoch, from one epoch's end to the next."""
    logging.disable(logging.INFO)
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    ticks: list[float] = []

    class Clock(TrainingCallback):
        def on_epoch_end(self, training_config: Any, **_: Any) -> None:
            ticks.append(clock())

    data = BaseDataset(job.pool().float() / 255, torch.zeros(job.images))
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=job.epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            seed=job.seed,
            no_cuda=True,
        )
        BaseTrainer(_pythae(job.network()), data, training_config=config, callbacks=[Clock()]).train()
    return _median_step(ticks)


def pythae_sweep(jobs: list[Job]) -> None:
    """Train one after another."""
    for job in jobs:
        pythae(job)
