r"""Certificates of the likelihoods: five tests that any p(x|z) of Eq. 2 must pass, as numbers.

| name            | what it is |
| --------------- | --- |
| ``mass_error``  | largest \|Σ_x p(x) - 1\|, or of the integral, over random parameters; in colour of every conditional |
| ``tv_ratio``    | total variation between samples and density, over its expectation for an exact sampler |
| ``finite``      | share of finite gradients where parameters are pushed to extremes, one by one or at once |
| ``precision``   | largest \|log p in float32 - in float64\| / (1 + \|log p\|) there |
| ``code_excess`` | bits by which an arithmetic coder's code of a sampled image exceeds -log2 p of the whole image |

The coder (:mod:`tests.coder`) knows sub-pixels one after another, by tables made from *grey* densities alone:
of a colour pixel first red, then green with each component reweighted by how likely it made the red, then blue. That the
code has the joint density's length thus tests the joint density by another way; under ``zhang2022``
nothing is reweighted, as each sub-pixel draws its own component, and a uniform is mixed into the tables. A Gaussian's pixels
are coded on cells of σ/16.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tests.coder import decode, encode, frequencies
from vaelib import rng
from vaelib.models import Bernoulli, Gaussian, Likelihood, MixtureOfLogistics
from vaelib.models.zhang import ALPHA, LEVELS

CELLS_PER_SIGMA, CELLS = 16, 256
DRAWS, FUZZED, SIDE, FEW = 100_000, 2_000, 8, 2


class Variant(NamedTuple):
    """A likelihood with the number of image channels it is tested on."""

    name: str
    likelihood: Likelihood
    channels: int


VARIANTS = (
    Variant("bernoulli", Bernoulli(), 1),
    Variant("gaussian, σ = 0.03", Gaussian(), 1),
    Variant("gaussian, linear mean", Gaussian(mean="linear"), 1),
    Variant("mol, grey", MixtureOfLogistics(), 1),
    Variant("mol, pixelcnnpp", MixtureOfLogistics(), 3),
    Variant("mol, per_channel", MixtureOfLogistics(rgb="per_channel"), 3),
    Variant("mol, zhang2022", MixtureOfLogistics(rgb="zhang2022"), 3),
)


class _Mixture(NamedTuple):
    """A pixel's parameters: logits (P, G, K), means and log-scales (P, C, K), coefficients (P, 3, K) or none."""

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    c: Tensor | None

    @classmethod
    def of(cls, likelihood: MixtureOfLogistics, params: Tensor) -> "_Mixture":
        """Read the documented order of channels from ``params`` (P, channels_out)."""
        k, channels = likelihood.mixtures, 1 if params.shape[1] == 3 * likelihood.mixtures else 3
        groups = channels if likelihood.rgb == "per_channel" else 1
        logits, means, log_scales, c = params.split(
            [groups * k, channels * k, channels * k, params.shape[1] - (groups + 2 * channels) * k], 1
        )
        parts = (part.unflatten(1, (-1, k)) for part in (logits, means, log_scales))
        return cls(*parts, c.unflatten(1, (-1, k)).tanh() if c.shape[1] else None)


def _grey(logits: Tensor, mean: Tensor, log_scale: Tensor, x: Tensor, narrowest: float) -> Tensor:
    """Return log p of grey values ``x`` (P,) in [0, 1] under mixtures (P, K) each, (P,)."""
    params = torch.cat([logits, mean, log_scale], 1)[:, :, None, None]
    return MixtureOfLogistics(logits.shape[1], narrowest).log_prob(params, x[:, None, None, None])


