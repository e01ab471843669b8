"""How strong the encoder attack is, and what MS-SSIM means on 32 pixels: tables from the trained VAEs of the first seed.

``similarity_pairs.csv`` has a row a pair of images and variant of MS-SSIM, ``attack_strength.csv`` one a method, gradient,
radius, number of steps and of restarts. Nothing is trained here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ...gaps import attack_course, attacked_pairs, ms_ssim, stratified, symmetric_kl
from ...gaps.attack import GRADIENTS
from ...gaps.similarity import VARIANTS
from ...images import as_float
from ...models import VAE
from ...modes import evaluating
from ...report.trained import load_test_set
from ...runs import Experiment, Gaps, tables_folder
from ...runs.tables import merge_table
from ...tasks import reconstruct
from .runs import SIGN_LR

PAIRS = ("attacked inputs", "reconstructions", "clean reconstructions")
IMAGES = 12  # attacked at every strength, at most


def protocol_of(experiment: Experiment, method: str) -> Gaps:
    """Return the measurement of a method's first VAE, as notebook 03 makes it."""
    return next(point.run for point in experiment.points if point.series == method)


def _about(experiment: Experiment, method: str) -> dict[str, Any]:
    data = experiment.data
    about = {"dataset": data.name, "likelihood": experiment.likelihood, "method": method, "seed": 0}
    return about | {"n_train": data.n_train, "n_test": data.n_test, "source": data.label}


def _kept(experiment: Experiment, name: str, parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Write a table for all settings made so far and return this experiment's rows."""
    table = pd.concat(parts, ignore_index=True)
    merge_table(tables_folder(experiment.profile.name) / f"{name}.csv", table)
    return table


def similarity_pairs(experiment: Experiment, vaes: Mapping[str, VAE]) -> pd.DataFrame:
    """Return, and keep as ``similarity_pairs.csv``, every variant of MS-SSIM on the same pairs of images.

    The pairs are those of Eq. 5 for one restart: inputs before and after the attack, their sampled reconstructions, and
    two samples of the reconstruction of the clean image.
    """
    images, labels = load_test_set(experiment)
    parts = []
    for method, vae in vaes.items():
        run = protocol_of(experiment, method)
        (found,) = attacked_pairs(
            vae,
            images,
            labels,
            n_images=run.attack_images,
            restarts=1,
            steps=run.attack_steps,
            radius=run.attack_radius,
            lr=run.attack_lr,
            gradient=run.attack_gradient,
            start=run.attack_start,
        )
        for name, pair in zip(PAIRS, found, strict=True):
            for variant in VARIANTS:
                rows = pd.DataFrame({"value": ms_ssim(*pair, variant=variant).cpu().numpy()})
                rows = rows.rename_axis("image").reset_index()
                parts.append(rows.assign(pair=name, variant=variant, **_about(experiment, method)))
    return _kept(experiment, "similarity_pairs", parts)


def _courses(run: Gaps) -> Iterator[tuple[str, float, tuple[int, ...]]]:
    """Yield (gradient, radius, numbers of steps): steps up to four times the protocol's, radii from a quarter to twice."""
    n, radius = run.attack_steps, run.attack_radius
    many = tuple(sorted({0, *(max(1, round(n * share)) for share in (0.1, 0.2, 0.4, 1, 2, 4))}))
    for gradient in GRADIENTS:
        yield gradient, radius, many
        for share in (0.25, 0.5, 1.5, 2):
            yield gradient, share * radius, (n,)


def _measured(vae: VAE, x: Tensor, x_a: Tensor, variant: str) -> tuple[Tensor, Tensor]:
    """Return SKL and the similarity lost, (restarts, B) each; reconstructions are E[x|z = μ], so only the attack counts."""
    flat = x_a.flatten(0, 1)
    clean = x.repeat(len(x_a), 1, 1, 1)
    with evaluating(vae), torch.inference_mode():
        skl = symmetric_kl(vae.encode(flat), vae.encode(clean))
    before, after = (reconstruct(vae, one, "mean").to(x.device) for one in (clean, flat))
    gap = ms_ssim(clean, flat, variant=variant) - ms_ssim(before, after, variant=variant)
    return tuple(one.unflatten(0, x_a.shape[:2]).cpu() for one in (skl, gap))


def _strengths(values: Tensor, name: str, restarts: int) -> dict[str, float]:
    """Return a quantity (restarts, B) averaged over restarts as Eq. 5 does, and of the worst of the first ``restarts``."""
    each, worst = values[:restarts].mean(0), values[:restarts].amax(0)
    error = float(each.std() / len(each) ** 0.5) if len(each) > 1 else float("nan")
    return {name: float(each.mean()), f"{name}_se": error, f"{name}_worst": float(worst.mean())}


def attack_strength(experiment: Experiment, vaes: Mapping[str, VAE]) -> pd.DataFrame:
    """Return, and keep as ``attack_strength.csv``, what attacks of every kind, radius and length reach.

    ``skl`` in nats and ``gap`` (MS-SSIM) are means over images and restarts, ``_se`` over images; ``_worst`` is the mean
    over images of the largest among ``restarts``.
    """
    images, labels = load_test_set(experiment)
    parts = []
    for method, vae in vaes.items():
        run = protocol_of(experiment, method)
        chosen = stratified(labels, min(IMAGES, run.attack_images))
        with evaluating(vae) as device:
            x = as_float(images[chosen].to(device))
        for gradient, radius, at in _courses(run):
            lr = run.attack_lr if gradient == run.attack_gradient else SIGN_LR * radius if gradient == "sign" else 1.0
            options = {"radius": radius, "lr": lr, "gradient": gradient, "start": run.attack_start}
            options["restarts"] = run.attack_restarts
            for steps, x_a in zip(at, attack_course(vae, x, at, indices=chosen.tolist(), **options), strict=True):
                skl, gap = _measured(vae, x, x_a, run.similarity)
                counts = {n for n in (1, 2, 5, 10) if n < len(x_a)} if steps == run.attack_steps else set()
                for count in sorted({*counts, len(x_a)}):
                    row = {"gradient": gradient, "radius": radius, "steps": steps, "restarts": count}
                    row |= _strengths(skl, "skl", count) | _strengths(gap, "gap", count)
                    row |= {"images": len(x), "of_restarts": len(x_a), "protocol": radius == run.attack_radius}
                    parts.append(pd.DataFrame([row | _about(experiment, method)]))
    return _kept(experiment, "attack_strength", parts)
