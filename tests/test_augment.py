"""The EDM pipeline: what is left alone, what is exact, the law of the draws, and kornia as a second implementation."""

import math
from dataclasses import replace

import pytest
import torch

from vaelib.data.augment import (
    NAIVE,
    TUNED_CIFAR,
    TUNED_MNIST,
    Augmentation,
    _between,
    augmentation,
    colour_matrix,
    inverse_linear,
    warp,
)
from vaelib.errors import VaelibError

MANY = 20_000


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def x(request) -> torch.Tensor:
    return torch.rand(64, request.param, 32, 32, generator=gen(7))


@pytest.mark.parametrize("method", [NAIVE, TUNED_MNIST, TUNED_CIFAR])
def test_p_zero_is_the_identity(method, x):
    assert torch.equal(replace(method, p=0.0)(x, gen()), x)


@pytest.mark.parametrize("method", [NAIVE, TUNED_MNIST, TUNED_CIFAR])
def test_output_is_an_image_and_determined_by_the_generator(method, x):
    before = x.clone()
    out = method(x, gen(3))
    assert out.shape == x.shape
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(x, before)
    assert torch.equal(out, method(x, gen(3)))
    assert not torch.equal(out, method(x, gen(4)))


@pytest.mark.parametrize("method", [NAIVE, TUNED_MNIST, TUNED_CIFAR, Augmentation(p=0.0)])
def test_numbers_drawn_do_not_depend_on_the_operations(method):
    generator, reference = gen(1), gen(1)
    method(torch.rand(20, 1, 32, 32), generator)
    NAIVE(torch.rand(20, 3, 32, 32), reference)
    assert torch.equal(generator.get_state(), reference.get_state())


@pytest.mark.parametrize(("field", "dim"), [("xflip", 3), ("yflip", 2)])
def test_flips_are_exact_and_happen_to_half_of_the_images(field, dim, x):
    method = Augmentation(**{field: "always"})
    out, flipped = method(x, gen()), method.draw(len(x), gen()).flip[:, 3 - dim] < 0
    assert torch.equal(out, torch.where(flipped[:, None, None, None], x.flip(dim), x))
    rate = (method.draw(MANY, gen()).flip < 0).float().mean(0)[3 - dim]
    assert rate == pytest.approx(0.5, abs=0.02)
    rate = (Augmentation(**{field: "p"}).draw(MANY, gen()).flip < 0).float().mean(0)[3 - dim]
    assert rate == pytest.approx(0.06, abs=0.01)


def test_translation_moves_whole_pixels_and_reflects_at_the_border(x):
    x, method = x[:50], Augmentation(p=1.0, translate_max=3)
    out, shift = method(x, gen()), method.draw(50, gen()).shift.int().tolist()
    for image, moved, (tx, ty) in zip(x, out, shift, strict=True):
        padded = torch.nn.functional.pad(image, (3, 3, 3, 3), mode="reflect")
        assert torch.equal(moved, padded[:, 3 - ty : 35 - ty, 3 - tx : 35 - tx])


def test_translation_is_a_rounded_uniform_whose_extremes_are_half_as_likely():
    shift = Augmentation(p=1.0, translate_max=3).draw(MANY, gen()).shift
    for axis in shift.unbind(1):
        steps, counts = axis.unique(return_counts=True)
        assert steps.tolist() == [-3, -2, -1, 0, 1, 2, 3]
        assert (counts / MANY - torch.tensor([1, 2, 2, 2, 2, 2, 1]) / 12).abs().max() < 0.012


def test_untouched_images_are_bit_exact(x):
    method = replace(NAIVE, p=0.05)
    draws = method.draw(len(x), gen())
    still = torch.stack([(value == 0).view(len(x), -1).all(1) for value in draws._replace(flip=1 - draws.flip)[:5]])
    still &= torch.stack([draws.brightness, draws.log2_contrast, draws.hue, draws.log2_saturation]).eq(0).all(0)
    still = still.all(0)
    assert 5 < still.sum() < len(x)
    assert torch.equal(method(x, gen())[still], x[still])


def test_images_of_a_batch_are_drawn_apart(x):
    same = x[:1].expand(64, -1, -1, -1)
    out = replace(NAIVE, p=1.0)(same, gen())
    assert len(out.flatten(1).unique(dim=0)) == 64


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("log2_scale", 0.2),
        ("log2_aniso", 0.2),
        ("brightness", 0.2),
        ("log2_contrast", 0.25),
        ("log2_saturation", 0.5),
    ],
)
def test_normal_draws(name, std):
    value = getattr(NAIVE.draw(MANY, gen()), name)
    drawn = value[value != 0]
    assert len(drawn) / MANY == pytest.approx(0.12, abs=0.01)
    assert drawn.mean() == pytest.approx(0, abs=4 * std / len(drawn) ** 0.5)
    assert drawn.std() == pytest.approx(std, rel=0.06)


