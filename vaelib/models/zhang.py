r"""The likelihood of colour images in the code of Zhang et al. (2022), in nats per image.

A pixel has K weights π, and each of its sub-pixels a mixture of K logistics with them: components are drawn for each
sub-pixel anew, where PixelCNN++ draws one a pixel. Means are coupled as there, m_green = μ_g + c₀ x_red and m_blue =
μ_b + c₁ x_red + c₂ x_green with c = tanh(raw), and α = 1e-4 of a uniform over the 256 levels is mixed in:

    log p(x) = Σ_c log[(1 - α) Σ_k π_k p_kc(x_c) + α / 256]

Everything is in units of [0, 1], the log-scale's floor too: a bin is [x - 1/510, x + 1/510], the first and the last reaching
to infinity. The published sampler draws one component a pixel, leaves out the uniform and cuts off decimals; :func:`sample`
draws from the density above. ``parts`` are logits (B, 1, K, P), means, log-scales and raw coefficients (B, 3, K, P).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

ALPHA = 1e-4  # share of the uniform
LEVELS = 256


def _means(means: Tensor, raw: Tensor, red: Tensor, green: Tensor) -> Tensor:
    """Return the components' means (B, 3, K, P), given red and green (B, P)."""
    c, red, green = raw.tanh(), red.unsqueeze(1), green.unsqueeze(1)
    shift = torch.stack([torch.zeros_like(c[:, 0]), c[:, 0] * red, c[:, 1] * red + c[:, 2] * green], 1)
    return means + shift


def log_prob(parts: Sequence[Tensor], x: Tensor, narrowest: float, flattest: float) -> Tensor:
    """Return log p of images ``x`` (B, 3, P) in [0, 1] on the grid of multiples of 1/255, (B,)."""
    logits, means, log_scales, raw = parts
    value = x.unsqueeze(2)
    offset = value - _means(means, raw, x[:, 0], x[:, 1])
    rate = log_scales.clamp(narrowest, flattest).neg().exp()
    half = 1 / (2 * (LEVELS - 1))
    upper, lower = F.logsigmoid(rate * (offset + half)), F.logsigmoid(rate * (half - offset))
    inside = upper + lower + torch.log(-torch.expm1(-2 * half * rate))
    bins = torch.where(value < half, upper, torch.where(value > 1 - half, lower, inside))
    mixed = (logits.log_softmax(2) + bins).logsumexp(2) + math.log1p(-ALPHA)
    return torch.logaddexp(mixed, mixed.new_full((), math.log(ALPHA / LEVELS))).flatten(1).sum(1)


def sample(parts: Sequence[Tensor], draws: Sequence[Tensor], narrowest: float, flattest: float) -> Tensor:
    """Return images (B, 3, P) on the grid, from uniform ``draws``: (B, 3, K, P) and twice (B, 3, P)."""
    logits, means, log_scales, raw = parts
    components, levels, which = draws
    chosen = (logits - torch.log(-torch.log(components))).argmax(2, keepdim=True)
    noise = log_scales.clamp(narrowest, flattest).exp().gather(2, chosen).squeeze(2) * levels.logit()
    x, unknown = [], 2 * [torch.zeros_like(noise[:, 0])]
    for channel in range(3):
        coupled = _means(means, raw, *(x + unknown)[:2])
        mean = coupled[:, channel].gather(1, chosen[:, channel]).squeeze(1)
        drawn = ((mean + noise[:, channel]) * (LEVELS - 1)).round().clamp(0, LEVELS - 1)
        even = (which[:, channel] / ALPHA * LEVELS).floor()
        x.append(torch.where(which[:, channel] < ALPHA, even, drawn) / (LEVELS - 1))
    return torch.stack(x, 1)


def mean(parts: Sequence[Tensor]) -> Tensor:
    """Return E[x|z] in [0, 1], (B, 3, P), exact but for clipping each component's mean and rounding."""
    logits, means, _, raw = parts
    x, unknown, weights = [], 2 * [torch.zeros_like(means[:, 0, 0])], logits.softmax(2)[:, 0]
    for channel in range(3):
        centre = _means(means, raw, *(x + unknown)[:2])[:, channel].clamp(0, 1)
        x.append((1 - ALPHA) * (weights * centre).sum(1) + ALPHA / 2)
    return torch.stack(x, 1)
