"""What VAEs and teachers are worth: classifying latents, reconstructions, samples (Appendices D, F and G)."""

from .classifier import FitState, SmallClassifier, build_network, features_of, fit, logits_of
from .generation import generate
from .inception import InceptionQuality, inception_quality, load_inception
from .interpolation import different_pairs, interpolate, path_statistics
from .neighbours import nearest
from .quality import PrecisionRecall, ProxyQuality, frechet_distance, inception_score, precision_recall, proxy_quality
from .reconstruction import psnr, reconstruct
from .representation import CLASSIFIERS, build_classifier, overall, posterior_means, representation_accuracy

__all__ = [
    "CLASSIFIERS", "FitState", "InceptionQuality", "PrecisionRecall", "ProxyQuality", "SmallClassifier",
    "build_classifier", "build_network", "different_pairs", "features_of", "fit", "frechet_distance", "generate",
    "inception_quality", "inception_score", "interpolate", "load_inception", "logits_of", "nearest", "overall",
    "path_statistics", "posterior_means", "precision_recall", "proxy_quality", "psnr", "reconstruct",
    "representation_accuracy",
]  # fmt: skip
