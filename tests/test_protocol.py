"""Which protocol is the paper's: candidates, their distance from digitised curves, the figure."""

import math

import numpy as np
import pandas as pd
import pytest

from vaelib.errors import VaelibError
from vaelib.files import write_json
from vaelib.models.mol import RGB
from vaelib.report.reference import digitised
from vaelib.runs import Store, write_tables
from vaelib.runs.settings import Data
from vaelib.studies.protocol import figures
from vaelib.studies.protocol import runs as protocol
from vaelib.studies.protocol.figures import RAW, distances, paper_epochs, protocols_figure, to_compare
from vaelib.studies.protocol.runs import CANDIDATES, DEFAULT, calibrate_protocol
from vaelib.text import number


def curve(series, epochs, train, test):
    rows = [("elbo_train", train), ("elbo_test", test)]
    return pd.concat(
        pd.DataFrame({"series": series, "effective_epoch": epochs, "quantity": q, "value": v}) for q, v in rows
    )


def test_each_of_the_papers_raw_curves_has_candidates_that_differ_in_what_their_names_say(tmp_path):
    assert CANDIDATES.keys() == RAW.keys()
    digits = np.random.default_rng(0).integers(0, 255, (60, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "toy.npz", images=digits)
    with pytest.raises(VaelibError, match=r"no raw curve of .*toy.npz with gaussian to calibrate on; choose one of"):
        calibrate_protocol("smoke", str(tmp_path / "toy.npz"))
    experiment = calibrate_protocol("smoke", "fashion_mnist")
    assert [point.series for point in experiment.points] == [DEFAULT, *CANDIDATES["fashion_mnist", "gaussian"]]
    default, linear = experiment.points[0].vae, experiment.points[1].vae
    assert (default.network.mean, linear.network.mean) == ("sigmoid", "linear")
    assert linear.network.model_copy(update={"mean": "sigmoid"}) == default.network
    assert len({point.vae.key for point in experiment.points}) == len(experiment.points)
    assert default.evaluations == (1, 2, 3, 4)


@pytest.mark.parametrize("profile", ["smoke", "laptop", "overnight", "gpu", "paper"])
@pytest.mark.parametrize("setting", [one for one in CANDIDATES if one[0] != "cifar10"])
def test_no_candidate_is_another_one(profile, setting):
    runs = [point.run.key for point in calibrate_protocol(profile, *setting).points]
    assert len(set(runs)) == len(runs)


def test_what_is_far_off_under_a_mixture_is_not_trained_on():
    points = calibrate_protocol("laptop", "fashion_mnist", "mol").points
    assert [point.vae.evaluations[-1] for point in points] == [12, 12, 12, 12, 3, 3]
    assert all(point.vae.epochs == len(point.vae.evaluations) for point in points)
    short = calibrate_protocol("laptop", "fashion_mnist", "mol", {"epochs": 2}).points
    assert {point.vae.epochs for point in short} == {2}


@pytest.mark.parametrize("setting", RAW)
def test_the_papers_epochs_are_whole_and_start_where_the_axis_shows_them(setting):
    paper = paper_epochs(*setting)
    assert (paper["epoch"] == paper["epoch"].round()).all()
    assert paper["epoch"].iloc[0] == (4 if setting == ("fashion_mnist", "gaussian") else 1)  # the axis' x and 1
    both = paper.dropna().tail(100)
    assert (both["elbo_train"] > both["elbo_test"]).all()
    assert paper["epoch"].is_unique
    name, series = RAW[setting]
    kept = digitised(name).query(f"series == '{series}_test'")["epoch"].round() + 1
    assert set(paper.dropna(subset=["elbo_test"])["epoch"]) <= set(kept)  # none in between


def test_the_axis_starts_with_a_trained_network():
    """At x = 0 the paper's ELBO is that after an epoch: weights before it give each of 32 x 32 pixels about 1/2."""
    first = paper_epochs("binary_mnist", "bernoulli").iloc[0]
    assert first["epoch"] == 1
    assert first["elbo_test"] > 0.5 * 32 * 32 * math.log(0.5)


def test_the_curve_of_colour_images_decides_between_all_mixtures():
    """Fig. 8's 100 output channels fit two of them."""
    tried = {changes["rgb"] for changes in CANDIDATES["cifar10", "mol"].values() if "rgb" in changes}
    assert tried | {"pixelcnnpp"} == set(RGB)


def test_the_papers_own_curve_has_distance_zero_and_a_tenth_more_has_ten_percent():
    paper = paper_epochs("binary_mnist", "bernoulli").head(12)
    epochs = paper["epoch"].to_numpy()
    same = curve("same", epochs, paper["elbo_train"].to_numpy(), paper["elbo_test"].to_numpy())
    worse = curve("worse", epochs, 1.1 * paper["elbo_train"].to_numpy(), 1.1 * paper["elbo_test"].to_numpy())
    found = distances(pd.concat([worse, same]), paper)
    assert found["candidate"].tolist() == ["same", "worse"]
    assert found["distance"].tolist() == pytest.approx([0, 10])
    gap = 0.1 * (paper["elbo_train"] - paper["elbo_test"])
    assert found["gap"].tolist() == pytest.approx([0, float(np.sqrt(np.nanmean(np.square(gap))))])
    assert not found["constant"].any()
    with pytest.raises(VaelibError, match=r"late: no epoch in common.*give epochs >= 1"):
        distances(curve("late", [500], [-70.0], [-95.0]), paper)


def test_the_figure_names_every_candidate_with_its_distance():
    paper = paper_epochs("fashion_mnist", "gaussian").head(8)
    epochs = paper["epoch"].to_numpy()
    lines = [
        curve(name, epochs, f * paper["elbo_train"].to_numpy(), f * paper["elbo_test"].to_numpy())
        for name, f in ((DEFAULT, 1.0), ("linear mean", 1.3))
    ]
    figure = protocols_figure(pd.concat(lines), paper, title_note="title", footer="", watermark=None)
    texts = [text.get_text().strip() for ax in figure.axes for text in ax.texts]
    other = distances(pd.concat(lines), paper).iloc[1]
    assert texts == [
        f"{DEFAULT}: 0.0 %; 0.00",
        f"linear mean: {other['distance']:.1f} %; {number(other['gap'])}",
    ]
    gaps = {line.get_label(): line for line in figure.axes[2].lines}  # each panel has a strip beside it
    own = paper["elbo_train"] - paper["elbo_test"]
    assert np.allclose(gaps["linear mean"].get_ydata(), 1.3 * own, equal_nan=True)
    assert np.allclose(gaps[DEFAULT].get_ydata(), own, equal_nan=True)


def test_of_a_lossy_copy_a_constant_is_free():
    """Curves of images that are 300 nats easier: one that is the paper's else, and one that climbs half as far."""
    paper = paper_epochs("cifar10", "mol").head(4)
    epochs, mean = paper["epoch"].to_numpy(), paper[["elbo_train", "elbo_test"]].mean()
    assert epochs.tolist() == [1, 3, 4, 5]
    lifted = [paper[q].to_numpy() + 300 for q in ("elbo_train", "elbo_test")]
    half = [mean[q] + 0.5 * (paper[q].to_numpy() - mean[q]) - 200 for q in ("elbo_train", "elbo_test")]
    curves = pd.concat([curve("half", epochs, *half), curve(DEFAULT, epochs, *lifted)])
    found = distances(curves, paper, lossy=True).set_index("candidate")
    assert found.index.tolist() == [DEFAULT, "half"]
    assert found.loc[DEFAULT, ["distance", "test", "gap"]].tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    assert found["constant"].tolist() == pytest.approx([300, -200])
    with_one_more = pd.concat([curves, curve("half", [2], [0.0], [0.0]), curve(DEFAULT, [6], [0.0], [0.0])])
    assert distances(with_one_more, paper, lossy=True)["epochs"].tolist() == [4, 4]  # what both have, and the paper
    own = paper["elbo_train"] - paper["elbo_test"]
    half_as_far = paper["elbo_test"].std(ddof=0) / 2, own.std(ddof=0) / 2
    assert found.loc["half", ["test", "gap"]].tolist() == pytest.approx(half_as_far)

    figure = protocols_figure(curves, paper, lossy=True, title_note="title", footer="", watermark=None)
    band, ours = (
        next(line for line in figure.axes[0].lines if line.get_label().startswith(name)) for name in ("_", DEFAULT)
    )
    assert np.allclose(band.get_ydata(), ours.get_ydata())  # less its constant it lies on the paper's
    texts = [text.get_text().strip() for ax in figure.axes for text in ax.texts]
    assert texts[0] == f"{DEFAULT}: 0.00; 0.00; +300"
    assert texts[1].endswith("; −200")
    one = curves[curves["effective_epoch"] <= 2]  # would leave nothing beside a constant
    with pytest.raises(VaelibError, match="two epochs of the paper's are needed; give epochs >= 3"):
        distances(one, paper, lossy=True)
    plain = protocols_figure(one, paper, lossy=True, title_note="title", footer="", watermark=None)
    texts = [text.get_text().strip() for ax in plain.axes for text in ax.texts]
    assert [text.partition(":")[0] for text in texts] == distances(one, paper)["candidate"].tolist()
    assert all("%" in text for text in texts)


def test_a_part_of_the_images_is_repeated_and_compared_at_the_papers_epochs(monkeypatch):
    part = Data(name="cifar10", n_train=3_000, n_test=1_000, channels=3, label="a part", digest="")
    monkeypatch.setattr(protocol, "prepared", lambda dataset, budget: (part, budget))
    monkeypatch.setattr(figures, "spare_images", lambda data: 0)
    candidates = calibrate_protocol("laptop", "cifar10")
    default = candidates.points[0].vae
    assert (default.epochs, default.evaluations) == (17, tuple(range(9, 18)))  # 51,000 images, each pass from 27,000 on
    ten = calibrate_protocol("laptop", "cifar10", overrides={"epochs": 10}).points[0].vae
    assert ten.evaluations == (17, 33, 50, 67, 83, 100, 117, 133, 150, 167)
    of_the_part_alone = calibrate_protocol("laptop", "cifar10", overrides={"n_train": 3_000})
    assert [one.vae.epochs for one in of_the_part_alone.points] == [1] * 7
    assert to_compare(candidates, None) is None  # hours, for no more than a hint
    store = Store()
    for point in candidates.points:
        with store.making(point.run) as folder:
            passes = [14.0, -28.0, 14.0] * 2 if point.series == DEFAULT else []
            # Of these and the last point, 0, the second differences are 84, 42, 42, 84 and 56.
            epochs, lift = range(17 - len(passes), 18), np.array([*passes, 0.0])
            rows = curve("", epochs, lift - 12_861.6, lift - 12_870.9).drop(columns="series").assign(se=1.0)
            write_json(folder / "curve.json", rows.to_dict("records"))
    assert to_compare(candidates, None).runs == candidates.runs
    drawn = []
    monkeypatch.setattr(figures, "publish", lambda figure, *_: drawn.append(figure))
    figures.draw_protocols(candidates, write_tables(candidates))
    texts = [text.get_text() for ax in drawn[0].axes for text in ax.texts]
    assert f" {DEFAULT}: 0.0 %; noise {number(56 / (0.6745 * np.sqrt(6)))} nats" in texts
    assert f" {next(iter(CANDIDATES['cifar10', 'mol']))}: 0.0 %" in texts  # one point has no noise
    assert any("3,000 images stand for 50,000, repeated" in text.get_text() for text in drawn[0].texts)
    left = drawn[0].axes[0]
    shown = {line.get_label(): line for line in left.lines if not line.get_label().startswith("_")}
    assert len(shown) == 2 * len(candidates.points)
    assert len({line.get_xdata()[0] for line in shown.values()}) == len(candidates.points)  # none behind another
    (low, high), values = left.get_ylim(), [line.get_ydata()[0] for line in shown.values()]
    assert low < min(values) <= max(values) < high


def test_a_curves_noise_is_that_of_its_points_about_a_line():
    epochs = np.arange(4_001)
    drawn = np.random.default_rng(0).normal(scale=30.0, size=len(epochs))
    assert figures.noise(pd.Series(epochs * 7.0)) == 0
    assert figures.noise(pd.Series(epochs * 7.0 + drawn)) == pytest.approx(30, rel=0.05)
    some = pd.Series(epochs * 7.0 + drawn).where(epochs % 10 > 0)  # a missing one makes no step of two
    assert figures.noise(some) == pytest.approx(30, rel=0.05)
    assert np.isnan(figures.noise(pd.Series([1.0, 2.0])))


def test_our_epochs_are_counted_in_the_papers_images():
    counted = figures._papers_count(pd.Series([9, 16, 17, 33, 50]), 50 / 3)
    assert counted.tolist() == pytest.approx([0.54, 0.96, 1, 2, 3])
    assert (counted % 1 == 0).tolist() == [False, False, True, True, True]
