"""Downstream tasks: corrupted images and measurements as artifacts, their tables, figures, Table 11 and claims."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from tests.test_report import boxes
from vaelib import tasks
from vaelib.data.corruptions import CORRUPTIONS, available, corrupt
from vaelib.data.sources import CIFAR_EXACT
from vaelib.errors import VaelibError
from vaelib.gaps import stratified
from vaelib.models import FullyConnectedVAE
from vaelib.report.claims import OURS, PAPER, evaluate_claims
from vaelib.report.html import write_report
from vaelib.report.pictures import mosaic
from vaelib.runs import (
    Experiment,
    Network,
    Point,
    Store,
    VAERun,
    load_classifier,
    load_profile,
    load_vae,
    resolve_data,
    write_tables,
)
from vaelib.runs.cost.price import cost
from vaelib.runs.cost.work import work
from vaelib.runs.stages import make
from vaelib.runs.stages.classifier import Classifier
from vaelib.runs.tables import measured_tensors
from vaelib.studies.downstream import figures as task_plots
from vaelib.studies.downstream import pages as task_figures
from vaelib.studies.downstream import stages as stage
from vaelib.studies.downstream.paper import TASKS, paper_changes, paper_table_11, table_11
from vaelib.studies.downstream.runs import corrupted_for, downstream
from vaelib.studies.downstream.stages import Corrupted, Downstream, Pictures
from vaelib.studies.downstream.tables import downstream_tables
from vaelib.studies.three_gaps.runs import three_gaps
from vaelib.tasks import CLASSIFIERS, generate, overall, posterior_means, proxy_quality, psnr, representation_accuracy
from vaelib.training.distributions import METHODS

NAMES = ("fog", "contrast")


def archive(tmp_path, n=400, classes=3):
    """Return the path of grey images whose brightness tells the class, 80 of ``n`` = 400 in the test set."""
    draws, labels = np.random.default_rng(0), np.arange(n) % classes
    images = (draws.random((n, 32, 32)) * 90 + 70 * labels[:, None, None]).astype(np.uint8)
    path = tmp_path / f"toy{classes}.npz"
    np.savez(path, images=images, labels=labels)
    return str(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a store with one small VAE, its corrupted images and its measurement."""
    folder = tmp_path_factory.mktemp("downstream")
    data = resolve_data(archive(folder), 100)
    vae = VAERun(data=data, network=Network(latents=2, hidden=8), epochs=2, evaluations=(2,), snapshots=(2,))
    classifier = Classifier(data=data, width=2, images_seen=500)
    corrupted = Corrupted(data=data, images=60, names=NAMES)
    run = Downstream(vae=vae, corrupted=corrupted, classifier=classifier, samples=64)
    store = Store(folder / "store")
    for artifact in (data, vae, corrupted, classifier, run):
        make(artifact, store, "cpu")
    return SimpleNamespace(store=store, run=run, vae=vae, corrupted=run.corrupted, data=data)


def arrays(made, *names):
    folder = made.store.require(made.corrupted)
    return [np.load(folder / f"{name}.npy") for name in names]


def test_images_are_corrupted_once_and_as_the_library_corrupts_them(made):
    test, labels = (
        torch.from_numpy(np.load(made.store.require(made.data) / f"{n}.npy")) for n in ("test", "test_labels")
    )
    chosen = stratified(labels, 60)
    clean, kept, *found = arrays(made, "clean", "labels", *NAMES)
    assert np.array_equal(clean, test[chosen].numpy())
    assert np.array_equal(kept, labels[chosen].numpy())
    assert np.bincount(kept).tolist() == [20, 20, 20]
    for name, images in zip(NAMES, found, strict=True):
        assert images.dtype == np.uint8
        assert np.array_equal(images, corrupt(test[chosen], name, 5).numpy())


def measured(made):
    return json.loads((made.store.require(made.run) / "measured.json").read_text())


