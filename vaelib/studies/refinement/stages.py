"""The test ELBO of a trained VAE after so many gradient steps on each image's posterior, and what they cost."""

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field

from ... import gaps
from ...runs.cost.work import Work, vae_work
from ...runs.kinds import makes
from ...runs.settings import Artifact, VAERun
from ...runs.stages.context import Context
from ...runs.stages.gaps import SCORING, over_all
from ...runs.stages.vae import load_vae


class Refinement(Artifact):
    """ELBOs of test images under posteriors refined for 0, then so many ``steps`` (Eq. 4's climb, stopped early)."""

    kind: ClassVar[str] = "refinement"
    vae: VAERun
    steps: tuple[int, ...] = Field(min_length=1, description="of gradient ascent an image, ascending")
    images: int | None = Field(None, ge=2, description="test images that are refined; None: all")
    samples: int = Field(2, ge=1, description="of z an image and step")
    lr: float = Field(0.1, gt=0)
    seed: int = 0


def refinement_work(run: Refinement) -> Work:
    """Return the climbs: two passes of the decoder a sample and step, and the scorings between steps."""
    steps = sum(run.steps)
    decoded = (run.images or run.vae.data.n_test) * steps * (2 * run.samples + SCORING)
    return vae_work(run.vae, 0, decoded, steps)


def _clock(device: torch.device) -> float:
    """Return seconds of this process: on a CPU its own, whatever else runs there."""
    return time.process_time() if device.type == "cpu" else time.perf_counter()


@makes(Refinement, work=refinement_work)
def make_refinement(settings: Refinement, context: Context) -> None:
    """Write a row a number of steps: the mean ELBO of all test images, what was gained, seconds an image.

    Each row is :func:`~vaelib.gaps.optimize_posterior` with that many steps at most, so the last one is Eq. 4's ELBO*. Seconds
    are those beyond a call without steps, which scores the same images as often.
    """
    test, labels = (context.split(settings.vae.data, name) for name in ("test", "test_labels"))
    vae = load_vae(settings.vae, context.store, device=context.device)
    chosen = gaps.stratified(labels, settings.images or len(test), settings.seed)
    known = gaps.evaluate_elbo(vae, test, settings.seed)
    images = test[chosen.to(test.device)]
    climbing = settings.only("seed lr samples")

    def seconds(steps: int) -> tuple[gaps.OptimizedPosterior, float]:
        start = _clock(context.device)
        found = gaps.optimize_posterior(vae, images, max_steps=steps, **climbing)
        return found, (_clock(context.device) - start) / len(images)

    gaps.optimize_posterior(vae, images[:2], max_steps=1, **climbing)  # the first call of a process takes longer
    alone = min(seconds(0)[1] for _ in range(2))

    def rows(steps: int) -> Iterator[dict[str, Any]]:
        found, took = seconds(steps)
        row: dict[str, Any] = {"steps": steps, "seconds": max(took - alone, 0.0) if steps else 0.0}
        for name, values in {"elbo_test": found.elbo_star, "gain": found.gap}.items():
            row[name], row[f"{name}_se"] = over_all(values, chosen.cpu(), known)
        yield row

    context.measure([0, *settings.steps], rows)
