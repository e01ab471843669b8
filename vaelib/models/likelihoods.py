"""Conditional likelihoods ``p_θ(x|z)`` of Eq. (2), in nats per image.

A decoder emits ``params`` of shape (B, ``channels_out(C)``, H, W) for images ``x`` in [0, 1] of shape (B, C, H, W).
Each likelihood scores (:meth:`log_prob`), draws (:meth:`sample`) and averages (:meth:`mean`). The three are of one
distribution for Bernoulli and the mixture of logistics. The Gaussian's density is over the whole real line, and its draws
and its mean are each clipped to [0, 1]: at m = 0 a draw is 0 half the time, 0.4 σ on average (3 grey levels at σ = 0.03),
and the mean is 0.

| name          | density of one pixel                   | the paper uses it for            |
| ------------- | -------------------------------------- | -------------------------------- |
| ``bernoulli`` | Bernoulli(sigmoid(l))                  | BinaryMNIST                      |
| ``gaussian``  | N(x; sigmoid(m), 0.03²), constant kept | FashionMNIST (Figs. 11, 13)      |
| ``mol``       | 10 discretised logistics (:mod:`.mol`) | FashionMNIST (Fig. 12), CIFAR-10 |
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import VaelibError, unknown
from ..rng import sent
from .mol import MixtureOfLogistics, uniform


class Likelihood(Protocol):
    """What a VAE asks of its likelihood."""

    name: str

    def channels_out(self, channels: int) -> int: ...
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor: ...
    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor: ...
    def mean(self, params: Tensor) -> Tensor: ...


OUTPUTS = ("logits", "probabilities")


def _wide(values: Tensor) -> Tensor:
    """Return values in single precision or better."""
    return values if values.dtype.itemsize >= 4 else values.float()


class Bernoulli:
    """Independent Bernoulli pixels; greys in [0, 1] score their expected log-likelihood.

    Arguments:
        output: of the decoder: ``logits``, or ``probabilities`` where its last layer is a sigmoid already. These score as
            PyTorch's ``binary_cross_entropy`` does, whose logarithms end at -100.

    Raises:
        VaelibError: ``output`` is unknown.

    >>> white = torch.ones(1, 1, 32, 32)
    >>> round(Bernoulli().log_prob(torch.zeros_like(white), white).item())  # 1024 log ½
    -710
    """

    name = "bernoulli"

    def __init__(self, output: str = "logits"):
        if output not in OUTPUTS:
            raise unknown("output of a Bernoulli's decoder =", output, OUTPUTS)
        self.logits = output == "logits"

    def channels_out(self, channels: int) -> int:
        """Return the decoder's channels: one number a pixel."""
        return channels

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log p(x|z), shape (B,), nats per image."""
        if self.logits:
            return -F.binary_cross_entropy_with_logits(params, x, reduction="none").flatten(1).sum(1)
        with torch.autocast(params.device.type, enabled=False):  # under which CUDA refuses this function
            return -F.binary_cross_entropy(_wide(params), _wide(x), reduction="none").flatten(1).sum(1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw binary images, shape of ``params``."""
        return (uniform(params, generator) < self.mean(params)).to(params.dtype)

    def mean(self, params: Tensor) -> Tensor:
        """Return E[x|z] in [0, 1]."""
        return params.sigmoid() if self.logits else params


MEANS = ("sigmoid", "linear")


class _SquaredDistance(torch.autograd.Function):
    """Return ‖x − m‖² of each image, (B,), for m = params, or m = sigmoid(params) if ``bounded``.

    Its gradient takes one pass over the pixels, or two with the sigmoid, where autograd takes three and five. The bits are
    autograd's: what it multiplies by in turn are a number and powers of two.
    """

    @staticmethod
    def forward(ctx, params: Tensor, x: Tensor, bounded: bool) -> Tensor:
        m = params.sigmoid() if bounded else params
        residual = x - m
        if not any(ctx.needs_input_grad):
            return residual.square_().flatten(1).sum(1)
        ctx.bounded = bounded
        ctx.save_for_backward(residual, *([m] if bounded else []))
        return residual.square().flatten(1).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        residual, *m = ctx.saved_tensors
        slope = 2 * gradient[:, None, None, None]
        for_params, for_x, _ = ctx.needs_input_grad
        down = residual * -slope if for_params else None
        if for_params and ctx.bounded:
            down = torch.ops.aten.sigmoid_backward(down, *m)
        return down, residual * slope if for_x else None, None