def test_the_measurement_is_what_the_tasks_say(made):
    rows = {(row["images"], row["quantity"]): row for row in measured(made)}
    assert len(rows) == (len(NAMES) + 2) * len(CLASSIFIERS) + 2 + 4
    vae, (labels, *sets) = load_vae(made.vae, made.store), arrays(made, "labels", "clean", *NAMES)
    means = [posterior_means(vae, torch.from_numpy(images)) for images in sets]
    for name, features in zip(("clean", *NAMES, "overall"), [*means, overall(means[1:])], strict=True):
        for classifier in CLASSIFIERS:
            row, share = rows[name, f"accuracy_{classifier}"], representation_accuracy(features, labels, classifier)
            assert row["value"] == share
            assert row["se"] == pytest.approx((share * (1 - share) / 12) ** 0.5)  # 12 of 60 are held out
    test = torch.from_numpy(np.load(made.store.require(made.data) / "test.npy"))
    for kind in ("sample", "mean"):
        assert rows["clean", f"psnr_{kind}"]["value"] == psnr(vae, test, kind)
    test_labels = torch.from_numpy(np.load(made.store.require(made.data) / "test_labels.npy"))
    network = load_classifier(made.run.classifier, made.store)
    found = proxy_quality(network, test[stratified(test_labels, 64)], generate(vae, 64))
    assert rows["clean", "proxy_fid"]["value"] == found.proxy_fid
    assert rows["clean", "proxy_is"]["value"] == found.proxy_is
    assert rows["clean", "proxy_recall"]["value"] == found.recall


def test_a_killed_measurement_goes_on_where_it_was(made, tmp_path, monkeypatch):
    again = made.run.model_copy(update={"seed": 1})
    calls, accuracy = [], tasks.representation_accuracy

    def dies(features, labels, classifier):
        calls.append(classifier)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return accuracy(features, labels, classifier)

    monkeypatch.setattr(tasks, "representation_accuracy", dies)
    with pytest.raises(KeyboardInterrupt):
        make(again, made.store, "cpu")
    make(again, made.store, "cpu")
    assert len(calls) == 10 + 8  # of four sets of images two were finished
    found = json.loads((made.store.require(again) / "measured.json").read_text())
    plain = [[row for row in rows if row["images"] in ("clean", *NAMES)] for rows in (found, measured(made))]
    (ours, straight) = ([row for row in rows if row["quantity"].startswith("accuracy")] for rows in plain)
    assert ours == straight  # what another seed changes is left out
    before = len(calls)
    make(again, made.store, "cpu")
    assert len(calls) == before


def test_pictures_are_those_of_a_direct_call(made):
    run = Pictures(vae=made.vae, images=3, samples=2)
    for _ in range(2):
        make(run, made.store, "cpu")
    assert work(run).flops > 0
    point = Point("normal", math.nan, run)
    experiment = Experiment("downstream", load_profile("smoke"), "toy", "gaussian", [], downstream_tables, also=[point])
    assert experiment.runs == [run]
    (found,) = measured_tensors(experiment, Pictures, made.store).values()
    folder, vae = made.store.require(made.data), load_vae(made.vae, made.store)
    test, labels = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("test", "test_labels"))
    x = test[stratified(labels, 3)].float() / 255
    assert torch.equal(found["x"], x)
    assert all(torch.equal(found[kind], tasks.reconstruct(vae, x, kind)) for kind in ("sample", "mean"))
    assert torch.equal(found["prior"], generate(vae, 2))


def test_published_corruptions_are_those_of_the_original_data_set_alone(made, monkeypatch):
    """The label that tells it may be reworded: it stands in one place (tests/test_data.py holds the data set to it)."""
    monkeypatch.setattr("vaelib.studies.downstream.runs.published", lambda root: True)
    cases = (
        ("cifar10", CIFAR_EXACT, True),
        ("cifar10", "CIFAR-10 JPEG copy (lossy)", False),
        ("mine", CIFAR_EXACT, False),
    )
    for name, label, official in cases:
        data = made.data.model_copy(update={"name": name, "label": label, "n_test": 60})
        assert corrupted_for(data, load_profile("smoke")).official is official


def test_published_images_are_taken_in_the_order_of_the_test_set(made, monkeypatch):
    """The files hold CIFAR-10's whole test set in its order; ours is a shuffled part of it."""
    data = made.data.model_copy(update={"n_test": 60})
    labels = torch.arange(90) % 3
    whole = torch.arange(90, dtype=torch.uint8)[:, None, None, None].expand(90, 1, 32, 32).contiguous()
    order = torch.from_numpy(stage.subset(labels.numpy(), 60, 0, "n_test"))
    assert not torch.equal(order, order.sort().values)
    exact = SimpleNamespace(test=whole, test_labels=labels, exact=True)
    monkeypatch.setattr(stage, "load_dataset", lambda *_, **__: exact)
    monkeypatch.setattr(stage, "load_official", lambda name, severity, root: 255 - whole)
    split = {"test": whole[order], "test_labels": labels[order]}
    settings = Corrupted(data=data, images=50, names=NAMES, official=True)
    with Store(made.store.root).making(settings) as folder:
        stage.make_corrupted(
            settings, SimpleNamespace(folder=folder, split=lambda _, name: split[name], report=lambda *_: None)
        )
    clean, fog = (np.load(made.store.folder(settings) / f"{name}.npy") for name in ("clean", "fog"))
    assert np.array_equal(fog, 255 - clean)
    exact.exact = False
    with pytest.raises(VaelibError, match="go with the original test set"):
        stage._published_order(settings, split["test"])


