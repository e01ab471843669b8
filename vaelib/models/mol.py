r"""Discretised mixtures of K logistics, grey and colour (Salimans et al. 2017, PixelCNN++), in nats per image.

A sub-pixel of value x in {-1, -1 + 2/255, ..., 1} is the bin [x - 1/255, x + 1/255] of a logistic on the line, the first
and the last bin reaching to infinity. With its mean m, its rate r = e^{-s} and the distances to the two edges,

    a = r (x + 1/255 − m),   b = r (m − x + 1/255),   log p = log σ(a) + log σ(b) + log(1 − e^{−(a + b)}),

an open edge being a = inf or b = inf. No term cancels, and neither do the slopes 1 - σ(a). Grey images have one mixture
a pixel; colour images one of

- ``pixelcnnpp``: a component k for all three sub-pixels of a pixel, coupled by c = tanh(raw) through
  m_green = μ_g + c₀ x_red and m_blue = μ_b + c₁ x_red + c₂ x_green, log p = log Σ_k π_k Π_c p_kc (10 K channels);
- ``per_channel``: a mixture for each sub-pixel (9 K channels);
- ``zhang2022``: the weights of all three shared, a component drawn for each (10 K channels), see :mod:`.zhang`.

The decoder's channels are all logits, means, log-scales, raw coefficients; components count fastest, then sub-pixels.
"""

import math
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import VaelibError, unknown
from ..rng import sent
from . import zhang

RGB = ("pixelcnnpp", "per_channel", "zhang2022")
LOG2_E = math.log2(math.e)
FLATTEST = 30.0  # above e^30 a logistic is flat to float32; unclamped, its rate would underflow
NARROWEST = -12.0  # a bin is then 1276 scales wide; far below, a product of three sub-pixels would underflow
OPEN = 1e30  # an open edge: infinite at every rate in range, and still 0 when multiplied by 1 - σ
TILE = 2**16  # numbers in one buffer, for each thread: few enough for the cache, enough to hide a call's overhead
CUDA_TILE = 2**22  # the same on a GPU: 136 colour images at K = 10, 150 MB of buffers


def uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw U(0, 1) on the generator's device (the CPU unless told), away from 0 and 1, in ``like``'s shape and place."""
    place = like.device if generator is None else generator.device
    tiny = torch.finfo(torch.float32).eps
    drawn = sent(torch.rand(like.shape, generator=generator, device=place), like.device)
    return drawn.to(like.dtype).clamp(tiny, 1 - tiny)


class _Layout(NamedTuple):
    """C sub-pixels a pixel and G mixtures a pixel (1 or C) of K components; coefficients if G < C."""

    channels: int
    groups: int
    mixtures: int

    def parts(self, params: Tensor) -> list[Tensor]:
        """Return views of (B, channels, P): logits (B, G, K, P), means, log-scales and coefficients (B, C, K, P)."""
        c, g, k = self
        sizes = [g * k, c * k, c * k] + [3 * k] * (g < c)
        return [part.unflatten(1, (-1, k)) for part in params.split(sizes, 1)]


class _Bins(NamedTuple):
    """What an image says of its bins, each (B, C, 1, P); all but ``value`` and ``inner`` still lack the rate."""

    value: Tensor  # in [-1, 1]
    upper: Tensor  # from the value to the upper edge
    lower: Tensor
    minus_width: Tensor
    inner: Tensor  # 1, or 0 for a bin with an open edge


def _bins(x: Tensor) -> _Bins:
    """Return the bins of (B, C, 1, P) in [0, 1] on the grid of multiples of 1/255."""
    first, last = (x < 0.5 / 255).to(x), (x > 1 - 0.5 / 255).to(x)
    inner = (1 - first).sub_(last)
    # The third term is 0 at an open edge: a width that vanishes, but is not 0, makes (1 - e^-y)/y exactly 1.
    minus_width = (inner * (-2 / 255)).sub_(1e-20)
    return _Bins(2 * x - 1, last.mul_(OPEN).add_(1 / 255), first.mul_(OPEN).add_(1 / 255), minus_width, inner)


class _Tile:
    """Log-likelihood and slopes of a few images at a time, in buffers (n, C, K, P) that the next ones use again.

    Of each component's density α β w e^line, the factors α = σ(a), β = σ(b), w = (1 - e^-y)/y with y = a + b stay well
    within float range, their product over sub-pixels too; ``line`` holds the rest: log r, and what α and β lose below
    ``-reach``. So only e^line needs a guard, the largest line.
    """

    def __init__(self, like: Tensor, images: int, layout: _Layout, narrowest: float):
        shape = (images, layout.channels, layout.mixtures, like.shape[-1])
        buffers = [like.new_empty(shape) for _ in range(9)]
        self.t, self.rate, self.a, self.b, self.alpha, self.beta, self.minus_y, self.w, self.line = buffers
        self.narrowest, self.reach = narrowest, -math.log(torch.finfo(like.dtype).eps)

    def score(self, parts: Sequence[Tensor], x: Tensor, slopes: Sequence[Tensor] | None) -> Tensor:
        """Return log p of each mixture, (n, G, 1, P); write ∂ log p / ∂ params to ``slopes``."""
        bins = _bins(x)
        self._components(parts, bins, slopes)
        log_p, posterior, prior = self._mix(parts[0], bins)
        if slopes is not None:
            self._slopes(parts, bins, posterior, prior, slopes)
        return log_p

    def _components(self, parts: Sequence[Tensor], bins: _Bins, slopes: Sequence[Tensor] | None) -> None:
        t, rate, a, b, line = self.t, self.rate, self.a, self.b, self.line
        torch.sub(bins.value, parts[1], out=t)
        if len(parts) == 4:
            c = line if slopes is None else slopes[3]  # half of tanh(raw), from a function that is much faster
            torch.mul(parts[3], 2, out=c).sigmoid_().sub_(0.5)
            t[:, 1:].addcmul_(c[:, :2], bins.value[:, :1], value=-2)
            t[:, 2:].addcmul_(c[:, 2:], bins.value[:, 1:2], value=-2)
        torch.clamp(parts[2], self.narrowest, FLATTEST, out=line)
        torch.mul(line, -LOG2_E, out=rate).exp2_()  # e^x by way of 2^x, which PyTorch vectorises far better
        t.mul_(rate)
        torch.addcmul(t, rate, bins.upper, out=a)
        torch.mul(rate, bins.lower, out=b).sub_(t)
        torch.mul(rate, bins.minus_width, out=self.minus_y)
        torch.expm1(self.minus_y, out=self.w).div_(self.minus_y)
        torch.clamp_min(a, -self.reach, out=self.alpha)
        torch.clamp_min(b, -self.reach, out=self.beta)
        torch.sub(a, self.alpha, out=t).addcmul_(line, bins.inner, value=-1)
        torch.sub(b, self.beta, out=line).add_(t)
        self.alpha.sigmoid_()
        self.beta.sigmoid_()

    def _mix(self, logits: Tensor, bins: _Bins) -> tuple[Tensor, Tensor, Tensor]:
        """Return log p, the components' posterior p(k|x) and their prior π."""
        density, line, inner = torch.mul(self.alpha, self.beta, out=self.t).mul_(self.w), self.line, bins.inner
        if logits.shape[1] < line.shape[1]:
            density, line, inner = density.prod(1, True), line.sum(1, True), inner.sum(1, True)
        line = line + logits
        top, prior_top = line.amax(2, True), logits.amax(2, True)
        joint = line.sub_(top).mul_(LOG2_E).exp2_().mul_(density)
        prior = (logits - prior_top).mul_(LOG2_E).exp2_()
        total, prior_total = joint.sum(2, True), prior.sum(2, True)
        log_p = (total / prior_total).log_().add_(top).sub_(prior_top).add_(inner, alpha=math.log(2 / 255))
        return log_p, joint.div_(total), prior.div_(prior_total)

    def _slopes(
        self, parts: Sequence[Tensor], bins: _Bins, posterior: Tensor, prior: Tensor, slopes: Sequence[Tensor]
    ) -> None:
        t, a, b = self.t, self.a, self.b
        torch.sub(posterior, prior, out=slopes[0])
        torch.sub(self.alpha, self.beta, out=slopes[1]).mul_(self.rate).mul_(posterior)
        # -∂/∂s = a (1 - α) + b (1 - β) + y / (e^y - 1), the last being 1/w - y, and 0 at an open edge
        a.addcmul_(a, self.alpha, value=-1)
        b.addcmul_(b, self.beta, value=-1).add_(a)
        b.addcmul_(self.w.reciprocal_().add_(self.minus_y), bins.inner).mul_(posterior.neg_())
        torch.ops.aten.hardtanh_backward.grad_input(b, parts[2], self.narrowest, FLATTEST, grad_input=slopes[2])
        if len(parts) == 4:
            torch.mul(slopes[1][:, 1:], bins.value[:, :1], out=t[:, :2])
            torch.mul(slopes[1][:, 2:], bins.value[:, 1:2], out=t[:, 2:])
            c = slopes[3]
            torch.addcmul(t, torch.mul(t, c, out=a), c, value=-4, out=c)


