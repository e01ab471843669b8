"""Heun's sampler against closed-form Gaussian data, and the bank's promise that image i is always the same image."""

import math
import os
import resource
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vaelib import rng
from vaelib.errors import NonFinite, VaelibError
from vaelib.models.denoiser import build_denoiser
from vaelib.samplers import Bank, dpmpp_2m_sample, fill_bank, heun_sample, sample_images, time_steps
from vaelib.samplers import bank as banks
from vaelib.samplers.bank import SAMPLERS, network_calls, shard_path
from vaelib.samplers.heun import flow_log_prob
from vaelib.training.plane import fit_flow

torch.set_num_threads(1)
MEAN, SCALE = 0.3, 0.5


def gaussian_denoiser(x, sigma):
    """E[y | x] for y ~ N(MEAN, SCALE²), x = y + σn."""
    variance = sigma.view(-1, *[1] * (x.ndim - 1)) ** 2
    return MEAN + SCALE**2 / (SCALE**2 + variance) * (x - MEAN)


def exact(noise, sigma_max=80.0):
    """The ODE's solution at t = 0 from x = σ_max · noise: x − MEAN shrinks by SCALE / √(SCALE² + σ_max²)."""
    return MEAN + (sigma_max * noise - MEAN) * SCALE / math.sqrt(SCALE**2 + sigma_max**2)


@pytest.fixture(scope="module")
def denoiser():
    """A tiny U-Net in bfloat16 whose output layer is not zero, so that the images depend on it."""
    torch.manual_seed(0)
    net = build_denoiser(1, width=16, multipliers=(1, 1), blocks=1, attention=(), dropout=0.0, space_to_depth=4)
    torch.nn.init.normal_(net.network.unet.conv_out.weight, std=0.2)
    return net


@pytest.mark.parametrize("rho", [1.0, 7.0])
def test_time_steps_run_from_sigma_max_to_sigma_min_then_zero(rho):
    times = time_steps(18, rho=rho)
    assert len(times) == 19
    assert times[0] == pytest.approx(80.0)
    assert times[-2] == pytest.approx(0.002)
    assert times[-1] == 0.0
    assert all(a > b for a, b in pairwise(times))
    roots = np.array(times[:-1]) ** (1 / rho)
    np.testing.assert_allclose(np.diff(roots), np.diff(roots)[0], rtol=1e-9)


def test_time_steps_refuse_a_single_step():
    with pytest.raises(ValueError, match="at least 2"):
        time_steps(1)


@pytest.mark.parametrize(("sampler", "expected"), [("heun", 35), ("dpmpp_2m", 18)])
def test_a_sampler_calls_the_network_as_often_as_the_plan_counts(sampler, expected):
    calls = []

    def counted(x, sigma):
        calls.append(sigma.shape)
        return gaussian_denoiser(x, sigma)

    SAMPLERS[sampler](counted, torch.randn(3, 2), steps=18)
    assert calls == [(3,)] * expected
    assert network_calls(sampler, 18) == expected


@pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS)
def test_the_measured_order_is_two(sample):
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    errors = []
    for steps in (40, 80, 160, 320):
        # σ_min ≪ SCALE: the last step is of first order, and its error must not be the one measured.
        x0 = sample(gaussian_denoiser, noise, steps=steps, sigma_min=1e-4)
        errors.append((x0 - exact(noise)).abs().max().item())
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert orders[-1] == pytest.approx(2.0, abs=0.1), (errors, orders)


def test_the_first_step_and_the_last_of_2m_are_eulers_and_the_denoiser():
    noise = torch.randn(5, 2, dtype=torch.float64)
    x, (first, last, _) = noise * 80, time_steps(2)
    euler = x + (last - first) * (x - gaussian_denoiser(x, torch.full((5,), first))) / first
    expected = gaussian_denoiser(euler, torch.full((5,), last))
    torch.testing.assert_close(dpmpp_2m_sample(gaussian_denoiser, noise, steps=2), expected)


