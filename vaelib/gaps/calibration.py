r"""Do the estimators hit the truth, and is their stated error right? Repeated estimates where the truth has a closed form.

The world is linear-Gaussian and its own decoder the model, so that log p(x) is exact; the encoder is the one that N
training images teach (:meth:`~vaelib.models.linear.LinearGaussianVAE.encoder_of`). On those N images ELBO = ELBO*; on
others it is not: the paper's overfitted encoder (Sec. 2), every number of which is known,

    E_p[log p(x)] = -H(p),     E_p[ELBO*],     E_p[ELBO],     G_a = E_p[ELBO* - ELBO],     G_g = mean_train ELBO - E_p[ELBO].

An estimate is a mean over ``images`` fresh test images with the standard error that every table here states. Another
seed draws other test images and other noise; D_train and the world stay. Nats per image.
"""

import math
from typing import NamedTuple

from torch import Tensor

from ..data.worlds import LinearWorld, linear_world
from ..models.linear import LinearGaussianVAE
from ..models.vae import Posterior
from .bounds import evaluate_elbo, optimize_posterior
from .iwae import iwae

QUANTITIES = ("ELBO", "ELBO*", "log p(x)", "G_g", "G_a")


class Estimate(NamedTuple):
    """An estimate of one of :data:`QUANTITIES`, its stated standard error and the exact value, nats."""

    quantity: str
    value: float
    error: float
    exact: float


def calibration_world(n_train: int = 6) -> tuple[LinearWorld, LinearGaussianVAE, Tensor]:
    """Return the world, its decoder behind the encoder of ``n_train`` images (of 64 pixels), and those images."""
    world = linear_world(shared=0.8)
    train = world.sample(n_train, seed=1)
    return world, world.vae.encoder_of(train), train


def exact_values(world: LinearWorld, vae: LinearGaussianVAE, train: Tensor) -> dict[str, float]:
    """Return each quantity's exact value, see the module's text."""
    log_px, star, elbo = vae.expected(*world.moments)
    own = float(vae.exact_elbo(train).mean())
    return dict(zip(QUANTITIES, (elbo, star, log_px, own - elbo, star - elbo), strict=True))


def estimates(world: LinearWorld, vae: LinearGaussianVAE, train: Tensor, *, images: int, k: int, seed: int) -> list:
    """Return one :class:`Estimate` of each quantity from ``images`` test images of the world, by the library's defaults.

    ``k``: IWAE's draws an image, from q* with σ a fifth wider.
    """
    test = world.sample(images, seed=1_000 + seed)
    optimum = optimize_posterior(vae, test, seed=seed)
    log_px = iwae(vae, test, k=k, q=Posterior(optimum.mu, 1.2 * optimum.sigma), seed=seed).value
    own, elbo = (evaluate_elbo(vae, some, seed=seed) for some in (train, test))
    means = {"ELBO": elbo, "ELBO*": optimum.elbo_star, "log p(x)": log_px, "G_a": optimum.gap}
    found = {name: (float(v.mean()), float(v.std() / math.sqrt(len(v)))) for name, v in means.items()}
    error = math.hypot(found["ELBO"][1], float(own.std() / math.sqrt(len(own))))
    found["G_g"] = float(own.mean()) - found["ELBO"][0], error
    truth = exact_values(world, vae, train)
    return [Estimate(name, *found[name], truth[name]) for name in QUANTITIES]
