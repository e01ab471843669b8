"""Reverse Half Asleep (Zhang et al. 2022; Sec. 5.2, Fig. 5): the decoder stays as it is, the encoder goes on learning.

From a VAE trained to half time, only the encoder is trained further, on batches of real images beside samples of the
decoder: an encoder that has seen what the decoder generates should overfit D_train less.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .. import rng
from ..errors import VaelibError, unknown
from ..images import check_form
from ..models.vae import VAE
from ..modes import evaluating
from .distributions import Share, Stream
from .vae import Epoch, VAEState, train_vae

SOURCES = ("posterior", "prior")


class HalfAsleep(Stream):
    """A stream in which the decoder's samples take the place of a part of each batch; they follow the encoder's state.

    Drawing leaves both networks' modes and running statistics as they were.

    Arguments:
        vae: with the submodules ``encoder`` and ``decoder``.
        distribution: of the real images.
        source: of the samples' latents: ``posterior``, z ~ q(z|x) of the image that is replaced (what Zhang et al.'s
            code runs), or ``prior``, z ~ N(0, I).
        real_share: of each batch's images; 0.5 is "equally many".
        seed: of latents and pixels.

    Raises:
        VaelibError: unknown source, or a share outside [0, 1].
    """

    def __init__(
        self, vae: VAE, distribution: Stream, *, source: str = "posterior", real_share: float = 0.5, seed: int = 0
    ):
        if source not in SOURCES:
            raise unknown("source of the decoder's samples =", source, SOURCES)
        self.vae, self.distribution, self.source, self.seed = vae, distribution, source, seed
        self.share, self.n_train = Share("real_share", real_share), distribution.n_train

    def batch(self, step: int, size: int) -> Tensor:
        """Return batch number ``step`` (from 0): real images, then samples x ~ p(x|z), (size, C, 32, 32)."""
        x, reals = self.distribution.batch(step, size), len(self.share.part(step, size))
        check_form(x, self.vae, name="batch")
        if self.distribution.real_first:  # so that what is kept is a sample of the distribution
            x = x[torch.randperm(len(x), generator=rng.generator(self.seed, "rha-order", step)).to(x.device)]
        real, replaced = x[:reals], x[reals:]
        if not len(replaced):
            return x
        z = rng.normal((len(replaced), self.vae.d_z), self.seed, "rha-latents", step, x.device)
        with evaluating(self.vae):
            if self.source == "posterior":
                z = self.vae.encode(replaced).rsample(z)
            drawn = self.vae.likelihood.sample(self.vae.decode(z), rng.generator(self.seed, "rha-pixels", step))
        return torch.cat([real, drawn])

    def sample(self, n: int, seed: int) -> Tensor:
        """Return ``n`` fixed real images: what both halves of the training have in common."""
        return self.distribution.sample(n, seed)


def encoder_state(vae: VAE, lr: float = 1e-3, epochs: int = 0) -> VAEState:
    """Return the state of a training of the encoder alone, with a fresh Adam, ``epochs`` after the VAE's own start."""
    return VAEState(vae, lr, trained=vae.encoder, epochs=epochs)


def train_encoder(
    state: VAEState,
    distribution: Stream,
    *,
    epochs: int = 1000,
    batch_size: int = 64,
    lr_decay: float = 0.0,
    seed: int = 0,
    source: str = "posterior",
    real_share: float = 0.5,
    amp: bool = True,
    after_step: Callable[[float], None] | None = None,
) -> Iterator[Epoch]:
    """Train the encoder alone on real images and samples of its frozen decoder; yield after each effective epoch.

    An effective epoch stays N images of both kinds; Zhang et al. count the N real ones, which makes two of ours.

    Arguments:
        state: of the trained VAE, made by :func:`encoder_state`.
        distribution, epochs, batch_size, lr_decay, seed, amp, after_step: as in :func:`vaelib.training.vae.train_vae`.
        source, real_share: see :class:`HalfAsleep`.

    Raises:
        VaelibError: a bad source or share, or a state that would train the decoder too: at the call, before training.
        NonFiniteLoss: the ELBO became NaN or infinite in this epoch.

    >>> from vaelib import FullyConnectedVAE, TrainingDistribution
    >>> stream = TrainingDistribution(torch.zeros(8, 1, 32, 32, dtype=torch.uint8), n_train=8)
    >>> state = encoder_state(FullyConnectedVAE(d_z=2), epochs=1)
    >>> [epoch.number for epoch in train_encoder(state, stream, epochs=2, batch_size=4)]
    [2]
    """
    if state.trained is not state.vae.encoder:
        raise VaelibError("Reverse Half Asleep trains the encoder alone; make its state by encoder_state(vae, lr)")
    stream = HalfAsleep(state.vae, distribution, source=source, real_share=real_share, seed=seed)
    return train_vae(
        state,
        stream,
        epochs=epochs,
        batch_size=batch_size,
        lr_decay=lr_decay,
        seed=seed,
        amp=amp,
        after_step=after_step,
    )
