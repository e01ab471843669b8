r"""Generalization in variational autoencoders: the companion library of Xiao, Zenn & Bamler (TMLR 12/2024).

The paper's symbols and their names here:

| on paper         | in code                       | where                                                 |
| ---------------- | ----------------------------- | ----------------------------------------------------- |
| ``x``, ``x_r``   | ``x``, ``images``             | floats in [0, 1] in a batch, uint8 at rest            |
| ``z``, ``d_z``   | ``z``, ``vae.d_z``            | latents and their number                              |
| ``q_φ(z\|x)``    | ``vae.encode(x)``             | :class:`Posterior` (``mu``, ``sigma``)                |
| ``p_θ(x\|z)``    | ``vae.likelihood``            | :class:`Bernoulli`, :class:`Gaussian`, ...            |
| ``g_θ(z)``       | ``vae.decode(z)``             | the likelihood's parameters                           |
| ELBO (2)         | :func:`elbo`                  | nats per image                                        |
| log p(x)         | :func:`iwae`, :func:`bdmc`    | from below; from both sides                           |
| ``G_g`` (3)      | :func:`evaluate_elbo`, twice  | D_train minus D_test                                  |
| ``G_a`` (4)      | :func:`optimize_posterior`    | ``.gap``                                              |
| ``G_r`` (5)      | :func:`robustness_gap`        | ``.gap``; attack (10): :func:`attack_encoder`         |
| all of these     | :func:`scorecard`             | one record; :class:`Scorecard`                        |
| Eqs. (7)-(9)     | :class:`TrainingDistribution` | normal, DMaaPx, augmented; :class:`MixedDistribution` |
| ``n_c``, ``m_z`` | ``ResidualVAE(nc=, mz=)``     | :func:`count_parameters`: \|Θ\|, \|Θ_z\|, \|Θ_¬z\|    |
| ``p_DM(x')``     | :class:`EDMDenoiser`          | :func:`heun_sample`, :func:`sample_images`            |
| k                | ``k``                         | the bank holds k·N samples                            |

``vaelib.runs`` makes and keeps whole experiments; ``vaelib.report`` draws figures and judges the paper's claims.
"""

from .data import Augmentation, ImageData, augmentation, load_dataset
from .errors import NonFinite, NonFiniteLoss, VaelibError
from .gaps import attack_encoder, bdmc, evaluate_elbo, iwae, ms_ssim, optimize_posterior, robustness_gap
from .models import (
    VAE,
    Bernoulli,
    FullyConnectedVAE,
    Gaussian,
    MixtureOfLogistics,
    Posterior,
    ResidualVAE,
    build_likelihood,
    count_parameters,
    elbo,
    from_functions,
    from_pythae,
)
from .models.denoiser import EDMDenoiser, build_denoiser
from .samplers import dpmpp_2m_sample, heun_sample, sample_images
from .scoring import Scorecard, scorecard
from .training.diffusion import DiffusionState, train_denoiser
from .training.distributions import MixedDistribution, TrainingDistribution
from .training.mollify import Mollified, Mollify
from .training.rha import train_encoder
from .training.vae import VAEState, train_vae
from .version import __version__

__all__ = [
    "VAE", "Augmentation", "Bernoulli", "DiffusionState", "EDMDenoiser", "FullyConnectedVAE", "Gaussian", "ImageData",
    "MixedDistribution", "MixtureOfLogistics", "Mollified", "Mollify", "NonFinite", "NonFiniteLoss", "Posterior",
    "ResidualVAE", "Scorecard", "TrainingDistribution", "VAEState", "VaelibError", "__version__", "attack_encoder",
    "augmentation", "bdmc", "build_denoiser", "build_likelihood", "count_parameters", "dpmpp_2m_sample", "elbo",
    "evaluate_elbo", "from_functions", "from_pythae", "heun_sample", "iwae", "load_dataset", "ms_ssim",
    "optimize_posterior", "robustness_gap", "sample_images", "scorecard", "train_denoiser", "train_encoder",
    "train_vae",
]  # fmt: skip
