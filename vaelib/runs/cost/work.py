r"""How much work an artifact is, counted from the shapes of its networks: no machine in it, no measurement.

Multiply-adds (MACs) of one image through each network; a FLOP count is twice that. With n = nc, m = mz, C image
channels, K parameters a pixel, h = hidden, w = width of the U-Net:

| network         | MACs                                                                           |
| --------------- | ------------------------------------------------------------------------------ |
| fully connected | 1024 C h + h² + 2 h d_z to encode, d_z h + h² + 1024 K h to decode             |
| residual        | 2304 n² + (4096 C + 128 m) n to encode, 6400 n² + (64 m + 1024 K) n to decode: |
|                 | 8704 n² + 114,688 n + 192 m n in all for CIFAR-10                              |
| U-Net ``small`` | 59,104 w² + 18,432 C w; it has 1015 w² + (181 + 72 C) w + 4 C parameters       |
| U-Net ``edm``   | 1,271,840 w² + 36,864 C w; it has 3596 w² + (646 + 36 C) w + C parameters      |

The tests count the same with ``torch.utils.flop_counter``. A training step is three forward passes (one for the
gradient of the inputs, one for that of the weights), a step on inputs alone two. Normalisation is left out.
"""

from typing import NamedTuple

from ...images import SIDE
from ...models.residual import VARIANTS
from ..kinds import kind_of
from ..settings import Artifact, Exact, Network, Pretrained, Teacher, VAERun

PIXELS = SIDE**2
DDPM_MACS, DDPM_PARAMETERS = 6_054_000_000, 35_746_307  # of google/ddpm-cifar10-32
# What a GPU computes one after another, counted by the tests: for a VAE's training step, a U-Net's pass.
KERNELS = {"fc": 123, "residual": 198, "small": 277, "edm": 895}
MIXTURE_KERNELS = {1: 212, 3: 635}  # more for a VAE's training step where pixels are mixtures, by channels
AUGMENT_KERNELS = 100  # for a batch
AUGMENT_FLOPS = 3_200  # of a fully connected network: they take as long on a core as augmenting a value
PASSES = 2.35  # of a U-Net, in kernels, that its training step is
SCORING = 0.27  # of a VAE's training step, in kernels, that scoring a batch of 1,000 is
CLIMBING = 0.57  # of a VAE's training step, in kernels, that a step of ELBO* or of the attack is
STEP = 6  # kernels that Python starts for a captured training step: the graph, and what is copied to where it looks
PATCH_MACS = 550  # a value: adding up a patch, and the time that exponentials take as MACs


class Work(NamedTuple):
    """Work by kind: FLOPs of four kinds of networks, and what is not FLOPs.

    Attributes:
        fc, residual: FLOPs of VAEs.
        training, sampling: FLOPs of U-Nets.
        mixture: components of logistic mixtures, each for one sub-pixel, gradients included.
        core: seconds on one CPU core, whatever else the machine has.
        kernels: what Python starts on a GPU, one after another.
        captured: kernels in graphs, which follow each other on the GPU without Python.
    """

    fc: float = 0.0
    residual: float = 0.0
    training: float = 0.0
    sampling: float = 0.0
    mixture: float = 0.0
    core: float = 0.0
    kernels: float = 0.0
    captured: float = 0.0

    @property
    def flops(self) -> float:
        """Return the FLOPs of all kinds."""
        return self.fc + self.residual + self.training + self.sampling


def vae_macs(network: Network, channels: int) -> tuple[int, int]:
    """Return the MACs of encoding and of decoding one image."""
    k = network.pixels().channels_out(channels)
    if network.architecture == "fc":
        h, d_z = network.hidden, network.latents
        return PIXELS * channels * h + h * h + 2 * h * d_z, d_z * h + h * h + PIXELS * k * h
    kernel, transposed = VARIANTS[network.variant]
    n, m, blocks = network.nc, network.mz, 2 * 64 * (9 + kernel**2)
    up = 1024 + (4096 if transposed == 2 else 0)
    return (1024 + blocks) * n * n + (4096 * channels + 128 * m) * n, (blocks + up) * n * n + (64 * m + PIXELS * k) * n


def vae_parameters(network: Network, channels: int) -> int:
    """Return the parameters of a VAE; the residual network's as Fig. 8 proves them."""
    k = network.pixels().channels_out(channels)
    if network.architecture == "fc":
        h, d_z = network.hidden, network.latents
        return PIXELS * channels * h + 2 * h * h + 3 * h * d_z + 4 * h + 2 * d_z + PIXELS * k * (h + 1)
    n, m = network.nc, network.mz
    return 88 * n * n + (16 * channels + 26 + k) * n + k + m * (3 * n + 2)


def teacher_macs(teacher: Teacher | Pretrained | Exact) -> int:
    """Return the MACs of one pass of one image through a teacher's U-Net; others' is taken for DDPM's of CIFAR-10.

    An exact denoiser compares the image with all that it remembers, once for each shift.
    """
    if isinstance(teacher, Pretrained):
        return DDPM_MACS
    if isinstance(teacher, Exact):
        values = teacher.data.n_train * PIXELS * teacher.channels
        return values * (2 if teacher.reach is None else PATCH_MACS * (2 * teacher.shift + 1) ** 2)
    w, c = teacher.width, teacher.data.channels
    return 59_104 * w * w + 18_432 * c * w if teacher.network == "small" else 1_271_840 * w * w + 36_864 * c * w


def teacher_parameters(teacher: Teacher) -> int:
    """Return the parameters of a teacher's U-Net."""
    w, c = teacher.width, teacher.data.channels
    if teacher.network == "small":
        return 1_015 * w * w + (181 + 72 * c) * w + 4 * c
    return 3_596 * w * w + (646 + 36 * c) * w + c


COMPARED = 2e10  # numbers of pairs of images a second, whose distances are asked for, on one core
CLASSIFIED = 2_300  # images/s on which the proxies' classifier of width 16 is trained, on one core
AUTOGRAD = 1.8  # times as long as ours goes a mixture whose gradients PyTorch works out (Zhang et al.'s), on one core


def vae_kernels(network: Network, channels: int) -> int:
    """Return the kernels of a VAE's training step."""
    mixture = MIXTURE_KERNELS[channels] if network.likelihood == "mol" else 0
    return KERNELS[network.architecture] + mixture


def vae_work(run: VAERun, encoded: float, decoded: float, steps: float) -> Work:
    """Return the work of so many encodings and decodings, gradients counted as passes, in so many steps outside training."""
    network, channels = run.network, run.data.channels
    encode, decode = vae_macs(network, channels)
    flops = 2 * (encode * encoded + decode * decoded)
    mixture = decoded / 3 * PIXELS * channels * network.mixtures if network.likelihood == "mol" else 0.0
    if network.rgb == "zhang2022" and channels == 3:
        mixture *= AUTOGRAD
    kernels = CLIMBING * steps * vae_kernels(network, channels)
    return Work(**{network.architecture: flops}, mixture=mixture, kernels=kernels)


def work(artifact: Artifact) -> Work:
    """Return the work of making one artifact, its upstream not included; a second of one core for what declares none."""
    count = kind_of(artifact).work
    return count(artifact) if count else Work(core=1.0)


def size(artifact: Artifact) -> int:
    """Return the bytes an artifact takes on disk: images and weights; tables and manifests are small."""
    return kind_of(artifact).size(artifact)
