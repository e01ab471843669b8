"""Rate and distortion: the terms of the same ELBO, the closed forms of a linear world, the plane's lines, the claims."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from vaelib import FullyConnectedVAE, gaps
from vaelib.gaps import ELBOTerms
from vaelib.report.canvas import ReportFigure
from vaelib.report.claims import evaluate_claims
from vaelib.report.rules import judge
from vaelib.runs import Store, run
from vaelib.runs.engine import missing
from vaelib.runs.tables import curve
from vaelib.studies.rate_distortion import claims, pages
from vaelib.studies.rate_distortion.figures import iso_elbo, parts, plane_figure
from vaelib.studies.rate_distortion.runs import rate_distortion
from vaelib.studies.three_gaps.runs import three_gaps

TINY = {
    "n_train": 40, "n_test": 20, "seeds": 1, "epochs": 4, "evaluations": 2, "gap_points": 2, "teacher_images": 40, "k": 1,
}  # fmt: skip


def test_active_units_are_the_latents_that_vary():
    mu = torch.zeros(50, 4)
    mu[:, 1] = torch.linspace(-1, 1, 50)
    mu[:, 2] = 0.05 * torch.linspace(-1, 1, 50)  # variance under 0.01
    terms = ELBOTerms(torch.ones(50), torch.full((50,), 3.0), mu)
    assert terms.active_units == 1
    assert ELBOTerms(torch.ones(1), torch.ones(1), mu[:1]).active_units == 0
    assert terms.bits_per_dim(4).tolist() == pytest.approx([4 / (4 * math.log(2))] * 50)


def test_the_rate_is_the_divergence_from_the_prior():
    vae, normal = FullyConnectedVAE(d_z=3, hidden=8), torch.distributions.Normal
    x = torch.rand(5, *vae.image_shape)
    q = vae.eval().encode(x)
    kl = torch.distributions.kl_divergence(normal(q.mu, q.sigma), normal(torch.zeros(()), torch.ones(()))).sum(1)
    torch.testing.assert_close(gaps.elbo_terms(vae, x).rate, kl.detach(), rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def taken_apart(tmp_path_factory):
    """Return a tiny experiment, finished, its table and its store."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("plane")
    labels = np.arange(80) % 2
    images = (rng.random((80, 28, 28)) * 80 + 100 * labels[:, None, None]).astype(np.uint8)
    np.savez(folder / "toy.npz", images=images, labels=labels)
    store = Store(folder / "store")
    experiment = rate_distortion("smoke", str(folder / "toy.npz"), "gaussian", TINY)
    run(experiment.runs, store=store, workers=0)
    return experiment, experiment.tables(experiment, store)["rate_distortion"], store


def test_the_terms_are_those_of_the_curves_own_elbo(taken_apart):
    experiment, table, store = taken_apart
    for point in experiment.points:
        values = curve(point.vae, store).set_index(["quantity", "effective_epoch"])["value"]
        own = table[table["key"] == point.run.key]
        assert len(own) == 2 * len(point.vae.snapshots)
        for row in own.itertuples():
            assert row.elbo == pytest.approx(values[f"elbo_{row.split}", row.effective_epoch], rel=1e-6)
            assert row.elbo == pytest.approx(-(row.rate + row.distortion), rel=1e-6)
            assert row.bits_per_dim == pytest.approx(-row.elbo / (1024 * math.log(2)), rel=1e-6)
            assert 0 <= row.active_units <= point.vae.network.latents
            assert row.rate >= 0


def test_no_vae_is_made_anew_for_it(taken_apart):
    """It stands on the VAEs of the three gaps, under their own keys, and is the only kind of artifact that is new."""
    experiment, _, store = taken_apart
    plain = three_gaps("smoke", experiment.data.path, "gaussian", TINY)
    assert [point.vae.key for point in experiment.points] == [point.vae.key for point in plain.points]
    assert missing([point.vae for point in plain.points], store) == []
    assert {one.kind for one in experiment.runs} == {"rate_distortion"}


def test_the_parts_add_up_to_the_gap(taken_apart):
    _, table, _ = taken_apart
    last = table[table["effective_epoch"] == 4].set_index(["method", "split"])["elbo"]
    for row in parts(table).itertuples():
        gap = last[row.method, "train"] - last[row.method, "test"]
        assert row.rate_part + row.distortion_part == pytest.approx(gap, rel=1e-4, abs=1e-2)


def test_on_a_line_the_elbo_is_the_same():
    ax = ReportFigure().add_axes((0, 0, 1, 1))
    ax.set(xlim=(60, 110), ylim=(-1500, 6000))
    iso_elbo(ax)
    totals = [line.get_xdata() + line.get_ydata() for line in ax.lines]
    assert len(totals) > 3
    assert all(np.ptp(total) == 0 for total in totals)
    shown = {text.get_text() for text in ax.texts}
    assert "−3,000" in shown
    assert (ax.get_xlim(), ax.get_ylim()) == ((60, 110), (-1500, 6000))


def test_the_figure_and_the_tables_show_every_method(taken_apart):
    _, table, _ = taken_apart
    figure = plane_figure(table, title_note="", footer="")
    words = figure.words()
    for name in ("Normal training", "DMaaPx", "Aug.Naive"):
        assert name in words
        assert name in pages.split_table(table).to_html()
        assert name in pages.parts_table(table).to_html()
    with pytest.raises(ValueError, match="one \\(dataset, likelihood\\)"):
        plane_figure(pd.concat([table, table.assign(dataset="other")]), title_note="")


def rows(**changes):
    """Return a table in which everything is as we expected; ``changes`` are of DMaaPx's test row."""
    values = {
        ("normal", "train"): {"rate": 110.0, "distortion": -1400.0, "active_units": 16},
        ("normal", "test"): {"rate": 104.0, "distortion": 6200.0, "active_units": 16},
        ("dmaapx", "train"): {"rate": 68.0, "distortion": 3500.0, "active_units": 16},
        ("dmaapx", "test"): {"rate": 68.0, "distortion": 3600.0, "active_units": 16} | changes,
    }
    found = []
    for (method, split), row in values.items():
        for seed in range(3):
            about = {
                "dataset": "fashion_mnist",
                "likelihood": "gaussian",
                "method": method,
                "split": split,
                "seed": seed,
            }
            about |= {
                "effective_epoch": 300,
                "rate_se": 0.1,
                "distortion_se": 1.0,
                "n_train": 9,
                "key": "k",
                "source": "s",
            }
            moved = {name: row[name] * (1 + 1e-4 * seed) for name in ("rate", "distortion")}
            found.append(about | row | moved)
    return {"rate_distortion": pd.DataFrame(found)}


def verdicts(tables):
    return {
        row["id"].partition("/")[0]: row["verdict"]
        for row in evaluate_claims(tables, "laptop")
        if row["id"].startswith("rd-")
    }


def test_the_claims_say_what_they_mean():
    assert set(verdicts(rows()).values()) == {"supported"}
    assert verdicts(rows(rate=120.0))["rd-rate"] == "contradicted"
    assert verdicts(rows(rate=168.0, distortion=3500.0))["rd-gap"] == "contradicted"  # all of it rate
    assert verdicts(rows(active_units=12))["rd-active"] == "contradicted"
    evidence = claims.measured(rows(distortion=7000.0), "rate_distortion", "fashion_mnist", "gaussian")
    assert judge(claims.gain_in_distortion(evidence), evidence).note == "no clear effect to compare with"