def next_log_probs(likelihood: Likelihood, params: Tensor, seen: Tensor) -> Tensor:
    """Return log p of each value of the next sub-pixel given those ``seen`` (P, c) of the same pixel, (P, A).

    ``params`` (P, channels_out), float64; values are numbered: 0 and 1, the 256 grey levels, or cells around the mean.
    """
    pixels, channel = len(params), seen.shape[1]
    if isinstance(likelihood, Bernoulli):
        values, repeated = torch.tensor([0.0, 1.0]).double(), params[:, channel]
        scores = [likelihood.log_prob(repeated[:, None], v.expand(pixels, 1)) for v in values]
        return torch.stack(scores, 1)
    if isinstance(likelihood, Gaussian):
        step = likelihood.sigma / CELLS_PER_SIGMA
        offsets = (torch.arange(CELLS, dtype=torch.float64) - (CELLS - 1) / 2) * step
        own = params[:, channel, None]
        mean = likelihood.centre(own)
        return torch.stack([likelihood.log_prob(own, mean + offset) for offset in offsets], 1) + math.log(step)
    mix, value = _Mixture.of(likelihood, params), 2 * seen.double() / 255 - 1
    logits, mean = mix.logits[:, channel if mix.logits.shape[1] > 1 else 0], mix.means[:, channel]
    zhangs = likelihood.rgb == "zhang2022" and mix.c is not None  # in units of [0, 1]
    if zhangs:
        value = seen.double() / 255
    if mix.c is not None:
        shifts = [torch.zeros_like(mix.means[:, 0])]
        shifts.append(mix.c[:, 0] * value[:, :1] if channel > 0 else None)
        shifts.append(mix.c[:, 1] * value[:, :1] + mix.c[:, 2] * value[:, 1:2] if channel > 1 else None)
        mean = mean + shifts[channel]
        for before in range(0 if zhangs else channel):  # how likely each component alone made what was seen
            own = mix.means[:, before] + shifts[before], mix.log_scales[:, before]
            alone = [
                _grey(
                    torch.zeros_like(m)[:, None],
                    m[:, None],
                    s[:, None],
                    seen[:, before].double() / 255,
                    likelihood.min_log_scale,
                )
                for m, s in zip(own[0].unbind(1), own[1].unbind(1), strict=True)
            ]
            logits = logits + torch.stack(alone, 1)
    every = torch.arange(256, dtype=torch.float64) / 255
    log_scale, narrowest = mix.log_scales[:, channel], likelihood.min_log_scale
    if zhangs:  # the same in units of [-1, 1]
        mean, log_scale, narrowest = 2 * mean - 1, log_scale + math.log(2), narrowest + math.log(2)
    many = (part.repeat_interleave(256, 0) for part in (logits, mean, log_scale))
    table = _grey(*many, every.repeat(pixels), narrowest).view(pixels, 256)
    if zhangs:
        table = torch.logaddexp(table + math.log1p(-ALPHA), table.new_tensor(math.log(ALPHA / LEVELS)))
    return table


def random_params(variant: Variant, pixels: int, seed: int = 0, narrower: float = 0.0) -> Tensor:
    """Return random parameters (pixels, channels_out), float64; ``narrower`` is taken off the log-scales of a mixture."""
    count = variant.likelihood.channels_out(variant.channels)
    params = rng.normal((pixels, count), seed, f"certificate/{variant.name}").double()
    if isinstance(variant.likelihood, Gaussian) and not variant.likelihood.bounded:
        return params.sigmoid()
    if isinstance(variant.likelihood, MixtureOfLogistics):
        mix = _Mixture.of(variant.likelihood, params)
        mix.means.mul_(0.5)
        mix.log_scales.sub_(3 + narrower)
    return params


def mass_error(variant: Variant) -> float:
    """Return the largest |Σ p - 1|: of every conditional, and of the joint density over the last sub-pixel given the others."""
    params, likelihood = random_params(variant, 8, seed=1), variant.likelihood
    seen, worst, before = torch.zeros(8, 0), 0.0, torch.zeros(8, dtype=torch.float64)
    for channel in range(variant.channels):
        tables = next_log_probs(likelihood, params, seen)
        worst = max(worst, float((tables.exp().sum(1) - 1).abs().max()))
        if channel < variant.channels - 1:
            value = torch.tensor([3, 40, 77, 0, 255, 128, 200, 251])
            before = before + tables.gather(1, value[:, None]).squeeze(1)
            seen = torch.cat([seen, value[:, None]], 1)
    if variant.channels == 3:
        every = torch.arange(256).repeat(8)[:, None]
        pixels = torch.cat([seen.repeat_interleave(256, 0), every], 1).double() / 255
        joint = likelihood.log_prob(params.repeat_interleave(256, 0)[:, :, None, None], pixels[:, :, None, None])
        worst = max(worst, float((joint.view(8, 256).logsumexp(1) - before).expm1().abs().max()))
    return worst


def tv_ratio(variant: Variant) -> float:
    """Return the samplers' total variation from the density, over what an exact sampler's would be on average.

    In colour two narrow components a mixture leave few enough colours to count.
    """
    if variant.channels == 3:
        variant = variant._replace(likelihood=MixtureOfLogistics(FEW, rgb=variant.likelihood.rgb))
    params, likelihood = random_params(variant, 1, narrower=2.5 if variant.channels == 3 else 0.0), variant.likelihood
    many = params[:, :, None, None].expand(DRAWS, -1, 1, 1)
    draws = likelihood.sample(many, rng.generator(0, "certificate/draws")).flatten(1)
    if isinstance(likelihood, Gaussian):  # clipped: what leaves [0, 1] lies on its edges
        table = next_log_probs(likelihood, params, torch.zeros(1, 0))[0].exp()
        edges = (torch.arange(CELLS + 1) - CELLS / 2) * likelihood.sigma / CELLS_PER_SIGMA + float(
            likelihood.centre(params)
        )
        observed = torch.histc(draws, CELLS, float(edges[0]), float(edges[-1])).double() / DRAWS
        return _ratio(observed, table)
    levels = 1 if isinstance(likelihood, Bernoulli) else 255
    colours, counts = torch.unique((draws * levels).round().long(), dim=0, return_counts=True)
    x = (colours.double() / levels)[:, :, None, None]
    expected = likelihood.log_prob(params[:, :, None, None].expand(len(x), -1, 1, 1), x).exp()
    return _ratio(counts / DRAWS, expected)