def test_samples_have_the_denoisers_size_and_channels_and_can_be_changed():
    torch.manual_seed(0)
    shape = {"width": 16, "multipliers": (1, 1), "blocks": 1, "attention": (), "dropout": 0.0}
    small = build_denoiser(1, image_size=16, **shape)
    images = sample_images(small, range(2), channels=1, steps=2, batch_size=2)
    assert images.shape == (2, 1, 16, 16)
    images[0] = 0  # no tensor of inference mode
    with pytest.raises(VaelibError, match="channels = 3: this denoiser makes images of 1"):
        sample_images(small, range(2), steps=2, channels=3)
    with pytest.raises(VaelibError, match="batch_size = 0: give at least 1"):
        sample_images(small, range(2), steps=2, channels=1, batch_size=0)


@pytest.mark.parametrize("levels", [(0.0, 80.0), (-0.1, 80.0), (1.0, 1.0), (2.0, 1.0)])
def test_noise_levels_that_do_not_fall_are_refused(levels):
    with pytest.raises(VaelibError, match="give a positive one below a larger one"):
        time_steps(5, *levels)


def test_an_unknown_sampler_is_named(denoiser):
    with pytest.raises(VaelibError, match="sampler = 'ddim' is unknown; choose one of heun, dpmpp_2m"):
        sample_images(denoiser, [0], channels=1, sampler="ddim")


@pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS)
def test_samples_have_the_moments_of_gaussian_data(sample):
    noise = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
    x0 = sample(gaussian_denoiser, noise, steps=200)
    assert x0.dtype == noise.dtype
    assert x0.mean().item() == pytest.approx(MEAN, abs=5e-3)
    assert x0.std().item() == pytest.approx(SCALE, rel=5e-3)
    # The exact map is affine, so the moments follow from agreement image by image.
    torch.testing.assert_close(x0, exact(noise), atol=2e-3, rtol=0)


def test_an_image_does_not_depend_on_order_or_company(denoiser):
    sampling = {"seed": 3, "channels": 1, "steps": 3, "batch_size": 8}
    whole = sample_images(denoiser, range(20), **sampling)
    assert whole.shape == (20, 1, 32, 32)
    assert whole.dtype == torch.uint8
    assert len({image.numpy().tobytes() for image in whole}) == 20
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(sample_images(denoiser, order, **sampling), whole[order])
    alone = torch.cat([sample_images(denoiser, [i], **sampling) for i in range(20)])
    assert torch.equal(alone, whole)
    assert not torch.equal(sample_images(denoiser, range(20), **sampling | {"seed": 4}), whole)


def test_binarized_images_are_the_same_images_thresholded(denoiser):
    sampling = {"channels": 1, "steps": 3, "batch_size": 8}
    grey = sample_images(denoiser, range(4), **sampling)
    binary = sample_images(denoiser, range(4), binarize=True, **sampling)
    assert torch.equal(binary == 255, grey >= 128)
    assert set(binary.unique().tolist()) == {0, 255}


@pytest.mark.parametrize("shard_size", [3, 7, 20])
def test_a_bank_is_the_same_in_shards_of_any_size(denoiser, tmp_path, shard_size):
    sampling = {"channels": 1, "steps": 2, "batch_size": 8}
    counts = list(fill_bank(tmp_path, denoiser, 10, shard_size=shard_size, **sampling))
    assert counts[-1] == 10
    bank = Bank(tmp_path)
    expected = sample_images(denoiser, range(10), **sampling)
    assert len(bank) == 10
    assert torch.equal(bank.images(), expected)
    assert torch.equal(bank.images(2, 9), expected[2:9])


def test_filling_again_remakes_only_what_is_missing_or_cut_short(denoiser, tmp_path):
    sampling = {"channels": 1, "steps": 2, "batch_size": 4}
    list(fill_bank(tmp_path, denoiser, 9, shard_size=3, shards=[2, 0, 1], **sampling))
    expected = Bank(tmp_path).images()
    kept = shard_path(tmp_path, 0).stat().st_mtime_ns
    torn = shard_path(tmp_path, 1)
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(VaelibError, match="fill it again"):
        Bank(tmp_path)
    shard_path(tmp_path, 2).unlink()
    list(fill_bank(tmp_path, denoiser, 9, shard_size=3, **sampling))
    assert torch.equal(Bank(tmp_path).images(), expected)
    assert shard_path(tmp_path, 0).stat().st_mtime_ns == kept
    assert not list(tmp_path.glob(".*"))


