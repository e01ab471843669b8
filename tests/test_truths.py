"""One truth each that a change of a single line of the library once broke without any other test's notice."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.test_diffusion import IMAGES, tiny
from tests.test_procedures import marked, stream
from tests.test_vae import images, small
from vaelib import rng
from vaelib.data.augment import TUNED_MNIST, Augmentation
from vaelib.files import write_json
from vaelib.gaps import Bound, Certified, attacked_pairs, robustness_gap
from vaelib.models import VAE, Gaussian
from vaelib.models.denoiser import P_MEAN, P_STD, SIGMA_DATA
from vaelib.models.exact import KernelDenoiser
from vaelib.models.linear import LinearGaussianVAE
from vaelib.models.vae import Linear32
from vaelib.runs import Bank, Gaps, Network, Store, VAERun, load_vae, resolve_data, run
from vaelib.runs.experiments import Point
from vaelib.runs.profiles import load_profile
from vaelib.runs.settings import Exact, Regularisation
from vaelib.runs.stages import build_vae
from vaelib.runs.store import load_array
from vaelib.runs.tables import curve
from vaelib.samplers import sample_images
from vaelib.samplers.bank import Bank as BankImages
from vaelib.studies.sweeps.tables import sweep_experiment, sweep_tables
from vaelib.training import Regulariser, TrainingDistribution, VAEState, train_vae
from vaelib.training.diffusion import DiffusionState, train_denoiser
from vaelib.training.rha import HalfAsleep


def test_a_vae_that_reproduces_every_image_has_no_robustness_gap():
    vae = LinearGaussianVAE(torch.eye(256), torch.full((256,), 0.5), 1e-3, (1, 16, 16))
    x = F.interpolate(torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(2)), size=16)
    found = robustness_gap(vae, x, torch.arange(9) % 3, n_images=6, restarts=2, steps=5, reconstruction="mean")
    assert found.input_similarity.max() < 0.995
    torch.testing.assert_close(found.reconstruction_similarity, found.input_similarity, rtol=0, atol=2e-3)


def test_each_restart_is_an_attack_of_its_own():
    vae = LinearGaussianVAE(torch.eye(256), torch.full((256,), 0.5), 1e-3, (1, 16, 16))
    x = torch.rand(9, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    one, two = attacked_pairs(vae, x, torch.arange(9) % 3, n_images=4, restarts=2, steps=1)
    assert not torch.equal(one.inputs[1], two.inputs[1])


def test_gradients_of_linear32_under_autocast_are_float32s_but_for_rounding():
    torch.manual_seed(0)
    layer, x, weights = Linear32(6, 7), torch.randn(5, 6, requires_grad=True), torch.randn(5, 7)
    inputs = [x, layer.weight, layer.bias]
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    expected = F.linear(*inputs)
    torch.testing.assert_close(found, expected)
    for one, exact in zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (found, expected)), strict=True):
        assert (one - exact).norm() <= 0.01 * exact.norm()


def test_a_run_is_the_librarys_own_training_on_the_librarys_own_samples(toy, tmp_path):
    data, store = resolve_data(toy, 20, 10), Store(tmp_path)
    sampling = {"seed": 2, "sampler": "dpmpp_2m", "steps": 4, "sigma_min": 0.02, "binarize": True, "batch_size": 20}
    bank = Bank(teacher=Exact(data=data, bandwidth=0.1), size=60, shard_size=30, **sampling)
    training = {"epochs": 3, "batch_size": 7, "lr_decay": 0.6, "seed": 5, "amp": False}
    settings = VAERun(
        data=data,
        method="dmaapx",
        bank=bank,
        k=2,
        lr=3e-3,
        network=Network(latents=2, hidden=8),
        evaluations=(3,),
        snapshots=(3,),
        regularisation=Regularisation(weight_decay=0.1, kl_warmup=0.5),
        **training,
    )
    run([settings], store=store, workers=0)
    train = torch.from_numpy(load_array(store.require(data) / "train.npy").copy())
    samples = sample_images(KernelDenoiser(train / 127.5 - 1, 2 * 0.1), range(60), channels=1, device="cpu", **sampling)
    assert torch.equal(BankImages(store.require(bank)).images(), samples)
    state = VAEState(build_vae(settings.network, 1, 5), 3e-3, weight_decay=0.1)
    list(
        train_vae(
            state,
            TrainingDistribution(samples[:40], 20, seed=5),
            regulariser=Regulariser(kl_warmup=0.5, seed=5),
            **training,
        )
    )
    for name, tensor in load_vae(settings, store).state_dict().items():
        assert torch.equal(tensor, state.vae.state_dict()[name]), name


def test_the_gaps_of_a_run_follow_every_setting(toy, tmp_path):
    data, store = resolve_data(toy, 20, 10), Store(tmp_path)
    vae = VAERun(data=data, network=Network(latents=2, hidden=8), epochs=1, evaluations=(1,), snapshots=(1,))
    measured = Gaps(
        vae=vae,
        amortization_images=4,
        amortization_steps=2,
        attack_images=4,
        attack_restarts=2,
        attack_steps=3,
        similarity="wang2003_upsampled",
        sigma_floor=0.9,
    )
    run([measured], store=store, workers=0)
    folder, network = store.require(data), load_vae(vae, store)
    test, labels = (torch.from_numpy(load_array(folder / f"{name}.npy").copy()) for name in ("test", "test_labels"))
    network.smallest_sigma = 0.9
    direct = robustness_gap(network, test, labels, n_images=4, restarts=2, steps=3, variant="wang2003_upsampled")
    found = curve(measured, store).set_index("quantity")["value"]
    assert found["robustness_gap"] == pytest.approx(float(direct.gap.double().mean()), abs=1e-6)
    assert found["at_sigma_floor"] == pytest.approx(float(direct.at_sigma_floor.mean()))


def test_the_loop_is_adam_on_named_batches_and_named_noise():
    state, twin, pool = VAEState(small()), VAEState(small()), TrainingDistribution(images(), 50, seed=3)
    list(train_vae(state, pool, epochs=2, batch_size=10, seed=7, amp=False))
    twin.vae.train()
    for step in range(10):
        twin.ascend(twin.vae(pool.batch(step, 10), rng.normal((10, 4), 7, "posterior", step)).mean())
    for name, tensor in twin.vae.state_dict().items():
        assert torch.equal(tensor, state.vae.state_dict()[name]), name


def test_a_regulariser_is_told_its_step_and_how_far_the_training_is():
    told = []

    class Told(Regulariser):
        def draws(self, x, eps, step, progress, units=()):
            told.append((step, progress))
            return super().draws(x, eps, step, progress, units)

    list(train_vae(VAEState(small()), TrainingDistribution(images(), 50), epochs=2, batch_size=10, regulariser=Told()))
    assert told == [(step, step / 10) for step in range(10)]


def test_each_seed_has_an_order_of_its_own():
    one, other = (TrainingDistribution(images(), 50, seed=seed).batch(0, 8) for seed in (3, 4))
    assert not torch.equal(one, other)


def test_the_brackets_lower_end_is_the_log_of_the_mean_weight():
    zero = torch.zeros(2).double()
    found = Certified(None, Bound(zero, zero), torch.tensor([math.log(3), 0.0]).double(), zero, zero)
    torch.testing.assert_close(found.bracket.lower, torch.tensor([math.log(2), 0.0]).double())


def test_the_teachers_rate_rises_and_falls_linearly(monkeypatch):
    net = tiny(amp=False)
    state, rates = DiffusionState(net), []
    step = state.optimizer.step
    monkeypatch.setattr(state.optimizer, "step", lambda: (rates.append(state.optimizer.param_groups[0]["lr"]), step()))
    options = {"n_images": 64, "batch_size": 8, "lr": 0.01, "lr_rampup": 24, "lr_decay": 32, "amp": False}
    list(train_denoiser(net, IMAGES, state=state, **options))
    assert rates == pytest.approx([0.01 * min(seen / 24, (64 - seen) / 32, 1) for seen in range(0, 64, 8)])


def test_the_papers_and_edms_constants():
    """They are part of no key. Karras et al., Table 1; the paper's Table 9."""
    assert (P_MEAN, P_STD, SIGMA_DATA) == (-1.2, 1.2, 0.5)
    assert (
        Augmentation(translate_max=3, scale_std=0.15, rotate_max=10.0, aniso_std=0.15, aniso_rotate_prob=0.4)
        == TUNED_MNIST
    )


