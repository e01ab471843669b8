r"""The diffusion teacher: EDM's preconditioned denoiser around a diffusers U-Net (Karras et al. 2022, Table 1).

Notation. y: a clean image in [-1, 1]; σ: noise level; n ~ N(0, σ² I); x = y + n; F: the raw network;
σ_d = σ_data = 0.5. The denoiser estimates E[y | x] and is

    D(x; σ) = c_skip(σ) x + c_out(σ) F(c_in(σ) x; c_noise(σ))                                   (Karras Eq. 7)

    c_skip = σ_d² / (σ² + σ_d²)     c_out = σ σ_d / √(σ² + σ_d²)
    c_in   = 1 / √(σ² + σ_d²)       c_noise = ln(σ) / 4

so that F sees inputs, and is asked for targets, of unit variance at every σ. Training minimises
E[λ(σ) ‖D(y + n; σ) − y‖²] with λ = (σ² + σ_d²) / (σ σ_d)² = 1 / c_out² and ln σ ~ N(P_mean, P_std²)  (Karras Eq. 8).
The paper trains its teachers "following the setup of Karras et al." (Appendix D).
"""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..precision import bf16_pays

SIGMA_DATA = 0.5
P_MEAN, P_STD = -1.2, 1.2


class Preconditioning(NamedTuple):
    """The four scalings of Karras Table 1, each of σ's shape."""

    skip: Tensor
    out: Tensor
    input: Tensor
    noise: Tensor


def preconditioning(sigma: Tensor) -> Preconditioning:
    """Return c_skip, c_out, c_in and c_noise at ``sigma`` (Karras Table 1, "Network and preconditioning")."""
    total = sigma.square() + SIGMA_DATA**2
    return Preconditioning(SIGMA_DATA**2 / total, sigma * SIGMA_DATA / total.sqrt(), total.rsqrt(), sigma.log() / 4)


def loss_weight(sigma: Tensor) -> Tensor:
    """Return λ(σ) = (σ² + σ_data²) / (σ σ_data)², which gives every σ the same initial loss (Karras Table 1)."""
    return (sigma.square() + SIGMA_DATA**2) / (sigma * SIGMA_DATA).square()


def noise_levels(standard_normal: Tensor) -> Tensor:
    """Return σ with ln σ ~ N(P_mean, P_std²), made from standard normal draws (Karras Table 1, "Training")."""
    return (P_MEAN + P_STD * standard_normal).exp()


class EDMDenoiser(nn.Module):
    """D(x; σ) of Karras Eq. 7 around ``network(inputs, c_noise)``, which returns a tensor of its inputs' shape.

    Scalings and output are in x's precision; ``amp`` runs only the network in bfloat16, where the hardware
    multiplies it.
    ``space_to_depth`` 2 or 4 shows the network each 2×2 or 4×4 block of pixels as channels, (B, 4C, 16, 16) or
    (B, 16C, 8, 8): a quarter or a sixteenth of the work at equal width.

    >>> denoiser = EDMDenoiser(PlaneNetwork())  # of points in the plane
    >>> denoiser(torch.zeros(3, 2, 1, 1), torch.ones(3)).shape
    torch.Size([3, 2, 1, 1])
    """

    def __init__(self, network: nn.Module, *, space_to_depth: int = 1, amp: bool = False):
        super().__init__()
        self.network, self.space_to_depth, self.amp = network, space_to_depth, amp

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return E[y | x], shape (B, C, H, W), for noisy images x = y + σn with y in [-1, 1]; σ has shape (B,)."""
        c = preconditioning(sigma)
        column = (-1, 1, 1, 1)
        inputs = F.pixel_unshuffle(c.input.view(column) * x, self.space_to_depth)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.amp and bf16_pays(x.device.type)):
            raw = self.network(inputs, c.noise)
        raw = F.pixel_shuffle(raw.to(x.dtype), self.space_to_depth)
        return c.skip.view(column) * x + c.out.view(column) * raw


def edm_loss(denoiser: nn.Module, y: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """Return λ(σ) ‖D(y + σ noise; σ) − y‖² / dim(y), shape (B,) (the integrand of Karras Eq. 8, a mean over pixels).

    ``y``: clean images (B, C, H, W) in [-1, 1]; ``sigma``: (B,); ``noise``: standard normal, of y's shape.
    """
    error = denoiser(y + sigma.view(-1, 1, 1, 1) * noise, sigma) - y
    return loss_weight(sigma) * error.square().flatten(1).mean(1)


class Upsample(nn.Module):
    """Twice as large by repetition, then diffusers' convolution: its ``Upsample2D``, with the same bits on a CPU.

    From 64 images on that one gives channels-last maps up, for an old fault of CUDA's kernels, and so do the layers after
    it; on a CPU, keeping them makes the laptop's network 6 to 12 % faster in bfloat16.
    """

    def __init__(self, conv: nn.Module):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return a map (B, C, 2H, 2W), or of ``size``, for ``x`` of shape (B, C, H, W)."""
        x = x.contiguous() if x.is_cuda and len(x) >= 64 else x
        return self.conv(F.interpolate(x, size, None if size else 2.0, mode="nearest"))


