r"""VAEs that are no subclass of :class:`~vaelib.VAE`: two functions and a likelihood, or a model of pythae.

Whatever measures a VAE asks for four things of it: ``encode(x)``, a :class:`~vaelib.Posterior`; ``decode(z)``, the
likelihood's parameters; ``likelihood``; and ``d_z``. The prior is N(0, I) and the posterior a diagonal Gaussian.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import VaelibError, unknown
from ..modes import evaluating, precision_of
from .likelihoods import Bernoulli, Gaussian, Likelihood
from .vae import SMALLEST_SIGMA, Posterior, elbo_at, in_float32

LARGEST = 40.0  # of log σ: its square is a float, and no posterior is that wide
# Within bounds before the root and the exponential: an attack drives them where their slopes are infinite.
SPREADS = {
    "sigma": lambda s: _no_less_than_0(s),
    "log_sigma": lambda s: s.clamp_max(LARGEST).exp(),
    "variance": lambda s: _no_less_than_0(s).clamp_min(SMALLEST_SIGMA**2).sqrt(),
    "log_variance": lambda s: (s / 2).clamp_max(LARGEST).exp(),
}
# Of pythae's models those with a diagonal Gaussian posterior, a standard normal prior and a likelihood.
PYTHAE = (
    "VAE", "BetaVAE", "BetaTCVAE", "DisentangledBetaVAE", "FactorVAE", "INFOVAE_MMD", "IWAE", "MIWAE", "CIWAE", "PIWAE",
)  # fmt: skip


def _no_less_than_0(spread: Tensor) -> Tensor:
    """Return NaN where a spread is negative, for some image though for no blank one: the floor of σ would hide it."""
    return spread.where(spread >= 0, math.nan)


class FunctionVAE(nn.Module):
    """A VAE made of two functions; see :func:`from_functions`.

    Attributes:
        d_z: number of latents.
        image_shape: (C, H, W).
        likelihood: p(x|z), see :mod:`vaelib.models.likelihoods`.
        smallest_sigma: the floor of the posterior's standard deviations.
    """

    smallest_sigma: float = SMALLEST_SIGMA

    def __init__(
        self,
        encode: Callable[[Tensor], tuple[Tensor, Tensor]],
        decode: Callable[[Tensor], Tensor],
        likelihood: Likelihood,
        image_shape: tuple[int, int, int],
        spread: str,
        modules: Iterable[nn.Module],
    ):
        super().__init__()
        if spread not in SPREADS:
            raise unknown("spread =", spread, SPREADS)
        self._functions = encode, decode  # in a tuple: as attributes, modules would be registered a second time
        found = [*_networks_of(encode), *_networks_of(decode), *modules]
        self.networks = nn.ModuleList({id(one): one for one in found}.values())
        self.register_buffer("_place", torch.empty(0), persistent=False)  # where there are no networks to ask
        self.likelihood, self.image_shape, self.spread = likelihood, tuple(image_shape), spread
        self.d_z = self._latents()

    def encode(self, x: Tensor) -> Posterior:
        """Return q(z|x) for images (B, C, H, W) in [0, 1]."""
        mu, s = map(in_float32, self._functions[0](x))
        return Posterior(mu, SPREADS[self.spread](s).clamp_min(self.smallest_sigma))

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters (B, channels_out, H, W) for latents (B, d_z)."""
        return self._functions[1](z)

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        """Return the ELBO of each image, shape (B,), unchecked: for a training's every step."""
        return elbo_at(self, self.encode(x), x, eps)

    def _latents(self) -> int:
        """Return d_z; what two blank images get from the functions is looked at.

        Raises:
            VaelibError: means and spreads of another form than (B, d_z), or no positive standard deviations.
        """
        with evaluating(self) as device:
            given = self._functions[0](torch.zeros(2, *self.image_shape, device=device, dtype=precision_of(self)))
        shapes = [_form(one) for one in (given if isinstance(given, tuple | list) else [given])]
        if len(shapes) != 2 or shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] != 2:
            raise VaelibError(
                f"encode gave {shapes} for two images; it must return (mean, {self.spread}), two tensors (2, d_z)"
            )
        if self.spread in ("sigma", "variance") and not bool((given[1] > 0).all()):
            raise VaelibError(
                f"encode gave a {self.spread} of {float(given[1].min()):g}, which is not positive; if it is a logarithm, "
                'say spread="log_variance" or "log_sigma"'
            )
        return given[0].shape[1]


def from_functions(
    encode: Callable[[Tensor], tuple[Tensor, Tensor]],
    decode: Callable[[Tensor], Tensor],
    likelihood: Likelihood,
    *,
    image_shape: tuple[int, int, int],
    spread: str = "sigma",
    modules: Iterable[nn.Module] = (),
) -> FunctionVAE:
    """Return the VAE of an encoder and a decoder function; everything that measures a VAE takes it.

    Arguments:
        encode: takes images (B, C, H, W), floats in [0, 1]; returns the posterior's mean and its ``spread``, (B, d_z) each.
        decode: takes latents (B, d_z); returns the likelihood's parameters, (B, channels_out, H, W).
        likelihood: p(x|z). ``Bernoulli()`` takes logits, ``Bernoulli(output="probabilities")`` the output of a sigmoid,
            ``Gaussian(sigma, mean="linear")`` the mean itself.
        image_shape: (C, H, W).
        spread: what ``encode`` returns beside the mean: ``sigma``, ``variance``, ``log_sigma`` or ``log_variance``.
        modules: networks that the functions use, so that they are in eval mode while they are measured and move with
            ``.to(device)``. Those that a function is, belongs to or names itself are found without it.

    Raises:
        VaelibError: an unknown ``spread``, or functions that do not return what they must.

    Example:
        >>> network = torch.nn.Linear(28 * 28, 2 * 5)
        >>> decoder = torch.nn.Sequential(torch.nn.Linear(5, 28 * 28), torch.nn.Unflatten(1, (1, 28, 28)))
        >>> def encode(x):
        ...     return network(x.flatten(1)).chunk(2, 1)
        >>> vae = from_functions(
        ...     encode, decoder, Bernoulli(), image_shape=(1, 28, 28), spread="log_variance"
        ... )
        >>> vae.d_z, vae.encode(torch.rand(3, 1, 28, 28)).sigma.shape
        (5, torch.Size([3, 5]))
    """
    vae = FunctionVAE(encode, decode, likelihood, image_shape, spread, modules)
    check_vae(vae)
    return vae