def test_fid_and_is_are_measured_with_inceptions_weights(made, tmp_path, monkeypatch):
    """The file is found in the data root; what is done with it has its own tests (test_quality)."""
    published = SimpleNamespace(fid=7.0, inception_score=3.0)
    (tmp_path / "inception.safetensors").write_bytes(b"weights")
    asked = []
    monkeypatch.setenv("VAELIB_DATA", str(tmp_path))
    monkeypatch.setattr(
        tasks, "load_inception", lambda path, sha256: asked.append((path, sha256)) or torch.nn.Identity()
    )
    monkeypatch.setattr(tasks, "inception_quality", lambda network, real, generated, seed: published)
    run = made.run.model_copy(update={"inception": "abc"})
    make(run, made.store, "cpu")
    rows = {
        row["quantity"]: row["value"] for row in json.loads((made.store.require(run) / "measured.json").read_text())
    }
    assert (rows["fid"], rows["inception_score"]) == (7.0, 3.0)
    assert asked == [(tmp_path / "inception.safetensors", "abc")]


def test_what_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr("vaelib.data.corruptions.weather.find_spec", lambda _: None)
    monkeypatch.setattr("vaelib.data.corruptions.find_spec", lambda _: None)
    assert set(CORRUPTIONS) - set(available(5)) == {"frost"}
    assert set(CORRUPTIONS) - set(available(3)) == {"frost", "spatter"}


# --- the experiment and its tables --------------------------------------------------------------------------------------


def test_the_vaes_are_those_of_the_three_gaps(tmp_path):
    path = archive(tmp_path)
    ours, theirs = (
        make_one("smoke", path, overrides={"n_train": 100, "n_test": 80}) for make_one in (downstream, three_gaps)
    )
    assert [point.vae.key for point in ours.points] == [point.vae.key for point in theirs.points]
    assert len({point.run.corrupted.key for point in ours.points}) == 1
    assert {point.vae.seed for point in ours.also} == {0}
    assert all(cost(artifact) > 0 for run in ours.runs[:1] for artifact in (run, run.corrupted))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "all images are of one class"),
        ({"overrides": {"n_test": 9}}, "9 test images are too few for classifiers; raise n_test to at least 10"),
        ({"overrides": {"inception_sha256": "0"}}, "80 samples are too few for FID"),
        ({"overrides": {"task_images": 10}}, "task_images = 10"),
        ({"overrides": {"corruption_severity": 6}}, "corruption_severity = 6"),
        ({"overrides": {"task_image": 60}}, "did you mean task_images"),
    ],
)
def test_mistakes_are_named_before_anything_is_made(tmp_path, options, message):
    path = archive(tmp_path, classes=options.get("classes", 3))
    with pytest.raises(VaelibError, match=message):
        downstream("smoke", path, overrides={"n_train": 100, "n_test": 80} | options.get("overrides", {}))


def test_mistakes_in_a_stage_name_the_vae_and_the_images(made, monkeypatch):
    run = made.run.model_copy(update={"seed": 2})
    monkeypatch.setattr(tasks, "posterior_means", lambda vae, images: np.full((len(images), 2), np.nan))
    with pytest.raises(VaelibError, match=r"normal, seed 0, clean images: features hold NaN.*train the VAE again"):
        make(run, made.store, "cpu")
    other = made.data.model_copy(update={"seed": 1})
    for name in ("corrupted", "classifier"):
        foreign = {name: getattr(made.run, name).model_copy(update={"data": other})}
        with pytest.raises(ValidationError, match="another data set than the VAE"):
            Downstream(**(dict(made.run) | foreign))
    one = made.data.model_copy(update={"name": "one"})
    labels = {
        "test": torch.zeros((60, 1, 32, 32), dtype=torch.uint8),
        "test_labels": torch.zeros(60, dtype=torch.int64),
    }
    context = SimpleNamespace(split=lambda _, name: labels[name])
    with pytest.raises(VaelibError, match="all of one class"):
        stage.make_corrupted(Corrupted(data=one, images=60), context)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((60, 1, 32, 32), 255.0), "values from 255 to 255"),
        (torch.full((60, 1, 32, 32), torch.nan), "hold NaN or infinity"),
        (torch.zeros((60, 1, 32, 32), dtype=torch.int64), "images are torch.int64"),
    ],
)
def test_images_of_another_range_are_refused(images, message):
    vae = FullyConnectedVAE(d_z=2, hidden=8)
    for call in (posterior_means, psnr):
        with pytest.raises(VaelibError, match=message):
            call(vae, images)


