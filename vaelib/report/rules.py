"""How claims are judged: differences that a claim says are positive, their 95 % intervals, three verdicts.

A claim is a :class:`Case` of :class:`Quantity` objects, linear combinations of measured values, that it says are
positive: ``value("dmaapx", "elbo_test") - value("normal", "elbo_test")``. The interval of one of them is

- with two seeds or more, Student's over seeds, paired by seed: d_mean +- t(0.975, n - 1) s / sqrt(n);
- with one seed, over images: d +- 1.96 sqrt(sum_i w_i^2 (se_i^2 + noise_i^2)). Errors over images are taken as
  independent between runs, and noise_i is what another seed would have changed: measured where the same network was
  trained from several seeds (:class:`Noise`; Student's quantile then), else an allowance (``noise_share``).

Verdicts: ``supported``, every interval lies above 0 (an intersection-union test: no correction is needed);
``contradicted``, some interval lies below 0, with Bonferroni's correction for the number of differences of which one may do
so; ``not_testable`` otherwise. Where a claim says that *some* point exists (the turn of a U-shape), it holds if one of its
alternatives does, with the same correction for the choice; it is contradicted if every alternative is. A trend is also
contradicted by a single step that is clearly against it, corrected for the number of steps. "The same" means: closer than a
fifth (``SAME``) of the effect under discussion.
The paper's own numbers have no seeds: there the sign decides, and a note says what lies within their scatter. The headline's
claims are judged over seeds alone: from one seed they are not testable, since no run-to-run noise of G_a and G_r at other
sizes is known.
"""

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit  # Student's quantiles; scipy.stats would take a second to import

VERDICTS = ("supported", "contradicted", "not_testable")

OTHERS = ("normal", "aug_tuned", "aug_naive")

AUGMENTATIONS = ("aug_tuned", "aug_naive")

Term = tuple[Hashable, ...]  # its last entry is the quantity's name
SAME, CONSTANT = 0.2, "constant"
# A run's standard deviation over seeds as a share of its value, where nothing was measured. Root mean squares over our laptop
# runs with 3 seeds: test ELBOs 0.4 % (CIFAR-10), 0.8 % (fully connected, 1,000 images), 2.2 % (300), 5 to 8 % (residual, 300),
# so of few images one seed tells less than this allows; G_g 2 to 22 %, G_a 3 to 9 %, G_r 6 to 26 %. The paper's test ELBOs
# scatter by 0.23 % where k no longer matters (Fig. 4 right, k >= 10).
ELBO_NOISE, GAP_NOISE, PAPER_ELBO_NOISE = 0.01, 0.1, 0.0025
PAPER_SEEDS = 3  # of its headline and of Table 11; its sweeps have one
# Nats. The paper's G_g of DMaaPx with mz = 1 and k = 10 is 8.4, 6.6, 5.9 or 5.0, by the figure (4, 5, 7 and 14, 15).
PAPER_GAP_NOISE = 1.4
ONE_SEED = "one seed: interval over images and run-to-run noise"
MEASURED = f"{ONE_SEED}, measured from several seeds"
SCATTER = "within the scatter of the paper's runs"


def noise_share(term: Term, elbo: float = ELBO_NOISE) -> float:
    """Return a run's standard deviation over seeds as a share of its value; a :data:`CONSTANT` of a rule has none."""
    if term[-1] == CONSTANT:
        return 0.0
    return elbo if str(term[-1]).startswith("elbo") else GAP_NOISE


def papers_noise(term: Term, number: float) -> float:
    """Return a single run's standard deviation over seeds of a number of the paper's, which gives none."""
    return noise_share(term, PAPER_ELBO_NOISE) * abs(number)


class Quantity:
    """A linear combination of measured values; ``0.2 * (a - b) - (a - c)`` is one.

    ``chances``: how much it counts among the differences of a claim of which one may come out negative by chance.
    """

    def __init__(self, weights: Mapping[Term, float], chances: float = 1.0):
        self.weights, self.chances = {term: weight for term, weight in weights.items() if weight}, chances

    def __add__(self, other: "Quantity") -> "Quantity":
        terms = [*self.weights, *other.weights]
        return Quantity({term: self.weights.get(term, 0) + other.weights.get(term, 0) for term in terms})

    def __rmul__(self, factor: float) -> "Quantity":
        return Quantity({term: factor * weight for term, weight in self.weights.items()})

    def __sub__(self, other: "Quantity") -> "Quantity":
        return self + (-1) * other


def value(*term: Hashable) -> Quantity:
    """Return one measured value, by the key it has in the :class:`Evidence`."""
    return Quantity({term: 1.0})


