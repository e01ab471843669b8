"""D_train without a fold of its images, and log p(x) of all of its images under a VAE that was trained on that."""

from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ... import files, gaps, rng
from ...models.vae import Posterior
from ...runs.cost.work import PIXELS, Work, vae_work
from ...runs.kinds import makes
from ...runs.settings import Artifact, Data, VAERun
from ...runs.stages.context import Context
from ...runs.stages.gaps import CLIMB, SCORING
from ...runs.stages.vae import load_vae
from ...runs.store import TENSORS, save_tensors

WIDEN = 1.2  # times the σ of q*: a proposal narrower than p(z|x) has heavy-tailed weights
AT_ONCE = 200  # images between two checkpoints
SCORES = ("log_p", "error", "encoder", "elbo")


class Fold(Data):
    """D_train without one of its folds, as a data set: what is left is its training set, the fold its test set."""

    kind: ClassVar[str] = "fold"
    whole: Data
    folds: int = Field(10, ge=2, description="K")
    fold: int = Field(0, ge=0, description="the one that is left out")
    repeat: int = Field(0, ge=0, description="of the random partition")

    @model_validator(mode="after")
    def _is_one_of_them(self) -> "Fold":
        if not self.fold < self.folds <= self.whole.n_train:
            raise ValueError(
                f"fold = {self.fold} of {self.folds} folds of {self.whole.n_train} images: there is no such fold"
            )
        return self

    @classmethod
    def of(cls, whole: Data, folds: int, fold: int, repeat: int = 0) -> "Fold":
        """Return a fold's settings."""
        out = len(range(fold, whole.n_train, folds))
        given = {name: getattr(whole, name) for name in Data.model_fields}
        given |= {"n_train": whole.n_train - out, "n_test": out}
        return cls(**given, whole=whole, folds=folds, fold=fold, repeat=repeat)

    def left_out(self) -> Tensor:
        """Return which images of ``whole`` are in the fold, (N,) bool: every K-th of them in a random order."""
        order = torch.randperm(self.whole.n_train, generator=rng.generator(self.repeat, "folds"))
        found = torch.zeros(self.whole.n_train, dtype=torch.bool)
        found[order[self.fold :: self.folds]] = True
        return found


class Remembered(Artifact):
    """log p(x) of all training images of a data set under one VAE, bounded from below: from q* and from the encoder's q."""

    kind: ClassVar[str] = "remembered"
    data: Data
    vae: VAERun
    draws: int = Field(500, ge=2, description="k of IWAE")
    steps: int = Field(1_000, ge=1, description="of a climb towards q*, at most")
    starts: int = Field(
        2, ge=1, description="climbs towards q* an image: an encoder that never saw it may start far off"
    )
    seed: int = 0


@makes(Fold, size=lambda fold: fold.whole.n_train * PIXELS * fold.channels, gpu=False)
def make_fold(settings: Fold, context: Context) -> None:
    """Write the splits of a fold as ``.npy`` files, as those of a data set are."""
    out = settings.left_out()
    for suffix in ("", "_labels"):
        pool = context.split(settings.whole, f"train{suffix}").cpu()
        files.write_array(context.folder / f"train{suffix}.npy", pool[~out].numpy())
        files.write_array(context.folder / f"test{suffix}.npy", pool[out].numpy())


def remembered_work(run: Remembered) -> Work:
    """Return the climbs towards q* and both IWAE bounds."""
    n, steps = run.data.n_train, run.starts * min(CLIMB, run.steps)
    return vae_work(run.vae, n, n * (steps * (2 * 2 + SCORING) + 2 * run.draws), -(-n // AT_ONCE) * steps)


@makes(Remembered, work=remembered_work, size=lambda run: 40 * run.data.n_train)
def make_remembered(settings: Remembered, context: Context) -> None:
    """Write ``log_p`` with its Monte Carlo ``error``, ``encoder`` (IWAE from the encoder's q) and ``elbo``, (N,) each."""
    vae = load_vae(settings.vae, context.store, device=context.device)
    found, kept = {name: torch.empty(0, dtype=torch.float64) for name in SCORES}, context.resume()
    if kept is not None:
        found = kept[0]
    batches = context.split(settings.data, "train").split(AT_ONCE)
    for number, x in list(enumerate(batches))[-(-len(found["log_p"]) // AT_ONCE) :]:
        seed = rng.derive(settings.seed, "remembered", number)
        best = gaps.optimize_posterior(vae, x, seed=seed, max_steps=settings.steps, starts=settings.starts)
        log_p = gaps.iwae(vae, x, k=settings.draws, q=Posterior(best.mu, WIDEN * best.sigma), seed=seed)
        own = gaps.iwae(vae, x, k=settings.draws, seed=seed)
        new = (*log_p, own.value, best.elbo.double())
        found = {name: torch.cat([found[name], values]) for name, values in zip(SCORES, new, strict=True)}
        context.checkpoint(lambda found=found: (found, {}))
        context.report((number + 1) / len(batches), f"{len(found['log_p']):,} images")
    save_tensors(context.folder / TENSORS, found)