class Gaussian:
    """Gaussian pixels of fixed standard deviation ``sigma``, with the full normalising constant.

    All D pixels count, the zero padding too: at sigma = 0.03 a perfectly predicted pixel earns +2.59 nats, and the
    paper's ELBOs (Fig. 13: +319) are only reached with D = 1024.

    Arguments:
        sigma: standard deviation of every pixel.
        mean: "sigmoid" bounds the mean to [0, 1]; "linear" takes the decoder's output as it is. The paper does not say which
            it used, but its curve does: on all 60,000 images of FashionMNIST (normal training, Adam 1e-3, batches of 64)
            the train and test ELBO after 20 epochs are −1,310 and −1,640 with the sigmoid, −2,111 and −2,293 without, and
            −1,302 and −1,648 in Fig. 11. Of those pixels 62 % are exactly 0, where a saturated sigmoid pays nothing.

    Raises:
        VaelibError: ``sigma`` is not positive, or ``mean`` is unknown.

    Example:
        >>> x = torch.full((1, 1, 32, 32), 0.5)
        >>> likelihood = Gaussian(sigma=0.03)
        >>> bool(torch.allclose(likelihood.mean(torch.zeros_like(x)), x))
        True
        >>> round(likelihood.log_prob(torch.zeros_like(x), x).item())
        2650
    """

    name = "gaussian"

    def __init__(self, sigma: float = 0.03, mean: str = "sigmoid"):
        if not sigma > 0:
            raise VaelibError(
                f"sigma = {sigma} is not a standard deviation; give a positive number (the paper's: 0.03)"
            )
        if mean not in MEANS:
            raise unknown("mean of a Gaussian =", mean, MEANS)
        self.sigma, self.bounded = sigma, mean == "sigmoid"

    def channels_out(self, channels: int) -> int:
        """Return the decoder's channels: one number a pixel."""
        return channels

    def centre(self, params: Tensor) -> Tensor:
        """Return the mean of the density, E[x|z] before images are clipped to [0, 1]."""
        return params.sigmoid() if self.bounded else params

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log p(x|z), shape (B,), nats per image."""
        if params.shape != x.shape:
            raise VaelibError(f"params of {tuple(params.shape)} are not those of images x of {tuple(x.shape)}")
        distance = _SquaredDistance.apply(params, x, self.bounded)
        constant = x.shape[1:].numel() * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))
        return -0.5 / self.sigma**2 * distance - constant

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw images, clipped to [0, 1]."""
        place = params.device if generator is None else generator.device
        noise = sent(torch.randn(params.shape, generator=generator, device=place), params.device).to(params.dtype)
        return (self.centre(params) + self.sigma * noise).clamp(0, 1)

    def mean(self, params: Tensor) -> Tensor:
        """Return the mean of the density, clipped to [0, 1]."""
        return self.centre(params).clamp(0, 1)


LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian": Gaussian, "mol": MixtureOfLogistics}


def build_likelihood(name: str, **settings: float | str) -> Likelihood:
    """Return the likelihood called ``name``: ``bernoulli``, ``gaussian`` or ``mol``, with its own settings.

    Raises:
        VaelibError: unknown name.

    >>> build_likelihood("gaussian", sigma=0.1).sigma
    0.1
    """
    if name not in LIKELIHOODS:
        raise unknown("likelihood =", name, LIKELIHOODS)
    return LIKELIHOODS[name](**settings)
