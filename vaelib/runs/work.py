r"""How much work an artifact is, counted from the shapes of its networks: no machine in it, no measurement.

Multiply-adds (MACs) of one image through each network; a FLOP count is twice that. With n = nc, m = mz, C image
channels, K parameters a pixel, h = hidden, w = width of the U-Net:

=================  =====================================================================================================
fully connected    1024 C h + h² + 2 h d_z to encode, d_z h + h² + 1024 K h to decode
residual           2304 n² + (4096 C + 128 m) n to encode, 6400 n² + (64 m + 1024 K) n to decode:
                   8704 n² + 114,688 n + 192 m n in all for CIFAR-10
U-Net ``small``    59,104 w² + 18,432 C w; it has 1015 w² + (181 + 72 C) w + 4 C parameters
U-Net ``edm``      1,271,840 w² + 36,864 C w; it has 3596 w² + (646 + 36 C) w + C parameters
=================  =====================================================================================================

The tests count the same with ``torch.utils.flop_counter``. A training step is three forward passes (one for the
gradient of the inputs, one for that of the weights), a step on inputs alone two. Normalisation is left out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..models import build_likelihood
from ..models.residual import VARIANTS
from ..samplers.bank import network_calls
from .evaluations import (
    C2ST,
    Audit,
    Brackets,
    Calibration,
    Classifier,
    Corrupted,
    Downstream,
    Plane,
    Remeasured,
    SampleElbo,
)
from .settings import RHA, Artifact, Bank, Data, Gaps, HeldOut, Network, Pretrained, Samples, Teacher, VAERun

PIXELS = 32**2
CLIMB = 250  # steps after which ELBO* is flat for most images, of at most 1,000
SCORING = 0.8  # decodings a step that select the best posterior: 16 every 20 steps
DDPM_MACS, DDPM_PARAMETERS = 6_054_000_000, 35_746_307  # of google/ddpm-cifar10-32
RESNET_MACS = 556_000_000  # of ResNet-18 at 32 px without the early halving
KERNELS = {"fc": 120, "residual": 400, "unet": 800}  # that a GPU starts for a VAE's training step, a U-Net's pass


class Work(NamedTuple):
    """Work by kind: FLOPs of four kinds of networks, and what is not FLOPs.

    Attributes:
        fc, residual: FLOPs of VAEs.
        training, sampling: FLOPs of U-Nets.
        mixture: components of logistic mixtures, each for one sub-pixel, gradients included.
        core: seconds on one CPU core, whatever else the machine has.
        kernels: launches on a GPU, one after another.
    """

    fc: float = 0.0
    residual: float = 0.0
    training: float = 0.0
    sampling: float = 0.0
    mixture: float = 0.0
    core: float = 0.0
    kernels: float = 0.0

    @property
    def flops(self) -> float:
        """Return the FLOPs of all kinds."""
        return self.fc + self.residual + self.training + self.sampling


def _outputs(network: Network, channels: int) -> int:
    """Return K: 1 number a sub-pixel, or the mixture's."""
    options = {"mol": {"mixtures": network.mixtures, "rgb": network.rgb}}
    return build_likelihood(network.likelihood, **options.get(network.likelihood, {})).channels_out(channels)


def vae_macs(network: Network, channels: int) -> tuple[int, int]:
    """Return the MACs of encoding and of decoding one image."""
    k = _outputs(network, channels)
    if network.architecture == "fc":
        h, d_z = network.hidden, network.latents
        return PIXELS * channels * h + h * h + 2 * h * d_z, d_z * h + h * h + PIXELS * k * h
    kernel, transposed = VARIANTS[network.variant]
    n, m, blocks = network.nc, network.mz, 2 * 64 * (9 + kernel**2)
    up = 1024 + (4096 if transposed == 2 else 0)
    return (1024 + blocks) * n * n + (4096 * channels + 128 * m) * n, (blocks + up) * n * n + (64 * m + PIXELS * k) * n


