"""A scorecard agrees with the functions it is made of and with closed forms; any VAE can be given, by text too."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import vaelib
from vaelib import (
    FullyConnectedVAE,
    Gaussian,
    Scorecard,
    files,
    from_functions,
    from_pythae,
    gaps,
    scorecard,
    scoring,
    tasks,
)
from vaelib.cli import app
from vaelib.data.worlds import linear_world
from vaelib.errors import NonFinite, VaelibError
from vaelib.models import Bernoulli, MixtureOfLogistics
from vaelib.models.vae import elbo_at
from vaelib.text import number

ROOT = Path(__file__).resolve().parents[1]
LABELS = torch.arange(24) % 3
QUICK = {"amortization_steps": 40, "attack_steps": 4, "restarts": 2, "log_p_draws": 40, "temperatures": 8}


def images(n=24, size=(28, 28), channels=1, seed=0):
    """Return binary images of blobs, uint8."""
    noise = torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(seed))
    smooth = nn.functional.avg_pool2d(noise, 5, 1, 2)
    return torch.where(smooth > smooth.mean(), 255, 0).to(torch.uint8)


def small(size=28, likelihood=None, **options):
    torch.manual_seed(0)
    return FullyConnectedVAE(d_z=4, hidden=16, likelihood=likelihood or Bernoulli(), size=size, **options)


@pytest.fixture(scope="module")
def measured():
    vae, train, test = small(), images(40, seed=1), images()
    counts = {"amortization_images": 10, "attack_images": 6, "log_p_images": 3}
    return vae, train, test, scorecard(vae, train, test, LABELS, name="small", **counts, **QUICK)


def test_the_numbers_are_those_of_the_direct_functions(measured):
    vae, train, test, card = measured
    elbos = [gaps.evaluate_elbo(vae, x).double() for x in (train, test)]
    for side, elbo in zip((card.train, card.test), elbos, strict=True):
        assert side.elbo.value == pytest.approx(float(elbo.mean()), abs=1e-9)
        assert side.elbo.se == pytest.approx(float(elbo.std() / len(elbo) ** 0.5), abs=1e-9)
        assert side.rate.value + side.distortion.value == pytest.approx(-side.elbo.value, abs=1e-4)
        assert side.bits_per_dim.value == pytest.approx(-float(elbo.mean()) / (28 * 28 * math.log(2)), abs=1e-9)
    x = test.float() / 255
    with torch.no_grad():
        q = vae.encode(x)
        assert card.test.rate.value == pytest.approx(float(q.kl().mean()), abs=1e-4)
    assert card.test.active_units == int((q.mu.var(0) > 0.01).sum())
    assert card.generalization_gap.value == pytest.approx(float(elbos[0].mean() - elbos[1].mean()), abs=1e-9)
    chosen = gaps.stratified(LABELS, 10, 0)
    direct = gaps.optimize_posterior(vae, test[chosen], max_steps=40)
    assert card.amortization.gap.value == pytest.approx(float(direct.gap.double().mean()), abs=1e-9)
    assert (card.amortization.gap.images, card.amortization.unconverged) == (10, int((~direct.converged).sum()))
    attacked = gaps.robustness_gap(vae, test, LABELS, n_images=6, restarts=2, steps=4, radius=0.1)
    assert card.robustness.gap.value == pytest.approx(float(attacked.gap.double().mean()), abs=1e-9)
    assert card.robustness.clean_floor.value == pytest.approx(float(attacked.floor.double().mean()), abs=1e-9)
    assert card.log_p.lower.images == 3
    assert card.absent == {}


def test_the_terms_of_the_elbo_are_its_bits():
    """The scorecard's terms and the ELBO that all tables hold are one computation: no bit may differ."""
    for likelihood in (Bernoulli(), Gaussian(), MixtureOfLogistics(2)):
        vae, x = small(likelihood=likelihood), images(7)
        eps = gaps.bounds.image_noise(0, 7, 1, 4, 0, "elbo")
        with torch.no_grad():
            expected = elbo_at(vae, vae.encode(x.float() / 255), x.float() / 255, eps)
        assert torch.equal(gaps.evaluate_elbo(vae, x), expected)


