r"""The paper's convolutional VAE for CIFAR-10: residual blocks between an 8×8 grid of latents and 32×32 images.

With C image channels, n = ``nc`` internal channels, m = ``mz`` latent channels and K parameters a pixel (mixture of
logistics, C = 3: K = 100), the network has ``d_z = 64 m`` latents and

    |Θ| = |Θ_¬z| + |Θ_z|,   |Θ_¬z| = 88 n² + (16 C + 26 + K) n + K,   |Θ_z| = m (3 n + 2)

parameters (Sec. 5.1), for C = 3 88n² + 174n + 100 + m(3n + 2). The x-coordinates of Fig. 8 are this number at all 57
points, to 12 parameters in 23 million, and so settle what Tables 4–6 print differently:

| printed                                | run, by Fig. 8's evidence          | error of the printed one   |
| -------------------------------------- | ---------------------------------- | -------------------------- |
| Table 6: second convolution 3×3, pad 1 | 1×1, no padding                    | +8.39 M at nc = 512        |
| Table 5: one transposed convolution    | two (one ends at 16×16)            | -4.20 M at nc = 512        |
| Table 5: 3 channels out                | 10 logistics of 10 parameters: 100 | -0.05 M at nc = 512        |
| Tables 4, 5: 2·d_z and d_z channels    | 2·m and m channels on the 8×8 grid | +6.2 M at nc = 512, m = 64 |

The first two stay available as ``variant``; the third is what the Gaussian likelihood asks for, the fourth ``mz=64·m``.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import VaelibError, unknown
from .likelihoods import Likelihood, MixtureOfLogistics
from .vae import VAE, FullyConnectedVAE

GRID = 8
SKIPS = ("relu", "identity")


class Variant(NamedTuple):
    """A reading of Tables 5 and 6: side of a residual block's second kernel, transposed convolutions."""

    kernel: int
    transposed: int


VARIANTS = {
    "fig8": Variant(kernel=1, transposed=2),
    "table5": Variant(kernel=1, transposed=1),
    "table6": Variant(kernel=3, transposed=2),
    "tables5+6": Variant(kernel=3, transposed=1),
}


class Conv32(nn.Conv2d):
    """A convolution in float32 whatever autocast says, for the layers beside the latents (see :class:`Linear32`).

    While a VAE is trained on a GPU, PyTorch's own setting lets it multiply as TF32; what is measured never does.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of ``x``, float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


def _pixelwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return W x + b at each of P pixels, float32, (B, in, P) to contiguous (B, out, P)."""
    return torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x.to(weight.dtype))


class _MixedPixelwise(torch.autograd.Function):
    """The same, its gradients from bfloat16 products: rounding that Adam averages out, in half the time."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x.bfloat16(), weight.bfloat16())
        ctx.dtype = x.dtype
        return _pixelwise(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        rounded = gradient.bfloat16()
        to_x = (rounded.mT @ weight).mT  # channels last, as x
        to_weight = (rounded @ x.mT).sum(0, dtype=torch.float32)
        return to_x.to(ctx.dtype), to_weight, gradient.sum((0, 2))


class PixelHead(nn.Linear):
    """The 1×1 convolution that ends the decoder, in float32 whatever autocast says (see :class:`Linear32`).

    Likelihoods read channel by channel, so it turns channels-last maps into contiguous ones, at no cost within the
    product: a convolution and a copy take twice as long.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return contiguous (B, out, H, W), float32, for ``x`` of shape (B, in, H, W)."""
        mixed = torch.is_autocast_enabled(x.device.type) and torch.is_grad_enabled()
        with torch.autocast(x.device.type, enabled=False):
            pixels = (_MixedPixelwise.apply if mixed else _pixelwise)(x.flatten(2), self.weight, self.bias)
        return pixels.unflatten(2, x.shape[2:])


class ResidualBlock(nn.Module):
    """ReLU, 3×3 convolution, BN, ReLU, 1×1 convolution, BN, plus the skip (Table 6).

    ``skip`` "relu" adds ReLU(x), as both codes the paper descends from do by applying the first ReLU in place;
    "identity" adds x (He et al. 2016).
    """

    def __init__(self, nc: int, skip: str = "relu", kernel: int = 1):
        super().__init__()
        self.skip = skip
        self.body = nn.Sequential(
            nn.Conv2d(nc, nc, 3, padding=1, bias=False),
            nn.BatchNorm2d(nc),
            nn.ReLU(inplace=True),
            nn.Conv2d(nc, nc, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(nc),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of ``x``'s shape (B, nc, H, W)."""
        active = x.relu()
        return (active if self.skip == "relu" else x) + self.body(active)


