"""Mixing (Fig. 15), mollification (Fig. 14) and Reverse Half Asleep (Fig. 5)."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vaelib import rng
from vaelib.data import NAIVE
from vaelib.errors import NonFiniteLoss, VaelibError
from vaelib.models import VAE, FullyConnectedVAE, Gaussian, MixtureOfLogistics, Posterior, elbo
from vaelib.models.linear import LinearGaussianVAE
from vaelib.runs import Store, run
from vaelib.runs.settings import Network, VAERun
from vaelib.runs.stages import resolve_data, training_distribution
from vaelib.runs.stages.context import Context
from vaelib.training import (
    MixedDistribution,
    Mollified,
    Mollify,
    TrainingDistribution,
    VAEState,
    early_stopping_oracle,
    encoder_state,
    train_encoder,
    train_vae,
)
from vaelib.training.distributions import Stream
from vaelib.training.rha import HalfAsleep


def images(n=50, low=0, high=256, seed=0, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (n, channels, 32, 32), generator=generator, dtype=torch.uint8)


def marked(values):
    """Return one grey image for each value."""
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 32, 32).contiguous()


def stream(pool=None, n_train=50, **options):
    return TrainingDistribution(images() if pool is None else pool, n_train, **options)


def identical(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


class TinyNormed(VAE):
    """A small VAE whose encoder and decoder both hold BatchNorm statistics."""

    def __init__(self, seed=0, likelihood=None, d_z=3):
        super().__init__(d_z, 1, likelihood or Gaussian(0.1))
        torch.manual_seed(seed)
        out = self.likelihood.channels_out(1)
        self.encoder = nn.Sequential(
            nn.AvgPool2d(8), nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2 * d_z)
        )
        self.decoder = nn.Sequential(
            nn.Linear(d_z, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, out * 1024), nn.Unflatten(1, (out, 32, 32))
        )

    def encoder_output(self, x):
        return self.encoder(x)

    def decode(self, z):
        return self.decoder(z)


# --- mixing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "size"), [(0.2, 64), (0.29, 100), (0.5, 7), (1 / 3, 10), (0.6, 1)])
def test_the_share_of_real_images_is_exact_over_time(share, size):
    mixed = MixedDistribution(stream(marked([0] * 50)), stream(marked([255] * 30)), share)
    batches = [mixed.batch(step, size) for step in range(100)]
    assert {x.shape for x in batches} == {(size, 1, 32, 32)}
    reals = [int((x[:, 0, 0, 0] == 0).sum()) for x in batches]
    assert sum(reals) == math.floor(round(100 * size * share, 6))
    assert max(reals) - min(reals) <= 1


def test_29_percent_of_100_images_are_29():
    """In binary 0.29 · 100 is 28.999…; the setting means the decimal number."""
    mixed = MixedDistribution(stream(marked([0])), stream(marked([255])), 0.29)
    assert int((mixed.batch(0, 100)[:, 0, 0, 0] == 0).sum()) == 29


def test_both_sides_show_each_image_once_a_pass():
    mixed = MixedDistribution(stream(marked(range(12))), stream(marked(range(100, 120))), 0.375)
    seen = torch.cat([mixed.batch(step, 8)[:, 0, 0, 0] * 255 for step in range(16)]).round().int()
    real, synthetic = seen[seen < 50], seen[seen >= 50]
    assert all(sorted(part.tolist()) == list(range(12)) for part in real.split(12))
    assert all(sorted(part.tolist()) == list(range(100, 120)) for part in synthetic.split(20))


@pytest.mark.parametrize("augmentation", [None, NAIVE])
def test_a_share_of_one_or_zero_is_the_pure_stream(augmentation):
    options = {"seed": 5, "augmentation": augmentation}
    real, synthetic = stream(**options), stream(images(130, seed=1), **options)
    for share, pure in ((1, real), (0, synthetic)):
        mixed = MixedDistribution(stream(**options), stream(images(130, seed=1), **options), share)
        assert mixed.steps(3, 8) == pure.steps(3, 8)
        for step in (0, 6, 7, 40):
            identical(mixed.batch(step, 8), pure.batch(step, 8))
        identical(mixed.sample(30, seed=2), pure.sample(30, seed=2))


def test_real_and_synthetic_images_are_augmented_alike():
    plain, augmented = (
        MixedDistribution(stream(**options), stream(images(80, seed=1), **options), 0.5)
        for options in ({"seed": 3}, {"seed": 3, "augmentation": NAIVE})
    )
    expected = NAIVE(plain.batch(4, 16), rng.generator(3, "augment", 4))
    identical(augmented.batch(4, 16), expected)


def test_a_mixtures_batches_depend_on_the_step_alone():
    one, other = (MixedDistribution(stream(), stream(images(30, seed=1)), 0.3) for _ in range(2))
    for step in range(9):
        one.batch(step, 7)
    identical(one.batch(9, 7), other.batch(9, 7))


@pytest.mark.parametrize("share", [-0.1, 1.2, float("nan")])
def test_a_share_outside_0_and_1_is_refused(share):
    for make in (
        lambda: MixedDistribution(stream(), stream(), share),
        lambda: train_encoder(encoder_state(TinyNormed()), stream(), real_share=share),
        lambda: Mollify(share=share),
    ):
        with pytest.raises(VaelibError, match=r"share = .* (0|0 \(none\)) to 1"):
            make()


def test_the_two_sides_of_a_mixture_must_agree():
    with pytest.raises(VaelibError, match="seed = 0 for the real images and 1 for the synthetic"):
        MixedDistribution(stream(), stream(seed=1), 0.5)
    with pytest.raises(VaelibError, match="pool = an empty set"):
        MixedDistribution(stream(), stream(images(0)), 0.5)


# --- the distribution's own images --------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "augmentation"), [(40, None), (40, NAIVE), (1000, NAIVE)])
def test_sampled_images_are_the_first_of_the_stream_derived_from_the_seed(n, augmentation):
    """The rule that results in the store were scored by: batches of 500 (or n) of the stream seeded (seed, "own")."""
    pool = images(n + 7)
    own = stream(pool, n, seed=4, augmentation=augmentation).sample(n, seed=4)
    probe = stream(pool, n, seed=rng.derive(4, "own"), augmentation=augmentation)
    size = min(500, n)
    identical(own, torch.cat([probe.batch(step, size) for step in range(n // size)]))


@pytest.mark.parametrize("n", [1, 499, 501])
def test_any_number_of_images_can_be_sampled(n):
    mixed = MixedDistribution(stream(marked([0])), stream(marked([255])), 0.5)
    x = mixed.sample(n, seed=0)
    assert len(x) == n
    assert abs(int((x[:, 0, 0, 0] == 0).sum()) - n / 2) <= 1


# --- mollification ------------------------------------------------------------------------------------------------


def test_the_noise_falls_from_one_to_zero():
    schedule = Mollify()
    levels = [schedule.level(i / 1000) for i in range(1001)]
    assert levels[0] == 1
    assert all(later < earlier for earlier, later in pairwise(levels[:501]))
    assert set(levels[500:]) == {0}
    assert 0 < levels[499] < 1e-3
    # σ(v) = (1 + tanh(v/2)) / 2, so for s = 0 the level at u is 1 - tanh(u e / 2τ) / tanh(e / 2τ).
    assert schedule.level(0.25) == pytest.approx(1 - math.tanh(1.5 / 1.4) / math.tanh(3 / 1.4), abs=1e-12)


def test_each_seed_of_a_mollified_run_has_noise_of_its_own(toy, tmp_path):
    data, store = resolve_data(toy, 20, 10), Store(tmp_path)
    run([data], store=store, workers=0)
    runs = [VAERun(data=data, mollify="sigmoid", seed=seed) for seed in range(3)]
    context = Context(store, tmp_path, torch.device("cpu"), print)
    assert [training_distribution(one, context).seed for one in runs] == [0, 1, 2]
    assert [one.version - VAERun(data=data, seed=one.seed).version for one in runs] == [0, 1, 1]
    clipped = {
        kind: runs[0].model_copy(update={"network": Network(likelihood=kind)})
        for kind in ("gaussian", "bernoulli", "mol")
    }
    assert [training_distribution(one, context).clip for one in clipped.values()] == [False, True, True]


def test_the_share_sets_when_the_noise_ends():
    assert Mollify(share=0.6).level(0.3) == Mollify().level(0.25)
    assert Mollify(share=1).level(1) == Mollify(share=0).level(0) == 0


def test_noise_preserves_the_variance():
    """On images of mean 0 and variance 1 in [-1, 1], every level leaves variance 1."""
    binary = (images(200, 0, 2) * 255).contiguous()
    noisy = Mollified(stream(binary, 200), Mollify(), epochs=10, clip=False)
    for step in (0, 4, 9):
        centred = 2 * noisy.batch(step, 100) - 1
        assert centred.mean().abs() < 0.02
        assert centred.var() == pytest.approx(1, abs=0.02)
        clean = 2 * noisy.distribution.batch(step, 100) - 1
        kept = 1 - noisy.mollify.level(step / noisy.steps(10, 100))
        assert (centred * clean).mean() == pytest.approx(math.sqrt(kept), abs=0.02)


def test_noisy_images_lie_on_the_grid_that_a_mixture_of_logistics_scores():
    noisy = Mollified(stream(), Mollify(), epochs=4)
    x = noisy.batch(2, 10)
    assert not torch.equal(x, noisy.distribution.batch(2, 10))
    identical(x, (x * 255).round().clamp(0, 255) / 255)
    mol, whole = MixtureOfLogistics(2), Mollified(stream(), Mollify(), epochs=4, clip=False).batch(2, 10)
    assert mol.log_prob(torch.zeros(10, 6, 32, 32), x).isfinite().all()
    assert whole.min() < 0
    assert whole.max() > 1


def test_once_the_schedule_is_over_the_stream_is_clean():
    clean, noisy = stream(augmentation=NAIVE), Mollified(stream(augmentation=NAIVE), Mollify(), epochs=8)
    half = noisy.steps(4, 5)
    assert not torch.equal(noisy.batch(half - 1, 5), clean.batch(half - 1, 5))
    for step in (half, half + 1, 2 * half - 1, 3 * half):
        identical(noisy.batch(step, 5), clean.batch(step, 5))
    identical(noisy.sample(20, seed=1), clean.sample(20, seed=1))


def test_noise_depends_on_seed_and_step_alone():
    one, other, third = (Mollified(stream(), Mollify(), epochs=8, seed=seed) for seed in (3, 3, 4))
    one.batch(0, 5)
    identical(one.batch(7, 5), other.batch(7, 5))
    assert not torch.equal(one.batch(7, 5), third.batch(7, 5))


@pytest.mark.parametrize("wrong", [{"tau": 0}, {"tau": -1}, {"end": 0}, {"start": 4}, {"start": 1, "tau": 0.01}])
def test_a_schedule_that_does_not_fall_is_refused(wrong):
    with pytest.raises(VaelibError, match="make no schedule that falls"):
        Mollify(**wrong)


# --- reverse half asleep ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["posterior", "prior"])
def test_rha_leaves_the_decoder_as_it_is(source):
    vae = TinyNormed()
    for _ in train_vae(VAEState(vae), stream(), epochs=1, batch_size=10):
        pass
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    epochs = list(train_encoder(encoder_state(vae, epochs=1), stream(), epochs=3, batch_size=10, source=source))
    assert [epoch.number for epoch in epochs] == [2, 3]
    after = vae.state_dict()
    for name, tensor in before.items():
        same = torch.equal(tensor, after[name])
        assert same == name.startswith("decoder"), name
    assert not any(parameter.requires_grad for parameter in vae.decoder.parameters())
    assert not vae.decoder.training


def test_a_later_training_of_the_whole_vae_unfreezes_the_decoder():
    vae = TinyNormed()
    encoder_state(vae)
    before = vae.decoder[0].weight.detach().clone()
    for _ in train_vae(VAEState(vae), stream(), epochs=1, batch_size=10):
        pass
    assert not torch.equal(vae.decoder[0].weight, before)
    assert vae.decoder.training


@pytest.mark.parametrize("source", ["posterior", "prior"])
@pytest.mark.parametrize(("share", "size"), [(0.5, 8), (0.5, 7), (0.0, 6), (1.0, 6), (0.25, 10)])
def test_a_batch_holds_its_share_of_real_images(source, share, size):
    vae, real = TinyNormed(likelihood=MixtureOfLogistics(1)), stream()
    asleep = HalfAsleep(vae, real, source=source, real_share=share)
    counts = []
    for step in range(20):
        x, same = asleep.batch(step, size), real.batch(step, size)
        is_real = (x == same).flatten(1).all(1)
        counts.append(int(is_real.sum()))
        assert x.shape == same.shape
        assert is_real[: counts[-1]].all()
    assert sum(counts) == int(20 * size * share)
    assert max(counts) - min(counts) <= 1


def test_what_is_kept_of_a_mixture_is_a_mixture():
    """Its batches begin with their real images, which were all that was kept."""
    mixed = MixedDistribution(stream(marked([0] * 50)), stream(marked([255] * 50)), 0.25)
    for distribution in (mixed, Mollified(mixed, Mollify(), epochs=1)):  # after its epoch the noise is gone
        asleep = HalfAsleep(TinyNormed(), distribution, real_share=0.5)
        kept = torch.cat([asleep.batch(step, 40)[:20] for step in range(5, 30)]).mean((1, 2, 3))
        assert set(kept.tolist()) == {0.0, 1.0}
        assert float((kept == 0).float().mean()) == pytest.approx(0.25, abs=0.06)  # 500 draws


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 40, 500, 600, 750, 1_250])
def test_a_sample_of_a_mixture_has_its_share_whatever_its_size(share, n):
    mixed = MixedDistribution(stream(marked([0] * 50)), stream(marked([255] * 50)), share)
    found = mixed.sample(n, seed=0)
    assert len(found) == n
    assert abs(int((found.mean((1, 2, 3)) == 0).sum()) - share * n) <= 1
    with pytest.raises(VaelibError, match="n = 0 images are no sample"):
        mixed.sample(0, seed=0)


def test_the_two_sources_differ_and_the_posteriors_follow_the_real_images():
    """With an encoder that keeps the mean grey and a decoder that shows it, posterior samples are as grey as x."""

    class Grey(VAE):
        def __init__(self):
            super().__init__(1, 1, Gaussian(1e-3, mean="linear"))
            self.encoder, self.decoder = nn.Identity(), nn.Identity()

        def encoder_output(self, x):
            return torch.stack([x.mean((1, 2, 3)), torch.full((len(x),), -9.0)], 1)

        def decode(self, z):
            return z.view(-1, 1, 1, 1).expand(-1, 1, 32, 32)

    real = stream(marked(range(50, 200, 3)))
    samples = {source: HalfAsleep(Grey(), real, source=source, real_share=0) for source in ("posterior", "prior")}
    replaced = real.batch(3, 20).mean((1, 2, 3))
    torch.testing.assert_close(samples["posterior"].batch(3, 20).mean((1, 2, 3)), replaced, atol=2e-3, rtol=0)
    assert (samples["prior"].batch(3, 20).mean((1, 2, 3)) - replaced).abs().mean() > 0.1


def test_samples_come_from_the_decoder_in_eval_mode_and_change_neither_modes_nor_statistics():
    vae = TinyNormed().train()
    vae.decoder[1].eval()
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    x = HalfAsleep(vae, stream(), real_share=0.5).batch(0, 10)
    assert not x.requires_grad
    assert vae.encoder.training
    assert vae.decoder.training
    assert not vae.decoder[1].training
    for name, tensor in vae.state_dict().items():
        identical(tensor, before[name])


def test_rha_moves_the_encoder_towards_the_exact_posterior():
    """On a linear-Gaussian VAE ELBO* is exact; a fitted decoder's samples alone teach the encoder the posterior."""
    torch.manual_seed(0)
    d, side = 2, 4
    weight, bias = torch.randn(side**2, d) * 0.1, torch.full((side**2,), 0.5)

    class Linear(LinearGaussianVAE):
        def __init__(self):
            super().__init__(weight, bias, 0.1, (1, side, side))
            self.encoder, self.decoder = nn.Linear(side**2, 2 * d), nn.Identity()

        def encode(self, x):
            mu, s = self.encoder(x.flatten(1)).chunk(2, 1)
            return Posterior(mu, nn.functional.softplus(s))

        def forward(self, x, eps):
            return elbo(self, x, eps)

    vae = Linear()
    generator = torch.Generator().manual_seed(1)
    pool = (vae.images(200, generator).clamp(0, 1) * 255).round().to(torch.uint8)
    test = vae.images(300, generator)
    padded = stream(nn.functional.pad(pool, (0, 32 - side, 0, 32 - side)), 200)

    class Small(Stream):
        n_train, seed = 200, 0

        def batch(self, step, size):
            return padded.batch(step, size)[..., :side, :side]

        def sample(self, n, seed):
            raise NotImplementedError

    @torch.no_grad()
    def gap():
        return float((vae.exact_elbo_star(test) - vae.exact_elbo(test)).mean())

    for source, share in (("prior", 0.5), ("posterior", 0.5), ("prior", 0.0)):
        torch.manual_seed(2)
        vae.encoder.reset_parameters()
        first = gap()
        options = {"epochs": 40, "batch_size": 20, "source": source, "real_share": share, "amp": False}
        for _ in train_encoder(encoder_state(vae, lr=1e-2), Small(), **options):
            pass
        assert gap() < 0.02 * first, (source, share)