@pytest.mark.parametrize(("name", "bound"), [("angle", torch.pi / 18), ("hue", torch.pi / 4)])
def test_uniform_draws(name, bound):
    value = getattr(NAIVE.draw(MANY, gen()), name)
    drawn = value[value != 0]
    assert len(drawn) / MANY == pytest.approx(0.12, abs=0.01)
    assert drawn.abs().max() == pytest.approx(bound, rel=0.01)
    assert drawn.abs().max() <= bound
    assert drawn.std() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_anisotropic_direction_is_drawn_with_its_own_probability():
    phi = NAIVE.draw(MANY, gen()).aniso_angle
    assert (phi != 0).float().mean() == pytest.approx(0.5, abs=0.02)
    assert phi.abs().max() == pytest.approx(torch.pi, rel=0.01)


def test_anisotropic_scaling_keeps_the_area_and_stretches_along_its_direction():
    method = Augmentation(p=1.0, aniso_std=0.2, aniso_rotate_prob=1.0)
    draws = method.draw(100, gen())
    linear = inverse_linear(draws)
    torch.testing.assert_close(torch.linalg.det(linear), torch.ones(100))
    along = torch.stack([draws.aniso_angle.cos(), draws.aniso_angle.sin()], 1)[:, :, None]
    torch.testing.assert_close(linear @ along, along * (-draws.log2_aniso).exp2()[:, None, None])


@pytest.mark.parametrize(
    "method",
    [
        Augmentation(p=1.0, rotate_max=180.0),
        Augmentation(p=1.0, scale_std=0.3),
        Augmentation(p=1.0, yflip="p", translate_max=3, scale_std=0.2, rotate_max=90.0),
    ],
    ids=["rotation", "scale", "flip, shift, scale, rotation"],
)
def test_resampling_equals_kornia(method):
    """kornia's warp_affine takes the forward map in pixel indices; here it is built from its factors R S (F x + t).

    Its bicubic kernel is another one, so images are smooth, and only pixels are compared that the border cannot reach.
    """
    transform = pytest.importorskip("kornia.geometry.transform", reason="kornia not installed")
    coarse, draws = torch.rand(30, 1, 5, 5, generator=gen(2)), method.draw(30, gen())
    x = torch.nn.functional.interpolate(coarse, size=32, mode="bicubic").clamp(0, 1)
    cos, sin = draws.angle.cos(), draws.angle.sin()
    rotation = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2) * draws.log2_scale.exp2()[:, None, None]
    forward = torch.eye(3).repeat(30, 1, 1)
    forward[:, :2, :2] = rotation * draws.flip[:, None, :]
    forward[:, :2, 2:] = rotation @ draws.shift[:, :, None]
    centre = torch.tensor([[1.0, 0, 15.5], [0, 1, 15.5], [0, 0, 1]])
    index = (centre @ forward @ centre.inverse())[:, :2]
    options = {"padding_mode": "reflection", "align_corners": True}
    expected, found = transform.warp_affine(x, index, (32, 32), mode="bicubic", **options), method(x, gen())
    torch.testing.assert_close(found[:, :, 11:21, 11:21], expected[:, :, 11:21, 11:21], atol=0.02, rtol=0)


# Of the wavelet sym6, with which EDM doubles the resolution and halves it again.
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
    0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
    0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip


def edm_warp(x: torch.Tensor, inverse: torch.Tensor, margin: int = 14) -> torch.Tensor:
    """EDM's resampling: reflect, double by the wavelet, interpolate bilinearly, halve by the wavelet's transpose."""
    taps, side, wide = torch.tensor(SYM6), 32, 32 + 2 * margin
    up = torch.zeros(2 * wide - 1, wide)  # fine point i is coarse position i / 2
    for point in range(2 * wide - 1):
        for tap, value in enumerate(taps):
            if (point + tap - 5) % 2 == 0 and 0 <= (point + tap - 5) // 2 < wide:
                up[point, (point + tap - 5) // 2] += value
    down = up.T[margin - 3 : margin + side + 3]
    fine = up @ torch.nn.functional.pad(x, (margin,) * 4, mode="reflect") @ up.T
    theta = torch.cat([inverse, torch.zeros(len(x), 2, 1)], 2)
    grid = torch.nn.functional.affine_grid(theta, list(fine.shape), align_corners=True)
    moved = torch.nn.functional.grid_sample(fine, grid, align_corners=True)
    return (down @ moved @ down.T)[:, :, 3:-3, 3:-3]


def edge_energy(x: torch.Tensor) -> torch.Tensor:
    return sum(x[:, :, 4:-4, 4:-4].diff(dim=dim).square().sum() for dim in (2, 3))


@pytest.mark.parametrize("method", [Augmentation(p=1.0, rotate_max=10.0), Augmentation(p=1.0, scale_std=0.1)])
def test_resampling_is_close_to_edms_double_resolution(method):
    """On edges of photographs' steepness: bilinear interpolation lost a third of their energy."""
    blobs = torch.rand(40, 3, 11, 11, generator=gen(3)).round()
    x, draws = torch.nn.functional.interpolate(blobs, size=32, mode="bicubic").clamp(0, 1), method.draw(40, gen())
    ours, theirs = warp(x, draws), edm_warp(x, inverse_linear(draws))
    assert float((ours - theirs).square().mean().sqrt()) < 0.01
    assert float(edge_energy(ours) / edge_energy(theirs)) == pytest.approx(1, abs=0.02)


def test_half_a_pixel_is_interpolated_as_the_wavelet_there_and_back_does():
    taps = torch.tensor(SYM6, dtype=torch.float64)
    there_and_back = [float(taps[: 12 - lag] @ taps[lag:]) for lag in range(1, 12, 2)]
    row = _between(64)[2 * 30 + 1].double()
    torch.testing.assert_close(row[31:37], torch.tensor(there_and_back).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(row[25:31].flip(0), row[31:37])


def test_images_are_continued_by_reflection(x):
    x = torch.full_like(x, 0.6)
    out = Augmentation(p=1.0, translate_max=3, scale_std=0.3, rotate_max=180.0)(x, gen())
    torch.testing.assert_close(out, x)


def test_brightness_and_contrast_of_a_constant_image():
    """In x̂ = 2x − 1: c (x̂ + b)."""
    method = Augmentation(p=1.0, brightness_std=0.2, contrast_std=0.25)
    draws = method.draw(50, gen())
    for channels in (1, 3):
        out = method(torch.full((50, channels, 32, 32), 0.3), gen())
        expected = ((draws.log2_contrast.exp2() * (2 * 0.3 - 1 + draws.brightness) + 1) / 2).clamp(0, 1)
        torch.testing.assert_close(out, expected[:, None, None, None].expand_as(out))


def test_hue_and_saturation_leave_greys_and_the_mean_over_channels():
    method = Augmentation(p=1.0, hue_max=0.25, saturation_std=0.5)
    grey = torch.rand(50, 1, 32, 32, generator=gen(1))
    torch.testing.assert_close(method(grey.expand(-1, 3, -1, -1), gen()), grey.expand(-1, 3, -1, -1))
    assert torch.equal(method(grey, gen()), grey)
    colour = 0.4 + 0.2 * torch.rand(50, 3, 1, generator=gen(1))
    moved = colour_matrix(method.draw(50, gen()))[:, :3, :3] @ colour
    torch.testing.assert_close(moved.mean(1), colour.mean(1))
    distance = (colour - colour.mean(1, keepdim=True)).norm(dim=1), (moved - moved.mean(1, keepdim=True)).norm(dim=1)
    torch.testing.assert_close(distance[1] / distance[0], method.draw(50, gen()).log2_saturation.exp2()[:, None])


def test_hue_of_a_third_of_a_turn_permutes_the_channels():
    draws = Augmentation(p=1.0).draw(1, gen())._replace(hue=torch.tensor([2 * torch.pi / 3]))
    torch.testing.assert_close(
        colour_matrix(draws)[0, :3, :3] @ torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.1, 0.9, 0.5])
    )


def test_binary_images_become_grey():
    x = (torch.rand(64, 1, 32, 32, generator=gen(1)) > 0.5).float()
    assert len(replace(TUNED_MNIST, p=0.5)(x, gen()).unique()) > 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", [NAIVE, TUNED_CIFAR])
def test_cuda_gives_the_same_images(method, x):
    torch.testing.assert_close(method(x.cuda(), gen()).cpu(), method(x, gen()), atol=1e-4, rtol=0)


def test_named_sets():
    assert augmentation("aug_naive", "cifar10") is NAIVE
    assert augmentation("aug_tuned", "cifar10") is TUNED_CIFAR
    assert augmentation("aug_tuned", "binary_mnist") is augmentation("aug_tuned", "fashion_mnist") is TUNED_MNIST


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: augmentation("naive", "cifar10"), "choose one of aug_naive, aug_tuned"),
        (lambda: augmentation("aug_tuned", "my/images"), "choose aug_naive"),
        (lambda: Augmentation(p=1.2), "augmentation p = 1.2"),
        (lambda: Augmentation(scale_std=-1.0), "scale_std"),
        (lambda: Augmentation(xflip="yes"), "off, p, always"),
        (lambda: Augmentation(scale_std=math.inf), "scale_std = inf must be a number from 0 to 10"),
        (lambda: Augmentation(contrast_std=1e3), "contrast_std = 1000.0"),
        (lambda: Augmentation(rotate_max=math.nan), "rotate_max = nan must be a number from 0 to 180"),
        (lambda: Augmentation(hue_max="0.2"), "hue_max = '0.2' must be a number from 0 to 1"),
        (lambda: Augmentation(translate_max=2.5), "translate_max = 2.5 must be a whole number from 0 to 32"),
    ],
)
def test_mistakes_name_the_setting(make, words):
    with pytest.raises(VaelibError, match=words):
        make()


def test_the_largest_strengths_still_give_images():
    """A contrast of 2^1000 once made NaN of an image, and was taken."""
    strengths = {"scale_std": 10, "aniso_std": 10, "brightness_std": 10, "contrast_std": 10, "saturation_std": 10}
    largest = Augmentation(p=1.0, translate_max=32, rotate_max=180, hue_max=1, aniso_rotate_prob=1, **strengths)
    images = largest(torch.rand(500, 3, 32, 32), torch.Generator().manual_seed(0))
    assert 0 <= images.min() <= images.max() <= 1
