r"""Conditional likelihoods :math:`p_\theta(x|z)` of Eq. (2), in nats per image.

A decoder emits ``params`` of shape (B, ``channels_out(C)``, H, W) for images ``x`` in [0, 1] of shape (B, C, H, W).
Each likelihood scores (:meth:`log_prob`), draws (:meth:`sample`) and averages (:meth:`mean`); the three agree exactly.

=====================  ============================================  ===============================
name                   density of one pixel                          the paper uses it for
=====================  ============================================  ===============================
``bernoulli``          Bernoulli(sigmoid(l))                         BinaryMNIST
``gaussian``           N(x; m, 0.03²), normalising constant kept     FashionMNIST (Figs. 11, 13)
``mol``                10 discretised logistics (Salimans 2017)      FashionMNIST (Fig. 12), CIFAR-10
=====================  ============================================  ===============================
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import VaelibError


class Likelihood(Protocol):
    """What a VAE asks of its likelihood."""

    name: str

    def channels_out(self, channels: int) -> int: ...
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor: ...
    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor: ...
    def mean(self, params: Tensor) -> Tensor: ...


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw U(0, 1) on the generator's device (the CPU unless told), away from 0 and 1, in ``like``'s shape and place."""
    place = like.device if generator is None else generator.device
    tiny = torch.finfo(torch.float32).eps
    return torch.rand(like.shape, generator=generator, device=place).to(like).clamp(tiny, 1 - tiny)


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
        return (_uniform(params, generator) < params.sigmoid()).to(params.dtype)

    def mean(self, params: Tensor) -> Tensor:
        """Return E[x|z] in [0, 1]."""
        return params.sigmoid()


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
        residual = (x - params).flatten(1)
        constant = residual.shape[1] * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))
        return -0.5 / self.sigma**2 * residual.square().sum(1) - constant

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw images, clipped to [0, 1]."""
        place = params.device if generator is None else generator.device
        noise = torch.randn(params.shape, generator=generator, device=place).to(params)
        return (params + self.sigma * noise).clamp(0, 1)

    def mean(self, params: Tensor) -> Tensor:
        """Return E[x|z], clipped to [0, 1]."""
        return params.clamp(0, 1)


class MixtureOfLogistics:
    r"""Discretised mixture of K logistics for one channel (Salimans et al. 2017, Eq. 2, in one dimension).

    A grey level v in {0..255} is the bin :math:`[v-\frac12, v+\frac12]/127.5-1` of a logistic mixture on the line, the
    first and last bin reaching to infinity. With a, b the standardised bin edges,

    .. math:: \sigma(b) - \sigma(a) = \sigma(b)\,\sigma(-a)\,(1 - e^{-(b-a)}),

    so the logarithm needs no special case: the open end of an edge bin is a = -inf or b = +inf.
    """

    name = "mol"

    def __init__(self, mixtures: int = 10, min_log_scale: float = -7.0):
        if mixtures < 1:
            raise VaelibError(f"mixtures = {mixtures}: a mixture has at least one component (the paper's: 10)")
        self.mixtures, self.min_log_scale = mixtures, min_log_scale

    def channels_out(self, channels: int) -> int:
        """Return the decoder's channels: logit, mean and log-scale a component.

        Raises:
            VaelibError: more than one channel.
        """
        if channels != 1:
            raise VaelibError(
                f"likelihood = mol scores 1 channel, not {channels}; use likelihood = gaussian for colour"
            )
        return 3 * self.mixtures

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, means and log-scales, each (B, K, H, W)."""
        logits, means, log_scales = params.chunk(3, dim=1)
        # Above e^30 a logistic is flat to float32; unclamped, its rate would underflow and log(0) poison the gradient.
        return logits, means, log_scales.clamp(self.min_log_scale, 30)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log p(x|z), shape (B,), nats per image; ``x`` is (B, 1, H, W) on the grid of multiples of 1/255."""
        logits, means, log_scales = self._split(params)
        centred, rate = 2 * x - 1 - means, torch.exp(-log_scales)
        lower, upper = (centred - 1 / 255) * rate, (centred + 1 / 255) * rate
        first, last = x < 0.5 / 255, x > 1 - 0.5 / 255
        log_sigma_b = F.logsigmoid(upper).masked_fill(last, 0)
        log_sigma_minus_a = F.logsigmoid(-lower).masked_fill(first, 0)
        log_width = torch.log(-torch.expm1(-2 / 255 * rate)).masked_fill(first | last, 0)
        log_bins = log_sigma_b + log_sigma_minus_a + log_width
        log_pixels = torch.logsumexp(logits + log_bins, 1) - torch.logsumexp(logits, 1)
        return log_pixels.flatten(1).sum(1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw images on the 256-level grid, exactly from the density scored by :meth:`log_prob`."""
        logits, means, log_scales = self._split(params)
        gumbel = -torch.log(-torch.log(_uniform(logits, generator)))
        chosen = (logits + gumbel).argmax(1, keepdim=True)
        mean, scale = means.gather(1, chosen), log_scales.gather(1, chosen).exp()
        u = _uniform(mean, generator)
        value = mean + scale * (torch.log(u) - torch.log1p(-u))
        return ((value + 1) * 127.5).round().clamp(0, 255) / 255

    def mean(self, params: Tensor) -> Tensor:
        """Return the mixture's mean, each component's mean clipped to [0, 1]."""
        logits, means, _ = self._split(params)
        return (logits.softmax(1) * ((means + 1) / 2).clamp(0, 1)).sum(1, keepdim=True)


LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian": Gaussian, "mol": MixtureOfLogistics}


def build_likelihood(name: str, **settings: float) -> Likelihood:
    """Return the likelihood called ``name``: ``bernoulli``, ``gaussian`` or ``mol``.

    Raises:
        VaelibError: unknown name.
    """
    if name not in LIKELIHOODS:
        raise VaelibError(f"likelihood = {name!r} is unknown; choose one of {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[name](**settings)