def test_shards_of_another_size_of_image_are_kept_too(tmp_path, monkeypatch):
    small = build_denoiser(1, width=8, multipliers=(1, 1), blocks=1, attention=(), norm_groups=4, image_size=16).eval()
    sampling = {"channels": 1, "steps": 2, "batch_size": 4, "shard_size": 2}
    assert list(fill_bank(tmp_path, small, 3, **sampling)) == [2, 3]
    monkeypatch.setattr("vaelib.samplers.bank.sample_images", None)  # nothing is made again
    assert list(fill_bank(tmp_path, small, 3, **sampling)) == [2, 3]


def test_a_bank_says_when_it_is_empty_or_too_small(denoiser, tmp_path):
    with pytest.raises(VaelibError, match="no images"):
        Bank(tmp_path)
    list(fill_bank(tmp_path, denoiser, 2, shard_size=2, channels=1, steps=2, batch_size=4))
    with pytest.raises(VaelibError, match="2 in the bank"):
        Bank(tmp_path).images(0, 3)


def test_a_bank_reads_any_images_and_keeps_no_file_open(tmp_path):
    """More shards than a process may have open files, read in any order, with repeats; also only its first images."""
    images = torch.randint(0, 256, (180, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for shard, part in enumerate(images.split(3)):
        np.save(shard_path(tmp_path, shard), part.numpy())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 20, hard))
    try:
        bank, some = Bank(tmp_path), Bank(tmp_path, 100)
        rows = torch.tensor([179, 0, 99, 99, 3, 2, 178, 0])
        assert torch.equal(bank[rows], images[rows])
        assert torch.equal(some.images(), images[:100])
        out = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        assert bank.gather(torch.tensor([5, 4]), out) is out
        assert torch.equal(out, images[[5, 4]])
        for rows, whole in (([17, 100], some), ([-1], some), ([180, 0], bank)):
            with pytest.raises(VaelibError, match=f"of a bank of {len(whole)} images; give others"):
                whole[torch.tensor(rows)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (len(bank), bank.shape) == (180, (180, 3, 32, 32))
    with pytest.raises(VaelibError, match="images 0 to 181 requested, 180 in the bank"):
        Bank(tmp_path, 181)
    shard_path(tmp_path, 7).unlink()
    with pytest.raises(VaelibError, match="lacks a whole shard; fill it again"):
        bank[torch.tensor([22])]


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system cannot be told what will be read")
def test_a_bank_asks_the_disk_for_what_it_will_read_before_it_waits(tmp_path, monkeypatch):
    """Images near each other in one request, in pieces that a system takes; of a shard while an earlier one is read."""
    found, mapped = [], Bank._mapped

    def fadvise(descriptor, start, length, advice):
        assert advice == os.POSIX_FADV_WILLNEED
        found.append((os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")), start, length))

    for shard in range(3):
        np.save(shard_path(tmp_path, shard), np.zeros((64, 1, 32, 32), np.uint8))
    bank, names, header = Bank(tmp_path), [shard_path(tmp_path, shard).name for shard in range(3)], 128
    monkeypatch.setattr(os, "posix_fadvise", fadvise)
    monkeypatch.setattr(Bank, "_mapped", lambda self, shard: (found.append(shard), mapped(self, shard))[1])
    monkeypatch.setattr(banks, "AHEAD", 1)
    bank[torch.tensor([65, 3, 2, 2, 9, 63, 130])]
    assert found == [
        (names[0], header + 2 * 1024, 8 * 1024),
        (names[0], header + 63 * 1024, 1024),
        (names[1], header + 1024, 1024),
        0,
        (names[2], header + 2 * 1024, 1024),
        1,
        2,
    ]
    found.clear()
    monkeypatch.setattr(banks, "AT_ONCE", 48 * 1024)
    bank.images(0, 64)
    assert found == [(names[0], header, 48 * 1024), (names[0], header + 48 * 1024, 16 * 1024), 0]

    def refuses(*request):
        raise OSError("a system that takes no advice")

    monkeypatch.setattr(os, "posix_fadvise", refuses)
    assert len(bank[torch.tensor([1, 100], dtype=torch.int32)]) == 2


class Breaks(torch.nn.Module):
    """A denoiser that gives ``value`` for the images whose first pixel of noise is one of ``pixels``, else zeros."""

    def __init__(self, value, pixels):
        super().__init__()
        self.value, self.pixels = value, pixels
        self.register_parameter("place", torch.nn.Parameter(torch.zeros(())))

    def forward(self, x, sigma):
        first = (x[:, 0, 0, 0] / sigma)[:, None]
        self.broken = getattr(self, "broken", (first - self.pixels).abs().amin(1) < 1e-4)
        return torch.where(self.broken.view(-1, 1, 1, 1), self.value, 0.0).expand_as(x)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("binarize", [False, True])
def test_an_image_that_is_not_finite_is_named_and_no_shard_is_written(tmp_path, value, binarize):
    """They were once black: also where one image of a batch is broken, and the padding of the last batch is not asked."""
    pixels = torch.stack([rng.normal((1, 32, 32), 3, "bank", index)[0, 0, 0] for index in (6, 7)])
    options = {"seed": 3, "channels": 1, "steps": 2, "binarize": binarize, "batch_size": 4}
    with pytest.raises(NonFinite, match="image 6 of bank 3 holds NaN or infinity; set amp=false"):
        sample_images(Breaks(value, pixels[:1]), range(4, 8), **options)
    with pytest.raises(NonFinite, match=r"image 6 of bank 3 .* \(2 of this batch's 4\)"):
        sample_images(Breaks(value, pixels), range(4, 8), **options)
    with pytest.raises(NonFinite, match="image 6 of bank 3"):
        list(fill_bank(tmp_path, Breaks(value, pixels), 8, shard_size=4, shards=[1], **options))
    assert not list(tmp_path.iterdir())
    with pytest.raises(NonFinite, match="image 0 of bank 3"):
        sample_images(Breaks(value, torch.tensor([rng.normal((1, 32, 32), 3, "bank", 0)[0, 0, 0]])), [0], **options)
    padding = torch.zeros(1)
    assert len(sample_images(Breaks(value, padding), [0], **options)) == 1


def test_no_tensor_of_the_sampler_stays_on_the_cpu():
    with FakeTensorMode():
        with torch.device("cuda"):
            net = build_denoiser(3, width=32, multipliers=(1, 2), blocks=1, attention=(16,), amp=False).eval()
        x0 = heun_sample(net, torch.randn(2, 3, 32, 32, device="cuda"), steps=2)
    assert x0.device.type == "cuda"
    assert x0.shape == (2, 3, 32, 32)


@pytest.mark.parametrize("std", [0.1, 1.0])
def test_the_flow_of_gaussian_data_has_the_gaussians_density(std):
    """With the closed-form denoiser of N(0, std² I): what is left is an error of fourth order in the steps."""
    x = std * torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()

    def denoise(x, sigma):
        return (std**2 / (std**2 + sigma**2))[:, None] * x

    exact = torch.distributions.Normal(0.0, (std**2 + 0.002**2) ** 0.5).log_prob(x).sum(1)
    errors = [(flow_log_prob(denoise, x, steps=steps) - exact).abs().mean() for steps in (10, 20, 40)]
    assert errors[2] < 0.001
    assert errors[0] / errors[1] > 10


def test_a_plane_flow_learns_a_density_and_samples_from_it():
    """Of a wide Gaussian, after few steps: mass 1 on a grid, samples with the data's moments, the same for a seed."""
    points = 0.5 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    flow = fit_flow(points, images=40_000, width=32)
    assert torch.equal(torch.get_rng_state(), before)
    axis = torch.arange(-2.5, 2.51, 0.1)
    mass = flow.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * 0.1**2
    assert mass == pytest.approx(1, abs=0.1)
    x = flow.sample(2_000)
    assert x.mean(0).abs().max() < 0.1
    assert (x.std(0) - 0.5).abs().max() < 0.12
    assert torch.equal(flow.sample(5), flow.sample(5))