def test_a_linear_world_has_its_truth_on_the_card():
    """Its encoder is the optimum, so G_a is 0; log p(x) is a closed form, and so are rate and active units."""
    world = linear_world(d_z=3)
    train, test = world.sample(200, seed=1), world.sample(200, seed=2)
    card = scorecard(world.vae, train, test, amortization_images=20, log_p_images=5, log_p_draws=1000, temperatures=10)
    assert card.amortization.gap.value < 0.05
    exact = world.log_prob(test[gaps.stratified(torch.zeros(200, dtype=torch.long), 5, 0)]).mean()
    assert card.log_p.lower.value == pytest.approx(float(exact), abs=0.1)
    expected = world.vae.exact_elbo(test)
    assert abs(card.test.elbo.value - float(expected.mean())) < 4 * card.test.elbo.se
    assert card.test.rate.value == pytest.approx(float(world.vae.encode(test).kl().mean()), abs=1e-3)
    assert card.test.active_units == 3
    # 8×8 pixels are too few for MS-SSIM, and the likelihood is none that is known to draw exactly.
    assert set(card.absent) == {"G_r", "log p(x), above"}
    assert "16 pixels a side" in str(card)
    assert card.robustness is None
    assert card.log_p.own_upper is None


def test_the_error_of_elbo_star_is_that_of_means_over_shared_images():
    """All images have their own posterior, so ELBO* is a mean over them; ELBO and G_a are far from independent."""
    world = linear_world(d_z=3)
    vae, test = world.vae.encoder_of(world.sample(6, seed=1)), world.sample(60, seed=2)
    card = scorecard(vae, world.sample(6, seed=1), test, amortization_images=60, attack_images=0, log_p_images=0)
    elbos, gap = gaps.evaluate_elbo(vae, test), gaps.optimize_posterior(vae, test).gap
    assert card.row("mine", "world")["elbo_star_test_se"] == pytest.approx(
        float((elbos + gap).std()) / 60**0.5, rel=1e-4
    )
    apart = math.hypot(card.test.elbo.se, card.amortization.gap.se)
    assert not 0.8 < apart / card.amortization.elbo_star.se < 1.25


@pytest.mark.parametrize("alive", [0, 1, 3])
def test_active_units_are_those_that_move(alive):
    vae = small()
    with torch.no_grad():
        vae.encoder[-1].weight[alive:4] = 0  # their mean is a constant
        vae.encoder[-1].weight[:alive] *= 100
    none = {"amortization_images": 0, "attack_images": 0, "log_p_images": 0}
    card = scorecard(vae, images(seed=1), images(), **none)
    assert (card.train.active_units, card.test.active_units) == (alive, alive)
    assert card.absent == {"G_a": "amortization_images = 0", "G_r": "attack_images = 0", "log p(x)": "log_p_images = 0"}


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(0.3), MixtureOfLogistics(2)], ids=lambda one: one.name)
def test_a_bracket_of_its_own_images_closes(likelihood):
    vae, x = small(16, likelihood), images(size=(16, 16))
    quick = QUICK | {"log_p_draws": 200, "temperatures": 16}
    card = scorecard(vae, x, x, attack_images=0, amortization_images=0, log_p_images=2, **quick)
    low, high = card.log_p.own_lower.value, card.log_p.own_upper.value
    assert abs(high - low) < 1
    assert card.log_p.lower.value > card.log_p.elbo.value


