"""Two teachers of disjoint halves of the data, as data: other images, other first weights and draws, the same noise to sample from.

If both have learned the distribution that their images come from, and not the images, they make the same image from the same
noise; if they have learned their images by heart, they cannot (Kadkhodaie et al. 2024). Teachers that have learned nothing yet
agree, too: both return noise scaled alike. So a small distance means something only of teachers whose samples are images.
"""

from collections.abc import Mapping
from typing import Any

from ...runs.experiments import (
    Experiment,
    Point,
    bank_of,
    likelihood_of,
    of_sizes,
    own_teachers,
    prepared,
    teacher_for,
)
from ...runs.profiles import load_profile
from .stages import EqualSeeds
from .tables import halves_tables


def halves(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return, for each number of images in a half (x), the comparison of its two teachers; series ``halves``.

    Arguments and errors as for :func:`~vaelib.studies.three_gaps.runs.three_gaps`; a profile's section ``halves`` holds the budget.
    """
    chosen = likelihood_of(dataset, likelihood)
    base, compared = load_profile(profile, "halves", overrides), {}
    own_teachers("halves", base)
    for size in of_sizes("halves", "halves_sizes", base, overrides):
        data, budget = prepared(dataset, base.changed({"n_train": 2 * size}), at_most=True)
        banks = [
            bank_of(
                teacher_for(data, budget, share=0.5, rest=rest, seed=int(rest)),
                data,
                budget,
                size=budget.halves_samples,
            )
            for rest in (False, True)
        ]
        half = data.n_train // 2  # a small data set may have fewer than were asked for
        compared[half] = Point(f"halves_{half}", float(half), EqualSeeds(data=data, first=banks[0], second=banks[1]))
    points = list(compared.values())
    return Experiment("halves", budget, data.name, chosen, points, halves_tables, also=points)
