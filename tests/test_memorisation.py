"""Per-image memorisation: the estimator's properties, folds, an overfitting VAE, an interrupted measurement, the claims."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from vaelib import gaps
from vaelib.errors import VaelibError
from vaelib.gaps.memorisation import memorisation
from vaelib.report.claims import evaluate_claims
from vaelib.runs import Store, VAERun, run
from vaelib.runs.engine import all_artifacts, missing
from vaelib.runs.profiles import load_profile
from vaelib.runs.stages import make, resolve_data
from vaelib.runs.store import TENSORS, load_array, load_tensors
from vaelib.studies.image_memorisation import stages
from vaelib.studies.image_memorisation.figures import extremes, memorisation_figure, over_repeats
from vaelib.studies.image_memorisation.pages import describe, summary
from vaelib.studies.image_memorisation.runs import image_memorisation
from vaelib.studies.image_memorisation.stages import Fold

# --- the estimator ----------------------------------------------------------------------------------------------------


def folds_of(n, k):
    return torch.stack([torch.arange(n) % k == fold for fold in range(k)])


def test_a_model_that_ignores_its_images_remembers_none():
    typical = torch.randn(30, generator=torch.Generator().manual_seed(0))
    found = memorisation(typical.expand(5, 30), folds_of(30, 5))
    torch.testing.assert_close(found.score, torch.zeros(30, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.inside, typical.double())


def test_what_a_model_adds_to_its_own_images_is_what_is_found():
    bonus = torch.rand(30, generator=torch.Generator().manual_seed(1)) * 100
    out = folds_of(30, 5)
    log_p = torch.where(out, 0.0, bonus)
    torch.testing.assert_close(memorisation(log_p, out).score, bonus.double())
    shift = torch.randn(30, generator=torch.Generator().manual_seed(2)) * 1e3  # an image that is hard for all models
    torch.testing.assert_close(memorisation(log_p + shift, out).score, bonus.double(), atol=1e-3, rtol=0)
    order = torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(memorisation(log_p[order], out[order]).score, bonus.double())


def test_with_as_many_folds_as_images_it_is_leave_one_out():
    """A density whose answer is known: the Gaussian at the training set's mean. Its M is that of the mean without x_i."""
    x, n = torch.randn(12, generator=torch.Generator().manual_seed(3), dtype=torch.float64), 12
    means = (x.sum() - x) / (n - 1)
    log_p = -0.5 * (x[None, :] - means[:, None]).square()
    found = memorisation(log_p, torch.eye(n, dtype=torch.bool)).score
    for i in range(n):
        others = [j for j in range(n) if j != i]
        inside = np.mean([-0.5 * float(x[i] - means[j]) ** 2 for j in others])
        assert float(found[i]) == pytest.approx(inside + 0.5 * float(x[i] - means[i]) ** 2)
    assert float(found.mean()) > 0  # each image pulls the mean towards itself


def test_images_without_both_kinds_of_models_are_refused():
    with pytest.raises(VaelibError, match="2 images were left out of none of the models, or of all"):
        memorisation(torch.zeros(2, 3), torch.tensor([[True, True, False], [False, True, False]]))
    with pytest.raises(VaelibError, match="both must be"):
        memorisation(torch.zeros(2, 3), torch.zeros(3, 2, dtype=torch.bool))


# --- folds ------------------------------------------------------------------------------------------------------------


def test_an_image_that_one_model_cannot_give_counts_on_its_own_side_alone():
    log_p, left_out = torch.tensor([[-math.inf], [5.0]]), torch.tensor([[True], [False]])
    found = memorisation(log_p, left_out)
    assert (found.score.item(), memorisation(log_p, ~left_out).score.item()) == (math.inf, -math.inf)


