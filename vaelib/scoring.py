r"""One call, one record: what a VAE's three gaps are, what its ELBO is made of, and by which protocol that was measured.

    rate R = E[KL(q(z|x) ‖ p(z))],   distortion D = -E[E_q log p(x|z)],   ELBO = -(R + D),   bits/dim = (R + D) / (d log 2)

for images of d = C·H·W numbers. A latent is *active* if the variance of its posterior's mean over the images is above
0.01 (Burda et al. 2016). G_g, G_a and G_r are Eqs. (3) to (5). log p(x) is bounded from below on a few test images (IWAE
and AIS); from above only images can be whose latent is known, so the VAE draws a few of its own, and the width of that
bracket says how tight the lower bound is. Everything is in nats per image, bits/dim and G_r excepted.
"""

import math
import platform
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from . import files, gaps
from .data.worlds import DecoderWorld
from .errors import NonFinite, VaelibError
from .gaps.ais import check_annealing
from .gaps.attack import check_attack
from .gaps.bounds import ACTIVE, CLIMB, SCORING
from .gaps.similarity import SMALLEST, check_variant
from .images import check_images, check_labels
from .models import Bernoulli, Gaussian, MixtureOfLogistics, from_pythae
from .models.adapters import check_vae, is_pythae
from .modes import device_of
from .precision import RETRAIN
from .progress import Progress, duration
from .text import with_error
from .version import __version__

GRADIENT = 3  # passes that one with a gradient costs
Line = tuple[str, str, str]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Record):
    """A mean over ``images`` and its standard error, which a single image does not tell."""

    value: float
    se: float | None
    images: int

    def __str__(self) -> str:
        return with_error(self.value, self.se)


class Split(_Record):
    """What the ELBO of the training or the test images is made of."""

    rate: Estimate
    distortion: Estimate
    elbo: Estimate
    bits_per_dim: Estimate
    active_units: int


class Amortization(_Record):
    """G_a, how many images' climb towards ELBO* was cut off, and ELBO* of all test images: their ELBO plus G_a.

    A record of an older version has no ``elbo_star``.
    """

    gap: Estimate
    unconverged: int
    elbo_star: Estimate | None = None


class Robustness(_Record):
    """G_r and what it is made of; ``clean_floor`` is what two reconstructions of one clean image differ by already."""

    gap: Estimate
    input_similarity: Estimate
    reconstruction_similarity: Estimate
    clean_floor: Estimate
    at_sigma_floor: float


class LogP(_Record):
    """Bounds on log p(x): of a few test images, and from both sides of as many images that the VAE drew itself."""

    elbo: Estimate
    elbo_star: Estimate
    lower: Estimate
    own_lower: Estimate | None
    own_upper: Estimate | None


class Protocol(_Record):
    """The settings that the numbers depend on; the numbers of images stand at each :class:`Estimate`."""

    seed: int
    elbo_samples: int
    amortization_steps: int
    attack_steps: int
    restarts: int
    radius: float
    attack_lr: float
    attack_gradient: str
    attack_start: str
    similarity: str
    reconstruction: str
    smallest_sigma: float
    log_p_draws: int
    temperatures: int
    active_above: float


