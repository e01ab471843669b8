r"""Toy worlds whose p_data is known: what the paper can only argue for (Fig. 1, Table 1, Remark B.5) is a number here.

| world                 | x                                         | known exactly                  |
| --------------------- | ----------------------------------------- | ------------------------------ |
| `vaelib.data.plane`   | points in the plane                       | density                        |
| :class:`DecoderWorld` | images of a VAE, z ~ N(0, I), x ~ p(x\|z) | the z behind each x            |
| :class:`LinearWorld`  | the same, x = W z + b + σ ε               | also density, entropy          |

Every world draws ``sample(n, seed)``; entropies and densities are in nats, differential where x is continuous. The
first criterion of Table 1 for a training distribution is :func:`unique_share` of its samples.
"""

import math
from functools import cached_property

import torch
from torch import Tensor, nn

from .. import rng
from ..models.likelihoods import Gaussian, build_likelihood
from ..models.linear import LinearGaussianVAE
from ..models.vae import FullyConnectedVAE
from ..modes import evaluating, tensors_of


def unique_share(samples: Tensor) -> float:
    """Return the share of distinct rows among ``samples`` (n, ...): 1 where none repeats (criterion 1 of Table 1)."""
    return len(samples.flatten(1).unique(dim=0)) / len(samples)


class DecoderWorld:
    """The data that a VAE generates, z ~ N(0, I), x ~ p(x|z): a model's own world, where its p_θ is p_data.

    Works for any VAE, a trained one too. Since z is an exact sample of p(z|x),
    log p(x) can be bounded from above (:func:`vaelib.gaps.bdmc`).
    """

    def __init__(self, vae: nn.Module):
        self.vae = vae

    @torch.no_grad()
    def pairs(self, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Draw ``n`` latents (n, d_z) and their images (n, C, H, W), floats; Gaussian pixels are not clipped to [0, 1]."""
        like = next(tensors_of(self.vae))
        z = rng.normal((n, self.vae.d_z), seed, "world/latents").to(like)
        with evaluating(self.vae):
            params, pixels = self.vae.decode(z), rng.generator(seed, "world/pixels")
        if isinstance(self.vae.likelihood, Gaussian):  # its sample() clips, which its density does not
            noise = torch.randn(params.shape, generator=pixels).to(params)
            return z, self.vae.likelihood.centre(params) + self.vae.likelihood.sigma * noise
        return z, self.vae.likelihood.sample(params, pixels)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` images, (n, C, H, W) floats."""
        return self.pairs(n, seed)[1]


class LinearWorld(DecoderWorld):
    """Images x = W z + b + σ ε of a :class:`LinearGaussianVAE`: a Gaussian, so that everything is known."""

    vae: LinearGaussianVAE

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log N(x; b, W Wᵀ + σ² I), (n,) float64 nats."""
        return self.vae.log_px(x)

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """The mean b (D,) and the covariance W Wᵀ + σ² I (D, D), float64: all there is to know of a Gaussian."""
        weight = self.vae.weight.double()
        noise = self.vae.sigma**2 * torch.eye(len(weight), dtype=torch.float64, device=weight.device)
        return self.vae.bias.double(), weight @ weight.T + noise

    @cached_property
    def entropy(self) -> float:
        """H(p) = ½ [D log(2πe σ²) + log det Λ] with the posterior's precision Λ, nats."""
        pixels = len(self.vae.bias)
        noise = pixels * (math.log(2 * math.pi * self.vae.sigma**2) + 1)
        return 0.5 * (noise + float(torch.logdet(self.vae.precision.double())))


def linear_world(
    d_z: int = 4,
    image_shape: tuple[int, int, int] = (1, 8, 8),
    sigma: float = 0.3,
    seed: int = 0,
    shared: float = 0.0,
    orthogonal: bool = False,
) -> LinearWorld:
    """Return a linear-Gaussian world with W_ij ~ N(0, 1/16) and b = ½; its encoder is the mean-field optimum.

    Arguments:
        shared: the correlation of W's columns, 0 to 1: the larger, the more a factorised posterior loses.
        orthogonal: make W's columns orthogonal, for which the factorised posterior is exact: ELBO* = log p(x).
    """
    pixels = math.prod(image_shape)
    draws = rng.normal((pixels, d_z), seed, "world/weights") / 4
    common = rng.normal((pixels, 1), seed, "world/shared") / 4
    weight = math.sqrt(1 - shared) * draws + math.sqrt(shared) * common if shared else draws
    if orthogonal:
        weight = torch.linalg.qr(weight).Q * weight.norm(dim=0)
    return LinearWorld(LinearGaussianVAE(weight, torch.full((pixels,), 0.5), sigma, image_shape))


def random_decoder(
    likelihood: str = "bernoulli", *, d_z: int = 8, hidden: int = 64, gain: float = 1.0, seed: int = 0, **settings
) -> DecoderWorld:
    """Return the world of a fully connected VAE with random weights: He initialisation, outputs of std about ``gain``.

    ``settings`` go to the likelihood (``sigma`` of a Gaussian, say). The encoder is random too, and knows nothing.
    """
    with rng.seeded(seed, "world/decoder"):
        vae = FullyConnectedVAE(d_z, hidden, likelihood=build_likelihood(likelihood, **settings))
        layers = [layer for layer in vae.decoder if isinstance(layer, nn.Linear)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(layers[-1].weight, std=gain * hidden**-0.5)
    return DecoderWorld(vae)
