"""IWAE, AIS and BDMC against log p(x) in closed form; the order of all bounds; certificates that hold."""

import math
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.finite_world import bars_and_stripes, entropy_shortfall
from vaelib.data.worlds import DecoderWorld, linear_world, random_decoder
from vaelib.errors import VaelibError
from vaelib.gaps import (
    Bracket,
    ais_lower,
    bdmc,
    certified,
    certify,
    evaluate_elbo,
    iwae,
    optimize_posterior,
    promised,
    slack,
)
from vaelib.gaps.ais import _retimed, _sigmoid
from vaelib.gaps.calibration import QUANTITIES, calibration_world, estimates, exact_values
from vaelib.gaps.memory import bytes_per_decoding, decodings_at_once, memory_of
from vaelib.models import Bernoulli, FullyConnectedVAE, Posterior
from vaelib.models.linear import LinearGaussianVAE

WORLD = linear_world()
FAST = {"chains": 4, "temperatures": 60}


def width(bracket: Bracket) -> torch.Tensor:
    return bracket.upper - bracket.lower


@pytest.fixture(scope="module")
def pairs():
    return WORLD.pairs(100)


@pytest.fixture(scope="module")
def x(pairs):
    return pairs[1]


@pytest.fixture(scope="module")
def log_px(x):
    return WORLD.log_prob(x)


def poor_vae() -> LinearGaussianVAE:
    """The world's decoder behind an encoder that is off in mean and 1.5 times too wide."""
    best = WORLD.vae
    shift = torch.tensor([0.3, -0.2, 0.1, 0.4]) / 2
    encoder = {"encoder_weight": best.optimum, "encoder_bias": shift, "encoder_sigma": 1.5 * best.encoder_sigma}
    return LinearGaussianVAE(best.weight, best.bias, best.sigma, best.image_shape, **encoder)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"k": 0}, "k = 0"), ({"temperatures": 1}, "temperatures = 1"), ({"chains": 0}, "chains = 0"), ({}, "z of shape")],
)
def test_a_certificate_that_cannot_be_is_refused_before_any_climb(pairs, options, words, monkeypatch):
    monkeypatch.setattr(certified, "optimize_posterior", None)
    with pytest.raises(VaelibError, match=words):
        certify(WORLD.vae, pairs[1], z=pairs[0][:3], **options)


def standard_error(values: Tensor) -> float:
    return float(values.std() / len(values) ** 0.5)


def test_iwae_climbs_from_the_elbo_to_log_px(x, log_px):
    vae = poor_vae()
    found = {k: iwae(vae, x, k=k).value for k in (1, 4, 16, 64, 1000)}
    assert abs((found[1] - vae.exact_elbo(x)).mean()) < 4 * standard_error(found[1] - vae.exact_elbo(x))
    below = [float((value - log_px).mean()) for value in found.values()]
    assert below == sorted(below)
    assert below[0] < -1
    assert abs(below[-1]) < 4 * standard_error(found[1000] - log_px) + 0.01


def test_iwaes_error_is_its_standard_deviation(x, log_px):
    """Over seeds the value scatters by what ``error`` says; a second posterior, q*, scatters less."""
    runs = [iwae(poor_vae(), x, k=200, seed=seed) for seed in range(12)]
    scatter = torch.stack([run.value for run in runs]).var(0).mean().sqrt()
    said = torch.stack([run.error.square() for run in runs]).mean().sqrt()
    assert scatter.item() == pytest.approx(said.item(), rel=0.15)
    star = WORLD.vae.optimal_posterior(x)
    assert iwae(poor_vae(), x, k=200, q=star).error.mean() < said / 2
    assert abs(float((runs[0].value - log_px).mean())) < 5 * standard_error(runs[0].value - log_px)


