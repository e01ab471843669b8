"""The corruptions: what they depend on, their order of strength, and a closed form or a second implementation of each."""

from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
import torch

from vaelib.data import corruptions
from vaelib.data.corruptions import CORRUPTIONS, TABLE, corrupt, load_official, tools, weather
from vaelib.errors import VaelibError

PLAIN = (
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
    "saturate",
)
# Severities in order of growing mean squared error, where that is not 1 to 5: the published constants do not all grow.
CHAINS = {
    "glass_blur": [(3, 2, 1, 5, 4)],  # more blur hides the displaced pixels
    "motion_blur": [(1, 2, 3, 5), (1, 2, 4, 5)],  # 3 and 4 differ by weights below exp(-18)
    "frost": [(1, 2, 3), (1, 2, 5)],  # more frost up to 3, then less of the image
    "elastic_transform": [(5, 4, 3, 2, 1)],  # finer displacements, but a smaller affine map
    "spatter": [(1, 2, 3), (4, 5)],  # water, mud
    "saturate": [(1, 2), (3, 4, 5)],  # less, more
}


def pictures(n: int) -> torch.Tensor:
    """Return images with what photographs have: smooth colour, edges and texture."""
    draws = torch.Generator().manual_seed(0)

    def field(channels: int, cells: int) -> torch.Tensor:
        coarse = torch.rand((n, channels, cells, cells), generator=draws)
        return torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")

    inside = field(1, 6) > 0.5
    x = torch.where(inside, field(3, 3), 0.6 * field(3, 4)) + 0.04 * torch.randn((n, 3, 32, 32), generator=draws)
    return (255 * x.clamp(0, 1)).byte()


@pytest.fixture(scope="module")
def x():
    return pictures(80)


def need(name: str, severity: int = 5) -> None:
    """Skip a test whose corruption rests on a package that is not here."""
    if name == "frost" and not find_spec("imagecorruptions"):
        pytest.skip("no photographs of frost")
    if name == "spatter" and severity < 4:
        pytest.importorskip("cv2", reason="no OpenCV")


def mse(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a.double() - b.double()).square().mean().item()


def flat(level: int, n: int = 40, channels: int = 3) -> torch.Tensor:
    return torch.full((n, channels, 32, 32), level, dtype=torch.uint8)


def corrupted(x: torch.Tensor, name: str, severity: int) -> np.ndarray:
    """Return corrupt's result as floats (N, C, H, W)."""
    return corrupt(x, name, severity).double().numpy()


def test_names_are_the_benchmarks_files():
    assert len(CORRUPTIONS) == 19
    assert CORRUPTIONS[:2] == ("gaussian_noise", "shot_noise")
    assert CORRUPTIONS[15:] == ("speckle_noise", "gaussian_blur", "spatter", "saturate")
    assert {len(row.constants) for row in TABLE.values()} == {5}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_depends_on_seed_name_and_number_alone(x, name, channels, monkeypatch):
    for severity in (1, 5):
        need(name, severity)
        x, before = x[:12, :channels], x[:12, :channels].clone()
        whole = corrupt(x, name, severity)
        assert whole.dtype == torch.uint8
        assert whole.shape == x.shape
        assert torch.equal(x, before)
        assert torch.equal(corrupt(x[5:9], name, severity, first=5), whole[5:9])
        with monkeypatch.context() as patch:
            patch.setattr(corruptions, "CHUNK", 5)
            assert torch.equal(corrupt(x, name, severity), whole)
        assert torch.equal(corrupt(x, name, severity, seed=1), whole) == (name in PLAIN)
        same = corrupt(x[:1].expand(9, -1, -1, -1), name, severity)
        assert len(same.unique(dim=0)) == 1 if name in PLAIN else len(same.unique(dim=0)) > 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_orders_the_damage(x, name):
    need(name, 1)
    damage = {severity: mse(corrupt(x, name, severity), x) for severity in range(1, 6)}
    for chain in CHAINS.get(name, [(1, 2, 3, 4, 5)]):
        assert all(damage[weaker] < damage[stronger] for weaker, stronger in pairwise(chain))


def test_fog_keeps_within_the_brightest_value():
    """On white: (1 + c p) / (1 + c) with clouds p from 0 to 1; on black nothing shows."""
    white = corrupt(flat(255, channels=1), "fog", 5).flatten(1)
    assert white.amax(1).unique().tolist() == [255]
    assert white.amin(1).unique().tolist() == [int(255 / 2.5)]
    assert not corrupt(flat(0), "fog", 5).any()


