"""What it would cost to decide what is not testable yet: for each claim the study to run, with how many seeds, and its price.

How many seeds a claim needs stands in its row of the ledger (:mod:`vaelib.report.needed`). Here are the prices of the plan
(:mod:`vaelib.planning.plan`), good to a factor of about two, of what is not in the store yet. Seeds cost the same each, so the
price of n of them is that of the present ones and n - m times the price of one more.
"""

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ... import paths
from ...errors import VaelibError, unknown
from ...files import write_atomic
from ...planning.plan import Cost, price
from ...progress import duration
from ...report.claims import NOT_RUN, OURS, parts
from ...report.needed import AT_MOST
from ...report.reference import SMOKE
from ...report.study import Study, studies
from ...runs.cost.price import Machine, this_machine
from ...runs.engine import all_artifacts
from ...runs.experiments import entry_of
from ...runs.profiles import as_pairs, parse_overrides
from ...runs.settings import Gaps
from ...runs.stages.data import reading_once
from ...runs.store import Store
from ...runs.tables import CHANGED, build_records
from ...text import how_many, number

# Of one seed's claims, what a larger subset of the test images takes: the profile's setting of each gap.
SUBSETS = {"G_a": "amortization_images", "G_r": "attack_images"}
FILE, FIRST = "what_it_takes.csv", "a first run"
COLUMNS = ["id", "claim", "way", "verdict", "margin", "low", "high", "minutes", "minutes_low", "minutes_high", "note"]


class Way(NamedTuple):
    """One way to decide a claim.

    Attributes:
        id, claim: of the ledger.
        study: whose runs they are.
        dataset, likelihood, overrides: with which it runs.
        way: in words, for a table.
        verdict: to which the measured margins point; empty before the first run.
        margin: the difference that takes the most seeds, as measured.
        low, high: the numbers of seeds for the ends of the spread's 95 % interval.
        seconds: of what is left of it, on this machine; None: no price is known.
        seconds_low, seconds_high: the same for ``low`` and ``high``.
        note: why there is no price, or what else there is to know.
    """

    id: str
    claim: str
    study: str
    dataset: str
    likelihood: str
    overrides: Mapping[str, Any] = {}
    way: str = ""
    verdict: str = ""
    margin: float | None = None
    low: int | None = None
    high: int | None = None
    seconds: float | None = None
    seconds_low: float | None = None
    seconds_high: float | None = None
    note: str = ""

    @property
    def minutes(self) -> str:
        """The price in minutes as a reader wants it, with those of the spread's ends; a dash where there is none."""
        if self.seconds is None:
            return "–"
        ends = [number(one / 60) for one in (self.seconds_low, self.seconds_high) if one is not None]
        return number(self.seconds / 60) + (f" ({' … '.join(ends)})" if len(ends) == 2 else "")