def _down(channels: int, nc: int) -> list[nn.Module]:
    """Return the layers that halve a map's sides."""
    return [nn.Conv2d(channels, nc, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(nc)]


def _up(nc: int) -> list[nn.Module]:
    """Return the layers that double a map's sides."""
    return [nn.ConvTranspose2d(nc, nc, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(nc), nn.ReLU(inplace=True)]


def _channels_last(x: Tensor) -> Tensor:
    """Return ``x`` channels last, also a one-channel map, whose strides ``contiguous`` would leave undecided."""
    return x.clone(memory_format=torch.channels_last)


class ResidualVAE(VAE):
    """The paper's residual network (Tables 4–6 as Fig. 8 settles them; Sec. 5.7 and Figs. 2–9 use it).

    Batch statistics normalise in training, running ones in ``eval()``, as every gap is measured.

    Arguments:
        nc: internal channels n_c (the paper: 256; Fig. 8: 1 to 512).
        mz: latent channels on the 8×8 grid (the paper: 1 to 64); d_z = 64·mz.
        channels: image channels.
        likelihood: p(x|z); MixtureOfLogistics() unless given.
        skip: what a residual block adds, "relu" or "identity"; see :class:`ResidualBlock`.
        variant: "fig8"; "table6" with its 3×3 second convolution; "table5" with its single transposed convolution,
            whose 16×16 map each pixel then repeats 2×2 (our addition: the table stops short of an image); "tables5+6".

    Raises:
        VaelibError: nc outside 1 to 1024, mz outside 1 to 64, or an unknown skip or variant.

    >>> ResidualVAE(nc=4, mz=2).d_z
    128
    """

    def __init__(
        self,
        nc: int = 256,
        mz: int = 1,
        channels: int = 3,
        likelihood: Likelihood | None = None,
        skip: str = "relu",
        variant: str = "fig8",
    ):
        for name, value, most, usual in (("nc", nc, 1024, "256"), ("mz", mz, 64, "1")):
            if not 1 <= value <= most:
                raise VaelibError(f"{name} = {value}: the residual VAE takes 1 to {most} (the paper's: {usual})")
        for name, value, known in (("skip", skip, SKIPS), ("variant", variant, VARIANTS)):
            if value not in known:
                raise unknown(f"{name} =", value, known)
        super().__init__(GRID**2 * mz, channels, likelihood or MixtureOfLogistics())
        kernel, transposed = VARIANTS[variant]
        self.mz = mz
        self.encoder = nn.Sequential(
            *_down(channels, nc),
            nn.ReLU(inplace=True),
            *_down(nc, nc),
            ResidualBlock(nc, skip, kernel),
            ResidualBlock(nc, skip, kernel),
            Conv32(nc, 2 * mz, 1),
        )
        self.decoder = nn.Sequential(
            Conv32(mz, nc, 1, bias=False),
            nn.BatchNorm2d(nc),
            ResidualBlock(nc, skip, kernel),
            ResidualBlock(nc, skip, kernel),
            *_up(nc),
            *(_up(nc) if transposed == 2 else [nn.Upsample(scale_factor=2)]),
            PixelHead(nc, self.likelihood.channels_out(channels)),
        )

    def encoder_output(self, x: Tensor) -> Tensor:
        """Return the encoder's raw output, (B, 2 d_z): mu of every grid point, then s."""
        return self.encoder(_channels_last(x)).flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters, (B, channels_out, 32, 32), for latents (B, 64·mz)."""
        return self.decoder(_channels_last(z.unflatten(1, (self.mz, GRID, GRID))))


class ParameterCount(NamedTuple):
    """|Θ|, |Θ_z| (in proportion to the latents) and |Θ_¬z| (all others) of Sec. 5.1."""

    total: int
    latent: int
    rest: int


def count_parameters(vae: FullyConnectedVAE | ResidualVAE) -> ParameterCount:
    """Return the trained parameters of a VAE; Θ_z is the encoder's last layer and the weight of the decoder's first.

    >>> count_parameters(FullyConnectedVAE(d_z=16, hidden=512))
    ParameterCount(total=1600544, latent=24608, rest=1575936)
    """
    total = sum(parameter.numel() for parameter in vae.parameters())
    latent = sum(parameter.numel() for parameter in vae.encoder[-1].parameters()) + vae.decoder[0].weight.numel()
    return ParameterCount(total, latent, total - latent)
