"""Worlds with known p_data: their densities, entropies and samples agree, and Table 1's criteria are numbers."""

import math

import pytest
import torch
from torch import distributions as D

from tests.finite_world import FiniteWorld, bars_and_stripes, entropy, entropy_shortfall, kl_divergence
from vaelib.data.plane import GaussianMixture, Points, augmented, s_curve, smoothed, tuned
from vaelib.data.worlds import DecoderWorld, linear_world, random_decoder, unique_share
from vaelib.errors import VaelibError
from vaelib.models import FullyConnectedVAE, Gaussian


def gaussian(x=0.0, y=0.0, std=1.0) -> GaussianMixture:
    return smoothed(torch.tensor([[x, y]], dtype=torch.float64), std)


@pytest.fixture(scope="module")
def uneven() -> GaussianMixture:
    means = torch.tensor([[0.0, 0.0], [1.0, 0.5], [-2.0, 1.0]], dtype=torch.float64)
    stds, weights = torch.tensor([[0.3, 0.2, 0.5], [0.5, 0.2, 0.3]], dtype=torch.float64)
    return GaussianMixture(means, stds, weights)


def test_mixture_density_is_torchs(uneven):
    parts = D.Independent(D.Normal(uneven.means, uneven.stds[:, None].expand(-1, 2)), 1)
    x = torch.randn((500, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    oracle = D.MixtureSameFamily(D.Categorical(uneven.weights), parts).log_prob(x)
    torch.testing.assert_close(uneven.log_prob(x), oracle)
    assert float(uneven.nodes()[1].sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("std", [0.03, 1.0])
def test_entropy_of_one_gaussian_and_of_two_far_apart(std):
    one = math.log(2 * math.pi * math.e * std**2)
    assert entropy(gaussian(std=std)) == pytest.approx(one, abs=1e-8)
    pair = smoothed(torch.tensor([[0.0, 0.0], [25 * std, 0.0]], dtype=torch.float64), std)
    assert entropy(pair) == pytest.approx(one + math.log(2), abs=1e-8)


def test_samples_come_from_the_density(uneven):
    """-mean log p(sample) estimates H, and each component gets its share: a wrong width or weight shows in either."""
    for p in (uneven, s_curve()):
        surprise = -p.log_prob(p.sample(40_000))
        assert abs(surprise.mean() - entropy(p)) < 4 * surprise.std() / 200
    left = (uneven.sample(40_000)[:, 0] < -1).double().mean().item()
    assert left == pytest.approx(0.3 * 0.97725, abs=0.01)  # the third component, to two standard deviations
    assert torch.equal(uneven.sample(9, seed=1), uneven.sample(9, seed=1))
    assert not torch.equal(uneven.sample(9, seed=1), uneven.sample(9, seed=2))


def test_kl_of_gaussians_is_the_closed_form(uneven):
    p, q = gaussian(0.3, -0.2, 0.5), gaussian(0.0, 0.1, 0.7)
    exact = 2 * math.log(0.7 / 0.5) + (2 * 0.25 + 0.09 + 0.09) / (2 * 0.49) - 1
    assert kl_divergence(p, q) == pytest.approx(exact, abs=1e-8)
    assert kl_divergence(uneven, uneven) == 0
    x = uneven.sample(40_000)
    ratio = uneven.log_prob(x) - q.log_prob(x)
    assert abs(kl_divergence(uneven, q) - ratio.mean()) < 4 * ratio.std() / 200


def test_p_aug_has_the_moments_of_rotated_and_jittered_points():
    """|x'|² grows by the jitter alone; the mean shrinks along each point by the mean cosine of the angle."""
    points, q = s_curve().sample(30), augmented(s_curve().sample(30), degrees=50, jitter=0.1)
    nodes, mass = q.nodes()
    second, first = (mass * nodes.square().sum(1)).sum(), (mass[:, None] * nodes).sum(0)
    assert second.item() == pytest.approx(points.square().sum(1).mean().item() + 2 * 0.1**2, rel=1e-6)
    cosine = torch.linspace(-50, 50, 21, dtype=torch.float64).deg2rad().cos().mean()
    torch.testing.assert_close(q.means.norm(dim=1).view(30, 21), points.double().norm(dim=1)[:, None].expand(-1, 21))
    torch.testing.assert_close(first, cosine * points.double().mean(0), rtol=1e-6, atol=1e-9)
    still, x = augmented(points, degrees=0, jitter=0.1), points.double() + 0.05
    torch.testing.assert_close(still.log_prob(x), smoothed(points, 0.1).log_prob(x))


def test_table_1_in_the_plane():
    """D_train repeats itself and, unblurred, misses p_data; more points make a better kernel density."""
    p = s_curve()
    few, many = p.sample(50), p.sample(2_000, seed=1)
    repeated = few[torch.randint(50, (1_000,), generator=torch.Generator().manual_seed(0))]
    assert unique_share(repeated) == 50 / 1_000
    assert unique_share(smoothed(few, 0.1).sample(1_000)) == 1
    assert 0 < kl_divergence(p, smoothed(many, 0.1)) < kl_divergence(p, smoothed(few, 0.1))
    assert kl_divergence(p, smoothed(few, 0.01)) > 10
    with pytest.raises(VaelibError, match="positive"):
        smoothed(few, 0.0)


def test_d_train_has_no_density():
    """Its KL from p_data is infinite and all that it samples has been seen."""
    p = s_curve()
    train = Points(p.sample(30))
    assert kl_divergence(p, train) == math.inf
    assert train.log_prob(train.sample(5)).eq(math.inf).all()
    assert unique_share(train.sample(2_000)) == 30 / 2_000


def test_a_flip_mirrors_half_of_the_points():
    """A mirrored S is a Z: the density is the mean of both, the same at a point and at its mirror image."""
    x = s_curve().sample(500)
    plain, flipped = (augmented(x, degrees=0, jitter=0.1, flip=flip) for flip in (False, True))
    mirror = torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(flipped.log_prob(x * mirror), flipped.log_prob(x))
    half = 0.5 * (plain.log_prob(x).exp() + plain.log_prob(x * mirror).exp())
    torch.testing.assert_close(flipped.log_prob(x).exp(), half)


def test_tuned_augmentation_chooses_by_points_set_aside():
    """It may not know p_data, but scores better than what it turned down: no rotation with far too little or much jitter."""
    p, x = s_curve(), s_curve().sample(100)
    found = kl_divergence(p, tuned(x))
    assert found < kl_divergence(p, smoothed(x, 0.05)) / 2
    assert found < kl_divergence(p, smoothed(x, 0.2))


@pytest.mark.parametrize("side", [2, 4])
def test_bars_and_stripes_by_brute_force(side):
    """Of all 2^(side²) patterns, exactly those whose rows, or whose columns, are constant; H = log of their number."""
    world, cells = bars_and_stripes(side), side * side
    patterns = ((torch.arange(2**cells)[:, None] >> torch.arange(cells)) & 1).view(-1, side, side)
    rows = (patterns == patterns[:, :, :1]).all(2).all(1)
    columns = (patterns == patterns[:, :1]).all(2).all(1)
    scale = 32 // side
    expected = patterns[rows | columns].repeat_interleave(scale, 1).repeat_interleave(scale, 2)[:, None] * 255
    assert {image.numpy().tobytes() for image in expected.to(torch.uint8)} == {
        i.numpy().tobytes() for i in world.images
    }
    assert world.entropy == pytest.approx(math.log(2 ** (side + 1) - 2))


def test_finite_world_counts():
    weights = torch.arange(1, 31).double() / 465
    world = FiniteWorld(bars_and_stripes().images, weights)
    assert world.entropy == pytest.approx(D.Categorical(weights).entropy().item())
    train = FiniteWorld.of(world.sample(5_000))
    share = train.log_prob(world.images).exp()
    assert (share - weights).abs().max() < 4 * (0.25 * 30 / 465 / 5_000) ** 0.5 + 0.01
    assert kl_divergence(train, world) == pytest.approx(
        (train.weights * (train.weights.log() - world.log_prob(train.images))).sum()
    )
    assert kl_divergence(train, world) < 30 / 5_000
    assert kl_divergence(world, FiniteWorld.of(world.sample(10))) == math.inf
    assert world.log_prob(torch.full((1, 1, 32, 32), 7, dtype=torch.uint8)).item() == -math.inf
    with pytest.raises(VaelibError, match="distinct"):
        FiniteWorld(world.images[[0, 0]], torch.tensor([0.5, 0.5]))


def marginal(world) -> D.MultivariateNormal:
    weight = world.vae.weight.double()
    return D.MultivariateNormal(world.vae.bias.double(), weight @ weight.T + 0.09 * torch.eye(64).double())


def test_moments_and_columns_of_linear_worlds():
    """The moments are the samples'; orthogonal columns make the factorised posterior exact, correlated ones cost most."""
    world = linear_world(shared=0.6)
    mean, covariance = world.moments
    x = world.sample(20_000).flatten(1).double()
    assert (x.mean(0) - mean).abs().max() < 5 * (covariance.diagonal().max() / 20_000).sqrt()
    assert (torch.cov(x.T) - covariance).abs().max() < 0.05
    lost = [
        linear_world(**options).vae.expected(*linear_world(**options).moments)
        for options in ({"orthogonal": True}, {}, {"shared": 0.6})
    ]
    exact, plain, correlated = (log_px - star for log_px, star, _ in lost)
    assert abs(exact) < 1e-4
    assert exact < plain < correlated


def test_linear_world_entropy():
    world = linear_world()
    assert world.entropy == pytest.approx(marginal(world).entropy().item())
    surprise = -world.log_prob(world.sample(20_000))
    assert abs(surprise.mean() - world.entropy) < 4 * surprise.std() / 20_000**0.5


def test_remark_b5_is_an_identity_where_all_is_known():
    """The shortfall of log p_θ is KL(p ‖ p_θ); that of ELBO* adds ½ [Σ log Λᵢᵢ - log det Λ] (linear-Gaussian)."""
    world, x = linear_world(), linear_world().sample(4_000)
    precision = world.vae.precision.double()
    gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision)).item()
    noise = world.log_prob(x).std().item() / 4_000**0.5
    assert abs(entropy_shortfall(world.entropy, world.log_prob(x))) < 4 * noise
    assert abs(entropy_shortfall(world.entropy, world.vae.exact_elbo_star(x)) - gap) < 4 * noise
    other = linear_world(seed=1)
    normals = [
        D.MultivariateNormal(
            w.vae.bias.double(), w.vae.weight.double() @ w.vae.weight.double().T + 0.09 * torch.eye(64)
        )
        for w in (world, other)
    ]
    kl = D.kl_divergence(*normals).item()
    scores = other.log_prob(x)
    assert abs(entropy_shortfall(world.entropy, scores) - kl) < 4 * scores.std().item() / 4_000**0.5


def test_low_entropy_data_can_score_higher_than_the_training_data():
    """Remark B.5's warning: under a model that is exact for p, a less uncertain p' has the higher bound."""
    world = bars_and_stripes()
    plain = FiniteWorld(world.images[:2], torch.tensor([0.5, 0.5]).double())
    mean = (plain.weights * world.log_prob(plain.images)).sum().item()
    assert mean == pytest.approx(-world.entropy)
    assert entropy_shortfall(plain.entropy, world.log_prob(plain.images), plain.weights) == pytest.approx(math.log(15))
    assert entropy(plain) < entropy(world)


@torch.no_grad()
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "mol"])
def test_decoder_worlds_are_their_models_samples(likelihood):
    """Mean log p(x|z) at the drawn z is what the likelihood expects; no pixel is clipped; a seed is a world."""
    before = torch.get_rng_state()
    world = random_decoder(likelihood, hidden=16, **({"sigma": 0.4} if likelihood == "gaussian" else {}))
    assert torch.equal(torch.get_rng_state(), before)
    z, x = world.pairs(40)
    assert torch.equal(world.sample(40), x)
    params = world.vae.decode(z)
    if likelihood == "gaussian":
        assert (x - world.vae.likelihood.centre(params)).std().item() == pytest.approx(0.4, rel=0.02)
        assert x.min() < 0
    else:
        again = world.vae.likelihood.sample(params, torch.Generator().manual_seed(5))
        seen, expected = (world.vae.likelihood.log_prob(params, images) for images in (x, again))
        difference = seen - expected
        assert difference.mean().abs() < 4 * difference.std() / 40**0.5
    same = random_decoder(likelihood, hidden=16, **({"sigma": 0.4} if likelihood == "gaussian" else {}))
    assert all(torch.equal(a, b) for a, b in zip(world.vae.parameters(), same.vae.parameters(), strict=True))
    assert z[:, 0].std().item() == pytest.approx(1, abs=0.4)


def test_a_trained_vae_is_a_world_too():
    vae = FullyConnectedVAE(d_z=2, hidden=8, likelihood=Gaussian(0.03)).train()
    z, x = DecoderWorld(vae).pairs(3, seed=7)
    assert z.shape == (3, 2)
    assert x.shape == (3, 1, 32, 32)
    assert not x.requires_grad
    assert vae.training