def test_iwae_ignores_chunks_and_extends_its_draws(x):
    vae = poor_vae()
    whole = iwae(vae, x, k=33)
    for chunk in (7, 50):
        memory = 10 * chunk * bytes_per_decoding(vae, x[0])
        torch.testing.assert_close(iwae(vae, x, k=33, memory=memory).value, whole.value, rtol=0, atol=1e-4)
    torch.testing.assert_close(iwae(vae, x[:60], k=33).value, whole.value[:60], rtol=0, atol=1e-4)
    # log of the mean over draws 0..32 = the mean of the first 20 and the last 13: the latter's by subtraction
    rest = 33 * whole.value.exp() - 20 * iwae(vae, x, k=20).value.exp()
    assert (rest > 0).all()
    assert not torch.allclose(iwae(vae, x, k=33, seed=1).value, whole.value)
    assert whole.value.dtype == torch.float64


class Exact(nn.Module):
    """A VAE whose p_θ is the uniform distribution over ``images``: the latent's quantile names the image."""

    d_z, likelihood = 1, Bernoulli()

    def __init__(self, images: Tensor):
        super().__init__()
        self.register_buffer("images", images.float() / 255)

    def decode(self, z: Tensor) -> Tensor:
        number = (torch.special.ndtr(z[:, 0]) * len(self.images)).long().clamp(max=len(self.images) - 1)
        return 60 * (2 * self.images[number] - 1)

    def encode(self, x: Tensor) -> Posterior:
        number = (x[:, None] == self.images).flatten(2).all(2).float().argmax(1)
        mu = torch.special.ndtri((number[:, None] + 0.5) / len(self.images))
        return Posterior(mu, torch.full_like(mu, 1e-3))


def test_remark_b5_on_a_finite_world():
    """E_p[ELBO] < E_p[log p_θ] = -H(p) for the perfect model: the bound is reached by log p_θ and not by the ELBO."""
    world = bars_and_stripes()
    vae = Exact(world.images)
    elbo = evaluate_elbo(vae, world.images)
    assert entropy_shortfall(world.entropy, elbo, world.weights) > 1
    prior = Posterior(torch.zeros(30, 1), torch.ones(30, 1))
    exact = iwae(vae, world.images, k=2000, q=prior)
    torch.testing.assert_close(exact.value, torch.full((30,), -world.entropy, dtype=torch.float64), rtol=0, atol=0.5)
    assert abs(entropy_shortfall(world.entropy, exact.value)) < 0.08
    # A draw hits the image with probability 1/30: the error is known, too.
    assert exact.error.mean().item() == pytest.approx((29 / 2000) ** 0.5, rel=0.1)


def test_bdmc_brackets_log_px(pairs, log_px):
    z, x = pairs
    bracket = bdmc(WORLD.vae, z, x, **FAST)
    low, high = bracket.lower - log_px, bracket.upper - log_px
    assert low.mean() < 3 * standard_error(low)
    assert high.mean() > -3 * standard_error(high)
    assert low.mean() > -4
    assert high.mean() < 4
    certified = bracket.mean(delta=0.01)
    assert certified[0] <= log_px.mean() <= certified[1]


def test_bdmc_from_the_encoder_is_tight(pairs, log_px):
    """Less than 0.1 nats wide, and log p(x) within; from the prior, more temperatures close in."""
    z, x = pairs
    tight = bdmc(WORLD.vae, z, x, q=WORLD.vae.encode(x), **FAST)
    assert width(tight).mean() < 0.1
    for side in tight:
        assert abs((side - log_px).mean()) < 4 * standard_error(side - log_px) + 0.01
    wide = bdmc(WORLD.vae, z, x, chains=4, temperatures=15)
    narrow = bdmc(WORLD.vae, z, x, chains=4, temperatures=100)
    assert 0 < width(narrow).mean() < width(wide).mean() / 3
    assert (narrow.upper - log_px).mean() < 1.5  # backwards, each temperature has its own step size, not its mirror's