def test_bad_rha_settings_are_refused_before_training():
    vae = TinyNormed()
    with pytest.raises(
        VaelibError, match="source of the decoder's samples = 'dream' is unknown; choose one of posterior"
    ):
        train_encoder(encoder_state(vae), stream(), source="dream")
    with pytest.raises(VaelibError, match="trains the encoder alone"):
        train_encoder(VAEState(vae), stream())
    with pytest.raises(VaelibError, match="pool = an empty set"):
        train_encoder(encoder_state(vae), stream(images(0)))


def test_a_non_finite_elbo_stops_rha_too():
    vae = TinyNormed()
    nn.init.constant_(vae.decoder[3].bias, float("nan"))
    with pytest.raises(NonFiniteLoss, match="epoch 1"):
        list(train_encoder(encoder_state(vae), stream(), epochs=2, batch_size=10))


# --- all of them --------------------------------------------------------------------------------------------------


def _mixed():
    options = {"seed": 2, "augmentation": NAIVE}
    return MixedDistribution(stream(**options), stream(images(90, seed=1), **options), 0.3)


def _procedures():
    def mollified(epochs):
        return Mollified(_mixed(), Mollify(), epochs=epochs)

    return {
        "mixed": (VAEState, lambda state, **options: train_vae(state, _mixed(), batch_size=8, **options)),
        "mollified": (VAEState, lambda state, **options: train_vae(state, mollified(6), batch_size=8, **options)),
        "rha": (encoder_state, lambda state, **options: train_encoder(state, _mixed(), batch_size=8, **options)),
        "rha, prior": (
            encoder_state,
            lambda state, **options: train_encoder(
                state, _mixed(), batch_size=7, source="prior", real_share=0.3, **options
            ),
        ),
    }


