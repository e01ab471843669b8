"""Distributions and estimators where the truth is known, and brackets where it is not (notebook 01)."""

import math
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from ... import files, gaps
from ...data import plane
from ...data.worlds import DecoderWorld, linear_world, random_decoder, unique_share
from ...errors import VaelibError
from ...gaps import calibration
from ...runs.cost.work import Work, vae_work
from ...runs.kinds import makes
from ...runs.settings import Artifact, LikelihoodName, VAERun
from ...runs.stages.context import Context
from ...runs.stages.gaps import CLIMB
from ...runs.stages.vae import load_vae, mean_and_error
from ...training.plane import fit_flow


class Plane(Artifact):
    """N points of the letter S of Fig. 1, and each training distribution fitted to them, against the known p_data."""

    kind: ClassVar[str] = "plane"
    points: int = Field(300, ge=10, description="N")
    images: int = Field(512_000, ge=1, description="training points the diffusion model sees")
    width: int = Field(64, ge=1, description="of its perceptron")
    batch_size: int = Field(128, ge=1)
    lr: float = Field(2e-3, gt=0)
    lr_decay: int = Field(100_000, ge=0, description="last points over which it falls to 0")
    ema_halflife: int = Field(20_000, ge=1)
    steps: int = Field(40, ge=2, description="Heun steps of its sampler")
    sigma_min: float = Field(0.002, gt=0)
    sigma_max: float = Field(20.0, gt=0)
    samples: int = Field(10_000, ge=100, description="of each distribution, for what is counted on samples")
    seed: int = 0


class Calibration(Artifact):
    """Repeated estimates of ELBO, ELBO*, log p(x), G_g and G_a where all are known (:mod:`vaelib.gaps.calibration`)."""

    kind: ClassVar[str] = "calibration"
    repetitions: int = Field(20, ge=2)
    images: int = Field(100, ge=10, description="fresh test images a repetition")
    train_images: int = Field(6, ge=1, description="that the encoder has seen")
    draws: int = Field(1_000, ge=1, description="k of IWAE")
    seed: int = 0


class Remark(Artifact):
    """E_p[ELBO] of several models beside -H(p) of several distributions with a known entropy (Remark B.5)."""

    kind: ClassVar[str] = "remark"
    version: ClassVar[int] = 2  # the encoder of 6 images was scored on samples that held some of them
    images: int = Field(2_000, ge=10, description="samples of each distribution")
    seed: int = 0


class WorldBounds(Artifact):
    """Every bound on log p(x) of a random decoder's own images, whose latents are known (:func:`vaelib.gaps.certify`)."""

    kind: ClassVar[str] = "world_bounds"
    likelihood: LikelihoodName = "gaussian"
    sigma: float = Field(0.1, gt=0, description="of the Gaussian likelihood")
    latents: int = Field(3, ge=1)
    hidden: int = Field(16, ge=1)
    gain: float = Field(0.3, gt=0, description="standard deviation of the decoder's outputs")
    images: int = Field(16, ge=2)
    draws: int = Field(1_000, ge=1, description="k of IWAE")
    starts: int = Field(1, ge=1, description="climbs towards q* an image")
    steps: int = Field(1_000, ge=1, description="of a climb towards q*, at most")
    chains: int = Field(4, ge=1)
    temperatures: int = Field(60, ge=2)
    seed: int = 0


class Brackets(Artifact):
    """Every bound on log p(x) under a trained VAE: of test images, and of images that it generated itself."""

    kind: ClassVar[str] = "brackets"
    vae: VAERun
    images: int = Field(20, ge=2, description="of each of the two")
    draws: int = Field(5_000, ge=1, description="k of IWAE")
    starts: int = Field(2, ge=1, description="climbs towards q* an image")
    steps: int = Field(1_000, ge=1, description="of a climb towards q*, at most")
    chains: int = Field(8, ge=1)
    temperatures: int = Field(100, ge=2)
    seed: int = 0


PER_STD = 2.0  # grid points a standard deviation of p_data: 3,700 in all
COPIES, RARE, MISSED = 0.05, 0.01, 10.0  # what counts as a copy of D_train, as outside p_data, as missed


