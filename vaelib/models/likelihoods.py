"""Conditional likelihoods ``p_θ(x|z)`` of Eq. (2), in nats per image.

A decoder emits ``params`` of shape (B, ``channels_out(C)``, H, W) for images ``x`` in [0, 1] of shape (B, C, H, W).
Each likelihood scores (:meth:`log_prob`), draws (:meth:`sample`) and averages (:meth:`mean`). The three are of one
distribution for Bernoulli and the mixture of logistics. The Gaussian's density is over the whole real line, and its draws
and its mean are each clipped to [0, 1]: at m = 0 a draw is 0 half the time, 0.4 σ on average (3 grey levels at σ = 0.03),
and the mean is 0.

=====================  ============================================  ===============================
name                   density of one pixel                          the paper uses it for
=====================  ============================================  ===============================
``bernoulli``          Bernoulli(sigmoid(l))                         BinaryMNIST
``gaussian``           N(x; m, 0.03²), normalising constant kept     FashionMNIST (Figs. 11, 13)
``mol``                10 discretised logistics (:mod:`.mol`)        FashionMNIST (Fig. 12), CIFAR-10
=====================  ============================================  ===============================
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import VaelibError
from .mol import MixtureOfLogistics, uniform


class Likelihood(Protocol):
    """What a VAE asks of its likelihood."""

    name: str

    def channels_out(self, channels: int) -> int: ...
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor: ...
    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor: ...
    def mean(self, params: Tensor) -> Tensor: ...


class Bernoulli:
    """Independent Bernoulli pixels with logits ``params``; greys in [0, 1] score their expected log-likelihood."""

    name = "bernoulli"

    def channels_out(self, channels: int) -> int:
        """Return the decoder's channels: one logit a pixel."""
        return channels

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log p(x|z), shape (B,), nats per image."""
        return -F.binary_cross_entropy_with_logits(params, x, reduction="none").flatten(1).sum(1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw binary images, shape of ``params``."""
        return (uniform(params, generator) < params.sigmoid()).to(params.dtype)

    def mean(self, params: Tensor) -> Tensor:
        """Return E[x|z] in [0, 1]."""
        return params.sigmoid()


class _SquaredDistance(torch.autograd.Function):
    """Return ‖x − m‖² of each image, (B,); its gradient takes one pass over the pixels, where autograd takes three.

    The bits are autograd's: what it multiplies by in turn are a number and powers of two.
    """

    @staticmethod
    def forward(ctx, params: Tensor, x: Tensor) -> Tensor:
        residual = x - params
        if not any(ctx.needs_input_grad):
            return residual.square_().flatten(1).sum(1)
        ctx.save_for_backward(residual)
        return residual.square().flatten(1).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (residual,) = ctx.saved_tensors
        slope = 2 * gradient[:, None, None, None]
        for_params, for_x = ctx.needs_input_grad
        return residual * -slope if for_params else None, residual * slope if for_x else None


class Gaussian:
    """Gaussian pixels of fixed standard deviation ``sigma`` around ``params``, with the full normalising constant.

    All D pixels count, the zero padding too: at sigma = 0.03 a perfectly predicted pixel earns +2.59 nats, and the
    paper's ELBOs (Fig. 13: +319) are only reached with D = 1024.
    """

    name = "gaussian"

    def __init__(self, sigma: float = 0.03):
        if not sigma > 0:
            raise VaelibError(
                f"sigma = {sigma} is not a standard deviation; give a positive number (the paper's: 0.03)"
            )
        self.sigma = sigma

    def channels_out(self, channels: int) -> int:
        """Return the decoder's channels: one mean a pixel."""
        return channels

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log p(x|z), shape (B,), nats per image."""
        distance = _SquaredDistance.apply(*torch.broadcast_tensors(params, x))
        constant = x.shape[1:].numel() * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))
        return -0.5 / self.sigma**2 * distance - constant

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw images, clipped to [0, 1]."""
        place = params.device if generator is None else generator.device
        noise = torch.randn(params.shape, generator=generator, device=place).to(params)
        return (params + self.sigma * noise).clamp(0, 1)

    def mean(self, params: Tensor) -> Tensor:
        """Return E[x|z], clipped to [0, 1]."""
        return params.clamp(0, 1)


LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian": Gaussian, "mol": MixtureOfLogistics}


def build_likelihood(name: str, **settings: float | str) -> Likelihood:
    """Return the likelihood called ``name``: ``bernoulli``, ``gaussian`` or ``mol``, with its own settings.

    Raises:
        VaelibError: unknown name.
    """
    if name not in LIKELIHOODS:
        raise VaelibError(f"likelihood = {name!r} is unknown; choose one of {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[name](**settings)