@pytest.mark.parametrize("name", list(_procedures()))
@pytest.mark.parametrize("stop", [0.5, 1, 3, 4.5, 5])
def test_a_killed_training_resumes_to_the_same_bits(name, stop):
    """BatchNorm's running statistics included; the second process starts from other weights and fresh objects."""
    make, train = _procedures()[name]
    straight, first, second = make(TinyNormed()), make(TinyNormed()), make(TinyNormed(seed=9))
    curve = [epoch.elbo for epoch in train(straight, epochs=6)]
    saved, meta = {}, {}

    def save(epochs):
        if epochs >= stop and not saved:
            saved.update({key: tensor.clone() for key, tensor in first.tensors().items()})
            meta.update(first.meta())

    for epoch in train(first, epochs=6, after_step=save if stop % 1 else None):
        save(epoch.number)
        if epoch.number > stop:
            break  # killed in the middle of things
    assert (meta["epochs"], meta["steps"] > 0) == (int(stop), stop % 1 > 0)
    if make is encoder_state:  # a run starts from its VAE's frozen decoder; the checkpoint holds it too
        assert any(key.startswith("vae.decoder") for key in saved)
        assert not any(key.startswith("adam.decoder") for key in saved)
    second.load(saved, **meta)
    assert [epoch.elbo for epoch in train(second, epochs=6)] == curve[int(stop) :]
    ours, theirs = second.tensors(), straight.tensors()
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        identical(ours[key], tensor)


