"""Taking the ELBOs of a finished VAE apart: rate, distortion, bits/dim and active units at each of its snapshots."""

from collections.abc import Iterator
from typing import Any, ClassVar

from ... import gaps
from ...runs.cost.work import vae_work
from ...runs.kinds import makes
from ...runs.settings import Artifact, VAERun
from ...runs.stages.context import Context
from ...runs.stages.vae import load_vae, mean_and_error

SPLITS = ("train", "test")


class RateDistortion(Artifact):
    """Rate and distortion of D_train and D_test under one VAE, at its snapshots.

    An artifact of its own and not more columns of the VAE's curve: the curve belongs to the VAE's key, so VAEs that are
    made already would have to be trained again for it. This measures them as they are, in seconds.
    """

    kind: ClassVar[str] = "rate_distortion"
    vae: VAERun
    seed: int = 0


@makes(
    RateDistortion,
    work=lambda run: vae_work(run.vae, *2 * [len(run.vae.snapshots) * (run.vae.data.n_train + run.vae.data.n_test)], 0),
)
def make_rate_distortion(settings: RateDistortion, context: Context) -> None:
    """Write a row a snapshot and split: the terms of the ELBO that its curve has there, drawn with the same noise."""
    images = {split: context.split(settings.vae.data, split) for split in SPLITS}

    def rows(epoch: int) -> Iterator[dict[str, Any]]:
        vae = load_vae(settings.vae, context.store, epoch, context.device)
        for split, x in images.items():
            terms = gaps.elbo_terms(vae, x, settings.seed)
            row: dict[str, Any] = {"effective_epoch": epoch, "split": split}
            measured = {"rate": terms.rate, "distortion": terms.distortion, "elbo": terms.elbo}
            measured["bits_per_dim"] = terms.bits_per_dim(x[0].numel())
            for name, values in measured.items():
                row[name], row[f"{name}_se"] = mean_and_error(values)
            yield row | {"active_units": terms.active_units}

    context.measure(settings.vae.snapshots, rows)
