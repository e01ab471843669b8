"""The sensitivity panel as data: how the three gaps move where the paper, what it cites and their code leave a choice.

Every choice has a name, and normal training, DMaaPx and augmentation are measured again under each: the attack of
Appendix A (Table 2), MS-SSIM on 32 pixels, reconstructions, ELBO*. What changes the training is trained again, as far as
the profile's ``training_variants`` says. A gap that a choice cannot touch is not measured again.
"""

import math
from collections.abc import Mapping
from typing import Any, get_args

from ...gaps.similarity import VARIANTS
from ...runs.experiments import Experiment, Point, gaps_for, vae_for
from ...runs.profiles import PROTOCOLS, TrainingVariant
from ...runs.settings import Gaps, checked
from ...training.distributions import PAIR
from ..three_gaps.runs import three_gaps
from .stages import SIGN_LR, AttackSteps, AttackStrength, Remeasured, SimilarityPairs
from .tables import panel_tables

STARTS, STARTED = 12, 50  # climbs towards q* an image, and images at most
ZHANG = {"amortization_steps": 10, "amortization_lr": 5e-3, "amortization_samples": 1}  # Zhang et al. 2022, on MNIST


def protocols(base: Gaps) -> dict[str, dict[str, Any]]:
    """Return what is measured again under another protocol: a row's name, and the settings in which it differs."""
    floors = [floor for floor in (1e-3, 1e-6, 1e-8) if floor != base.sigma_floor]
    some = min(STARTED, base.amortization_images or base.vae.data.n_test)
    start = {"kuzina2022": "projected", "projected": "kuzina2022"}[base.attack_start]
    other = {"raw": "sign", "sign": "raw"}[base.attack_gradient]
    rate = SIGN_LR * base.attack_radius if other == "sign" else 1.0
    kind = {"sample": "mean", "mean": "sample"}[base.reconstruction]
    samples = 4 * base.amortization_samples
    return {
        **{f"MS-SSIM {name}": {"similarity": name} for name in VARIANTS if name != base.similarity},
        f"reconstructions: {kind}": {"reconstruction": kind},
        f"attack's start: {start}": {"attack_start": start},
        f"gradient: {other}": {"attack_gradient": other, "attack_lr": rate},
        **{f"δ = {r:g}": {"attack_radius": r} for r in (base.attack_radius / 2, 2 * base.attack_radius)},
        **{
            f"{n} step{'s' * (n > 1)}": {"attack_steps": n} for n in (-(-base.attack_steps // 5), 4 * base.attack_steps)
        },
        "q*: 10 steps of 0.005": ZHANG,
        f"q*: {samples} samples": {"amortization_samples": samples},
        f"q*: {STARTS} starts": {"amortization_starts": STARTS, "amortization_images": some},
        **{f"posterior: σ ≥ {floor:g}": {"sigma_floor": floor} for floor in floors},
    }


# What is trained again: a row's name, the profile's settings in which it differs, and the methods that it touches.
TRAINING: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "mean": ("Gaussian: linear mean", {"mean": "linear"}, ()),
    "augment_probability": ("augmentation: b = 0.1", {"augment_probability": 0.1}, ("aug_tuned", "aug_naive")),
    "residual_variant": ("residual network: 3×3, as printed", {"variant": "tables5+6"}, ()),
    "skip": ("residual network: skip without ReLU", {"skip": "identity"}, ()),
    "rgb": ("mixture: per channel", {"rgb": "per_channel"}, ()),
    "rgb_zhang": ("mixture: Zhang et al. 2022", {"rgb": "zhang2022"}, ()),
    "binarize_bank": ("samples: not binarised again", {"binarize_bank": False}, ("dmaapx",)),
    # All seeds of a VAE share one teacher, so their scatter does not hold what another teacher would change.
    "second_teacher": ("diffusion model: another seed", {"teacher_seed": 1}, ("dmaapx",)),
    "third_teacher": ("diffusion model: a third seed", {"teacher_seed": 2}, ("dmaapx",)),
}  # () is all methods


def left_out(experiment: Experiment) -> dict[str, str]:
    """Return the named choices that a panel has no row for, each with the reason."""
    profile, found = experiment.profile, {}
    for name in get_args(TrainingVariant):
        reason = _does_not_apply(name, experiment)
        if not reason and name not in profile.training_variants:
            reason = f"not run in the profile {profile.name}: needs training; training_variants asks for it"
        if reason:
            found[TRAINING[name][0]] = reason
    other = "changes none of these four methods; notebook 07, setting"
    return found | {
        "Reverse Half Asleep: samples of the prior": f"{other} rha_source",
        "Reverse Half Asleep: share of real images": f"{other} rha_real_share",
        "mollification: schedule": "the sigmoid is the only schedule; changes none of these four methods; notebook 07",
    }


def _does_not_apply(name: str, experiment: Experiment) -> str:
    """Return why a choice changes nothing here; empty if it does."""
    network = experiment.points[0].vae.network
    if name in ("residual_variant", "skip") and network.architecture != "residual":
        return "the network here is fully connected"
    if name == "mean" and network.likelihood != "gaussian":
        return "only for a Gaussian likelihood"
    if name in ("rgb", "rgb_zhang") and (network.likelihood != "mol" or experiment.data.channels == 1):
        return "only for a mixture of logistics on colour images"
    if "teacher_seed" in TRAINING[name][1] and (experiment.profile.teacher_from or experiment.profile.bank_from):
        return "the diffusion model is one that others trained"
    if name == "binarize_bank":
        binary = experiment.dataset in PROTOCOLS and PROTOCOLS[experiment.dataset].binarize
        return "" if binary else "the images here are not binary"
    return ""


def _trained_again(experiment: Experiment, base: list[Point]) -> list[Point]:
    """Return the points whose VAEs differ, of the first seed."""
    profile, points = experiment.profile, []
    for name in profile.training_variants:
        row, changes, methods = TRAINING[name]
        changed = profile.changed(changes)
        for point in base if not _does_not_apply(name, experiment) else []:
            method, seed = point.series, point.vae.seed
            if seed == 0 and method in (methods or (method,)):
                vae = vae_for(experiment.data, changed, experiment.likelihood, method, seed)
                if vae.key != point.vae.key:
                    run = Remeasured(**dict(gaps_for(vae, profile)), variant=row)
                    points.append(Point(method, math.nan, run))
    return points


def sensitivity(
    profile: str = "laptop",
    dataset: str = "fashion_mnist",
    likelihood: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return the panel's runs on the VAEs of :func:`~vaelib.studies.three_gaps.runs.three_gaps`, whose arguments and errors it has.

    The points are those of the three gaps, then one for each variant, method and seed. Beside them the attack and MS-SSIM
    are measured themselves.
    """
    experiment = three_gaps(profile, dataset, likelihood, overrides)
    seeds = experiment.profile.sensitivity_seeds or experiment.profile.seeds
    base = [point for point in experiment.points if point.vae.seed < seeds]
    again = []
    for variant, changes in protocols(base[0].run).items():
        touched = ("amortization",) if variant.startswith("q*") else ("robustness",)
        for point in base:
            values = dict(point.run) | changes | {"variant": variant, "gaps": touched}
            again.append(Point(point.series, math.nan, checked(Remeasured, values, "the sensitivity panel")))
    also = [  # the attack itself, and MS-SSIM on its pairs, of the first seed
        Point(point.series, math.nan, kind(**{n: v for n, v in point.run if not n.startswith("amortization")}))
        for kind in (SimilarityPairs, AttackStrength, AttackSteps)
        for point in base
        if point.vae.seed == 0 and (kind is not AttackSteps or point.series in PAIR)
    ]
    points = [*base, *again, *_trained_again(experiment, base)]
    return experiment._replace(name="sensitivity", points=points, also=also, tables=panel_tables)