def test_every_image_is_left_out_once(toy, tmp_path):
    data = resolve_data(toy, 33, 10)
    folds = [Fold.of(data, 4, fold) for fold in range(4)]
    assert torch.equal(torch.stack([fold.left_out() for fold in folds]).sum(0), torch.ones(33, dtype=torch.int64))
    assert [(fold.n_train, fold.n_test) for fold in folds] == [(24, 9), (25, 8), (25, 8), (25, 8)]
    assert len({fold.key for fold in (*folds, Fold.of(data, 4, 0, repeat=1), Fold.of(data, 5, 0), data)}) == 7
    assert not torch.equal(folds[0].left_out(), Fold.of(data, 4, 0, repeat=1).left_out())
    with pytest.raises(ValueError, match="there is no such fold"):
        Fold.of(data, 4, 4)
    store = Store(tmp_path / "store")
    run([folds[1]], store=store, workers=0)
    whole, part = (
        {
            name: load_array(store.require(one) / f"{name}.npy")
            for name in ("train", "train_labels", "test", "test_labels")
        }
        for one in (data, folds[1])
    )
    out = folds[1].left_out().numpy()
    for kind in ("", "_labels"):
        assert np.array_equal(part[f"train{kind}"], whole[f"train{kind}"][~out])
        assert np.array_equal(part[f"test{kind}"], whole[f"train{kind}"][out])


def test_each_fold_of_dmaapx_has_a_teacher_that_never_saw_it(toy):
    experiment = image_memorisation("smoke", toy, "gaussian", {"n_train": 40, "n_test": 20, "memorisation_folds": 3})
    taught = [point for point in experiment.points if point.series == "dmaapx"]
    assert len(experiment.points) == 6
    for point in taught:
        fold = point.vae.data
        assert point.vae.bank.teacher.data == fold
        assert point.vae.bank.size == load_profile("smoke", "memorisation").k * fold.n_train
        assert experiment.data not in point.vae.upstream()
    assert len({point.vae.bank.teacher.key for point in taught}) == 3
    again = {"n_train": 40, "n_test": 20, "memorisation_folds": 3, "memorisation_repeats": 2}
    repeated = [point.vae for point in image_memorisation("smoke", toy, "gaussian", again).points if point.vae.bank]
    seeds = [(vae.seed, vae.bank.seed, vae.bank.teacher.seed) for vae in repeated]
    assert seeds == [(0, 0, 0)] * 3 + [(1, 1, 1)] * 3
    for vae in repeated:  # a manifest names the fold, and is read back as what it was
        told = vae.model_dump(mode="json")
        assert told["data"]["fold"] == vae.data.fold
        assert VAERun.model_validate(told).key == vae.key
    alone = image_memorisation(
        "smoke",
        toy,
        "gaussian",
        {"n_train": 40, "n_test": 20, "memorisation_folds": 3, "memorisation_methods": ["normal"]},
    )
    assert not any(one.kind in ("teacher", "bank") for one in all_artifacts(alone.runs))
    assert {point.run.key for point in alone.points} < {point.run.key for point in experiment.points}


# --- a VAE that overfits ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory):
    """Return the experiment of VAEs that see 30 noisy images 150 times, finished, with its tables and store."""
    folder, g = tmp_path_factory.mktemp("memory"), np.random.default_rng(0)
    labels = np.arange(50) % 2
    images = (g.random((50, 32, 32)) * 120 + 100 * labels[:, None, None]).astype(np.uint8)
    np.savez(folder / "noisy.npz", images=images, labels=labels)
    store = Store(folder / "store")
    asked = {
        "n_train": 30, "n_test": 20, "epochs": 150, "batch_size": 15, "memorisation_methods": ["normal"], "hidden": 128,
        "amortization_steps": 60, "memorisation_draws": 50, "amp": False,
    }  # fmt: skip
    experiment = image_memorisation("smoke", str(folder / "noisy.npz"), "gaussian", asked)
    run(experiment.runs, store=store, workers=0)
    return experiment, experiment.tables(experiment, store), store


def test_it_remembers_the_noise_of_its_images(overfitted):
    experiment, tables, store = overfitted
    table = tables["image_memorisation"]
    assert len(table) == experiment.data.n_train
    assert (table["memorisation"] > 0).mean() > 0.9
    np.testing.assert_allclose(table["inside"] - table["outside"], table["memorisation"], atol=2e-3)
    labels = load_array(store.require(experiment.data) / "train_labels.npy")
    assert table["label"].tolist() == labels.tolist()
    folds = tables["memorisation_folds"]
    assert folds["key"].tolist() == [point.run.key for point in experiment.points]
    assert (folds["log_p_inside"] > folds["log_p_outside"]).all()
    assert missing(experiment.runs, store) == []