def vae_parameters(network: Network, channels: int) -> int:
    """Return the parameters of a VAE; the residual network's as Fig. 8 proves them."""
    k = _outputs(network, channels)
    if network.architecture == "fc":
        h, d_z = network.hidden, network.latents
        return PIXELS * channels * h + 2 * h * h + 3 * h * d_z + 4 * h + 2 * d_z + PIXELS * k * (h + 1)
    n, m = network.nc, network.mz
    return 88 * n * n + (16 * channels + 26 + k) * n + k + m * (3 * n + 2)


def teacher_macs(teacher: Teacher | Pretrained) -> int:
    """Return the MACs of one pass of one image through a teacher's U-Net; others' is taken for DDPM's of CIFAR-10."""
    if isinstance(teacher, Pretrained):
        return DDPM_MACS
    w, c = teacher.width, teacher.data.channels
    return 59_104 * w * w + 18_432 * c * w if teacher.network == "small" else 1_271_840 * w * w + 36_864 * c * w


def teacher_parameters(teacher: Teacher) -> int:
    """Return the parameters of a teacher's U-Net."""
    w, c = teacher.width, teacher.data.channels
    if teacher.network == "small":
        return 1_015 * w * w + (181 + 72 * c) * w + 4 * c
    return 3_596 * w * w + (646 + 36 * c) * w + c


CLASSIFIED = 2_300  # images/s on which the proxies' classifier of width 16 is trained, on one core
AUTOGRAD = 1.8  # times as long as ours goes a mixture whose gradients PyTorch works out (Zhang et al.'s), on one core


def _vae_work(run: VAERun, encoded: float, decoded: float, steps: float) -> Work:
    """Return the work of so many encodings and decodings, gradients counted as passes, in so many steps."""
    network, channels = run.network, run.data.channels
    encode, decode = vae_macs(network, channels)
    flops = 2 * (encode * encoded + decode * decoded)
    mixture = decoded / 3 * PIXELS * channels * network.mixtures if network.likelihood == "mol" else 0.0
    if network.rgb == "zhang2022" and channels == 3:
        mixture *= AUTOGRAD
    kernels = steps * KERNELS[network.architecture]
    return Work(**{network.architecture: flops}, mixture=mixture, kernels=kernels)


def _training(run: VAERun, epochs: int, evaluations: int) -> Work:
    n, test = run.data.n_train, run.data.n_test
    passes = 3 * epochs * n + evaluations * (test + n * (1 if run.method == "normal" else 2))
    return _vae_work(run, passes, passes, epochs * n / run.batch_size)


def _teacher(teacher: Teacher) -> Work:
    steps = teacher.images / teacher.batch_size
    return Work(training=6 * teacher_macs(teacher) * teacher.images, kernels=3 * steps * KERNELS["unet"])


def _bank(bank: Bank) -> Work:
    calls = network_calls(bank.sampler, bank.steps)
    kernels = calls * bank.size / bank.batch_size * KERNELS["unet"]
    return Work(sampling=2.0 * teacher_macs(bank.teacher) * bank.size * calls, kernels=kernels)


def _gaps(gaps: Gaps) -> Work:
    """Return ELBO* (two passes of the decoder a sample and step) and the attack (two of the encoder)."""
    once = isinstance(gaps, Remeasured)
    snapshots, measured = (1, gaps.gaps) if once else (len(gaps.vae.snapshots), ("amortization", "robustness"))
    climb = min(CLIMB, gaps.amortization_steps) if "amortization" in measured else 0
    decoded = (gaps.amortization_images or gaps.vae.data.n_test) * climb * (2 * gaps.amortization_samples + SCORING)
    decoded *= gaps.amortization_starts
    steps = gaps.attack_steps if "robustness" in measured else 0
    encoded = 2 * gaps.attack_images * gaps.attack_restarts * steps
    return _vae_work(gaps.vae, snapshots * encoded, snapshots * decoded, snapshots * (climb + steps))


