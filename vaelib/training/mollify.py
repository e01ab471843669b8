"""Mollification: noise on the training images that fades during training (Tran et al. 2023; Appendix B.6, Fig. 14).

In [-1, 1], where noise of unit variance keeps an image's scale,

    x̂ → √(1−n) x̂ + √n ε,   ε ~ N(0, I),   x̂ = 2x − 1,

with n falling from 1 (nothing but noise) to 0 along a sigmoid (Chen 2023, "On the importance of noise scheduling").
"""

import math
from dataclasses import dataclass

from torch import Tensor

from .. import rng
from ..errors import VaelibError
from .distributions import Stream

FLAT = 30  # from where on a sigmoid is level in floats


def _sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


@dataclass(frozen=True)
class Mollify:
    """The sigmoid schedule; its defaults are Tran et al.'s (2023), and the paper's half of all epochs.

    Arguments:
        start, end, tau: s, e and τ of :meth:`level`: the piece [s, e] / τ of the sigmoid that is followed.
        share: of the training that sees noise; their code takes 3/5.

    Raises:
        VaelibError: a share outside [0, 1], τ ≤ 0, or end ≤ start.

    >>> Mollify().level(0.0), Mollify().level(0.5)
    (1.0, 0.0)
    """

    start: float = 0.0
    end: float = 3.0
    tau: float = 0.7
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise VaelibError(f"share = {self.share} of the training cannot be noisy; give a number from 0 to 1")
        if not (self.tau > 0 and self.end > self.start and max(abs(self.start), abs(self.end)) <= FLAT * self.tau):
            raise VaelibError(
                f"start = {self.start}, end = {self.end}, tau = {self.tau} make no schedule that falls; "
                f"give an end above the start, and a positive tau of at least a {FLAT}th of both (0, 3 and 0.7 by default)"
            )

    def level(self, progress: float) -> float:
        """Return the noise's variance n at ``progress`` in [0, 1] of the training; 0 once the share is over.

        n(u) = [σ(e/τ) − σ((s + u(e−s))/τ)] / [σ(e/τ) − σ(s/τ)],   u = progress / share.
        """
        if progress >= self.share:
            return 0.0
        u, last = progress / self.share, _sigmoid(self.end / self.tau)
        now = _sigmoid((self.start + u * (self.end - self.start)) / self.tau)
        return (last - now) / (last - _sigmoid(self.start / self.tau))


class Mollified(Stream):
    """A stream with fading noise on its images, and the stream itself, bit for bit, once the schedule is over.

    Arguments:
        distribution: any stream.
        mollify: the schedule.
        epochs: effective epochs of the whole training, which the schedule is stretched over.
        seed: of the noise.
        clip: noisy images are clipped to [0, 1] and rounded to multiples of 1/255, the grid a mixture of logistics
            scores, within what a Bernoulli scores; False leaves the Gaussian noise whole (for a Gaussian likelihood).

    >>> import torch
    >>> from vaelib import TrainingDistribution
    >>> black = TrainingDistribution(torch.zeros(8, 1, 32, 32, dtype=torch.uint8), 8)
    >>> noisy = Mollified(black, Mollify(), epochs=4)  # eight batches of four
    >>> bool(noisy.batch(0, 4).any()), bool(noisy.batch(7, 4).any())
    (True, False)
    """

    def __init__(self, distribution: Stream, mollify: Mollify, *, epochs: int, seed: int = 0, clip: bool = True):
        self.distribution, self.mollify, self.epochs, self.seed, self.clip = distribution, mollify, epochs, seed, clip
        self.n_train, self.real_first = distribution.n_train, distribution.real_first

    def batch(self, step: int, size: int) -> Tensor:
        """Return batch number ``step`` (from 0) at its level of noise, (size, C, 32, 32)."""
        x = self.distribution.batch(step, size)
        n = self.mollify.level(step / max(self.steps(self.epochs, size), 1))
        if n == 0:
            return x
        noise = rng.normal(tuple(x.shape), self.seed, "mollify", step, x.device)
        noisy = (1 + math.sqrt(1 - n) * (2 * x - 1) + math.sqrt(n) * noise) / 2
        return noisy.clamp_(0, 1).mul_(255).round_().div_(255) if self.clip else noisy

    def sample(self, n: int, seed: int) -> Tensor:
        """Return ``n`` fixed images of the clean distribution, where the training ends."""
        return self.distribution.sample(n, seed)
