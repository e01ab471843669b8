"""MS-SSIM: its axioms, and two public implementations as oracles where they run (pytorch-msssim needs 161 pixels)."""

import pytest
import torch
import torch.nn.functional as F

from vaelib.errors import VaelibError
from vaelib.gaps import ms_ssim
from vaelib.gaps.similarity import VARIANTS, WEIGHTS, similarity


def pictures(n: int, channels: int = 1, size: int = 32) -> torch.Tensor:
    draws = torch.Generator().manual_seed(channels)
    smooth = F.interpolate(torch.rand((n, channels, 5, 5), generator=draws), size=size, mode="bicubic")
    return (smooth + 0.05 * torch.randn(smooth.shape, generator=draws)).clamp(0, 1)


def noisy(x: torch.Tensor, strength: float) -> torch.Tensor:
    return (x + strength * torch.randn(x.shape, generator=torch.Generator().manual_seed(9))).clamp(0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_axioms(variant, channels):
    x = pictures(6, channels)
    y = noisy(x, 0.1)
    torch.testing.assert_close(ms_ssim(x, x, variant), torch.ones(6))
    torch.testing.assert_close(ms_ssim(x, y, variant), ms_ssim(y, x, variant))
    falling = torch.stack([ms_ssim(x, noisy(x, strength), variant) for strength in (0.02, 0.05, 0.1, 0.2, 0.4)])
    assert (falling.diff(dim=0) < 0).all()
    assert falling.min() > 0
    torch.testing.assert_close(ms_ssim(x[2:3], y[2:3], variant), ms_ssim(x, y, variant)[2:3])


@pytest.mark.parametrize("variant", VARIANTS)
def test_flat_and_opposite_images(variant):
    black, white = torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
    torch.testing.assert_close(ms_ssim(black, black, variant), torch.ones(1))
    assert ms_ssim(black, white, variant) < 0.5
    x = pictures(3)
    assert torch.equal(ms_ssim(x, 1 - x, variant), torch.zeros(3))  # negative covariance is clipped


@pytest.mark.parametrize("size", [176, 192])
@pytest.mark.parametrize("channels", [1, 3])
def test_standard_core_equals_pytorch_msssim(channels, size):
    from pytorch_msssim import ms_ssim as oracle

    x = pictures(4, channels, size)
    for strength in (0.02, 0.1, 0.3):
        y = noisy(x, strength)
        expected = oracle(x, y, data_range=1.0, size_average=False)
        torch.testing.assert_close(ms_ssim(x, y, "wang2003_upsampled"), expected, rtol=1e-4, atol=1e-5)


def test_upsampled_equals_pytorch_msssim_of_the_enlarged_image():
    from pytorch_msssim import ms_ssim as oracle

    x = pictures(4)
    y = noisy(x, 0.1)
    larger = (F.interpolate(image, scale_factor=6, mode="bicubic") for image in (x, y))
    expected = oracle(*larger, data_range=1.0, size_average=False)
    torch.testing.assert_close(ms_ssim(x, y, "wang2003_upsampled"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [176, 192])
def test_standard_core_equals_torchmetrics_but_for_its_border_at_the_last_scale(size):
    """torchmetrics pads by reflection and crops cs, but not the SSIM of scale 5: with the crop both are one number.

    (With several channels it averages over them before the powers are taken.)
    """
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure as oracle,
    )
    from torchmetrics.functional.image import structural_similarity_index_measure as one_scale

    x = pictures(4, 1, size)
    for strength in (0.02, 0.1, 0.3):
        y = noisy(x, strength)
        theirs = oracle(x, y, data_range=1.0, reduction="none", normalize="relu")
        small = (F.avg_pool2d(image, 16) for image in (x, y))
        whole, pixels = one_scale(*small, data_range=1.0, reduction="none", return_full_image=True)
        cropped = pixels[..., 5:-5, 5:-5].mean((1, 2, 3))
        ours = ms_ssim(x, y, "wang2003_upsampled")
        torch.testing.assert_close(ours, theirs * (cropped / whole) ** WEIGHTS[-1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [224])
def test_kuzina2022_fixed_is_near_the_standard_where_its_window_fits(size):
    """At 224 px and more all 14 taps fit at every scale: what is left is half a pixel and tails of weight 3e-4."""
    from pytorch_msssim import ms_ssim as oracle

    x = pictures(4, 1, size)
    for strength in (0.02, 0.1, 0.3):
        y = noisy(x, strength)
        expected = oracle(x, y, data_range=1.0, size_average=False)
        torch.testing.assert_close(ms_ssim(x, y, "kuzina2022_fixed"), expected, rtol=0, atol=4e-3)
        last = (ms_ssim(x, y, "kuzina2022") / ms_ssim(x, y, "kuzina2022_fixed")).log()  # = 3 · 0.1333 · log ssim_5
        assert (last < 0).all()


def plain_kuzina2022(x: torch.Tensor, y: torch.Tensor, power: int) -> float:
    """One image (C, H, W), written out with a full two-dimensional window in float64; channels are averaged at each scale."""
    x, y, product = x.double(), y.double(), 1.0
    for level in range(5):
        taps = min(14, x.shape[-1])
        line = [torch.tensor(-((i - taps // 2) ** 2) / 4.5).exp().item() for i in range(taps)]
        window = torch.outer(torch.tensor(line), torch.tensor(line)).double()
        window = (window / window.sum()).view(1, 1, taps, taps)
        mx, my, xx, yy, xy = (F.conv2d(t[:, None], window) for t in (x, y, x * x, y * y, x * y))
        cs = (2 * (xy - mx * my) + 0.0009) / (xx + yy - mx**2 - my**2 + 0.0009)
        ssim = cs * (2 * mx * my + 0.0001) / (mx**2 + my**2 + 0.0001)
        if level < 4:
            product *= max(cs.mean().item(), 0) ** WEIGHTS[level]
        else:
            product *= max(ssim.mean().item(), 0) ** (power * WEIGHTS[level])
        x, y = (F.avg_pool2d(t[None], 2)[0] for t in (x, y))
    return product


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("variant", "power"), [("kuzina2022", 4), ("kuzina2022_fixed", 1)])
def test_kuzina2022_against_a_plain_transcription(variant, power, channels):
    x = pictures(3, channels)
    strengths = (0.2, 0.05, 0.5)[:channels]  # an average over channels before the powers is not one after them
    y = torch.stack([noisy(part, strength) for part, strength in zip(x.unbind(1), strengths, strict=True)], 1)
    expected = [plain_kuzina2022(a, b, power) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(ms_ssim(x, y, variant), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_bytes_floats_and_gradients():
    x = (pictures(3) * 255).round().to(torch.uint8)
    y = noisy(x.float() / 255, 0.1).requires_grad_(True)
    result = ms_ssim(x, y)
    assert torch.equal(result, ms_ssim(x.float() / 255, y))
    assert not result.requires_grad


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_no_precision_leaves_the_range(variant, dtype):
    """Near white a variance of float32 comes out negative, and half precision knows none of 0.03²."""
    draws = torch.Generator().manual_seed(0)
    low = (1 - 0.002 * torch.rand((40, 1, 32, 32), generator=draws)).to(dtype)
    x = torch.cat([low, (pictures(20) ** 0.02).to(dtype)])
    y = torch.cat([low.flip(0), x[40:].flip(0)])
    exact = ms_ssim(x.double(), y.double(), variant)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = ms_ssim(x, y, variant)
    assert found.dtype == torch.float32
    assert -1 <= found.min() <= found.max() <= 1
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=5e-4)
    assert torch.equal(similarity(x, y, variant), ms_ssim(x, y, variant))


def test_mistakes_are_named():
    x = pictures(1)
    with pytest.raises(VaelibError, match="kuzina2022, kuzina2022_fixed, wang2003_upsampled"):
        ms_ssim(x, x, "standard")
    with pytest.raises(VaelibError, match="give two batches of one shape"):
        ms_ssim(x, x[..., 1:])


def test_bytes_and_doubles_compare():
    x = (255 * pictures(2)).byte()
    other = noisy(x / 255, 0.1).double()
    assert torch.equal(ms_ssim(x, other), ms_ssim((x / 255).double(), other))
