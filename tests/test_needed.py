"""What would decide a claim: seeds against Student's and chi-square's own tables, cases, prices, and the command."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from tests.test_claims import tables
from vaelib import files
from vaelib.cli import app
from vaelib.errors import VaelibError
from vaelib.report.claims import NOT_RUN, OURS, evaluate_claims
from vaelib.report.entries import Entry, Part
from vaelib.report.needed import AT_MOST, Needed, needed, seeds_needed, spread_ends
from vaelib.report.rules import Case, Evidence, interval95, needs, value
from vaelib.report.study import Study, _registered, register, studies
from vaelib.runs import Experiment, Point, Store, VAERun, run, tables_folder, write_tables
from vaelib.runs.cost.price import this_machine
from vaelib.runs.engine import all_artifacts
from vaelib.runs.profiles import load_profile
from vaelib.runs.stages import resolve_data
from vaelib.runs.tables import about_data, curve, last_row
from vaelib.studies.claims import pages, resolve
from vaelib.studies.three_gaps.runs import three_gaps


def with_spread(n, margin, spread):
    """Return n numbers of exactly this mean and standard deviation."""
    drawn = np.random.default_rng(n).standard_normal(n)
    return margin + spread * (drawn - drawn.mean()) / drawn.std(ddof=1)


@pytest.mark.parametrize(("margin", "spread"), [(1.0, 0.1), (1.0, 1.0), (-0.3, 2.0), (1.0, 40.0)])
def test_so_many_seeds_decide_and_one_fewer_do_not(margin, spread):
    n = seeds_needed(margin, spread)
    for count in (n, n + 1):
        low, high = interval95(with_spread(count, margin, spread))
        assert low > 0 or high < 0
    if n > 2:
        low, high = interval95(with_spread(n - 1, margin, spread))
        assert low <= 0 <= high


def test_many_comparisons_need_more_and_a_margin_of_nothing_needs_no_number():
    assert seeds_needed(1.0, 2.0, comparisons=5) > seeds_needed(1.0, 2.0)
    assert seeds_needed(1.0, 1e-9) == 2
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(1e-6, 1.0) is None  # above AT_MOST
    assert seeds_needed(1.0, 1.96 * math.sqrt(AT_MOST) / 4) <= AT_MOST


@pytest.mark.parametrize("freedom", [1, 2, 8, 40])
def test_the_ends_of_a_spread_are_those_of_chi_square(freedom):
    low, high = spread_ends(3.0, freedom)
    exact = [3.0 * math.sqrt(freedom / stats.chi2.ppf(p, freedom)) for p in (0.975, 0.025)]
    assert (low, high) == pytest.approx(exact)


def evidence(**values):
    """Return three seeds each of quantities a, b, ...: mean and spread."""
    return Evidence({(name,): dict(enumerate(with_spread(3, *pair))) for name, pair in values.items()})


def test_all_differences_have_to_be_told_to_support_and_one_to_contradict():
    found = evidence(a=(1.0, 1.0), b=(1.0, 3.0))
    both = needed(needs(value("a"), value("b")), found)
    alone = seeds_needed(1.0, 3.0)
    assert (both.verdict, both.seeds) == ("supported", alone)
    assert both.low < both.seeds < both.high
    found = evidence(a=(1.0, 1.0), b=(-2.0, 6.0), c=(-1.0, 1.0))
    against = needed(needs(value("a"), value("b"), value("c")), found)
    assert (against.verdict, against.seeds) == ("contradicted", seeds_needed(1.0, 1.0, comparisons=3))
    assert against.margin == pytest.approx(-1.0)  # c's, whose seeds these are; the ledger shows b's, the farthest below


def test_alternatives_premises_and_what_must_never_be():
    found = evidence(a=(1.0, 1.0), b=(-1.0, 1.0), effect=(2.0, 40.0), none=(-2.0, 1.0))
    either = needed(Case([[value("a")], [value("b")]]), found)
    assert (either.verdict, either.seeds) == ("supported", seeds_needed(1.0, 1.0, comparisons=2))
    compared = needed(needs(value("a"), premise=[value("effect")]), found)
    assert compared.seeds == seeds_needed(2.0, 40.0)
    assert needed(needs(value("a"), premise=[value("none")]), found) is None
    never = needed(needs(value("effect"), never=[value("b")]), found)
    assert (never.verdict, never.seeds) == ("contradicted", seeds_needed(1.0, 1.0))
    assert needed("needs another grid", found) is None
    assert needed(needs(value("a") - value("missing")), found) is None


def test_one_seed_has_images_too():
    """Var = 9 over images and 1 over seeds: no number of images tells 1.9, and 3 is told by 9 / ((3 / 1.96)² - 1) as many."""

    def one(margin):
        return Evidence({("elbo",): {0: margin}}, {("elbo",): {0: 3.0}}, noise=None)

    assert needed(needs(value("elbo")), one(0.01)).images is not None  # the allowance is 1 % of it
    low = Evidence({("g",): {0: 10.0}, ("h",): {0: 8.1}}, {("g",): {0: 0.0}, ("h",): {0: 3.0}})
    found = needed(needs(value("g") - value("h")), low)
    noise = 1.0 + 0.81
    assert found.images is None
    assert found.seeds == seeds_needed(1.9, math.sqrt(noise))
    assert (found.low, found.high) == (None, None)
    wide = Evidence({("g",): {0: 10.0}, ("h",): {0: 7.0}}, {("g",): {0: 0.0}, ("h",): {0: 3.0}})
    told = needed(needs(value("g") - value("h")), wide)
    assert told.images == pytest.approx(9 / ((3 / stats.norm.ppf(0.975)) ** 2 - 1.49))


# --- the ledger and its prices ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ledger():
    return evaluate_claims(tables(noise=400.0), "laptop")


def test_only_what_is_not_testable_needs_something(ledger):
    for row in ledger:
        if row["needs"]:
            assert (row["evidence"], row["verdict"]) == (OURS, "not_testable")
            assert row["needs"]["seeds"] is None or row["needs"]["seeds"] > row["seeds"]
    assert any(row["needs"] for row in ledger)
    assert not any(row["needs"] for row in evaluate_claims(tables(noise=400.0), "smoke"))
    decided = evaluate_claims(tables(noise=5.0), "laptop")
    assert not any(row["needs"] for row in decided if row["dataset"] == "fashion_mnist")


@pytest.fixture(scope="module")
def prices():
    return resolve.Prices("laptop", this_machine(quick=True))


def test_ways_are_cheapest_first_and_of_every_open_claim(ledger, prices):
    found = resolve.ways(ledger, "laptop", prices)
    assert {way.id for way in found} == {row["id"] for row in resolve.undecided(ledger)}
    known = [way.seconds for way in found if way.seconds is not None]
    assert known == sorted(known)
    assert all(way.note for way in found[len(known) :])
    elbo = next(way for way in found if way.id == "elbo/fashion_mnist/gaussian")
    assert elbo.way == f"{elbo.overrides['seeds']:,} seeds"
    assert elbo.low <= elbo.overrides["seeds"] <= elbo.high
    assert elbo.seconds_low <= elbo.seconds <= elbo.seconds_high
    table = resolve.as_table(found)
    assert list(table.columns) == resolve.COLUMNS
    assert len(table) == len(found)


def test_more_vaes_of_a_teacher_are_no_more_teachers(prices):
    """Seeds of memorisation decide what its VAEs are, not what their one teacher copied."""
    row = {
        "dataset": "fashion_mnist",
        "likelihood": "gaussian",
        "evidence": OURS,
        "verdict": "not_testable",
        "note": "",
    }
    row |= {"seeds": 1, "needs": Needed("supported", margin=100.0, seeds=6).plain()}
    asked = {"mem-normal": "test ELBO", "mem-proportion": "share of copies"}
    found = resolve.ways([row | {"id": one, "claim": one, "quantity": q} for one, q in asked.items()], "laptop", prices)
    assert [way.id for way in found] == list(asked)
    assert found[0].overrides == {"seeds": 6}
    assert found[0].seconds > 0
    assert found[1].seconds is None
    assert found[1].note == "no setting adds seeds to the share of copies in memorisation"


def test_the_price_of_seeds_is_a_straight_line_and_the_plans(prices):
    study, place = studies()["three_gaps"], ("fashion_mnist", "gaussian")
    way = resolve.Way("elbo", "", study.name, *place)
    made = Store()
    for artifact in all_artifacts(three_gaps("laptop").runs):  # as `make` leaves it
        with made.making(artifact) as folder:
            (folder / "a file").write_text("")
    many = prices.machine._replace(workers=16, cards=16)  # so many that the longest chain decides
    for those in (prices, *(resolve.Prices("laptop", machine, made) for machine in (prices.machine, many))):
        for wanted in (4, 6, 20):
            exact = those.of_way(way._replace(overrides={"seeds": wanted})).seconds
            assert those.of_seeds(way, study.seeds, 3, wanted) == pytest.approx(exact, rel=1e-6)


def test_what_would_decide_is_planned_with_the_settings_of_the_build(build_folder):
    files.write_json(
        build_folder / "laptop" / "build.json",
        {"fashion_mnist, gaussian": {"changed settings": "n_train=500 k_grid=1,2 amp=false"}},
    )
    row = {"dataset": "fashion_mnist", "likelihood": "gaussian", "evidence": OURS, "verdict": "not_testable"}
    row |= {"id": "gap-a/fashion_mnist/gaussian", "claim": "", "quantity": "G_a", "note": "", "seeds": 1}
    row |= {"needs": Needed("supported", margin=100.0, seeds=6, images=2.0).plain()}
    found = resolve.ways([row], "laptop", resolve.Prices("laptop", this_machine(quick=True)))
    given = {"n_train": 500, "k_grid": [1, 2], "amp": False}
    assert [dict(way.overrides) for way in found] in (
        [given | {"amortization_images": 401}, given | {"seeds": 6}],
        [given | {"seeds": 6}, given | {"amortization_images": 401}],
    )
    assert all(way.seconds > 0 for way in found)
    line = resolve.plan_line(found[0], "laptop")
    assert all(f" --set {pair}" in line for pair in ("n_train=500", "k_grid=1,2", "amp=false"))


def test_images_of_ones_own_whose_place_the_ledger_does_not_know_have_no_price(prices):
    row = {"dataset": "mine-01234567", "likelihood": "gaussian", "evidence": OURS, "verdict": "not_testable"}
    row |= {"id": "gap-a/mine-01234567/gaussian", "claim": "", "quantity": "G_a", "note": "", "seeds": 1}
    row |= {"needs": Needed("supported", margin=100.0, seeds=6, images=2.0).plain()}
    (way,) = resolve.ways([row], "laptop", prices)
    assert way.seconds is None
    assert "mine-01234567" in way.note


def test_a_claim_is_found_by_its_id_and_mistakes_name_near_ones(ledger, prices):
    found = resolve.cheapest(ledger, "laptop", "elbo", prices)
    assert found.id.startswith("elbo/")
    assert resolve.cheapest(ledger, "laptop", "elbo/fashion_mnist/gaussian", prices).dataset == "fashion_mnist"
    line = resolve.plan_line(found, "laptop")
    assert line.startswith(f"{found.id}: ")
    assert f"vaelib run {found.study} --profile laptop --dataset {found.dataset}" in line
    with pytest.raises(VaelibError, match="did you mean gap-g"):
        resolve.cheapest(ledger, "laptop", "gap-gg", prices)
    with pytest.raises(VaelibError, match="did you mean elbo/fashion_mnist/gaussian"):
        resolve.cheapest(ledger, "laptop", "elbo/fashion_mnist/gauss", prices)
    decided = [row for row in evaluate_claims(tables(noise=5.0), "laptop") if row["dataset"] == "fashion_mnist"]
    with pytest.raises(VaelibError, match="elbo/fashion_mnist/gaussian is supported"):
        resolve.cheapest(decided, "laptop", "elbo/fashion_mnist/gaussian", prices)
    with pytest.raises(VaelibError, match="smoke supports no claim"):
        resolve.cheapest(evaluate_claims(tables(), "smoke"), "smoke", "elbo", prices)


def test_the_notebooks_table_has_a_line_a_first_run(ledger, build_folder):
    shown = pages.what_it_takes(ledger, "laptop").data
    written = pd.read_csv(build_folder / "laptop" / resolve.FILE)
    assert len(written) == len(resolve.undecided(ledger))
    first = shown[shown["what"] == resolve.FIRST]
    assert len(first) < (written["way"] == resolve.FIRST).sum()
    assert set(written["note"].dropna()) >= set(shown["note"]) - {""}
    smoke = pages.what_it_takes(evaluate_claims(tables(), "smoke"), "smoke").to_html()
    assert "0 claims" not in smoke


@pytest.fixture
def doubtful(toy):
    """Register a study of one cheap VAE a seed and method whose claim two seeds cannot decide."""

    def runs(profile, dataset, likelihood, overrides):
        budget = load_profile(profile, overrides=overrides)
        data = resolve_data(toy, 40, 20)
        points = [
            Point(
                name, math.nan, VAERun(data=data, epochs=n, batch_size=20, evaluations=(n,), snapshots=(n,), seed=seed)
            )
            for seed in range(budget.seeds)
            for name, n in (("normal", 1), ("dmaapx", 2))
        ]
        return Experiment("doubtful", budget, dataset, likelihood, points, made_tables)

    def made_tables(experiment, store):
        rows = [
            {"dataset": experiment.dataset, "likelihood": "gaussian", "method": point.series, "seed": point.run.seed}
            | last_row(curve(point.run, store))
            | about_data(point.run.data)
            | {"key": point.run.key}
            for point in experiment.points
        ]
        return {"doubtful": pd.DataFrame(rows)}

    def measured(tables, table, dataset, likelihood):
        rows = tables[table].itertuples()
        return Evidence.of(((row.method, "elbo"), row.seed, row.elbo_test, row.elbo_test_se) for row in rows)

    def rule(found):
        return needs(value("dmaapx", "elbo") - value("normal", "elbo"))

    entry = Entry("doubt", "Two epochs are better than one", "ours", "test ELBO", "doubtful", rule, ())
    study = Study("doubtful", "", "", runs=runs, tables=("doubtful",), claims=Part([entry], measured), seeds="seeds")
    register(study)
    yield study
    _registered.pop("doubtful", None)


def test_resolve_tells_the_price_runs_it_and_judges_again(doubtful):
    first = doubtful.runs("laptop", "doubts", "gaussian", {"seeds": 2})
    run(first.runs, workers=0)
    table = write_tables(first)["doubtful"]
    # Two seeds that differ more than the methods do.
    shaken = table.assign(elbo_test=table["elbo_test"] + 1e5 * ((table["seed"] == 0) & (table["method"] == "dmaapx")))
    shaken.to_csv(tables_folder("laptop") / "doubtful.csv", index=False)
    before = evaluate_claims({"doubtful": shaken}, "laptop")
    (row,) = [row for row in before if row["id"].startswith("doubt/")]
    assert row["verdict"] == "not_testable"
    done = CliRunner().invoke(app, ["claims", "--resolve", "doubt", "--workers", "0"], catch_exceptions=False)
    wanted = row["needs"]["seeds"]
    assert f"doubt/doubts/gaussian: {wanted} seeds, about" in done.output
    assert "Two epochs are better than one" in done.output
    found = pd.read_csv(tables_folder("laptop") / "doubtful.csv")
    assert found["seed"].nunique() == wanted
    assert NOT_RUN not in done.output
