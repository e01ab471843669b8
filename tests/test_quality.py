"""Sample quality: closed forms, torchmetrics as an oracle, toy manifolds, and the order real, blurred, noise."""

import math
import warnings
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vaelib import files, rng
from vaelib.errors import NonFiniteLoss, VaelibError
from vaelib.tasks import (
    FitState,
    SmallClassifier,
    build_network,
    features_of,
    fit,
    frechet_distance,
    inception_quality,
    inception_score,
    load_inception,
    logits_of,
    nearest,
    precision_recall,
    proxy_quality,
)
from vaelib.tasks.inception import FEWEST, Inception


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stripes(n: int, seed: int = 0, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images of four classes (stripes across or along, of two periods) with random phase and contrast."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    phase, contrast = 6.28 * torch.rand((n, 1, 1, 1), generator=g), 0.6 + 0.4 * torch.rand((n, 1, 1, 1), generator=g)
    line = torch.arange(32.0)
    position = torch.where((labels % 2 == 0).view(-1, 1, 1, 1), line.view(1, 1, 1, -1), line.view(1, 1, -1, 1))
    period = torch.where(labels < 2, 4.0, 9.0).view(-1, 1, 1, 1)
    x = 0.5 + 0.5 * contrast * torch.sin(6.28 * position / period + phase)
    return (255 * x).round().to(torch.uint8).expand(n, channels, 32, 32).contiguous(), labels


def trained(images: torch.Tensor, labels: torch.Tensor, epochs: int = 4) -> SmallClassifier:
    torch.manual_seed(0)
    network = SmallClassifier(images.shape[1], 4, width=4)
    for _ in fit(FitState(network), images, labels, epochs=epochs, batch_size=32, lr=0.05, decay=True):
        pass
    return network


# --- the scores -------------------------------------------------------------------------------------------------------


def test_frechet_distance_of_gaussians_is_the_closed_form():
    """For N(0, A²) and N(m, B²) with commuting A, B it is |m|² + |a - b|² of the deviations a, b."""
    a, b, m = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([2.0, 0.5, 0.5]), torch.tensor([0.0, 1.0, -2.0])
    turn = torch.linalg.qr(draw(3, 3, seed=3))[0]
    x, y = ((draw(200_000, 3, seed=s) * deviation) @ turn for s, deviation in ((1, a), (2, b)))
    expected = float(m.square().sum() + (a - b).square().sum())
    assert frechet_distance(x, y + m) == pytest.approx(expected, rel=0.01)
    assert frechet_distance(x, x + m) == pytest.approx(float(m.square().sum()), rel=1e-5)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_symmetric_and_stands_fewer_rows_than_columns():
    x, y = draw(20, 50, seed=1), 2 * draw(30, 50, seed=2)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-6)
    assert frechet_distance(x, y) > 0


class Features(nn.Module):
    """A random network on bytes, with what torchmetrics asks of one."""

    num_features = 24

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 60), nn.Tanh(), nn.Linear(60, 24))

    def forward(self, images):
        return self.body(images.float() / 255)


def test_our_frechet_distance_is_torchmetrics_with_the_same_features():
    from torchmetrics.image import FrechetInceptionDistance

    network, (real, _), (other, _) = Features(), stripes(300, 0, 3), stripes(300, 1, 3)
    fake = (0.7 * other.float()).to(torch.uint8)
    metric = FrechetInceptionDistance(feature=network)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    with torch.no_grad():
        ours = frechet_distance(network(real), network(fake))
    assert ours > 1e-3
    assert ours == pytest.approx(float(metric.compute()), rel=1e-3)


