"""Paths between latents: closed forms of a linear-Gaussian VAE, promises about noise, the statistics' definitions."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vaelib.errors import VaelibError
from vaelib.models import FullyConnectedVAE, MixtureOfLogistics
from vaelib.models.linear import LinearGaussianVAE
from vaelib.tasks.interpolation import describe_path, different_pairs, interpolate, path_statistics

SHAPE = (1, 8, 8)


def linear_vae() -> LinearGaussianVAE:
    """A linear VAE whose encoder is off, so that the way back from a reconstruction misses z."""
    draws = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 4, generator=draws, dtype=torch.float64) / 4
    bias = torch.full((64,), 0.5, dtype=torch.float64)
    best = LinearGaussianVAE(weight, bias, 0.3, SHAPE)
    off = torch.tensor([0.3, -0.2, 0.1, 0.4], dtype=torch.float64)
    return LinearGaussianVAE(weight, bias, 0.3, SHAPE, 0.7 * best.optimum, off, best.encoder_sigma)


def residual_means(vae: LinearGaussianVAE, z: torch.Tensor) -> torch.distributions.Normal:
    """Return q(·|E[x|z]): its mean is A W z + c."""
    mean = z @ (vae.encoder_weight @ vae.weight).T + vae.encoder_bias
    return torch.distributions.Normal(mean, vae.encoder_sigma)


@pytest.fixture(scope="module")
def ends() -> tuple[torch.Tensor, torch.Tensor]:
    x0, x1 = linear_vae().images(2, torch.Generator().manual_seed(1))
    return x0, x1


def test_the_path_is_the_papers_line(ends):
    """z_α = α z_0 + (1 - α) z_1: α = 1 is x_0's mean, α = 0 is x_1's."""
    vae = linear_vae()
    path = interpolate(vae, *ends, alphas=5)
    z0, z1 = vae.encode(torch.stack(ends)).mu
    torch.testing.assert_close(
        path.z, torch.stack([z1, 0.25 * z0 + 0.75 * z1, (z0 + z1) / 2, 0.75 * z0 + 0.25 * z1, z0])
    )
    torch.testing.assert_close(path.alphas, torch.linspace(0, 1, 5, dtype=torch.float64))
    torch.testing.assert_close(path.images, vae.decode(path.z))


def test_mean_reconstructions_have_a_closed_form(ends):
    """L(α) = log N(z_α; A W z_α + c, s²), one row whatever the number of samples."""
    vae = linear_vae()
    path = interpolate(vae, *ends, alphas=7, samples=3, reconstruction="mean")
    torch.testing.assert_close(path.log_q, residual_means(vae, path.z).log_prob(path.z).sum(1).unsqueeze(0))


def test_sampled_reconstructions_have_the_expected_level_and_noise(ends):
    """x̃ = W z + b + σε moves the encoder's mean by A σε, so E[L] is lower by ½ σ² Σ_i (A Aᵀ)_ii / s_i²."""
    vae, samples = linear_vae(), 4000
    path = interpolate(vae, *ends, alphas=3, samples=samples, seed=5)
    noise = vae.sigma**2 * vae.encoder_weight.square().sum(1) / vae.encoder_sigma**2
    expected = residual_means(vae, path.z).log_prob(path.z).sum(1) - 0.5 * noise.sum()
    error = path.spread / samples**0.5
    assert ((path.mean - expected).abs() < 4 * error).all()
    assert (error < 0.05 * noise.sum()).all()  # fine enough to see the noise's own share


def test_noise_is_named_and_no_chunk_changes_it(ends):
    vae = linear_vae()
    first = interpolate(vae, *ends, alphas=9, samples=4, seed=3).log_q
    for chunk in (1, 7, 12, 36):
        torch.testing.assert_close(interpolate(vae, *ends, alphas=9, samples=4, seed=3, chunk=chunk).log_q, first)
    assert not torch.equal(interpolate(vae, *ends, alphas=9, samples=4, seed=4).log_q, first)
    assert not (first[0] == first[1]).any()