def test_a_record_is_read_back_and_an_altered_one_is_refused(measured, tmp_path):
    card = measured[-1]
    card.write_json(tmp_path / "card.json")
    assert Scorecard.read_json(tmp_path / "card.json") == card
    content = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(content | {"latents": "many"}))
    with pytest.raises(VaelibError, match=r"card.json is not a scorecard of this vaelib \(latents: .*integer"):
        Scorecard.read_json(tmp_path / "card.json")
    with pytest.raises(VaelibError, match="not readable JSON"):
        Scorecard.read_json(tmp_path / "none.json")


def test_it_prints_as_a_table_that_fits(measured):
    card = measured[-1]
    text = str(card)
    assert max(map(len, text.splitlines())) <= 120
    for shown in (card.test.elbo, card.generalization_gap, card.amortization.gap, card.robustness.clean_floor):
        assert str(shown) in text
    assert "40 images" in text
    assert "restarts=2" in text
    assert str(scoring.Estimate(value=-1234.5678, se=12.3, images=4)) == "\N{MINUS SIGN}1,235 ± 12"
    assert str(scoring.Estimate(value=0.51234, se=0.0213, images=4)) == "0.51 ± 0.02"
    assert str(scoring.Estimate(value=2.5, se=None, images=1)) == "2.50"


def test_a_row_joins_the_table_of_the_three_gaps(measured):
    table = pd.read_csv(ROOT / "results/laptop/tables/three_gaps.csv")
    card = measured[-1]
    row = card.row("mine", "mnist", seed=7, effective_epochs=20, source="my MNIST")
    assert list(row) == list(table.columns)
    joined = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
    last = joined.iloc[-1]
    assert (last["method"], last["n_train"], last["n_test"]) == ("mine", 40, 24)
    assert last["elbo_star_test"] - last["elbo_test"] == pytest.approx(last["amortization_gap"])
    assert last["robustness_gap"] == pytest.approx(last["input_similarity"] - last["reconstruction_similarity"])
    assert {column: kind for column, kind in joined.dtypes.items() if kind != table.dtypes[column]} == {}


def test_what_was_not_measured_is_nan_in_the_row():
    card = scorecard(small(), images(3), images(1), amortization_images=0, attack_images=0, log_p_images=0)
    row = card.row("mine", "mnist")
    assert all(
        math.isnan(row[name]) for name in ("amortization_gap", "elbo_star_test_se", "robustness_gap", "elbo_test_se")
    )
    assert math.isfinite(row["generalization_gap"])
    assert "±" in str(card)


def test_the_bar_ends_full_and_tells_the_stages(monkeypatch):
    bars, notes = [], []

    class Recorded(scoring.Progress):
        def __init__(self, *options):
            super().__init__(*options)
            bars.append(self)

        def update(self, n=1, note="", left=None):
            assert n >= 0
            notes.append(note)
            super().update(n, note, left)

    monkeypatch.setattr(scoring, "Progress", Recorded)
    scorecard(small(), images(), images(), log_p_images=2, attack_images=3, amortization_images=4, **QUICK)
    assert bars[0].done == pytest.approx(bars[0].total, abs=5)
    assert list(dict.fromkeys(filter(None, notes))) == ["ELBO", "G_a", "G_r", "log p(x)"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attack_images": -1}, "attack_images = -1"),
        ({"restarts": 0}, "restarts = 0"),
        ({"similarity": "ssim"}, "kuzina2022"),
        ({"labels": LABELS[:3]}, "labels"),
        ({"radius": 0.0}, "attack radius = 0"),
        ({"attack_steps": -1}, "attack steps = -1"),
        ({"temperatures": 1}, "temperatures = 1"),
    ],
)
def test_a_setting_out_of_range_is_told_before_anything_is_measured(options, words, monkeypatch):
    monkeypatch.setattr(scoring.gaps, "elbo_terms", None)
    with pytest.raises(VaelibError, match=words):
        scorecard(small(), images(), images(), **{"amortization_images": 0, "log_p_images": 0} | options)


