"""Measuring a finished VAE again: single gaps under another protocol, the attack's strength, MS-SSIM's variants."""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ... import files
from ...gaps import attack_course, attack_path, attacked_pairs, ms_ssim, stratified, symmetric_kl
from ...gaps.attack import GRADIENTS
from ...gaps.similarity import VARIANTS
from ...images import as_float
from ...models import VAE
from ...modes import evaluating
from ...runs.cost.work import PIXELS
from ...runs.kinds import makes
from ...runs.settings import Gaps
from ...runs.stages.context import Context
from ...runs.stages.gaps import BOTH, Gap, gaps_work, measure, measured_vae
from ...runs.store import TENSORS, save_tensors
from ...tasks import reconstruct

PAIRS = ("attacked inputs", "reconstructions", "clean reconstructions")
SIGN_LR = 0.1  # of δ, a step of the sign's attack: ten reach the border; with η = 1 each would cross the whole box


class Remeasured(Gaps):
    """Gaps of a trained VAE at its last epoch under another protocol, and only those that the protocol touches."""

    kind: ClassVar[str] = "remeasured"
    variant: str = Field("", exclude=True, description="its row in the panel; not part of what it is")
    gaps: tuple[Gap, ...] = Field(BOTH, min_length=1)


class SimilarityPairs(Gaps):
    """Every variant of MS-SSIM on the same pairs of images: those of Eq. 5, for one restart of a trained VAE's attack.

    They are the inputs before and after the attack, their sampled reconstructions, and two samples of the reconstruction
    of the clean image.
    """

    kind: ClassVar[str] = "similarity_pairs"


class AttackStrength(Gaps):
    """What attacks on a trained VAE reach: of both gradients, radii and numbers of steps around the protocol's."""

    kind: ClassVar[str] = "attack_strength"
    images: int = Field(12, ge=1, description="attacked at every strength, at most")


class AttackSteps(Gaps):
    """The attack on one test image, step by step, and what becomes of its reconstruction."""

    kind: ClassVar[str] = "attack_steps"
    index: int = Field(0, ge=0, description="of the test image")

    @property
    def stops(self) -> list[int]:
        """Return the numbers of steps that are shown; 0 is the random start."""
        return sorted({0, *(round(self.attack_steps * share) for share in (0.02, 0.1, 0.2, 0.4, 1))})


@makes(Remeasured, work=lambda run: gaps_work(run, run.gaps, snapshots=1))
def make_remeasured(settings: Remeasured, context: Context) -> None:
    """Measure some gaps at the VAE's last snapshot."""
    files.write_json(
        context.folder / "curve.json", measure(settings, context, settings.vae.snapshots[-1], settings.gaps)
    )


def _attack_work(run: Gaps, **changes: int) -> Any:
    """Return the work of an attack of another size."""
    return gaps_work(run.model_copy(update=changes), ("robustness",), snapshots=1)


@makes(
    SimilarityPairs,
    work=lambda run: _attack_work(run, attack_restarts=1),
    size=lambda run: 120 * len(PAIRS) * len(VARIANTS) * run.attack_images,
)
def make_similarity_pairs(settings: SimilarityPairs, context: Context) -> None:
    """Write a row a pair of images and variant of MS-SSIM."""
    test, labels = (context.split(settings.vae.data, name) for name in ("test", "test_labels"))
    options = settings.attack() | {"restarts": 1, "n_images": settings.attack_images, "seed": settings.seed}
    (found,) = attacked_pairs(measured_vae(settings, context), test, labels, **options)

    def rows(named: tuple[str, tuple[Tensor, Tensor]]) -> Iterator[dict[str, Any]]:
        name, pair = named
        for variant in VARIANTS:
            for image, value in enumerate(ms_ssim(*pair, variant=variant).tolist()):
                yield {"image": image, "value": value, "pair": name, "variant": variant}

    context.measure(list(zip(PAIRS, found, strict=True)), rows)


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


@makes(
    AttackStrength,  # two gradients at 4 + 4 · 1 times the protocol's steps
    work=lambda run: _attack_work(
        run, attack_images=min(run.images, run.attack_images), attack_steps=16 * run.attack_steps
    ),
    size=lambda run: 20_000,
)
def make_attack_strength(settings: AttackStrength, context: Context) -> None:
    """Write a row a gradient, radius, number of steps and of restarts, as ``attack_strength.csv`` has them."""
    test, labels = (context.split(settings.vae.data, name) for name in ("test", "test_labels"))
    chosen = stratified(labels, min(settings.images, settings.attack_images), settings.seed)
    vae, x = measured_vae(settings, context), as_float(test[chosen.to(test.device)])

    def rows(course: tuple[str, float, tuple[int, ...]]) -> Iterator[dict[str, Any]]:
        gradient, radius, at = course
        protocol = gradient == settings.attack_gradient
        lr = settings.attack_lr if protocol else SIGN_LR * radius if gradient == "sign" else 1.0
        options = settings.attack() | {"radius": radius, "lr": lr, "gradient": gradient, "seed": settings.seed}
        del options["steps"]
        for steps, x_a in zip(at, attack_course(vae, x, at, indices=chosen.tolist(), **options), strict=True):
            skl, gap = _measured(vae, x, x_a, settings.similarity)
            counts = {n for n in (1, 2, 5, 10) if n < len(x_a)} if steps == settings.attack_steps else set()
            for count in sorted({*counts, len(x_a)}):
                row = {"gradient": gradient, "radius": radius, "steps": steps, "restarts": count}
                row |= _strengths(skl, "skl", count) | _strengths(gap, "gap", count)
                yield row | {"images": len(x), "of_restarts": len(x_a), "protocol": radius == settings.attack_radius}

    context.measure(list(_courses(settings)), rows)


@makes(
    AttackSteps,
    work=lambda run: _attack_work(run, attack_images=2, attack_restarts=1),
    size=lambda run: 8 * PIXELS * run.vae.data.channels * (1 + len(run.stops)),
)
def make_attack_steps(settings: AttackSteps, context: Context) -> None:
    """Write the image and its attacks, E[x|z = μ] of each, and the similarity (2, n) of each with the first of its row."""
    vae, x = measured_vae(settings, context), as_float(context.split(settings.vae.data, "test")[settings.index])
    options = settings.attack() | {"index": settings.index, "seed": settings.seed}
    del options["restarts"], options["radius"]
    path = attack_path(vae, x, (0.0, settings.attack_radius), **options).cpu()
    inputs = path[[0] + [1] * len(settings.stops), [0, *settings.stops]]
    outputs = reconstruct(vae, inputs, "mean")
    lost = [ms_ssim(row[:1].expand_as(row), row, variant=settings.similarity) for row in (inputs, outputs)]
    save_tensors(context.folder / TENSORS, {"inputs": inputs, "outputs": outputs, "similarity": torch.stack(lost)})
