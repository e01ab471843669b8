"""EDM's preconditioning and loss against Gaussian data in closed form, and the training loop's promises."""

import math

import pytest
import torch
from torch import nn

from vaelib.errors import NonFiniteLoss, VaelibError
from vaelib.models.denoiser import (
    P_MEAN,
    P_STD,
    SIGMA_DATA,
    EDMDenoiser,
    Upsample,
    build_denoiser,
    edm_loss,
    loss_weight,
    noise_levels,
    preconditioning,
)
from vaelib.samplers import sample_images
from vaelib.training.diffusion import DiffusionState, train_denoiser

torch.set_num_threads(1)
SIGMAS = torch.logspace(math.log10(0.002), math.log10(80), 25, dtype=torch.float64)
IMAGES = torch.randint(0, 256, (40, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TRAINING = {"batch_size": 8, "lr_rampup": 24, "report_every": 16}


def tiny(dropout: float = 0.0, **settings) -> EDMDenoiser:
    torch.manual_seed(0)
    return build_denoiser(
        1, width=16, multipliers=(1, 1), blocks=1, attention=(), dropout=dropout, space_to_depth=4, **settings
    )


class Constant(nn.Module):
    """A raw network whose output is ``value`` everywhere."""

    def __init__(self, value: float = 0.0):
        super().__init__()
        self.value = value

    def forward(self, inputs, c_noise):
        return torch.full_like(inputs, self.value)


def test_scalings_are_karras_table_1():
    c = preconditioning(SIGMAS)
    assert c.noise.tolist() == pytest.approx([math.log(s) / 4 for s in SIGMAS.tolist()])
    torch.testing.assert_close(loss_weight(SIGMAS) * c.out**2, torch.ones_like(SIGMAS))


def test_inputs_and_targets_have_unit_variance_on_gaussian_data():
    g = torch.Generator().manual_seed(0)
    y = SIGMA_DATA * torch.randn(100_000, 1, generator=g, dtype=torch.float64)
    x = y + SIGMAS * torch.randn(100_000, len(SIGMAS), generator=g, dtype=torch.float64)
    c = preconditioning(SIGMAS)
    target = (y - c.skip * x) / c.out
    one = torch.ones_like(SIGMAS)
    torch.testing.assert_close((c.input * x).var(0), one, atol=0.02, rtol=0)
    torch.testing.assert_close(target.var(0), one, atol=0.02, rtol=0)
    # c_skip is the value that makes the target independent of the input, i.e. amplifies F's errors least.
    torch.testing.assert_close((c.input * x * target).mean(0), 0 * one, atol=0.02, rtol=0)


def test_without_noise_the_denoiser_is_the_identity():
    x = torch.randn(4, 1, 32, 32)
    torch.testing.assert_close(EDMDenoiser(Constant(1.0))(x, torch.full((4,), 1e-6)), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_loss_equals_its_closed_form_on_gaussian_data(value):
    # On N(0, σ_data²) the best raw output is 0, with a target of variance 1: the loss of F ≡ v is 1 + v² at every σ.
    g = torch.Generator().manual_seed(0)
    y = SIGMA_DATA * torch.randn(len(SIGMAS), 3, 200, 200, generator=g, dtype=torch.float64)
    noise = torch.randn(y.shape, generator=g, dtype=torch.float64)
    loss = edm_loss(EDMDenoiser(Constant(value)), y, SIGMAS, noise)
    torch.testing.assert_close(loss, torch.full_like(SIGMAS, 1 + value**2), rtol=0.02, atol=0)


def test_noise_levels_are_log_normal():
    z = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    levels = noise_levels(z).log()
    assert levels.mean().item() == pytest.approx(P_MEAN, abs=0.02)
    assert levels.std().item() == pytest.approx(P_STD, abs=0.02)


@pytest.mark.parametrize("space_to_depth", [1, 2, 4])
def test_space_to_depth_is_undone_exactly(space_to_depth):
    class Identity(nn.Module):
        def forward(self, inputs, c_noise):
            assert inputs.shape == (2, 3 * space_to_depth**2, 32 // space_to_depth, 32 // space_to_depth)
            return inputs

    x, sigma = torch.randn(2, 3, 32, 32), torch.tensor([0.1, 5.0])
    c = [scale.view(-1, 1, 1, 1) for scale in preconditioning(sigma)]
    expected = (c[0] + c[1] * c[2]) * x
    torch.testing.assert_close(EDMDenoiser(Identity(), space_to_depth=space_to_depth)(x, sigma), expected)


@pytest.mark.parametrize("amp", [False, True])
def test_the_network_is_finite_and_used_at_every_noise_level(amp):
    net = tiny(amp=amp).eval()
    for parameter in net.parameters():  # none may stay at its initial zero, which would hide what lies before it
        torch.nn.init.normal_(parameter, std=0.1)
    sigma = SIGMAS.float()
    x = (1 + sigma).view(-1, 1, 1, 1) * torch.randn(len(sigma), 1, 32, 32)
    denoised = net(x, sigma)
    assert denoised.dtype == torch.float32
    assert denoised.isfinite().all()
    raw = (denoised - preconditioning(sigma).skip.view(-1, 1, 1, 1) * x) / preconditioning(sigma).out.view(-1, 1, 1, 1)
    assert (raw.flatten(1).std(1) > 0.01).all()
    with torch.no_grad():  # the network is told σ: the same inputs at another level give another output
        inputs = torch.randn(1, 16, 8, 8)
        outputs = [net.network(inputs, torch.tensor([level])) for level in (-1.5, 1.1)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


@pytest.mark.parametrize("images", [8, 64])
def test_upsampling_is_diffusers_and_keeps_the_layout_at_any_batch_size(images):
    from diffusers.models.upsampling import Upsample2D

    torch.manual_seed(0)
    ours, x = Upsample(nn.Conv2d(16, 16, 3, padding=1)), torch.randn(images, 16, 8, 8)
    theirs = Upsample2D(16, use_conv=True)
    theirs.conv.load_state_dict(ours.conv.state_dict())
    x = x.contiguous(memory_format=torch.channels_last)
    for size in (None, (15, 15)):
        torch.testing.assert_close(ours(x, size), theirs(x, size))
    assert ours(x).is_contiguous(memory_format=torch.channels_last)
    assert sum(isinstance(module, Upsample) for module in tiny().modules()) == 1


def test_a_fresh_denoiser_starts_at_unit_loss_on_gaussian_data():
    y = SIGMA_DATA * torch.randn(8, 1, 32, 32)
    x, sigma = y + torch.randn(8, 1, 32, 32), torch.ones(8)
    torch.testing.assert_close(tiny()(x, sigma), preconditioning(sigma).skip.view(-1, 1, 1, 1) * x)


def test_edm_settings_have_the_size_of_ddpmpp():
    with torch.device("meta"):
        count = sum(p.numel() for p in build_denoiser(3).parameters())
    # EDM reports 55.7 M for its DDPM++; UNet2DModel attends in a few other places.
    assert round(count / 1e6, 1) == 59.0
    assert "59.0 M parameters where DDPM++ has 55.7 M" in " ".join(build_denoiser.__doc__.split())


def test_sampling_between_steps_leaves_dropout_on():
    """The training goes on to the same bits, whether images are drawn, or the mode is changed, at its reports or not."""
    ends = []
    for look in (False, True):
        net = tiny(0.3)
        for _ in train_denoiser(net, IMAGES, n_images=64, **TRAINING):
            if look:
                sample_images(net, [0], channels=1, steps=2, batch_size=1)
                assert all(part.training for part in net.modules())
                net.eval()
        ends.append(net.state_dict())
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_resumed_training_ends_in_the_same_bits(dropout):
    net = tiny(dropout)
    straight = DiffusionState(net)
    reports = list(train_denoiser(net, IMAGES, n_images=64, state=straight, **TRAINING))
    assert [report.images_seen for report in reports] == [16, 32, 48, 64]

    first = tiny(dropout)
    begun = DiffusionState(first)
    loop = train_denoiser(first, IMAGES, n_images=64, state=begun, **TRAINING)
    next(loop)
    tensors, meta = begun.tensors(), begun.meta()
    assert all(t.is_contiguous() and t.device.type == "cpu" for t in tensors.values())
    next(loop)  # the copies must not follow the training on

    torch.manual_seed(99)
    other = build_denoiser(1, width=16, multipliers=(1, 1), blocks=1, attention=(), dropout=dropout, space_to_depth=4)
    resumed = DiffusionState(other).load(tensors, meta)
    torch.rand(7)  # whatever else is drawn in between
    rest = list(train_denoiser(other, IMAGES, n_images=64, state=resumed, **TRAINING))
    assert rest == reports[1:]
    expected, actual = straight.tensors(), resumed.tensors()
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert torch.equal(value, expected[name]), name


def test_the_average_follows_edms_ramped_half_life():
    net = tiny(amp=False)
    state = DiffusionState(net)
    name = "network.unet.conv_in.weight"
    expected = None
    for seen, _ in enumerate(train_denoiser(net, IMAGES, n_images=80, ema_halflife=2, state=state, amp=False,
                                            batch_size=8, lr_rampup=0, report_every=8)):  # fmt: skip
        beta = 0.5 ** (8 / min(2, 0.05 * 8 * (seen + 1)))
        current = net.state_dict()[name]
        expected = current.clone() if expected is None else beta * expected + (1 - beta) * current
    torch.testing.assert_close(state.average.state_dict()[name], expected)
    assert not torch.equal(expected, current)


def test_a_networks_counters_are_taken_over_and_not_averaged():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 1)
            self.norm = nn.BatchNorm2d(1)

        def forward(self, inputs, c_noise):
            return self.norm(self.layer(inputs))

    net = EDMDenoiser(Counting())
    state = DiffusionState(net)
    list(train_denoiser(net, IMAGES, n_images=32, state=state, amp=False, **TRAINING))
    assert state.average.network.norm.num_batches_tracked == net.network.norm.num_batches_tracked == 4
    assert not torch.equal(state.average.network.layer.weight, net.network.layer.weight)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"ema_halflife": 0}])
def test_counts_of_none_are_refused(wrong):
    with pytest.raises(VaelibError, match=f"{next(iter(wrong))} = 0: give at least 1"):
        next(train_denoiser(tiny(), IMAGES, n_images=8, **wrong))


def test_training_lowers_the_loss():
    net = tiny()
    flat = torch.full((8, 1, 32, 32), 40, dtype=torch.uint8)
    losses = [step.loss for step in train_denoiser(net, flat, n_images=640, batch_size=8, lr_rampup=0, report_every=80)]
    assert losses[-1] < 0.75 * losses[0]


def test_a_loss_that_is_not_finite_stops_the_training():
    net = tiny()
    loop = train_denoiser(net, IMAGES, n_images=64, **TRAINING)
    next(loop)
    with torch.no_grad():
        net.network.unet.conv_in.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteLoss, match="lower teacher_lr") as caught:
        next(loop)
    assert "\n" not in str(caught.value)


def test_a_state_of_another_denoiser_is_refused():
    with pytest.raises(ValueError, match="another denoiser"):
        next(train_denoiser(tiny(), IMAGES, state=DiffusionState(tiny())))