def test_adam_is_torchs():
    """The loop calls Adam's functional form; its bits are torch.optim.Adam's, whose state a checkpoint holds."""
    ours, theirs = FullyConnectedVAE(d_z=2, hidden=8), FullyConnectedVAE(d_z=2, hidden=8)
    theirs.load_state_dict(ours.state_dict())
    state, optimizer = VAEState(ours, lr=0.01), torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True)
    for step in range(3):
        x, eps = stream().batch(step, 6), rng.normal((6, 2), 0, "test", step)
        state.ascend(ours(x, eps).mean())
        optimizer.zero_grad()
        (-theirs(x, eps).mean()).backward()
        optimizer.step()
    tensors = state.tensors()
    for name, parameter in theirs.named_parameters():
        identical(tensors[f"vae.{name}"], parameter.detach())
        for kind, moment in optimizer.state[parameter].items():
            identical(tensors[f"adam.{name}.{kind}"], moment)


def test_moments_of_what_has_no_gradient_any_more_become_0(monkeypatch):
    """They would be denormal from step 750 on, for ever, and made a laptop's training half as fast; the weights are the same."""

    class HalfGoesDark(TrainingDistribution):
        def batch(self, step, batch_size):
            images = super().batch(step, batch_size)
            return images if step < 20 else images * (torch.arange(32) < 16)

    def trained():
        torch.manual_seed(0)
        state = VAEState(FullyConnectedVAE(d_z=2, hidden=8), lr=0.01)
        pool = torch.arange(16 * 1024, dtype=torch.uint8).view(16, 1, 32, 32)
        for _ in train_vae(state, HalfGoesDark(pool, 16), epochs=250, batch_size=4, amp=False):
            pass
        tensors = state.tensors()
        moments = torch.cat([tensor.flatten() for name, tensor in tensors.items() if name.endswith("exp_avg")])
        return state.vae.state_dict(), int(((moments != 0) & (moments.abs() < torch.finfo(torch.float32).tiny)).sum())

    ours, denormal = trained()
    monkeypatch.setattr(VAEState, "settle", lambda state: None)
    plain, without = trained()
    assert (denormal, without > 1_000) == (0, True)
    for name, tensor in plain.items():
        identical(ours[name], tensor)


