"""Likelihoods, VAE networks and the EDM denoiser."""

from .likelihoods import Bernoulli, Gaussian, Likelihood, MixtureOfLogistics, build_likelihood
from .vae import VAE, FullyConnectedVAE, Posterior, elbo, elbo_at

__all__ = [
    "VAE",
    "Bernoulli",
    "FullyConnectedVAE",
    "Gaussian",
    "Likelihood",
    "MixtureOfLogistics",
    "Posterior",
    "build_likelihood",
    "elbo",
    "elbo_at",
]
