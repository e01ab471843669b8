"""The teacher's samples: two-sample tests and their null, the audit's arithmetic, stages, tables, figures, claims."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.test_quality import stripes
from tests.test_report import boxes
from vaelib.errors import VaelibError
from vaelib.files import read_json, write_array
from vaelib.report.claims import OURS, PAPER, evaluate_claims
from vaelib.runs import Bank, Store
from vaelib.runs.cost.price import cost
from vaelib.runs.stages import make
from vaelib.samplers.bank import shard_path
from vaelib.studies.sample_quality import figures as sheet_plots
from vaelib.studies.sample_quality import pages as sheet_pages
from vaelib.studies.sample_quality.claims import paper_c2st
from vaelib.studies.sample_quality.runs import teacher_sheet
from vaelib.studies.sample_quality.stages import C2ST, SampleElbo
from vaelib.studies.sample_quality.tables import quality_tables
from vaelib.tasks import audit, c2st
from vaelib.tasks.classifier import FitState, SmallClassifier, fit


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


# --- the two-sample test ----------------------------------------------------------------------------------------------


def test_the_null_is_that_of_all_permutations():
    called = torch.rand(120, generator=torch.Generator().manual_seed(1)) < torch.tensor([0.6, 0.45]).repeat_interleave(
        60
    )
    found = c2st.permutation_test(called)
    truth = torch.arange(2).flip(0).repeat_interleave(60) == 1
    assert found.accuracy == pytest.approx(float((called == truth).float().mean()))
    g = torch.Generator().manual_seed(2)
    drawn = torch.stack([(called == truth[torch.randperm(120, generator=g)]).double().mean() for _ in range(8000)])
    assert found.p_value == pytest.approx(float((drawn >= found.accuracy - 1e-9).double().mean()), abs=0.015)
    low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert (found.null_low, found.null_high) == pytest.approx((low, high), abs=0.02)
    assert drawn.mean() == pytest.approx(0.5, abs=0.003)


def test_a_perfect_and_a_blind_network():
    perfect = c2st.permutation_test(torch.arange(2).flip(0).repeat_interleave(50) == 1)
    assert perfect.accuracy == 1
    assert perfect.p_value < 1e-20
    blind = c2st.permutation_test(torch.ones(100, dtype=torch.bool))
    assert blind == (0.5, 0.5, 0.5, 1.0, 50)


def outcome(real: torch.Tensor, other: torch.Tensor, seed: int) -> c2st.C2ST:
    torch.manual_seed(seed)
    network = SmallClassifier(1, 2, width=4)
    (a, held_a), (b, held_b) = (c2st.split_sets(x, 150, 150, seed, name) for x, name in ((real, "a"), (other, "b")))
    images, labels = c2st.labelled(a, b)
    for _ in fit(FitState(network), images, labels, epochs=3, batch_size=32, lr=0.02, decay=True, seed=seed):
        pass
    return c2st.two_sample_test(network, held_a, held_b)


def test_two_halves_of_real_images_are_a_coin_and_blurred_ones_are_not():
    found = [outcome(stripes(300, seed)[0], stripes(300, seed + 10)[0], seed) for seed in range(3)]
    assert np.mean([one.accuracy for one in found]) == pytest.approx(0.5, abs=0.06)
    assert min(one.p_value for one in found) > 0.005
    blurred = torch.nn.functional.avg_pool2d(stripes(300, 10)[0].float(), 3, 1, 1).to(torch.uint8)
    told = outcome(stripes(300)[0], blurred, 0)
    assert told.accuracy > 0.8
    assert told.accuracy > told.null_high
    assert told.p_value < 1e-6


def test_parts_of_a_pool_are_disjoint_and_of_the_seed():
    pool = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1)
    a, b = c2st.split_sets(pool, 25, 15, 0, "x")
    assert sorted(torch.cat([a, b]).flatten().tolist()) == list(range(40))
    assert torch.equal(a, c2st.split_sets(pool, 25, 15, 0, "x")[0])
    assert not torch.equal(a, c2st.split_sets(pool, 25, 15, 1, "x")[0])


# --- the audit --------------------------------------------------------------------------------------------------------


def test_planted_copies_and_duplicates_are_found():
    train, test, samples = draws(40, 1, 8, 8, seed=1), draws(50, 1, 8, 8, seed=2), draws(60, 1, 8, 8, seed=3)
    samples[:6] = train[10:16]
    samples[6:9] = test[20:23]
    samples[20:22] = samples[30]
    found = audit.neighbours(samples, train, test)
    assert found.train_index[:6].tolist() == list(range(10, 16))
    assert found.test_index[6:9].tolist() == [20, 21, 22]
    told = audit.summary(found)
    assert told["copies_train"] == pytest.approx(6 / 60)
    assert told["copies_test"] == pytest.approx(3 / 60)
    assert told["duplicates"] == pytest.approx(3 / 50)  # searched among as many as there are test images
    assert told["too_near_train"] >= 6 / 60


def test_memory_leans_to_the_training_images_and_new_images_do_not():
    train, test, new = (stripes(n, seed)[0] for n, seed in ((150, 1), (300, 2), (150, 3)))
    found = audit.neighbours(new, train, test)
    assert (found.leaning, found.leaning_reference) == pytest.approx((0.5, 0.5), abs=0.15)
    noisy = (train.int() + draws(*train.shape).int() // 16 - 8).clamp(0, 255).to(torch.uint8)
    assert audit.neighbours(noisy, train, test).leaning > 0.9
    assert audit.summary(audit.neighbours(train, train, test))["too_near_train"] == 1
    assert audit.neighbours(train, train, train).leaning == 0.5  # ties count half


def test_shares():
    assert audit.class_shares(torch.tensor([0, 0, 2, 2]), 4) == [0.5, 0, 0.5, 0]
    assert audit.total_variation([0.5, 0, 0.5, 0], [0.25, 0.25, 0.25, 0.25]) == 0.5
    assert audit.share_of(torch.tensor([0, 0, 1, 255], dtype=torch.uint8).view(1, 1, 2, 2), 0) == 0.5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: c2st.permutation_test(torch.ones(3, dtype=torch.bool)), "as many real as synthetic"),
        (lambda: c2st.labelled(draws(4, 1, 8, 8), draws(5, 1, 8, 8)), "as many of one as of the other"),
        (lambda: c2st.labelled(draws(4, 1, 8, 8), draws(4, 3, 8, 8)), "with the same channels"),
        (lambda: c2st.labelled(draws(4, 1, 8, 8) / 255, draws(4, 1, 8, 8)), r"bytes \(0 to 255\)"),
        (lambda: c2st.split_sets(draws(9, 1, 8, 8), 5, 5, 0, "x"), "lower c2st_images or c2st_tested"),
        (lambda: audit.neighbours(draws(4, 1, 8, 8), draws(4, 3, 8, 8), draws(4, 1, 8, 8)), "images of one shape"),
        (lambda: audit.neighbours(draws(1, 1, 8, 8), draws(4, 1, 8, 8), draws(4, 1, 8, 8)), "give more images"),
    ],
)
def test_mistakes_are_told_in_one_line(call, words):
    with pytest.raises(VaelibError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


# --- stages, experiment, tables ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def striped(tmp_path_factory):
    images, labels = stripes(400)
    path = tmp_path_factory.mktemp("study") / "striped.npz"
    np.savez(path, images=images[:, 0].numpy(), labels=labels.numpy())
    return str(path)


SETTINGS = {
    "n_train": 100,
    "n_test": 80,
    "k": 2,
    "c2st_images": 60,
    "c2st_tested": 40,
    "classifier_images": 200,
    "classifier_seen": 2000,
    "c2st_epochs": 2,
}


def filled(store: Store, bank: Bank, images: torch.Tensor) -> None:
    """Put a bank of given images (and a trace of its teacher) into the store."""
    with store.making(bank.teacher) as folder:
        if folder is not None:
            (folder / "weights.safetensors").touch()
    with store.making(bank) as folder:
        for shard, part in enumerate(images.split(bank.shard_size)):
            write_array(shard_path(folder, shard), part.numpy())


@pytest.fixture(scope="module")
def made(striped, tmp_path_factory):
    """Return the study of banks that hold blurred stripes (the half-taught teacher) and new stripes."""
    study = teacher_sheet("smoke", striped, overrides=SETTINGS)
    store = Store(tmp_path_factory.mktemp("store"))
    banks = {point.x: point.run.bank for point in study.points if point.series == "teacher"}
    make(study.data, store, "cpu")
    new = stripes(200, 5)[0]
    filled(store, banks[100.0], new)
    filled(store, banks[50.0], torch.nn.functional.avg_pool2d(new.float(), 5, 1, 2).to(torch.uint8))
    make(study.points[0].run.classifier, store, "cpu")
    make(study.points[1].run.vae, store, "cpu")
    for run in study.runs:
        make(run, store, "cpu")
    return SimpleNamespace(study=study, store=store, tables=quality_tables(study, store), banks=banks)


def test_the_sheet_stands_on_the_sweeps_banks(striped):
    from vaelib.studies.sweeps.runs import teacher_fractions

    study, sweep = (one("smoke", striped, overrides=SETTINGS) for one in (teacher_sheet, teacher_fractions))
    swept = {point.vae.bank.key for point in sweep.points if point.vae.bank}
    assert {point.run.bank.key for point in study.points if point.series == "teacher"} == swept
    assert study.data == sweep.data
    assert all(cost(run) > 0 for run in study.runs)
    tests = [point.run for point in study.points if isinstance(point.run, C2ST)]
    assert {run.images for run in tests if run.bank} == {60}
    assert {run.images for run in tests if not run.bank} == {120}  # two halves


def test_without_enough_images_beside_d_train_it_is_learned_from(striped):
    study = teacher_sheet("smoke", striped, overrides=SETTINGS | {"n_train": 300})
    assert {point.run.images for point in study.points if isinstance(point.run, C2ST)} == {0}
    assert study.points[0].run.classifier.images == 0


def test_the_tables_tell_a_good_teacher_from_a_bad_one(made):
    found = made.tables["c2st"]
    assert len(found) == 2 * 3
    assert set(found["series"]) == {"real", "teacher"}
    assert found["accuracy"].between(0, 1).all()
    assert (found["null_low"] <= 0.5).all()
    assert (found["null_high"] >= 0.5).all()
    values = made.tables["teacher_sheet"].set_index(["images", "quantity"])["value"]
    fids = [values[kind, "proxy_fid"] for kind in ("real", "teacher", "noise")]
    assert fids[2] > max(fids[:2])
    assert values["teacher", "copies_train"] == 0
    assert sum(values[kind, f"class_{i}"] for kind in ("real", "teacher") for i in range(4)) == pytest.approx(2)
    assert values["real", "classifier_accuracy"] > 0.9
    assert values["real", "elbo_median"] == pytest.approx(values["real", "elbo"], rel=0.5)
    cost = made.tables["sampling_cost"].set_index("k")
    assert cost.loc[1000, "images"] == 100_000
    assert cost.loc[1000, "bytes"] == 100_000 * 1024
    assert cost.loc[1000, "seconds"] == pytest.approx(100 * cost.loc[10, "seconds"])


def test_samples_with_noise_that_no_eye_sees_have_a_lower_elbo(made):
    judged = made.study.points[1].run
    noisy = judged.model_copy(update={"bank": judged.bank.model_copy(update={"seed": 1})})
    images = stripes(200, 5)[0].int()
    noise = torch.randint(-8, 9, images.shape, generator=torch.Generator().manual_seed(0))
    filled(made.store, noisy.bank, (images + noise).clamp(0, 255).to(torch.uint8))
    make(noisy, made.store, "cpu")
    clean, with_noise = (
        {(row["images"], row["quantity"]): row["value"] for row in read_json(made.store.require(run) / "measured.json")}
        for run in (judged, noisy)
    )
    assert with_noise["teacher", "elbo"] < clean["teacher", "elbo"] - 10
    assert with_noise["real", "elbo"] == clean["real", "elbo"]


def test_samples_are_judged_by_normal_training_alone(made):
    judged = made.study.points[1].run
    naive = judged.vae.model_dump() | {"method": "aug_naive"}
    with pytest.raises(ValueError, match="judged by normal training, not by method aug_naive"):
        SampleElbo(vae=naive, bank=judged.bank)


def test_no_image_is_in_two_of_the_four_sets(made):
    from vaelib.runs.stages.context import Context
    from vaelib.studies.sample_quality import stages as stage

    context = Context(made.store, made.store.root, torch.device("cpu"), lambda *_: None)
    for point in made.study.points:
        if isinstance(point.run, C2ST):
            (a, b), (c, d) = stage._two_samples(point.run, context)
            rows = torch.cat([a, b, c, d]).flatten(1)
            assert len(a) == len(c)
            assert len(b) == len(d) == point.run.tested
            assert len(rows.unique(dim=0)) == len(rows)


# --- figures and claims -----------------------------------------------------------------------------------------------


def c2st_rows(accuracy: dict[float, float], seeds: int = 3) -> pd.DataFrame:
    about = {"dataset": "cifar10", "likelihood": "mol", "null_low": 0.47, "null_high": 0.53, "n_train": 500}
    jitter = np.random.default_rng(0)
    rows = [
        about | {"series": "teacher", "x": x, "seed": seed, "accuracy": y + 0.004 * jitter.standard_normal()}
        for x, y in accuracy.items()
        for seed in range(seeds)
    ]
    rows += [about | {"series": "real", "x": np.nan, "seed": seed, "accuracy": 0.5} for seed in range(seeds)]
    return pd.DataFrame(rows).assign(key="k", source="CIFAR-10")


def check_boxes(figure):
    found = boxes(figure)
    for (one, a), (two, b) in itertools.combinations(found, 2):
        assert not a.shrunk(0.94, 0.94).overlaps(b), (one, two)
    width, height = figure.bbox.size
    assert all(b.x0 >= -1 and b.y0 >= -1 and b.x1 <= width + 1 and b.y1 <= height + 1 for _, b in found)


def test_figures_draw_what_the_tables_hold_and_no_text_overlaps(made):
    frame = {"title_note": "Toy", "footer": "profile smoke · " * 12, "watermark": None}
    figure = sheet_plots.c2st_figure(made.tables["c2st"], paper=paper_c2st(), **frame)
    check_boxes(figure)
    values = made.tables["c2st"]
    means = values[values["series"] == "teacher"].groupby("x")["accuracy"].mean()
    drawn = [line.get_ydata() for line in figure.axes[0].lines]
    assert any(len(y) == len(means) and np.allclose(y, means) for y in drawn)
    distances = {"real": np.linspace(1, 9, 80), "teacher": np.linspace(2, 9, 200)}
    check_boxes(sheet_plots.audit_figure(made.tables["teacher_sheet"], distances, **frame))
    images = torch.rand(24, 1, 32, 32)
    strip = dict.fromkeys(sheet_plots.STRIP, images[:12])
    numbers = {name: np.linspace(3, 4, 12) for name in sheet_plots.STRIP[1:]}
    check_boxes(sheet_plots.samples_figure(images, images, strip, numbers, **frame))
    check_boxes(sheet_plots.samples_figure(images[:8], images[:8], strip, numbers, **frame))


def test_teachers_of_shares_that_are_not_whole_have_a_row_each():
    page = sheet_pages.c2st_summary({"c2st": c2st_rows({10.2: 0.9, 10.4: 0.8, 50: 0.7}).assign(p_value=0.5)}).to_html()
    assert [f"teacher of {x} % of D_train" in page for x in ("10.2", "10.4", "50")] == [True] * 3


def verdicts(accuracy: dict[float, float], seeds: int = 3) -> dict[str, str]:
    rows = evaluate_claims({"c2st": c2st_rows(accuracy, seeds)}, "laptop")
    return {r["id"].split("/")[0]: r["verdict"] for r in rows if r["evidence"] == OURS and r["id"].startswith("c2st")}


def test_claims_follow_the_numbers():
    names = ("c2st-above", "c2st-trend", "c2st-all")
    assert [verdicts({10: 0.9, 50: 0.8, 100: 0.7})[name] for name in names] == ["supported"] * 3
    assert [verdicts({10: 0.7, 50: 0.8, 100: 0.9})[name] for name in names] == ["supported", *["contradicted"] * 2]
    assert verdicts({10: 0.9, 100: 0.4})["c2st-above"] == "contradicted"
    assert verdicts({100: 0.9})["c2st-trend"] == "not_testable"
    rows = [r for r in evaluate_claims({}, "laptop") if r["evidence"] == PAPER and r["id"].startswith("c2st")]
    assert [row["verdict"] for row in rows] == ["supported"] * 3
    assert rows[1]["paper_value"] == pytest.approx(0.94 - 0.585)