def same(a: Quantity, b: Quantity, effect: Quantity) -> tuple[Quantity, ...]:
    """Return what must be positive for ``a`` and ``b`` to differ by less than a fifth of ``effect``."""
    return two_sided(SAME * effect - (a - b), SAME * effect + (a - b))


def two_sided(*halves: Quantity) -> tuple[Quantity, ...]:
    """Return two differences that count as one, for by chance at most one of them is negative: their sum is positive."""
    return tuple(Quantity(one.weights, chances=0.5) for one in halves)


BySeed = dict[int, float]


class Noise(NamedTuple):
    """A run's standard deviation over seeds as a share of its value, by quantity, from ``freedom`` degrees of freedom."""

    shares: Mapping[str, float]
    freedom: float


class Evidence:
    """Measured values by term, each by seed.

    Arguments:
        errors: standard errors over test images, where they are known.
        noise: between seeds, where it was measured.
    """

    def __init__(
        self,
        values: Mapping[Term, BySeed],
        errors: Mapping[Term, BySeed] | None = None,
        exact: bool = False,
        noise: Noise | None = None,
    ):
        known = {t: {seed: v for seed, v in by_seed.items() if not math.isnan(v)} for t, by_seed in values.items()}
        self.values = {term: by_seed for term, by_seed in known.items() if by_seed}
        self.errors = errors or {}
        self.noise = noise
        self.exact = exact  # the paper's: single numbers, taken as they are printed

    @classmethod
    def of(cls, found: Iterable[tuple[Term, int, float, float]], **options: Any) -> "Evidence":
        """Return the evidence of measured values: (term, seed, value, standard error or NaN) each."""
        values: dict[Term, BySeed] = {}
        errors: dict[Term, BySeed] = {}
        for term, seed, value, error in found:
            values.setdefault(term, {})[seed] = value
            errors.setdefault(term, {})[seed] = error
        return cls(values, errors, **options)

    def points(self, series: str) -> list:
        """Return the points of a sweep that a series was measured at, sorted."""
        found = {term[1] for term in self.values if term[0] == series and len(term) == 3}
        return sorted(found - {None})

    def mean(self, *term: Hashable) -> float:
        """Return a value's mean over seeds."""
        return float(np.mean(list(self.values[term].values())))


class Case(NamedTuple):
    """What a claim says: one of ``alternatives`` is positive throughout, and nothing in ``never`` negative.

    Without the ``premise`` (an effect to compare with) there is nothing to test.
    """

    alternatives: Sequence[Sequence[Quantity]]
    never: Sequence[Quantity] = ()
    premise: Sequence[Quantity] = ()


def needs(*quantities: Quantity, never: Sequence[Quantity] = (), premise: Sequence[Quantity] = ()) -> Case | str:
    """Return the case "all of these are positive"; of none, as of half a night's runs, there is nothing to say."""
    return Case([quantities], never, premise) if quantities else "a value is missing"


Rule = Callable[[Evidence], Case | str]  # or why it cannot be tested on this grid


class Verdict(NamedTuple):
    """``margin``: the difference that decides, 95 % ``interval`` of it, the verdict, and what qualifies it."""

    margin: float | None
    interval: tuple[float, float] | None
    verdict: str
    note: str = ""


class Estimate(NamedTuple):
    """A mean with its interval; without errors the interval is infinite."""

    mean: float
    low: float
    high: float
    note: str = ""