def test_rhas_images_are_draws_and_not_means():
    class Grey(VAE):
        def __init__(self):
            super().__init__(1, 1, Gaussian(0.05, mean="linear"))

        def encoder_output(self, x):
            return torch.stack([x.mean((1, 2, 3)), torch.full((len(x),), -9.0)], 1)

        def decode(self, z):
            return z.view(-1, 1, 1, 1).expand(-1, 1, 32, 32)

    x = HalfAsleep(Grey(), stream(marked(range(100, 150))), real_share=0).batch(3, 20)
    assert x.flatten(1).std(1).mean().item() == pytest.approx(0.05, rel=0.03)


def test_a_sample_of_zero_is_grey_level_128():
    class Zero(nn.Module):
        def forward(self, x, sigma):
            return 0 * x

    found = sample_images(Zero(), range(2), channels=1, steps=2, device="cpu", batch_size=2)
    assert found.unique().tolist() == [128]


def test_a_sweeps_best_epoch_is_that_of_the_highest_test_elbo_and_its_gap_that_of_the_last(toy):
    store, vae = Store(), VAERun(data=resolve_data(toy, 20, 10), epochs=30)
    found = {"elbo_train": [-90.0, -50.0, -40.0], "elbo_test": [-95.0, -70.0, -88.0]}
    with store.making(vae) as folder:
        write_json(
            folder / "curve.json",
            [
                {"effective_epoch": epoch, "quantity": name, "value": value, "se": 1.0}
                for name, values in found.items()
                for epoch, value in zip((10, 20, 30), values, strict=True)
            ],
        )
    points = [Point("normal", 0.0, vae)]
    experiment = sweep_experiment("rha", load_profile("smoke"), toy, "gaussian", points)
    (row,) = sweep_tables(experiment, store)["rows"].to_dict("records")
    assert (row["best_elbo_test"], row["best_epoch"]) == (-70.0, 20)
    assert (row["elbo_test"], row["generalization_gap"], row["effective_epochs"]) == (-88.0, 48.0, 30)
