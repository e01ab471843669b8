"""Tasks: reconstructions whose error is known, classifiers on features whose separability is known."""

import math
import sys

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vaelib.errors import VaelibError
from vaelib.models import FullyConnectedVAE
from vaelib.models.linear import LinearGaussianVAE
from vaelib.tasks import CLASSIFIERS, generate, overall, posterior_means, psnr, reconstruct, representation_accuracy

SHAPE = (1, 8, 8)


def linear_vae(sigma: float = 0.1, **encoder) -> LinearGaussianVAE:
    """Return a VAE with four orthonormal directions around 0.5."""
    weight = torch.linalg.qr(torch.randn(64, 4, generator=torch.Generator().manual_seed(0)))[0]
    return LinearGaussianVAE(weight, torch.full((64,), 0.5), sigma, SHAPE, **encoder)


def blind_vae(sigma: float) -> LinearGaussianVAE:
    """Return a VAE that knows only the mean 0.5: x̃ = 0.5 or 0.5 + σ ε."""
    return LinearGaussianVAE(torch.zeros(64, 2), torch.full((64,), 0.5), sigma, SHAPE)


def two_levels(n: int = 400) -> torch.Tensor:
    """Return images that are flat 0.5 or flat 0.7: mean squared distance 0.02 from 0.5."""
    return torch.cat([torch.full((n // 2, *SHAPE), 0.5), torch.full((n // 2, *SHAPE), 0.7)])


def test_psnr_is_pooled_over_images():
    """-10 log10(0.02), not the mean of infinity and -10 log10(0.04)."""
    assert psnr(blind_vae(0.1), two_levels(), "mean") == pytest.approx(-10 * math.log10(0.02), abs=1e-4)


def test_a_sample_adds_the_likelihoods_variance():
    """In expectation the squared error of a sample is that of the mean plus σ²."""
    expected = -10 * math.log10(0.02 + 0.1**2)
    assert psnr(blind_vae(0.1), two_levels(), "sample") == pytest.approx(expected, abs=0.05)


def test_reconstruction_starts_at_the_posterior_mean():
    """With orthonormal W and A = Wᵀ, images of the VAE's own plane come back; a wide posterior changes nothing."""
    weight = linear_vae().weight
    vae = linear_vae(encoder_weight=weight.T, encoder_sigma=torch.full((4,), 5.0))
    z = 0.3 * torch.randn((50, 4), generator=torch.Generator().manual_seed(1))
    x = vae.decode(z)
    assert x.min() > 0
    assert x.max() < 1
    torch.testing.assert_close(reconstruct(vae, x, "mean"), x, rtol=0, atol=1e-6)
    assert psnr(vae, x, "mean") > 100
    assert psnr(vae, x, "sample") == pytest.approx(-20 * math.log10(0.1), abs=0.1)


def test_nothing_lost_is_infinite():
    assert psnr(blind_vae(0.1), torch.full((3, *SHAPE), 0.5), "mean") == math.inf


@pytest.mark.parametrize("kind", ["sample", "mean"])
def test_reconstructions_depend_on_the_images_number_and_the_seed_alone(kind):
    vae, x = linear_vae(), two_levels(40)
    whole = reconstruct(vae.train(), x, kind)
    torch.testing.assert_close(reconstruct(vae, x, kind, batch_size=7), whole)
    torch.testing.assert_close(reconstruct(vae, x[:11], kind), whole[:11])
    assert torch.equal(reconstruct(vae, x, kind, seed=1), whole) == (kind == "mean")
    assert vae.training
    assert whole.min() >= 0
    assert whole.max() <= 1


def test_bytes_and_floats_give_one_answer():
    x = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    vae = FullyConnectedVAE(d_z=3, hidden=16)
    assert psnr(vae, x) == pytest.approx(psnr(vae, x.float() / 255), abs=1e-9)
    assert np.array_equal(posterior_means(vae, x), posterior_means(vae, x.float() / 255))


def test_means_are_the_encoders():
    vae, x = linear_vae(), linear_vae().images(30, torch.Generator().manual_seed(2)).clamp(0, 1)
    found = posterior_means(vae, x, batch_size=7)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, vae.posterior(x)[0].numpy(), atol=1e-5)


def test_tasks_run_on_the_models_device():
    with FakeTensorMode():
        with torch.device("cuda"):
            vae = FullyConnectedVAE(d_z=3, hidden=16)
        for kind in ("sample", "mean"):
            found = reconstruct(vae, torch.zeros((5, 1, 32, 32), dtype=torch.uint8), kind, batch_size=2)
            assert found.shape == (5, 1, 32, 32)
            assert found.device.type == "cpu"


def test_mistakes_in_reconstruction():
    with pytest.raises(VaelibError, match="sample, mean"):
        reconstruct(linear_vae(), two_levels(), "median")
    with pytest.raises(VaelibError, match="at least one image"):
        psnr(linear_vae(), two_levels()[:0])


def test_generated_images_have_the_models_own_moments():
    """x = 0.5 + W z + σ ε before rounding: mean 0.5 and variance diag(W Wᵀ) + σ²; small enough that nothing is cut off."""
    vae = linear_vae(sigma=0.03)
    vae.weight.mul_(0.15)
    x = generate(vae, 4000).double().flatten(1) / 255
    expected = vae.weight.double().square().sum(1) + 0.03**2
    assert x.mean(0).tolist() == pytest.approx([0.5] * 64, abs=0.01)
    assert (x.var(0) / expected).tolist() == pytest.approx([1.0] * 64, abs=0.12)
    quiet = generate(vae, 4000, "mean").double().flatten(1) / 255
    assert (quiet.var(0) / (expected - 0.03**2)).mean() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("kind", ["sample", "mean"])
def test_generated_images_depend_on_their_number_and_the_seed_alone(kind):
    vae = FullyConnectedVAE(d_z=3, hidden=16)
    whole = generate(vae.train(), 40, kind)
    assert whole.dtype == torch.uint8
    assert (generate(vae, 40, kind, batch_size=7).int() - whole.int()).abs().max() <= 1  # products round by batch size
    assert (generate(vae, 11, kind).int() - whole[:11].int()).abs().max() <= 1
    assert not torch.equal(generate(vae, 40, kind, seed=1), whole)
    assert vae.training


@pytest.mark.parametrize(("options", "message"), [({"n": 0}, "at least 1"), ({"n": 2, "kind": "mode"}, "sample, mean")])
def test_mistakes_in_generation(options, message):
    with pytest.raises(VaelibError, match=message):
        generate(linear_vae(), **options)


def clusters(n: int = 600, classes: int = 3, distance: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Return unit Gaussians whose centres lie ``distance`` times the unit vectors away, and their classes."""
    draws = np.random.default_rng(0)
    labels = np.arange(n) % classes
    return draws.normal(size=(n, 4)) + distance * np.eye(classes, 4)[labels], labels


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_two_gaussians_are_told_apart_as_well_as_can_be(classifier):
    """Bayes' accuracy of two unit Gaussians √2·distance apart is Φ(distance/√2)."""
    features, labels = clusters(4000, classes=2, distance=1.5)
    bayes = 0.5 * (1 + math.erf(1.5 / 2))
    found = representation_accuracy(features, labels, classifier)
    assert bayes - (0.06 if classifier == "kNN" else 0.03) < found < bayes + 0.03


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_accuracy_is_chance_without_signal_and_the_split_is_fixed(classifier):
    features, labels = clusters()
    shuffled = np.random.default_rng(1).permutation(labels)
    assert representation_accuracy(features, shuffled, classifier) == pytest.approx(1 / 3, abs=0.13)
    found = representation_accuracy(features, labels, classifier)
    assert found > 0.9
    assert representation_accuracy(features, torch.from_numpy(labels), classifier) == found
    assert (found * 120) == pytest.approx(round(found * 120))  # 20 % of 600 were held out


def test_kernel_methods_bend_and_linear_ones_do_not():
    """XOR: the class is the sign of a product."""
    features = np.random.default_rng(0).normal(size=(1000, 2))
    labels = (features.prod(1) > 0).astype(int)
    accuracy = {name: representation_accuracy(features, labels, name) for name in CLASSIFIERS}
    assert max(accuracy["LR"], accuracy["SVM-L"]) < 0.65
    assert min(accuracy["SVM-RBF"], accuracy["kNN"]) > 0.9


def test_linear_classifiers_ignore_the_scale_and_distances_the_collapsed_latents():
    """A latent in other units is the same to LR and SVM-L; 40 latents of tiny noise are nothing to RBF and kNN."""
    features, labels = clusters(distance=2.0)
    scaled = features * np.array([1000.0, 1, 1, 1e-3]) + 7
    collapsed = np.hstack([features, 1e-3 * np.random.default_rng(1).normal(size=(len(features), 40))])
    for name, changed in (("LR", scaled), ("SVM-L", scaled), ("kNN", collapsed), ("SVM-RBF", collapsed)):
        found, plain = (representation_accuracy(x, labels, name) for x in (changed, features))
        assert found == pytest.approx(plain, abs=0.02)


def test_overall_takes_each_image_from_one_set():
    sets = [np.full((900, 2), float(k)) + np.arange(900)[:, None] / 1000 for k in range(3)]
    found = overall(sets)
    chosen, image = np.divmod(found[:, 0], 1)
    assert np.array_equal(found[:, 0], found[:, 1])
    np.testing.assert_allclose(image, np.arange(900) / 1000, atol=1e-9)
    assert np.bincount(chosen.astype(int)) / 900 == pytest.approx([1 / 3] * 3, abs=0.06)
    assert np.array_equal(overall(sets), found)
    assert not np.array_equal(overall(sets, seed=1), found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x, y, "SVM"), "choose one of LR, SVM-L, SVM-RBF, kNN"),
        (lambda x, y: (x[:9], y[:9], "kNN"), "at least 10; raise n_test"),
        (lambda x, y: (x, y[:-1], "kNN"), "600 features and 599 labels"),
        (lambda x, y: (np.where(x > 4, np.nan, x), y, "LR"), "NaN or infinity"),
        (lambda x, y: (x, 0 * y, "LR"), "all of one class"),
    ],
)
def test_mistakes_in_classification(change, words):
    with pytest.raises(VaelibError, match=words):
        representation_accuracy(*change(*clusters()))


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(VaelibError, match=r"vaelib\[eval\]"):
        representation_accuracy(*clusters(), "kNN")
