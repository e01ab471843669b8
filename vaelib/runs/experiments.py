"""An experiment as data: points, each a run with its place in a figure; and how a profile becomes settings."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, get_args

import pandas as pd

from ..errors import VaelibError, unknown
from ..training.distributions import METHODS
from .external import pretrained_for, samples_for
from .profiles import PROTOCOLS, Profile, architecture, protocol
from .settings import (
    Artifact,
    Bank,
    Data,
    Exact,
    Gaps,
    LikelihoodName,
    Network,
    Pretrained,
    Samples,
    Teacher,
    VAERun,
    checked,
)
from .stages import lowered, resolve_data, spare_images
from .stages.classifier import Classifier
from .stages.data import tell_once
from .store import Store


class Point(NamedTuple):
    """One run's place in a figure: the curve it belongs to, and where on the x axis (NaN: everywhere)."""

    series: str
    x: float
    run: Artifact

    @property
    def vae(self) -> VAERun:
        """Return the VAE that was trained or measured; not every run has one."""
        return self.run if isinstance(self.run, VAERun) else self.run.vae

    @property
    def subject(self) -> Artifact:
        """Return what has the data set and the seed: the run itself, or its VAE."""
        return self.run if "data" in type(self.run).model_fields else self.vae


def planned(points: Sequence[Point], profile: Profile) -> Sequence[Point]:
    """Return points; under ``only_finished`` those in the store, so that a night can be shown before it ends.

    Raises:
        VaelibError: there are points of a kind, and none is in the store: what is drawn of it has nothing to show.
    """
    if not profile.only_finished:
        return points
    store = Store()
    found = [point for point in points if store.has(point.run)]
    there = {point.run.kind for point in found}
    for kind, count in Counter(point.run.kind for point in points).items():
        if kind not in there:
            raise VaelibError(
                f"only_finished: none of the {count} runs is in {store.root / kind}; leave it out to make them"
            )
    return found


@dataclass(frozen=True)
class Experiment:
    """A profile applied to a data set, and the runs it asks for.

    Attributes:
        points: the runs that a figure's curves or a panel's rows are made of.
        also: what else is measured of them, for tables of its own.
        tables: called with the experiment and a store once the runs are there; returns its tables by name.
        files: where a table's file is not called as the table is.
    """

    name: str
    profile: Profile
    dataset: str
    likelihood: str
    points: Sequence[Point]
    tables: Callable[..., dict[str, pd.DataFrame]]  # (experiment, store)
    files: Mapping[str, str] = field(default_factory=dict)
    also: Sequence[Point] = ()

    def __post_init__(self):
        for name in ("points", "also"):  # here, so that no study can forget ``only_finished``
            object.__setattr__(self, name, planned(getattr(self, name), self.profile))

    _replace = replace  # as a named tuple has it; what is new is held to ``only_finished`` too

    @property
    def setting(self) -> dict[str, str]:
        """Return the columns that all of its rows share."""
        return {"dataset": self.dataset, "likelihood": self.likelihood}

    @property
    def place(self) -> dict[str, str]:
        """Return the columns that tell its rows from others in a table that several experiments share."""
        return {"experiment": self.name} | self.setting

    @property
    def entry(self) -> str:
        """Return what ``build.json`` calls it."""
        return entry_of(**self.setting, experiment=self.name)

    @property
    def runs(self) -> list[Artifact]:
        """Return all runs, each once."""
        return list({point.run.key: point.run for point in (*self.points, *self.also)}.values())

    def measured(self, kind: type[Artifact]) -> list[Point]:
        """Return what is measured of one kind beside the points."""
        return [point for point in self.also if isinstance(point.run, kind)]

    @property
    def data(self) -> Data:
        """Return the data set that all runs share."""
        return self.points[0].subject.data


def entry_of(dataset: str, likelihood: str, experiment: str) -> str:
    """Return the name that ``build.json`` has for an experiment.

    >>> entry_of("cifar10", "mol", "three_gaps"), entry_of("cifar10", "mol", "limited_k")
    ('cifar10, mol', 'cifar10, mol, limited k')
    """
    return ", ".join([dataset, likelihood, *([] if experiment == "three_gaps" else [experiment.replace("_", " ")])])


def spaced(last: int, points: int) -> tuple[int, ...]:
    """Return up to ``points`` evenly spaced whole numbers that end in ``last``, without 0.

    >>> spaced(200, 4)
    (50, 100, 150, 200)
    """
    return tuple(sorted({max(1, round(last * i / points)) for i in range(1, points + 1)}))


def teacher_for(data: Data, profile: Profile, share: float = 1.0, **changes: Any) -> Teacher:
    """Return the diffusion model of a share of a data set under a profile; ``changes`` are fields of Teacher."""
    given = {"data": data, "share": share, "network": profile.teacher} | changes
    return checked(Teacher, profile.values(Teacher, **given), "a teacher")


def binarized(data: Data, profile: Profile) -> bool:
    """Return whether samples are thresholded: as the data are, unless the profile says otherwise."""
    return protocol(data.name).binarize if profile.binarize_bank is None else profile.binarize_bank


def own_teachers(study: str, profile: Profile) -> None:
    """Refuse a teacher or samples of others for a study whose question is how its teachers were trained; raises VaelibError."""
    if profile.teacher_from or profile.bank_from:
        raise VaelibError(f"{study} trains teachers of its own; unset teacher_from and bank_from for it")


