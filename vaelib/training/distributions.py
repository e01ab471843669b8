r"""What a VAE is trained on: the distributions of Eqs. (7)–(9), as endless streams of batches.

===============  ======================================================  ==================
method           :math:`x\sim`                                           pool
===============  ======================================================  ==================
``normal``       :math:`\mathcal D_{\rm train}` (Eq. 7)                  N real images
``dmaapx``       :math:`p_{\rm DM}(x')` (Eq. 8), k·N samples kept        kN bank images
``aug_tuned``    :math:`p_{\rm aug}(x'|x)` (Eq. 9), Tables 9 and 10      N real images
``aug_naive``    :math:`p_{\rm aug}(x'|x)` (Eq. 9), Table 8              N real images
===============  ======================================================  ==================

One stream serves all four: pass after pass over a shuffled pool, cut into batches of M. An *effective epoch* is N
images whatever the pool's size (Sec. 5.1). This is Algorithm 2 with its index corrected: as printed,
``D_DM[t(i-1)M : tiM]`` overlaps itself and grows with t; meant is ``D_DM[(t-1)N+(i-1)M : (t-1)N+iM]`` modulo kN.
"""

import torch
from torch import Tensor

from .. import rng
from ..data.augment import Augmentation
from ..errors import VaelibError

METHODS = ("normal", "dmaapx", "aug_tuned", "aug_naive")


class TrainingDistribution:
    """An endless stream of training batches over a pool of images.

    Batch ``step`` is a function of (seed, step) alone, so a resumed run goes on with the same images.

    Arguments:
        pool: uint8 images (P, C, 32, 32), on the training device: D_train, or a bank of k·N samples.
        n_train: N, the images of one effective epoch.
        seed: of the shuffling and the augmentation.
        augmentation: p_aug(x'|x), or None.

    Raises:
        VaelibError: an empty pool, or ``n_train`` below 1.
    """

    def __init__(self, pool: Tensor, n_train: int, *, seed: int = 0, augmentation: Augmentation | None = None):
        if len(pool) == 0 or n_train < 1:
            raise VaelibError(
                f"the training pool has {len(pool)} images and n_train = {n_train}; both must be at least 1"
            )
        self.pool, self.n_train, self.seed, self.augmentation = pool, n_train, seed, augmentation
        self._orders: dict[int, Tensor] = {}

    def batch(self, step: int, size: int) -> Tensor:
        """Return batch number ``step`` (from 0), floats in [0, 1], (size, C, 32, 32)."""
        x = self.pool[self._indices(step * size, size)].float().div_(255)
        if self.augmentation is not None:
            x = self.augmentation(x, rng.generator(self.seed, "augment", step))
        return x

    def steps(self, epochs: float, size: int) -> int:
        """Return the batches that complete ``epochs`` effective epochs, rounded down."""
        return int(epochs * self.n_train) // size

    def _indices(self, start: int, size: int) -> Tensor:
        """Return where the stream's images start..start+size-1 lie in the pool."""
        pieces = []
        while size > 0:
            number, offset = divmod(start, len(self.pool))
            piece = self._order(number)[offset : offset + size]
            pieces.append(piece)
            start, size = start + len(piece), size - len(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _order(self, number: int) -> Tensor:
        """Return the shuffled order of pass ``number``; only the latest two passes are kept."""
        if number not in self._orders:
            order = torch.randperm(len(self.pool), generator=rng.generator(self.seed, "shuffle", number))
            self._orders = {k: v for k, v in self._orders.items() if k == number - 1}
            self._orders[number] = order.to(self.pool.device)
        return self._orders[number]
