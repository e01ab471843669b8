"""The downstream tasks as data: the VAEs of the three gaps in use (Figs. 4 left, 9 and 19, Table 11)."""

import math
from collections.abc import Mapping
from typing import Any

from ... import paths
from ...data.corruptions import available, published
from ...data.datasets import has_classes
from ...data.sources import CIFAR_EXACT
from ...errors import VaelibError
from ...runs.experiments import Experiment, Point, classifier_for
from ...runs.profiles import Profile
from ...runs.settings import Data, checked
from ...tasks.inception import FEWEST as FEWEST_FID
from ...tasks.representation import FEWEST
from ..three_gaps.runs import three_gaps
from .stages import Corrupted, Downstream, Pictures
from .tables import downstream_tables


def corrupted_for(data: Data, profile: Profile) -> Corrupted:
    """Return a data set's corrupted test images under a profile: the published files where all are there and fit.

    Raises:
        VaelibError: fewer test images than a classifier needs.
    """
    images = min(profile.task_images or data.n_test, data.n_test)
    if images < FEWEST:
        raise VaelibError(f"{images} test images are too few for classifiers; raise n_test to at least {FEWEST}")
    original = data.name == "cifar10" and data.label == CIFAR_EXACT
    official = original and any(published(root) for root in paths.data_roots())
    severity = profile.corruption_severity
    options = {"official": True} if official else {"names": available(severity)}
    return Corrupted(data=data, images=images, severity=severity, **options)


def downstream(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return the downstream tasks of the VAEs of :func:`~vaelib.studies.three_gaps.runs.three_gaps`, whose arguments it takes.

    Raises:
        VaelibError: as there; fewer than 10 test images, or own images of one class; FID asked for with fewer images than
            Inception has features.
    """
    base = three_gaps(profile, dataset, likelihood, overrides)
    if not has_classes(dataset):
        raise VaelibError(
            f"dataset = {dataset}: all images are of one class, so no classifier can be tested; give class sub-folders, or "
            "an .npz with labels"
        )
    data, profile = base.data, base.profile
    samples = min(profile.sample_images or data.n_test, data.n_test)
    if profile.inception_sha256 and samples < FEWEST_FID:
        raise VaelibError(f"{samples} samples are too few for FID; raise sample_images and n_test to {FEWEST_FID:,}")
    shared = {"corrupted": corrupted_for(data, profile), "classifier": classifier_for(data, profile)}
    shared |= {"samples": samples, "inception": profile.inception_sha256}
    points = [Point(p.series, math.nan, checked(Downstream, {"vae": p.vae} | shared, "a run")) for p in base.points]
    also = [Point(p.series, math.nan, Pictures(vae=p.vae)) for p in base.points if p.vae.seed == 0]
    return base._replace(name="downstream", points=points, also=also, tables=downstream_tables)
