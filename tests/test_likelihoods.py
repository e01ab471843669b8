"""Likelihoods against torch.distributions, brute-force sums and their own samplers."""

import math

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal

from vaelib.errors import VaelibError
from vaelib.models import Bernoulli, Gaussian, build_likelihood, likelihoods


@pytest.mark.parametrize("channels", [1, 3])
def test_bernoulli_is_torchs(channels):
    logits = 3 * torch.randn(5, channels, 32, 32, dtype=torch.float64)
    x = torch.randint(0, 2, logits.shape).double()
    expected = TorchBernoulli(logits=logits).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(Bernoulli().log_prob(logits, x), expected)


def test_what_agrees_is_said_and_a_gaussians_clipped_draws_do_not():
    draws = Gaussian(0.03).sample(torch.zeros(1, 1, 300, 300), torch.Generator().manual_seed(0))
    assert 255 * draws.mean().item() == pytest.approx(3.05, abs=0.1)
    assert Gaussian(0.03).mean(torch.zeros(1)).item() == 0
    text = " ".join(likelihoods.__doc__.split())
    assert "agree exactly" not in text
    assert "0.4 σ on average (3 grey levels at σ = 0.03)" in text


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


@pytest.mark.parametrize("images", [5, 1])  # one image stands for as many as there are means
def test_gaussian_and_its_gradients_have_autograds_bits(images):
    mean, x = torch.rand(5, 1, 32, 32, requires_grad=True), torch.rand(images, 1, 32, 32, requires_grad=True)
    constant = 1024 * (math.log(0.03) + 0.5 * math.log(2 * math.pi))
    plain = -0.5 / 0.03**2 * (x - mean).flatten(1).square().sum(1) - constant
    ours, weights = Gaussian().log_prob(mean, x), torch.rand(5)
    assert torch.equal(ours, plain)
    assert torch.equal(Gaussian().log_prob(mean.detach(), x.detach()), plain)
    for one, other in zip(*(torch.autograd.grad(y @ weights, (mean, x)) for y in (ours, plain)), strict=True):
        assert torch.equal(one, other)


def test_a_perfectly_predicted_pixel_earns_2_59_nats_at_the_papers_sigma():
    x = torch.rand(1, 1, 32, 32)
    assert Gaussian().log_prob(x, x).item() / 1024 == pytest.approx(2.5876, abs=1e-3)


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


def test_mistakes_are_named():
    with pytest.raises(VaelibError, match="bernoulli, gaussian, mol"):
        build_likelihood("poisson")
    with pytest.raises(VaelibError, match="sigma = 0"):
        Gaussian(0.0)


def test_settings_reach_the_likelihood():
    assert build_likelihood("gaussian", sigma=0.1).sigma == 0.1
    assert build_likelihood("mol", mixtures=5, rgb="per_channel").channels_out(3) == 45
