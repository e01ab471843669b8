"""What is loaded is whole: checkpoints of every training; what a broken decoder gives is no image, but an error."""

import math

import pytest
import torch

from vaelib import (
    Bernoulli,
    FullyConnectedVAE,
    Gaussian,
    MixtureOfLogistics,
    NonFinite,
    ResidualVAE,
    TrainingDistribution,
    VaelibError,
    VAEState,
    robustness_gap,
    train_vae,
)
from vaelib.models.denoiser import build_denoiser
from vaelib.models.weights import load_weights
from vaelib.report.trained import keep_weights, kept_weights
from vaelib.samplers import sample_images
from vaelib.tasks import FitState, SmallClassifier, fit, generate, interpolate, psnr, reconstruct
from vaelib.training.diffusion import DiffusionState, train_denoiser

IMAGES = torch.randint(0, 256, (20, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 2


def test_weights_kept_in_half_precision_stay_finite(tmp_path):
    vae = ResidualVAE(mz=1, nc=4)
    name = next(name for name in vae.state_dict() if name.endswith("running_var"))
    vae.state_dict()[name].fill_(1e5)
    keep_weights(tmp_path / "a.safetensors", vae)
    again = ResidualVAE(mz=1, nc=4)
    kept_weights(tmp_path / "a.safetensors", again)
    assert again.state_dict()[name].tolist() == [1e5] * len(vae.state_dict()[name])
    for one, other in zip(again.state_dict().values(), vae.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def vae_state():
    state = VAEState(FullyConnectedVAE(d_z=2, hidden=8))
    list(train_vae(state, TrainingDistribution(IMAGES, n_train=20), epochs=1, batch_size=10))
    return state, lambda tensors: VAEState(FullyConnectedVAE(d_z=2, hidden=8)).load(tensors, 1)


def fit_state():
    state = FitState(SmallClassifier(1, 2, 4))
    list(fit(state, IMAGES, LABELS, epochs=1, batch_size=10))
    return state, lambda tensors: FitState(SmallClassifier(1, 2, 4)).load(tensors, 1)


def denoiser():
    return build_denoiser(
        1, width=16, multipliers=(1,), blocks=1, attention=(), dropout=0, space_to_depth=4, norm_groups=1
    )


def diffusion_state():
    net = denoiser()
    state = DiffusionState(net)
    list(train_denoiser(net, IMAGES, n_images=16, batch_size=8, state=state, amp=False))
    return state, lambda tensors: DiffusionState(denoiser()).load(tensors, {"images_seen": 16})


@pytest.mark.parametrize("trained", [vae_state, fit_state, diffusion_state])
def test_a_checkpoint_is_loaded_whole_or_not_at_all(trained):
    """A moment that was missing once began again at zero, or broadcast from one number, without a word."""
    state, load = trained()
    tensors = state.tensors()
    load(tensors)
    moment = [name for name in tensors if name.startswith(("adam.", "momentum.", "exp_avg/"))][-1]
    for name in (next(iter(tensors)), moment):
        less = {key: value for key, value in tensors.items() if key != name}
        for other, what in (
            (less, "1 missing"),
            (tensors | {f"{name}.more": tensors[name]}, "1 unexpected"),
            (tensors | {name: torch.zeros(1, 1, 1, 1, 1)}, "1 of another shape or type"),
        ):
            with pytest.raises(VaelibError, match=f"the checkpoint does not fit the network: {what} ") as error:
                load(other)
            assert name in str(error.value)


def test_counters_of_batch_normalisation_may_be_missing_and_a_networks_own_prefix_stays():
    network = torch.nn.ModuleDict({"module": torch.nn.BatchNorm2d(3)})
    tensors = {name: value + 1 for name, value in network.state_dict().items() if "num_batches" not in name}
    load_weights(network, tensors, "file")
    assert all(torch.equal(network.state_dict()[name], value) for name, value in tensors.items())


class Broken(FullyConnectedVAE):
    """A VAE whose decoder gives ``value`` in one pixel of the third image of a batch."""

    value = math.nan

    def decode(self, z):
        params = super().decode(z).clone()
        params[2:3, :, 4, 5] = self.value
        return params


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(0.1), MixtureOfLogistics(2)], ids=lambda one: one.name)
@pytest.mark.parametrize("kind", ["sample", "mean"])
def test_what_a_broken_decoder_gives_is_named_and_no_image(value, likelihood, kind):
    """A Bernoulli's sample was once black there, a Gaussian's bytes too, and the robustness gap a plausible number."""
    vae = Broken(d_z=2, hidden=8, likelihood=likelihood).eval()
    vae.value = value
    calls = [
        lambda: generate(vae, 5, kind=kind),
        lambda: reconstruct(vae, IMAGES[:5], kind=kind),
        lambda: psnr(vae, IMAGES[:5], kind=kind),
        lambda: interpolate(vae, IMAGES[0], IMAGES[1], alphas=5, reconstruction=kind),
    ]
    for call in calls:
        with pytest.raises(NonFinite, match=r"image 2 of .* holds NaN or infinity; train this VAE again"):
            call()
    with pytest.raises(NonFinite, match=r"image \d+ of the test images, decoded, holds"):
        robustness_gap(vae, IMAGES, LABELS, n_images=4, restarts=1, steps=1, reconstruction=kind)


def test_a_teacher_with_weights_of_nan_draws_nothing():
    net = denoiser()
    torch.nn.init.constant_(net.network.unet.conv_out.bias, math.nan)
    with pytest.raises(NonFinite, match=r"image 5 of bank 0 holds NaN or infinity \(2 of this batch's 2\)"):
        sample_images(net, [5, 9], channels=1, steps=2, batch_size=4)
