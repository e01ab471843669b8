"""The teacher's samples as an experiment: can they be distinguished from real images, and are they copies (App. D)?

It stands on the data set, teachers and banks of the sweep ``teacher_fractions``, so that after it nothing is sampled anew.
"""

import math
from collections.abc import Mapping
from typing import Any

from ...errors import VaelibError
from ...runs.experiments import Experiment, Point, bank_for, classifier_for
from ...runs.profiles import Profile
from ...runs.settings import Bank, Data, Samples, checked
from ...runs.stages import spare_images
from ...tasks.quality import NEIGHBOURS
from ..sweeps.runs import Base
from .stages import C2ST, Audit, SampleElbo
from .tables import quality_tables


def c2st_for(data: Data, profile: Profile, bank: Bank | Samples | None, seed: int) -> C2ST:
    """Return a two-sample test of a bank, or, without one, of two halves of real images: the control.

    The discriminator learns from images beside D_train where there are enough of them, else from D_train.
    """
    size = profile.k * data.n_train
    tested = min(profile.c2st_tested, data.n_test // 2, size // 2)
    wanted = min(profile.c2st_images, size - tested) * (1 if bank else 2)
    spare = spare_images(data)
    images = wanted if spare >= wanted else spare if bank is None and spare >= data.n_train else 0
    given = {"data": data, "bank": bank, "images": images, "tested": tested, "seed": seed}
    return checked(C2ST, given | profile.only("network epochs batch_size lr decay", "c2st_"), "a two-sample test")


def teacher_sheet(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return the tests of the samples of a data set's teachers (Figs. 17 and 18, Appendix D).

    Series ``teacher``: a two-sample test for each share of D_train that a teacher saw (x, percent) and each seed; ``real``:
    the same of real images against real ones; ``audit``: the bank of the teacher of all of D_train; ``elbo``: its
    samples under the VAE of normal training that the sweeps share.

    Arguments and errors as for :func:`~vaelib.studies.three_gaps.runs.three_gaps`; samples of others have no shares but 100 %,
    and fewer than 8 test images or 4 samples are refused.
    """
    base = Base(profile, dataset, likelihood, overrides)
    budget, data = base.budget, base.data
    fewest, samples = NEIGHBOURS + 1, budget.k * data.n_train
    if data.n_test // 2 < fewest or samples < fewest:
        raise VaelibError(
            f"n_test = {data.n_test} and k·n_train = {samples} are too few for precision and recall; raise n_test to at least "
            f"{2 * fewest} and k·n_train to at least {fewest}"
        )
    others = budget.teacher_from or budget.bank_from
    shares = sorted({100.0} if others else {*map(float, budget.teacher_fractions), 100.0})
    banks = {percent: bank_for(data, budget, percent / 100) for percent in shares}
    classifier = classifier_for(data, budget)
    audit = Audit(data=data, bank=banks[100.0], classifier=classifier)
    judged = SampleElbo(vae=base.vae("normal", 0), bank=banks[100.0])
    points = [Point("audit", 100.0, audit), Point("elbo", 100.0, judged)]
    for seed in range(budget.c2st_seeds):
        points.append(Point("real", math.nan, c2st_for(data, budget, None, seed)))
        points += [Point("teacher", x, c2st_for(data, budget, bank, seed)) for x, bank in banks.items()]
    return Experiment("teacher_sheet", budget, base.dataset, base.likelihood, points, quality_tables)