class UNet(nn.Module):
    """A ``diffusers.UNet2DModel`` that takes and returns plain tensors."""

    def __init__(self, **config):
        super().__init__()
        from diffusers import UNet2DModel  # three seconds of import, spared to everyone who builds no U-Net

        # Not time_embedding_type="fourier": that takes the logarithm of its input itself, and ln σ is often negative.
        self.unet = UNet2DModel(time_embedding_type="positional", **config)
        # As in EDM, every residual branch and the output start at zero, so D(x; σ) starts as c_skip x.
        for name, module in self.unet.named_modules():
            if name.endswith("conv2") or name == "conv_out":
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
        for block in self.unet.up_blocks:
            if block.upsamplers is not None:
                block.upsamplers[0] = Upsample(block.upsamplers[0].conv)

    def forward(self, inputs: Tensor, c_noise: Tensor) -> Tensor:
        dtype = self.unet.dtype
        return self.unet(inputs.to(dtype), c_noise.float(), return_dict=False)[0]


class PlaneNetwork(nn.Module):
    """A perceptron for points in the plane, (B, 2, 1, 1): four hidden layers, the noise level as sines and cosines."""

    def __init__(self, width: int = 128, waves: int = 4):
        super().__init__()
        self.register_buffer("frequencies", torch.arange(1, waves + 1).float())
        sizes = [2 + 2 * waves] + [width] * 4
        layers = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.SiLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))

    def forward(self, inputs: Tensor, c_noise: Tensor) -> Tensor:
        angles = c_noise[:, None] * self.frequencies
        features = torch.cat([inputs.flatten(1), angles.sin(), angles.cos()], 1)
        return self.layers(features)[:, :, None, None]


def build_denoiser(
    channels: int,
    *,
    width: int = 128,
    multipliers: tuple[int, ...] = (2, 2, 2),
    blocks: int = 4,
    attention: tuple[int, ...] = (16,),
    dropout: float = 0.13,
    space_to_depth: int = 1,
    amp: bool = True,
    norm_groups: int | None = None,
    image_size: int = 32,
) -> EDMDenoiser:
    """Return a freshly initialised denoiser: a ``diffusers.UNet2DModel`` with the sizes that EDM has for CIFAR-10.

    Width, levels, blocks, attention and dropout are those of EDM's DDPM++ (Karras Appendix F), the network is another: it
    attends in other places and has 59.0 M parameters where DDPM++ has 55.7 M.

    Level l has ``blocks`` residual blocks of ``width * multipliers[l]`` channels, at half the resolution of level
    l − 1; levels whose resolution is in ``attention`` attend. ``norm_groups`` (EDM: 32, of at least 4 channels) must
    divide every width; on a CPU take width / 16, since PyTorch's channels-last group norm runs over a group's channels
    with vector instructions (ten times faster). Initial weights come from torch's global generator.

    >>> denoiser = build_denoiser(1, width=8, multipliers=(1, 1), blocks=1, attention=(), norm_groups=2)
    >>> denoiser(torch.zeros(2, 1, 32, 32), torch.ones(2)).shape
    torch.Size([2, 1, 32, 32])
    """
    if space_to_depth not in (1, 2, 4):
        raise ValueError(f"space_to_depth must be 1, 2 or 4, not {space_to_depth}")
    resolutions = [image_size // space_to_depth // 2**level for level in range(len(multipliers))]
    attends = [resolution in attention for resolution in resolutions]
    network = UNet(
        sample_size=resolutions[0],
        in_channels=channels * space_to_depth**2,
        out_channels=channels * space_to_depth**2,
        block_out_channels=tuple(width * multiplier for multiplier in multipliers),
        down_block_types=tuple("AttnDownBlock2D" if attend else "DownBlock2D" for attend in attends),
        up_block_types=tuple("AttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)),
        layers_per_block=blocks,
        add_attention=bool(attention),
        attention_head_dim=None,  # one head, as wide as the level
        norm_num_groups=norm_groups or min(32, width // 4),
        dropout=dropout,
    )
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    denoiser = EDMDenoiser(network, space_to_depth=space_to_depth, amp=amp)
    denoiser.image_shape = channels, image_size, image_size
    return denoiser
