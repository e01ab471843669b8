"""From a diffusion teacher to images: the Heun sampler and the synthetic bank."""

from .bank import Bank, fill_bank, sample_images
from .heun import heun_sample, time_steps

__all__ = ["Bank", "fill_bank", "heun_sample", "sample_images", "time_steps"]