def test_samples_are_averaged(ends):
    many, one = (interpolate(linear_vae(), *ends, alphas=4, samples=samples) for samples in (6, 1))
    assert many.log_q.shape == (6, 4)
    torch.testing.assert_close(many.mean, many.log_q.sum(0) / 6)
    torch.testing.assert_close(many.spread, (many.log_q - many.mean).square().sum(0).div(5).sqrt())
    assert torch.equal(one.spread, torch.zeros(4, dtype=torch.float64))


def test_bytes_and_floats_agree_and_the_model_is_left_as_it_was():
    vae = FullyConnectedVAE(d_z=3, hidden=16, likelihood=MixtureOfLogistics(2)).train()
    x = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    as_bytes, as_floats = (interpolate(vae, *images, alphas=3, samples=2) for images in (x, x.float() / 255))
    assert torch.equal(as_bytes.log_q, as_floats.log_q)
    assert vae.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reconstruction": "median"}, "sample, mean"),
        ({"alphas": 1}, "at least 2 alphas"),
        ({"samples": 0}, "1 sample"),
    ],
)
def test_bad_settings_are_named(ends, change, message):
    with pytest.raises(VaelibError, match=message):
        interpolate(linear_vae(), *ends, **change)


def test_the_same_image_twice_is_no_path(ends):
    with pytest.raises(VaelibError, match="two different images"):
        interpolate(linear_vae(), ends[0], ends[0])


def test_statistics_mean_what_they_say():
    """A ramp of 12 nats: travelled 12, so 1 a nat of range; a zigzag of 4 nats on 5 points: 16, so 4."""
    ramp = torch.linspace(-12, 0, 5).unsqueeze(0)
    level, variation, roughness, jitter = describe_path(ramp)
    assert (level, variation, roughness) == (-6, 12, 1)
    assert jitter.isnan()
    zigzag = torch.tensor([[0.0, -4, 0, -4, 0]])
    assert describe_path(zigzag)[1:3] == (16, 4)
    assert describe_path(1000 * zigzag).roughness == 4  # the height does not count
    level, _, _, jitter = describe_path(torch.cat([ramp - 3, ramp + 3]))
    assert level == -6
    assert jitter == pytest.approx(18**0.5)
    assert describe_path(torch.zeros(2, 5)).roughness == 0


def test_a_pairs_statistics_do_not_depend_on_the_other_pairs():
    vae, images = linear_vae(), linear_vae().images(6, torch.Generator().manual_seed(2))
    pairs = torch.tensor([[0, 1], [2, 3], [4, 5]])
    every = path_statistics(vae, images, pairs, alphas=6, samples=3)
    turned = path_statistics(vae, images, pairs.flip(0), alphas=6, samples=3)
    for one, other in zip(every, turned, strict=True):
        assert torch.equal(one, other.flip(0))
    assert len(set(every.jitter.tolist())) == 3  # each pair has noise of its own


def test_pairs_differ_in_class_and_share_no_image():
    labels = torch.arange(60) % 3
    pairs = different_pairs(labels, 20)
    assert (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()
    assert len(pairs.unique()) == pairs.numel()
    assert torch.equal(pairs[:4], different_pairs(labels, 4))
    assert not torch.equal(pairs[:4], different_pairs(labels, 4, seed=1))
    assert len(different_pairs(torch.zeros(7), 10)) == 3  # one class: any two images
    with pytest.raises(VaelibError, match="pairs = 1 from 1"):
        different_pairs(torch.zeros(1), 1)


def test_a_gpu_model_reads_cpu_images_and_leaves_nothing_on_the_gpu(monkeypatch):
    monkeypatch.setattr(torch, "equal", lambda a, b: False)  # asks for values, of which fake tensors have none
    with FakeTensorMode():
        with torch.device("cuda"):
            vae = FullyConnectedVAE(d_z=3, hidden=16, likelihood=MixtureOfLogistics(2))
        x = torch.zeros((2, 1, 32, 32), dtype=torch.uint8)
        path = interpolate(vae, *x, alphas=5, samples=2, chunk=4)
        assert {part.device.type for part in path} == {"cpu"}
        assert path.log_q.shape == (2, 5)
