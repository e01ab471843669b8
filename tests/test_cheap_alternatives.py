"""Tuning that never sees a test image, the VAE that it chooses, refinement at test time, and the claims about both."""

import math

import numpy as np
import pandas as pd
import pytest

from vaelib.data import load_dataset
from vaelib.errors import VaelibError
from vaelib.files import read_json, write_json
from vaelib.report.claims import OURS, evaluate_claims
from vaelib.report.explorers.curves import curve_explorer
from vaelib.runs import Data, Gaps, Store, VAERun, load_profile, resolve_data, run
from vaelib.runs.cost.work import work
from vaelib.runs.settings import HeldOut, Regularisation
from vaelib.runs.stages.vae import regulariser_of
from vaelib.runs.store import load_array
from vaelib.runs.tables import curve
from vaelib.studies.refinement.runs import refinement
from vaelib.studies.refinement.stages import Refinement
from vaelib.studies.refinement.tables import refinement_tables, steps_to_reach
from vaelib.studies.regularisers.figures import regularisers_figure, regularisers_table
from vaelib.studies.regularisers.runs import ON_DMAAPX, REMEDIES, regularisers, values_of, with_validation
from vaelib.studies.regularisers.stages import Tuned, Validation, choose, validation_elbos
from vaelib.studies.regularisers.tables import remedy_of

