r"""MS-SSIM (Wang et al. 2003) for images of 32 pixels, and of 16 or more, in three named variants.

At scale j (the images halved j - 1 times by 2×2 averages) local means μ, variances σ² and covariance under a Gaussian
window (standard deviation 1.5, no padding) give, with C₁ = 0.01², C₂ = 0.03² for images in [0, 1],

    cs = (2 σ_xy + C₂) / (σ_x² + σ_y² + C₂),   ssim = cs · (2 μ_x μ_y + C₁) / (μ_x² + μ_y² + C₁),

averaged over pixels and clipped at 0. With w = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333),

    MS-SSIM = cs_1^{w_1} · cs_2^{w_2} · cs_3^{w_3} · cs_4^{w_4} · ssim_5^{w_5}.

The standard 11-tap window needs 161 pixels at scale 1, so on 32 pixels a choice has to be made, and it has a name:

- ``kuzina2022``: what the attack literature measured (Kuzina et al. 2022, through a widely used PyTorch port): 14 taps,
  cut to the image's side at small scales and centred on tap ⌊taps / 2⌋ (so even windows are off centre by half a
  pixel); averages run over channels too; a misplaced bracket raises ssim_5^{w_5} to the fourth power.
- ``kuzina2022_fixed``: the same with the bracket where the definition has it.
- ``wang2003_upsampled``: bicubic enlargement by the smallest whole factor that reaches 176 pixels, then the original
  definition per channel. On images of 176 pixels and more it equals the package ``pytorch-msssim`` (sides divisible by
  16: it pads odd scales) and, for one channel, ``torchmetrics`` but for the border that this keeps at the last scale.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import VaelibError, unknown
from ..images import as_float, check_images

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST = 16  # pixels a side: four halvings leave one
VARIANTS = ("kuzina2022", "kuzina2022_fixed", "wang2003_upsampled")


def _band(size: int, taps: int, like: Tensor) -> Tensor:
    """Return the matrix (size, size - taps + 1) whose columns are the normalised window, centred on tap ⌊taps / 2⌋."""
    offset = torch.arange(size, device=like.device).unsqueeze(1) - torch.arange(size - taps + 1, device=like.device)
    weights = torch.exp(-(offset - taps // 2).to(like.dtype).square() / (2 * 1.5**2))
    weights = weights * ((offset >= 0) & (offset < taps))
    return weights / weights.sum(0)


def _ssim(x: Tensor, y: Tensor, taps: int) -> tuple[Tensor, Tensor]:
    """Return the maps' means (ssim, cs), each (B, C)."""
    # The window is separable: two products with band matrices, several times faster than one-channel convolutions.
    rows, columns = _band(x.shape[-2], taps, x), _band(x.shape[-1], taps, x)
    mean_x, mean_y, xx, yy, xy = (rows.T @ image @ columns for image in (x, y, x * x, y * y, x * y))
    product, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    # In floats a variance may come out below 0 and a covariance above what the variances allow.
    variances = (xx + yy - squares).clamp_min(0)
    covariances = torch.minimum(torch.maximum(2 * (xy - product), -variances), variances)
    cs = (covariances + 0.03**2) / (variances + 0.03**2)
    ssim = cs * (2 * product + 0.01**2) / (squares + 0.01**2)
    return ssim.mean((-2, -1)), cs.mean((-2, -1))


def check_variant(variant: str) -> None:
    """Raise VaelibError if there is no such variant."""
    if variant not in VARIANTS:
        raise unknown("similarity variant", variant, VARIANTS)


def check_size(images: Tensor, name: str = "images") -> None:
    """Raise VaelibError where images are too small for five scales."""
    if min(images.shape[2:]) < SMALLEST:
        height, width = images.shape[2:]
        raise VaelibError(
            f"{name} are {height}×{width}; MS-SSIM halves them four times and needs {SMALLEST} pixels a side or more: "
            "give images padded or resized to that (torch.nn.functional.pad, interpolate)"
        )


def ms_ssim(x: Tensor, y: Tensor, variant: str = "kuzina2022") -> Tensor:
    """Return the multi-scale structural similarity of two batches of images; 1 means equal.

    Arguments:
        x, y: images (B, C, H, W), uint8 or floats in [0, 1], with H, W ≥ 16. The result is (B,), in [0, 1].
        variant: see the module's text.

    Raises:
        VaelibError: unknown ``variant``, no two batches of images (:mod:`vaelib.images`) of one shape, or too small ones.

    >>> x = torch.rand(2, 1, 32, 32)
    >>> [round(value, 3) for value in ms_ssim(x, x).tolist()]
    [1.0, 1.0]
    """
    check_variant(variant)
    for name, images in (("x", x), ("y", y)):
        check_images(images, name=name)
    if x.shape != y.shape:
        raise VaelibError(
            f"images x and y of shapes {tuple(x.shape)} and {tuple(y.shape)}; give two batches of one shape"
        )
    check_size(x, "x")
    return similarity(x, y, variant)


@torch.no_grad()
def similarity(x: Tensor, y: Tensor, variant: str) -> Tensor:
    """Return :func:`ms_ssim` unchecked: for loops. Never in less than float32, whatever comes in and autocast says."""
    x, y = as_float(x), as_float(y)
    wide = torch.promote_types(x.dtype, y.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return _multi_scale(x.to(wide), y.to(wide), variant)


def _multi_scale(x: Tensor, y: Tensor, variant: str) -> Tensor:
    kuzina = variant != "wang2003_upsampled"
    factor = 1 if kuzina else -(-176 // min(x.shape[-2:]))
    if factor > 1:
        x, y = (F.interpolate(image, scale_factor=factor, mode="bicubic") for image in (x, y))
    result = 1.0
    for level, weight in enumerate(WEIGHTS):
        taps = min(14, *x.shape[-2:]) if kuzina else 11
        ssim, cs = _ssim(x, y, taps)
        last = level == len(WEIGHTS) - 1
        term = ssim if last else cs
        if kuzina:
            term = term.mean(1, keepdim=True)
        result = result * term.relu() ** (4 * weight if last and variant == "kuzina2022" else weight)
        if not last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return result.mean(1).clamp_max(1)
