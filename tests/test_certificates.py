"""Certificates of the likelihoods, the coder behind them, and that each certificate can fail."""

import math

import pytest
import torch

from tests.certificates import (
    VARIANTS,
    Variant,
    code_excess,
    extremes,
    mass_error,
    next_log_probs,
    random_params,
    tv_ratio,
)
from tests.coder import decode, encode, frequencies
from vaelib.models import Bernoulli, Gaussian, MixtureOfLogistics

every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
GREY = next(variant for variant in VARIANTS if variant.name == "mol, grey")


@pytest.mark.parametrize("count", [0, 1, 2, 300])
@pytest.mark.parametrize("alphabet", [2, 256])
def test_the_coder_returns_what_it_was_given_in_the_entropys_length(count, alphabet):
    draws = torch.Generator().manual_seed(count)
    probabilities = torch.rand((count, alphabet), generator=draws, dtype=torch.float64).pow(6) + 1e-14
    tables = [frequencies(row) for row in probabilities]
    assert all(sum(table) == 2**32 and min(table) >= 1 for table in tables)
    symbols = [int(row.multinomial(1, generator=draws)) for row in probabilities]
    code, length = encode(symbols, tables)
    assert decode(code, length, count, lambda before: tables[len(before)]) == symbols
    assert 0 <= code < 2**length or length == 0
    ideal = sum(32 - math.log2(table[symbol]) for symbol, table in zip(symbols, tables, strict=True))
    assert ideal - 2 < length < ideal + 2


def test_improbable_and_certain_symbols_have_codes_too():
    tables = [frequencies(torch.tensor([1.0, 0.0, 0.0]))] * 40
    assert encode([0] * 40, tables)[1] <= 1
    code, length = encode([2, 0, 1, *[0] * 37], tables)
    assert length == pytest.approx(64, abs=2)
    assert decode(code, length, 40, lambda before: tables[len(before)]) == [2, 0, 1, *[0] * 37]


@every_variant
def test_every_conditional_and_the_joint_density_sum_to_one(variant):
    assert mass_error(variant) < 1e-11


@every_variant
def test_samples_differ_from_the_density_by_chance_alone(variant):
    assert 0.5 < tv_ratio(variant) < 1.3


@every_variant
def test_gradients_are_finite_and_float32_precise_at_extremes(variant):
    finite, precision = extremes(variant)
    assert finite == 1
    assert precision < 1e-5


@every_variant
def test_a_code_is_as_long_as_the_density_says(variant):
    """Within 2 bits of -log2 p for a whole image; decoding it is part of the test."""
    assert abs(code_excess(variant)) < 2


def test_the_chain_of_greys_is_the_joint_density():
    variant = next(variant for variant in VARIANTS if variant.name == "mol, pixelcnnpp")
    params = random_params(variant, 50, seed=4)
    seen = torch.randint(256, (50, 3), generator=torch.Generator().manual_seed(0))
    chain = sum(
        next_log_probs(variant.likelihood, params, seen[:, :c]).gather(1, seen[:, c : c + 1]).squeeze(1)
        for c in range(3)
    )
    joint = variant.likelihood.log_prob(params[:, :, None, None], seen[:, :, None, None].double() / 255)
    torch.testing.assert_close(chain, joint, rtol=1e-10, atol=1e-10)


class Narrower(MixtureOfLogistics):
    """A density whose logistics are narrower than those of its sampler."""

    def log_prob(self, params, x):
        scale = torch.zeros(params.shape[1], dtype=params.dtype)
        scale[-self.mixtures :] = 0.5
        return super().log_prob(params - scale[:, None, None], x)


class Shifted(Bernoulli):
    """A sampler that is off by 0.05."""

    def sample(self, params, generator=None):
        return super().sample(params + 0.2, generator)


class Naive(Gaussian):
    """Densities multiplied and then logged: underflow at extremes."""

    def log_prob(self, params, x):
        density = torch.exp(-0.5 * ((x - params) / self.sigma).square()) / (self.sigma * math.sqrt(2 * math.pi))
        return density.log().flatten(1).sum(1)


def test_each_certificate_can_fail():
    narrower = GREY._replace(likelihood=Narrower())
    assert tv_ratio(narrower) > 2
    assert abs(code_excess(narrower)) > 2  # the coder's tables are made by the plain class
    assert tv_ratio(Variant("bernoulli", Shifted(), 1)) > 5
    finite, _ = extremes(Variant("naive", Naive(), 1))
    assert finite < 1