def test_a_broken_vae_is_told():
    vae = small()
    with torch.no_grad():
        vae.decoder[-1].bias[0] = math.nan
    with pytest.raises(NonFinite, match="distortion of the training images is NaN or infinite for 24 of 24"):
        scorecard(vae, images(), images())
    with pytest.raises(VaelibError, match=r"a Linear has no encode, decode.*subclass vaelib.VAE"):
        scorecard(nn.Linear(2, 2), images(), images())


# Adapters.


def test_two_functions_are_the_vae_they_are_taken_from():
    vae, x = small(), images()
    twin = from_functions(vae.encode, vae.decode, vae.likelihood, image_shape=(1, 28, 28))
    assert (twin.d_z, list(twin.networks)) == (4, [vae])
    options = {"amortization_images": 5, "attack_images": 4, "log_p_images": 2} | QUICK
    ours, theirs = (scorecard(one, x, x, LABELS, name="same", **options) for one in (vae, twin))
    assert ours.model_copy(update={"seconds": 0}) == theirs.model_copy(update={"seconds": 0})


def test_spreads_are_told_apart():
    mu, sigma = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 3.0]])
    given = {"sigma": sigma, "variance": sigma**2, "log_sigma": sigma.log(), "log_variance": 2 * sigma.log()}
    network = nn.Sequential(nn.Linear(2, 256), nn.Unflatten(1, (1, 16, 16)))
    for spread, value in given.items():

        def encode(x, value=value):
            return x.mean() * 0 + mu.expand(len(x), 2), x.mean() * 0 + value.expand(len(x), 2)

        vae = from_functions(encode, network, Bernoulli(), image_shape=(1, 16, 16), spread=spread)
        torch.testing.assert_close(vae.encode(torch.zeros(1, 1, 16, 16)).sigma, sigma)


@pytest.mark.parametrize("spread", ["sigma", "variance"])
def test_a_spread_below_zero_is_no_small_one(spread):
    """Blank images are looked at when the VAE is made; these have a positive one."""
    network = nn.Sequential(nn.Linear(2, 256), nn.Unflatten(1, (1, 16, 16)))

    def encode(x):
        grey = x.mean((1, 2, 3))[:, None].expand(-1, 2)
        return grey, 1 - 2 * grey

    vae = from_functions(encode, network, Bernoulli(), image_shape=(1, 16, 16), spread=spread)
    white = torch.ones(3, 1, 16, 16)
    with pytest.raises(NonFinite, match="NaN or infinite for 3 of 3 images"):
        scorecard(vae, white, white, attack_images=0, log_p_images=0)


def test_networks_that_functions_name_are_measured_in_eval_mode():
    """Dropout in a closure would make every score random, and batch normalisation would learn from the test set."""
    encoder = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(256), nn.Dropout(0.5), nn.Linear(256, 6)).train()
    decoder = nn.Sequential(nn.Linear(3, 256), nn.Dropout(0.5), nn.Unflatten(1, (1, 16, 16))).train()

    def encode(x):
        return encoder(x).chunk(2, 1)

    vae = from_functions(encode, lambda z: decoder(z), Bernoulli(), image_shape=(1, 16, 16), spread="log_variance")
    assert set(vae.networks) == {encoder, decoder}
    before = encoder[1].running_mean.clone()
    x = images(size=(16, 16))
    assert torch.equal(gaps.evaluate_elbo(vae, x), gaps.evaluate_elbo(vae, x))
    assert torch.equal(encoder[1].running_mean, before)
    assert encoder.training
    assert sum(p.numel() for p in vae.parameters()) == sum(
        p.numel() for n in (encoder, decoder) for p in n.parameters()
    )


def good_encode(x):
    return x.flatten(1)[:, :2], x.flatten(1)[:, :2].exp()


