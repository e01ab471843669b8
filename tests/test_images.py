"""What an image batch is has one answer: every public function takes the right forms and refuses the wrong ones in a line."""

import importlib
import math

import numpy as np
import pytest
import torch

import vaelib
from vaelib import (
    EDMDenoiser,
    FullyConnectedVAE,
    Gaussian,
    TrainingDistribution,
    VAEState,
    gaps,
    images,
    tasks,
    train_vae,
)
from vaelib.data import NAIVE, ImageData
from vaelib.data.corruptions import corrupt
from vaelib.data.worlds import DecoderWorld, random_decoder
from vaelib.errors import VaelibError
from vaelib.models import Posterior
from vaelib.models.denoiser import build_denoiser
from vaelib.modes import evaluating
from vaelib.tasks import audit, c2st
from vaelib.training import Stream, encoder_state, train_denoiser, train_encoder

N = 60
BYTES = torch.randint(0, 256, (N, 1, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(N) % 2
SEED = torch.Generator().manual_seed(0)
VAE = FullyConnectedVAE(d_z=2, hidden=4, likelihood=Gaussian(0.3))
CLASSIFIER = tasks.SmallClassifier(1, 2, 2)
FEW = {"chains": 1, "temperatures": 2, "leapfrogs": 1}


def one(x):
    """Return the first image of a batch, for functions of a single one."""
    return x[0] if len(x) else x


def prior(x):
    return Posterior(torch.zeros(len(x), 2), torch.ones(len(x), 2))


def image_data(x):
    return ImageData(x, BYTES, LABELS, LABELS, "toy", "toy", False, BYTES[:0], LABELS[:0])


def trained_denoiser(x):
    denoiser = build_denoiser(1, width=8, multipliers=(1,), blocks=1, attention=(), space_to_depth=4, norm_groups=1)
    return next(train_denoiser(denoiser, x, n_images=2, batch_size=2))


CALLS = {
    "Augmentation": lambda x: NAIVE(x, SEED),
    "ImageData": image_data,
    "TrainingDistribution": lambda x: TrainingDistribution(x, N),
    "ais_lower": lambda x: gaps.ais_lower(VAE, x, **FEW),
    "attack_course": lambda x: gaps.attack_course(VAE, x, (1,), restarts=1),
    "attack_encoder": lambda x: gaps.attack_encoder(VAE, x, steps=1, restarts=1),
    "attack_path": lambda x: gaps.attack_path(VAE, one(x), (0.1,), steps=1),
    "attacked_pairs": lambda x: list(gaps.attacked_pairs(VAE, x, LABELS, n_images=2, restarts=1, steps=1)),
    "bdmc": lambda x: gaps.bdmc(VAE, torch.zeros(len(x), 2), x, **FEW),
    "certify": lambda x: gaps.certify(VAE, x[:2], k=1, chains=1, temperatures=2),
    "elbo": lambda x: vaelib.elbo(VAE, x, torch.zeros(len(x), 2)),
    "elbo_terms": lambda x: gaps.elbo_terms(VAE, x),
    "evaluate_elbo": lambda x: gaps.evaluate_elbo(VAE, x),
    "features_of": lambda x: tasks.features_of(CLASSIFIER, x),
    "fit": lambda x: next(tasks.fit(tasks.FitState(CLASSIFIER), x, LABELS, epochs=1)),
    "inception_quality": lambda x: tasks.inception_quality(CLASSIFIER, x, x),
    "interpolate": lambda x: tasks.interpolate(
        VAE, one(x), one(x.flip(0)) if isinstance(x, torch.Tensor) else x, alphas=2
    ),
    "iwae": lambda x: gaps.iwae(VAE, x, k=1),
    "logits_of": lambda x: tasks.logits_of(CLASSIFIER, x),
    "ms_ssim": lambda x: gaps.ms_ssim(x, x),
    "optimize_posterior": lambda x: gaps.optimize_posterior(VAE, x, max_steps=1),
    "path_statistics": lambda x: tasks.path_statistics(VAE, x, torch.tensor([[0, 1]]), alphas=3),
    "posterior_means": lambda x: tasks.posterior_means(VAE, x),
    "promised": lambda x: gaps.promised(VAE, x, prior(x), samples=1),
    "proxy_quality": lambda x: tasks.proxy_quality(CLASSIFIER, x, x),
    "psnr": lambda x: tasks.psnr(VAE, x),
    "reconstruct": lambda x: tasks.reconstruct(VAE, x),
    "robustness_gap": lambda x: gaps.robustness_gap(VAE, x, LABELS, n_images=2, restarts=1, steps=1),
    "scorecard": lambda x: vaelib.scorecard(VAE, x, x, amortization_images=0, attack_images=0, log_p_images=0),
    "train_denoiser": trained_denoiser,
    # Documented, if not among the public names of a package.
    "corrupt": lambda x: corrupt(x, "contrast"),
    "labelled": lambda x: c2st.labelled(x, x),
    "neighbours": lambda x: audit.neighbours(x, x, x),
    "share_of": lambda x: audit.share_of(x, 0),
    "two_sample_test": lambda x: c2st.two_sample_test(CLASSIFIER, x, x),
}


def words(text):
    return set(text.split())


NO_IMAGES = words(
    """
    ELBOTerms Scorecard from_functions from_pythae
    VAE Bernoulli DiffusionState EDMDenoiser FullyConnectedVAE Gaussian MixedDistribution MixtureOfLogistics Mollified Mollify
    NonFiniteLoss Posterior ResidualVAE VAEState VaelibError __version__ augmentation build_denoiser build_likelihood
    count_parameters heun_sample load_dataset sample_images train_encoder train_vae Bound Bracket Certified
    OptimizedPosterior Pairs RobustnessGap slack stratified symmetric_kl METHODS Epoch Stream
    NonFinite dpmpp_2m_sample Regulariser kl_between
    early_stopping_oracle encoder_state CLASSIFIERS FitState InceptionQuality PrecisionRecall ProxyQuality SmallClassifier
    build_classifier build_network different_pairs frechet_distance generate inception_score load_inception nearest overall
    precision_recall representation_accuracy NAIVE TUNED_CIFAR TUNED_MNIST dataset_names
    """
)
ONLY_BYTES = words(
    """ImageData TrainingDistribution features_of fit inception_quality logits_of proxy_quality train_denoiser corrupt labelled
    neighbours share_of two_sample_test"""
)
ANY_SHAPE = words("labelled neighbours share_of")  # they compare pixels, and know no model
ANY_SIZE = ANY_SHAPE | words(
    "Augmentation TrainingDistribution ms_ssim features_of fit logits_of proxy_quality two_sample_test"
)
ANY_CHANNELS = ANY_SHAPE | words("Augmentation ms_ssim ImageData TrainingDistribution corrupt inception_quality")
ANY_RANGE = {"bdmc"}  # its images are a Gaussian's own draws
FLOATS = BYTES.float() / 255
WITH_NAN, WITH_INFINITY = FLOATS.clone(), FLOATS.clone()
WITH_NAN[0, 0, 3, 3], WITH_INFINITY[0, 0, 3, 3] = math.nan, math.inf
WRONG = {
    "bool": BYTES > 127,
    "int64": BYTES.long(),
    "0 and 1": BYTES // 128,
    "[-1, 1]": 2 * FLOATS - 1,
    "[0, 255]": BYTES.float(),
    "NaN": WITH_NAN,
    "infinity": WITH_INFINITY,
    "3 dimensions": BYTES[:, 0],
    "flat": BYTES.flatten(1),
    "channels last": BYTES.permute(0, 2, 3, 1),
    "3 channels": BYTES.expand(-1, 3, -1, -1),
    "28 pixels": BYTES[..., 2:-2, 2:-2],
    "empty": BYTES[:0],
    "numpy": BYTES.numpy(),
}


def test_every_public_name_takes_images_by_the_one_definition_or_takes_none():
    packages = [importlib.import_module(f"vaelib{name}") for name in ("", ".gaps", ".training", ".tasks", ".data")]
    names = {name for package in packages for name in package.__all__}
    assert names - set(CALLS) == NO_IMAGES


@pytest.mark.parametrize("name", CALLS)
def test_right_images_are_taken(name):
    if name == "inception_quality":
        pytest.skip("needs 2,048 images; test_quality.py has them")
    CALLS[name](BYTES)
    if name in ONLY_BYTES:
        with pytest.raises(VaelibError, match=r"give \(255 \* \w+\).round\(\).to\(torch.uint8\)"):
            CALLS[name](FLOATS)
    else:
        for floats in (FLOATS, FLOATS.half(), FLOATS.bfloat16()):
            CALLS[name](floats)


@pytest.mark.parametrize("form", WRONG)
@pytest.mark.parametrize("name", CALLS)
def test_wrong_images_are_refused_in_one_line_that_says_how_to_convert(name, form):
    exempt = {"28 pixels": ANY_SIZE, "channels last": ANY_SHAPE, "3 channels": ANY_CHANNELS}
    exempt |= {"[-1, 1]": ANY_RANGE, "[0, 255]": ANY_RANGE}
    if name in exempt.get(form, ()):
        return
    with pytest.raises(VaelibError) as error:
        CALLS[name](WRONG[form])
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 220
    assert "give" in str(error.value) or "must be" in str(error.value)


@pytest.mark.parametrize(
    ("form", "convert"),
    [
        ("bool", lambda x: 255 * x.to(torch.uint8)),
        ("0 and 1", lambda x: 255 * x),
        ("[-1, 1]", lambda x: (x + 1) / 2),
        ("[0, 255]", lambda x: x / 255),
        ("3 dimensions", lambda x: x[:, None]),
        ("channels last", lambda x: x.permute(0, 3, 1, 2)),
        ("numpy", torch.as_tensor),
    ],
)
def test_the_cure_that_is_named_is_one(form, convert):
    with pytest.raises(VaelibError) as error:
        gaps.evaluate_elbo(VAE, WRONG[form])
    cure = {"bool": "255 * images.to(torch.uint8)", "[-1, 1]": "(images + 1) / 2", "[0, 255]": "images / 255"}
    cure |= {
        "3 dimensions": "images[:, None]",
        "channels last": "images.permute(0, 3, 1, 2)",
        "numpy": "as_tensor(images)",
        "0 and 1": "255 * images",
    }
    assert cure[form] in str(error.value)
    expected = torch.where(BYTES > 127, 255, 0).byte() if form in ("bool", "0 and 1") else BYTES
    torch.testing.assert_close(gaps.evaluate_elbo(VAE, convert(WRONG[form])), gaps.evaluate_elbo(VAE, expected))


def test_precisions_must_agree():
    with pytest.raises(
        VaelibError, match=r"images are torch.float64 and the model torch.float32; give images.float\(\)"
    ):
        gaps.evaluate_elbo(VAE, FLOATS.double())
    double = FullyConnectedVAE(d_z=2, hidden=4).double()
    with pytest.raises(VaelibError, match=r"give images.double\(\) / 255"):
        gaps.evaluate_elbo(double, BYTES)


def test_a_gaussians_own_draws_are_images_where_it_is_said():
    world = random_decoder("gaussian", d_z=2, hidden=8)
    z, x = world.pairs(3)
    assert x.min() < 0
    with pytest.raises(VaelibError, match=r"images hold values from -\d"):
        gaps.evaluate_elbo(world.vae, x)
    assert gaps.evaluate_elbo(world.vae, x, unclipped=True).isfinite().all()
    gaps.certify(world.vae, x, z=z, k=2, chains=1, temperatures=2)
    with pytest.raises(VaelibError, match="NaN or infinity"):
        gaps.evaluate_elbo(world.vae, torch.where(x == x.max(), math.nan, x), unclipped=True)


def test_no_value_is_read_at_a_step(monkeypatch):
    """A look at the values waits for the device: none in a training, and no more for ten restarts of an attack than for one."""
    looks = []
    monkeypatch.setattr(images, "_check_range", lambda *of: looks.append(of))
    list(train_vae(VAEState(VAE), TrainingDistribution(BYTES, N, augmentation=NAIVE), epochs=3, batch_size=10))
    assert not looks
    for restarts in (1, 3):
        looks.clear()
        gaps.robustness_gap(VAE, FLOATS, LABELS, n_images=2, restarts=restarts, steps=1)
        assert len(looks) == 2  # all images, and those that are attacked


class Fixed(Stream):
    """The same batch again and again."""

    n_train, seed = N, 0

    def __init__(self, x):
        self.x = x

    def batch(self, step, size):
        return self.x[:size]

    def sample(self, n, seed):
        return self.x[:n]


@pytest.mark.parametrize("form", ["bool", "int64", "3 dimensions", "channels last", "3 channels", "28 pixels"])
def test_a_stream_of_other_images_is_refused_before_the_first_step(form):
    vae = FullyConnectedVAE(d_z=2, hidden=4)
    with pytest.raises(VaelibError, match="batch"):
        next(train_vae(VAEState(vae), Fixed(WRONG[form])))
    with pytest.raises(VaelibError, match="batch"):
        next(train_encoder(encoder_state(vae), Fixed(WRONG[form])))


def test_the_two_sides_of_a_mixture_have_one_shape():
    grey, colour = TrainingDistribution(BYTES, N), TrainingDistribution(WRONG["3 channels"].contiguous(), N)
    with pytest.raises(VaelibError, match=r"\(1, 32, 32\) and \(3, 32, 32\)"):
        vaelib.MixedDistribution(grey, colour, 0.5)


def modes(module):
    return [part.training for part in module.modules()]


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"fit", "inception_quality", "train_denoiser"}))
def test_whatever_evaluates_gives_every_part_its_mode_back(name):
    for module in (VAE, CLASSIFIER):
        module.train()
        next(iter(module.children())).eval()
    before = modes(VAE), modes(CLASSIFIER)
    CALLS[name](BYTES)
    assert (modes(VAE), modes(CLASSIFIER)) == before
    with pytest.raises(VaelibError):
        CALLS[name](BYTES[:0])
    assert (modes(VAE), modes(CLASSIFIER)) == before