def _ratio(observed: Tensor, expected: Tensor) -> float:
    """Return total variation over its expectation; all values that are expected less than five times count as one."""
    often = expected * DRAWS >= 5
    observed, expected = (torch.cat([p[often], 1 - p[often].sum().view(1)]).clamp(min=0) for p in (observed, expected))
    floor = 0.5 * (2 * expected * (1 - expected) / (math.pi * DRAWS)).sqrt().sum()
    return float(0.5 * (observed - expected).abs().sum() / floor)


def _fuzz(variant: Variant) -> tuple[Tensor, Tensor]:
    """Return float32 parameters, half of their numbers at -1, -0.1, 0, 0.1 or 1 times an extreme, and images (n, C, 1, 1)."""
    draws = rng.generator(0, f"certificate/fuzz/{variant.name}")
    params = random_params(variant, FUZZED, seed=2).float()
    extreme = torch.tensor([-1.0, -0.1, 0.0, 0.1, 1.0])[torch.randint(5, params.shape, generator=draws)]
    sizes = torch.full_like(params, 100.0)
    if isinstance(variant.likelihood, MixtureOfLogistics):
        mix = _Mixture.of(variant.likelihood, sizes)
        mix.means.fill_(1e4)
        mix.log_scales.fill_(50.0)
    params = torch.where(torch.rand(params.shape, generator=draws) < 0.5, extreme * sizes, params)
    levels = 1 if isinstance(variant.likelihood, Bernoulli) else 255
    x = torch.randint(-64, levels + 65, (FUZZED, variant.channels, 1, 1), generator=draws).clamp(0, levels) / levels
    return params[:, :, None, None], x


def extremes(variant: Variant) -> tuple[float, float]:
    """Return the share of finite gradients, and the largest relative error of float32, on the fuzzed grid."""
    params, x = _fuzz(variant)
    with torch.enable_grad():
        score = variant.likelihood.log_prob(params.requires_grad_(), x)
        (slope,) = torch.autograd.grad(score.sum(), params)
    exact = variant.likelihood.log_prob(params.detach().double(), x.double())
    error = (score.detach().double() - exact).abs() / (1 + exact.abs())
    return float(slope.isfinite().double().mean()), float(error.max())


def code_excess(variant: Variant) -> float:
    """Return the bits by which the code of a sampled image, which is decoded again, exceeds -log2 p of the library.

    Raises ArithmeticError if the decoded image is another one.
    """
    likelihood, pixels = variant.likelihood, SIDE**2
    params = random_params(variant, pixels, seed=3)
    image = likelihood.sample(params[:, :, None, None], rng.generator(1, "certificate/image")).flatten(1)
    symbols, tables, seen = [], [], torch.zeros(pixels, 0, dtype=torch.long)
    for channel in range(variant.channels):
        table = next_log_probs(likelihood, params, seen)
        if isinstance(likelihood, Gaussian):
            step = likelihood.sigma / CELLS_PER_SIGMA
            mean = likelihood.centre(params)
            number = ((image - mean) / step + (CELLS - 1) / 2).round().clamp(0, CELLS - 1).long()
            image = mean + (number - (CELLS - 1) / 2) * step
        else:
            number = (image[:, channel, None] * (table.shape[1] - 1)).round().long()
        seen = torch.cat([seen, number], 1)
        symbols.append(number.squeeze(1))
        tables.append([frequencies(row.exp()) for row in table])
    order = [int(s[i]) for i in range(pixels) for s in symbols]
    code, length = encode(order, [t[i] for i in range(pixels) for t in tables])

    def table_after(before: list[int]) -> list[int]:
        pixel, channel = divmod(len(before), variant.channels)
        known = torch.tensor([before[pixel * variant.channels :]], dtype=torch.long).view(1, channel)
        return frequencies(next_log_probs(likelihood, params[pixel : pixel + 1], known)[0].exp())

    if decode(code, length, len(order), table_after) != order:
        raise ArithmeticError(f"{variant.name}: the code decodes to another image")
    whole = (part.view(1, SIDE, SIDE, -1).permute(0, 3, 1, 2) for part in (params, image))
    log_p = likelihood.log_prob(*whole)
    cells = pixels * math.log2(likelihood.sigma / CELLS_PER_SIGMA) if isinstance(likelihood, Gaussian) else 0.0
    return length + float(log_p) / math.log(2) + cells
