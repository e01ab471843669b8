"""Tuning by validation images: what a VAE scores on them, and the VAE that they choose, with its three gaps."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from ... import files, gaps
from ...runs.cost.work import Work, size, vae_work, work
from ...runs.kinds import makes
from ...runs.settings import Artifact, Gaps, HeldOut, VAERun
from ...runs.stages import load_vae, make
from ...runs.stages.context import Context
from ...runs.stages.gaps import gaps_work
from ...runs.stages.vae import mean_and_error
from ...runs.store import Store, load_tensor


class Validation(Artifact):
    """The ELBO of a trained VAE on real images that are neither in D_train nor in D_test."""

    kind: ClassVar[str] = "validation"
    vae: VAERun
    held_out: HeldOut

    @model_validator(mode="after")
    def _is_of_one_data_set(self) -> "Validation":
        if self.held_out.data != self.vae.data:
            raise ValueError("the validation images are of another data set than the VAE; give its own")
        return self


class Tuned(Artifact):
    """The three gaps of one of several VAEs: of the one with the highest validation ELBO, trained from ``seed``.

    Which one it is, is known once the candidates are trained; so its training belongs to making this artifact. It is kept
    in the store as any VAE, and made once.
    """

    kind: ClassVar[str] = "tuned"
    version: ClassVar[int] = Gaps.version
    candidates: tuple[Validation, ...] = Field(min_length=1)
    protocol: dict[str, Any] = Field(description="settings of Gaps, without the VAE")
    seed: int = 0

    @property
    def vae(self) -> VAERun:
        """Return the first candidate under this seed: data and network are those of all."""
        return self.candidates[0].vae.model_copy(update={"seed": self.seed})

    def gaps(self, number: int) -> Gaps:
        """Return the measurement of candidate ``number``, trained from this seed."""
        vae = self.candidates[number].vae.model_copy(update={"seed": self.seed})
        return Gaps(vae=vae, **self.protocol)


def validation_elbos(candidates: Sequence[Validation], store: Store) -> list[float]:
    """Return the mean validation ELBO of each candidate, nats per image: all that a choice may look at."""
    return [files.read_json(store.require(one) / "rows.json")[0]["value"] for one in candidates]


def choose(candidates: Sequence[Validation], store: Store) -> int:
    """Return the number of the candidate with the highest validation ELBO; of equals, the first."""
    return int(np.argmax(validation_elbos(candidates, store)))


@makes(Validation, work=lambda run: vae_work(run.vae, run.held_out.size, run.held_out.size, 1))
def make_validation(settings: Validation, context: Context) -> None:
    """Score the validation images; write ``rows.json``."""
    vae = load_vae(settings.vae, context.store, device=context.device)
    images = load_tensor(context.store.require(settings.held_out) / "images.npy")
    value, se = mean_and_error(gaps.evaluate_elbo(vae, images))
    files.write_json(context.folder / "rows.json", [{"quantity": "elbo_validation", "value": value, "se": se}])


def tuned_work(run: Tuned) -> Work:
    """Return the work of the gaps and, for a seed that is not the candidates', of the dearest candidate's training."""
    amounts = [gaps_work(run.gaps(0), snapshots=1)]
    if run.seed not in {one.vae.seed for one in run.candidates}:
        amounts.append(max((work(one.vae) for one in run.candidates), key=lambda one: one.flops))
    return Work(*map(sum, zip(*amounts, strict=True)))


@makes(Tuned, work=tuned_work, size=lambda run: size(run.vae))
def make_tuned(settings: Tuned, context: Context) -> None:
    """Choose, train from the seed, measure; write ``chosen.json``: the candidate's number, and the key of its gaps."""
    number = choose(settings.candidates, context.store)
    measured = settings.gaps(number)
    for artifact in (measured.vae, measured):
        make(artifact, context.store, str(context.device), context.report)
    files.write_json(context.folder / "chosen.json", {"candidate": number, "gaps": measured.key})