def test_tables_are_tidy_and_averages_are_of_the_cells(made, monkeypatch):
    point = Point("normal", math.nan, made.run)
    experiment = Experiment("downstream", load_profile("smoke"), "toy", "gaussian", [point], downstream_tables)
    tables = write_tables(experiment, made.store)
    cells = tables["corruptions"]
    assert len(cells) == len(NAMES) * len(CLASSIFIERS)
    single = tables["downstream"].set_index("quantity")["value"]
    for classifier in CLASSIFIERS:
        own = cells[cells["classifier"] == classifier]
        assert set(own["corruption"]) == set(NAMES)
        assert single[f"corrupted_{classifier}"] == pytest.approx(own["accuracy"].mean())
    rows = {(row["images"], row["quantity"]): row["value"] for row in measured(made)}
    assert single["overall_LR"] == rows["overall", "accuracy_LR"]
    assert single["accuracy_LR"] == rows["clean", "accuracy_LR"]
    assert single["psnr_mean"] == rows["clean", "psnr_mean"]
    assert set(cells["corruptions"]) == {"2 of our own draws"}


# --- from tables --------------------------------------------------------------------------------------------------------

SETTING = {"dataset": "cifar10", "likelihood": "mol"}
ABOUT = {"n_train": 50_000, "n_test": 10_000, "source": "CIFAR-10, bit-exact", "images": 10_000, "severity": 5}
ABOUT |= {"corruptions": "CIFAR-10-C", "samples": 4_000}
SHIFTS = {"normal": 0.0, "dmaapx": 0.02, "aug_tuned": -0.01, "aug_naive": -0.03}


def synthetic(shifts=SHIFTS, seeds=3, noise=0.0, proxies=True):
    """Return ``downstream`` and ``corruptions`` in which each method's accuracy, PSNR and samples are shifted together."""
    draws, rows, cells = np.random.default_rng(0), [], []
    for seed in range(seeds):
        shared = 0.05 * seed  # what all methods of a seed share
        for method, shift in shifts.items():
            run = SETTING | {"method": method, "seed": seed}
            about = ABOUT | {"key": f"{method}{seed}", "se": 0.01}
            values = {
                f"{p}_{c}": 0.4 + shift + shared for p in ("accuracy", "overall", "corrupted") for c in CLASSIFIERS
            }
            values |= {"psnr_sample": 16 + shift, "psnr_mean": 18 + shift}
            if proxies:
                values |= {"proxy_fid": 200 - 1000 * min(shift, 0.001), "proxy_is": 2 + min(shift, -0.0005)}
                values["proxy_is"] += 0.0005 * (method == "normal")
            noisy = {q: v + noise * draws.standard_normal() for q, v in values.items()}
            rows += [run | {"quantity": quantity, "value": value} | about for quantity, value in noisy.items()]
            for place, corruption in enumerate(CORRUPTIONS):
                for classifier in CLASSIFIERS:
                    accuracy = 0.4 + shift * (1 + place / 19) + shared + noise * draws.standard_normal()
                    cell = {"corruption": corruption, "classifier": classifier, "accuracy": accuracy}
                    cells.append(run | cell | about)
    return {"downstream": pd.DataFrame(rows), "corruptions": pd.DataFrame(cells)}


def check_texts(figure):
    """No text overlaps another or leaves the figure."""
    (width, height), found = figure.bbox.size, boxes(figure)
    assert not [(a, b) for (a, one), (b, other) in itertools.combinations(found, 2) if one.overlaps(other)]
    assert not [text for text, b in found if b.x0 < 0 or b.y0 < 0 or b.x1 > width or b.y1 > height]


def test_changes_are_paired_by_corruption_and_seed():
    found = task_plots.changes(synthetic()["corruptions"])
    assert len(found) == 3 * 19 * 4 * 3
    first = found[(found["corruption"] == CORRUPTIONS[0]) & (found["method"] == "dmaapx")]
    assert first["change"].to_numpy() == pytest.approx(0.02)
    last = found[(found["corruption"] == CORRUPTIONS[-1]) & (found["method"] == "aug_naive")]
    assert last["change"].to_numpy() == pytest.approx(-0.03 * (1 + 18 / 19))


