"""The VAE, its training loop and its training distributions."""

import math
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from vaelib.data import NAIVE
from vaelib.errors import NonFiniteLoss, VaelibError
from vaelib.gaps import attack_encoder, evaluate_elbo, symmetric_kl
from vaelib.models import (
    VAE,
    Bernoulli,
    FullyConnectedVAE,
    Gaussian,
    MixtureOfLogistics,
    Posterior,
    ResidualVAE,
    elbo,
    from_functions,
)
from vaelib.samplers.bank import Bank, shard_path
from vaelib.tasks.generation import generate
from vaelib.training.distributions import MixedDistribution, TrainingDistribution
from vaelib.training.vae import VAEState, train_vae


def images(n=50, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, channels, 32, 32, generator=generator) * 255).to(torch.uint8)


def small(seed=0, **options):
    torch.manual_seed(seed)
    return FullyConnectedVAE(d_z=4, hidden=24, **options)


def test_parameter_count_is_the_papers_network():
    def layer(a, b):
        return a * b + b

    expected = layer(1024, 512) + 2 * layer(512, 512) + layer(512, 32) + layer(16, 512) + layer(512, 1024)
    assert sum(p.numel() for p in FullyConnectedVAE().parameters()) == expected


@pytest.mark.parametrize(
    ("channels", "likelihood"),
    [(1, Bernoulli()), (3, Bernoulli()), (1, Gaussian()), (3, Gaussian()), (1, MixtureOfLogistics(3))],
)
def test_shapes(channels, likelihood):
    vae, x = small(channels=channels, likelihood=likelihood), torch.rand(7, channels, 32, 32)
    q = vae.encode(x)
    assert q.mu.shape == q.sigma.shape == (7, 4)
    assert (q.sigma > 0).all()
    assert likelihood.mean(vae.decode(q.mu)).shape == x.shape
    assert elbo(vae, x, torch.randn(7, 4)).shape == elbo(vae, x, torch.randn(3, 7, 4)).shape == (7,)


def test_posterior_is_torchs_normal():
    q = Posterior(torch.randn(6, 4, dtype=torch.float64), torch.rand(6, 4, dtype=torch.float64) + 0.1)
    normal, z = Normal(q.mu, q.sigma), torch.randn(6, 4, dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(z), normal.log_prob(z).sum(1))
    prior = Normal(torch.zeros_like(q.mu), torch.ones_like(q.mu))
    torch.testing.assert_close(q.kl(), kl_divergence(normal, prior).sum(1))


@pytest.mark.parametrize("shift", [-30.0, -200.0])
def test_a_vanishing_posterior_stays_finite_under_attack(shift):
    """A bug once: softplus underflowed, the attack's gradient became NaN and with it the robustness gap."""
    vae, x = small(), torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        vae.encoder[-1].bias[4:] += shift
    x_a = attack_encoder(vae, x, restarts=2, steps=5)
    assert x_a.isfinite().all()
    assert elbo(vae, x_a[0], torch.randn(3, 4)).isfinite().all()
    assert symmetric_kl(vae.encode(x_a[0]), vae.encode(x)).isfinite().all()


def test_several_samples_average():
    vae, x, eps = small(), torch.rand(5, 1, 32, 32), torch.randn(3, 5, 4)
    torch.testing.assert_close(elbo(vae, x, eps), torch.stack([elbo(vae, x, e) for e in eps]).mean(0))


