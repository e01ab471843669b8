"""Likelihoods against torch.distributions, brute-force sums and their own samplers."""

import math

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal

from vaelib.errors import VaelibError
from vaelib.models import Bernoulli, Gaussian, MixtureOfLogistics, build_likelihood

GREYS = torch.arange(256, dtype=torch.float64) / 255


@pytest.mark.parametrize("channels", [1, 3])
def test_bernoulli_is_torchs(channels):
    logits = 3 * torch.randn(5, channels, 32, 32, dtype=torch.float64)
    x = torch.randint(0, 2, logits.shape).double()
    expected = TorchBernoulli(logits=logits).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(Bernoulli().log_prob(logits, x), expected)


def test_bernoulli_scores_a_grey_by_its_expectation():
    logits, grey = torch.randn(4, 1, 32, 32), torch.full((4, 1, 32, 32), 0.3)
    ones, zeros = torch.ones_like(grey), torch.zeros_like(grey)
    likelihood = Bernoulli()
    expected = 0.3 * likelihood.log_prob(logits, ones) + 0.7 * likelihood.log_prob(logits, zeros)
    torch.testing.assert_close(likelihood.log_prob(logits, grey), expected)


@pytest.mark.parametrize("sigma", [0.03, 0.5])
def test_gaussian_is_torchs_with_its_constant(sigma):
    mean, x = torch.rand(5, 3, 32, 32, dtype=torch.float64), torch.rand(5, 3, 32, 32, dtype=torch.float64)
    expected = Normal(mean, sigma).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(Gaussian(sigma).log_prob(mean, x), expected)


def test_a_perfectly_predicted_pixel_earns_2_59_nats_at_the_papers_sigma():
    x = torch.rand(1, 1, 32, 32)
    assert Gaussian().log_prob(x, x).item() / 1024 == pytest.approx(2.5876, abs=1e-3)


def mol_params(n, mixtures, scale=1.0, dtype=torch.float64):
    """Random mixtures for ``n`` images of 1×1 pixel: logits, means around 0, log-scales around -3."""
    logits, means = torch.randn(n, mixtures, 1, 1, dtype=dtype), 0.6 * torch.randn(n, mixtures, 1, 1, dtype=dtype)
    return torch.cat([logits, means, scale * torch.randn(n, mixtures, 1, 1, dtype=dtype) - 3], 1)


@pytest.mark.parametrize("mixtures", [1, 3, 10])
def test_mol_sums_to_one_over_all_greys(mixtures):
    params = mol_params(40, mixtures, scale=3.0)
    likelihood = MixtureOfLogistics(mixtures)
    total = sum(likelihood.log_prob(params, g.expand(40, 1, 1, 1)).exp() for g in GREYS)
    torch.testing.assert_close(total, torch.ones(40, dtype=torch.float64), rtol=0, atol=1e-12)


def test_mol_is_the_difference_of_logistic_cdfs():
    """The plain difference cancels far out in a tail, so the components here are wide (scale about 0.2)."""
    params, likelihood = mol_params(20, 4, scale=0.2), MixtureOfLogistics(4)
    params[:, 8:] += 1.5
    logits, means, log_scales = params.chunk(3, 1)
    for level in (0, 1, 100, 254, 255):
        centre = 2 * level / 255 - 1
        upper = torch.ones_like(means) if level == 255 else torch.sigmoid((centre + 1 / 255 - means) / log_scales.exp())
        lower = torch.zeros_like(means) if level == 0 else torch.sigmoid((centre - 1 / 255 - means) / log_scales.exp())
        expected = (logits.softmax(1) * (upper - lower)).sum(1).log().flatten()
        actual = likelihood.log_prob(params, torch.full((20, 1, 1, 1), level / 255, dtype=torch.float64))
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("log_scale", [-50.0, -7.0, 0.0, 50.0, 1e4])
@pytest.mark.parametrize("mean", [-1e3, -1.0, 0.3, 1e3])
def test_mol_gradients_are_finite_at_extremes(log_scale, mean):
    params = torch.tensor([0.0, mean, log_scale]).view(1, 3, 1, 1).requires_grad_()
    for level in (0, 1, 128, 255):
        score = MixtureOfLogistics(1).log_prob(params, torch.full((1, 1, 1, 1), level / 255))
        (gradient,) = torch.autograd.grad(score.sum(), params)
        assert score.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["bernoulli", "gaussian", "mol"])
def test_samples_have_the_mean_the_likelihood_states(name):
    likelihood = build_likelihood(name)
    params = 0.3 * torch.randn(1, likelihood.channels_out(1), 1, 1).expand(20_000, -1, 1, 1)
    if name == "gaussian":
        params = params.sigmoid()  # away from the clipping at 0 and 1
    if name == "mol":
        params = params - 3 * (torch.arange(30).view(1, 30, 1, 1) >= 20)  # narrow components, little clipping
    draws = likelihood.sample(params, torch.Generator().manual_seed(0))
    assert draws.min() >= 0
    assert draws.max() <= 1
    error = draws.std() / math.sqrt(len(draws))
    assert abs(draws.mean() - likelihood.mean(params).mean()) < 5 * error + 0.002


def test_mol_sampler_agrees_with_its_density():
    params, likelihood, n = mol_params(1, 3), MixtureOfLogistics(3), 200_000
    draws = likelihood.sample(params.expand(n, -1, 1, 1), torch.Generator().manual_seed(0))
    observed = torch.bincount((draws.flatten() * 255).round().long(), minlength=256) / n
    expected = torch.cat([likelihood.log_prob(params, g.expand(1, 1, 1, 1)).exp() for g in GREYS])
    distance = 0.5 * (observed - expected).abs().sum()
    floor = 0.5 * (2 * expected * (1 - expected) / (math.pi * n)).sqrt().sum()  # of an exact sampler, in expectation
    assert distance < 1.5 * floor


def test_mistakes_are_named():
    with pytest.raises(VaelibError, match="bernoulli, gaussian, mol"):
        build_likelihood("poisson")
    with pytest.raises(VaelibError, match="sigma = 0"):
        Gaussian(0.0)
    with pytest.raises(VaelibError, match="1 channel"):
        MixtureOfLogistics().channels_out(3)
    with pytest.raises(VaelibError, match="at least one component"):
        MixtureOfLogistics(0)
