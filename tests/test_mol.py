"""The mixture of logistics against a plain formulation, brute-force sums and its own sampler."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from vaelib.errors import VaelibError
from vaelib.models import FullyConnectedVAE, MixtureOfLogistics, elbo, mol

GREYS = torch.arange(256, dtype=torch.float64) / 255
MODES = [(1, "pixelcnnpp"), (3, "pixelcnnpp"), (3, "per_channel")]
every_mode = pytest.mark.parametrize(("channels", "rgb"), MODES)


def parts(params, mixtures, rgb="pixelcnnpp"):
    """Views (B, sub-pixels, K, H, W): logits, means, log-scales and raw coefficients, the last perhaps empty."""
    channels = 1 if params.shape[1] == 3 * mixtures else 3
    sizes = [mixtures * n for n in (1 if rgb == "pixelcnnpp" else channels, channels, channels)]
    return [part.unflatten(1, (-1, mixtures)) for part in params.split([*sizes, params.shape[1] - sum(sizes)], 1)]


def random_params(n, channels, rgb, mixtures, size=1, spread=1.0, dtype=torch.float64):
    """Random mixtures for ``n`` images: logits and coefficients N(0, 1), means around 0, log-scales around -3."""
    count = MixtureOfLogistics(mixtures, rgb=rgb).channels_out(channels)
    params = torch.randn(n, count, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, means, log_scales, _ = parts(params, mixtures, rgb)
    means *= 0.6
    log_scales *= spread
    log_scales -= 3
    return params.to(dtype)


def random_images(n, channels, size=1):
    """Images on the grid, a third of their sub-pixels black or white."""
    generator = torch.Generator().manual_seed(1)
    return (torch.randint(-64, 320, (n, channels, size, size), generator=generator).clamp(0, 255) / 255).double()


def plain_log_prob(params, x, mixtures, rgb="pixelcnnpp"):
    """log p as the papers write it, by logsigmoid and logsumexp; of the first sub-pixels only, if x has no others."""
    logits, means, log_scales, raw = parts(params, mixtures, rgb)
    value, c = 2 * x - 1, raw.tanh()
    terms = []
    for channel in range(x.shape[1]):
        mean, scale = means[:, channel], log_scales[:, channel].clamp(-7, 30).exp()
        if raw.shape[1] and channel == 1:
            mean = mean + c[:, 0] * value[:, :1]
        if raw.shape[1] and channel == 2:
            mean = mean + c[:, 1] * value[:, :1] + c[:, 2] * value[:, 1:2]
        level, offset = x[:, channel : channel + 1], value[:, channel : channel + 1] - mean
        upper, lower = (offset + 1 / 255) / scale, (offset - 1 / 255) / scale
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 / 255 / scale))
        terms.append(
            torch.where(level == 0, F.logsigmoid(upper), torch.where(level == 1, F.logsigmoid(-lower), inside))
        )
    bins = torch.stack(terms, 1)
    if rgb == "pixelcnnpp":
        bins = bins.sum(1, keepdim=True)
    return (torch.logsumexp(logits + bins, 2) - torch.logsumexp(logits, 2)).flatten(1).sum(1)


@pytest.mark.parametrize("mixtures", [1, 3, 10])
def test_it_sums_to_one_over_all_greys(mixtures):
    params, likelihood = random_params(40, 1, "pixelcnnpp", mixtures, spread=3.0), MixtureOfLogistics(mixtures)
    total = sum(likelihood.log_prob(params, g.expand(40, 1, 1, 1)).exp() for g in GREYS)
    torch.testing.assert_close(total, torch.ones(40, dtype=torch.float64), rtol=0, atol=1e-12)


def test_every_conditional_of_a_colour_sums_to_one():
    """Σ_b p(r, g, b) = p(r, g), Σ_g p(r, g) = p(r), Σ_r p(r) = 1; the marginals come from the plain formulation."""
    params, likelihood = random_params(1, 3, "pixelcnnpp", 3, spread=2.0), MixtureOfLogistics(3)
    every, many = GREYS.view(-1, 1, 1, 1), params.expand(256, -1, 1, 1)
    red, green = GREYS[[0, 30, 128, 255]].view(-1, 1, 1, 1), GREYS[[255, 0, 77, 131]].view(-1, 1, 1, 1)
    for r, g in zip(red, green, strict=True):
        fixed = torch.cat([r, g]).view(1, 2, 1, 1).expand(256, -1, 1, 1)
        blue = likelihood.log_prob(many, torch.cat([fixed, every], 1)).exp().sum()
        both = plain_log_prob(many, torch.cat([fixed[:, :1], every], 1), 3).exp().sum()
        torch.testing.assert_close(blue.log(), plain_log_prob(params, fixed[:1], 3)[0], rtol=0, atol=1e-11)
        torch.testing.assert_close(both.log(), plain_log_prob(params, fixed[:1, :1], 3)[0], rtol=0, atol=1e-11)
    torch.testing.assert_close(plain_log_prob(many, every, 3).exp().sum().item(), 1.0, rtol=0, atol=1e-12)


def test_per_channel_is_three_grey_mixtures():
    params, x = random_params(5, 3, "per_channel", 4, size=3), random_images(5, 3, size=3)
    logits, means, log_scales, _ = parts(params, 4, "per_channel")
    grey = MixtureOfLogistics(4)
    expected = sum(
        grey.log_prob(torch.cat([logits[:, c], means[:, c], log_scales[:, c]], 1), x[:, c : c + 1]) for c in range(3)
    )
    torch.testing.assert_close(MixtureOfLogistics(4, rgb="per_channel").log_prob(params, x), expected)


def test_it_is_the_difference_of_logistic_cdfs():
    """The plain difference cancels far out in a tail, so the components here are wide (scale about 0.2)."""
    params, likelihood = random_params(20, 1, "pixelcnnpp", 4, spread=0.2), MixtureOfLogistics(4)
    params[:, 8:] += 1.5
    logits, means, log_scales = params.chunk(3, 1)
    for level in (0, 1, 100, 254, 255):
        centre = 2 * level / 255 - 1
        upper = torch.ones_like(means) if level == 255 else torch.sigmoid((centre + 1 / 255 - means) / log_scales.exp())
        lower = torch.zeros_like(means) if level == 0 else torch.sigmoid((centre - 1 / 255 - means) / log_scales.exp())
        expected = (logits.softmax(1) * (upper - lower)).sum(1).log().flatten()
        actual = likelihood.log_prob(params, torch.full((20, 1, 1, 1), level / 255, dtype=torch.float64))
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@every_mode
@pytest.mark.parametrize("mixtures", [1, 10])
@pytest.mark.parametrize("spread", [1.0, 5.0])  # the wider one meets both ends of the log-scales' range
def test_value_and_gradient_are_those_of_the_plain_formulation(channels, rgb, mixtures, spread):
    params = random_params(6, channels, rgb, mixtures, size=5, spread=spread).requires_grad_()
    x, weights = random_images(6, channels, size=5), torch.linspace(-1, 2, 6, dtype=torch.float64)
    actual, expected = (
        MixtureOfLogistics(mixtures, rgb=rgb).log_prob(params, x),
        plain_log_prob(params, x, mixtures, rgb),
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad(score @ weights, params)[0] for score in (actual, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-10)


@every_mode
def test_gradient_is_the_limit_of_differences(channels, rgb):
    params, x = random_params(3, channels, rgb, 3, size=4), random_images(3, channels, size=4)
    likelihood, step = MixtureOfLogistics(3, rgb=rgb), 1e-5 * torch.randn_like(params)
    change = likelihood.log_prob(params + step, x) - likelihood.log_prob(params - step, x)
    (slope,) = torch.autograd.grad(likelihood.log_prob(params.requires_grad_(), x).sum(), params)
    torch.testing.assert_close(2 * (slope * step).sum((1, 2, 3)), change, rtol=1e-6, atol=1e-10)


@every_mode
def test_float32_keeps_its_precision_at_extremes(channels, rgb):
    """Logits to ±100, means to ±1e4, log-scales to ±50, at once or one by one; black, white and grey sub-pixels."""
    generator, likelihood = torch.Generator().manual_seed(0), MixtureOfLogistics(3, rgb=rgb)
    params, x = random_params(4000, channels, rgb, 3, dtype=torch.float32), random_images(4000, channels).float()
    for part, size in zip(parts(params, 3, rgb), (100.0, 1e4, 50.0, 20.0), strict=True):
        extreme = size * torch.tensor([-1.0, -0.1, 0.0, 0.1, 1.0])[torch.randint(5, part.shape, generator=generator)]
        part.copy_(torch.where(torch.rand(part.shape, generator=generator) < 0.5, extreme, part))
    params.requires_grad_()
    score = likelihood.log_prob(params, x)
    (slope,) = torch.autograd.grad(score.sum(), params)
    assert slope.isfinite().all()
    exact = likelihood.log_prob(params.detach().double(), x.double())
    torch.testing.assert_close(score.double(), exact, rtol=1e-5, atol=1e-4)
    assert (exact <= 1e-9).all()


def test_a_clamped_log_scale_has_no_gradient():
    params = random_params(1, 1, "pixelcnnpp", 1).expand(4, -1, 1, 1).clone()
    params[:, 2] = torch.tensor([-9.0, -6.9, 29.9, 31.0], dtype=torch.float64).view(4, 1, 1)
    params.requires_grad_()
    likelihood, x = MixtureOfLogistics(1), torch.full((4, 1, 1, 1), 0.4, dtype=torch.float64)
    (slope,) = torch.autograd.grad(likelihood.log_prob(params, x).sum(), params)
    assert (slope[:, 2].flatten() != 0).tolist() == [False, True, True, False]
    assert slope[0, 1] != 0


@every_mode
def test_neither_tiles_nor_gradients_change_the_result(channels, rgb, monkeypatch):
    params = random_params(7, channels, rgb, 3, size=8, dtype=torch.float32).requires_grad_()
    likelihood, x = MixtureOfLogistics(3, rgb=rgb), random_images(7, channels, size=8).float()
    results = []
    for images in (1, 3, 7):
        monkeypatch.setattr(mol, "TILE", images * channels * 3 * 64)
        score = likelihood.log_prob(params, x)
        results.append((score, *torch.autograd.grad(score.sum(), params)))
        assert torch.equal(likelihood.log_prob(params.detach(), x), score)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


def test_a_second_backward_is_refused():
    params = random_params(2, 1, "pixelcnnpp", 2).requires_grad_()
    score = MixtureOfLogistics(2).log_prob(params, random_images(2, 1)).sum()
    score.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        score.backward()


def test_bfloat16_parameters_are_scored_in_float32():
    params = random_params(3, 3, "pixelcnnpp", 2, size=4).bfloat16().requires_grad_()
    likelihood, x = MixtureOfLogistics(2), random_images(3, 3, size=4).float()
    with torch.autocast("cpu"):
        score = likelihood.log_prob(params, x)
    assert torch.equal(score, likelihood.log_prob(params.float(), x))
    assert torch.autograd.grad(score.sum(), params)[0].dtype == torch.bfloat16


@every_mode
@pytest.mark.parametrize(
    "white", [False, True]
)  # a white red, clamped in half the draws, must enter the others as white
def test_sampler_agrees_with_the_density(channels, rgb, white):
    """All sub-pixels jointly: narrow components leave few enough colours to count."""
    params, likelihood, n = random_params(1, channels, rgb, 2, spread=0.1), MixtureOfLogistics(2, rgb=rgb), 200_000
    _, means, log_scales, _ = parts(params, 2, rgb)
    if white:
        means[:, 0] = 1 + 0.01 * means[:, 0]
    log_scales -= 2.5 if channels == 3 else 0
    draws = likelihood.sample(params.expand(n, -1, 1, 1), torch.Generator().manual_seed(0))
    colours, counts = torch.unique((draws.flatten(1) * 255).round().long(), dim=0, return_counts=True)
    assert torch.equal(colours.double() / 255, draws.flatten(1).unique(dim=0))
    observed = counts / n
    x = (colours.double() / 255)[..., None, None]
    expected = likelihood.log_prob(params.expand(len(x), -1, 1, 1), x).exp()
    distance = 0.5 * ((observed - expected).abs().sum() + 1 - expected.sum())
    floor = 0.5 * (2 * expected * (1 - expected) / (math.pi * n)).sqrt().sum()  # of an exact sampler, in expectation
    assert len(colours) > 20
    assert 0.1 < (draws[:, 0] == 1).double().mean() < 0.9 if white else draws[:, 0].max() < 1
    assert distance < 1.25 * floor


@every_mode
def test_mean_is_the_samplers_average(channels, rgb):
    params, likelihood, n = random_params(1, channels, rgb, 3, spread=0.2), MixtureOfLogistics(3, rgb=rgb), 50_000
    params = params * 0.5 - 3 * (params < -2)  # central and narrow: nothing clips
    draws = likelihood.sample(params.expand(n, -1, 1, 1), torch.Generator().manual_seed(0)).flatten(1)
    assert draws.min() > 0
    assert draws.max() < 1
    error = draws.std(0) / math.sqrt(n)
    assert ((draws.mean(0) - likelihood.mean(params).flatten()).abs() < 4 * error).all()


def test_a_mean_is_clipped_before_it_enters_another():
    params = torch.tensor([0.0, 5, 0.2, 0.1, -7, -7, -7, -1, 0.5, 0.3], dtype=torch.float64).view(1, 10, 1, 1)
    likelihood, c = MixtureOfLogistics(1), params.flatten()[7:].tanh()
    green = 0.2 + c[0]
    expected = (torch.stack([torch.ones(()).double(), green, 0.1 + c[1] + c[2] * green]) + 1) / 2
    torch.testing.assert_close(likelihood.mean(params).flatten(), expected)
    draw = likelihood.sample(params, torch.Generator().manual_seed(0)).flatten()
    torch.testing.assert_close(draw, expected, rtol=0, atol=2 / 255)


@every_mode
def test_it_runs_on_the_parameters_device(channels, rgb):
    likelihood = MixtureOfLogistics(2, rgb=rgb)
    with FakeTensorMode(), torch.device("cuda"):
        params = torch.randn(3, likelihood.channels_out(channels), 8, 8, requires_grad=True)
        score = likelihood.log_prob(params, torch.zeros(3, channels, 8, 8))  # makes the gradient, too
        images = likelihood.sample(params), likelihood.mean(params)
        plain = likelihood.log_prob(params.detach(), torch.zeros(3, channels, 8, 8))
    assert {t.device.type for t in (score, plain, *images)} == {"cuda"}
    assert {t.shape for t in images} == {(3, channels, 8, 8)}


@pytest.mark.gpu
@every_mode
def test_cuda_equals_the_cpu(channels, rgb):
    params, x = random_params(5, channels, rgb, 3, size=8), random_images(5, channels, size=8)
    likelihood, results = MixtureOfLogistics(3, rgb=rgb), []
    for device in ("cpu", "cuda"):
        there = params.to(device).requires_grad_()
        score = likelihood.log_prob(there, x.to(device))
        results.append((score.cpu(), torch.autograd.grad(score.sum(), there)[0].cpu()))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


def test_a_colour_vae_learns_from_it():
    torch.manual_seed(0)
    vae, x = FullyConnectedVAE(2, 8, 3, MixtureOfLogistics(2)), random_images(4, 3, size=32).float()
    before = elbo(vae, x, torch.zeros(4, 2)).mean()
    before.backward()
    with torch.no_grad():
        bias = vae.decoder[-1].bias
        bias += 0.1 * bias.grad / bias.grad.norm()
    assert elbo(vae, x, torch.zeros(4, 2)).mean() > before


def test_mistakes_are_named():
    for channels in (2, 4):
        with pytest.raises(VaelibError, match=f"1 or 3 channels, not {channels}"):
            MixtureOfLogistics().channels_out(channels)
    with pytest.raises(VaelibError, match="at least one component"):
        MixtureOfLogistics(0)
    with pytest.raises(VaelibError, match="pixelcnnpp, per_channel, zhang2022"):
        MixtureOfLogistics(rgb="shared")
    with pytest.raises(VaelibError, match="from -12 to 30"):
        MixtureOfLogistics(min_log_scale=-13)
    likelihood, x = MixtureOfLogistics(10), torch.zeros(1, 3, 2, 2)
    for call in (likelihood.sample, likelihood.mean, lambda params: likelihood.log_prob(params, x)):
        with pytest.raises(VaelibError, match=r"90 channels: K = 10 needs 30 .* or 100"):
            call(torch.zeros(1, 90, 2, 2))
    with pytest.raises(VaelibError, match="params describe 1"):
        likelihood.log_prob(torch.zeros(1, 30, 2, 2), x)
    with pytest.raises(VaelibError, match=r"x.detach\(\)"):
        likelihood.log_prob(torch.zeros(1, 100, 2, 2), x.requires_grad_())


# --- Zhang et al. 2022 ------------------------------------------------------------------------------------------------


def published_zhang(params, x, mixtures):
    """log p as they write it: differences of logistic functions in units of [0, 1], double precision."""
    logits, means, log_scales, raw = parts(params, mixtures)
    c, total = raw.tanh(), 0
    for channel in range(3):
        mean = means[:, channel]
        if channel == 1:
            mean = mean + c[:, 0] * x[:, :1]
        if channel == 2:
            mean = mean + c[:, 1] * x[:, :1] + c[:, 2] * x[:, 1:2]
        level, rate = x[:, channel : channel + 1], torch.exp(-log_scales[:, channel].clamp(min=-7))
        upper = torch.where(level == 1, 1.0, torch.sigmoid(rate * (level + 1 / 510 - mean)))
        lower = torch.where(level == 0, 0.0, torch.sigmoid(rate * (level - 1 / 510 - mean)))
        mass = (logits.softmax(2)[:, 0] * (upper - lower)).sum(1)
        total = total + torch.log(0.9999 * mass + 0.0001 / 256)
    return total.flatten(1).sum(1)


def test_zhangs_density_is_the_published_one():
    likelihood = MixtureOfLogistics(4, rgb="zhang2022")
    assert likelihood.channels_out(3) == 40
    params, x = random_params(30, 3, "zhang2022", 4, size=3), random_images(30, 3, size=3)
    torch.testing.assert_close(likelihood.log_prob(params, x), published_zhang(params, x, 4))
    white = torch.ones(1, 3, 32, 32, dtype=torch.float64)
    zeros = torch.zeros(1, 40, 32, 32, dtype=torch.float64)
    expected = 3 * 1024 * math.log(0.9999 / (1 + math.exp(1 - 1 / 510)) + 1e-4 / 256)
    assert float(likelihood.log_prob(zeros, white)) == pytest.approx(expected)


def test_zhangs_mean_and_samples_agree():
    likelihood = MixtureOfLogistics(2, rgb="zhang2022")
    params = random_params(1, 3, "zhang2022", 2)
    params[:, 2:8] = 0.4 + 0.1 * params[:, 2:8]  # within the range, where nothing is clipped
    params[:, 8:14] = -4
    params[:, 14:] = 0.1 * params[:, 14:].tanh()
    draws = likelihood.sample(params.expand(20_000, -1, 1, 1), torch.Generator().manual_seed(0))
    torch.testing.assert_close((draws * 255).round() / 255, draws)
    assert (draws.mean(0) - likelihood.mean(params)[0]).abs().max() < 4 * draws.std(0).max() / 20_000**0.5 + 1e-4


def test_zhangs_slopes_are_those_of_finite_differences():
    likelihood = MixtureOfLogistics(2, rgb="zhang2022")
    params, x = random_params(2, 3, "zhang2022", 2).requires_grad_(), random_images(2, 3)
    assert torch.autograd.gradcheck(lambda p: likelihood.log_prob(p, x), params)