def test_violins_show_each_point_and_each_mean():
    corruptions = synthetic(noise=0.01)["corruptions"]
    figure = task_plots.violins_figure(corruptions, title_note="x", footer="y " * 60, paper=paper_changes())
    (ax,) = figure.axes
    points = [line for line in ax.lines if line.get_marker() == "."]
    assert [len(line.get_ydata()) for line in points] == [19 * 3] * 12
    found = task_plots.changes(corruptions)
    means = found.groupby(["classifier", "method"])["change"].mean()
    texts = [text.get_text().replace("−", "-") for text in ax.texts]
    order = [(c, m) for c in CLASSIFIERS for m in ("dmaapx", "aug_tuned", "aug_naive")]
    assert texts == [f"{means[c, m]:+z.3f}" for c, m in order]
    diamonds = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "D"]
    assert diamonds == paper_changes().set_index(["classifier", "method"])["change"][order].tolist()
    check_texts(figure)
    same = synthetic(dict.fromkeys(METHODS, 0.0), seeds=1)["corruptions"]
    task_plots.violins_figure(same, title_note="x")  # no violin of equal values


def test_bars_are_means_in_the_order_of_fig_19():
    tables = synthetic(noise=0.01)
    overall_rows = tables["corruptions"].query("corruption == 'fog'")
    without = tables["corruptions"].query("corruption != 'frost'")
    figure = task_plots.corruptions_figure(without, overall_rows, title_note="x", footer="y")
    assert set(task_plots.PANELS) == {*CORRUPTIONS, "overall"}
    panels = {ax.get_title(loc="left"): ax for ax in figure.axes}
    assert list(panels)[:3] == ["Spatter", "Brightness", "JPEG Compression"]
    heights = [bar.get_height() for bar in panels["Fog"].patches]
    means = overall_rows.groupby(["method", "classifier"])["accuracy"].mean()
    methods = ("normal", "dmaapx", "aug_tuned", "aug_naive")
    assert heights == pytest.approx([means[m, c] for m in methods for c in CLASSIFIERS])
    assert [bar.get_height() for bar in panels["Overall"].patches] == pytest.approx(heights)
    assert "not installed" in panels["Frost"].texts[0].get_text()
    check_texts(figure)
    with pytest.raises(ValueError, match="one \\(dataset, likelihood\\)"):
        task_plots.corruptions_figure(pd.concat([without, without.assign(dataset="x")]), overall_rows, title_note="")


def test_a_mosaic_shows_the_images_in_reading_order():
    images = torch.arange(9.0).view(9, 1, 1, 1).expand(9, 3, 4, 4) / 10
    picture = mosaic(images, 3)
    assert picture.shape == (18, 18, 3)
    assert picture[1::6, 1::6, 0].flatten().tolist() == pytest.approx([i / 10 for i in range(9)])
    assert picture[0].eq(1).all()