def test_latents_and_pixels_stay_float32_under_autocast():
    vae, x = small(), torch.rand(5, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        q = vae.encode(x)
        assert vae.encoder[0](x.flatten(1)).dtype == torch.bfloat16
        assert q.mu.dtype == q.sigma.dtype == vae.decode(q.mu).dtype == torch.float32


@pytest.mark.parametrize(("pool", "size"), [(10, 4), (7, 7), (6, 20)])
def test_every_pass_shows_each_image_once(pool, size):
    marked = torch.arange(pool, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    stream = TrainingDistribution(marked, n_train=pool)
    seen = torch.cat([stream.batch(step, size)[:, 0, 0, 0] * 255 for step in range(3 * pool)]).round().int()
    for number in range(len(seen) // pool):
        assert sorted(seen[number * pool : (number + 1) * pool].tolist()) == list(range(pool))


def test_algorithm_2_uses_the_whole_bank_before_it_repeats():
    """The printed slice overlaps itself and skips data; ours shows k·N different images in k effective epochs."""
    bank = torch.arange(200, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    stream = TrainingDistribution(bank, n_train=20)
    assert stream.steps(10, 5) == 40
    seen = torch.cat([stream.batch(step, 5)[:, 0, 0, 0] for step in range(40)])
    assert len(seen.unique()) == 200


def test_batches_depend_on_the_step_alone():
    one, other = (TrainingDistribution(images(), 50, seed=3, augmentation=NAIVE) for _ in range(2))
    for step in (0, 1, 2, 9):
        one.batch(step, 8)
    torch.testing.assert_close(one.batch(30, 8), other.batch(30, 8), rtol=0, atol=0)
    assert not torch.equal(one.batch(30, 8), TrainingDistribution(images(), 50, seed=4).batch(30, 8))


@pytest.fixture
def bank(tmp_path):
    """Return 70 colour images and a bank of them, in shards of 16."""
    drawn = images(70, channels=3)
    for shard, part in enumerate(drawn.split(16)):
        np.save(shard_path(tmp_path, shard), part.numpy())
    return drawn, Bank(tmp_path)


@pytest.mark.parametrize(("n_train", "size"), [(20, 6), (70, 64), (5, 5), (100, 9)])
@pytest.mark.parametrize("augmentation", [None, NAIVE])
def test_a_bank_on_disk_gives_the_batches_of_the_same_images_in_memory(bank, n_train, size, augmentation):
    """Bit for bit, over several passes, from any step on, mixed with real images, and as its own fixed images."""
    options = {"seed": 3, "augmentation": augmentation}
    memory, disk = (TrainingDistribution(pool, n_train, **options) for pool in bank)
    for step in [*range(3 * 70 // size), 1, 40, 41]:
        assert torch.equal(disk.batch(step, size), memory.batch(step, size)), step
    assert torch.equal(disk.sample(30, seed=1), memory.sample(30, seed=1))
    real = TrainingDistribution(images(n_train, channels=3, seed=9), n_train, **options)
    mixed = [MixedDistribution(real, side, 0.3) for side in (memory, disk)]
    for step in range(20):
        assert torch.equal(*(one.batch(step, size) for one in mixed)), step


def test_the_next_epochs_images_are_read_while_these_are_trained_on(bank, monkeypatch):
    stream, read = TrainingDistribution(bank[1], 20), []
    gather = Bank.gather
    monkeypatch.setattr(Bank, "gather", lambda *args: (gather(*args), read.append(threading.current_thread()))[0])
    stream.batch(0, 10)
    stream._ahead.coming[1].result()
    assert len(read) == 2
    assert threading.main_thread() not in read
    stream.batch(1, 10)
    assert len(read) == 2


def test_an_empty_pool_is_refused():
    with pytest.raises(VaelibError, match="pool = an empty set"):
        TrainingDistribution(images(0), 10)
    with pytest.raises(VaelibError, match="n_train = 0"):
        TrainingDistribution(images(9), 0)


@pytest.mark.parametrize("n", [1, 40, 63])
def test_fewer_images_than_a_batch_are_one_batch(n):
    """Every epoch takes a step over all images, and reports what they scored."""
    vae, sizes = small(), []
    vae.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    found = list(train_vae(VAEState(vae, lr=1e-2), TrainingDistribution(images(n), n), epochs=30, amp=False))
    assert sizes == [n] * 30
    assert all(abs(epoch.elbo) > 1 for epoch in found)
    assert found[-1].elbo > found[0].elbo


def test_a_batch_of_none_is_refused():
    with pytest.raises(VaelibError, match="batch_size = 0"):
        next(train_vae(VAEState(small()), TrainingDistribution(images(9), 9), batch_size=0))


@pytest.mark.parametrize("share", [-0.5, 2, math.nan])
def test_a_learning_rate_that_would_be_negative_or_never_whole_is_refused(share):
    with pytest.raises(VaelibError, match=r"lr_decay = .* must be a share of the epochs, from 0"):
        next(train_vae(VAEState(small()), TrainingDistribution(images(9), 9), lr_decay=share))


def test_in_mixed_precision_the_likelihood_of_anothers_network_is_computed_in_float32():
    """Its layers are rounded under autocast; what is made of them is not."""

    class Plain(VAE):
        def __init__(self):
            super().__init__(3, 1, Gaussian(0.03))
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(1024, 6))
            self.decoder = nn.Sequential(nn.Linear(3, 1024), nn.Unflatten(1, (1, 32, 32)))

        def encoder_output(self, x):
            return self.encoder(x)

        def decode(self, z):
            return self.decoder(z)

    vae, x, eps = Plain(), images(8).float() / 255, torch.randn(8, 3)
    twin = from_functions(
        lambda x: (vae.encode(x).mu, vae.encode(x).sigma), vae.decode, Gaussian(0.03), image_shape=(1, 32, 32)
    )
    for one in (vae, twin):
        with torch.autocast("cpu", torch.bfloat16):
            assert vae.encoder_output(x).dtype == torch.bfloat16
            q, found = one.encode(x), one(x, eps)
            params = vae.decode(q.rsample(eps))
        assert {part.dtype for part in (*q, q.kl(), found)} == {torch.float32}
        expected = one.likelihood.log_prob(params.float(), x) - q.kl()
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("amp", [False, True])
def test_training_raises_the_elbo(amp):
    state, stream = VAEState(small(), lr=1e-3), TrainingDistribution(images(64) // 2, 64)
    epochs = list(train_vae(state, stream, epochs=20, batch_size=16, amp=amp))
    assert [e.number for e in epochs] == list(range(1, 21))
    assert epochs[-1].elbo > epochs[0].elbo + 1000


def test_the_learning_rate_falls_over_the_last_epochs_also_after_a_resumption(monkeypatch):
    """Rates of 4 epochs, of which the last half falls to 0: 1, 1, 1, 1/2; one state stops after epoch 3 and goes on."""
    rates: list[float] = []
    ascend = VAEState.ascend
    monkeypatch.setattr(VAEState, "ascend", lambda state, elbo, rate: (rates.append(rate), ascend(state, elbo, rate)))

    def train(state, stop=None):
        stream = TrainingDistribution(images(), 50)
        for epoch in train_vae(state, stream, epochs=4, batch_size=50, lr_decay=0.5):
            if epoch.number == stop:
                break
        return state

    straight = train(VAEState(small()))
    assert rates == [1, 1, 1, 0.5]
    resumed, stopped = VAEState(small()), train(VAEState(small()), stop=3)
    resumed.load(stopped.tensors(), stopped.epochs)
    train(resumed)
    assert rates[-1] == 0.5
    for name, tensor in straight.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name]), name


def test_resumed_training_is_bit_identical():
    def train(state, epochs):
        stream = TrainingDistribution(images(), 50, augmentation=NAIVE)
        for _ in train_vae(state, stream, epochs=epochs, batch_size=8, amp=True):
            pass
        return state

    straight = train(VAEState(small()), 6)
    first = train(VAEState(small()), 3)
    saved = {name: tensor.clone() for name, tensor in first.tensors().items()}
    second = VAEState(small(seed=9))
    second.load(saved, 3)
    train(second, 6)
    for name, tensor in straight.tensors().items():
        assert torch.equal(tensor, second.tensors()[name]), name


def test_a_non_finite_elbo_stops_training():
    vae = small()
    with torch.no_grad():
        vae.decoder[-1].bias[0] = float("nan")
    with pytest.raises(NonFiniteLoss, match="epoch 1: try a lower lr"):
        list(train_vae(VAEState(vae), TrainingDistribution(images(), 50), epochs=2, batch_size=10))


def test_what_is_done_of_an_epoch_is_told_and_nothing_non_finite_can_be_kept():
    state, told = VAEState(small()), []
    list(train_vae(state, TrainingDistribution(images(), 50), epochs=2, batch_size=20, after_step=told.append))
    assert told == [0.5, 1.0, 1 + 1 / 3, 1 + 2 / 3, 2.0]
    assert state.meta() == {"epochs": 2, "steps": 0, "total": 0.0}
    with torch.no_grad():
        state.vae.decoder[-1].bias[0] = float("nan")
    stream = TrainingDistribution(images(), 50)
    with pytest.raises(NonFiniteLoss, match="epoch 3: try a lower lr"):
        list(train_vae(state, stream, epochs=3, batch_size=10, after_step=lambda _: state.meta()))
    assert state.steps == 1


def test_a_bad_gradient_cannot_be_kept_though_its_elbo_was_finite():
    state = VAEState(small())
    weight = next(state.vae.decoder.parameters())
    weight.register_hook(lambda gradient: gradient * math.nan)
    stream, told = TrainingDistribution(images(), 50), []

    def keep(epochs):
        told.append(float(state.total))
        state.meta()

    with pytest.raises(NonFiniteLoss, match="a weight became NaN or infinite in epoch 1: try"):
        list(train_vae(state, stream, epochs=1, batch_size=10, after_step=keep))
    assert len(told) == 1
    assert math.isfinite(told[0])


def test_an_epoch_that_was_begun_with_small_batches_does_not_end_with_large_ones():
    state = VAEState(small())

    def stop(epochs):
        if epochs >= 0.8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(train_vae(state, TrainingDistribution(images(), 50), epochs=1, batch_size=5, after_step=stop))
    with pytest.raises(
        VaelibError, match="batch_size = 25: 8 steps of epoch 1 were done with smaller batches; go on with"
    ):
        list(train_vae(state, TrainingDistribution(images(), 50), epochs=1, batch_size=25))


@pytest.mark.parametrize("build", [lambda: small(), lambda: ResidualVAE(nc=4, mz=1, channels=1, likelihood=Gaussian())])
def test_a_network_in_double_precision_is_measured_in_it(build):
    vae = build().double()
    x = images(3).double() / 255
    found = evaluate_elbo(vae, x)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, evaluate_elbo(vae.float(), x.float()).double(), rtol=1e-4, atol=1e-2)
    assert generate(vae.double(), 2).shape == (2, 1, 32, 32)


@pytest.mark.parametrize("shape", [(3, 1), (4,), (1, 4), (5, 1, 4), (5, 4), (1, 1, 3, 4)])
def test_noise_that_would_be_shared_among_latents_or_images_is_refused(shape):
    with pytest.raises(VaelibError, match=r"eps of shape .* must be \(3, 4\), or \(S, 3, 4\)"):
        elbo(small(), images(3), torch.randn(shape))


def test_weights_that_the_elbo_does_not_use_stay_as_they_are():
    class WithAHead(FullyConnectedVAE):
        def __init__(self):
            super().__init__(d_z=4, hidden=24)
            self.head = torch.nn.Linear(4, 2)

    torch.manual_seed(0)
    vae = WithAHead()
    before, first = vae.head.weight.clone(), next(vae.encoder.parameters()).clone()
    list(train_vae(VAEState(vae), TrainingDistribution(images(20), 20), epochs=2, batch_size=10))
    assert torch.equal(vae.head.weight, before)
    assert not torch.equal(next(vae.encoder.parameters()), first)
