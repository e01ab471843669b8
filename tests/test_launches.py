"""What a GPU would have to wait for, counted without one: operations a step, and values that Python asks a device for.

Three stand-ins, since PyTorch's fake CUDA has no backward pass where there is no GPU: a step on the CPU, whose operations are
counted; a forward pass on fake CUDA, where every copy between devices is seen; meta tensors, which have no values to be asked for.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vaelib.data import NAIVE
from vaelib.data.augment import TUNED_CIFAR
from vaelib.models import Bernoulli, FullyConnectedVAE, Gaussian, MixtureOfLogistics, ResidualVAE
from vaelib.models.denoiser import build_denoiser, edm_loss, noise_levels
from vaelib.modes import evaluating
from vaelib.training import TrainingDistribution, VAEState, train_vae
from vaelib.training.diffusion import train_denoiser

ATEN = torch.ops.aten
# The most operations a step are what it takes with PyTorch 2.14 and three to spare, in float32.
WAITS = {ATEN._local_scalar_dense, ATEN.nonzero, ATEN.masked_select, ATEN.equal, ATEN._unique2}  # on a GPU


class Watched(TorchDispatchMode):
    """Counts the operations inside that a GPU would be started for, and names those that Python would wait for."""

    def __init__(self):
        super().__init__()
        self.operations, self.waits = 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations += not function.is_view
        came, went = (
            {leaf.device.type for leaf in tree_leaves(one) if isinstance(leaf, torch.Tensor)}
            for one in ([args, kwargs], result)
        )
        copied = function.overloadpacket in (ATEN._to_copy, ATEN.copy_, ATEN.lift_fresh_copy) and came | went == {
            "cpu",
            "cuda",
        }
        if function.overloadpacket in WAITS or (copied and not ("cuda" in went and (kwargs or {}).get("non_blocking"))):
            self.waits.append(str(function))
        return result


def images(n=64, channels=1):
    return torch.randint(0, 256, (n, channels, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def a_step_more(run):
    """Return how many operations ``run(steps)`` takes for a step more, and all waits of the longer run but those of the shorter."""
    counts = []
    for steps in (2, 3):
        with Watched() as watched:
            run(steps)
        counts.append(watched)
    short, long = counts
    return long.operations - short.operations, len(long.waits) - len(short.waits)


def vae_steps(vae, amp):
    """Run an epoch of so many steps, each a batch of 16."""

    def run(steps):
        stream = TrainingDistribution(images(16 * steps, vae.channels), 16 * steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            list(train_vae(VAEState(vae), stream, epochs=1, batch_size=16, amp=False))

    return run


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda: FullyConnectedVAE(hidden=32), 93),
        (lambda: FullyConnectedVAE(hidden=32, likelihood=Bernoulli()), 89),
        (lambda: ResidualVAE(4, 1, 1, Gaussian()), 195),
    ],
    ids=["fc", "fc-bernoulli", "residual"],
)
def test_a_vaes_step_takes_no_more_operations_and_waits_for_none(make, most):
    found, waits = a_step_more(vae_steps(make(), amp=False))
    print(f"{found} operations a step")
    assert found <= most
    assert waits == 0


def teacher():
    torch.manual_seed(0)
    return build_denoiser(1, width=16, multipliers=(1, 1), blocks=1, attention=(), space_to_depth=4, amp=False)


def test_a_teachers_step_takes_no_more_operations_and_waits_for_none():
    def run(steps):
        options = {"n_images": 8 * steps, "batch_size": 8, "lr_rampup": 0, "report_every": 800, "amp": False}
        list(train_denoiser(teacher(), images(), **options))

    found, waits = a_step_more(run)
    print(f"{found} operations a step")
    assert found <= 348
    assert waits == 0


@pytest.mark.parametrize("rgb", ["pixelcnnpp", "per_channel", "zhang2022"])
@pytest.mark.parametrize("make", [FullyConnectedVAE, lambda **options: ResidualVAE(4, 1, **options)])
def test_a_forward_pass_copies_nothing_between_devices(make, rgb):
    with FakeTensorMode():
        with torch.device("cuda"):
            vae = make(channels=3, likelihood=MixtureOfLogistics(2, rgb=rgb))
            x, eps = torch.rand(16, 3, 32, 32), torch.randn(16, vae.d_z)
        with Watched() as watched:
            vae(x, eps).mean()
    assert watched.waits == []


def test_a_teachers_loss_copies_nothing_between_devices():
    with FakeTensorMode():
        with torch.device("cuda"):
            denoiser, y, draws = teacher(), torch.rand(8, 1, 32, 32), torch.randn(8)
        with Watched() as watched:
            edm_loss(denoiser, y, noise_levels(draws), torch.randn_like(y)).mean()
    assert watched.waits == []


@pytest.mark.parametrize("method", [NAIVE, TUNED_CIFAR])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_asks_a_device_for_no_value(method, channels):
    x = torch.rand(64, channels, 32, 32, device="meta")
    augmented = method.apply(x, torch.Generator().manual_seed(0))
    assert (augmented.device.type, augmented.shape) == ("meta", x.shape)


def test_what_waits_is_seen():
    x = torch.rand(3)
    with Watched() as watched:
        float(x.sum())
        x.nonzero()
    assert watched.waits == ["aten._local_scalar_dense.default", "aten.nonzero.default"]
    with FakeTensorMode(), torch.device("cuda"), Watched() as watched:
        torch.zeros(3).cpu()
        torch.zeros(3, device="cpu").to("cuda")
        torch.zeros(3, device="cpu").to("cuda", non_blocking=True)
    assert len(watched.waits) == 2


def tf32():
    """Return whether products and convolutions may be TF32; PyTorch 2.9 has other names for it."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cudnn, "conv"):
        return matmul.fp32_precision == "tf32", cudnn.conv.fp32_precision == "tf32"
    return matmul.allow_tf32, cudnn.allow_tf32


def test_what_is_measured_is_measured_in_float32():
    """TF32 is off inside, whatever it was before, and given back after a failure too."""
    before, inside = tf32(), []

    def fails():
        with evaluating(FullyConnectedVAE(hidden=4)):
            inside.append(tf32())
            raise KeyError

    assert before[1]
    with pytest.raises(KeyError):
        fails()
    assert inside == [(False, False)]
    assert tf32() == before
