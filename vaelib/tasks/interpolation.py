r"""Smoothness of the latent space along a line between two images (Sec. 5.3, Fig. 3).

    z_α = α z_0 + (1 - α) z_1,    z_i = μ_φ(x_i),    x̃_α ~ p_θ(x|z_α),    L(α) = log q_φ(z_α | x̃_α)   in nats

So α = 0 is x_1 and α = 1 is x_0. L is low where the encoder does not find its way back from the decoder's image, and
it jumps where a little pixel noise moves the encoder far. x̃_α is one noisy draw (``"sample"``, the paper's), which
alone makes the curve jagged; several draws tell that noise from the path. :class:`PathStatistics` has the definitions
of "higher" and "smoother" that are compared over many pairs.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import VaelibError
from ..gaps.robustness import check_reconstruction
from ..images import as_float, check_images
from ..modes import evaluating
from ..precision import RETRAIN, require_finite
from ..rng import derive, generator


class Interpolation(NamedTuple):
    """One path, on the CPU: A values of α, L(α) of S reconstructions each, and what the decoder shows there.

    Attributes:
        alphas: (A,), from 0 (the second image) to 1 (the first).
        z: z_α, (A, d_z).
        log_q: log q(z_α | x̃_α), (S, A), nats; S = 1 for the decoder's mean.
        images: E[x|z_α], (A, C, H, W) in [0, 1], for display.
    """

    alphas: Tensor
    z: Tensor
    log_q: Tensor
    images: Tensor

    @property
    def mean(self) -> Tensor:
        """L(α) averaged over reconstructions, (A,) nats."""
        return self.log_q.mean(0)

    @property
    def spread(self) -> Tensor:
        """Standard deviation of L(α) over reconstructions, (A,) nats; 0 for a single one."""
        return self.log_q.std(0, correction=min(1, len(self.log_q) - 1))


class PathStatistics(NamedTuple):
    """Each path of many, (P,) on the CPU. Curves are those of single reconstructions, as in Fig. 3, then averaged.

    Attributes:
        level: mean of L over α, nats; larger is "higher".
        variation: Σ_i |L(α_{i+1}) - L(α_i)|, the total variation of log q from α = 0 to 1 on a grid of A points;
            smaller is smoother.
        roughness: variation / (max L - min L), total variation for each nat of range; 1 for a monotone curve, so a
            curve that is merely taller is not called rough.
        jitter: standard deviation of L over reconstructions of one z_α (root mean square over α), nats: the part of the
            variation that is pixel noise and no property of the line; NaN with one reconstruction.
    """

    level: Tensor
    variation: Tensor
    roughness: Tensor
    jitter: Tensor


def _reconstructions(vae: nn.Module, params: Tensor, kind: str, samples: int, seed: int, first: int) -> Tensor:
    """Return x̃_α of a run of alphas that starts with number ``first``, (S, a, C, H, W)."""
    if kind == "mean":
        return vae.likelihood.mean(params).unsqueeze(0)
    draws = [
        vae.likelihood.sample(one.expand(samples, *one.shape), generator(seed, "interpolate", index))
        for index, one in enumerate(params, first)
    ]
    return torch.stack(draws, 1)


def interpolate(
    vae: nn.Module,
    x0: Tensor,
    x1: Tensor,
    *,
    alphas: int = 101,
    samples: int = 1,
    reconstruction: str = "sample",
    seed: int = 0,
    chunk: int = 1000,
) -> Interpolation:
    """Return log q(z_α | x̃_α) along z_α = α z_0 + (1 - α) z_1 (Sec. 5.3), nats.

    Arguments:
        x0, x1: two images, (C, H, W) each, uint8 or floats in [0, 1].
        alphas: points on [0, 1], both ends included.
        samples: reconstructions of each z_α; the paper's curve has one.
        reconstruction: "sample" (the paper's) or "mean" of p(x|z_α).
        seed: of the pixel noise, which is named by (seed, number of α): two VAEs see the same.
        chunk: reconstructions encoded at once (never fewer than one α's); changes memory, never the noise.

    Raises:
        VaelibError: no images (:mod:`vaelib.images`), the same image twice, an unknown ``reconstruction``, or too few
            ``alphas`` or ``samples``.
        NonFinite: the VAE gave NaN or infinity.
    """
    check_reconstruction(reconstruction)
    if alphas < 2 or samples < 1:
        raise VaelibError(f"alphas = {alphas}, samples = {samples}: a path has at least 2 alphas and 1 sample of each")
    for name, x in (("x0[None]", x0), ("x1[None]", x1)):
        check_images(x[None], vae, name=name)
    if torch.equal(x0, x1):
        raise VaelibError("pair = the same image twice spans no line; choose two different images")
    with evaluating(vae) as device, torch.inference_mode():
        z0, z1 = vae.encode(torch.stack([as_float(x.to(device)) for x in (x0, x1)])).mu
        weight = torch.linspace(0, 1, alphas, dtype=z0.dtype, device=device).unsqueeze(1)
        z = weight * z0 + (1 - weight) * z1
        at_once = max(1, chunk // samples)
        log_q, images = [], []
        for first in range(0, alphas, at_once):
            part = z[first : first + at_once]
            params = vae.decode(part)
            require_finite(params, range(first, first + len(part)), "the path", RETRAIN)
            x = _reconstructions(vae, params, reconstruction, samples, seed, first)
            log_q.append(vae.encode(x.flatten(0, 1)).log_prob(part.repeat(len(x), 1)).view(len(x), -1))
            images.append(vae.likelihood.mean(params))
        return Interpolation(weight.squeeze(1).cpu(), z.cpu(), torch.cat(log_q, 1).cpu(), torch.cat(images).cpu())


def describe_path(log_q: Tensor) -> PathStatistics:
    """Return the statistics of one path from its curves (S, A), as scalars."""
    variation = log_q.diff(dim=1).abs().sum(1)
    span = (log_q.amax(1) - log_q.amin(1)).clamp_min(torch.finfo(log_q.dtype).tiny)  # a flat curve: roughness 0
    jitter = log_q.var(0).mean().sqrt() if len(log_q) > 1 else log_q.new_tensor(torch.nan)
    return PathStatistics(log_q.mean(), variation.mean(), (variation / span).mean(), jitter)


def path_statistics(
    vae: nn.Module, images: Tensor, pairs: Tensor, *, alphas: int = 51, samples: int = 2, seed: int = 0, **options
) -> PathStatistics:
    """Return :class:`PathStatistics` of many pairs; means and standard errors over pairs are the caller's.

    Arguments:
        images: (N, C, H, W), uint8 or floats in [0, 1].
        pairs: (P, 2) indices of x_0 and x_1. A pair's noise is named by (seed, the two indices) and by nothing else, so
            two VAEs are compared pair by pair under the same noise.
        options: of :func:`interpolate`, which also tells the errors raised.
    """
    check_images(images, vae)
    if (
        pairs.ndim != 2
        or pairs.shape[1] != 2
        or not len(pairs)
        or not 0 <= int(pairs.min()) <= int(pairs.max()) < len(images)
    ):
        raise VaelibError(
            f"pairs {tuple(pairs.shape)} must be (P, 2) numbers of images from 0 to {len(images) - 1}, P ≥ 1"
        )
    paths = []
    for first, second in pairs.tolist():
        noise = derive(seed, f"pair/{first}", second)
        path = interpolate(vae, images[first], images[second], alphas=alphas, samples=samples, seed=noise, **options)
        paths.append(describe_path(path.log_q))
    return PathStatistics(*map(torch.stack, zip(*paths, strict=True)))


def different_pairs(labels: Tensor, n: int, seed: int = 0) -> Tensor:
    """Return up to ``n`` pairs of indices, (P, 2): of different classes where there are several, no image twice.

    Raises:
        VaelibError: not a single pair.
    """
    shuffled = torch.randperm(len(labels), generator=generator(seed, "pairs"))
    pairs = shuffled[: len(labels) // 2 * 2].view(-1, 2)
    classes = labels.cpu()[pairs]
    if len(labels.unique()) > 1:
        pairs = pairs[classes[:, 0] != classes[:, 1]]
    if not len(pairs) or n < 1:
        raise VaelibError(f"pairs = {n} from {len(labels)} images cannot be had; give at least 1, and more images")
    return pairs[:n]
