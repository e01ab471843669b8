"""The headline's VAEs, each test image's posterior refined by more and more gradient steps."""

from collections.abc import Mapping
from typing import Any

from ...errors import VaelibError
from ...runs.experiments import Experiment
from ..three_gaps.runs import three_gaps
from .stages import Refinement
from .tables import refinement_tables


def refinement(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return the refinement of every VAE of :func:`~vaelib.studies.three_gaps.runs.three_gaps`, whose arguments and errors it has.

    Images, samples and learning rate are those of its amortization gap; numbers of steps beyond ``amortization_steps`` are
    left out.
    """
    experiment = three_gaps(profile, dataset, likelihood, overrides)
    budget = experiment.profile
    steps = tuple(sorted({one for one in budget.refinement_steps if one <= budget.amortization_steps}))
    if not steps:
        raise VaelibError(
            f"refinement_steps begins beyond amortization_steps = {budget.amortization_steps}; raise that or add fewer steps"
        )
    points = []
    for point in experiment.points:
        measured = point.run
        climb = {"samples": measured.amortization_samples, "lr": measured.amortization_lr, "seed": measured.seed}
        run = Refinement(vae=point.vae, steps=steps, images=measured.amortization_images, **climb)
        points.append(point._replace(run=run))
    return experiment._replace(name="refinement", points=points, tables=refinement_tables)