def good_decode(z):
    return z.sum(1).view(-1, 1, 1, 1).expand(-1, 1, 16, 16)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"encode": lambda x: x.flatten(1)[:, :2]},
            r"encode gave \[\(2, 2\)\] for two images; it must return \(mean, sigma\)",
        ),
        ({"encode": lambda x: (x.flatten(1)[:, :2], None)}, "a NoneType"),
        ({"encode": lambda x: 2 * [x]}, "two tensors"),
        ({"encode": lambda x: 2 * [x.flatten(1)[:, :2]]}, 'not positive.*spread="log_variance"'),
        ({"encode": lambda x: 2 * [x.detach().flatten(1)[:, :2] + 1]}, "encode gives no gradient"),
        ({"decode": lambda z: z}, r"decode gave \(2, 2\) for two latents; Bernoulli of images \(1, 16, 16\) takes"),
        ({"decode": lambda z: good_decode(z.detach())}, "decode gives no gradient"),
        ({"decode": lambda z: None}, "a NoneType for two latents"),
        ({"spread": "std"}, "spread = 'std' is unknown; choose one of sigma"),
        ({"likelihood": MixtureOfLogistics(2)}, "choose another likelihood"),
    ],
)
def test_functions_that_do_not_fit_are_told(parts, words):
    given = {"encode": good_encode, "decode": good_decode, "likelihood": Bernoulli(), "image_shape": (1, 16, 16)}
    assert from_functions(**given).d_z == 2
    with pytest.raises(VaelibError, match=words):
        from_functions(**given | parts)


def test_probabilities_score_as_logits_do():
    logits, x = torch.randn(5, 1, 16, 16), images(5, (16, 16)).float() / 255
    one, other = Bernoulli(), Bernoulli(output="probabilities")
    torch.testing.assert_close(one.log_prob(logits, x), other.log_prob(logits.sigmoid(), x))
    draws = [
        kind.sample(params, torch.Generator().manual_seed(0))
        for kind, params in ((one, logits), (other, logits.sigmoid()))
    ]
    assert torch.equal(*draws)
    with pytest.raises(VaelibError, match="choose one of logits, probabilities"):
        Bernoulli(output="probs")


@pytest.mark.skipif(importlib.util.find_spec("pythae") is None, reason="pythae is not installed")
@pytest.mark.filterwarnings("ignore")  # of packages that it imports
class TestPythae:
    @staticmethod
    def model(kind="VAE", **options):
        from pythae import models

        torch.manual_seed(0)
        return getattr(models, kind)(getattr(models, f"{kind}Config")(input_dim=(1, 28, 28), latent_dim=3, **options))

    @pytest.mark.parametrize("loss", ["bce", "mse"])
    @pytest.mark.parametrize("kind", ["VAE", "BetaVAE"])
    def test_rate_and_distortion_are_the_terms_of_its_own_loss(self, kind, loss):
        model, x = self.model(kind, reconstruction_loss=loss), images().float() / 255
        terms = gaps.elbo_terms(from_pythae(model), x, samples=50)
        with torch.no_grad():
            own = [model.eval()({"data": x}) for _ in range(50)]
        assert float(terms.rate.mean()) == pytest.approx(float(own[0].reg_loss), rel=1e-3 if kind == "VAE" else 1)
        constant = 28 * 28 / 2 * math.log(2 * math.pi) if loss == "mse" else 0
        assert float(terms.distortion.mean()) - constant == pytest.approx(
            sum(float(one.recon_loss) for one in own) / 50, rel=3e-3
        )

    def test_a_model_is_given_as_it_is(self):
        card = scorecard(
            self.model(), images(), images(), amortization_images=3, attack_images=3, log_p_images=0, **QUICK
        )
        assert (card.name, card.likelihood, card.latents, card.image_shape) == ("VAE", "gaussian", 3, (1, 28, 28))

    def test_its_importance_weighted_bound_is_ours(self):
        model, x = self.model(reconstruction_loss="bce"), images(4).float() / 255
        with torch.no_grad():
            theirs = model.eval().get_nll(x, n_samples=500, batch_size=500)
        bound = gaps.iwae(from_pythae(model), x, k=500)
        assert float(bound.value.mean()) == pytest.approx(theirs, abs=5 * float(bound.error.mean()))

    @pytest.mark.parametrize("kind", ["VAMP", "AE", "SVAE"])
    def test_another_prior_or_posterior_is_refused(self, kind):
        with pytest.raises(VaelibError, match=f"{kind} is no model of pythae with a Gaussian posterior"):
            from_pythae(self.model(kind))