class Scorecard(_Record):
    """What :func:`scorecard` returns: ``print`` shows it as a table, :meth:`write_json` keeps it, :meth:`row` joins tables.

    Attributes:
        train, test: rate, distortion, ELBO, bits/dim and active units of either side.
        generalization_gap, amortization, robustness: G_g, G_a and G_r (Eqs. 3 to 5); None where it is ``absent``.
        log_p: bounds on log p(x).
        absent: what was not measured, and why.

    >>> from vaelib import FullyConnectedVAE
    >>> images, vae = torch.randint(0, 256, (40, 1, 16, 16), dtype=torch.uint8), FullyConnectedVAE(2, 8, size=16)
    >>> card = scorecard(vae, images[:20], images[20:], restarts=1, amortization_steps=5, log_p_images=0)
    >>> card.train.elbo.images
    20
    """

    name: str
    likelihood: str
    image_shape: tuple[int, int, int]
    latents: int
    train: Split
    test: Split
    generalization_gap: Estimate
    amortization: Amortization | None
    robustness: Robustness | None
    log_p: LogP | None
    absent: dict[str, str]
    notes: list[str]
    protocol: Protocol
    versions: dict[str, str]
    seconds: float

    def write_json(self, path: str | Path) -> None:
        """Write the record as JSON; :meth:`read_json` gives an equal one back."""
        files.write_json(Path(path), self.model_dump(mode="json"))

    @classmethod
    def read_json(cls, path: str | Path) -> "Scorecard":
        """Return the record that :meth:`write_json` wrote.

        Raises:
            VaelibError: absent, or something else.
        """
        content = files.read_json(Path(path))
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "its content"
            raise VaelibError(
                f"{path} is not a scorecard of this vaelib ({where}: {first['msg'].lower()}); write it again"
            ) from None

    def row(
        self,
        method: str,
        dataset: str,
        *,
        seed: int = 0,
        effective_epochs: float = math.nan,
        source: str = "",
        key: str = "",
    ) -> dict[str, Any]:
        """Return a row of ``three_gaps.csv``, with its columns in their order; NaN for what was not measured.

        Arguments:
            method, dataset: what the VAE is called in the table, and the images.
            seed, effective_epochs: of its training.
            source, key: more about the images, and about the run.
        """
        climb, attack = self.amortization, self.robustness
        star = climb and (climb.elbo_star or _both(self.test.elbo, climb.gap))
        with_errors = {
            "elbo_train": self.train.elbo,
            "elbo_test": self.test.elbo,
            "elbo_star_test": star,
            "generalization_gap": self.generalization_gap,
            "amortization_gap": climb and climb.gap,
            "robustness_gap": attack and attack.gap,
        }
        found: dict[str, Any] = {"dataset": dataset, "likelihood": self.likelihood, "method": method, "seed": seed}
        found["effective_epochs"] = effective_epochs
        for name, estimate in with_errors.items():
            found |= {name: estimate.value if estimate else math.nan, f"{name}_se": _error(estimate)}
        for name in ("input_similarity", "reconstruction_similarity", "clean_floor"):
            found[name] = getattr(attack, name).value if attack else math.nan
        found["at_sigma_floor"] = attack.at_sigma_floor if attack else math.nan
        found["unconverged"] = float(climb.unconverged) if climb else math.nan
        return found | {
            "n_train": self.train.elbo.images,
            "n_test": self.test.elbo.images,
            "source": source,
            "key": key,
        }

    def __str__(self) -> str:
        size = "×".join(map(str, self.image_shape))
        sides = [("", f"train, {self.train.elbo.images:,} images", f"test, {self.test.elbo.images:,} images")]
        sides += [
            (label, str(getattr(self.train, name)), str(getattr(self.test, name))) for label, name in SIDES.items()
        ]
        missing = [(name, "-", f"not measured: {why}") for name, why in self.absent.items()]
        lines = [f"{self.name}: {self.likelihood} likelihood, images {size}, {self.latents} latents", ""]
        lines += [
            *_columns(sides, ">"),
            "",
            *_columns(self._gaps() + self._attack() + self._bounds() + missing, "<"),
            "",
        ]
        settings = ", ".join(f"{name}={value}" for name, value in self.protocol.model_dump().items())
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        small = [
            *self.notes,
            f"±: standard error over images. Protocol: {settings}.",
            f"{versions}; measured in {duration(self.seconds)}",
        ]
        return "\n".join([*lines, *(line for text in small for line in textwrap.wrap(text, 110))])

    def _gaps(self) -> list[Line]:
        """Return the lines of G_g and G_a: what, how much, measured how."""
        lines = [("G_g (nats)", str(self.generalization_gap), "ELBO of train minus ELBO of test (Eq. 3)")]
        if self.amortization:
            gap, cut = self.amortization.gap, self.amortization.unconverged
            told = f"; {cut} unconverged: it is larger" if cut else ""
            lines.append(("G_a (nats)", str(gap), f"best posterior minus encoder's, {gap.images} images (Eq. 4){told}"))
        return lines

    def _attack(self) -> list[Line]:
        """Return the lines of G_r and of what it is made of."""
        if not self.robustness:
            return []
        found, protocol = self.robustness, self.protocol
        how = f"{found.gap.images} images × {protocol.restarts} attacks of radius {protocol.radius:g} (Eq. 5)"
        lines = [
            ("G_r", str(found.gap), f"similarity lost to the attack, {how}"),
            ("  images", str(found.input_similarity), "MS-SSIM of clean and attacked images"),
            ("  reconstructions", str(found.reconstruction_similarity), "MS-SSIM of their reconstructions"),
            ("  clean floor", str(found.clean_floor), "G_r of no attack: two reconstructions of one clean image"),
        ]
        floor = f"of attacks drive a σ to {protocol.smallest_sigma:g}, the smallest allowed"
        return lines + [("  at smallest σ", f"{share:.0%}", floor) for share in [found.at_sigma_floor] if share]

    def _bounds(self) -> list[Line]:
        """Return the lines of log p(x)."""
        if not self.log_p:
            return []
        bounds, low, high = self.log_p, self.log_p.own_lower, self.log_p.own_upper
        how = f"mean of {bounds.lower.images} test images; their ELBO {bounds.elbo.value:,.1f}, "
        how += f"ELBO* {bounds.elbo_star.value:,.1f}"
        lines = [("log p(x) (nats)", f"≥ {bounds.lower.value:,.1f}", how)]
        if low and high:
            own = f"{low.value:,.1f} to {high.value:,.1f}"
            crossed = "; tighter than their noise" if low.value > high.value else ""
            lines.append(("  of its own", own, f"from both sides, {low.images} images that the VAE drew{crossed}"))
        return lines