def undecided(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of our runs that are neither supported nor contradicted; the profile smoke decides nothing."""
    open_ones = [row for row in rows if row["evidence"] == OURS and row["verdict"] == "not_testable"]
    return [row for row in open_ones if row["note"] != SMOKE]


def study_of(row: Mapping[str, Any]) -> Study:
    """Return the study whose table judges a row of the ledger."""
    tables = {entry.id: entry.table for part, _ in parts() for entry in part.entries}
    table = tables[row["id"].partition("/")[0]]
    return next(study for study in studies().values() if study.claims and table in study.tables)


class Prices:
    """What is left to be made of studies under changed settings, on one machine, each priced once."""

    def __init__(self, profile: str, machine: Machine | None = None, store: Store | None = None):
        self.profile, self.machine, self.store = profile, machine or this_machine(), store or Store()
        self.cost = cache(self._cost)
        self.records = build_records(paths.build_root() / profile)

    def given(self, study: str, dataset: str, likelihood: str) -> dict[str, Any]:
        """Return the settings in which a build's runs of a study differ from the profile."""
        record = self.records.get(entry_of(dataset, likelihood, study), {})
        return parse_overrides([record[CHANGED]]) if CHANGED in record else {}

    def _cost(self, study: str, dataset: str, likelihood: str, overrides: tuple[str, ...]) -> Cost:
        """Return what a study's runs would cost.

        Raises:
            VaelibError: they cannot be planned here.
        """
        runs = studies()[study].runs
        if runs is None:
            raise VaelibError(
                f"`vaelib run` does not know {study}: run notebook {studies()[study].notebook} with overrides"
            )
        chosen = runs(self.profile, dataset, likelihood, parse_overrides(overrides))
        return price(all_artifacts(chosen.runs), self.store, self.machine)

    def of_seeds(self, way: Way, setting: str, now: int, wanted: int) -> float:
        """Return the seconds of more than ``now`` seeds, ``wanted`` of them, without planning each.

        Work grows by a seed's with each; the longest chain of runs, which no number of workers shortens, is that of one more.
        """
        have, one_more = (self.of_way(way._replace(overrides={**way.overrides, setting: n})) for n in (now, now + 1))
        left = have.work_seconds + (wanted - now) * (one_more.work_seconds - have.work_seconds)
        return max(one_more.seconds, left / self.machine.cards)

    def of_way(self, way: Way) -> Cost:
        """Return what a way would cost."""
        return self.cost(way.study, way.dataset, way.likelihood, tuple(as_pairs(way.overrides)))


def ways(rows: Iterable[Mapping[str, Any]], profile: str, prices: Prices | None = None) -> list[Way]:
    """Return what would decide each undecided claim, cheapest first; those without a price come last."""
    prices = prices or Prices(profile)
    with reading_once():
        found = [way for row in undecided(rows) for way in _ways(row, prices)]
    return sorted(found, key=lambda one: (one.seconds is None, one.seconds))


def _ways(row: Mapping[str, Any], prices: Prices) -> list[Way]:
    """Return the ways to decide one claim: a first run, more seeds, more test images."""
    study, place = study_of(row), (row["dataset"], row["likelihood"])
    plain = Way(row["id"], row["claim"], study.name, *place, prices.given(study.name, *place))
    if row["note"] == NOT_RUN:
        return [_priced(plain._replace(way=FIRST, note="what it finds may need more"), prices)]
    need = row.get("needs")
    if not need:
        why = row["note"] or "what is known of it tells no number"
        return [plain._replace(way="–", note=f"no number of seeds: {why}")]
    pointing = plain._replace(**{name: need[name] for name in ("verdict", "margin", "low", "high")})
    found = [_by_seeds(row, need, pointing, study, prices)]
    setting = SUBSETS.get(row["quantity"])
    count = _larger(setting, need["images"], study, plain, prices.profile) if setting and row["seeds"] == 1 else None
    if count:
        overrides = {**plain.overrides, setting: count}
        more = pointing._replace(way=f"{count:,} test images", overrides=overrides, low=None, high=None)
        found.append(_priced(more, prices))
    return found


def _larger(setting: str, times: float | None, study: Study, way: Way, profile: str) -> int | None:
    """Return how many test images ``times`` as many as a study's gaps take are; None where there are not so many."""
    if times is None or study.runs is None:
        return None
    try:
        chosen = study.runs(profile, way.dataset, way.likelihood, dict(way.overrides))
    except VaelibError:  # images of one's own, of which the ledger knows the name and not the place
        return None
    runs = all_artifacts(chosen.runs)
    taken = [(getattr(one, setting), one.vae.data.n_test) for one in runs if isinstance(one, Gaps)]
    if not taken or any(now is None for now, _ in taken):  # all test images are taken already
        return None
    now, most = max(taken)
    count = math.ceil(now * times) + 1
    return count if count <= most else None


def _by_seeds(row: Mapping[str, Any], need: Mapping[str, Any], way: Way, study: Study, prices: Prices) -> Way:
    """Return the way by more seeds: at least one more than there are, for these have not decided."""
    if need["seeds"] is None:
        return way._replace(way="–", note=f"more than {AT_MOST:,} seeds: the margin is next to nothing")
    now = row["seeds"]
    seeds, low, high = (need[name] and max(need[name], now + 1) for name in ("seeds", "low", "high"))
    way = way._replace(way=how_many(seeds, "seed"), low=low, high=high)
    if not study.seeds:
        return way._replace(note=f"no setting adds seeds to {study.name}")
    if row["quantity"] in study.shared:
        return way._replace(note=f"no setting adds seeds to the {row['quantity']} in {study.name}")
    try:
        times = [count and prices.of_seeds(way, study.seeds, now, count) for count in (seeds, low, high)]
    except VaelibError as error:
        return way._replace(note=str(error))
    note = "" if low else "of one seed the spread is an allowance, not measured"
    priced = way._replace(overrides={**way.overrides, study.seeds: seeds}, seconds=times[0], note=note)
    return priced._replace(seconds_low=times[1], seconds_high=times[2])


def _priced(way: Way, prices: Prices) -> Way:
    try:
        return way._replace(seconds=prices.of_way(way).seconds)
    except VaelibError as error:
        return way._replace(note=str(error))


def cheapest(rows: Sequence[Mapping[str, Any]], profile: str, name: str, prices: Prices | None = None) -> Way:
    """Return the cheapest way to decide the claim ``name``: an id of the ledger, or its part before the first slash.

    Raises:
        VaelibError: no such claim, one that is decided, or one that no run is known to decide.
    """
    ours = {row["id"]: row for row in rows if row["evidence"] == OURS}
    short = {one.partition("/")[0] for one in ours}
    chosen = [row for one, row in ours.items() if name in (one, one.partition("/")[0])]
    if not chosen:
        near = [one for one in ours if one.partition("/")[0] == name.partition("/")[0]]
        raise unknown("claim", name, near or sorted(short))
    open_ones = undecided(chosen)
    if profile == "smoke":
        raise VaelibError("nothing to resolve: the profile smoke supports no claim; choose another with --profile")
    if not open_ones:
        told = ", ".join(f"{row['id']} is {row['verdict']}" for row in chosen)
        raise VaelibError(f"nothing to resolve: {told}")
    found = ways(open_ones, profile, prices)
    if found[0].seconds is None:
        raise VaelibError("; ".join(f"{way.id} ({way.claim}): {way.note}" for way in found))
    return found[0]


def plan_line(way: Way, profile: str) -> str:
    """Return what is about to be run, as one line that could be typed, with its price."""
    setting = "".join(f" --set {shlex.quote(pair)}" for pair in as_pairs(way.overrides))
    command = (
        f"vaelib run {way.study} --profile {profile} --dataset {way.dataset} --likelihood {way.likelihood}{setting}"
    )
    ends = [duration(one) for one in (way.seconds_low, way.seconds_high) if one is not None]
    spread = f" ({' to '.join(ends)} for the ends of the spread's interval)" if len(ends) == 2 else ""
    return f"{way.id}: {way.way}, about {duration(way.seconds or 0.0)}{spread}: {command}"


def as_table(found: Sequence[Way]) -> pd.DataFrame:
    """Return the ways as a table with their prices in minutes."""
    rows = [
        way._asdict() | {"minutes": way.seconds, "minutes_low": way.seconds_low, "minutes_high": way.seconds_high}
        for way in found
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    priced = [name for name in COLUMNS if name.startswith("minutes")]
    table[priced] = (table[priced].astype(float) / 60).round(2)
    return table.astype({"low": "Int64", "high": "Int64"})


def write_ways(build: Path, found: Sequence[Way]) -> pd.DataFrame:
    """Write ``what_it_takes.csv`` into a build and return it; it lies beside the tables, for its prices are this machine's."""
    table = as_table(found)
    write_atomic(Path(build) / FILE, lambda part: table.to_csv(part, index=False))
    return table
