"""p_DM of Fig. 1: a small diffusion model of points in the plane, by the teachers' own preconditioning, loop and sampler.

A point (x, y) is an image of two channels and one pixel. In the plane the density of what the model generates is known, by
its probability-flow ODE, so that KL(p_data ‖ p_DM) of Table 1 is a number.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from .. import rng
from ..models.denoiser import EDMDenoiser, PlaneNetwork
from ..samplers.heun import flow_log_prob, heun_sample
from .diffusion import DiffusionState, train_denoiser


class Flow:
    """What a denoiser of points (B, 2, 1, 1) generates by ``options`` of the Heun sampler: samples and their density."""

    def __init__(self, denoiser: EDMDenoiser, **options: float):
        self.denoiser, self.options = copy.deepcopy(denoiser).double().eval(), options

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` points, (n, 2) float32."""
        noise = rng.normal((n, 2, 1, 1), seed, "plane/noise").double()
        return heun_sample(self.denoiser, noise, **self.options).flatten(1).float()

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p_DM(x) of points (n, 2), (n,) float64 nats."""
        options = {name: value for name, value in self.options.items() if name != "steps"}
        parts = x.double().view(-1, 2, 1, 1).split(2_000)
        return torch.cat([flow_log_prob(self.denoiser, part, **options) for part in parts])


def fit_flow(
    points: Tensor,
    *,
    images: int = 512_000,
    width: int = 64,
    batch_size: int = 128,
    lr: float = 2e-3,
    lr_decay: int = 100_000,
    ema_halflife: int = 20_000,
    steps: int = 40,
    sigma_min: float = 0.002,
    sigma_max: float = 20.0,
    seed: int = 0,
    report: Callable[[float, str], None] = lambda share, note: None,
) -> Flow:
    """Return a diffusion model of ``points`` (N, 2), trained until it has seen ``images`` of them, with repetition.

    Arguments are those of :func:`~vaelib.training.diffusion.train_denoiser` and of the sampler. Trained for long it
    reproduces the N points and nothing else.
    """
    with rng.seeded(seed, "plane"):  # the loop reseeds torch's own generator
        denoiser = EDMDenoiser(PlaneNetwork(width))
        state = DiffusionState(denoiser)
        as_images = (points.float().view(-1, 2, 1, 1) + 1) * 127.5  # which the loop maps to [-1, 1], unrounded
        options = {"batch_size": batch_size, "lr": lr, "lr_decay": lr_decay, "ema_halflife": ema_halflife}
        loop = train_denoiser(
            denoiser, as_images, n_images=images, lr_rampup=10_000, seed=seed, amp=False, state=state, **options
        )
        for seen, loss in loop:
            report(seen / images, f"{len(points)} points, loss {loss:.3f}")
    return Flow(state.average, steps=steps, sigma_min=sigma_min, sigma_max=sigma_max)
