"""Noise, colour and blurs against closed forms and second implementations (scipy, OpenCV, ImageMagick, colorsys)."""

import colorsys
from io import BytesIO

import numpy as np
import pytest
import torch
from scipy import ndimage

from vaelib import rng
from vaelib.data.corruptions import TABLE, blurs, corrupt, tools

from .test_corruptions import corrupted, flat, pictures


@pytest.fixture(scope="module")
def x():
    return pictures(80)


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("gaussian_noise", lambda c, level: c**2),
        ("shot_noise", lambda c, level: level / c),
        ("speckle_noise", lambda c, level: (c * level) ** 2),
    ],
)
def test_noise_has_its_closed_form_variance(name, variance, severity):
    """Rounding down to bytes moves the mean by half a level and adds a variance of 1/12 level²."""
    level = 90
    noisy = corrupted(flat(level), name, severity)
    expected = 255**2 * variance(TABLE[name].constants[severity - 1], level / 255) + 1 / 12
    assert noisy.mean() == pytest.approx(level - 0.5, abs=5 * (expected / noisy.size) ** 0.5 + 0.05)
    assert noisy.var() == pytest.approx(expected, rel=0.05)
    assert abs(np.corrcoef(noisy[:, 0].ravel(), noisy[:, 1].ravel())[0, 1]) < 0.03


def test_impulse_noise_replaces_its_share(x):
    noisy = corrupt(flat(90), "impulse_noise", 5)
    values, counts = noisy.unique(return_counts=True)
    assert values.tolist() == [0, 90, 255]
    assert (counts / noisy.numel()).tolist() == pytest.approx([0.035, 0.93, 0.035], abs=0.003)
    weak, strong = (corrupt(x, "impulse_noise", severity) != x for severity in (1, 5))
    assert (weak <= strong).all()


@pytest.mark.parametrize("name", ["brightness", "saturate"])
def test_colour_follows_the_standard_librarys_hsv(x, name):
    x = torch.cat([x[:2], flat(90, 1), flat(0, 1)])
    for severity in (1, 4, 5):
        c, out = TABLE[name].constants[severity - 1], corrupted(x, name, severity)
        for image, changed in zip(x.numpy(), out, strict=True):
            for before, after in zip(image.reshape(3, -1).T[::37], changed.reshape(3, -1).T[::37], strict=True):
                hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
                if name == "brightness":
                    value = min(value + c, 1)
                else:
                    saturation = min(saturation * c[0] + c[1], 1)
                expected = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
                assert (np.abs(after + 0.5 - expected) <= 0.5 + 1e-5).all()


def test_grey_images_have_no_saturation_and_add_brightness(x):
    grey = x[:, :1]
    assert torch.equal(corrupt(grey, "saturate", 5), grey)
    expected = (grey.double() + 255 * 0.3).clamp(max=255)
    assert (expected - corrupt(grey, "brightness", 5)).abs().max() <= 0.5 + 1e-5


def test_contrast_is_linear_about_the_channels_mean(x):
    mean = x.double().mean((2, 3), keepdim=True)
    expected = mean + 0.15 * (x - mean)
    torch.testing.assert_close(corrupt(x, "contrast", 5).double() + 0.5, expected, rtol=0, atol=0.5 + 1e-5)


@pytest.mark.parametrize("severity", [1, 5])
def test_gaussian_blur_equals_scipys(x, severity):
    sigma = TABLE["gaussian_blur"].constants[severity - 1]
    expected = ndimage.gaussian_filter(x.double().numpy(), (0, 0, sigma, sigma), mode="nearest")
    assert np.abs(corrupted(x, "gaussian_blur", severity) + 0.5 - expected).max() <= 0.5 + 1e-5


@pytest.mark.parametrize("severity", [2, 4, 5])
def test_defocus_blur_equals_opencvs(x, severity):
    cv2 = pytest.importorskip("cv2", reason="no OpenCV")
    radius, soft = TABLE["defocus_blur"].constants[severity - 1]
    y, z = np.mgrid[-8:9, -8:9]
    disk = (y**2 + z**2 <= radius**2).astype(float)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (3, 3), soft)
    expected = np.stack([[cv2.filter2D(part, -1, kernel) for part in image] for image in x.double().numpy()])
    assert np.abs(corrupted(x, "defocus_blur", severity) + 0.5 - expected).max() <= 0.5 + 1e-5


@pytest.mark.parametrize(("severity", "stop"), [(1, 1.06), (2, 1.11), (5, 1.26)])
def test_zoom_blur_equals_scipys(x, severity, stop):
    x = x[:4]
    images, factors = x.double().numpy(), np.arange(1, stop, 0.01)
    total = images.copy()
    for factor in factors:
        crop = int(np.ceil(32 / factor))
        top = (32 - crop) // 2
        large = ndimage.zoom(images[..., top : top + crop, top : top + crop], (1, 1, factor, factor), order=1)
        trim = (large.shape[-1] - 32) // 2
        total += large[..., trim : trim + 32, trim : trim + 32]
    expected = total / (len(factors) + 1)
    assert np.abs(corrupted(x, "zoom_blur", severity) + 0.5 - expected).max() <= 0.5 + 1e-5


