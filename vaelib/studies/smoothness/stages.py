"""Measuring log q(z_α | x̃_α) of a trained VAE on lines between test images: on many pairs, and on the one that is shown."""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator

from ...runs.cost.work import PIXELS, Work, vae_work
from ...runs.kinds import makes
from ...runs.settings import Artifact, VAERun
from ...runs.stages.context import Context
from ...runs.stages.vae import load_vae
from ...runs.store import TENSORS, save_tensors
from ...tasks.interpolation import different_pairs, interpolate, path_statistics

AT_ONCE = 10  # pairs between two checkpoints
DRAWN = 5e-4  # seconds of a core for the noise of one z_α


class ManyPaths(Artifact):
    """:class:`~vaelib.tasks.interpolation.PathStatistics` of a trained VAE on many pairs of test images."""

    kind: ClassVar[str] = "many_paths"
    vae: VAERun
    pairs: int = Field(100, ge=1, description="of different classes, at most")
    alphas: int = Field(51, ge=2)
    samples: int = Field(2, ge=1, description="reconstructions of each z_α")
    seed: int = 0


class OnePath(Artifact):
    """The path between two test images that Fig. 3 shows."""

    kind: ClassVar[str] = "one_path"
    vae: VAERun
    pair: tuple[int, int] | None = Field(None, description="x_0 and x_1 by number; None: of different classes, drawn")
    alphas: int = Field(101, ge=2)
    samples: int = Field(16, ge=1, description="reconstructions of each z_α; the paper's curve has one")
    seed: int = 0

    @model_validator(mode="after")
    def _is_of_two_images(self) -> "OnePath":
        last = self.vae.data.n_test - 1
        if self.pair and not (all(0 <= index <= last for index in self.pair) and len(set(self.pair)) == 2):
            raise ValueError(
                f"pair = {list(self.pair)} names no two test images; give two numbers from 0 to {last}, or None"
            )
        return self


def paths_work(run: ManyPaths | OnePath) -> Work:
    """Return the decoding of each z_α and the encoding of its reconstructions; on many pairs of the mean, too."""
    paths, again = (run.pairs, 1) if isinstance(run, ManyPaths) else (1, 0)
    places = paths * run.alphas
    passes = vae_work(run.vae, places * (run.samples + again), places * (1 + again), paths * (1 + again))
    return passes._replace(core=DRAWN * places)


@makes(ManyPaths, work=paths_work, size=lambda run: 300 * run.pairs)
def make_many_paths(settings: ManyPaths, context: Context) -> None:
    """Write a row a pair: its images, their statistics, and the variation of the curve with E[x|z_α] in place of x̃_α."""
    test, labels = (context.split(settings.vae.data, name) for name in ("test", "test_labels"))
    vae = load_vae(settings.vae, context.store, device=context.device)
    line = {"alphas": settings.alphas, "seed": settings.seed}

    def rows(pairs: torch.Tensor) -> Iterator[dict[str, Any]]:
        found = path_statistics(vae, test, pairs, samples=settings.samples, **line)._asdict()
        means = path_statistics(vae, test, pairs, samples=1, reconstruction="mean", **line)
        columns = dict(zip(("first", "second"), pairs.T, strict=True)) | found | {"quiet_variation": means.variation}
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            yield dict(zip(columns, row, strict=True))

    context.measure(different_pairs(labels, settings.pairs, settings.seed).split(AT_ONCE), rows)


@makes(
    OnePath,
    work=paths_work,
    size=lambda run: 4 * run.alphas * (PIXELS * run.vae.data.channels + run.samples),
)
def make_one_path(settings: OnePath, context: Context) -> None:
    """Write the path's :class:`~vaelib.tasks.interpolation.Interpolation`, and the two images by number."""
    test, labels = (context.split(settings.vae.data, name) for name in ("test", "test_labels"))
    pair = list(settings.pair or different_pairs(labels, 1, settings.seed)[0].tolist())
    vae = load_vae(settings.vae, context.store, device=context.device)
    path = interpolate(vae, *test[pair], alphas=settings.alphas, samples=settings.samples, seed=settings.seed)
    save_tensors(context.folder / TENSORS, path._asdict() | {"pair": torch.tensor(pair)})
