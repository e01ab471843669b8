r"""What a VAE is trained on: the distributions of Eqs. (7)–(9), as endless streams of batches.

| method        | ``x ~``                                   | pool           |
| ------------- | ----------------------------------------- | -------------- |
| ``normal``    | ``D_train`` (Eq. 7)                       | N real images  |
| ``dmaapx``    | ``p_DM(x')`` (Eq. 8), k·N samples kept    | kN bank images |
| ``aug_tuned`` | ``p_aug(x'\|x)`` (Eq. 9), Tables 9 and 10 | N real images  |
| ``aug_naive`` | ``p_aug(x'\|x)`` (Eq. 9), Table 8         | N real images  |

One stream serves all four: pass after pass over a shuffled pool, cut into batches of M. An *effective epoch* is N
images whatever the pool's size (Sec. 5.1). This is Algorithm 2 with its index corrected: as printed,
``D_DM[t(i-1)M : tiM]`` overlaps itself and grows with t; meant is ``D_DM[(t-1)N+(i-1)M : (t-1)N+iM]`` modulo kN.
A mixture of real and synthetic images (Appendix B.7) is two such streams in one.

A pool in memory lies on the training device. A bank stays on disk, however large it is: a thread reads an effective epoch's
images, in the stream's own order, while those of the one before are trained on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction

import torch
from torch import Tensor

from .. import rng
from ..data.augment import Augmentation
from ..errors import VaelibError
from ..images import LOOKED_AT, check_images
from ..samplers.bank import Bank

METHODS = ("normal", "dmaapx", "aug_tuned", "aug_naive")
PAIR = ("normal", "dmaapx")  # the paper's question: what every sweep compares


class Stream(ABC):
    """Training batches without end; batch ``step`` is a function of (seed, step) alone, so a resumed run goes on with it.

    Attributes:
        n_train: N, the images of one effective epoch.
        seed: of everything random in the stream.
        real_first: a batch is no random order of its images: the real ones come first.
    """

    n_train: int
    seed: int
    real_first: bool = False

    @abstractmethod
    def batch(self, step: int, size: int) -> Tensor:
        """Return batch number ``step`` (from 0), floats in [0, 1], (size, C, H, W)."""

    @abstractmethod
    def sample(self, n: int, seed: int) -> Tensor:
        """Return ``n`` fixed images of the distribution itself, floats (n, C, H, W) (Fig. 13's dotted curves)."""

    def steps(self, epochs: float, size: int) -> int:
        """Return the batches that complete ``epochs`` effective epochs, rounded down."""
        return int(epochs * self.n_train) // size


class TrainingDistribution(Stream):
    """An endless stream of training batches over a pool of images.

    Arguments:
        pool: D_train, uint8 images (P, C, H, W) on the training device, or a bank of k·N samples, which stays on disk.
        n_train: N, the images of one effective epoch.
        seed: of the shuffling and the augmentation.
        augmentation: p_aug(x'|x), or None.
        device: where the batches of a bank are wanted (default: the CPU).

    Raises:
        VaelibError: a pool that is no batch of images as bytes (:mod:`vaelib.images`), or ``n_train`` below 1.

    >>> stream = TrainingDistribution(torch.zeros(40, 1, 32, 32, dtype=torch.uint8), n_train=40)
    >>> stream.batch(0, 8).shape, stream.steps(epochs=1, size=8)
    (torch.Size([8, 1, 32, 32]), 5)
    """

    def __init__(
        self,
        pool: Tensor | Bank,
        n_train: int,
        *,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        device: str | torch.device = "cpu",
    ):
        some = pool.images(0, min(LOOKED_AT, len(pool))) if isinstance(pool, Bank) else pool
        check_images(some, only_bytes=True, name="pool")
        if n_train < 1:
            raise VaelibError(f"n_train = {n_train} images make no epoch; give at least 1")
        self.pool, self.n_train, self.seed, self.augmentation = pool, n_train, seed, augmentation
        self.device = torch.device(device) if isinstance(pool, Bank) else pool.device
        self._ahead = _Ahead(pool, n_train, self._indices, self.device) if isinstance(pool, Bank) else None
        self._orders: dict[int, Tensor] = {}

    def batch(self, step: int, size: int) -> Tensor:
        """Return batch number ``step`` (from 0), floats in [0, 1], (size, C, H, W)."""
        return self.augment(self.images(step * size, size), step)

    def images(self, start: int, count: int) -> Tensor:
        """Return the stream's images start..start+count-1 before augmentation, floats in [0, 1]."""
        if self._ahead is not None:
            return self._ahead.images(start, count).float().div_(255)
        return self.pool.index_select(0, self._indices(start, count)).float().div_(255)

    def augment(self, x: Tensor, step: int) -> Tensor:
        """Return batch number ``step`` after its augmentation, if there is one."""
        return x if self.augmentation is None else self.augmentation.apply(x, rng.generator(self.seed, "augment", step))

    def reseeded(self, seed: int) -> "TrainingDistribution":
        """Return the same distribution under another seed."""
        return TrainingDistribution(
            self.pool, self.n_train, seed=seed, augmentation=self.augmentation, device=self.device
        )

    def sample(self, n: int, seed: int) -> Tensor:
        """Return ``n`` fixed images of the distribution itself, floats (n, C, H, W) (Fig. 13's dotted curves)."""
        return torch.cat(_batches(self.reseeded(rng.derive(seed, "own")), n))[:n]

    def _indices(self, start: int, size: int) -> Tensor:
        """Return where the stream's images start..start+size-1 lie in the pool."""
        return _joined(self._order(number)[part] for number, part in _cut(start, size, len(self.pool)))

    def _order(self, number: int) -> Tensor:
        """Return the shuffled order of pass ``number``; only the latest two passes are kept."""
        if number not in self._orders:
            order = torch.randperm(len(self.pool), generator=rng.generator(self.seed, "shuffle", number))
            self._orders = {k: v for k, v in self._orders.items() if k == number - 1}
            self._orders[number] = order if self._ahead is not None else rng.sent(order, self.device)
        return self._orders[number]


class _Ahead:
    """A stream's images from a bank on disk, in blocks of ``size``: one in use, the next on its way.

    The thread only reads; what a GPU has to be asked for is asked for here, by the thread that trains.
    """

    def __init__(self, bank: Bank, size: int, indices: Callable[[int, int], Tensor], device: torch.device):
        self.bank, self.size, self.indices, self.device = bank, size, indices, device
        self.thread = ThreadPoolExecutor(1)
        self.coming: dict[int, Future[Tensor]] = {}
        self.number, self.block = -1, torch.empty(0)

    def images(self, start: int, count: int) -> Tensor:
        """Return the stream's images start..start+count-1, bytes, on the device."""
        return _joined(self._block(number)[part] for number, part in _cut(start, count, self.size))

    def _block(self, number: int) -> Tensor:
        if number != self.number:
            block = self.coming.pop(number, None) or self._read(number)
            self.number, self.block = number, block.result().to(self.device, non_blocking=True)
            self.coming = {number + 1: self._read(number + 1)}
        return self.block

    def _read(self, number: int) -> Future[Tensor]:
        rows = self.indices(number * self.size, self.size)
        pinned = self.device.type == "cuda"  # only from there a GPU fetches without anybody waiting
        out = torch.empty(self.size, *self.bank.shape[1:], dtype=torch.uint8, pin_memory=pinned)
        return self.thread.submit(self.bank.gather, rows, out)


def _cut(start: int, count: int, size: int) -> Iterator[tuple[int, slice]]:
    """Yield the places start..start+count-1 of an endless row as parts of its pieces 0, 1, ... of ``size`` each."""
    while count > 0:
        number, offset = divmod(start, size)
        part = slice(offset, min(offset + count, size))
        yield number, part
        start, count = start + part.stop - offset, count - (part.stop - offset)


def _joined(pieces: Iterator[Tensor]) -> Tensor:
    """Return pieces as one tensor; a single one is not copied."""
    found = list(pieces)
    return found[0] if len(found) == 1 else torch.cat(found)


class Share:
    """A share r of all images, kept exactly over time: ⌊r·M·(s+1)⌋ − ⌊r·M·s⌋ of the M images of batch s.

    Raises:
        VaelibError: ``value`` outside [0, 1].
    """

    def __init__(self, name: str, value: float):
        if not 0 <= value <= 1:
            raise VaelibError(f"{name} = {value} is no share; give a number from 0 (none) to 1 (all of a batch)")
        self.value = Fraction(str(value))  # 0.29 is 29/100: as a binary fraction, 100 images would hold 28

    def part(self, step: int, size: int) -> range:
        """Return which of the share's own images, counted from the first batch on, lie in batch ``step``."""
        return range(int(self.value * step * size), int(self.value * (step + 1) * size))


class MixedDistribution(Stream):
    """A share of real images, the rest synthetic (Appendix B.7, Fig. 15); one augmentation for the whole batch.

    Each side runs through its own shuffled passes, so a share of 1 or 0 gives that side's own batches, bit for bit.

    Arguments:
        real, synthetic: the two streams, alike in ``n_train``, seed and augmentation.
        real_share: x of Fig. 15, in [0, 1]; exact over time, not only on average.

    Raises:
        VaelibError: a share outside [0, 1], or streams that differ in more than their images.

    >>> black, white = (torch.full((8, 1, 32, 32), value, dtype=torch.uint8) for value in (0, 255))
    >>> mixed = MixedDistribution(TrainingDistribution(black, 8), TrainingDistribution(white, 8), real_share=0.75)
    >>> mixed.batch(0, 4)[:, 0, 0, 0]
    tensor([0., 0., 0., 1.])
    """

    def __init__(self, real: TrainingDistribution, synthetic: TrainingDistribution, real_share: float):
        self.share = Share("real_share", real_share)
        if real.pool.shape[1:] != synthetic.pool.shape[1:]:
            shapes = " and ".join(str(tuple(side.pool.shape[1:])) for side in (real, synthetic))
            raise VaelibError(f"real and synthetic images are of shapes {shapes}; give images of one shape to both")
        for name in ("n_train", "seed", "augmentation"):
            ours, theirs = getattr(real, name), getattr(synthetic, name)
            if ours != theirs:
                raise VaelibError(
                    f"{name} = {ours} for the real images and {theirs} for the synthetic: give one to both"
                )
        self.real, self.synthetic, self.real_first = real, synthetic, True
        self.n_train, self.seed = real.n_train, real.seed

    def batch(self, step: int, size: int) -> Tensor:
        """Return batch number ``step`` (from 0), real images first, floats in [0, 1], (size, C, H, W)."""
        reals = self.share.part(step, size)
        sides = (self.real, reals.start, len(reals)), (self.synthetic, step * size - reals.start, size - len(reals))
        x = torch.cat([side.images(start, count) for side, start, count in sides if count])
        return self.real.augment(x, step)

    def sample(self, n: int, seed: int) -> Tensor:
        """Return ``n`` fixed images of the mixture, floats (n, C, H, W)."""
        real, synthetic = (side.reseeded(rng.derive(seed, "own")) for side in (self.real, self.synthetic))
        *whole, last = _batches(MixedDistribution(real, synthetic, self.share.value), n)
        left = n - sum(map(len, whole))
        # Its real images come first, so a part of it is taken at even distances.
        return torch.cat([*whole, last[torch.arange(left) * len(last) // left]])


def _batches(stream: Stream, n: int) -> list[Tensor]:
    """Return a stream's first ``n`` images or a few more, in the batches of 500 that its augmentation is drawn for."""
    if n < 1:
        raise VaelibError(f"n = {n} images are no sample; give at least 1")
    size = min(500, n)
    return [stream.batch(step, size) for step in range(-(-n // size))]