def test_motion_blur_equals_imagemagicks():
    """Two dots under ``convert -motion-blur 6x2+20``, computed with ImageMagick 6.9.11-60 Q16."""
    dots = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    dots[0, 0, 10, 12], dots[0, 0, 31, 3] = 1, 200 / 255
    found = tools.floor_bytes(tools.motion(dots, 6, 2.0, torch.tensor([20.0], dtype=torch.float64)))[0, 0]
    golden = {(8, 7): 3, (9, 8): 11, (9, 9): 27, (9, 10): 51, (10, 11): 74, (10, 12): 84}
    golden |= {(30, 0): 21, (30, 1): 40, (31, 0): 21, (31, 1): 40, (31, 2): 58, (31, 3): 66}
    assert {tuple(place): int(found[tuple(place)]) for place in found.nonzero().tolist()} == golden


def test_motion_blur_turns_by_its_angle():
    """A bright column is spread by a sideways smear and kept by a vertical one."""
    column = torch.zeros(2, 1, 32, 32, dtype=torch.float64)
    column[..., 16] = 1
    across, along = tools.motion(column, 6, 2.0, torch.tensor([0.0, 90.0], dtype=torch.float64))
    torch.testing.assert_close(along, column[0])
    assert across.amax() < 0.4
    torch.testing.assert_close(across.sum(-1), torch.ones(1, 32, dtype=torch.float64))


def test_glass_blur_copies_neighbours():
    """At severity 1 (σ = 0.05 blurs nothing) a pixel is one of the four up to one step up and left, a quarter each."""
    numbered = torch.randperm(1024, generator=torch.Generator().manual_seed(0)).view(32, 32)
    image = torch.stack([numbered // 8, numbered % 8, numbered % 8]).byte()[None].repeat(60, 1, 1, 1)
    out = corrupt(image, "glass_blur", 1).long()
    number, counts = 8 * out[:, 0] + out[:, 1], []
    for up in (0, 1):
        for left in (0, 1):
            counts.append((number[:, 2:, 2:] == numbered[2 - up : 32 - up, 2 - left : 32 - left]).double().mean())
    assert counts == pytest.approx([0.25] * 4, abs=0.01)
    assert torch.equal(out[:, :, :2], image[:, :, :2].long())
    assert torch.equal(out[..., :2], image[..., :2].long())


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_elastic_transform_equals_opencv_and_scipy(severity):
    """Under the same draws; OpenCV places pixels to 1/32, hence smooth images and the tolerance."""
    cv2 = pytest.importorskip("cv2", reason="no OpenCV")
    x = torch.from_numpy(ndimage.gaussian_filter(pictures(6).double().numpy() / 255, (0, 0, 2, 2)))
    amount, smoothness, corner = constants = TABLE["elastic_transform"].constants[severity - 1]

    def fresh() -> list[torch.Generator]:
        return [rng.generator(0, "test", i) for i in range(len(x))]

    draws, out = fresh(), blurs.elastic_transform(x, constants, fresh())
    corners, shifts = tools.uniform(draws, 3, 2).numpy(), tools.uniform(draws, 2, 32, 32).numpy()
    at, (rows, columns) = np.float32([[26, 26], [26, 6], [6, 6]]), np.mgrid[:32, :32]
    for image, corners_, shifts_, found in zip(x.numpy(), corners, shifts, out.numpy(), strict=True):
        forward = cv2.getAffineTransform(at, np.float32(at + corner * (2 * corners_ - 1)))
        dx, dy = (ndimage.gaussian_filter(2 * s - 1, smoothness, mode="reflect", truncate=3) * amount for s in shifts_)
        for channel, found_ in zip(image, found, strict=True):
            moved = cv2.warpAffine(channel, forward, (32, 32), borderMode=cv2.BORDER_REFLECT_101)
            expected = ndimage.map_coordinates(moved, [rows + dy, columns + dx], order=1, mode="reflect")
            assert np.abs(found_ - expected).max() < 3e-3


def boxes(before: int, after: int) -> np.ndarray:
    """Return Pillow's box filter between two sizes: the mean of the pixels whose centres lie within half a box."""
    scale = before / after
    away = (np.arange(before) + 0.5 - (np.arange(after)[:, None] + 0.5) * scale) / max(scale, 1)
    near = (away > -0.5) & (away <= 0.5)
    return near / near.sum(1, keepdims=True)


@pytest.mark.parametrize(("severity", "side"), [(1, 30), (5, 20)])
def test_pixelate_averages_boxes(x, severity, side):
    matrix = boxes(side, 32) @ boxes(32, side)
    expected = matrix @ x.double().numpy() @ matrix.T
    assert np.abs(corrupted(x, "pixelate", severity) - expected).max() <= 1


def test_jpeg_goes_through_a_file(x):
    from PIL import Image

    for image, found in zip(x[:5], corrupt(x[:5], "jpeg_compression", 5), strict=True):
        file = BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=40)
        assert np.array_equal(np.asarray(Image.open(file)), found.permute(1, 2, 0).numpy())