def bank_for(data: Data, profile: Profile, share: float = 1.0) -> Bank | Samples:
    """Return the bank of k·N samples of a data set's teacher, fitted to a share of D_train, or of what others made.

    Raises:
        VaelibError: a share of D_train asked of a teacher that others trained; see :mod:`vaelib.runs.external`.
    """
    if share != 1:
        own_teachers("teacher_fractions", profile)
    if profile.bank_from:
        return samples_for(data, profile, binarized(data, profile))
    teacher = pretrained_for(data, profile) if profile.teacher_from else teacher_for(data, profile, share)
    return bank_of(teacher, data, profile)


def bank_of(teacher: Teacher | Pretrained | Exact, data: Data, profile: Profile, **changes: Any) -> Bank:
    """Return the bank of k·N samples of a teacher; ``changes`` are fields of :class:`~vaelib.runs.settings.Bank`."""
    given = {"teacher": teacher, "size": profile.k * data.n_train, "binarize": binarized(data, profile)}
    return checked(Bank, profile.values(Bank, **given | changes), "a bank")


def classifier_for(data: Data, profile: Profile) -> Classifier:
    """Return the proxies' classifier of a data set; where fewer than N labelled images are spare it learns from D_train."""
    spare = min(profile.classifier_images, spare_images(data))
    return Classifier(data=data, images=spare if spare >= data.n_train else 0, images_seen=profile.classifier_seen)


def network_for(dataset: str, profile: Profile, likelihood: str) -> Network:
    """Return the network of a data set under a profile (Table 3 unless the profile names an architecture)."""
    chosen = architecture(dataset, likelihood) if profile.architecture == "auto" else profile.architecture
    values = profile.values(Network, architecture=chosen, likelihood=likelihood)
    others = ("nc", "mz", "variant", "skip") if chosen == "fc" else ("latents", "hidden")
    return Network(**{name: value for name, value in values.items() if name not in others})


def vae_for(data: Data, profile: Profile, likelihood: str, method: str, seed: int, **changes: Any) -> VAERun:
    """Return one VAE under a profile; ``changes`` are fields of :class:`~vaelib.runs.settings.VAERun`."""
    early = [epoch for epoch in profile.early_evaluations if epoch < profile.epochs and profile.evaluations >= 10]
    values = profile.values(
        VAERun,
        data=data,
        network=network_for(data.name, profile, likelihood),
        method=method,
        bank=bank_for(data, profile) if method == "dmaapx" else None,
        evaluations=tuple(sorted({*early, *spaced(profile.epochs, profile.evaluations)})),
        snapshots=spaced(profile.epochs, profile.gap_points),
        seed=seed,
    )
    return checked(VAERun, values | changes, "a VAE run")


def gaps_for(vae: VAERun, profile: Profile) -> Gaps:
    """Return the gap measurement of a VAE; what the profile leaves open is Table 2's."""
    attack, images = profile.attack(vae.data.name), profile.amortization_images
    attack["attack_images"] = min(attack["attack_images"], vae.data.n_test)
    images = min(images, vae.data.n_test) if images else None
    values = profile.values(Gaps, vae=vae, amortization_images=images, **attack)
    return checked(Gaps, values, "the gaps")


def prepared(dataset: str, budget: Profile, at_most: bool = False) -> tuple[Data, Profile]:
    """Return the data set under a profile, and the profile with no batch larger than an epoch of images of one's own.

    ``at_most``: take as many images as there are where the profile asks for more, of a published set too.

    Raises:
        VaelibError: no such data set, or of one's own fewer than 2 training or test images.
    """
    data = resolve_data(dataset, budget.n_train, budget.n_test, source=budget.source, at_most=at_most)
    if data.path is None:
        return data, budget
    if min(data.n_train, data.n_test) < 2:
        raise VaelibError(
            f"dataset = {dataset}: n_train = {data.n_train} and n_test = {data.n_test} must both be at least 2; give 8 images "
            "or more to split 80/20, or 2 or more in each split"
        )
    batch_size = lowered(data.name, "batch_size", budget.batch_size, data.n_train)
    return data, budget.changed({"batch_size": batch_size})


def of_sizes(study: str, setting: str, profile: Profile, overrides: Mapping[str, Any] | None) -> list[int]:
    """Return the sizes of a study that has several, each once; a line tells whoever gave ``n_train`` that it is not used."""
    sizes = list(dict.fromkeys(getattr(profile, setting)))
    if "n_train" in (overrides or {}):
        tell_once(f"{study}: n_train is not used; its sizes are {setting} = {', '.join(map(str, sizes))}")
    return sizes


def likelihood_of(dataset: str, name: str) -> LikelihoodName:
    """Return the likelihood ``name``, the paper's for the data set if it is ``default``; raises VaelibError: unknown."""
    known = get_args(LikelihoodName)
    if name not in ("default", *known):
        raise unknown("likelihood =", name, ("default", *known))
    return protocol(dataset).likelihood if name == "default" else name


def methods_for(dataset: str) -> list[str]:
    """Return the methods of Sec. 5.2; own images have no tuned augmentation."""
    return [m for m in METHODS if m != "aug_tuned" or dataset in PROTOCOLS]
