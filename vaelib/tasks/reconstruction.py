r"""Reconstruction (App. F, Table 11): what of an image x is left after encoding and decoding.

    z = μ(x), the posterior's mean;      x̃ ~ p(x|z) (``"sample"``, as in the paper)  or  x̃ = E[x|z] (``"mean"``)
    PSNR = -10 log₁₀( mean over all images, channels and pixels of (x - x̃)² )          in dB, x in [0, 1]

Pooled: one mean over the whole set, then one logarithm (a mean of the images' PSNRs would be larger). A sample carries
the likelihood's own noise: PSNR of "sample" is what Table 11 prints, "mean" is a few dB higher.
"""

import math

import torch
from torch import Tensor, nn

from ..gaps.robustness import check_reconstruction
from ..images import as_float, check_images
from ..modes import evaluating
from ..precision import RETRAIN, require_finite
from ..rng import generator


def _decode(vae: nn.Module, x: Tensor, kind: str, seed: int, start: int) -> Tensor:
    """Return x̃ of the images ``x`` numbered from ``start``; pixel noise is named by (seed, image number)."""
    params = vae.decode(vae.encode(x).mu)
    numbers = range(start, start + len(x))
    require_finite(params, numbers, "the reconstructions", RETRAIN)
    if kind == "mean":
        return vae.likelihood.mean(params).clamp(0, 1)
    draws = (generator(seed, "reconstruct", start + i) for i in range(len(x)))
    samples = [vae.likelihood.sample(p, draw) for p, draw in zip(params.split(1), draws, strict=True)]
    return torch.cat(samples).clamp(0, 1)


def reconstruct(vae: nn.Module, images: Tensor, kind: str = "sample", seed: int = 0, batch_size: int = 1000) -> Tensor:
    """Return x̃ of every image, (N, C, H, W) floats in [0, 1] on the CPU.

    Arguments:
        images: (N, C, H, W), uint8 or floats in [0, 1].
        kind: "sample" or "mean" of p(x|z) at the posterior's mean.
        batch_size: images decoded at once; changes memory, never the noise.

    Raises:
        VaelibError: unknown ``kind``, or no batch of images (:mod:`vaelib.images`).
        NonFinite: the VAE gave NaN or infinity.
    """
    check_reconstruction(kind)
    check_images(images, vae)
    parts = []
    with evaluating(vae) as device, torch.inference_mode():
        for start in range(0, len(images), batch_size):
            x = as_float(images[start : start + batch_size].to(device))
            parts.append(_decode(vae, x, kind, seed, start).cpu())
        return torch.cat(parts)


def psnr(vae: nn.Module, images: Tensor, kind: str = "sample", seed: int = 0, batch_size: int = 1000) -> float:
    """Return the pooled peak signal-to-noise ratio in dB, infinite where nothing is lost; see :func:`reconstruct`."""
    found = reconstruct(vae, images, kind, seed, batch_size)
    pairs = zip(images.split(batch_size), found.split(batch_size), strict=True)
    error = sum((as_float(x.cpu()).double() - found).square().sum().item() for x, found in pairs) / images.numel()
    return -10 * math.log10(error) if error else math.inf
