"""Regularised objectives and decoupled weight decay: what they are by hand, what off means, resuming, what is measured."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from tests.test_procedures import identical, images, stream
from vaelib import rng
from vaelib.data import TUNED_MNIST
from vaelib.errors import VaelibError
from vaelib.models import VAE, FullyConnectedVAE, Gaussian, Posterior, ResidualVAE, elbo_at
from vaelib.models.vae import log_likelihood_at
from vaelib.training import Regulariser, VAEState, kl_between, train_vae

REMEDIES = [
    {"dropout": 0.3},
    {"denoising": 0.2},
    {"consistency": 0.5, "transform": TUNED_MNIST},
    {"kl_warmup": 0.8},
    {"dropout": 0.2, "denoising": 0.1, "consistency": 0.1, "kl_warmup": 1.0, "transform": TUNED_MNIST},
]


def network(seed=0, d_z=3, hidden=8):
    torch.manual_seed(seed)
    return FullyConnectedVAE(d_z, hidden, likelihood=Gaussian(0.1)).train()


def batch(n=6, d_z=3):
    return images(n).float() / 255, torch.randn(n, d_z, generator=torch.Generator().manual_seed(1))


def objective(regulariser, vae, x, eps, step, progress):
    return regulariser.objective(vae, x, eps, regulariser.draws(x, eps, step, progress, regulariser.units(vae, x)))


def trained(epochs=4, before=None, weight_decay=0.0, lr=1e-3, **remedies):
    state = VAEState(network(), lr, weight_decay=weight_decay)
    if before is not None:
        state.load(*before)
    regulariser = Regulariser(**remedies) if remedies else None
    list(train_vae(state, stream(n_train=20), epochs=epochs, batch_size=10, regulariser=regulariser))
    return state.tensors()


# --- the objectives -----------------------------------------------------------------------------------------------


def test_kl_between_is_torchs():
    draws = [torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) + 0.1 for i in range(4)]
    q, p = Posterior(*draws[:2]), Posterior(*draws[2:])
    torch.testing.assert_close(kl_between(q, p), kl_divergence(Normal(*q), Normal(*p)).sum(-1))
    assert float(kl_between(q, q).abs().max()) == 0


def test_with_everything_off_the_training_is_the_plain_one_bit_for_bit():
    plain, off = trained(), trained(dropout=0.0)
    assert plain.keys() == off.keys()
    for name in plain:
        identical(plain[name], off[name])


def test_denoising_encodes_a_noisy_image_and_scores_the_clean_one():
    vae, (x, eps) = network(), batch()
    noise = rng.normal(tuple(x.shape), 5, "denoising", 7)
    by_hand = elbo_at(vae, vae.encode(x + 0.2 * noise), x, eps).mean()
    identical(objective(Regulariser(denoising=0.2, seed=5), vae, x, eps, 7, 0.0), by_hand)


def test_consistency_is_half_of_two_elbos_less_the_divergence():
    vae, (x, eps) = network(), batch()
    transformed = TUNED_MNIST.apply(x, rng.generator(2, "consistency", 4))
    fresh = rng.normal(tuple(eps.shape), 2, "consistency-posterior", 4)
    q, other = vae.encode(x), vae.encode(transformed)
    divergence = kl_divergence(Normal(*other), Normal(*q)).sum(-1)
    by_hand = (elbo_at(vae, q, x, eps) + elbo_at(vae, other, transformed, fresh) - 0.7 * divergence).mean() / 2
    found = objective(Regulariser(consistency=0.7, transform=TUNED_MNIST, seed=2), vae, x, eps, 4, 0.0)
    torch.testing.assert_close(found, by_hand)


def test_the_kl_warms_up_linearly_and_stays():
    vae, (x, eps) = network(), batch()
    q, plain = vae.encode(x), vae(x, eps).mean()
    for progress, beta in ((0.0, 0.0), (0.1, 0.25), (0.4, 1.0), (0.9, 1.0)):
        expected = plain + (1 - beta) * q.kl().mean()
        found = objective(Regulariser(kl_warmup=0.4), vae, x, eps, 0, progress)
        torch.testing.assert_close(found, expected)


def test_dropout_leaves_out_its_share_and_keeps_the_mean_of_a_layer():
    """A unit that is 1 is 0 or 1/(1 - p) in a step: its mean over steps is 1, its variance p / (1 - p)."""
    vae, seen = network(hidden=64), []
    for layer in vae.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.ones_(layer.bias)
    vae.encoder[2].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    x, eps = batch()
    regulariser = Regulariser(dropout=0.25)
    shapes = regulariser.units(vae, x)
    assert shapes == 4 * [(6, 64)]
    seen.clear()
    for step in range(40):
        regulariser.objective(vae, x, eps, regulariser.draws(x, eps, step, 0.0, shapes))
    units = torch.stack(seen)
    torch.testing.assert_close(units.unique(), torch.tensor([0.0, 4 / 3]))
    standard_error = math.sqrt(0.25 / 0.75 / units.numel())
    assert float(units.mean()) == pytest.approx(1.0, abs=4 * standard_error)
    seen.clear()
    vae(x, eps)  # and nothing is left of it afterwards
    assert bool((seen[0] == 1).all())


def test_dropout_needs_layers_to_act_on():
    class Plain(VAE):
        def __init__(self):
            super().__init__(2, 1, Gaussian(0.1))
            self.encoder, self.decoder = torch.nn.Linear(1024, 4), torch.nn.Linear(2, 1024)

        def encoder_output(self, x):
            return self.encoder(x.flatten(1))

        def decode(self, z):
            return self.decoder(z).unflatten(1, (1, 32, 32))

    x, eps = batch(d_z=2)
    with pytest.raises(VaelibError, match=r"no nn\.ReLU layer"):
        objective(Regulariser(dropout=0.5), Plain(), x, eps, 0, 0.0)


def test_all_together_is_what_it_is_by_hand():
    """Each of the two passes has its own noise on the image and goes on in the row of masks."""
    vae, (x, eps) = network(), batch()
    regulariser = Regulariser(dropout=0.2, denoising=0.1, consistency=0.7, kl_warmup=0.5, transform=TUNED_MNIST, seed=2)
    found = objective(regulariser, vae, x, eps, 4, 0.2)
    masks = rng.generator(2, "dropout", 4)
    other = TUNED_MNIST.apply(x, rng.generator(2, "consistency", 4))

    def drop(module, inputs, output):
        return output * torch.empty(output.shape).bernoulli_(0.8, generator=masks) / 0.8

    for layer in vae.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.register_forward_hook(drop)

    def passed(image, noise, purpose):
        q = vae.encode(image + 0.1 * rng.normal(tuple(x.shape), 2, purpose, 4))
        return q, log_likelihood_at(vae, q, image, noise) - 0.4 * q.kl()

    q, elbo = passed(x, eps, "denoising")
    q_other, elbo_other = passed(
        other, rng.normal(tuple(eps.shape), 2, "consistency-posterior", 4), "denoising-transformed"
    )
    identical(found, (elbo + elbo_other - 0.7 * kl_between(q_other, q)).mean() / 2)


def test_units_change_nothing_of_the_network():
    vae = ResidualVAE(4, 1, 1, Gaussian(0.1)).train()
    vae.encoder.eval()
    before, modes = {name: t.clone() for name, t in vae.state_dict().items()}, [part.training for part in vae.modules()]
    shapes = Regulariser(dropout=0.5).units(vae, batch()[0])
    assert len(shapes) > 4
    assert all(shape[0] == 6 for shape in shapes)
    assert [part.training for part in vae.modules()] == modes
    for name, tensor in vae.state_dict().items():
        identical(tensor, before[name])


def test_masks_of_other_units_are_refused():
    """Forgotten, of another network or batch, and of a network that calls its layers otherwise in training."""
    vae, (x, eps), remedy = network(), batch(), Regulariser(dropout=0.5)
    with pytest.raises(
        VaelibError, match=r"dropout = 0.5 needs the shapes of the units; give those of Regulariser.units"
    ):
        remedy.draws(x, eps, 0, 0.0)
    right = remedy.units(vae, x)
    for shapes in (right[:-1], [*right, right[0]], remedy.units(network(hidden=16), x), remedy.units(vae, x[:1])):
        with pytest.raises(
            VaelibError, match="dropout: what was drawn is of other units than this VAE's; give `units` of"
        ):
            remedy.objective(vae, x, eps, remedy.draws(x, eps, 0, 0.0, shapes))


@pytest.mark.parametrize("wrong", [{"dropout": 1.0}, {"denoising": -0.1}, {"consistency": 1.0}, {"kl_warmup": 1.5}])
def test_values_out_of_range_are_refused_with_the_way_out(wrong):
    with pytest.raises(VaelibError, match=f"{next(iter(wrong))}.*(give|must be)|needs a transform; give"):
        Regulariser(**wrong)


# --- training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remedies", REMEDIES, ids=lambda one: "+".join(one))
def test_a_regularised_training_goes_on_where_it_was(remedies):
    """Stopped after two of four epochs and resumed, it ends at the same bits; and it is not the plain training."""
    whole = trained(**remedies)
    state = VAEState(network())
    loop = train_vae(state, stream(n_train=20), epochs=4, batch_size=10, regulariser=Regulariser(**remedies))
    next(loop), next(loop)
    resumed = trained(before=({k: t.clone() for k, t in state.tensors().items()}, 2), **remedies)
    plain = trained()
    for name in whole:
        identical(whole[name], resumed[name])
    assert any(not torch.equal(whole[name], plain[name]) for name in whole)


def test_weight_decay_is_decoupled_and_spares_biases():
    """Without a gradient Adam stands still: then weights shrink by 1 - lr·λ a step, and biases stay as they are."""
    vae = network()
    before = {name: p.detach().clone() for name, p in vae.named_parameters()}
    state = VAEState(vae, lr=0.01, weight_decay=2.0)
    for rate in (1.0, 0.5):
        state.ascend(0 * sum(p.sum() for p in vae.parameters()), rate)
    for name, parameter in vae.named_parameters():
        factor = (1 - 0.02) * (1 - 0.01) if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter, factor * before[name])


def test_weight_decay_takes_adams_step_from_shrunken_weights():
    one, other = network(), network()
    plain, decayed = VAEState(one, lr=0.01), VAEState(other, lr=0.01, weight_decay=3.0)
    shift = {}
    for name, parameter in one.named_parameters():
        shift[name] = 0.03 * parameter.detach().clone() if parameter.ndim > 1 else torch.zeros_like(parameter)
    plain.ascend(sum(p.sum() for p in one.parameters()))
    decayed.ascend(sum(p.sum() for p in other.parameters()))  # the same gradient wherever the weights are
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(parameter, one.get_parameter(name) - shift[name])


def test_a_negative_weight_decay_is_refused():
    with pytest.raises(VaelibError, match="weight_decay = -1"):
        VAEState(network(), weight_decay=-1)