def from_pythae(model: nn.Module, likelihood: Likelihood | None = None) -> FunctionVAE:
    """Return a model of pythae (Chadebec et al. 2022) as a VAE that can be measured; pythae itself is not imported.

    Its reconstruction loss becomes a likelihood: ``mse`` the Gaussian of standard deviation 1 around the decoder's output,
    constant included, ``bce`` Bernoulli pixels with the decoder's output as probabilities. Its own weights of the loss's
    terms, β for example, have no part in an ELBO.

    Arguments:
        model: VAE, BetaVAE, BetaTCVAE, DisentangledBetaVAE, FactorVAE, INFOVAE_MMD, IWAE, MIWAE, CIWAE or PIWAE.
        likelihood: p(x|z) in place of that of the loss; ``Gaussian(sigma, mean="linear")`` for another scale.

    Raises:
        VaelibError: a model without a diagonal Gaussian posterior or with another prior, or no model of pythae.

    Example:
        >>> from pythae.models import VAE, VAEConfig  # doctest: +SKIP
        >>> vae = from_pythae(VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=5)))  # doctest: +SKIP
    """
    name, config = getattr(model, "model_name", None), getattr(model, "model_config", None)
    if not is_pythae(model) or name not in PYTHAE:
        raise VaelibError(
            f"{name or type(model).__name__} is no model of pythae with a Gaussian posterior and the prior N(0, I); "
            f"choose one of {', '.join(PYTHAE)}, or give its parts to vaelib.from_functions"
        )
    if len(config.input_dim or ()) != 3:
        raise VaelibError(f"input_dim = {config.input_dim} of the pythae model is no image; give (C, H, W)")
    own = {"mse": Gaussian(sigma=1.0, mean="linear"), "bce": Bernoulli(output="probabilities")}

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        found = model.encoder(x)
        return found.embedding, found.log_covariance

    def decode(z: Tensor) -> Tensor:
        return model.decoder(z).reconstruction.reshape(len(z), *config.input_dim)

    return from_functions(
        encode,
        decode,
        likelihood or own[config.reconstruction_loss],
        image_shape=tuple(config.input_dim),
        spread="log_variance",
        modules=[model],
    )


def is_pythae(model: Any) -> bool:
    """Return whether an object's class comes from pythae, or is derived from one that does."""
    return any(kind.__module__.partition(".")[0] == "pythae" for kind in type(model).__mro__)


def check_vae(vae: Any) -> None:
    """Raise VaelibError unless ``vae`` has what measuring one asks for, and gives the right shapes.

    Two blank images are encoded and two latents decoded, in eval mode.
    """
    lacking = [name for name in ("encode", "decode", "likelihood", "d_z", "image_shape") if not hasattr(vae, name)]
    if not isinstance(vae, nn.Module) or lacking:
        what = f"has no {', '.join(lacking)}" if lacking else "is no torch.nn.Module"
        raise VaelibError(
            f"a {type(vae).__name__} {what}: it is no VAE; subclass vaelib.VAE, or use vaelib.from_functions"
            + (" or vaelib.from_pythae" if is_pythae(vae) else "")
        )
    with evaluating(vae, gradients=True) as device, torch.enable_grad():
        place = {"device": device, "dtype": precision_of(vae), "requires_grad": True}
        q, params = vae.encode(torch.zeros(2, *vae.image_shape, **place)), vae.decode(torch.zeros(2, vae.d_z, **place))
    if [_form(one) for one in q] != 2 * [(2, vae.d_z)]:
        raise VaelibError(
            f"encode gave {[_form(one) for one in q]} for two images; it must return a Posterior of {(2, vae.d_z)}"
        )
    channels, *size = vae.image_shape
    channels_out = getattr(vae.likelihood, "channels_out", int)(channels)
    if _form(params) != (2, channels_out, *size):
        raise VaelibError(
            f"decode gave {_form(params)} for two latents; {type(vae.likelihood).__name__} of images {vae.image_shape} "
            f"takes {(2, channels_out, *size)}: reshape the decoder's output, or choose another likelihood"
        )
    for name, out in (("encode", q.mu), ("decode", params)):
        if not out.requires_grad:
            raise VaelibError(
                f"{name} gives no gradient in its input, which the gaps follow; take torch.no_grad() and detach() out of it"
            )


def _networks_of(function: Callable) -> list[nn.Module]:
    """Return the modules that a function is, belongs to or names."""
    if isinstance(function, nn.Module):
        return [function]
    named = [getattr(function, "__self__", None)]
    if inspect.isfunction(function):
        seen = inspect.getclosurevars(function)
        named += [*seen.nonlocals.values(), *seen.globals.values()]
    return [one for one in named if isinstance(one, nn.Module)]


def _form(given: Any) -> tuple[int, ...] | str:
    """Return a tensor's shape, or what something else is."""
    return tuple(given.shape) if isinstance(given, Tensor) else f"a {type(given).__name__}"