def test_what_is_no_model_of_pythae_is_refused():
    with pytest.raises(VaelibError, match="Linear is no model of pythae"):
        from_pythae(nn.Linear(2, 2))


# Sizes.


@pytest.mark.parametrize("size", [28, 64, (20, 28)])
@pytest.mark.parametrize(("channels", "likelihood"), [(1, Bernoulli()), (3, Gaussian()), (3, MixtureOfLogistics(1))])
def test_images_of_any_size_are_trained_on_and_measured(size, channels, likelihood):
    height, width = (size, size) if isinstance(size, int) else size
    x = images(6, (height, width), channels)
    vae = small(size, likelihood, channels=channels)
    assert vae.image_shape == (channels, height, width)
    state, stream = vaelib.VAEState(vae), vaelib.TrainingDistribution(x, 6)
    first, *_, last = vaelib.train_vae(state, stream, epochs=4, batch_size=3)
    assert last.elbo > first.elbo
    quick = QUICK | {"amortization_steps": 20, "attack_steps": 2}
    card = scorecard(vae, x, x, torch.arange(6) % 2, amortization_images=2, attack_images=2, log_p_images=0, **quick)
    assert card.image_shape == (channels, height, width)
    assert card.generalization_gap.value == 0
    assert card.amortization.gap.value >= 0
    assert tasks.reconstruct(vae, x).shape == x.shape


@pytest.mark.parametrize("variant", ["kuzina2022", "kuzina2022_fixed", "wang2003_upsampled"])
@pytest.mark.parametrize("size", [(16, 16), (17, 29), (28, 28), (64, 64)])
def test_similarity_takes_any_size_from_16_on(variant, size):
    x = images(3, size)
    assert torch.allclose(gaps.ms_ssim(x, x, variant), torch.ones(3), atol=1e-4)
    assert (gaps.ms_ssim(x, 255 - x, variant) < 0.5).all()
    with pytest.raises(
        VaelibError, match=r"x are 16×15; MS-SSIM .* needs 16 pixels a side or more: give images padded"
    ):
        gaps.ms_ssim(images(3, (16, 15)), images(3, (16, 15)), variant)


def test_a_robustness_gap_of_tiny_images_is_refused_and_says_what_works():
    vae = small(8)
    with pytest.raises(VaelibError, match=r"images are 8×8; .* 16 pixels a side or more"):
        gaps.robustness_gap(vae, images(size=(8, 8)), LABELS, n_images=2)
    with pytest.raises(VaelibError, match=r"give images padded .* or a VAE made with size=8"):
        gaps.evaluate_elbo(small(28), images(size=(8, 8)))
    with pytest.raises(VaelibError, match="size = 0"):
        FullyConnectedVAE(size=0)


# The command line.

