r"""Cheap remedies against overfitting that change what a training step maximises, not what it is trained on.

| setting       | a step maximises, in expectation | after |
| ------------- | --- | --- |
| `dropout`     | ELBO(x) of the network without randomly chosen hidden units | Srivastava et al. 2014 |
| `denoising`   | E_{x' ~ N(x, s² I)} E_{z ~ q(z\|x')}[log p(x\|z)] − KL(q(z\|x') ‖ p(z)) | Im et al. 2017 |
| `consistency` | [ELBO(x) + ELBO(x') − λ KL(q(z\|x') ‖ q(z\|x))] / 2 for a transformed image x' | Sinha & Dieng 2021 |
| `kl_warmup`   | E_{z ~ q(z\|x)}[log p(x\|z)] − β KL(q(z\|x) ‖ p(z)), β rising from 0 to 1 | Bowman et al. 2016 |

They may be combined. Weight decay acts on the weights themselves (:class:`~vaelib.training.vae.VAEState`); a training is
stopped early by fewer ``epochs``. What is measured afterwards never knows of any of them: the ELBO is Eq. (2)'s.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import rng
from ..data.augment import Augmentation
from ..errors import VaelibError
from ..models.vae import VAE, Posterior, log_likelihood_at
from ..modes import evaluating


@dataclass(frozen=True)
class Regulariser:
    """The objective of a regularised training; each remedy is off by default. Its noise is a function of (seed, step).

    Arguments:
        dropout: probability with which a unit after a ReLU is left out; the others are divided by 1 − ``dropout``.
        denoising: standard deviation s of the Gaussian noise on the image that the encoder sees, for pixels in [0, 1].
        consistency: λ, the weight of the KL divergence between the posteriors of a transformed image and of the image.
        kl_warmup: share of the training over which the KL's weight β rises linearly to 1.
        transform: draws the transformed image x'; needed for ``consistency``.
        seed: of all noise.

    Raises:
        VaelibError: a value out of range, or ``consistency`` without a transform.

    >>> from vaelib import FullyConnectedVAE
    >>> vae, x = FullyConnectedVAE(d_z=2), torch.rand(3, 1, 32, 32)
    >>> remedy, eps = Regulariser(kl_warmup=0.5), torch.zeros(3, 2)
    >>> warm = remedy.draws(x, eps, step=5, progress=0.5)  # β = 1: the ELBO itself
    >>> bool(remedy.objective(vae, x, eps, warm) == vae(x, eps).mean())
    True
    """

    dropout: float = 0.0
    denoising: float = 0.0
    consistency: float = 0.0
    kl_warmup: float = 0.0
    transform: Augmentation | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise VaelibError(f"dropout = {self.dropout} must leave some units; give a number from 0 to below 1")
        if not 0 <= self.kl_warmup <= 1:
            raise VaelibError(f"kl_warmup = {self.kl_warmup} is no share of the epochs; give a number from 0 to 1")
        for name in ("denoising", "consistency"):
            if getattr(self, name) < 0:
                raise VaelibError(f"{name} = {getattr(self, name)} must be 0 (off) or more")
        if self.consistency and self.transform is None:
            raise VaelibError("consistency needs a transform; give an Augmentation, such as vaelib.data.NAIVE")

    def beta(self, progress: float) -> float:
        """Return the weight of the KL at ``progress`` in [0, 1] of the training.

        >>> Regulariser(kl_warmup=0.5).beta(0.25), Regulariser(kl_warmup=0.5).beta(0.75), Regulariser().beta(0.0)
        (0.5, 1.0, 1.0)
        """
        return min(progress / self.kl_warmup, 1.0) if self.kl_warmup else 1.0

    def units(self, vae: VAE, x: Tensor) -> list[torch.Size]:
        """Return the shapes of what ``dropout`` leaves units out of, in the order of the network's ReLU layers; none without it.

        Arguments:
            vae: in any mode, which it keeps.
            x: a batch of the training's size, (B, C, H, W).

        Raises:
            VaelibError: ``dropout`` for a network without such layers.
        """
        if not self.dropout:
            return []
        found: list[torch.Size] = []
        handles = [
            layer.register_forward_hook(lambda module, inputs, output: found.append(output.shape))
            for layer in _layers(vae)
        ]
        try:
            with evaluating(vae):
                vae.decode(vae.encode(x).mu)
        finally:
            for handle in handles:
                handle.remove()
        if not found:
            raise VaelibError("dropout finds no nn.ReLU layer in this VAE to act after; set dropout to 0")
        return found

    def draws(
        self, x: Tensor, eps: Tensor, step: int, progress: float, units: Sequence[torch.Size] = ()
    ) -> list[Tensor]:
        """Return all that changes from step to step besides the batch, on its device: what :meth:`objective` is given.

        Arguments:
            x: the batch, floats in [0, 1], (B, C, H, W).
            eps: the posterior's noise, (B, d_z).
            step: its number, which the noise of the remedies belongs to.
            progress: the share of all steps that are done, in [0, 1].
            units: of the network, from :meth:`units`.

        Raises:
            VaelibError: ``dropout`` without ``units``.
        """
        if self.dropout and not units:
            raise VaelibError(
                f"dropout = {self.dropout} needs the shapes of the units; give those of Regulariser.units(vae, x)"
            )
        masks = rng.generator(self.seed, "dropout", step) if self.dropout else None

        def drawn(purpose: str) -> Iterator[Tensor]:
            if self.denoising:
                yield rng.normal(tuple(x.shape), self.seed, f"denoising{purpose}", step, x.device)
            for shape in units:
                kept = torch.empty(shape, dtype=torch.bool).bernoulli_(1 - self.dropout, generator=masks)
                yield rng.sent(kept, x.device)

        found = [rng.sent(torch.tensor(self.beta(progress)), x.device), *drawn("")]
        if not self.consistency:
            return found
        with torch.autocast(x.device.type, enabled=False):  # whose products would round the images to bfloat16
            other = self.transform.apply(x, rng.generator(self.seed, "consistency", step))
        fresh = rng.normal(tuple(eps.shape), self.seed, "consistency-posterior", step, eps.device)
        return [*found, other, fresh, *drawn("-transformed")]

    def objective(self, vae: VAE, x: Tensor, eps: Tensor, draws: Sequence[Tensor]) -> Tensor:
        """Return what a step maximises, a scalar in nats per image.

        Arguments:
            vae: in training mode.
            x: the batch, floats in [0, 1], (B, C, H, W).
            eps: the posterior's noise, (B, d_z).
            draws: of this step, from :meth:`draws`.

        Raises:
            VaelibError: ``draws`` for other units than those that are called.
        """
        coming = iter(draws)
        beta = next(coming)
        with self._dropped(vae, coming):
            q, elbo = self._elbo(vae, x, eps, beta, coming)
            found = elbo.mean()
            if self.consistency:
                other, fresh = _next(coming, x), _next(coming, eps)
                q_other, elbo_other = self._elbo(vae, other, fresh, beta, coming)
                found = (elbo + elbo_other - self.consistency * kl_between(q_other, q)).mean() / 2
        if next(coming, None) is not None:
            raise _other_units()
        return found

    def _elbo(
        self, vae: VAE, x: Tensor, eps: Tensor, beta: Tensor, draws: Iterator[Tensor]
    ) -> tuple[Posterior, Tensor]:
        """Return the posterior that the encoder finds for (noisy) images, and E_q[log p(x|z)] − β KL of the clean ones."""
        q = vae.encode(x + self.denoising * _next(draws, x) if self.denoising else x)
        return q, log_likelihood_at(vae, q, x, eps) - beta * q.kl()

    @contextmanager
    def _dropped(self, vae: VAE, draws: Iterator[Tensor]) -> Iterator[None]:
        """Leave out units after each of the network's ReLU layers within the block."""
        if not self.dropout:
            yield
            return

        def drop(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            return output * _next(draws, output, torch.bool) / (1 - self.dropout)

        handles = [layer.register_forward_hook(drop) for layer in _layers(vae)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _next(draws: Iterator[Tensor], like: Tensor, kind: torch.dtype = torch.float32) -> Tensor:
    """Return the next of what was drawn, which belongs to ``like``."""
    found = next(draws, None)
    if found is None or found.shape != like.shape or found.dtype != kind:
        raise _other_units()
    return found


def _other_units() -> VaelibError:
    return VaelibError(
        "dropout: what was drawn is of other units than this VAE's; give `units` of this VAE and batch size, and let its "
        "nn.ReLU layers be called alike in training and in eval mode, or set dropout to 0"
    )


def _layers(vae: VAE) -> list[nn.Module]:
    return [module for module in vae.modules() if isinstance(module, nn.ReLU)]


def kl_between(q: Posterior, p: Posterior) -> Tensor:
    """Return KL(q ‖ p) of two diagonal Gaussians, (B,), nats.

    >>> one, other = (Posterior(torch.zeros(1, 2), torch.full((1, 2), sigma)) for sigma in (0.5, 1.0))
    >>> bool(torch.allclose(kl_between(one, other), one.kl())), float(kl_between(one, one))
    (True, 0.0)
    """
    variances = (q.sigma / p.sigma).square()
    shifts = ((q.mu - p.mu) / p.sigma).square()
    return 0.5 * (variances + shifts - 1 - variances.log()).sum(-1)