def test_what_takes_no_images_gives_modes_back_too():
    vae = FullyConnectedVAE(d_z=2, hidden=4).train()
    tasks.generate(vae, 2)
    DecoderWorld(vae).pairs(2)
    with evaluating(vae):
        assert not any(modes(vae))
    assert all(modes(vae))


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"inception_quality"}))
def test_inference_mode_changes_nothing_or_is_refused(name):
    """Gradients are had inside all the same, also of images that were made there; what learns says that it cannot."""
    with torch.inference_mode():
        if name in ("fit", "train_denoiser"):
            with pytest.raises(VaelibError, match=r"call it outside torch.no_grad\(\) and torch.inference_mode"):
                CALLS[name](BYTES)
            return
        CALLS[name](BYTES)
        if name not in ONLY_BYTES:
            CALLS[name](BYTES.float() / 255)


def test_inference_mode_gives_the_same_numbers():
    with torch.inference_mode():
        inside = gaps.optimize_posterior(VAE, BYTES[:5].float() / 255, max_steps=40)
        again = gaps.robustness_gap(VAE, BYTES, LABELS, n_images=2, restarts=1, steps=3)
        bound = gaps.ais_lower(VAE, BYTES[:5], q=Posterior(inside.mu + 0, inside.sigma + 0), **FEW)
    assert torch.equal(inside.elbo_star, gaps.optimize_posterior(VAE, BYTES[:5], max_steps=40).elbo_star)
    assert torch.equal(again.gap, gaps.robustness_gap(VAE, BYTES, LABELS, n_images=2, restarts=1, steps=3).gap)
    assert torch.equal(bound.value, gaps.ais_lower(VAE, BYTES[:5], q=inside, **FEW).value)