def _score(
    params: Tensor, x: Tensor, layout: _Layout, narrowest: float, tile: int, slopes: Tensor | None = None
) -> Tensor:
    """Return log p(x|z), (B,), of images (B, C, P) under (B, channels, P); write ∂ log p / ∂ params to ``slopes``.

    ``tile`` numbers are worked on at once, which changes speed and memory but never the result.
    """
    size = max(1, min(len(x), tile // (layout.channels * layout.mixtures * x.shape[-1])))
    work = _Tile(x, size, layout, narrowest)
    parts = zip(*(part.split(size) for part in layout.parts(params)), strict=True)
    out = repeat(None) if slopes is None else zip(*(part.split(size) for part in layout.parts(slopes)), strict=True)
    log_p = []
    for some, images, target in zip(parts, x.unsqueeze(2).split(size), out, strict=False):
        if len(images) < size:
            work = _Tile(x, len(images), layout, narrowest)
        log_p.append(work.score(some, images, target))
    return torch.cat(log_p).flatten(1).sum(1)


class _LogProb(torch.autograd.Function):
    """log p(x|z) whose gradient is made in the forward pass; the backward pass uses it up."""

    @staticmethod
    def forward(ctx, params: Tensor, *settings) -> Tensor:
        slopes = torch.empty_like(params)
        ctx.save_for_backward(slopes)
        return _score(params, *settings, slopes)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # In place: a second backward through a kept graph is then refused by autograd's own version count.
        (slopes,) = ctx.saved_tensors
        return slopes.mul_(gradient.view(-1, 1, 1)), None, None, None, None


class MixtureOfLogistics:
    """Discretised mixture of logistics for grey and colour images; see the module's text.

    Arguments:
        mixtures: components K (the paper's: 10).
        min_log_scale: the narrowest a logistic may become; a log-scale below has no gradient.
        rgb: how the sub-pixels of a colour image share components: one of ``RGB``.

    Raises VaelibError for no components, a ``min_log_scale`` out of range, an unknown ``rgb``.

    >>> likelihood, x = MixtureOfLogistics(), torch.zeros(2, 3, 32, 32)
    >>> likelihood.log_prob(torch.zeros(2, likelihood.channels_out(3), 32, 32), x).shape
    torch.Size([2])
    """

    name = "mol"

    def __init__(self, mixtures: int = 10, min_log_scale: float = -7.0, rgb: str = "pixelcnnpp"):
        if mixtures < 1:
            raise VaelibError(f"mixtures = {mixtures}: a mixture has at least one component (the paper's: 10)")
        if not NARROWEST <= min_log_scale < FLATTEST:
            known = f"give a number from {NARROWEST:g} to {FLATTEST:g} (PixelCNN++: -7)"
            raise VaelibError(f"min_log_scale = {min_log_scale}: {known}")
        if rgb not in RGB:
            raise unknown("rgb =", rgb, RGB)
        self.mixtures, self.min_log_scale, self.rgb = mixtures, min_log_scale, rgb

    def channels_out(self, channels: int) -> int:
        """Return the decoder's channels: 3K for one channel; for three 9K (``per_channel``) or 10K. Others raise VaelibError."""
        if channels not in (1, 3):
            raise VaelibError(f"likelihood = mol scores 1 or 3 channels, not {channels}; use likelihood = gaussian")
        return self.mixtures * (3 if channels == 1 else 9 if self.rgb == "per_channel" else 10)

    def _layout(self, params: Tensor) -> _Layout:
        """Return what ``params`` (B, channels_out, H, W) describe, told by their channels."""
        for channels in (1, 3):
            if params.shape[1] == self.channels_out(channels):
                return _Layout(channels, channels if self.rgb == "per_channel" else 1, self.mixtures)
        known = f"K = {self.mixtures} needs {self.channels_out(1)} (one channel) or {self.channels_out(3)} (three, {self.rgb})"
        raise VaelibError(f"params = {params.shape[1]} channels: {known}")

    def _is_zhangs(self, layout: _Layout) -> bool:
        return self.rgb == "zhang2022" and layout.channels == 3

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log p(x|z), shape (B,), nats per image; ``x`` is (B, C, H, W) on the grid of multiples of 1/255.

        Differentiable in ``params``, once; not in ``x``, whose grey levels are counted, not measured.

        Raises:
            VaelibError: ``params`` and ``x`` do not belong together, or ``x`` asks for a gradient.
        """
        layout = self._layout(params)
        if x.shape[1] != layout.channels:
            raise VaelibError(f"x = {x.shape[1]} channels, but params describe {layout.channels}")
        if (len(x), *x.shape[2:]) != (len(params), *params.shape[2:]):
            raise VaelibError(f"params of {tuple(params.shape)} are not those of images x of {tuple(x.shape)}")
        if x.requires_grad:
            raise VaelibError("x asks for a gradient, but likelihood = mol has none in x: pass x.detach()")
        params = _at_least_float32(params).flatten(2)
        if self._is_zhangs(layout):
            return zhang.log_prob(layout.parts(params), x.to(params.dtype).flatten(2), self.min_log_scale, FLATTEST)
        tile = CUDA_TILE if params.is_cuda else TILE * torch.get_num_threads()
        settings = (x.to(params.dtype).flatten(2), layout, self.min_log_scale, tile)
        wanted = torch.is_grad_enabled() and params.requires_grad
        return _LogProb.apply(params, *settings) if wanted else _score(params, *settings)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw images (B, C, H, W) on the 256-level grid, exactly from the density scored by :meth:`log_prob`."""
        layout, size = self._layout(params), params.shape[2:]
        logits, *others = parts = layout.parts(_at_least_float32(params).flatten(2))
        if self._is_zhangs(layout):
            draws = [uniform(like, generator) for like in (others[0], *2 * [others[0][:, :, 0]])]
            return zhang.sample(parts, draws, self.min_log_scale, FLATTEST).unflatten(2, size)
        gumbel = -torch.log(-torch.log(uniform(logits, generator)))
        chosen = (logits + gumbel).argmax(2, keepdim=True).expand(-1, layout.channels, -1, -1)
        means, log_scales, *c = (part.gather(2, chosen).squeeze(2) for part in others)
        u = uniform(means, generator)
        noise = log_scales.clamp(self.min_log_scale, FLATTEST).exp() * (torch.log(u) - torch.log1p(-u))
        x = _couple(means + noise, c[0].tanh() if c else None, _to_grid)
        return (((x + 1) * 127.5).round() / 255).unflatten(2, size)

    def mean(self, params: Tensor) -> Tensor:
        """Return E[x|z] in [0, 1], (B, C, H, W), each component's mean clipped to [0, 1].

        For ``pixelcnnpp`` a component's clipped mean of red, not red itself, enters that of green, and so on: exact
        but for clipping and rounding, as the coupling is linear.
        """
        layout, size = self._layout(params), params.shape[2:]
        logits, means, _, *c = parts = layout.parts(_at_least_float32(params).flatten(2))
        if self._is_zhangs(layout):
            return zhang.mean(parts).unflatten(2, size)
        means = _couple(means, c[0].tanh() if c else None, lambda m: m.clamp(-1, 1))
        return ((logits.softmax(2) * (means + 1)).sum(2) / 2).unflatten(2, size)


def _at_least_float32(params: Tensor) -> Tensor:
    return params if params.dtype == torch.float64 else params.float()


def _to_grid(x: Tensor) -> Tensor:
    """Round to the 256 levels of [-1, 1]."""
    return ((x + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1


def _couple(x: Tensor, c: Tensor | None, finish: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``finish(x)``, (B, C, ...); given c, red enters green and both enter blue, each finished first."""
    if c is None:
        return finish(x)
    red = finish(x[:, 0])
    green = finish(x[:, 1] + c[:, 0] * red)
    return torch.stack([red, green, finish(x[:, 2] + c[:, 1] * red + c[:, 2] * green)], 1)
