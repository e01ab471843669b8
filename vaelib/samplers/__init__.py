"""From a diffusion teacher to images: two samplers and the synthetic bank."""

from .bank import Bank, fill_bank, sample_images
from .dpmpp import dpmpp_2m_sample
from .heun import heun_sample, time_steps

__all__ = ["Bank", "dpmpp_2m_sample", "fill_bank", "heun_sample", "sample_images", "time_steps"]