def _nearest(x: Tensor, points: Tensor) -> Tensor:
    return torch.cat([torch.cdist(part, points).amin(1) for part in x.split(2_000)])


@makes(Plane, work=lambda plane: Work(core=plane.steps / 8 + plane.images / 60_000), gpu=False)
def make_plane(settings: Plane, context: Context) -> None:
    """Fit every training distribution of Fig. 1 to N points; write the points, densities on a grid, and Table 1.

    Beside the table's two criteria, ``kl`` and ``unique``, stand the two problems of Sec. 4.1.1, both shares: ``outside``,
    the samples beyond the edge of p_data (1 % of its own are), and ``missed``, the part of p_data that is ten times as
    dense there as the distribution. ``copies`` are samples as near to a point of D_train as 5 % of fresh data are.
    """
    truth = plane.s_curve()
    points = truth.sample(settings.points, settings.seed)
    training = {name: value for name, value in settings if name not in ("points", "samples")}
    kinds = {
        "normal": plane.Points(points),
        "dmaapx": fit_flow(points, report=lambda share, note: context.report(0.9 * share, note), **training),
        "aug_tuned": plane.tuned(points, seed=settings.seed),
        "aug_naive": plane.augmented(points, degrees=20.0, jitter=0.1, flip=True),
        "p_data": truth,
    }
    nodes, mass = truth.nodes(PER_STD)
    known, columns, rows = truth.log_prob(nodes), {"x": nodes[:, 0], "y": nodes[:, 1]}, []
    fresh = truth.sample(settings.samples, 1_000 + settings.seed)
    near, edge = torch.quantile(_nearest(fresh, points), COPIES), torch.quantile(truth.log_prob(fresh), RARE)
    for name, kind in kinds.items():
        log_p, drawn = kind.log_prob(nodes), kind.sample(settings.samples, 2_000 + settings.seed)
        columns[name] = log_p.exp()
        found = {
            "kl": float((mass * (known - log_p)).sum()),
            "unique": unique_share(drawn),
            "copies": float((_nearest(drawn, points) <= near).double().mean()),
            "outside": float((truth.log_prob(drawn) < edge).double().mean()),
            "missed": float(mass[known - log_p > math.log(MISSED)].sum()),
            "mass": float((mass / known.exp() * columns[name]).sum()),
        }
        rows.append({"method": name} | {what: v if math.isfinite(v) else None for what, v in found.items()})
        context.report(0.9 + 0.02 * len(rows), name)
    if rows[1]["kl"] is None:
        raise VaelibError(f"the diffusion model of {settings.points} points diverged; lower lr and run again")
    write_columns(context.folder / "density.csv", columns)
    write_columns(context.folder / "points.csv", {"x": points[:, 0], "y": points[:, 1]})
    _write(context, rows)


@makes(Calibration, work=lambda run: Work(core=run.repetitions * run.images / 500), gpu=False)
def make_calibration(settings: Calibration, context: Context) -> None:
    """Estimate each quantity again and again; write estimates, stated errors and exact values."""
    world, vae, train = calibration.calibration_world(settings.train_images)

    def rows(number: int) -> list[dict[str, Any]]:
        options = {"images": settings.images, "k": settings.draws, "seed": settings.seed + number}
        found = calibration.estimates(world, vae, train, **options)
        return [{"repetition": number, **one._asdict()} for one in found]

    context.measure(range(settings.repetitions), rows)


@makes(Remark, gpu=False)
def make_remark(settings: Remark, context: Context) -> None:
    """Score samples of each distribution under several models; write -H(p), the estimate and the exact E_p[ELBO]."""
    plain, correlated, other = linear_world(orthogonal=True), linear_world(shared=0.8), linear_world(seed=1)
    quiet = linear_world(sigma=0.2, orthogonal=True)
    few = correlated.vae.encoder_of(correlated.sample(6, seed=1))
    pairs = [
        ("p", "its own, the posterior exact", plain, plain.vae),
        ("p, correlated", "its own, the posterior factorised", correlated, correlated.vae),
        ("p, correlated", "its own, the encoder of 6 images", correlated, few),
        ("p, another", "that of p", other, plain.vae),
        ("p, less noise", "its own, the posterior exact", quiet, quiet.vae),
        ("p, less noise", "that of p", quiet, plain.vae),
    ]
    rows = []
    for distribution, model, world, vae in pairs:
        estimate, error = mean_and_error(gaps.evaluate_elbo(vae, world.sample(settings.images, 1_000 + settings.seed)))
        rows.append({"distribution": distribution, "model": model, "bound": -world.entropy, "elbo": estimate,
                     "elbo_se": error, "exact": vae.expected(*world.moments)[2]})  # fmt: skip
    _write(context, rows)


