"""Fig. 3, and the verdicts over many pairs: what is drawn, what is judged."""

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
from vaelib.studies.smoothness.claims import CLAIMED, differences, median_interval
from vaelib.studies.smoothness.figures import chosen_pair, sentences, smoothness_figure, snapshots
from vaelib.tasks.interpolation import Interpolation, interpolate


def table(shift=0.0, seeds=1, outlier=0.0, pairs=20):
    """Return rows as ``write_paths`` leaves them: DMaaPx better by about 1 + ``shift`` in everything."""
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


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_verdict_follows_the_numbers(seeds):
    rows = table(seeds=seeds)
    found = differences(rows, "laptop")
    assert set(found["verdict"]) == {"supported"}
    assert set(differences(table(shift=-2, seeds=seeds), "laptop")["verdict"]) == {"contradicted"}
    assert set(differences(table(shift=-1, seeds=seeds), "laptop")["verdict"]) == {"not testable"}
    assert set(differences(table(seeds=seeds), "smoke")["verdict"]) == {"not testable"}
    text = sentences(found, rows)
    assert text.count("*supported*") == 5
    assert "over 20 pairs" in text
    assert ("not of other trainings" in text) == (seeds == 1)


def test_one_pair_does_not_decide():
    """A log density has no floor: the mean follows one pair of -1e5 nats, the judged median does not."""
    found = differences(table(outlier=1e5), "laptop").set_index("quantity")
    assert found.loc["level", "mean"] < -1000 < 0 < found.loc["level", "difference"]
    assert found.loc["level", "verdict"] == "supported"


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
    fig = smoothness_figure(drawn, title_note="x", footer="y", stamp="smoke: no claim")
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


def test_a_pair_is_checked():
    labels = torch.arange(20) % 2
    assert len({int(labels[index]) for index in chosen_pair(labels)}) == 2
    assert chosen_pair(labels, [3, 4]) == [3, 4]
    for wrong in ([3], [3, 20], [-1, 2]):
        with pytest.raises(VaelibError, match="0 to 19"):
            chosen_pair(labels, wrong)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    vaes = {method: FullyConnectedVAE(d_z=3, hidden=16).eval() for method in ("normal", "dmaapx")}
    return vaes, torch.rand(4, 1, 32, 32)


def test_snapshots_show_each_method_with_its_log_density(small):
    vaes, images = small
    fig = snapshots(vaes, *images[:2], count=3)
    assert len(fig.axes) == 6
    captions = [ax.get_title("left") for ax in fig.axes]
    path = interpolate(vaes["normal"], *images[:2], alphas=3, samples=8)
    assert float(captions[0].replace("−", "-").replace(",", "")) == pytest.approx(float(path.mean[0]), rel=0.01)


@pytest.mark.parametrize(
    ("shift", "seeds", "verdict"), [(0.0, 3, "supported"), (-2.0, 3, "contradicted"), (0.0, 1, "supported")]
)
def test_the_ledger_judges_the_density_by_the_sign_of_the_medians(shift, seeds, verdict):
    paths = table(shift, seeds).assign(dataset="cifar10", likelihood="mol")
    rows = claims.evaluate_claims({"smoothness_paths": paths}, "laptop")
    found = {row["id"].split("/")[0]: row for row in rows if row["notebook"] == "04_latent_smoothness" and row["seeds"]}
    assert set(found) == {"density", "smooth", "smooth-line"}
    assert found["density"]["verdict"] == verdict
    assert (found["density"]["our_value"] > 0) == (verdict == "supported")
    assert not found["density"]["id"].endswith("/paper")
