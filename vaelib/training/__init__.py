"""Training distributions (Eqs. 6–9, mixed, mollified), the VAE's loop, regularised too, Reverse Half Asleep, the diffusion loop."""

from .diffusion import DiffusionState, train_denoiser
from .distributions import METHODS, MixedDistribution, Stream, TrainingDistribution
from .mollify import Mollified, Mollify
from .regularise import Regulariser, kl_between
from .rha import encoder_state, train_encoder
from .vae import Epoch, VAEState, early_stopping_oracle, train_vae

__all__ = [
    "METHODS", "DiffusionState", "Epoch", "MixedDistribution", "Mollified", "Mollify", "Regulariser", "Stream",
    "TrainingDistribution", "VAEState", "early_stopping_oracle", "encoder_state", "kl_between", "train_denoiser",
    "train_encoder", "train_vae",
]  # fmt: skip