def test_weights_are_unbiased_both_ways():
    """E[exp(lower)] = p(x) and E[exp(-upper)] = 1 / p(x), exactly, with few temperatures and many images.

    A wrong acceptance, weight or order of temperatures shifts either mean.
    """
    z, x = WORLD.pairs(4_000, seed=3)
    own, log_px = WORLD.vae.encode(x), WORLD.log_prob(x)
    q = Posterior(own.mu + 0.3 * own.sigma, 1.2 * own.sigma)
    bracket = bdmc(WORLD.vae, z, x, q=q, chains=1, temperatures=6)
    for ratio in ((bracket.lower - log_px).exp(), (log_px - bracket.upper).exp()):
        assert abs(ratio.mean() - 1) < 3 * standard_error(ratio)
        assert standard_error(ratio) < 0.01
    assert (bracket.lower - log_px).mean() < -0.05
    assert (bracket.upper - log_px).mean() > 0.05


def test_ais_is_bdmcs_lower_half_and_ignores_chunks(pairs):
    z, x = pairs[0][:30], pairs[1][:30]
    vae = LinearGaussianVAE(WORLD.vae.weight.double(), WORLD.vae.bias.double(), 0.3, (1, 8, 8))
    options = {"chains": 3, "temperatures": 12}
    bracket = bdmc(vae, z.double(), x.double(), **options)
    memory = 11 * 4 * bytes_per_decoding(vae, x[0].double(), gradient=True)
    lower = ais_lower(vae, x.double(), memory=memory, **options)
    torch.testing.assert_close(lower.value, bracket.lower)
    assert not torch.allclose(ais_lower(vae, x.double(), seed=1, **options).value, bracket.lower)
    assert (lower.error > 0).all()


def test_temperatures_are_spaced_by_the_spread():
    """For std(Δ) = 1 / (β + a), equal distances are equal ratios of β + a; a tenth stays the given spacing."""
    betas = _sigmoid(2_000).expand(-1, 2)
    a = torch.tensor([1e-3, 1e-1], dtype=torch.float64)
    steps = betas[1:-1].clone()  # a step that names its temperature
    found, own = _retimed(betas, 1 / (betas[:-1] + a), steps)
    assert (found[0] == 0).all()
    assert (found[-1] == 1).all()
    assert (found.diff(dim=0) > 0).all()
    length = ((found + a) / a).log() / ((1 + a) / a).log()
    even = torch.linspace(0, 1, 2_001, dtype=torch.float64)[:, None]
    assert (length - even).abs().max() < 0.1
    torch.testing.assert_close(own, found[1:-1], rtol=0, atol=2e-3)
    flat, _ = _retimed(betas, torch.zeros_like(betas[:-1]), steps)
    assert flat.isfinite().all()


@pytest.mark.parametrize(
    ("likelihood", "settings"),
    [("bernoulli", {"gain": 0.5}), ("gaussian", {"sigma": 1.0, "gain": 0.3}), ("mol", {"mixtures": 1, "gain": 0.3})],
)
def test_all_bounds_stand_in_order(likelihood, settings):
    """ELBO ≤ ELBO* ≤ IWAE, AIS ≤ BDMC on a nonlinear decoder, on average over images, within 4 standard errors."""
    world = random_decoder(likelihood, d_z=3, hidden=16, **settings)
    z, x = world.pairs(10)
    found = optimize_posterior(world.vae, x, unclipped=True)
    lower, upper = bdmc(world.vae, z, x, chains=3, temperatures=60)
    weighted = iwae(world.vae, x, k=300, q=Posterior(found.mu, 1.2 * found.sigma), unclipped=True).value
    elbo, star = found.elbo.double(), found.elbo_star.double()
    for low, high in ((elbo, star), (star, weighted), (star, lower), (weighted, upper), (lower, upper)):
        assert (high - low).mean() > -4 * standard_error(high - low)
    assert (star - elbo).mean() > 1
    assert (upper - lower).mean() < 2


def test_the_upper_bound_unmasks_a_missed_mode():
    """An ELBO* stuck in a wrong mode, its IWAE and its AIS agree with each other; only BDMC's upper bound objects."""
    world = random_decoder("gaussian", d_z=3, hidden=16, sigma=0.1, gain=0.3, mean="linear")
    z, x = world.pairs(16)
    found = optimize_posterior(world.vae, x, unclipped=True)
    bracket = bdmc(world.vae, z, x, q=found, chains=3, temperatures=50)
    stuck = width(bracket) > 50
    assert 1 <= stuck.sum() <= 3
    assert abs(iwae(world.vae, x, k=300, q=found, unclipped=True).value - bracket.lower)[stuck].max() < 10
    from_prior = ais_lower(world.vae, x, chains=8, temperatures=200, unclipped=True).value
    assert (from_prior - bracket.lower)[stuck].min() > 50
    assert width(bracket)[~stuck].mean() < 3