SIDES = {
    "rate (nats)": "rate",
    "distortion (nats)": "distortion",
    "ELBO (nats)": "elbo",
    "bits/dim": "bits_per_dim",
    "active units": "active_units",
}


def _error(estimate: Estimate | None) -> float:
    """Return a standard error, NaN where there is none."""
    return math.nan if estimate is None or estimate.se is None else estimate.se


def _columns(rows: list[Line], last: str) -> list[str]:
    """Return rows as text, the columns as wide as they need be; the last one stands to the right or to the left."""
    names, values, others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [f"  {name:<{names}}  {value:>{values}}  {other:{last}{others}}".rstrip() for name, value, other in rows]


def scorecard(
    vae: nn.Module,
    train: Tensor,
    test: Tensor,
    labels: Tensor | None = None,
    *,
    name: str | None = None,
    seed: int = 0,
    amortization_images: int = 100,
    amortization_steps: int = 1000,
    attack_images: int = 50,
    attack_steps: int = 50,
    restarts: int = 10,
    radius: float = 0.1,
    similarity: str = "kuzina2022",
    log_p_images: int = 5,
    log_p_draws: int = 5000,
    temperatures: int = 100,
) -> Scorecard:
    """Return rate, distortion, ELBO, active units, the three gaps (Eqs. 3 to 5) and bounds on log p(x) of a VAE.

    With the defaults it takes about a minute for the fully connected VAE on an idle core, and shows how long is left.

    Arguments:
        vae: a subclass of :class:`~vaelib.VAE`, what :func:`~vaelib.from_functions` returns, or a model of pythae.
        train, test: the images it was trained on and others, (N, C, H, W), uint8 or floats in [0, 1].
        labels: of ``test``, (N,): subsets then hold an equal share of each class.
        name: of the VAE, for the table; its class unless given.
        seed: of all noise, attacks and subsets.
        amortization_images, amortization_steps: test images that get their own posterior, and Adam's most steps towards it.
        attack_images, attack_steps, restarts, radius: n_r, n_ε, n_a and δ of Table 2 (CIFAR-10: 20, 100, 10, 0.05).
        similarity: the definition of MS-SSIM, see :mod:`vaelib.gaps.similarity`.
        log_p_images: test images of the bounds on log p(x), and images that the VAE draws.
        log_p_draws, temperatures: of IWAE and of AIS, see :func:`~vaelib.gaps.certify`.

    No number of images is larger than the test set; 0 leaves a measure out.

    Raises:
        VaelibError: no VAE, no batch of images (:mod:`vaelib.images`), wrong labels, or a setting out of range.
        NonFinite: the VAE gave NaN or infinity.

    Example:
        >>> from vaelib import FullyConnectedVAE, Gaussian
        >>> images = torch.randint(0, 256, (60, 1, 28, 28), dtype=torch.uint8)
        >>> vae = FullyConnectedVAE(d_z=2, hidden=8, likelihood=Gaussian(0.3), size=28)
        >>> card = scorecard(vae, images[:40], images[40:], restarts=1, amortization_steps=40, log_p_images=0)
        >>> card.test.active_units <= 2, card.robustness.gap.images, card.absent
        (True, 20, {'log p(x)': 'log_p_images = 0'})
    """
    start, name = time.monotonic(), name or type(vae).__name__
    vae = from_pythae(vae) if is_pythae(vae) else vae
    check_vae(vae)
    for what, images in (("train", train), ("test", test)):
        check_images(images, vae, name=what)
    labels = torch.zeros(len(test), dtype=torch.long) if labels is None else labels
    check_labels(labels, len(test))
    counts = {"amortization": amortization_images, "attack": attack_images, "log_p": log_p_images}
    for what, wanted in counts.items():
        if wanted < 0:
            raise VaelibError(f"{what}_images = {wanted}: give a number of images, or 0 to leave the measure out")
    positive = {"amortization_steps": amortization_steps, "log_p_draws": log_p_draws}
    for what, value in positive.items():
        if value < 1:
            raise VaelibError(f"{what} = {value} must be at least 1")
    counts = {what: min(wanted, len(test)) for what, wanted in counts.items()}
    absent = {
        label: f"{what}_images = 0"
        for what, label in (("amortization", "G_a"), ("attack", "G_r"), ("log_p", "log p(x)"))
        if not counts[what]
    }
    check_variant(similarity)
    if min(test.shape[2:]) < SMALLEST:
        absent["G_r"] = f"MS-SSIM needs images of {SMALLEST} pixels a side or more"
    protocol = Protocol(
        seed=seed,
        elbo_samples=1,
        amortization_steps=amortization_steps,
        attack_steps=attack_steps,
        restarts=restarts,
        radius=radius,
        attack_lr=1.0,
        attack_gradient="raw",
        attack_start="kuzina2022",
        similarity=similarity,
        reconstruction="sample",
        smallest_sigma=getattr(vae, "smallest_sigma", 0.0),
        log_p_draws=log_p_draws,
        temperatures=temperatures,
        active_above=ACTIVE,
    )
    check_attack(protocol.attack_gradient, protocol.attack_start, radius=radius, steps=attack_steps, restarts=restarts)
    check_annealing(temperatures=temperatures)
    plan = _plan(len(train) + len(test), counts, absent, protocol)

    def subset(what: str) -> Tensor:
        return test[gaps.stratified(labels, counts[what], seed).to(test.device)]

    amortization = robustness = log_p = None
    with Progress(round(sum(plan.values())), f"scorecard of {name}", "%") as bar:
        watched = _Watched(vae, bar, plan)
        watched.begin("ELBO")
        sides = [gaps.elbo_terms(watched, images, seed, protocol.elbo_samples) for images in (train, test)]
        split = [_split(terms, train[0].numel(), what) for terms, what in zip(sides, ("training", "test"), strict=True)]
        if "G_a" not in absent:
            watched.begin("G_a")
            chosen = gaps.stratified(labels, counts["amortization"], seed)
            best = gaps.optimize_posterior(
                watched, test[chosen.to(test.device)], seed=seed, max_steps=amortization_steps
            )
            gap, elbos = _mean(best.gap, "G_a"), sides[1].elbo
            star = _both(split[1].elbo, gap, torch.stack([elbos[chosen.to(elbos.device)].cpu(), best.gap]))
            amortization = Amortization(gap=gap, unconverged=int((~best.converged).sum()), elbo_star=star)
        if "G_r" not in absent:
            watched.begin("G_r")
            robustness = _robustness(watched, test, labels, counts["attack"], protocol)
        if "log p(x)" not in absent:
            watched.begin("log p(x)")
            log_p = _log_p(watched, subset("log_p"), absent, protocol)
        watched.begin("done")
    own, other = (side.elbo for side in split)
    error = None if own.se is None or other.se is None else math.hypot(own.se, other.se)
    return Scorecard(
        name=name,
        likelihood=getattr(vae.likelihood, "name", type(vae.likelihood).__name__),
        image_shape=tuple(vae.image_shape),
        latents=vae.d_z,
        train=split[0],
        test=split[1],
        generalization_gap=Estimate(value=own.value - other.value, se=error, images=other.images),
        amortization=amortization,
        robustness=robustness,
        log_p=log_p,
        absent=absent,
        notes=_notes(vae, test),
        protocol=protocol,
        versions=_versions(device_of(vae)),
        seconds=round(time.monotonic() - start, 2),
    )