def _corrupted(corrupted: Corrupted) -> Work:
    return Work(core=corrupted.images * len(corrupted.names) * corrupted.data.channels / 5_000)


def _downstream(downstream: Downstream) -> Work:
    sets, images = len(downstream.corrupted.names) + 2, downstream.corrupted.images
    classified = sets * (0.12 + 2e-8 * images**2)  # one-against-one linear SVMs; the kernel SVM
    return Work(core=classified + 6 * downstream.samples / CLASSIFIED)


def _classifier(classifier: Classifier) -> Work:
    return Work(core=classifier.images_seen / CLASSIFIED)


def _brackets(brackets: Brackets) -> Work:
    """Return IWAE, two climbs and both annealed walks of test images and of own samples, two of three with gradients."""
    anneals = 9 * brackets.chains * brackets.temperatures
    decoded = 2 * brackets.images * (brackets.draws + min(CLIMB, brackets.steps) * 6 * (brackets.starts + 1) + anneals)
    return _vae_work(brackets.vae, 0, decoded, 0)


def _c2st(test: C2ST) -> Work:
    bank = test.bank.size - test.tested if test.bank else test.images
    seen = test.epochs * 2 * min(test.images or test.data.n_train, bank)
    if test.network == "small":
        return Work(core=seen / CLASSIFIED)
    return Work(training=6 * RESNET_MACS * seen, kernels=seen / test.batch_size * 600)


def _audit(audit: Audit) -> Work:
    pairs = min(audit.images, audit.bank.size) * (2 * audit.data.n_train + 3 * audit.data.n_test)
    return Work(core=5 + pairs * PIXELS * audit.data.channels / 2e10)


WORK: dict[type[Artifact], Callable[[Any], Work]] = {
    Teacher: _teacher,
    Bank: _bank,
    VAERun: lambda run: _training(run, run.epochs, len(run.evaluations)),
    RHA: lambda rha: _training(rha.vae, rha.epochs - rha.start, len(rha.evaluations)),
    Gaps: _gaps,
    Remeasured: _gaps,
    Corrupted: _corrupted,
    Downstream: _downstream,
    Classifier: _classifier,
    Plane: lambda plane: Work(core=plane.steps / 8 + plane.images / 60_000),
    Calibration: lambda calibration: Work(core=calibration.repetitions * calibration.images / 500),
    Brackets: _brackets,
    C2ST: _c2st,
    Audit: _audit,
    SampleElbo: lambda judged: _vae_work(judged.vae, 2 * judged.images, 2 * judged.images, 0),
}


def work(artifact: Artifact) -> Work:
    """Return the work of making one artifact, its upstream not included; a second of one core for what has no entry."""
    count = WORK.get(type(artifact))
    return count(artifact) if count else Work(core=1.0)


def size(artifact: Artifact) -> int:
    """Return the bytes an artifact takes on disk: images and weights; tables and manifests are small."""
    image = PIXELS * getattr(getattr(artifact, "data", None), "channels", 1)
    if isinstance(artifact, Data):
        return (artifact.n_train + artifact.n_test) * PIXELS * artifact.channels
    if isinstance(artifact, HeldOut):
        return artifact.size * image
    if isinstance(artifact, Teacher):
        return 4 * teacher_parameters(artifact)
    if isinstance(artifact, Pretrained):
        return 4 * DDPM_PARAMETERS
    if isinstance(artifact, Samples):
        return artifact.size * PIXELS * artifact.channels
    if isinstance(artifact, Bank):
        return artifact.size * PIXELS * artifact.teacher.channels
    if isinstance(artifact, VAERun):
        return 4 * vae_parameters(artifact.network, artifact.data.channels) * len(artifact.snapshots)
    if isinstance(artifact, RHA):
        return 4 * vae_parameters(artifact.vae.network, artifact.vae.data.channels)
    if isinstance(artifact, Corrupted):
        return artifact.images * image * (len(artifact.names) + 1)
    return 4_000
