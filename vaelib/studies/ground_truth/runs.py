"""Notebook 01 as data: worlds whose truth is known, and brackets for VAEs where it is not."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from ...errors import VaelibError
from ...runs.profiles import Profile, load_profile
from ...runs.settings import Artifact
from ...runs.store import Store
from ...runs.tables import merge_table, rows_of, tables_folder
from ..three_gaps.runs import three_gaps
from .stages import Brackets, Calibration, Plane, Remark, WorldBounds

S, LINEAR, DECODER = ("letter S", "known"), ("linear-Gaussian", "known"), "random decoder"  # in place of data sets
WORLDS = {"bernoulli": 0.5, "gaussian": 0.3, "mol": 0.3}  # likelihood -> the decoder's gain
COLUMN = {"points": "n_train"}
Tables = dict[str, pd.DataFrame]


class GroundTruth(NamedTuple):
    """A profile and the runs that it asks for, none of which needs data."""

    profile: Profile
    planes: list[Plane]
    calibration: Calibration
    remarks: list[Remark]
    worlds: list[WorldBounds]

    @property
    def runs(self) -> list[Artifact]:
        """Return all runs, the longest first."""
        return [*self.planes, *self.worlds, self.calibration, *self.remarks]


def ground_truth(profile: str = "laptop", overrides: Mapping[str, Any] | None = None) -> GroundTruth:
    """Return the study's runs under a profile.

    Raises:
        VaelibError: an unknown name or a value out of range; ``use_results``.
    """
    budget = load_profile(profile, overrides=overrides)
    if budget.use_results:
        raise VaelibError("use_results: the worlds with a known p_data are computed, in minutes; leave it out")
    seeds = range(budget.plane_seeds)
    fit = budget.only("images steps samples", "plane_")
    planes = [Plane(points=n, seed=s, **fit) for n in budget.plane_points[::-1] for s in seeds]
    quick = {"draws": min(budget.bracket_draws, 1_000), "temperatures": min(budget.bracket_temperatures, 60)}
    quick["steps"] = budget.bracket_steps
    worlds = [
        WorldBounds(likelihood=likelihood, gain=gain, starts=starts, images=max(budget.bracket_images, 16), **quick)
        for likelihood, gain in WORLDS.items()
        for starts in (1, 2)
    ]
    calibration = Calibration(repetitions=budget.repetitions, images=budget.world_images)
    return GroundTruth(budget, planes, calibration, [Remark(seed=seed) for seed in seeds], worlds)


def brackets(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Brackets]:
    """Return, by method, the brackets of the headline's VAEs of seed 0 that the store holds; none is trained for them.

    Raises:
        VaelibError: as :func:`~vaelib.studies.three_gaps.runs.three_gaps`.
    """
    base = three_gaps(profile, dataset, likelihood, overrides)
    budget, store = base.profile, Store()
    return {
        point.series: Brackets(vae=point.vae, **budget.only("images draws temperatures steps", "bracket_"))
        for point in base.points
        if point.vae.seed == 0 and store.has_manifest(point.vae)
    }


def _joined(runs: Sequence[Artifact], setting: tuple[str, str], *names: str, **columns: Any) -> pd.DataFrame:
    """Return the rows of several runs, with the fields ``names`` of each beside them."""
    pieces = []
    for run in runs:
        fields = {COLUMN.get(name, name): getattr(run, name) for name in names}
        about = dict(zip(("dataset", "likelihood"), setting, strict=True)) | fields | columns
        pieces.append(rows_of(run, Store()).assign(**about, key=run.key))
    return pd.concat(pieces, ignore_index=True)


def write_ground_truth(lab: GroundTruth) -> Tables:
    """Write the tables of the finished runs and return them: ``plane``, ``calibration``, ``remark_b5`` and so on."""
    tables = {
        "plane": _joined(lab.planes, S, "points", "seed", source="p_data of Fig. 1, known"),
        "calibration": _joined([lab.calibration], LINEAR),
        "remark_b5": _joined(lab.remarks, LINEAR, "seed", source="p_data known"),
        "world_bounds": pd.concat(
            [_joined([run], (DECODER, run.likelihood), "starts", "seed") for run in lab.worlds], ignore_index=True
        ),
    }
    for name, table in tables.items():
        merge_table(tables_folder(lab.profile.name) / f"{name}.csv", table)
    return tables


def write_brackets(profile: str, runs: Mapping[str, Brackets]) -> pd.DataFrame:
    """Write ``brackets`` from finished runs, one row an image, and return those of this setting."""
    pieces = [
        _joined(
            [run], (run.vae.data.name, run.vae.network.likelihood), "seed", method=method, source=run.vae.data.label
        )
        for method, run in runs.items()
    ]
    table = pd.concat(pieces, ignore_index=True)
    merge_table(tables_folder(profile) / "brackets.csv", table)
    return table