def test_a_model_made_in_inference_mode_has_no_gradients_and_says_so():
    with torch.inference_mode():
        vae = FullyConnectedVAE(d_z=2, hidden=4)
    assert gaps.evaluate_elbo(vae, BYTES).isfinite().all()
    for call in (
        lambda: gaps.optimize_posterior(vae, BYTES),
        lambda: gaps.robustness_gap(vae, BYTES, LABELS, n_images=2),
        lambda: gaps.ais_lower(vae, BYTES, **FEW),
        lambda: gaps.promised(vae, BYTES, prior(BYTES)),
    ):
        with pytest.raises(VaelibError, match=r"made inside torch.inference_mode"):
            call()


def test_training_without_gradients_is_refused():
    with torch.no_grad(), pytest.raises(VaelibError, match="train_vae needs gradients"):
        next(train_vae(VAEState(FullyConnectedVAE(d_z=2, hidden=4)), TrainingDistribution(BYTES, N)))


WRONG_LABELS = {
    "negative": torch.where(LABELS == 0, -1, LABELS),
    "too many": torch.arange(N + 3) % 2,
    "too few": LABELS[:-3],
    "floats": LABELS.float(),
    "one-hot": torch.eye(2)[LABELS].long(),
    "numpy": np.asarray(LABELS),
}


