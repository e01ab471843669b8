"""Variational autoencoders: ``q_φ(z|x)``, ``p_θ(x|z)`` and the ELBO of Eq. (2).

    ELBO_Θ(x) = E_{z ~ q_φ(z|x)}[log p_θ(x|z)] − KL(q_φ(z|x) ‖ p(z))

The prior is N(0, I), the posterior a diagonal Gaussian, so the KL term is exact and only the first term is sampled.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import VaelibError
from ..images import SIDE, as_float, check_images
from .likelihoods import Gaussian, Likelihood

SMALLEST_SIGMA = 1e-6


class Posterior(NamedTuple):
    """A diagonal Gaussian q(z|x) with mean ``mu`` and standard deviation ``sigma``, each (B, d_z).

    >>> Posterior(mu=torch.zeros(1, 2), sigma=torch.ones(1, 2)).kl()  # the prior itself
    tensor([0.])
    """

    mu: Tensor
    sigma: Tensor

    def rsample(self, eps: Tensor) -> Tensor:
        """Return z = mu + sigma * eps; ``eps`` is (B, d_z) or (S, B, d_z)."""
        return self.mu + self.sigma * eps

    def kl(self) -> Tensor:
        """Return KL(q(z|x) || N(0, I)), shape (B,), nats."""
        return 0.5 * (self.mu.square() + self.sigma.square() - 1 - 2 * self.sigma.log()).sum(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log q(z|x), nats, summed over latents."""
        standard = (z - self.mu) / self.sigma
        return -(0.5 * standard.square() + self.sigma.log() + 0.5 * math.log(2 * math.pi)).sum(-1)


class VAE(nn.Module, ABC):
    """Encoder, decoder and likelihood; subclasses supply the two networks.

    Attributes:
        d_z: number of latents.
        channels: image channels C.
        image_shape: (C, H, W), from ``size``: pixels a side, or (H, W).
        likelihood: p(x|z), see :mod:`vaelib.models.likelihoods`.
        smallest_sigma: the floor of the posterior's standard deviations.

    >>> vae: VAE = FullyConnectedVAE()  # docs/own-work.md makes another one
    >>> vae.d_z, vae.image_shape
    (16, (1, 32, 32))
    """

    smallest_sigma: float = SMALLEST_SIGMA

    def __init__(self, d_z: int, channels: int, likelihood: Likelihood, size: int | tuple[int, int] = SIDE):
        super().__init__()
        if d_z < 1:
            raise VaelibError(f"latents = {d_z}: a VAE needs at least one latent (the paper's: 16)")
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise VaelibError(f"size = {size}: an image has at least one pixel a side (the paper's: 32)")
        self.d_z, self.channels, self.likelihood = d_z, channels, likelihood
        self.image_shape = channels, height, width

    @abstractmethod
    def encoder_output(self, x: Tensor) -> Tensor:
        """Return the encoder's raw output (B, 2 d_z) for images (B, C, H, W) in [0, 1]."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters (B, channels_out, H, W) for latents (B, d_z)."""

    def encode(self, x: Tensor) -> Posterior:
        """Return q(z|x) = N(mu, diag(softplus(s))²) for images (B, C, H, W) in [0, 1]."""
        mu, s = in_float32(self.encoder_output(x)).chunk(2, dim=1)
        # An attack drives s down until softplus underflows; 1/sigma^2 must stay finite, and no posterior is that narrow.
        return Posterior(mu, F.softplus(s).clamp_min(self.smallest_sigma))

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        """Return the ELBO of each image, shape (B,); :func:`elbo` without its checks, for a training's every step."""
        return elbo_at(self, self.encode(x), x, eps)


def elbo(vae: VAE, x: Tensor, eps: Tensor) -> Tensor:
    """Return the ELBO of Eq. (2) for each image, shape (B,), nats per image.

    Arguments:
        x: images (B, C, H, W), uint8 or floats in [0, 1].
        eps: standard normal noise, (B, d_z) or (S, B, d_z) for S samples of z an image.

    The network is taken in the mode that it is in: call ``vae.eval()`` first, or a residual network that was just trained
    uses the batch's own statistics. :func:`~vaelib.gaps.evaluate_elbo` does it by itself.

    Raises:
        VaelibError: no batch of images (:mod:`vaelib.images`), or noise of another shape.

    >>> elbo(FullyConnectedVAE(d_z=2), torch.rand(3, 1, 32, 32), eps=torch.randn(3, 2)).shape
    torch.Size([3])
    """
    check_images(x, vae, name="x")
    if eps.ndim not in (2, 3) or eps.shape[-2:] != (len(x), vae.d_z):
        raise VaelibError(
            f"eps of shape {tuple(eps.shape)} must be ({len(x)}, {vae.d_z}), or (S, {len(x)}, {vae.d_z}) for S samples of z"
        )
    x = as_float(x)
    return elbo_at(vae, vae.encode(x), x, eps)


