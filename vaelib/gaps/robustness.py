r"""The robustness gap (Eq. 5): how much more an attack changes reconstructions than it changes images.

    G_r = E_{x_r ~ D_test} E_{x_a | x_r} { MS-SSIM[x_r, x_a] - MS-SSIM[x̃_r, x̃_a] },   x̃ ~ p(x|z), z ~ q(z|x)

x_a | x_r is the random restart of the attack (Eq. 10). Reconstructions are random twice: z is sampled, and so is x̃
(``reconstruction="sample"``; ``"mean"`` takes the likelihood's mean instead). Two reconstructions of one clean image
therefore differ already; the gap that this alone would cause, 1 - MS-SSIM[x̃_r, x̃_r'], is the ``floor`` to print beside
G_r. Where the attack drives a σ down to the smallest that the encoder allows (VAE.smallest_sigma), that number, and not
the network, ends the attack: ``at_sigma_floor`` is the share of such attacks. G_r need not depend on it (notebook 09).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..data import splits
from ..errors import VaelibError, unknown
from ..images import as_float, check_form, check_images, check_labels
from ..modes import evaluating
from ..precision import RETRAIN, require_finite
from ..rng import generator, normal
from .attack import attack_encoder
from .similarity import check_size, check_variant, similarity

RECONSTRUCTIONS = ("sample", "mean")


class RobustnessGap(NamedTuple):
    """Averages over restarts, one entry per attacked image, (n_r,) on the CPU; standard errors are over images."""

    input_similarity: Tensor
    reconstruction_similarity: Tensor
    gap: Tensor
    floor: Tensor
    at_sigma_floor: Tensor


def stratified(labels: Tensor, n: int, seed: int = 0) -> Tensor:
    """Return ``n`` indices into ``labels`` with the class proportions kept; raises VaelibError if there are fewer."""
    if not 1 <= n <= len(labels):
        raise VaelibError(f"n_images = {n} is out of range; choose 1 to {len(labels)}, the number of test images")
    return torch.from_numpy(splits.stratified(labels.cpu().numpy(), n, seed, "stratified"))


def check_reconstruction(kind: str) -> None:
    """Raise VaelibError if reconstructions of this kind are unknown."""
    if kind not in RECONSTRUCTIONS:
        raise unknown("reconstruction", kind, RECONSTRUCTIONS)


def _reconstruct(vae: nn.Module, x: Tensor, indices: list[int], kind: str, seed: int, purpose: str) -> Tensor:
    """Return x̃ for images (B, C, H, W), with z sampled from q(z|x) under noise named by ``purpose`` and image."""
    eps = torch.stack([normal((vae.d_z,), seed, purpose, index) for index in indices]).to(x.device)
    params = vae.decode(vae.encode(x).rsample(eps))
    require_finite(params, indices, "the test images, decoded,", RETRAIN)
    if kind == "mean":
        return vae.likelihood.mean(params).clamp(0, 1)
    return vae.likelihood.sample(params, generator(seed, f"{purpose}/pixels")).clamp(0, 1)


class Pairs(NamedTuple):
    """What one restart compares, two batches (n_r, C, H, W) each on the model's device: x_r and x_a, x̃_r and x̃_a, x̃_r and x̃_r'."""

    inputs: tuple[Tensor, Tensor]
    reconstructions: tuple[Tensor, Tensor]
    again: tuple[Tensor, Tensor]


def attacked_pairs(
    vae: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    n_images: int = 50,
    restarts: int = 10,
    steps: int = 50,
    radius: float = 0.1,
    lr: float = 1.0,
    seed: int = 0,
    reconstruction: str = "sample",
    gradient: str = "raw",
    start: str = "kuzina2022",
) -> Iterator[Pairs]:
    """Yield the pairs of images whose similarity Eq. 5 takes, restart by restart; see :func:`robustness_gap`."""
    check_reconstruction(reconstruction)
    check_images(images, vae)
    check_labels(labels, len(images))
    chosen = stratified(labels, n_images, seed)
    indices = chosen.tolist()
    attack = {"radius": radius, "steps": steps, "lr": lr, "restarts": restarts, "seed": seed}
    attack |= {"gradient": gradient, "start": start}
    with evaluating(vae) as device:
        x_r = as_float(images[chosen.to(images.device)].to(device))
        attacked = attack_encoder(vae, x_r, indices=indices, **attack)
    for restart, x_a in enumerate(attacked):
        with evaluating(vae), torch.inference_mode():
            after, before, again = (
                _reconstruct(vae, x, indices, reconstruction, seed, f"reconstruct/{name}/{restart}")
                for x, name in ((x_a, "attacked"), (x_r, "clean"), (x_r, "again"))
            )
        yield Pairs((x_r, x_a), (before, after), (before, again))


def robustness_gap(
    vae: nn.Module, images: Tensor, labels: Tensor, *, variant: str = "kuzina2022", **options: Any
) -> RobustnessGap:
    """Return the terms of Eq. 5 for ``n_images`` class-stratified test images (dimensionless, MS-SSIM).

    Arguments:
        images, labels: the test set, (N, C, H, W) uint8 or floats in [0, 1], and (N,).
        variant: of MS-SSIM, see :mod:`vaelib.gaps.similarity`.
        options: ``n_images``, ``restarts``, ``steps``, ``lr``, ``radius``: n_r, n_a, n_ε, η, δ of Table 2 (CIFAR-10: 20,
            10, 100, 1.0, 0.05); ``seed``; ``reconstruction``: "sample" or "mean" of p(x|z); ``gradient`` and ``start``,
            see :mod:`vaelib.gaps.attack`. Defaults are those of :func:`attacked_pairs`.

    Raises:
        VaelibError: an unknown variant name, more images asked for than there are, no batch of images
            (:mod:`vaelib.images`), images under 16 pixels a side, or labels that are not a whole number from 0 on for each of them.
        NonFinite: the VAE gave NaN or infinity.

    >>> from vaelib import FullyConnectedVAE
    >>> images, labels = torch.rand(6, 1, 32, 32), torch.arange(6) % 2
    >>> robustness_gap(FullyConnectedVAE(d_z=2), images, labels, n_images=4, restarts=2, steps=2).gap.shape
    torch.Size([4])
    """
    check_variant(variant)
    check_form(images, vae)
    check_size(images)
    rows, smallest = [], getattr(vae, "smallest_sigma", 0.0)
    for found in attacked_pairs(vae, images, labels, **options):
        with evaluating(vae), torch.inference_mode():
            pinned = (vae.encode(found.inputs[1]).sigma <= smallest).any(1)
        rows.append(torch.stack([*(similarity(*pair, variant) for pair in found), pinned.to(found.inputs[1])]))
    inputs, reconstructions, same, pinned = torch.stack(rows).mean(0).cpu()
    return RobustnessGap(inputs, reconstructions, inputs - reconstructions, 1 - same, pinned)