def test_inception_score_is_torchmetrics_and_between_its_analytic_ends():
    from torchmetrics.image import InceptionScore

    sure, unsure = 50 * torch.eye(8).repeat(40, 1), torch.zeros(320, 8)
    assert inception_score(sure, 1)[0] == pytest.approx(8)  # every class alike and certain
    assert inception_score(unsure, 1)[0] == pytest.approx(1)
    assert inception_score(50 * torch.eye(8)[:1].repeat(320, 1), 4) == pytest.approx((1, 0))  # one class only
    half = torch.log(torch.tensor([0.9, 0.1]))
    logits = torch.stack([half, half.flip(0)]).repeat(100, 1)
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert inception_score(logits, 1)[0] == pytest.approx(math.exp(math.log(2) - entropy))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        metric = InceptionScore(feature=nn.Identity(), splits=1)
    logits = draw(300, 8)
    metric.update(logits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the deviation of one split
        assert inception_score(logits, 1)[0] == pytest.approx(float(metric.compute()[0]), rel=1e-5)


def test_precision_and_recall_on_toy_manifolds():
    real = draw(800, 2, seed=1)
    assert precision_recall(real, draw(800, 2, seed=2)) == pytest.approx((1, 1), abs=0.1)
    assert precision_recall(real, draw(800, 2, seed=2) + 100) == (0, 0)
    narrow = precision_recall(real, 0.1 * draw(800, 2, seed=2))  # good samples of a small part
    assert narrow.precision > 0.95
    assert narrow.recall < 0.15
    wide = precision_recall(real, 10 * draw(800, 2, seed=2))  # everything and much more
    assert wide.precision < 0.2
    assert wide.recall > 0.9


@pytest.mark.parametrize("kind", ["distinct", "repeated", "binarised", "all alike"])
@pytest.mark.parametrize("shift", [0.0, 3.7, 1e3])
def test_a_set_lies_inside_its_own_manifold(kind, shift):
    """Whatever repeats, and wherever the features lie: 1 and 1."""
    x = draw(300, 40, seed=1)
    x = {"distinct": x, "repeated": x.repeat(2, 1), "binarised": (x > 1.5).float(), "all alike": x[:1].repeat(9, 1)}[
        kind
    ]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    assert precision_recall(x + shift, (x + shift)[order]) == (1, 1)


def test_precision_and_recall_do_not_depend_on_a_shift():
    a, b = (torch.randint(-9, 10, (500, 8), generator=torch.Generator().manual_seed(seed)).float() for seed in (1, 2))
    assert 0.1 < precision_recall(a, b).precision < 0.999
    for shift in (7.0, 4096.0, 1e6):  # whole numbers, which float32 holds exactly there
        assert precision_recall(a + shift, b + shift) == precision_recall(a, b)


def test_precision_and_recall_are_those_of_all_pairs(monkeypatch):
    monkeypatch.setattr("vaelib.tasks.neighbours.BLOCK", 300)  # several blocks
    real, generated = draw(70, 6, seed=1), 1.3 * draw(90, 6, seed=2)

    def share(points, manifold):
        exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
        reach = torch.cdist(manifold, manifold, **exact).sort(1).values[:, 3]
        return (torch.cdist(points, manifold, **exact) <= reach).any(1).double().mean().item()

    assert precision_recall(real, generated) == pytest.approx((share(generated, real), share(real, generated)))


def test_a_copy_is_found_among_near_copies():
    """Bright images that differ in one pixel by a grey level: their distance is far below the rounding of |a|²."""
    image = torch.full((1, 1024), 0.9) + 0.1 * torch.rand(1, 1024, generator=torch.Generator().manual_seed(0))
    near = image.repeat(300, 1) + torch.eye(1024)[:300] / 255
    distance, index = nearest(image, torch.cat([near, image]))
    assert (distance.tolist(), index.tolist()) == ([0.0], [300])


@pytest.mark.parametrize("images", [50, 51, 59, 1000])
def test_every_split_of_the_inception_score_is_made(images):
    """Ten splits, whose sizes differ by one at most, and the deviation of Salimans et al.'s code (numpy's, over n)."""
    logits = draw(images, 8)
    mean, deviation = inception_score(logits, 10)
    order = torch.randperm(images, generator=rng.generator(0, "inception score"))
    scores = []
    for part in np.array_split(logits.double()[order].softmax(1).numpy(), 10):
        assert len(part) in (images // 10, images // 10 + 1)
        scores.append(np.exp((part * (np.log(part) - np.log(part.mean(0)))).sum(1).mean()))
    assert (mean, deviation) == pytest.approx((np.mean(scores), np.std(scores)))


def test_neighbours_are_those_of_all_pairs(monkeypatch):
    a, b = draw(50, 7, seed=1), draw(30, 7, seed=2)
    monkeypatch.setattr("vaelib.tasks.neighbours.BLOCK", 100)  # several blocks
    every = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    for k in (1, 3):
        distance, index = nearest(a, b, k)
        torch.testing.assert_close(distance, every.sort(1).values[:, k - 1])
        torch.testing.assert_close(every.gather(1, index[:, None])[:, 0], distance)
    distance, index = nearest(a, a, within=True)
    assert (index != torch.arange(50)).all()
    assert (distance > 0).all()
    exact, where = nearest(1000 + a[:5], torch.cat([1000 + b, 1000 + a]))
    assert exact.tolist() == [0] * 5  # not the rounding of 10⁶
    assert where.tolist() == list(range(30, 35))


# --- the classifier ---------------------------------------------------------------------------------------------------


def test_proxies_order_real_blurred_and_noise():
    images, labels = stripes(400)
    network = trained(images, labels)
    test, test_labels = stripes(200, seed=1)
    assert (logits_of(network, test).argmax(1) == test_labels).float().mean() > 0.95
    real = stripes(200, seed=2)[0]
    blurred = nn.functional.avg_pool2d(real.float(), 3, 1, 1).round().to(torch.uint8)
    noise = torch.randint(0, 256, real.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scores = [proxy_quality(network, test, images) for images in (real, blurred, noise)]
    assert scores[0].proxy_fid < scores[1].proxy_fid < scores[2].proxy_fid
    assert scores[0].proxy_is > scores[2].proxy_is
    assert scores[0].precision > scores[2].precision
    assert scores[0].images == 200


def test_training_repeats_resumes_and_gives_the_mode_back():
    images, labels = stripes(100)
    options = {"epochs": 3, "batch_size": 32, "lr": 0.05, "decay": True}
    straight = FitState(build_network("small", 1, 4))
    losses = [done.loss for done in fit(straight, images, labels, **options)]
    assert losses[-1] < losses[0]
    half = FitState(build_network("small", 1, 4))
    loop = fit(half, images, labels, **options)
    next(loop)
    saved = {name: tensor.clone() for name, tensor in half.tensors().items()}
    resumed = FitState(build_network("small", 1, 4, seed=1))
    resumed.load(saved, 1)
    assert [done.loss for done in fit(resumed, images, labels, **options)] == losses[1:]
    for name, tensor in straight.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name]), name
    logits = logits_of(straight.network, images, batch_size=7)
    assert straight.network.training
    torch.testing.assert_close(logits, logits_of(straight.network, images))


def test_resnet18_is_adapted_to_32_pixels_and_channels():
    network = build_network("resnet18", 1, 2)
    seen = []
    network[1].layer1.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    assert logits_of(network, stripes(3)[0]).shape == (3, 2)
    assert seen == [(3, 64, 32, 32)]  # no early halving
    again = build_network("resnet18", 1, 2)
    assert all(map(torch.equal, network.state_dict().values(), again.state_dict().values()))


def test_classifiers_run_on_the_models_device():
    with FakeTensorMode():
        with torch.device("cuda"):
            network = SmallClassifier(3, 5)
        images = torch.zeros((5, 3, 32, 32), dtype=torch.uint8)
        assert logits_of(network, images, batch_size=2).device.type == "cpu"
        assert features_of(network, images).shape == (5, 128)


# --- FID with Inception's weights -------------------------------------------------------------------------------------


class Outputs(nn.Module):
    """Random features of FEWEST and logits of 10 columns."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.features, self.logits = nn.Linear(1024, FEWEST), nn.Linear(1024, 10)

    def forward(self, images):
        x = images[:, 0].flatten(1).float() / 255
        return self.features(x)[:, :FEWEST], 5 * self.logits(x)


@pytest.mark.slow
def test_fid_is_the_frechet_distance_of_the_networks_features():
    network, real, fake = Outputs(), stripes(FEWEST, 0)[0], stripes(FEWEST, 1)[0] // 2
    found = inception_quality(network, real, fake, batch_size=500)
    with torch.no_grad():
        features, logits = (torch.cat(parts) for parts in zip(network(real), network(fake), strict=True))
    assert found.fid == pytest.approx(frechet_distance(*features.chunk(2)), rel=2e-3)
    assert found.inception_score == pytest.approx(inception_score(logits.chunk(2)[1])[0], rel=0.02)
    assert found.images == FEWEST
    assert inception_quality(network, real, fake, batch_size=300) == pytest.approx(found, rel=1e-4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return a safetensors file with random weights of torch-fidelity's Inception."""
    with mock.patch("vaelib.tasks.inception.load_weights"):
        state = Inception({}).network.state_dict()
    state = {name: t + 0.01 if t.is_floating_point() else t for name, t in state.items()}  # unlike a fresh one
    path = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    save_file(state, str(path))
    return path, state


def test_inception_gets_the_weights_of_the_file_and_nothing_else(weights):
    path, state = weights
    network = load_inception(path, files.sha256(path).upper())
    for name, tensor in network.network.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    with torch.inference_mode():
        grey, colour = (network(stripes(1, channels=channels)[0]) for channels in (1, 3))
    assert [tuple(out.shape) for out in grey] == [(1, 2048), (1, 1008)]
    torch.testing.assert_close(grey[0], colour[0])


def test_weights_are_refused_before_they_are_read(weights, tmp_path, monkeypatch):
    path, _ = weights
    with pytest.raises(VaelibError, match="is no file"):
        load_inception(tmp_path / "absent.safetensors", "0")
    monkeypatch.setattr("safetensors.torch.load_file", lambda *_: pytest.fail("opened"))
    with pytest.raises(VaelibError, match=r"has SHA-256 .*, not 00; nothing was loaded"):
        load_inception(path, "00")


def test_a_file_of_another_kind_is_refused(tmp_path):
    pickled, other = tmp_path / "weights.pth", tmp_path / "other.safetensors"
    torch.save({"a": torch.zeros(1)}, pickled)
    save_file({"a": torch.zeros(1)}, str(other))
    for path, words in ((pickled, "holds no weights of torch-fidelity's Inception"), (other, r"; 1 unexpected \(a\)")):
        with pytest.raises(VaelibError, match=words):
            load_inception(path, files.sha256(path))


def test_inceptions_weights_are_all_there_and_a_wrappers_prefix_goes(weights, tmp_path):
    path, state = tmp_path / "weights.safetensors", weights[1]
    save_file({f"module.{name}": tensor for name, tensor in state.items()}, str(path))
    found = load_inception(path, files.sha256(path)).network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    save_file({name: tensor for name, tensor in state.items() if name != "fc.bias"}, str(path))
    with pytest.raises(VaelibError, match=r"weights.safetensors.*: 1 missing \(fc.bias\): save"):
        load_inception(path, files.sha256(path))


# --- mistakes ---------------------------------------------------------------------------------------------------------

IMAGES = stripes(40)[0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: proxy_quality(SmallClassifier(), IMAGES, IMAGES[:39]), "40 real and 39 generated"),
        (lambda: proxy_quality(SmallClassifier(), IMAGES / 255, IMAGES / 255), r"bytes \(0 to 255\)"),
        (lambda: proxy_quality(SmallClassifier(3), IMAGES, IMAGES), r"images of 3 channel\(s\)"),
        (lambda: proxy_quality(SmallClassifier(), IMAGES[:3], IMAGES[:3]), "more than k rows"),
        (lambda: logits_of(SmallClassifier(), IMAGES[:0]), "empty set"),
        (lambda: frechet_distance(draw(5, 3), draw(5, 4)), "equal width"),
        (lambda: frechet_distance(draw(1, 3), draw(5, 3)), "2 rows or more"),
        (lambda: frechet_distance(draw(5, 3) * torch.nan, draw(5, 3)), "NaN or infinity"),
        (lambda: precision_recall(draw(9, 3), draw(9, 3) * torch.inf), "NaN or infinity"),
        (lambda: inception_score(draw(9, 3) * torch.nan, 1), "NaN or infinity"),
        (lambda: inception_score(draw(9, 3), 10), "9 images do not make 10 splits"),
        (lambda: nearest(draw(9, 3), draw(1, 3), within=True), "k = 1 neighbours requested, 0 images available"),
        (lambda: inception_quality(Outputs(), IMAGES, IMAGES), "equal numbers of at least 2,048"),
        (lambda: inception_quality(Outputs(), IMAGES.float(), IMAGES), r"bytes \(0 to 255\)"),
        (lambda: build_network("resnet50", 1, 2), "choose one of small, resnet18"),
        (lambda: next(fit(FitState(SmallClassifier()), IMAGES, torch.zeros(40).long())), "1 class"),
        (lambda: next(fit(FitState(SmallClassifier()), IMAGES, torch.arange(39))), r"labels = \(39,\) for 40 images"),
    ],
)
def test_mistakes_are_told_in_one_line(call, words):
    with pytest.raises(VaelibError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_loss_that_is_not_finite_stops_the_training():
    state = FitState(SmallClassifier())
    with torch.no_grad():
        state.network.head.weight.fill_(np.nan)
    with pytest.raises(NonFiniteLoss, match="lower its lr"):
        next(fit(state, IMAGES, torch.arange(40) % 2))