def elbo_at(vae: VAE, q: Posterior, x: Tensor, eps: Tensor) -> Tensor:
    """Return the ELBO of Eq. (2) under an arbitrary posterior ``q`` of the batch (Eq. 4 uses q*), shape (B,).

    ``x`` may come repeated S times, (S B, C, H, W), from a caller who asks often about the same images.
    """
    return log_likelihood_at(vae, q, x, eps) - q.kl()


def log_likelihood_at(vae: VAE, q: Posterior, x: Tensor, eps: Tensor) -> Tensor:
    """Return E_{z ~ q}[log p(x|z)], the first term of Eq. (2), shape (B,), nats; arguments as for :func:`elbo_at`."""
    z = q.rsample(eps).flatten(0, -2)
    samples = len(z) // len(q.mu)
    repeated = x if len(x) == len(z) else x.repeat(samples, 1, 1, 1)
    params = in_float32(vae.decode(z))
    return vae.likelihood.log_prob(params, repeated).unflatten(0, (samples, len(q.mu))).mean(0)


def in_float32(values: Tensor) -> Tensor:
    """Return half-precision values in float32, others as they are: a network's outputs under autocast, if it is not ours.

    At sigma = 0.03 the likelihood and the KL divergence in bfloat16 are off by tens of nats.
    """
    return values.float() if values.dtype.itemsize < 4 else values


class _Float32Forward(torch.autograd.Function):
    """x W^T + b in float32, its gradients from bfloat16 products: rounding that Adam averages out, at twice the speed."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x.bfloat16(), weight.bfloat16())
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        rounded = gradient.bfloat16()
        return (rounded @ weight).float(), (rounded.t() @ x).float(), gradient.sum(0)


class Linear32(nn.Linear):
    """A linear layer whose output is computed in float32 whatever autocast says.

    For the layers beside the latents and the pixels: at sigma = 0.03 bfloat16 rounds a pixel's mean by 0.13 sigma and
    a latent's mean by more than the width of its posterior.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b, float32, for x of shape (B, in)."""
        mixed = torch.is_autocast_enabled(x.device.type) and torch.is_grad_enabled()
        with torch.autocast(x.device.type, enabled=False):
            return (_Float32Forward.apply if mixed else F.linear)(x.to(self.weight.dtype), self.weight, self.bias)


class FullyConnectedVAE(VAE):
    """The paper's MLP (Appendix B.1, Table 3): 1024-512-512-(16+16) and its mirror image, ReLU.

    Arguments:
        d_z: latents.
        hidden: width of the two hidden layers on either side.
        channels: image channels.
        likelihood: p(x|z); Gaussian(0.03) unless given.
        size: of the images: pixels a side, or (H, W).

    >>> FullyConnectedVAE(d_z=2).encode(torch.rand(3, 1, 32, 32)).mu.shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        d_z: int = 16,
        hidden: int = 512,
        channels: int = 1,
        likelihood: Likelihood | None = None,
        size: int | tuple[int, int] = SIDE,
    ):
        super().__init__(d_z, channels, likelihood or Gaussian(), size)
        if hidden < 1:
            raise VaelibError(f"hidden = {hidden}: a layer has at least one unit (the paper's: 512)")
        _, height, width = self.image_shape
        pixels = height * width
        self.channels_out = self.likelihood.channels_out(channels)
        self.encoder = nn.Sequential(
            nn.Linear(channels * pixels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            Linear32(hidden, 2 * d_z),
        )
        self.decoder = nn.Sequential(
            Linear32(d_z, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            Linear32(hidden, self.channels_out * pixels),
        )

    def encoder_output(self, x: Tensor) -> Tensor:
        """Return the encoder's raw output, (B, 2 d_z)."""
        return self.encoder(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters, (B, channels_out, H, W)."""
        return self.decoder(z).unflatten(1, (self.channels_out, *self.image_shape[1:]))
