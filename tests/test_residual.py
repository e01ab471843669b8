"""The residual VAE: Fig. 8's parameter counts, the tables' reading of its layers, batch norm, precision."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vaelib.errors import VaelibError
from vaelib.gaps import evaluate_elbo
from vaelib.models import FullyConnectedVAE, Gaussian, MixtureOfLogistics, ResidualVAE, count_parameters, elbo
from vaelib.models.residual import PixelHead, ResidualBlock
from vaelib.training.distributions import TrainingDistribution
from vaelib.training.vae import VAEState, train_vae

FIG8 = [(1, 1), (2, 64), (4, 1), (6, 8), (16, 2), (22, 64), (64, 1), (128, 8), (256, 1), (256, 64), (384, 2), (512, 64)]


def build(nc=4, mz=1, channels=3, likelihood=None, **options):
    torch.manual_seed(0)
    return ResidualVAE(nc, mz, channels, likelihood or Gaussian(), **options)


def trained_a_little(vae, steps=5):
    """Move batch norm's running statistics off their initial values."""
    with torch.no_grad():
        for _ in range(steps):
            vae(torch.rand(8, vae.channels, 32, 32), torch.randn(8, vae.d_z))
    return vae


def photographs(n):
    """Return real images: 32×32 cuttings, as bytes, of the two photographs that come with scikit-learn."""
    from sklearn.datasets import load_sample_images  # as everywhere, where it is used: gpu-check goes without it

    pictures = torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2)
    cuttings = pictures.unfold(2, 32, 32).unfold(3, 32, 32).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 32, 32)
    return cuttings[:: len(cuttings) // n][:n].contiguous()


@pytest.mark.parametrize(("nc", "mz"), FIG8)
def test_parameters_are_fig_8s(nc, mz):
    with torch.device("meta"):
        count = count_parameters(ResidualVAE(nc, mz))
    assert count.total == 88 * nc**2 + 174 * nc + 100 + mz * (3 * nc + 2)
    assert count.latent == mz * (3 * nc + 2)
    assert count.total == count.latent + count.rest


def test_parameters_as_read_off_fig_8():
    """Its x-coordinates, digitised to about 12 parameters (reproduction notes, section 1)."""
    for nc, mz, read in [(128, 1, 1_464_549), (256, 1, 5_812_579), (512, 1, 23_159_391), (512, 64, 23_256_280)]:
        with torch.device("meta"):
            assert abs(count_parameters(ResidualVAE(nc, mz)).total - read) <= 12


def test_parameters_of_grey_and_of_other_likelihoods():
    for channels, likelihood, out in [(1, MixtureOfLogistics(), 30), (1, Gaussian(), 1), (3, Gaussian(), 3)]:
        total = count_parameters(build(6, 2, channels, likelihood)).total
        assert total == 88 * 6**2 + (16 * channels + 26 + out) * 6 + out + 2 * (3 * 6 + 2)


def test_parameters_of_the_printed_variants_differ_as_the_notes_say():
    with torch.device("meta"):
        total = {
            name: count_parameters(ResidualVAE(512, 1, variant=name)).total for name in ("fig8", "table5", "table6")
        }
    assert total["table6"] - total["fig8"] == 4 * 8 * 512**2  # four blocks' 1×1 kernels become 3×3
    assert total["table5"] - total["fig8"] == -16 * 512**2 - 2 * 512  # one transposed convolution and its batch norm


def test_parameters_of_the_fully_connected_network():
    count = count_parameters(FullyConnectedVAE(d_z=16, hidden=512))
    assert count.latent == 16 * (2 * 513 + 512)
    assert count_parameters(FullyConnectedVAE(d_z=17, hidden=512)).rest == count.rest


@pytest.mark.parametrize("variant", ["fig8", "table5", "table6", "tables5+6"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_goes_in_and_comes_out(variant, channels):
    vae, x = build(3, 2, channels, variant=variant), torch.rand(5, channels, 32, 32)
    assert vae.d_z == 128
    assert vae.encoder_output(x).shape == (5, 256)
    assert vae.decode(torch.randn(5, 128)).shape == x.shape


def test_mu_is_the_first_half_of_the_channels_and_latents_lie_on_the_grid():
    vae, x = build(3, 2).eval(), torch.rand(4, 3, 32, 32)
    raw = vae.encoder(x)
    q = vae.encode(x)
    torch.testing.assert_close(q.mu.view(4, 2, 8, 8), raw[:, :2])
    torch.testing.assert_close(q.sigma.view(4, 2, 8, 8), F.softplus(raw[:, 2:]))
    z = torch.zeros(1, 128)
    z[0, 64] = 3.0  # channel 1, the grid's top left corner
    change = (vae.decode(z) - vae.decode(torch.zeros(1, 128))).abs().sum((0, 1))
    assert change[:16, :16].max() > 0
    assert change[24:, 24:].max() == 0


class InPlaceBlock(nn.Module):
    """The ancestors' block: its in-place ReLU also changes the x that is added at the end."""

    def __init__(self, block):
        super().__init__()
        self.body = nn.Sequential(nn.ReLU(inplace=True), *copy.deepcopy(block.body))

    def forward(self, x):
        return x + self.body(x)


def test_the_relu_skip_is_the_ancestors_in_place_relu():
    torch.manual_seed(0)
    block = ResidualBlock(5)
    reference, x = InPlaceBlock(block), torch.randn(6, 5, 8, 8)
    torch.testing.assert_close(block(x), reference(x.clone()), rtol=0, atol=0)
    identity = ResidualBlock(5, skip="identity")
    identity.load_state_dict(block.state_dict())
    torch.testing.assert_close(identity(x) - block(x), x.clamp(max=0), rtol=1e-5, atol=1e-6)


def test_evaluation_does_not_depend_on_the_batch():
    vae, x = trained_a_little(build(4, 2)).eval(), torch.rand(6, 3, 32, 32)
    together, alone = vae.encode(x), [vae.encode(image[None]) for image in x]
    torch.testing.assert_close(together.mu, torch.cat([q.mu for q in alone]), rtol=1e-4, atol=1e-5)
    assert torch.equal(vae.encode(x).mu, together.mu)
    images = (x * 255).to(torch.uint8)
    whole, parts = evaluate_elbo(vae, images), evaluate_elbo(vae, images, batch_size=2)
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=0.01)


def test_training_normalises_by_the_batch():
    vae, x = trained_a_little(build()), torch.rand(6, 3, 32, 32)
    normalised = vae.encoder[:2](x)
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)
    before = vae.decoder[1].running_mean.clone()
    vae.eval()(x, torch.randn(6, vae.d_z))
    assert torch.equal(vae.decoder[1].running_mean, before)


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("skip", ["relu", "identity"])
def test_the_gradient_reaches_every_parameter(skip, amp):
    vae = build(4, 2, skip=skip)
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        vae(torch.rand(8, 3, 32, 32), torch.randn(8, vae.d_z)).mean().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_latents_and_pixels_stay_float32_under_autocast():
    vae, x, z = build(8).eval(), torch.rand(4, 3, 32, 32), torch.randn(4, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert vae.encoder[0](x).dtype == torch.bfloat16
        assert vae.encoder_output(x).dtype == vae.decode(z).dtype == torch.float32
        assert torch.equal(vae.decoder[0](z.view(4, 1, 8, 8)), vae.decoder[0](z.view(4, 1, 8, 8).float()))
    head, maps = vae.decoder[-1], torch.randn(4, 8, 32, 32).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = head(maps)
    torch.testing.assert_close(mixed, head(maps.float()), rtol=0, atol=0)


@pytest.mark.parametrize(("amp", "rounding"), [(False, 1e-6), (True, 0.01)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_head_is_a_1x1_convolution(amp, rounding, layout):
    torch.manual_seed(0)
    head, x = PixelHead(6, 7), torch.randn(3, 6, 8, 8).contiguous(memory_format=layout).requires_grad_()
    weights, inputs = torch.randn(3, 7, 8, 8), [x, head.weight, head.bias]
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        found = head(x)
    expected = F.conv2d(x, head.weight[..., None, None], head.bias)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous()
    pairs = zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (found, expected)), strict=True)
    for gradient, exact in pairs:
        assert gradient.dtype == torch.float32
        assert (gradient - exact).norm() <= rounding * exact.norm()


@pytest.mark.parametrize("amp", [False, True])
def test_training_overfits_a_few_images(amp):
    vae, images = build(8), photographs(64)
    state = VAEState(vae, lr=3e-3)
    epochs = list(train_vae(state, TrainingDistribution(images, 64), epochs=40, batch_size=16, amp=amp))
    assert epochs[-1].elbo > epochs[0].elbo + 50_000
    # The running statistics follow: evaluation in eval mode sees what training saw.
    assert evaluate_elbo(vae, images).mean() > epochs[0].elbo + 50_000


def test_resumed_training_is_bit_identical():
    def train(state, epochs):
        list(train_vae(state, TrainingDistribution(photographs(32), 32), epochs=epochs, batch_size=8))
        return state

    straight, first, second = (VAEState(build()) for _ in range(3))
    train(straight, 4)
    saved = {name: tensor.clone() for name, tensor in train(first, 2).tensors().items()}
    assert all(tensor.is_contiguous() for tensor in saved.values())  # as safetensors asks
    second.load(saved, 2)
    train(second, 4)
    for name, tensor in straight.tensors().items():
        assert torch.equal(tensor, second.tensors()[name]), name


@pytest.mark.parametrize("channels", [1, 3])
def test_no_tensor_is_left_on_the_cpu(channels):
    with FakeTensorMode():
        with torch.device("cuda"):
            vae = ResidualVAE(4, 2, channels)
            x, eps = torch.rand(5, channels, 32, 32), torch.randn(2, 5, vae.d_z)
        params = vae.decode(vae.encode(x).rsample(eps).flatten(0, 1))
        assert params.device.type == elbo(vae, x, eps).device.type == "cuda"


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu():
    vae, x = trained_a_little(build(16, 2)).eval(), torch.rand(9, 3, 32, 32)
    expected = vae.encode(x).mu
    torch.testing.assert_close(vae.cuda().encode(x.cuda()).mu.cpu(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nc": 0}, "nc = 0: the residual VAE takes 1 to 1024"),
        ({"nc": 2048}, "nc = 2048"),
        ({"mz": 0}, "mz = 0: the residual VAE takes 1 to 64"),
        ({"mz": 65}, "mz = 65"),
        ({"skip": "none"}, "skip = 'none' is unknown; choose one of relu, identity"),
        ({"variant": "table4"}, "variant = 'table4' is unknown; choose one of fig8"),
        ({"channels": 2, "likelihood": MixtureOfLogistics()}, "likelihood = mol"),
    ],
)
def test_mistakes_are_told_in_one_line(options, message):
    with pytest.raises(VaelibError, match=message) as caught:
        ResidualVAE(**options)
    assert "\n" not in str(caught.value)