def interval95(differences: np.ndarray, comparisons: int = 1) -> tuple[float, float]:
    """Return the 95 % Student-t interval of the mean of ``differences`` (n >= 2), Bonferroni for ``comparisons``."""
    n, mean = len(differences), float(np.mean(differences))
    quantile = float(stdtrit(n - 1, 1 - 0.025 / comparisons))
    half = quantile * float(np.std(differences, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def estimate(quantity: Quantity, evidence: Evidence, comparisons: int = 1) -> Estimate | None:
    """Return a quantity's mean and interval (see the module's head), None where a value is missing."""
    found = by_seed(quantity, evidence)
    if not found:
        return None
    seeds, differences = list(found), np.array(list(found.values()))
    mean = float(np.mean(differences))
    if evidence.exact:  # rounding to printed digits leaves 1e-16 where the paper prints a tie
        mean = round(mean, 9)
        return Estimate(mean, mean, mean, SCATTER if abs(mean) < _half(quantity, evidence, seeds[0]) else "")
    if len(seeds) > 1:
        return Estimate(mean, *interval95(differences, comparisons))
    half = _half(quantity, evidence, seeds[0], comparisons)
    if math.isnan(half):
        return Estimate(mean, -math.inf, math.inf, "one seed: no interval")
    return Estimate(mean, mean - half, mean + half, MEASURED if evidence.noise else ONE_SEED)


def _half(quantity: Quantity, evidence: Evidence, seed: int, comparisons: int = 1) -> float:
    """Return half the interval's width for one seed, NaN where no errors over images are known."""
    freedom = evidence.noise.freedom if evidence.noise else math.inf
    return float(stdtrit(freedom, 1 - 0.025 / comparisons)) * math.sqrt(sum(variances(quantity, evidence, seed)))


def variances(quantity: Quantity, evidence: Evidence, seed: int) -> tuple[float, float]:
    """Return one run's variance over test images (NaN where no errors are known) and over seeds, measured or allowed for."""
    images = noise = 0.0
    shares = evidence.noise.shares if evidence.noise else {}
    for term, weight in quantity.weights.items():
        share = 0.0 if evidence.exact else shares.get(str(term[-1]), noise_share(term))
        images += (weight * evidence.errors.get(term, {}).get(seed, math.nan)) ** 2
        noise += (weight * share * evidence.values[term][seed]) ** 2
    return images, noise


def by_seed(quantity: Quantity, evidence: Evidence) -> dict[int, float]:
    """Return a quantity of every seed that has all of its values."""
    terms = {term: evidence.values.get(term, {}) for term in quantity.weights}
    seeds = sorted(set.intersection(*map(set, terms.values()))) if terms else []
    return {seed: sum(w * terms[term][seed] for term, w in quantity.weights.items()) for seed in seeds}


def comparisons(some: Sequence[Quantity]) -> int:
    """Return how many differences may contradict a claim by chance that all of ``some`` are positive."""
    return max(1, math.ceil(sum(one.chances for one in some)))


def judge(case: Case | str, evidence: Evidence) -> Verdict:
    """Return the verdict of a case on the evidence; a text in place of a case says why there is none."""
    if isinstance(case, str):
        return Verdict(None, None, "not_testable", case)
    premise = [estimate(quantity, evidence) for quantity in case.premise]
    if any(one is not None and one.low <= 0 for one in premise):
        return Verdict(None, None, "not_testable", "no clear effect to compare with")
    count = len(case.alternatives)
    found = [[estimate(quantity, evidence, count) for quantity in one] for one in case.alternatives]
    limits = [estimate(quantity, evidence, len(case.never)) for quantity in case.never]
    if any(one is None for one in itertools.chain(premise, limits, *found)):
        return Verdict(None, None, "not_testable", "a value is missing")
    against = [one for one in limits if one.high < 0]
    if against:
        return _verdict(min(against, key=lambda one: one.high), "contradicted", evidence)
    holding = [some for some in found if all(one.low > 0 for one in some)]
    best = max(holding or found, key=lambda some: min(one.mean for one in some))
    wide = [[estimate(quantity, evidence, comparisons(one)) for quantity in one] for one in case.alternatives]
    nearest = wide[found.index(best)]
    if all(any(one.high < 0 for one in some) for some in wide):
        return _verdict(min(nearest, key=lambda one: one.high), "contradicted", evidence)
    if holding:
        return _verdict(min(best, key=lambda one: one.mean), "supported", evidence)
    worst = min(range(len(best)), key=lambda place: best[place].low)
    shown = best[worst] if best[worst].high > 0 else nearest[worst]  # below 0 only as long as chance is left out
    return _verdict(shown, "not_testable", evidence)


def _verdict(decisive: Estimate, verdict: str, evidence: Evidence) -> Verdict:
    """Return a verdict with the number that decided it."""
    if evidence.exact:
        return Verdict(decisive.mean, None, verdict, decisive.note if decisive.mean else "equal as printed")
    if math.isinf(decisive.low):
        return Verdict(decisive.mean, None, verdict, decisive.note)
    parts = ["interval includes 0"] if verdict == "not_testable" else []
    parts += [decisive.note] if decisive.note else []
    return Verdict(decisive.mean, (decisive.low, decisive.high), verdict, "; ".join(parts))


def larger(quantity: str, method: str, *others: str) -> list[Quantity]:
    """Return what says that ``method`` has a larger ``quantity`` than each of ``others``."""
    return [value(method, quantity) - value(other, quantity) for other in others]


def smaller(quantity: str, method: str, *others: str) -> list[Quantity]:
    """Return what says that ``method`` has a smaller ``quantity`` than each of ``others``."""
    return [value(other, quantity) - value(method, quantity) for other in others]


def steps(quantities: list[Quantity]) -> list[Quantity]:
    """Return what says that a list of quantities increases, step by step."""
    return [after - before for before, after in itertools.pairwise(quantities)]