def test_the_bounds_are_in_order(overfitted):
    """The encoder's IWAE lies above its ELBO, and the best posterior's above the encoder's, on average."""
    experiment, _, store = overfitted
    for point in experiment.points:
        found = load_tensors(store.require(point.run) / TENSORS)[0]
        assert all(len(values) == experiment.data.n_train for values in found.values())
        assert found["elbo"].mean() < found["encoder"].mean() <= found["log_p"].mean()


def test_an_interrupted_measurement_goes_on_with_the_same_numbers(overfitted, monkeypatch):
    experiment, _, store = overfitted
    settings = experiment.points[0].run.model_copy(update={"steps": 20, "draws": 10})
    monkeypatch.setattr(stages, "AT_ONCE", 10)
    monkeypatch.setenv("VAELIB_CHECKPOINT_SECONDS", "0")
    calls, own = [], gaps.optimize_posterior

    def stopped(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return own(*args, **options)

    monkeypatch.setattr(stages.gaps, "optimize_posterior", stopped)
    with pytest.raises(KeyboardInterrupt):
        make(settings, store)
    again = load_tensors(make(settings, store) / TENSORS)[0]
    assert len(calls) == 4  # two batches, the one that was stopped, and that one again
    shutil.rmtree(store.folder(settings))
    fresh = load_tensors(make(settings, store) / TENSORS)[0]
    assert all(torch.equal(again[name], fresh[name]) for name in stages.SCORES)


def test_the_figure_shows_the_extremes(overfitted):
    experiment, tables, store = overfitted
    table = tables["image_memorisation"]
    scores = over_repeats(table)
    found = extremes(scores, "normal", 3)["memorisation"].tolist()
    ordered = sorted(table["memorisation"], reverse=True)
    assert found == pytest.approx(ordered[:3] + ordered[-3:])
    images = torch.from_numpy(load_array(store.require(experiment.data) / "train.npy").copy()).float() / 255
    figure = memorisation_figure(table, images, title_note="")
    assert "Normal training" in figure.words()
    both = pd.concat([table, table.assign(method="dmaapx", memorisation=-table["memorisation"])])
    assert "rank correlation −1.00" in memorisation_figure(both, images, title_note="").words()
    assert "Normal training" in summary(tables).to_html()
    assert "30 training images in 2 folds" in describe(experiment)


# --- claims -----------------------------------------------------------------------------------------------------------


def judged(**scores):
    """Return the verdicts on tables in which a method's images have the M that ``scores`` lists."""
    pieces = []
    for method, (best, encoder) in scores.items():
        rows = {
            "image": range(len(best)),
            "memorisation": best,
            "memorisation_by_encoder": encoder,
            "method": method,
            "seed": 0,
        }
        pieces.append(pd.DataFrame(rows))
    about = {"dataset": "fashion_mnist", "likelihood": "gaussian", "n_train": 100, "source": "s"}
    images = pd.concat(pieces).assign(**about)
    folds = pd.DataFrame([{"method": method, "seed": 0, "key": method} for method in scores]).assign(**about)
    rows = evaluate_claims({"image_memorisation": images, "memorisation_folds": folds}, "laptop")
    return {row["id"].partition("/")[0]: row["verdict"] for row in rows if row["id"].startswith("memory-")}


def test_the_claims_say_what_they_mean():
    m = np.linspace(300, 900, 100)
    as_expected = judged(normal=(m, 2 * m), dmaapx=(m / 50, m / 50))
    assert set(as_expected.values()) == {"supported"}
    other = judged(normal=(m, m / 2), dmaapx=(-m[::-1] / 50, m))
    assert other == {
        "memory-normal": "supported", "memory-less": "supported", "memory-leak": "contradicted",
        "memory-alike": "supported", "memory-encoder": "contradicted",
    }  # fmt: skip
    assert judged(normal=(m, m), dmaapx=(m, m))["memory-less"] == "contradicted"
    assert judged(normal=(m, m), dmaapx=(m[::-1], m))["memory-alike"] == "contradicted"
    alone = judged(normal=(m, 2 * m))
    assert alone["memory-less"] == alone["memory-leak"] == alone["memory-alike"] == "not_testable"
