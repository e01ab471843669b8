"""Fig. 3, and the verdicts over many pairs: what is drawn, what is judged."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from scipy.stats import binomtest

from vaelib.errors import VaelibError
from vaelib.models import FullyConnectedVAE
from vaelib.report import claims
from vaelib.report.canvas import COLOURS
from vaelib.runs import Network, Store, VAERun, load_profile, load_vae, resolve_data
from vaelib.runs.cost.work import work
from vaelib.runs.experiments import Point
from vaelib.runs.stages import make
from vaelib.studies.smoothness import stages
from vaelib.studies.smoothness.claims import CLAIMED, differences, median_interval
from vaelib.studies.smoothness.figures import smoothness_figure
from vaelib.studies.smoothness.runs import smoothness
from vaelib.studies.smoothness.stages import ManyPaths, OnePath
from vaelib.studies.smoothness.tables import shown_paths, smoothness_tables
from vaelib.studies.sweeps.tables import sweep_experiment
from vaelib.tasks.interpolation import Interpolation, different_pairs, interpolate, path_statistics


def table(shift=0.0, seeds=1, outlier=0.0, pairs=20):
    """Return rows as ``smoothness_paths.csv`` has them: DMaaPx better by about 1 + ``shift`` in everything."""
    draws, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for pair in range(pairs):
            base = draws.normal(size=5) * 5
            gain = (1 + shift) * np.array([1, -1, -1, -1, -1]) + 0.3 * (-1) ** (pair + seed) * draws.uniform(size=5)
            gain[0] -= outlier * (pair == 0)
            for method, values in (("normal", base), ("dmaapx", base + gain)):
                about = {"method": method, "seed": seed, "first": pair, "second": pair + pairs}
                rows.append(about | dict(zip(CLAIMED, values, strict=True)))
    return pd.DataFrame(rows)


def test_a_method_that_is_not_there_yet_decides_nothing():
    paths = table().query("method == 'normal'").assign(dataset="cifar10", likelihood="mol")
    rows = claims.evaluate_claims({"smoothness_paths": paths}, "laptop")
    found = [row for row in rows if row["notebook"] == "04_latent_smoothness" and not row["id"].endswith("/paper")]
    assert {row["verdict"] for row in found} == {"not_testable"}


def test_one_pair_does_not_decide():
    """A log density has no floor: the mean follows one pair of -1e5 nats, the judged median does not."""
    found = differences(table(outlier=1e5)).set_index("quantity")
    assert found.loc["level", "mean"] < -1000 < 0 < found.loc["level", "difference"]
    assert found.loc["level", "over_pairs"][0] > 0


@pytest.mark.parametrize("n", [5, 6, 20, 21, 100])
def test_the_medians_interval_is_the_sign_test(n):
    draws = np.random.default_rng(n)
    for positive in range(n + 1):
        values = draws.uniform(0.1, 1, n) * np.where(np.arange(n) < positive, 1, -1)
        interval = median_interval(values)
        if n < 6:
            assert interval is None
        else:
            significant = binomtest(positive, n).pvalue < 0.05
            assert (interval[0] > 0 or interval[1] < 0) == significant


def paths(samples=5, alphas=101):
    draws = torch.Generator().manual_seed(0)
    return {
        method: Interpolation(
            torch.linspace(0, 1, alphas),
            torch.zeros(alphas, 2),
            torch.randn(samples, alphas, generator=draws) - level,
            torch.rand(alphas, 1, 32, 32, generator=draws),
        )
        for method, level in (("normal", 90), ("dmaapx", 30))
    }


def test_figure_3_draws_both_methods_and_aligns_the_strips():
    drawn = paths()
    fig = smoothness_figure(drawn, title_note="x", footer="y", watermark="smoke: no claim")
    curves, above, below = fig.axes
    for number, method in enumerate(drawn):
        thin, thick = curves.lines[2 * number : 2 * number + 2]
        np.testing.assert_array_equal(thin.get_ydata(), drawn[method].log_q[0])
        np.testing.assert_allclose(thick.get_ydata(), drawn[method].log_q.mean(0), rtol=1e-6)
        assert to_hex(thin.get_color()).upper() == to_hex(thick.get_color()).upper() == COLOURS[method]
    fig.draw_without_rendering()
    for strip in (above, below):
        shown = strip.images[0].get_array()
        assert shown.shape[:2] == (34, 11 * 34)
        # pixel 34 j + 17 is the middle of image j: it must lie over alpha = j / 10
        left, right, *_ = strip.images[0].get_extent()
        middles = left + (np.arange(11) * 34 + 17) / (11 * 34) * (right - left)
        over = curves.transData.transform(np.column_stack([np.linspace(0, 1, 11), np.zeros(11)]))[:, 0]
        np.testing.assert_allclose(
            strip.transData.transform(np.column_stack([middles, middles]))[:, 0], over, atol=1e-6
        )
    np.testing.assert_allclose(above.images[0].get_array()[1:33, 35:67], drawn["normal"].images[10, 0])
    assert above.get_position().y0 > curves.get_position().y1 > curves.get_position().y0 > below.get_position().y1
    assert "smoke: no claim" in [text.get_text() for text in fig.texts]


@pytest.fixture
def trained(toy):
    """Return a store with one small VAE."""
    data = resolve_data(toy, 40, 16)
    vae = VAERun(data=data, network=Network(latents=2, hidden=8), epochs=1, evaluations=(1,), snapshots=(1,))
    for artifact in (data, vae):
        make(artifact, Store(), "cpu")
    return vae


def experiment_of(*measured):
    also = [Point("normal", math.nan, run) for run in measured]
    points = [Point("normal", math.nan, measured[0].vae)]
    return sweep_experiment("smoothness", load_profile("smoke"), "toy", "gaussian", points)._replace(
        also=also, tables=smoothness_tables
    )


def test_paths_are_those_of_a_direct_call_and_a_killed_run_goes_on(trained, monkeypatch):
    many, one = ManyPaths(vae=trained, pairs=5), OnePath(vae=trained)
    assert work(ManyPaths(vae=trained)).flops > work(one).flops > 0
    begun = []

    def stopping(vae, images, pairs, **options):
        begun.append(options.get("reconstruction", "sample"))
        if len(begun) == 3:
            raise KeyboardInterrupt
        return path_statistics(vae, images, pairs, **options)

    monkeypatch.setattr(stages, "path_statistics", stopping)
    monkeypatch.setattr(stages, "AT_ONCE", 2)
    with pytest.raises(KeyboardInterrupt):
        make(many, Store(), "cpu")
    for run in (many, one, many):
        make(run, Store(), "cpu")
    assert begun == ["sample", "mean", "sample"] + 2 * ["sample", "mean"]  # three parts, of which one was kept
    experiment = experiment_of(many, one)
    assert [run.kind for run in experiment.runs] == ["vae", "many_paths", "one_path"]
    table = experiment.tables(experiment, Store())["smoothness_paths"]

    folder, vae = Store().require(trained.data), load_vae(trained, Store())
    images, labels = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("test", "test_labels"))
    pairs = different_pairs(labels, 5)
    assert table[["first", "second"]].to_numpy().tolist() == pairs.tolist()
    for name, values in path_statistics(vae, images, pairs)._asdict().items():
        np.testing.assert_array_equal(table[name].astype("float32"), values)
    quiet = path_statistics(vae, images, pairs, samples=1, reconstruction="mean").variation
    np.testing.assert_array_equal(table["quiet_variation"].astype("float32"), quiet)
    ends, found = shown_paths(experiment)
    assert ends == pairs[0].tolist()
    direct = interpolate(vae, *images[ends], samples=16)
    assert all(torch.equal(*both) for both in zip(found["normal"], direct, strict=True))


def test_a_pair_is_checked_before_anything_is_made(toy):
    tiny = {"n_train": 40, "n_test": 16}
    chosen = smoothness("smoke", toy, overrides=tiny, pair=[3, 4]).measured(OnePath)
    assert [(point.series, point.vae.seed, point.run.pair) for point in chosen] == [
        ("normal", 0, (3, 4)),
        ("dmaapx", 0, (3, 4)),
    ]
    for wrong, words in (([3], "pair"), ([3, 16], "0 to 15"), ([-1, 2], "0 to 15"), ([2, 2], "0 to 15")):
        with pytest.raises(VaelibError, match=words):
            smoothness("smoke", toy, overrides=tiny, pair=wrong)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    vaes = {method: FullyConnectedVAE(d_z=3, hidden=16).eval() for method in ("normal", "dmaapx")}
    return vaes, torch.rand(4, 1, 32, 32)


@pytest.mark.parametrize(
    ("shift", "seeds", "verdict"), [(0.0, 3, "supported"), (-2.0, 3, "contradicted"), (0.0, 1, "not_testable")]
)
def test_the_ledger_judges_the_density_by_the_sign_of_the_medians(shift, seeds, verdict):
    paths = table(shift, seeds).assign(dataset="cifar10", likelihood="mol")
    rows = claims.evaluate_claims({"smoothness_paths": paths}, "laptop")
    found = {row["id"].split("/")[0]: row for row in rows if row["notebook"] == "04_latent_smoothness" and row["seeds"]}
    assert set(found) == {"density", "smooth", "smooth-line"}
    assert found["density"]["verdict"] == verdict
    assert (found["density"]["our_value"] > 0) == (shift == 0)
    assert not found["density"]["id"].endswith("/paper")