def _bounds(found: gaps.Certified, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row an image: every bound, what q* still promises, whether it converged."""
    columns = {name: value.tolist() for name, value in found.bounds().items()}
    columns |= {"promised": found.promised.tolist(), "converged": found.optimum.converged.tolist()}
    columns |= {"reverted": found.optimum.reverted.tolist(), "start": found.optimum.start.tolist()}
    columns["impossible"] = found.bracket.impossible().tolist()
    return [about | dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@makes(WorldBounds, gpu=False)
def make_world_bounds(settings: WorldBounds, context: Context) -> None:
    """Bracket log p(x) of a random decoder's own images."""
    # Of a linear mean the decoder's gain is the spread of the images.
    options = {"sigma": settings.sigma, "mean": "linear"} if settings.likelihood == "gaussian" else {}
    options |= {"mixtures": 1} if settings.likelihood == "mol" else {}
    world = random_decoder(
        settings.likelihood, d_z=settings.latents, hidden=settings.hidden, gain=settings.gain, **options
    )
    z, x = world.pairs(settings.images, settings.seed)
    _write(context, _bounds(_certified(settings, world.vae, x, z), {"images": "own samples"}))


def brackets_work(brackets: Brackets) -> Work:
    """Return IWAE, two climbs and both annealed walks of test images and of own samples, two of three with gradients."""
    climbs, gradients = min(CLIMB, brackets.steps) * (brackets.starts + 1), 3 * brackets.temperatures
    decoded = 2 * brackets.images * (brackets.draws + 6 * climbs + 3 * brackets.chains * gradients)
    return vae_work(brackets.vae, 0, decoded, 2 * (climbs + gradients))


@makes(Brackets, work=brackets_work)
def make_brackets(settings: Brackets, context: Context) -> None:
    """Bracket log p(x) of test images, and of images that the VAE generated, for which the upper bound is known."""
    vae = load_vae(settings.vae, context.store, device=context.device)
    labels = context.split(settings.vae.data, "test_labels")
    chosen = gaps.stratified(labels, min(settings.images, len(labels)), settings.seed).to(labels.device)
    z, x = DecoderWorld(vae).pairs(settings.images, settings.seed)
    rows = []
    for about, images, latents in (
        ("test images", context.split(settings.vae.data, "test")[chosen], None),
        ("own samples", x, z),
    ):
        alone = gaps.optimize_posterior(
            vae, images, seed=settings.seed, max_steps=settings.steps, unclipped=latents is not None
        ).elbo_star.tolist()
        found = _bounds(_certified(settings, vae, images, latents), {"images": about})
        rows += [row | {"one_start": value} for row, value in zip(found, alone, strict=True)]
        context.report(0.5, about)
    _write(context, rows)


def _certified(settings: WorldBounds | Brackets, vae: Any, x: Tensor, z: Tensor | None = None) -> gaps.Certified:
    options = settings.only("starts chains temperatures seed")
    return gaps.certify(vae, x, z=z, k=settings.draws, max_steps=settings.steps, **options)


def _write(context: Context, rows: list[dict[str, Any]]) -> None:
    files.write_json(context.folder / "rows.json", rows)


def write_columns(path: Path, columns: dict[str, Tensor]) -> None:
    """Write tensors (n,) as the columns of a CSV."""
    frame = pd.DataFrame({name: column.numpy() for name, column in columns.items()})
    files.write_atomic(path, lambda part: frame.to_csv(part, index=False, float_format="%.6g"))
