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
    black, likelihood = torch.full((1, 1, 300, 300), -100.0), Gaussian(0.03)
    draws = likelihood.sample(black, torch.Generator().manual_seed(0))
    assert 255 * draws.mean().item() == pytest.approx(3.05, abs=0.1)
    assert likelihood.mean(black).max().item() == 0
    text = " ".join(likelihoods.__doc__.split())
    assert "agree exactly" not in text
    assert "0.4 σ on average (3 grey levels at σ = 0.03)" in text


def test_bernoulli_scores_a_grey_by_its_expectation():
    logits, grey = torch.randn(4, 1, 32, 32), torch.full((4, 1, 32, 32), 0.3)
    ones, zeros = torch.ones_like(grey), torch.zeros_like(grey)
    likelihood = Bernoulli()
    expected = 0.3 * likelihood.log_prob(logits, ones) + 0.7 * likelihood.log_prob(logits, zeros)
    torch.testing.assert_close(likelihood.log_prob(logits, grey), expected)


@pytest.mark.parametrize("mean", ["sigmoid", "linear"])
@pytest.mark.parametrize("sigma", [0.03, 0.5])
def test_gaussian_is_torchs_with_its_constant(sigma, mean):
    params, x = torch.randn(5, 3, 32, 32, dtype=torch.float64), torch.rand(5, 3, 32, 32, dtype=torch.float64)
    centre = params.sigmoid() if mean == "sigmoid" else params
    expected = Normal(centre, sigma).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(Gaussian(sigma, mean).log_prob(params, x), expected)


@pytest.mark.parametrize("mean", ["sigmoid", "linear"])
def test_gaussian_and_its_gradients_have_autograds_bits(mean):
    params, x = torch.randn(5, 1, 32, 32, requires_grad=True), torch.rand(5, 1, 32, 32, requires_grad=True)
    constant = 1024 * (math.log(0.03) + 0.5 * math.log(2 * math.pi))
    centre = params.sigmoid() if mean == "sigmoid" else params
    plain = -0.5 / 0.03**2 * (x - centre).flatten(1).square().sum(1) - constant
    likelihood, weights = Gaussian(mean=mean), torch.rand(5)
    ours = likelihood.log_prob(params, x)
    assert torch.equal(ours, plain)
    assert torch.equal(likelihood.log_prob(params.detach(), x.detach()), plain)
    for one, other in zip(*(torch.autograd.grad(y @ weights, (params, x)) for y in (ours, plain)), strict=True):
        assert torch.equal(one, other)


def test_a_perfectly_predicted_pixel_earns_2_59_nats_at_the_papers_sigma():
    x = torch.rand(1, 1, 32, 32).clamp(0.01, 0.99)
    for likelihood, params in ((Gaussian(), x.logit()), (Gaussian(mean="linear"), x)):
        assert likelihood.log_prob(params, x).item() / 1024 == pytest.approx(2.5876, abs=1e-3)


def test_a_saturated_sigmoid_pays_nothing_for_a_black_pixel_and_keeps_its_gradient_finite():
    params = torch.full((1, 1, 32, 32), -200.0, requires_grad=True)
    score = Gaussian().log_prob(params, torch.zeros(1, 1, 32, 32))
    assert score.item() / 1024 == pytest.approx(2.5876, abs=1e-3)
    assert torch.autograd.grad(score, params)[0].isfinite().all()


@pytest.mark.parametrize("name", ["bernoulli", "gaussian", "mol"])
def test_samples_have_the_mean_the_likelihood_states(name):
    likelihood = build_likelihood(name)
    params = 0.3 * torch.randn(1, likelihood.channels_out(1), 1, 1).expand(20_000, -1, 1, 1)
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
    with pytest.raises(VaelibError, match="mean of a Gaussian = 'tanh' is unknown; choose one of sigmoid, linear"):
        Gaussian(mean="tanh")


def test_settings_reach_the_likelihood():
    assert build_likelihood("gaussian", sigma=0.1).sigma == 0.1
    assert build_likelihood("mol", mixtures=5, rgb="per_channel").channels_out(3) == 45


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "mol"])
@pytest.mark.parametrize("images", [1, 3, 12])
def test_parameters_of_other_images_are_refused(likelihood, images):
    """They were broadcast, or those that were too many left out."""
    density = build_likelihood(likelihood)
    params = torch.rand(6, density.channels_out(1), 8, 8)
    with pytest.raises((VaelibError, ValueError)):
        density.log_prob(params, torch.rand(images, 1, 8, 8))
    with pytest.raises((VaelibError, ValueError)):
        density.log_prob(params, torch.rand(6, 1, 8, 4))