@pytest.mark.parametrize("form", WRONG_LABELS)
def test_wrong_labels_are_refused_in_one_line(form):
    for call in (
        lambda labels: gaps.robustness_gap(VAE, BYTES, labels, n_images=2, restarts=1, steps=1),
        lambda labels: list(gaps.attacked_pairs(VAE, BYTES, labels, n_images=2, restarts=1, steps=1)),
        lambda labels: next(tasks.fit(tasks.FitState(CLASSIFIER), BYTES, labels, epochs=1)),
    ):
        with pytest.raises(VaelibError, match="labels") as error:
            call(WRONG_LABELS[form])
        assert "\n" not in str(error.value)


def test_labels_beyond_the_classifiers_classes_are_refused():
    with pytest.raises(VaelibError, match=r"labels run from 0 to 2; .* from 0 to 1"):
        next(tasks.fit(tasks.FitState(CLASSIFIER), BYTES, torch.arange(N) % 3, epochs=1))


def test_pairs_name_images_that_there_are():
    with pytest.raises(VaelibError, match="pairs"):
        tasks.path_statistics(VAE, BYTES, torch.tensor([[0, N]]))


def test_a_denoiser_of_unknown_shape_takes_any_channels():
    class Nothing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x, noise):
            return self.gain * x

    for channels in (1, 3):
        next(train_denoiser(EDMDenoiser(Nothing()), BYTES.expand(-1, channels, -1, -1), n_images=2, batch_size=2))