def test_further_starts_find_the_mode_that_was_missed():
    """The same images: one of two starts finds it, and the bracket closes on all of them; where it was open tells `promised`.

    A blind encoder's posterior is far too wide: the climb from it stops (``converged``) with nats still to be had.
    """
    world = random_decoder("gaussian", d_z=3, hidden=16, sigma=0.1, gain=0.3, mean="linear")
    z, x = world.pairs(16)
    one, two = (optimize_posterior(world.vae, x, starts=starts, unclipped=True) for starts in (1, 2))
    assert (two.elbo_star > one.elbo_star - 1).all()
    assert 1 <= (two.elbo_star - one.elbo_star > 50).sum() <= 3
    assert (two.start == 1).any()
    assert torch.equal(two.elbo, one.elbo)
    assert width(bdmc(world.vae, z, x, q=two, chains=3, temperatures=50)).max() < 10
    assert one.converged.all()
    left = [promised(world.vae, x, q, unclipped=True).mean() for q in (two, one)]
    assert left[0] < 0.05 * left[1]
    with pytest.raises(VaelibError, match="starts = 0"):
        optimize_posterior(world.vae, x, starts=0, unclipped=True)


def test_promised_nats_are_what_a_step_would_gain(x):
    """Off the optimum by t in each σ-scaled latent, ½ Σ (Λᵢᵢ^-½ (Λδ)ᵢ)²; at the optimum 0, without bias by noise."""
    vae, best = WORLD.vae, WORLD.vae.optimal_posterior(x)
    still = promised(vae, x, best, samples=8)
    assert abs(still.mean()) < 4 * standard_error(still)
    assert standard_error(still) < 0.1
    offset = 0.5 * best.sigma
    expected = 0.5 * (best.sigma * (offset @ vae.precision.double())).square().sum(1)
    found = promised(vae, x, Posterior(best.mu + offset, best.sigma), samples=64)
    assert abs((found - expected).mean()) < 4 * standard_error(found - expected)
    wide = promised(vae, x, Posterior(best.mu, 1.5 * best.sigma), samples=64)  # in log σ: ¼ Σ (1 - 1.5²)²
    assert abs(wide.mean() - 4 * 1.25**2 / 4) < 4 * standard_error(wide)
    assert not torch.allclose(promised(vae, x, best, samples=8, seed=1), still)


def test_the_certificate_has_every_bound_in_order(pairs, log_px):
    """Of the poor encoder's VAE: ELBO ≤ ELBO* ≤ lower ≤ log p(x) ≤ BDMC on average, the bracket closed, no complaint."""
    z, x = pairs
    found = certify(poor_vae(), x, z=z, k=500, chains=4, temperatures=30)
    bounds = found.bounds()
    assert list(bounds) == ["ELBO", "ELBO*", "IWAE", "AIS", "lower", "BDMC"]
    for low, high in zip(list(bounds)[:-1], ["ELBO*", "IWAE", "BDMC", "BDMC", "BDMC"], strict=True):
        difference = bounds[high] - bounds[low]
        assert difference.mean() > -4 * standard_error(difference), (low, high)
    assert width(found.bracket).mean() < 0.2
    assert abs((found.bracket.lower - log_px).mean()) < 0.1
    assert found.complaints()["unconverged"] == found.complaints()["impossible brackets"] == 0
    assert 0 < found.promised.mean() < 0.5  # what the climb has left
    real = certify(poor_vae(), x[:5], k=10, chains=2, temperatures=5)
    assert real.upper.isinf().all()
    assert "BDMC" not in real.bounds()