class _Watched(nn.Module):
    """A VAE that tells a progress bar of every image that it encodes and every latent that it decodes.

    The bar's stages have the lengths of ``plan``; one that ends before (images that converge) is filled up.
    """

    def __init__(self, vae: nn.Module, bar: Progress, plan: Mapping[str, float]):
        super().__init__()
        self.vae, self.bar, self.plan = vae, bar, plan
        self.stage, self.left = "", 0.0

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("vae"), name)

    def begin(self, stage: str) -> None:
        """Begin a stage of the plan."""
        self.bar.update(round(self.left), self.stage)
        self.stage, self.left = stage, self.plan.get(stage, 0.0)

    def passed(self, images: int) -> None:
        """Count images that went through one of the two networks."""
        done = min(images * (GRADIENT if torch.is_grad_enabled() else 1), int(self.left))
        self.left -= done
        self.bar.update(done, self.stage)

    def encode(self, x: Tensor) -> Any:
        """Return q(z|x)."""
        self.passed(len(x))
        return self.vae.encode(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters."""
        self.passed(len(z))
        return self.vae.decode(z)


def _plan(images: int, counts: Mapping[str, int], absent: Mapping[str, str], protocol: Protocol) -> dict[str, float]:
    """Return how many passes through a network each stage takes, about."""
    climb = min(CLIMB, protocol.amortization_steps) * (2 * GRADIENT + SCORING) + 160
    annealed = (2 * 12 + 8) * 2 * protocol.temperatures * GRADIENT
    plan = {
        "ELBO": 2.0 * images,
        "G_a": counts["amortization"] * climb,
        "G_r": counts["attack"] * protocol.restarts * (protocol.attack_steps * GRADIENT + 8),
        "log p(x)": counts["log_p"] * (2 * (climb + protocol.log_p_draws) + annealed),
    }
    return {stage: passes for stage, passes in plan.items() if stage not in absent}


def _mean(values: Tensor, what: str) -> Estimate:
    """Return the mean over images; raises NonFinite where one has no finite value."""
    values = values.double()
    if bad := int((~values.isfinite()).sum()):
        raise NonFinite(f"{what} is NaN or infinite for {bad:,} of {len(values):,} images; {RETRAIN}")
    se = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None
    return Estimate(value=float(values.mean()), se=se, images=len(values))


def _both(elbo: Estimate, gap: Estimate, of_chosen: Tensor | None = None) -> Estimate:
    """Return ELBO* = ELBO + G_a, of all images and of some of them; ``of_chosen`` (2, n) has both of each of these.

    The two means share images: Var = s_e²/N + s_g²/n + 2 s_eg/N. Without ``of_chosen`` the error is not known.
    """
    se = None
    if elbo.se is not None and gap.se is not None and of_chosen is not None:
        shared = 2 * float(torch.cov(of_chosen.double())[0, 1]) / elbo.images
        se = math.sqrt(max(elbo.se**2 + gap.se**2 + shared, 0.0))
    return Estimate(value=elbo.value + gap.value, se=se, images=gap.images)


def _split(terms: gaps.ELBOTerms, dimensions: int, what: str) -> Split:
    measured = {"rate": terms.rate, "distortion": terms.distortion, "elbo": terms.elbo}
    means = {name: _mean(values, f"the {name} of the {what} images") for name, values in measured.items()}
    bits = _mean(terms.bits_per_dim(dimensions), "bits/dim")
    return Split(**means, bits_per_dim=bits, active_units=terms.active_units)


def _robustness(vae: nn.Module, test: Tensor, labels: Tensor, count: int, protocol: Protocol) -> Robustness:
    options = {name: getattr(protocol, f"attack_{name}") for name in ("steps", "lr", "gradient", "start")}
    options |= protocol.model_dump(include={"restarts", "radius", "reconstruction", "seed"})
    found = gaps.robustness_gap(vae, test, labels, n_images=count, variant=protocol.similarity, **options)
    return Robustness(
        gap=_mean(found.gap, "G_r"),
        input_similarity=_mean(found.input_similarity, "MS-SSIM"),
        reconstruction_similarity=_mean(found.reconstruction_similarity, "MS-SSIM"),
        clean_floor=_mean(found.floor, "MS-SSIM"),
        at_sigma_floor=float(found.at_sigma_floor.double().mean()),
    )


def _log_p(vae: nn.Module, images: Tensor, absent: dict[str, str], protocol: Protocol) -> LogP:
    """Return the bounds of a few ``images``, and of as many of the VAE's own where its draws are exact."""
    options: dict[str, Any] = {"k": protocol.log_p_draws, "max_steps": protocol.amortization_steps}
    options |= {"temperatures": protocol.temperatures, "seed": protocol.seed}
    real, own = gaps.certify(vae, images, **options), None
    if isinstance(vae.likelihood, Bernoulli | Gaussian | MixtureOfLogistics):
        z, drawn = DecoderWorld(vae).pairs(len(images), protocol.seed)
        own = gaps.certify(vae, drawn, z=z, **options).bracket
    else:
        absent["log p(x), above"] = (
            f"whether {type(vae.likelihood).__name__}.sample draws from its own density is not known, and BDMC needs that"
        )
    return LogP(
        elbo=_mean(real.optimum.elbo, "the ELBO"),
        elbo_star=_mean(real.optimum.elbo_star, "ELBO*"),
        lower=_mean(real.bracket.lower, "the lower bound on log p(x)"),
        own_lower=own and _mean(own.lower, "the lower bound on log p(x)"),
        own_upper=own and _mean(own.upper, "the upper bound on log p(x)"),
    )


def _notes(vae: nn.Module, test: Tensor) -> list[str]:
    """Return what has to be said of bits/dim."""
    if isinstance(vae.likelihood, MixtureOfLogistics):
        return []
    if isinstance(vae.likelihood, Bernoulli):
        binary = bool(((test == 0) | (test == (1 if test.is_floating_point() else 255))).all())
        return (
            []
            if binary
            else ["bits/dim: of grey images Bernoulli gives no code length, but an expected log-likelihood."]
        )
    return [
        "bits/dim: of a density on pixels in [0, 1], which may be negative; 8 more is about that of 256 grey levels."
    ]


def _versions(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    found = {"vaelib": __version__, "torch": torch.__version__, "numpy": np.__version__}
    return found | {"python": platform.python_version(), "device": name}