def test_reconstructions_name_both_kinds():
    images = torch.rand((9, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    kinds = {"one sample\nof p(x|z)": dict.fromkeys(METHODS, images), "mean\nE[x|z]": dict.fromkeys(METHODS, images)}
    captions = {(kind, method): f"{i} dB" for kind in kinds for i, method in enumerate(METHODS)}
    figure = task_plots.reconstructions_figure(images, kinds, captions, title_note="x", footer="y " * 90)
    assert len(figure.axes) == 2 * 5
    assert {*kinds} <= {text.get_text() for text in figure.texts}
    shown = np.asarray(figure.axes[1].images[0].get_array())
    assert np.allclose(shown, mosaic(images, 3).numpy())
    check_texts(figure)


def test_samples_stand_in_a_row_of_each_method():
    rows = {method: torch.full((12, 1, 32, 32), place / 4) for place, method in enumerate(METHODS)}
    figure = task_plots.samples_figure(rows, title_note="x", footer="y " * 90, watermark="z")
    shown = {ax.texts[0].get_text(): np.asarray(ax.images[0].get_array()) for ax in figure.axes}
    assert {label: picture[5, 5] for label, picture in shown.items()} == {
        "Normal training": 0, "DMaaPx": 0.25, "Aug.Tuned": 0.5, "Aug.Naive": 0.75,
    }  # fmt: skip
    assert {picture.shape for picture in shown.values()} == {(34, 12 * 34)}


def test_table_11_puts_ours_beside_the_papers_and_proxies_apart():
    table = table_11(synthetic()["downstream"])
    wide = table.set_index(["quantity", "method"])
    row = wide.loc["accuracy_LR", "dmaapx"]
    assert (row["paper"], row["paper_sd"], row["seeds"]) == (0.383, 0.018, 3)
    assert (row["ours"], row["ours_sd"]) == (pytest.approx(0.47), pytest.approx(0.05))
    for name, proxy in (("fid", "proxy_fid"), ("inception_score", "proxy_is")):
        assert wide.loc[name]["ours"].isna().all()
        assert wide.loc[proxy]["paper"].isna().all()
    assert list(dict.fromkeys(table["quantity"])) == list(TASKS)
    assert len(paper_table_11()) == 7 * 4
    shown = task_figures.compared_tasks(table)
    text = shown.to_html()
    assert "0.383 ± 0.018" in text
    assert "samples: proxy-FID" in text
    assert "4,000 generated images against as many test images" in text
    assert ("samples: FID (↓)", "ours") not in shown.data.index  # nothing was measured
    assert "1.82 ± 0.15" in shown.data.loc[("samples: IS (↑)", "paper (CIFAR-10)"), "Normal training"]
    assert list(shown.data.columns) == ["Normal training", "DMaaPx", "Aug.Tuned", "Aug.Naive"]


def test_the_report_has_table_11(tmp_path):
    (tmp_path / "laptop/tables").mkdir(parents=True)
    table_11(synthetic()["downstream"]).to_csv(tmp_path / "laptop/tables/table_11.csv", index=False)
    page = write_report(tmp_path / "laptop").read_text()
    assert "0.383 ± 0.018" in page
    assert "0.470 ± 0.050" in page
    assert page == write_report(tmp_path / "laptop").read_text()


def test_the_table_of_changes_counts_where_dmaapx_is_best():
    shown = task_figures.changes_on_corruptions(synthetic()["corruptions"]).data
    assert set(shown["DMaaPx best", "on"]) == {"19 of 19 corruptions"}
    assert shown.loc["LR", ("DMaaPx", "paper (CIFAR-10)")] == "+0.017"
    assert shown.loc["LR", ("DMaaPx", "ours")].startswith("+0.029 ± 0")


# --- claims -------------------------------------------------------------------------------------------------------------


def verdicts(tables, evidence=OURS):
    rows = evaluate_claims(tables, "laptop")
    return {
        r["id"].split("/")[0]: r for r in rows if r["evidence"] == evidence and r["notebook"] == "05_downstream_tasks"
    }


def test_every_claim_is_supported_where_all_is_as_claimed_and_contradicted_where_it_is_the_other_way():
    as_claimed = verdicts(synthetic(noise=1e-5))
    assert {name for name, row in as_claimed.items() if row["verdict"] != "supported"} == {"aug-rc"}  # PSNRs differ
    assert as_claimed["c-normal"]["our_value"] == pytest.approx(0.02, abs=1e-4)
    reverse = verdicts(synthetic({"normal": 0.0, "dmaapx": -0.02, "aug_tuned": 0.01, "aug_naive": 0.03}, noise=1e-5))
    for name in ("c-normal", "c-aug", "c-linear", "c-other", "rl-LR", "rl-kNN", "psnr", "fid", "aug-rl", "aug-sq"):
        assert reverse[name]["verdict"] == "contradicted", name


def test_without_proxies_nothing_is_said_about_samples():
    found = verdicts(synthetic(noise=1e-5, proxies=False))
    assert {found[name]["note"] for name in ("fid", "is", "samples", "aug-sq")} == {"a value is missing"}


def test_audit_of_table_11():
    """By its own numbers DMaaPx's IS is not normal training's (1.614, 1.818), and Aug.Tuned's PSNR not (15.924, 16.087)."""
    found = verdicts({}, PAPER)
    assert len(found) == 15
    assert {name for name, row in found.items() if row["verdict"] == "contradicted"} == {"samples", "aug-rc"}
    assert {row["verdict"] for row in found.values()} == {"contradicted", "supported"}
    assert found["rl-kNN"]["paper_value"] == pytest.approx(0.002)
    assert found["rl-kNN"]["note"] == "within the scatter of the paper's runs"
    assert found["fid"]["paper_value"] == pytest.approx(219.256 - 219.081)
    assert found["c-linear"]["paper_value"] == pytest.approx(0.016)