def test_one_weight_tells_no_error(x):
    assert iwae(WORLD.vae, x[:5], k=1).error.tolist() == [math.inf] * 5
    assert ais_lower(WORLD.vae, x[:5], chains=1, temperatures=3).error.tolist() == [math.inf] * 5
    assert iwae(WORLD.vae, x[:5], k=2).error.isfinite().all()


def test_an_impossible_bracket_is_reported():
    """Two ends that cross by more than 2 log(2N/δ) cannot both be right; by less they can, by chance."""
    room = 2 * math.log(2 * 3 / 0.01)
    bracket = Bracket(torch.tensor([0.0, room - 0.1, room + 0.1]), torch.zeros(3))
    assert bracket.impossible().tolist() == [False, False, True]
    assert not Bracket(torch.zeros(3), torch.full((3,), math.inf)).impossible().any()
    low, high = Bracket(torch.full((100,), 5.0), torch.zeros(100)).mean()
    assert low > high  # nor does the interval of the mean hide it


def test_a_decoding_is_priced_without_the_compiler():
    """PyTorch imports all of it, in two seconds, to skip it in a mode that does not say that it needs no skipping."""
    code = (
        "import sys, torch; from vaelib.gaps.memory import bytes_per_decoding; from vaelib.models import FullyConnectedVAE\n"
        "assert bytes_per_decoding(FullyConnectedVAE(d_z=2, hidden=4), torch.zeros(1, 32, 32)) > 4096\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("likelihood", ["gaussian", "mol"])
def test_chunks_follow_the_memory_setting(likelihood, monkeypatch):
    """No decoder call is larger than the bytes allow; a larger model gets fewer decodings; the values stay."""
    world = random_decoder(likelihood, d_z=2, hidden=16)
    vae, x, seen = world.vae, world.sample(6), []
    price = bytes_per_decoding(vae, x[0])
    assert price > x[0].nbytes
    assert bytes_per_decoding(vae, x[0], gradient=True) == 2 * price
    assert bytes_per_decoding(random_decoder(likelihood, hidden=512).vae, x[0]) > price
    whole = iwae(vae, x, k=20, unclipped=True).value
    decode = vae.decode
    monkeypatch.setattr(vae, "decode", lambda z: seen.append(len(z)) or decode(z))
    torch.testing.assert_close(iwae(vae, x, k=20, memory=20 * price, unclipped=True).value, whole, rtol=1e-6, atol=1e-2)
    assert max(seen) == 20
    assert decodings_at_once(vae, x, 3 * price) == 3
    assert decodings_at_once(vae, x, 1) == 1
    assert decodings_at_once(vae, x, 2**40) == 1_000
    with pytest.raises(VaelibError, match="memory = 0"):
        iwae(vae, x, memory=0, unclipped=True)


def test_a_gpus_chunk_follows_what_it_has_in_all(monkeypatch):
    """Not what is free: a neighbour must not change how numbers are added."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(total_memory=80 * 2**30))
    assert memory_of(torch.device("cuda")) == 5 * 2**30
    assert memory_of(torch.device("cuda"), 7) == 7
    assert memory_of(torch.device("cpu")) == 2**30


def test_slack_is_markovs():
    """P{mean of n log-weights > a} ≤ exp(-n a), and the heaviest case comes near: w = 1/δ with probability δ."""
    assert slack(1, 0.05) == pytest.approx(math.log(20))
    assert slack(100, 0.01) == pytest.approx(math.log(100) / 100)
    bracket = Bracket(torch.zeros(10), torch.ones(10))
    assert bracket.mean(0.02) == pytest.approx((-slack(10, 0.01), 1 + slack(10, 0.01)))
    with pytest.raises(VaelibError, match="between 0 and 1"):
        slack(10, 1.5)


def test_bad_settings_are_one_line(pairs):
    z, x = pairs
    q = Posterior(torch.zeros(3, 4), torch.ones(3, 4))
    for call, message in (
        (lambda: iwae(WORLD.vae, x, k=0), "at least 1"),
        (lambda: iwae(WORLD.vae, x, q=q), r"q of shape \(3, 4\) must have a row an image: \(100, 4\)"),
        (lambda: iwae(WORLD.vae, x[:0]), "at least one image"),
        (lambda: ais_lower(WORLD.vae, x, temperatures=1), "temperatures = 1 at least 2"),
        (lambda: ais_lower(WORLD.vae, x, temperatures=1), "at least 2"),
        (lambda: ais_lower(WORLD.vae, x, chains=0), "at least 1"),
        (lambda: ais_lower(WORLD.vae, x, q=q), "q of shape"),
        (lambda: bdmc(WORLD.vae, z[:5], x), "z of shape"),
    ):
        with pytest.raises(VaelibError, match=message):
            call()


def test_the_bounds_run_on_the_models_device(monkeypatch):
    """Fake tensors know no backward pass, so the gradient is a stand-in; all else of IWAE and BDMC is itself."""
    monkeypatch.setattr(torch.autograd, "grad", lambda value, u: (torch.zeros_like(u),))
    with FakeTensorMode():
        images = torch.zeros((3, 1, 32, 32), dtype=torch.uint8)
        with torch.device("cuda"):
            vae = FullyConnectedVAE(d_z=3, hidden=16)
        z = DecoderWorld(vae).pairs(3)[0]
        assert z.device.type == "cuda"
        found = [*iwae(vae, images, k=3), *bdmc(vae, z, images, chains=2, temperatures=3, memory=1)]
    for part in found:
        assert part.shape == (3,)
        assert part.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bdmc_on_cuda_equals_that_on_the_cpu(pairs):
    z, x = pairs
    expected = bdmc(WORLD.vae, z, x, q=WORLD.vae.encode(x), **FAST)
    found = bdmc(linear_world().vae.cuda(), z.cuda(), x.cuda(), q=WORLD.vae.encode(x), **FAST)
    for side, other in zip(found, expected, strict=True):
        assert abs((side - other).mean()) < 0.05


# --- estimates beside their closed forms ------------------------------------------------------------------------------


def test_expectations_are_the_means_of_the_closed_forms():
    """E_p[log p], E_p[ELBO*], E_p[ELBO] of another model than p's own, and of an encoder off in mean, by 40,000 samples."""
    world, other = linear_world(), linear_world(seed=1)
    moved = LinearGaussianVAE(other.vae.weight, other.vae.bias + 0.1, 0.4, (1, 8, 8), encoder_bias=torch.ones(4) / 9)
    for vae in (poor_vae(), moved):
        images = world.sample(40_000)
        means = vae.log_px(images), vae.exact_elbo_star(images), vae.exact_elbo(images)
        for exact, values in zip(vae.expected(*world.moments), means, strict=True):
            assert abs(values.mean() - exact) < 4 * standard_error(values)


@pytest.mark.parametrize("n_train", [6, 80])
def test_an_encoder_of_few_images_overfits(n_train):
    """On its own images ELBO = ELBO*; elsewhere not, unless they span all pixels: G_a falls to 0."""
    world, vae, train = calibration_world(n_train)
    torch.testing.assert_close(vae.exact_elbo(train), vae.exact_elbo_star(train), rtol=0, atol=1e-3)
    truth = exact_values(world, vae, train)
    assert truth["log p(x)"] == pytest.approx(-world.entropy, abs=1e-6)
    assert truth["ELBO"] <= truth["ELBO*"] < truth["log p(x)"]
    assert truth["G_a"] > 5 if n_train == 6 else abs(truth["G_a"]) < 1e-6


def test_estimates_are_within_three_errors_of_their_closed_forms():
    """20 seeded repetitions of the five quantities: each at least 19 times, as 3 standard errors promise 99.7 %."""
    world, vae, train = calibration_world()
    runs = [estimates(world, vae, train, images=50, k=500, seed=seed) for seed in range(20)]
    for place, name in enumerate(QUANTITIES):
        z = torch.tensor([(run[place].value - run[place].exact) / run[place].error for run in runs])
        assert runs[0][place].quantity == name
        assert (z.abs() < 3).sum() >= 19, (name, z)
        assert 0.55 < z.std() < 1.6, name  # outside lies an honest error once in a thousand
