r"""What would decide a claim that is not testable: how many seeds, from the margins and the spreads that were measured.

With n seeds half the interval of a difference is t(0.975, n - 1) s / √n (:mod:`vaelib.report.rules`). The claim is decided at
the smallest n at which that falls below the measured margin, if margin and s are true. Neither is known well:

- s of three seeds is a guess: its 95 % interval, s √(ν / χ²), reaches from half of it to six times it. ``low`` and ``high``
  are the numbers of seeds for these two ends. Of a single run s is the noise between seeds that was measured on other runs, or
  an allowance; of the latter no ends are known.
- A margin that is within its noise may as well be smaller, or of the other sign. Then more seeds are needed, and the verdict
  is another.

So it is a price, not a promise. And a verdict that came after seeds were added because the first ones did not decide is a
little less sure than 95 %, since the interval was looked at more than once.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaincinv, stdtrit

from .rules import Case, Evidence, Quantity, by_seed, comparisons, variances

AT_MOST = 10_000  # seeds: what needs more is undecidable in practice


class Needed(NamedTuple):
    """What would decide a claim.

    Attributes:
        verdict: the one to which the measured margins point.
        margin: the measured difference that takes the most seeds; the ledger's is the one that lies worst in its interval.
        seeds: in all, for the measured spread; None: more than :data:`AT_MOST`.
        low, high: the same for the ends of the spread's 95 % interval; None: not known, or more than :data:`AT_MOST`.
        images: of one seed alone, how many times as many test images would decide; None: no number of images would.
    """

    verdict: str
    margin: float
    seeds: int | None
    low: int | None = None
    high: int | None = None
    images: float | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return self._asdict()


def seeds_needed(margin: float, spread: float, comparisons: int = 1) -> int | None:
    """Return the least n >= 2 with t(1 - 0.025 / comparisons, n - 1) · spread / √n < \\|margin\\|; None: above 10,000.

    >>> seeds_needed(margin=1.0, spread=1.0)
    7
    """
    if not margin or not math.isfinite(margin) or not math.isfinite(spread):
        return None
    # Student's quantile exceeds the normal one, so no smaller n can do; above it, it takes a few steps at most.
    first = (stdtrit(math.inf, 1 - 0.025 / comparisons) * spread / margin) ** 2
    for n in range(max(2, int(min(first, AT_MOST + 1))), AT_MOST + 1):
        if stdtrit(n - 1, 1 - 0.025 / comparisons) * spread / math.sqrt(n) < abs(margin):
            return n
    return None


def spread_ends(spread: float, freedom: float) -> tuple[float, float]:
    """Return the 95 % interval of a standard deviation that was estimated with ``freedom`` degrees of freedom.

    >>> [round(end, 2) for end in spread_ends(1.0, freedom=2)]
    [0.52, 6.28]
    """
    upper, lower = (2 * float(gammaincinv(freedom / 2, p)) for p in (0.975, 0.025))
    return spread * math.sqrt(freedom / upper), spread * math.sqrt(freedom / lower)


def _of_one(quantity: Quantity, evidence: Evidence, comparisons: int) -> Needed | None:
    """Return what would tell one difference from zero; None where a value or its spread is missing."""
    found = by_seed(quantity, evidence)
    if not found:
        return None
    margin, freedom = float(np.mean(list(found.values()))), float(len(found) - 1)
    verdict, images = "supported" if margin > 0 else "contradicted", None
    if len(found) > 1:
        spread = float(np.std(list(found.values()), ddof=1))
    else:
        over_images, noise = variances(quantity, evidence, next(iter(found)))
        spread, freedom = math.sqrt(noise), evidence.noise.freedom if evidence.noise else math.inf
        room = (margin / stdtrit(freedom, 1 - 0.025 / comparisons)) ** 2 - noise
        images = float(over_images / room) if room > 0 and math.isfinite(over_images) else None
    ends = spread_ends(spread, freedom) if math.isfinite(freedom) else ()
    return Needed(verdict, margin, *(seeds_needed(margin, one, comparisons) for one in (spread, *ends)), images=images)


def _joined(verdict: str, parts: Iterable[Needed]) -> Needed:
    """Return what decides several differences at once: the most that one of them needs."""
    kept = list(parts)

    def most(values: list[Any]) -> Any:
        return None if any(value is None for value in values) else max(values)

    margin = max(kept, key=_order).margin
    return Needed(verdict, margin, *(most([getattr(one, name) for one in kept]) for name in Needed._fields[2:]))


def needed(case: Case | str, evidence: Evidence) -> Needed | None:
    """Return what would decide a case as far as the evidence tells; None where it does not, as for a grid that cannot tell.

    To support it, every difference of its nearest alternative has to be told from zero, and so has the effect that it is compared
    with; to contradict it, one difference of every alternative, or one that must never be negative. What needs fewer seeds counts.
    """
    if isinstance(case, str) or evidence.exact:
        return None
    premise = [_of_one(quantity, evidence, 1) for quantity in case.premise]
    count = len(case.alternatives)
    wide = [[_of_one(quantity, evidence, comparisons(one)) for quantity in one] for one in case.alternatives]
    shared = [[_of_one(quantity, evidence, count) for quantity in one] for one in case.alternatives]
    never = [_of_one(quantity, evidence, len(case.never)) for quantity in case.never]
    if any(one is None for some in (premise, never, *wide) for one in some):
        return None
    if any(one.verdict == "contradicted" for one in premise):
        return None  # without the effect there is nothing to test
    ways = []
    for some in shared:
        if all(one.verdict == "supported" for one in some):
            ways.append(_joined("supported", [*some, *premise]))
    against = [[one for one in some if one.verdict == "contradicted"] for some in wide]
    if all(against):
        ways.append(_joined("contradicted", [min(some, key=_order) for some in against] + premise))
    ways += [one for one in never if one.verdict == "contradicted"]
    return min(ways, key=_order, default=None)


def _order(one: Needed) -> float:
    return math.inf if one.seeds is None else one.seeds
