"""Bounds and gaps against the closed forms of a linear-Gaussian VAE, and the promises about noise and batches."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vaelib.errors import VaelibError
from vaelib.gaps import evaluate_elbo, optimize_posterior, robustness_gap, stratified
from vaelib.gaps.memory import bytes_per_decoding
from vaelib.models import FullyConnectedVAE
from vaelib.models.linear import LinearGaussianVAE

SHAPE = (1, 8, 8)


def linear_vae(**encoder) -> LinearGaussianVAE:
    draws = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 4, generator=draws) / 4
    return LinearGaussianVAE(weight, torch.full((64,), 0.5), 0.3, SHAPE, **encoder)


def poor_vae() -> LinearGaussianVAE:
    """The same decoder behind an encoder that is off in mean and far too wide."""
    best = linear_vae()
    return linear_vae(
        encoder_weight=0.7 * best.optimum,
        encoder_bias=torch.tensor([0.3, -0.2, 0.1, 0.4]),
        encoder_sigma=3 * best.encoder_sigma,
    )


@pytest.fixture(scope="module")
def x():
    return linear_vae().images(150, torch.Generator().manual_seed(1))


def test_closed_forms_agree_with_the_definition(x):
    """KL[q ‖ p(z|x)] from torch.distributions, and ELBO* a maximum: every disturbed posterior scores lower."""
    vae = poor_vae()
    q, (mean, covariance) = vae.encode(x), vae.posterior(x)
    normal = torch.distributions.MultivariateNormal
    kl = torch.distributions.kl_divergence(
        normal(q.mu.double(), torch.diag_embed(q.sigma.double().square())), normal(mean, covariance)
    )
    torch.testing.assert_close(vae.exact_elbo(x), vae.log_px(x) - kl, rtol=1e-5, atol=1e-4)
    star = vae.optimal_posterior(x)
    for factor, shift in ((1.1, 0.0), (0.9, 0.0), (1.0, 0.02)):
        disturbed = star._replace(mu=star.mu + shift, sigma=star.sigma * factor)
        assert (vae.exact_elbo(x, disturbed) < vae.exact_elbo_star(x)).all()


def test_elbo_is_unbiased(x):
    vae = poor_vae()
    for samples in (1, 3, 64):
        error = evaluate_elbo(vae, x, samples=samples).double() - vae.exact_elbo(x)
        assert error.mean().abs() < 4 * error.std() / len(x) ** 0.5


def test_optimized_posterior_finds_the_mean_field_optimum(x):
    vae = poor_vae()
    found, best = optimize_posterior(vae, x, tol=1e-5, eval_samples=128, final_samples=512), vae.optimal_posterior(x)
    star, own, log_px = vae.exact_elbo_star(x), vae.exact_elbo(x), vae.log_px(x)
    assert ((found.mu - best.mu).abs() / best.sigma).mean() < 0.2
    assert (found.sigma / best.sigma - 1).abs().mean() < 0.1
    assert found.converged.all()
    exact = vae.exact_elbo(x, best._replace(mu=found.mu, sigma=found.sigma))
    assert (own < exact).all()
    assert (exact <= star + 1e-9).all()
    assert (star < log_px).all()
    assert (star - exact).mean() < 0.01 * (star - own).mean()
    torch.testing.assert_close(found.gap.mean().double(), (star - own).mean(), rtol=0.02, atol=0)


def test_no_gap_where_the_encoder_is_optimal(x):
    found = optimize_posterior(linear_vae(), x)
    assert (found.gap >= 0).all()
    assert found.gap.mean() < 0.05
    assert found.converged.all()
    assert 0 < found.reverted.sum() < len(x)  # by noise alone: such gaps are 0, not negative
    assert (found.gap[found.reverted] == 0).all()
    assert (found.start == 0).all()


def test_an_image_that_is_reverted_names_the_encoders_output_as_its_start(x):
    found = optimize_posterior(linear_vae(), x, starts=4, eval_samples=1, final_samples=2)
    assert found.reverted.any()
    assert (found.start[found.reverted] == 0).all()
    assert not optimize_posterior(linear_vae(), x, max_steps=0).gap.any()


def test_unconverged_images_are_counted(x):
    found = optimize_posterior(poor_vae(), x, lr=1e-3, max_steps=30)
    assert found.steps == 30
    assert not found.converged.any()
    assert (found.gap >= 0).all()


def test_scores_depend_on_the_image_and_the_seed_alone(x):
    vae, images = poor_vae().train(), torch.cat([x, x])
    scores = evaluate_elbo(vae, images, samples=2, batch_size=300)
    torch.testing.assert_close(evaluate_elbo(vae, images, samples=2, batch_size=37), scores)
    torch.testing.assert_close(evaluate_elbo(vae, x[:101], samples=2), scores[:101])
    assert not torch.allclose(scores[: len(x)], scores[len(x) :])
    assert not torch.allclose(evaluate_elbo(vae, images, seed=1, samples=2), scores)
    assert vae.training
    memory = 17 * 2 * bytes_per_decoding(vae, x[0], gradient=True)
    whole, pieces = optimize_posterior(vae, x), optimize_posterior(vae, x[:60], memory=memory)
    torch.testing.assert_close(whole.mu[:60], pieces.mu, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(whole.elbo_star[:60], pieces.elbo_star, rtol=1e-4, atol=1e-2)


def test_evaluation_ignores_autocast_and_dropout():
    vae = FullyConnectedVAE(d_z=3, hidden=16)
    vae.encoder.insert(1, torch.nn.Dropout(0.5))
    images = torch.rand((5, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    plain = evaluate_elbo(vae, images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(evaluate_elbo(vae, images), plain)


def test_bytes_and_floats_score_alike():
    vae = FullyConnectedVAE(d_z=3, hidden=16)
    images = torch.randint(0, 256, (7, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(evaluate_elbo(vae, images), evaluate_elbo(vae, images.float() / 255))
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_empty_set_is_an_error():
    with pytest.raises(VaelibError, match="at least one image"):
        evaluate_elbo(linear_vae(), torch.zeros(0, *SHAPE))


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (evaluate_elbo, "samples"),
        (evaluate_elbo, "batch_size"),
        (optimize_posterior, "samples"),
        (optimize_posterior, "block"),
        (optimize_posterior, "eval_samples"),
        (optimize_posterior, "final_samples"),
    ],
)
def test_counts_of_none_are_refused(x, call, wrong):
    """They once gave NaN, or gaps of exactly 0."""
    with pytest.raises(VaelibError, match=f"{wrong} = 0: give at least 1"):
        call(linear_vae(), x[:2], **{wrong: 0})


def test_elbo_runs_on_the_models_device():
    with FakeTensorMode():
        with torch.device("cuda"):
            vae = FullyConnectedVAE(d_z=3, hidden=16)
        scores = evaluate_elbo(vae, torch.zeros((5, 1, 32, 32), dtype=torch.uint8), samples=2, batch_size=2)
    assert scores.shape == (5,)
    assert scores.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gaps_on_cuda_equal_those_on_the_cpu(x):
    vae = poor_vae()
    expected = optimize_posterior(vae, x)
    found = optimize_posterior(vae.cuda(), x)
    torch.testing.assert_close(found.gap.mean(), expected.gap.mean(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("n", [1, 7, 20, 30])
def test_stratified_choice_is_balanced(n):
    labels = torch.arange(100) % 10
    chosen = stratified(labels, n)
    counts = labels[chosen].bincount(minlength=10)
    assert len(chosen.unique()) == n
    assert counts.max() - counts.min() <= 1
    assert not torch.equal(chosen, stratified(labels, n, seed=1))


def test_stratified_asks_for_no_more_than_there_is():
    with pytest.raises(VaelibError, match="choose 1 to 5"):
        stratified(torch.zeros(5), 6)


@pytest.fixture(scope="module")
def pictures():
    draws = torch.Generator().manual_seed(2)
    coarse = torch.rand((30, 1, 4, 4), generator=draws)
    return torch.nn.functional.interpolate(coarse, size=32, mode="bilinear"), torch.arange(30) % 3


@pytest.mark.parametrize("reconstruction", ["sample", "mean"])
def test_robustness_gap_is_its_two_terms(pictures, reconstruction):
    torch.manual_seed(0)
    vae = FullyConnectedVAE(d_z=3, hidden=16)
    settings = {"n_images": 6, "restarts": 2, "steps": 5, "reconstruction": reconstruction}
    result = robustness_gap(vae, *pictures, **settings)
    torch.testing.assert_close(result.gap, result.input_similarity - result.reconstruction_similarity)
    assert not result.at_sigma_floor.any()
    assert all(part.shape == (6,) for part in result)
    assert ((result.input_similarity > 0) & (result.input_similarity < 1)).all()
    for again, first in zip(robustness_gap(vae, *pictures, **settings), result, strict=True):
        assert torch.equal(again, first)


def test_attacks_that_end_at_the_smallest_sigma_are_counted(pictures):
    torch.manual_seed(0)
    vae = FullyConnectedVAE(d_z=3, hidden=16)
    with torch.no_grad():
        vae.encoder[-1].bias[3:] = -30.0  # softplus(-30) = 1e-13
    settings = {"n_images": 6, "restarts": 2, "steps": 5}
    at_the_default = robustness_gap(vae, *pictures, **settings)
    assert at_the_default.at_sigma_floor.tolist() == [1.0] * 6
    for floor in (1e-3, 1e-10):  # 1/σ³ in the gradient of SKL still fits float32
        vae.smallest_sigma = floor
        found = robustness_gap(vae, *pictures, **settings)
        assert found.gap.isfinite().all()
        assert found.at_sigma_floor.tolist() == [1.0] * 6


def test_a_blind_encoder_has_only_the_floor(pictures):
    """Where q(z|x) ignores x, reconstructions differ by their sampling alone: MS-SSIM[x̃_r, x̃_a] = 1 - floor."""
    weight = torch.randn((1024, 2), generator=torch.Generator().manual_seed(0)) / 4
    zero = torch.zeros(2, 1024)
    vae = LinearGaussianVAE(weight, torch.full((1024,), 0.5), 0.03, (1, 32, 32), encoder_weight=zero)
    result = robustness_gap(vae, *pictures, n_images=12, restarts=8, steps=2)
    difference = 1 - result.floor - result.reconstruction_similarity
    assert difference.mean().abs() < 4 * difference.std() / 12**0.5
    quiet = LinearGaussianVAE(0 * weight, torch.full((1024,), 0.5), 0.03, (1, 32, 32), encoder_weight=zero)
    still = robustness_gap(quiet, *pictures, n_images=3, restarts=1, steps=2, reconstruction="mean")
    torch.testing.assert_close(still.floor, torch.zeros(3), rtol=0, atol=1e-5)


def test_unknown_reconstruction_lists_the_choices(pictures):
    with pytest.raises(VaelibError, match="sample, mean"):
        robustness_gap(FullyConnectedVAE(d_z=3, hidden=16), *pictures, reconstruction="median")