def test_clouds_are_rougher_where_roughness_decays_slowly():
    u = 2 * torch.rand((50, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
    rough = [weather.plasma(u, decay).diff(dim=2).square().mean() for decay in (3, 2.5, 2, 1.75)]
    assert rough == sorted(rough)


def test_snow_is_two_layers_turned_against_each_other():
    """A flat image under snow is its own half turn; where no flake fell it is c₆ x + (1 - c₆) max(x, 1.5 x + 0.5)."""
    out = corrupt(flat(60), "snow", 5)
    assert torch.equal(out, out.flip(2, 3))
    x = 60 / 255
    assert out.amin() == int(255 * (0.8 * x + 0.2 * (1.5 * x + 0.5)))
    along, across = (out.double().diff(dim=dim).square().mean() for dim in (2, 3))
    assert 10 < along < 0.5 * across  # streaks fall


def test_frost_adds_a_photograph(x):
    need("frost")
    layer = corrupt(torch.zeros_like(x), "frost", 5).double()
    assert layer.amax() <= 0.45 * 255
    assert layer.std() > 10
    expected = (0.75 * x + layer).clamp(max=255)
    assert (corrupt(x, "frost", 5) - expected).abs().max() <= 1
    grey = corrupt(torch.zeros_like(x[:, :1]), "frost", 5).double()
    assert (grey - (layer * tools.LUMA.view(3, 1, 1)).sum(1, keepdim=True)).abs().max() <= 1.5


def test_frost_without_its_photographs_says_how_to_get_them(x, monkeypatch):
    weather.frost_photos.cache_clear()
    monkeypatch.setattr(weather, "find_spec", lambda name: None)
    with pytest.raises(VaelibError, match="pip install --no-deps imagecorruptions-imaug"):
        corrupt(x, "frost")


def test_water_drops_are_pale_turquoise():
    need("spatter", 3)
    drops = corrupt(flat(0), "spatter", 3).double()
    assert drops.amax((2, 3)).unique(dim=0).tolist() == [[87, 119, 119]]  # half of (175, 238, 238)
    wet = drops[:, 1] > 40
    assert (drops[:, 0][wet] / drops[:, 1][wet]).mean() == pytest.approx(175 / 238, abs=0.02)
    assert 0.02 < wet.double().mean() < 0.5


def test_mud_covers():
    out = corrupt(flat(255), "spatter", 5).double()
    clean = (out == 255).all(1)
    assert 0.7 < clean.double().mean() < 0.99
    muddy = out.movedim(1, -1)[~clean]
    mud = torch.tensor([63.0, 42, 20], dtype=torch.float64)
    assert (muddy <= 0.2 * 255 + 0.8 * mud).all()
    assert (muddy >= mud - 1).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda x: corrupt(x, "gauss_noise"),
            "corruption = 'gauss_noise' is unknown; choose one of gaussian_noise, shot",
        ),
        (lambda x: corrupt(x, "fog", 0), "severity = 0 must be 1, 2, 3, 4 or 5"),
        (lambda x: corrupt(x, "fog", 6), "severity = 6"),
        (lambda x: corrupt(x.float(), "fog"), "torch.float32"),
        (lambda x: corrupt(x[:, :2], "fog"), "have 2 channels"),
        (lambda x: corrupt(x[:0], "fog"), "empty set"),
    ],
)
def test_mistakes_name_the_setting(x, call, words):
    with pytest.raises(VaelibError, match=words):
        call(x)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_images_stay_on_their_device(x):
    found = corrupt(x.cuda(), "gaussian_noise")
    assert found.is_cuda
    assert torch.equal(found.cpu(), corrupt(x, "gaussian_noise"))


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Return a root with one file of the benchmark's layout, three images a severity instead of 10,000."""
    monkeypatch.setattr(corruptions, "PUBLISHED", 3)
    (tmp_path / "CIFAR-10-C").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (15, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "CIFAR-10-C/fog.npy", images)
    return tmp_path, images


def test_published_images_are_read_by_severity(official):
    root, images = official
    found = load_official("fog", 4, root)
    assert found.shape == (3, 3, 32, 32)
    assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), images[9:12])
    assert load_official("snow", 4, root) is None


@pytest.mark.parametrize("content", [np.zeros((15, 32, 32, 3)), np.zeros((14, 32, 32, 3), np.uint8), np.array([{}])])
def test_foreign_files_are_refused(official, content):
    root, _ = official
    np.save(root / "CIFAR-10-C/fog.npy", content, allow_pickle=True)
    with pytest.raises(VaelibError, match=r"fog\.npy.*replace or delete"):
        load_official("fog", 1, root)
    (root / "CIFAR-10-C/fog.npy").write_bytes(b"")
    with pytest.raises(VaelibError, match=r"fog\.npy"):
        load_official("fog", 1, root)
