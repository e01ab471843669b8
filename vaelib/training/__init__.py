"""Training distributions (Eqs. 6–9), the VAE's loop and the diffusion model's."""

from .diffusion import DiffusionState, train_denoiser
from .distributions import METHODS, TrainingDistribution
from .vae import VAEState, train_vae

__all__ = ["METHODS", "DiffusionState", "TrainingDistribution", "VAEState", "train_denoiser", "train_vae"]
