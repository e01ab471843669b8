"""What VAEs are used for, as tests of the gaps' worth: classifying latents, reconstruction (Appendices F and G)."""

from .generation import generate
from .interpolation import different_pairs, interpolate, path_statistics
from .reconstruction import psnr, reconstruct
from .representation import CLASSIFIERS, build_classifier, overall, posterior_means, representation_accuracy

__all__ = [
    "CLASSIFIERS",
    "build_classifier",
    "different_pairs",
    "generate",
    "interpolate",
    "overall",
    "path_statistics",
    "posterior_means",
    "psnr",
    "reconstruct",
    "representation_accuracy",
]