TINY = {
    "epochs": 3,
    "hidden": 16,
    "seeds": 1,
    "batch_size": 10,
    "amortization_images": 10,
    "amortization_steps": 20,
    "attack_images": 5,
    "attack_restarts": 1,
    "validation_images": 9,
    "dropout_grid": [0.1, 0.9],
}


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Return two files of images that differ in their test images alone."""
    folder, rng = tmp_path_factory.mktemp("twins"), np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (80, 32, 32), dtype=np.uint8), np.arange(80) % 2
    np.savez(folder / "one.npz", images=images, labels=labels)
    test = {image.tobytes() for image in load_dataset(str(folder / "one.npz")).test.numpy()[:, 0]}
    others = np.stack([255 - image if image.tobytes() in test else image for image in images])
    np.savez(folder / "other.npz", images=others, labels=labels)
    return [str(folder / name) for name in ("one.npz", "other.npz")]


def candidates_of(experiment, remedy, method="normal"):
    tried = experiment.measured(Validation)
    return [point.run for point in tried if point.series == remedy and point.run.vae.method == method]


def test_a_choice_never_sees_the_test_set(twins):
    """Other test images, the same training and validation images: equal validation ELBOs, bit for bit, and the same choice."""
    found, tests = [], []
    for path in twins:
        tried = candidates_of(regularisers("smoke", path, overrides=TINY), "dropout")
        run(tried, workers=0)
        found.append((validation_elbos(tried, Store()), choose(tried, Store())))
        curves = [curve(one.vae, Store()).set_index("quantity")["value"] for one in tried]
        tests.append([one["elbo_test"] for one in curves])
    assert found[0] == found[1]
    assert tests[0] != tests[1]


def scored(candidates, scores):
    """Put validation ELBOs into the store without any training."""
    store = Store()
    for one, score in zip(candidates, scores, strict=True):
        with store.making(one) as folder:
            write_json(folder / "rows.json", [{"quantity": "elbo_validation", "value": score, "se": 1.0}])
    return store


@pytest.mark.parametrize(("scores", "best"), [((-3.0, -2.0), 1), ((-2.0, -3.0), 0), ((-2.0, -2.0), 0)])
def test_the_highest_validation_elbo_is_chosen(twins, scores, best):
    tried = candidates_of(regularisers("smoke", twins[0], overrides=TINY), "dropout")
    assert choose(tried, scored(tried, scores)) == best


def test_what_is_chosen_is_trained_from_its_seed_as_any_vae(twins):
    experiment = regularisers("smoke", twins[0], overrides=TINY)
    tried = candidates_of(experiment, "dropout")
    protocol = next(point.run for point in experiment.points if point.series == "dropout").protocol
    tuned = Tuned(candidates=tried, protocol=protocol, seed=3)
    run([tuned], workers=0)
    store = Store()
    number = read_json(store.require(tuned) / "chosen.json")["candidate"]
    vae = tried[number].vae.model_copy(update={"seed": 3})
    gaps = tuned.gaps(number)
    assert gaps.vae == vae
    assert gaps.amortization_images == 10
    assert store.has_manifest(vae)
    last = curve(gaps, store).set_index("quantity")["value"]
    assert {"elbo_test", "amortization_gap", "robustness_gap"} <= set(last.index)
    assert vae.regularisation.dropout == (0.1, 0.9)[number]
    (listed,) = curve_explorer(store).lists.values()
    assert [name for name, *_ in listed.runs] == [
        "Normal training · seed 0 · dropout 0.1",
        "Normal training · seed 0 · dropout 0.9",
        f"Normal training · seed 3 · dropout {vae.regularisation.dropout:g}",
    ]


def test_validation_images_are_in_neither_set(twins):
    data, _, held_out = with_validation(twins[0], load_profile("smoke", overrides=TINY))
    run([held_out, data], workers=0)
    folder = Store().require(data)
    sets = [load_array(folder / f"{name}.npy") for name in ("train", "test")]
    sets.append(load_array(Store().require(held_out) / "images.npy"))
    seen = [{image.tobytes() for image in images} for images in sets]
    assert len(seen[2]) == held_out.size == 9
    assert not seen[2] & (seen[0] | seen[1])
    assert data.n_train == 64 - 64 // 6


def test_a_data_set_with_images_to_spare_keeps_its_training_images(twins):
    data, _, held_out = with_validation(twins[0], load_profile("smoke", overrides={"n_train": 40}))
    assert (data.n_train, held_out.size) == (40, 24)  # of 64


def test_no_validation_without_images(tmp_path):
    np.savez(tmp_path / "few.npz", images=np.zeros((8, 32, 32), np.uint8), labels=np.arange(8) % 2)
    with pytest.raises(VaelibError, match="no two validation images are left beside n_train = 5; set it to at most 4"):
        with_validation(str(tmp_path / "few.npz"), load_profile("smoke"))


def test_validation_images_of_another_set_are_refused(twins):
    one, other = (resolve_data(path, 20, 8) for path in twins)
    with pytest.raises(ValueError, match="another data set"):
        Validation(vae=VAERun(data=one), held_out=HeldOut(data=other, size=2))


def test_a_key_knows_each_candidate_and_old_keys_know_nothing_of_regularisation(twins):
    experiment = regularisers("smoke", twins[0], overrides=TINY)
    tried = candidates_of(experiment, "dropout")
    whole, part = (Tuned(candidates=some, protocol={}) for some in (tried, tried[:1]))
    assert whole.key != part.key != Tuned(candidates=tried[1:], protocol={}).key
    assert whole.upstream() == tried
    plain = tried[0].vae.model_copy(update={"regularisation": Regularisation()})
    assert plain.key == VAERun(**{n: v for n, v in plain if n != "regularisation"}).key != tried[0].vae.key
    assert regulariser_of(plain) is None


def test_every_remedy_has_as_many_runs_and_early_stopping_costs_less(twins):
    experiment = regularisers("laptop", twins[0])
    tried = {remedy: candidates_of(experiment, remedy) for remedy in REMEDIES}
    full = experiment.profile.epochs
    assert {len(tried[remedy]) for remedy in REMEDIES[:-1]} == {3}
    assert sum(one.vae.epochs for one in tried["early_stopping"]) < full
    assert {one.vae.seed for several in tried.values() for one in several} == {0}
    (best,) = {point.run.candidates for point in experiment.points if point.series == ON_DMAAPX}
    assert [one.vae.regularisation for one in best] == [one.vae.regularisation for s in tried.values() for one in s]
    for several in tried.values():
        for one in several:
            remedy, strength = remedy_of(one.vae, full)
            assert one in tried[remedy]
            assert strength in values_of(remedy, experiment.profile)
    assert remedy_of(experiment.points[0].vae, full)[0] == ""


# --- what is shown ------------------------------------------------------------------------------------------------


def comparison(methods=("normal", "dmaapx", "aug_naive", "aug_tuned", *REMEDIES, ON_DMAAPX), best="dmaapx", seeds=3):
    rows = []
    for place, method in enumerate(methods):
        for seed in range(seeds):
            row = {"dataset": "fashion_mnist", "likelihood": "gaussian", "method": method, "seed": seed}
            level = 100.0 if method == best else -10.0 * place - (500 if method == "normal" else 0)
            numbers = {"elbo_train": level + 50, "elbo_test": level + seed, "generalization_gap": 50.0 - level}
            numbers |= {"amortization_gap": 60.0 - level + seed, "robustness_gap": 0.3 - level / 1e4 + seed / 1e5}
            numbers |= {f"{name}_se": 1.0 for name in numbers}
            chosen = {"remedy": method if method in REMEDIES else "dropout" if method == ON_DMAAPX else ""}
            chosen |= {"strength": 0.1 if chosen["remedy"] else math.nan, "at_edge": method == "dropout"}
            rows.append(row | numbers | chosen | {"n_train": 20, "n_test": 10, "source": "x", "key": "k"})
    return pd.DataFrame(rows)


def tuning():
    places = {"dataset": "fashion_mnist", "likelihood": "gaussian", "validation_images": 9}
    rows = [
        {"method": method, "remedy": remedy, "strength": strength, "elbo_validation": -100 * strength - 10 * level}
        for level, method in enumerate(("normal", "dmaapx"))
        for remedy in REMEDIES
        for strength in (0.1, 0.2, 0.5)
    ]
    rows += [{"method": m, "remedy": "", "strength": math.nan, "elbo_validation": -30.0} for m in ("normal", "dmaapx")]
    return pd.DataFrame([places | row for row in rows])


def test_the_figure_has_every_method_with_its_number_and_the_table_says_what_was_chosen():
    figure = regularisers_figure(comparison(), tuning(), title_note="x")
    told = figure.words()
    for name in ("Weight decay", "KL warm-up", "Aug.Naive", "DMaaPx + dropout"):
        assert told.count(f"{name} ") >= 4
    rings = [line for ax in figure.axes[4:] for line in ax.lines if line.get_markersize() == 10]
    assert len(rings) == 2 * len(REMEDIES)
    assert {float(line.get_xdata()[0]) for line in rings} == {0.1}  # the highest validation ELBO
    page = regularisers_table(comparison()).to_html()
    assert "0.1 (end of its grid)" in page
    assert "dropout 0.1" in page


def verdict(name, found):
    rows = evaluate_claims(found, "laptop")
    return next(row for row in rows if row["id"] == f"{name}/fashion_mnist/gaussian" and row["evidence"] == OURS)


def test_claims_on_regularisers_follow_the_numbers():
    as_expected = {"regularisers": comparison()}
    for name in ("cheap-elbo", "cheap-g", "cheap-a", "cheap-r", "cheap-helps", "cheap-aug"):
        assert verdict(name, as_expected)["verdict"] == "supported", name
    assert verdict("cheap-adds", as_expected)["verdict"] == "contradicted"
    assert verdict("cheap-little", as_expected)["verdict"] == "supported"
    other = {"regularisers": comparison(best="consistency")}
    for name in ("cheap-elbo", "cheap-g", "cheap-a", "cheap-r", "cheap-aug"):
        assert verdict(name, other)["verdict"] == "contradicted", name


# --- refinement ---------------------------------------------------------------------------------------------------


def test_refinement_ends_at_the_amortization_gaps_own_optimum_and_begins_at_the_encoder(twins):
    experiment = refinement("smoke", twins[0], overrides=TINY | {"refinement_steps": [5, 20, 50], "n_train": 30})
    (point,) = (point for point in experiment.points if point.series == "normal")
    measured = Gaps(vae=point.run.vae, **{n: TINY[n] for n in TINY if n.startswith(("amortization", "attack"))})
    run([point.run, measured], workers=0)
    table = refinement_tables(experiment._replace(points=[point]), Store())["refinement"].set_index("steps")
    assert list(table.index) == [0, 5, 20]  # 50 lie beyond amortization_steps
    last = curve(measured, Store()).query("effective_epoch == 3").set_index("quantity")["value"]
    assert table.loc[20, "elbo_test"] == last["elbo_star_test"]
    assert table.loc[20, "gain"] == last["amortization_gap"]
    assert table.loc[0, "elbo_test"] == last["elbo_test_subset"]
    assert table.loc[0, ["gain", "share", "seconds"]].tolist() == [0, 0, 0]
    assert table.loc[20, "share"] == 1
    assert (table["seconds"] >= 0).all()
    assert 0 < table.loc[5, "gain"] <= table.loc[20, "gain"]


def test_refinement_needs_a_number_of_steps_that_fits(twins):
    with pytest.raises(VaelibError, match="refinement_steps begins beyond amortization_steps = 20"):
        refinement("smoke", twins[0], overrides=TINY | {"refinement_steps": [50]})


def test_the_price_of_refinement_grows_with_its_steps():
    vae = VAERun(data=Data(name="x", n_train=100, n_test=100, label="x", digest="0"))
    few, many = (work(Refinement(vae=vae, steps=steps, images=10)).flops for steps in ((1, 2), (10, 20)))
    assert many == 10 * few


def refined(levels):
    """Return a table: by method, its ELBO without a step, and what all steps add along 1 − 1 / (1 + steps)."""
    rows = []
    for method, (first, gain) in levels.items():
        for seed in range(3):
            for steps in (0, 1, 5, 10, 20, 50):
                share = 1 - 1 / (1 + steps)
                row = {
                    "dataset": "fashion_mnist",
                    "likelihood": "gaussian",
                    "method": method,
                    "seed": seed,
                    "steps": steps,
                }
                row |= {"elbo_test": first + gain * share + 0.1 * seed, "elbo_test_se": 1.0, "seconds": 0.001 * steps}
                row |= {"share": share + 0.001 * (method == "dmaapx") * (1 + 0.1 * seed) * (steps > 0)}
                rows.append(row | {"n_train": 20, "n_test": 10, "source": "x", "key": "k"})
    return pd.DataFrame(rows)


LEVELS = {"normal": (-500.0, 100.0), "dmaapx": (-300.0, 50.0), "aug_tuned": (-350.0, 90.0), "aug_naive": (-340.0, 80.0)}


def test_claims_on_refinement_follow_the_numbers():
    table = {"refinement": refined(LEVELS)}
    for name in ("refine-first", "refine-normal", "refine-aug", "refine-fast"):
        assert verdict(name, table)["verdict"] == "supported", name
    other = {"refinement": refined(LEVELS | {"normal": (-500.0, 400.0), "aug_naive": (-400.0, 80.0)})}
    for name in ("refine-first", "refine-normal", "refine-aug"):
        assert verdict(name, other)["verdict"] == "contradicted", name
    few = {"refinement": refined(LEVELS).query("steps < 10")}
    assert "needs 50 steps in refinement_steps" in verdict("refine-normal", few)["note"]


def test_steps_to_reach_a_target():
    found = steps_to_reach(refined(LEVELS), -300.0).set_index("method")
    assert math.isnan(found.loc["normal", "steps"])  # -500 + 100 is the most that it can have
    assert found.loc["dmaapx", "steps"] == 0
    assert 1 < found.loc["aug_tuned", "steps"] < 5  # -350 + 90 s/(1+s) is -300 at s = 1.25
    assert found.loc["aug_naive", "seconds"] == pytest.approx(0.001, abs=0.0005)
