"""The amortization and robustness gaps of a trained VAE (Eqs. 4 and 5).

q* is searched for on a subset of the test images, stratified by seed, but the gap is that of all: the encoder's ELBO of
every test image costs next to nothing, and what an image's bounds have to do with it is estimated on the subset.
"""

import math
from typing import Any, Literal

from torch import Tensor

from ... import files, gaps
from ...errors import VaelibError
from ...gaps.bounds import CLIMB, SCORING
from ...models import VAE
from ..cost.work import Work, vae_work
from ..kinds import makes
from ..settings import Gaps
from .context import Context
from .vae import load_vae, mean_and_error

Gap = Literal["amortization", "robustness"]
BOTH: tuple[Gap, ...] = ("amortization", "robustness")

FEWEST_REGRESSED = 10  # from fewer images no slope is estimated


def over_all(values: Tensor, chosen: Tensor, known: Tensor) -> tuple[float, float]:
    """Return the mean over all N images of what was measured on the n ``chosen`` ones, (n,), and its standard error.

    With ``known``, (N,), the regression estimate (Cochran 1977, ch. 7): the subset's mean, moved along the line through
    its points to all images' mean of what is known. The error has both parts: what the line leaves unexplained, over n
    images, and what it explains, over N. For n = N this is the mean and its usual error.
    """
    values, known = values.double(), known.double()
    x, y = known[chosen] - known[chosen].mean(), values - values.mean()
    n, slope = len(values), 0.0
    if n >= FEWEST_REGRESSED and x.square().sum() > 0:
        slope = float(x @ y / x.square().sum())
    mean = float(values.mean() + slope * (known.mean() - known[chosen].mean()))
    return mean, float((y - slope * x).square().sum() / (n - 1) / n + slope**2 * known.var() / len(known)) ** 0.5


def _amortization(settings: Gaps, vae: VAE, test: Tensor, chosen: Tensor) -> dict[str, tuple[float, float]]:
    """Return G_a and its two bounds, at the level of all test images; with several starts also what one start loses."""
    known = gaps.evaluate_elbo(vae, test, settings.seed)
    climbing = {
        "seed": settings.seed,
        "lr": settings.amortization_lr,
        "samples": settings.amortization_samples,
        "max_steps": settings.amortization_steps,
    }
    images, starts = test[chosen.to(test.device)], settings.amortization_starts
    best = gaps.optimize_posterior(vae, images, starts=starts, **climbing)
    found = {"elbo_star_test": best.elbo_star, "elbo_test_subset": best.elbo, "amortization_gap": best.gap}
    if starts > 1:
        found["lost_by_one_start"] = best.elbo_star - gaps.optimize_posterior(vae, images, **climbing).elbo_star
    measured = {name: over_all(values, chosen.cpu(), known) for name, values in found.items()}
    return measured | {"unconverged": (float((~best.converged).sum()), 0.0)}


def _robustness(settings: Gaps, vae: VAE, images: Tensor, labels: Tensor) -> dict[str, tuple[float, float]]:
    attacked = gaps.robustness_gap(
        vae,
        images,
        labels,
        n_images=settings.attack_images,
        variant=settings.similarity,
        **settings.attack(),
        **settings.only("reconstruction seed"),
    )
    found = {
        "input_similarity": attacked.input_similarity,
        "reconstruction_similarity": attacked.reconstruction_similarity,
    }
    found |= {"robustness_gap": attacked.gap, "clean_floor": attacked.floor, "at_sigma_floor": attacked.at_sigma_floor}
    return {name: mean_and_error(values) for name, values in found.items()}


def measured_vae(settings: Gaps, context: Context, epoch: int | None = None) -> VAE:
    """Return the VAE as it was after ``epoch`` (default: the last), its σ no smaller than the settings allow."""
    vae = load_vae(settings.vae, context.store, epoch, context.device)
    vae.smallest_sigma = settings.sigma_floor
    return vae


def measure(settings: Gaps, context: Context, epoch: int, which: tuple[Gap, ...] = BOTH) -> list[dict[str, Any]]:
    """Return the rows of one snapshot's curve: the gaps ``which`` and what belongs to them.

    Raises:
        VaelibError: a value that is not finite, with the settings to lower.
    """
    test, labels = context.split(settings.vae.data, "test"), context.split(settings.vae.data, "test_labels")
    vae = measured_vae(settings, context, epoch)
    measured: dict[str, tuple[float, float]] = {}
    if "amortization" in which:
        chosen = gaps.stratified(labels, settings.amortization_images or len(test), settings.seed)
        measured |= _amortization(settings, vae, test, chosen)
    if "robustness" in which:
        measured |= _robustness(settings, vae, test, labels)
    broken = ", ".join(q for q, (value, _) in measured.items() if not math.isfinite(value))
    if broken:
        who = f"{settings.vae.method}, seed {settings.vae.seed}, epoch {epoch}"
        raise VaelibError(
            f"{broken} of {who} is not finite; lower lr and train it again, or try attack_gradient = sign; the VAE is kept"
        )
    return [{"effective_epoch": epoch, "quantity": q, "value": v, "se": se} for q, (v, se) in measured.items()]


def gaps_work(gaps: Gaps, measured: tuple[Gap, ...] = BOTH, snapshots: int | None = None) -> Work:
    """Return ELBO* (two passes of the decoder a sample and step) and the attack (two of the encoder)."""
    snapshots = snapshots or len(gaps.vae.snapshots)
    climb = min(CLIMB, gaps.amortization_steps) if "amortization" in measured else 0
    decoded = (gaps.amortization_images or gaps.vae.data.n_test) * climb * (2 * gaps.amortization_samples + SCORING)
    decoded *= gaps.amortization_starts
    steps = gaps.attack_steps if "robustness" in measured else 0
    encoded = 2 * gaps.attack_images * gaps.attack_restarts * steps
    return vae_work(gaps.vae, snapshots * encoded, snapshots * decoded, snapshots * (climb + steps))


@makes(Gaps, work=gaps_work)
def make_gaps(settings: Gaps, context: Context) -> None:
    """Measure G_a and G_r at each of the VAE's snapshots."""
    curve = context.kept("curve.json")
    done = {row["effective_epoch"] for row in curve}
    for count, epoch in enumerate(settings.vae.snapshots, 1):
        if epoch not in done:
            curve += measure(settings, context, epoch)
            context.keep("curve.json", curve)
        context.report(count / len(settings.vae.snapshots), f"epoch {epoch}")
    files.write_json(context.folder / "curve.json", curve)