def test_adam_follows_gradients_of_another_memory_layout():
    """On the CPU the fused kernel reads memory in order: a transposed gradient must reach it in the weight's layout."""

    class Bias(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 3))

    model = Bias()
    target = torch.arange(6.0).view(3, 2)
    state = VAEState(model, lr=0.1)
    state.ascend(-(model.weight.t() - target + 2.5).square().sum())
    identical(model.weight.detach().sign(), (target - 2.5).t().sign())


@pytest.mark.parametrize("libc", [lambda _: object(), lambda name: len(name)])
def test_training_needs_no_glibc(monkeypatch, libc):
    """On macOS the C library has no mallopt, and on Windows None names no library: a TypeError."""
    monkeypatch.setattr("vaelib.training.vae.ctypes.CDLL", libc)
    assert [e.number for e in train_vae(VAEState(TinyNormed()), stream(), epochs=1, batch_size=25)] == [1]


def test_nothing_is_left_on_the_cpu():
    """Under PyTorch's fake CUDA device, which refuses a tensor from elsewhere."""
    with FakeTensorMode():
        with torch.device("cuda"):
            pool, vae = torch.zeros(50, 1, 32, 32, dtype=torch.uint8), TinyNormed(likelihood=MixtureOfLogistics(2))
            state = encoder_state(vae)
        mixed = MixedDistribution(stream(pool), stream(pool), 0.3)
        streams = [mixed, Mollified(mixed, Mollify(), epochs=2)]
        streams += [HalfAsleep(vae, mixed, source=source) for source in ("posterior", "prior")]
        for one in streams:
            assert one.batch(3, 8).device.type == one.sample(9, seed=0).device.type == "cuda"
        assert {tensor.device.type for tensor in state.tensors().values()} == {"cuda"}


def test_the_early_stopping_oracle_is_the_best_of_the_curve():
    curve = [(10, -120.0), (20, -90.0), (30, float("nan")), (40, -90.0), (50, -300.0)]
    assert early_stopping_oracle(curve) == (20, -90.0)
    with pytest.raises(VaelibError, match="no finite ELBO"):
        early_stopping_oracle([(1, float("nan"))])