MODULE = """
import torch
import vaelib

def images(n):
    return torch.randint(0, 256, (n, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))

def vae():
    torch.manual_seed(0)
    return vaelib.FullyConnectedVAE(d_z=3, hidden=8, size=28)

def whole():
    return vae(), images(30), images(20), torch.arange(20) % 2

def padded():
    return vaelib.FullyConnectedVAE(d_z=3, hidden=8)

def pair():
    return vae(), images(30)

def number():
    return 3

def of(path):
    return vae()

CONSTANT = 3
"""
FEW = [
    "--amortization-images",
    "4",
    "--attack-images",
    "3",
    "--attack-steps",
    "3",
    "--restarts",
    "2",
    "--log-p-images",
    "0",
]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return a function that runs ``vaelib scorecard`` in a folder with a module of one's own."""
    (tmp_path / "mine_of_test.py").write_text(MODULE)
    (tmp_path / "broken_of_test.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "300")
    yield lambda *words: CliRunner().invoke(app, ["scorecard", *words, *FEW])
    sys.modules.pop("mine_of_test", None)


def test_a_function_of_ones_own_is_scored_by_text(command, tmp_path):
    done = command("mine_of_test:whole", "--json", "card.json")
    assert done.exit_code == 0, done.exception
    card = Scorecard.read_json(tmp_path / "card.json")
    assert str(card) in done.output
    assert (card.name, card.train.elbo.images, card.robustness.gap.images) == ("mine_of_test:whole", 30, 3)
    assert (card.protocol.restarts, card.protocol.attack_steps) == (2, 3)


def test_options_that_would_change_nothing_are_refused(command, toy):
    error = command("mine_of_test:whole", "--dataset", toy, "--n-train", "40").exception
    assert isinstance(error, VaelibError)
    assert "comes with its own images, so --dataset, --n-train would change nothing; leave that out" in str(error)


def test_a_vae_alone_is_scored_on_a_data_set(command, toy):
    done = command("mine_of_test:padded", "--dataset", toy, "--n-train", "40")
    assert done.exit_code == 0, done.exception
    assert "train, 40 images" in done.output
    wrong = command("mine_of_test:vae", "--dataset", toy).exception
    assert "takes images (1, 28, 28), those of toy are (1, 32, 32)" in str(wrong)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mine_of_tset:vae", r"there is no module mine_of_tset, neither in .* nor installed"),
        ("mine_of_test:vea", r"function of mine_of_test = 'vea' is unknown; .*did you mean vae"),
        ("mine_of_test:CONSTANT", "CONSTANT is a int; give a function"),
        ("mine_of_test:of", r"cannot be called without arguments \(missing a required argument: 'path'\)"),
        ("mine_of_test:number", "what mine_of_test:number returned: a int .*it is no VAE"),
        ("mine_of_test:pair", r"returned 2 things; return the VAE, or \(vae, train, test, labels\)"),
        ("mine_of_test.py:vae", "give module:function: mine_of_test:vae"),
        ("mine_of_test", "give module:function"),
        ("mine_of_test:__import__('os')", "names no function"),
        ("broken_of_test:vae", "broken_of_test imports not_installed_anywhere, which is not installed"),
        ("abcdef0123", "key = abcdef0123: no VAE of the store"),
    ],
)
def test_a_wrong_name_is_told_in_a_line(command, text, words):
    error = command(text).exception
    assert isinstance(error, VaelibError), error
    assert "\n" not in str(error)
    with pytest.raises(VaelibError, match=words):
        raise error


def test_a_vae_of_the_store_is_scored_by_its_key(command, toy):
    from vaelib.runs import Store, run
    from vaelib.studies.three_gaps.runs import three_gaps

    budget = {"n_train": 30, "n_test": 16, "seeds": 1, "epochs": 2, "k": 1}
    experiment = three_gaps("smoke", toy, overrides=budget)
    (point,) = [point for point in experiment.points if point.series == "normal"]
    run([point.vae], workers=0)
    done = command(point.vae.key[:8])
    assert done.exit_code == 0, done.exception
    assert f"normal, seed 0, {experiment.dataset}: gaussian likelihood" in done.output
    assert "train, 30 images  test, 16 images" in done.output
    (kept,) = [
        row for row in files.read_json(Store().folder(point.vae) / "curve.json") if row["quantity"] == "elbo_test"
    ][-1:]
    assert number(kept["value"]) in done.output.replace(" ", "")  # the ELBO that the run itself kept
