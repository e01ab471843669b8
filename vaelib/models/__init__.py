"""Likelihoods, VAE networks and the EDM denoiser."""

from .adapters import FunctionVAE, from_functions, from_pythae
from .likelihoods import Bernoulli, Gaussian, Likelihood, MixtureOfLogistics, build_likelihood
from .residual import ParameterCount, ResidualVAE, count_parameters
from .vae import VAE, FullyConnectedVAE, Posterior, elbo, elbo_at

__all__ = [
    "VAE", "Bernoulli", "FullyConnectedVAE", "FunctionVAE", "Gaussian", "Likelihood", "MixtureOfLogistics",
    "ParameterCount", "Posterior", "ResidualVAE", "build_likelihood", "count_parameters", "elbo", "elbo_at",
    "from_functions", "from_pythae",
]  # fmt: skip
