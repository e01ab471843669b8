"""Pictures that answer a slider: what does not move is drawn once and kept as pixels, so a step costs milliseconds.

Each knows its stops, so that the same picture serves a panel of :mod:`~vaelib.report.explorers.widgets` and, frame by frame, a page
without a kernel (:mod:`~vaelib.report.explorers.static`). All that a step needs is computed beforehand; nothing here trains.
"""

import io
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ...gaps import attack_path, ms_ssim
from ...images import as_float
from ...models import VAE
from ...modes import evaluating
from ...tasks.interpolation import Interpolation
from ...text import number
from ..canvas import COLOURS, GREY, LABELS, STYLE, ReportFigure
from ..pictures import LINE_LABEL, draw_path

DARK = "#333333"


class MovingPicture(ABC):
    """A figure of which only ``moving`` artists change; subclasses say how in ``move``.

    Attributes:
        axes: the sliders, each a name and the labels of its stops; a place is one number for each.
        start: the place to show first.
    """

    axes: tuple[tuple[str, list[str]], ...]
    start: tuple[int, ...]

    def freeze(self, figure: Figure, moving: Sequence[Artist]) -> None:
        """Draw all but the ``moving`` artists, once."""
        self.moving = moving
        for artist in moving:
            artist.set_animated(True)
        self.canvas = FigureCanvasAgg(figure)
        self.canvas.draw()
        self.still = self.canvas.copy_from_bbox(figure.bbox)

    @abstractmethod
    def move(self, *place: int) -> None:
        """Set the moving artists to a place."""

    def image(self, *place: int) -> Image.Image:
        """Return the picture at a place: a stop's number for each axis."""
        self.move(*place)
        self.canvas.restore_region(self.still)
        for artist in self.moving:
            artist.axes.draw_artist(artist)
        return Image.fromarray(np.ascontiguousarray(np.asarray(self.canvas.buffer_rgba())[..., :3]))

    def png(self, *place: int) -> bytes:
        """Return the picture at a place as PNG."""
        buffer = io.BytesIO()
        self.image(*place).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def frames(self) -> Iterator[Image.Image]:
        """Yield the picture at every place, the last axis fastest."""
        yield from (self.image(*place) for place in itertools.product(*(range(len(stops)) for _, stops in self.axes)))


def _draw(
    figure: ReportFigure, x: float, y: float, side: float, image: Tensor, title: str = " ", colour: str = DARK
) -> list:
    """Draw an image (C, H, W) in [0, 1] without axes; return the artists of the image and its title."""
    ax = figure.box(x, y, side, side)
    ax.set_axis_off()
    return [ax.imshow(_pixels(image), cmap="gray", vmin=0, vmax=1), ax.set_title(title, fontsize=9, color=colour)]


def _pixels(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def _name(method: str) -> str:
    return LABELS.get(method, method)


def _colours(names: Iterable[str]) -> dict[str, str]:
    """Return a method's own colour; others, as in notebook 00, take theirs by place."""
    others = [COLOURS[name] for name in ("normal", "held_out", "dmaapx", "aug_naive")]
    return {name: COLOURS.get(name, others[place % len(others)]) for place, name in enumerate(names)}


class PathPicture(MovingPicture):
    """E[x|z_α] of each method, and log q(z_α | x̃_α) with a marker at α."""

    def __init__(self, paths: Mapping[str, Interpolation]):
        self.paths, count, colours = paths, len(paths), _colours(paths)
        alphas = next(iter(paths.values())).alphas
        self.axes, self.start = (("α", [f"{alpha:.2f}" for alpha in alphas.tolist()]),), (len(alphas) // 2,)
        with mpl.rc_context(fname=STYLE):
            figure = ReportFigure(figsize=(2.3 * count + 4.9, 2.7))
            shown = [
                _draw(figure, 2.3 * place + 0.05, 0.27, 2.0, path.images[0], colour=colours[name])
                for place, (name, path) in enumerate(paths.items())
            ]
            curve = figure.box(2.3 * count + 0.85, 0.54, 3.9, 1.94)
            for name, path in paths.items():
                draw_path(curve, path, colours[name])
            curve.set(xlim=(-0.02, 1.02), xlabel=r"$\alpha$   (0: $x_1$, 1: $x_0$)", ylabel=LINE_LABEL)
            curve.yaxis.set_major_formatter("{x:,.10g}")
            self.marker = curve.axvline(0, color=DARK, lw=1.2)
            self.pictures, self.titles = zip(*shown, strict=True)
            self.freeze(figure, [*self.pictures, *self.titles, self.marker])

    def move(self, index: int) -> None:
        """Show the path's point ``index``."""
        for (name, path), picture, title in zip(self.paths.items(), self.pictures, self.titles, strict=True):
            picture.set_data(_pixels(path.images[index]))
            title.set_text(f"{_name(name)}\n{number(float(path.mean[index]))} nats")
            alpha = float(path.alphas[index])
        self.marker.set_xdata([alpha, alpha])


def informative_latents(vae: VAE, images: Tensor) -> Tensor:
    """Return the numbers of a VAE's latents, those with the largest KL(q(z_i|x) ‖ N(0, 1)) over ``images`` first."""
    with evaluating(vae) as device, torch.inference_mode():
        q = vae.encode(as_float(images.to(device)))
        kl = 0.5 * (q.mu.square() + q.sigma.square() - 1 - 2 * q.sigma.log())
        return kl.mean(0).argsort(descending=True).cpu()


class TraversalPicture(MovingPicture):
    """One latent moved from −reach to reach, the others at μ(x): E[x|z] of each method, and where q(z_i|x) lies.

    Arguments:
        orders: by method, the latents to move, see :func:`informative_latents`; the first slider chooses among them.
    """

    def __init__(
        self, vaes: Mapping[str, VAE], image: Tensor, orders: Mapping[str, Tensor], *, stops: int = 25, reach: float = 3
    ):
        self.vaes, self.orders, self.q = vaes, {name: order.tolist() for name, order in orders.items()}, {}
        self.values, self.grid = torch.linspace(-reach, reach, stops), np.linspace(-reach, reach, 401)
        image = as_float(image.cpu())
        for name, vae in vaes.items():
            with evaluating(vae) as device, torch.inference_mode():
                self.q[name] = [one[0].cpu() for one in vae.encode(image.unsqueeze(0).to(device))]
        self.images = cache(self.images)  # a method's images of one latent are decoded when it is first asked for
        colours, count, ranks = _colours(vaes), len(vaes), min(map(len, self.orders.values()))
        self.axes = (
            ("latent", [str(rank + 1) for rank in range(ranks)]),
            ("z", [f"{value:+.2f}" for value in self.values.tolist()]),
        )
        self.start = (0, stops // 2)
        with mpl.rc_context(fname=STYLE):
            figure = ReportFigure(figsize=(2.1 * (count + 1) + 3.9, 2.7))
            _draw(figure, 0.05, 0.27, 1.9, image, "x")
            shown = [
                _draw(figure, 2.1 * (place + 1), 0.27, 1.9, image, colour=colours[name])
                for place, name in enumerate(vaes)
            ]
            ax = figure.box(2.1 * (count + 1) + 0.45, 0.54, 3.3, 1.75)
            ax.fill_between(self.grid, np.exp(-(self.grid**2) / 2), color=GREY, alpha=0.2, lw=0)
            self.lines = [ax.plot(self.grid, 0 * self.grid, color=colours[name], lw=1.5)[0] for name in vaes]
            ax.set(ylim=(0, 1.08), yticks=[], xlabel=r"$z_i$", xlim=(-reach, reach))
            ax.set_title(r"$q(z_i|x)$, and the prior in grey", fontsize=9, weight="normal", color=DARK)
            self.marker = ax.axvline(0, color=DARK, lw=1.2)
            self.pictures, self.titles = zip(*shown, strict=True)
            self.freeze(figure, [*self.pictures, *self.titles, *self.lines, self.marker])

    def images(self, name: str, rank: int) -> Tensor:
        """Return a method's E[x|z] at every stop of one latent, (stops, C, H, W)."""
        vae = self.vaes[name]
        with evaluating(vae) as device, torch.inference_mode():
            z = self.q[name][0].repeat(len(self.values), 1)
            z[:, self.orders[name][rank]] = self.values
            return vae.likelihood.mean(vae.decode(z.to(device))).cpu()

    def move(self, rank: int, stop: int) -> None:
        """Show the ``rank``-th latent of each method at a stop."""
        value = float(self.values[stop])
        self.marker.set_xdata([value, value])
        for name, picture, title, line in zip(self.vaes, self.pictures, self.titles, self.lines, strict=True):
            picture.set_data(_pixels(self.images(name, rank)[stop]))
            latent = self.orders[name][rank]
            title.set_text(f"{_name(name)}: z[{latent}]")
            mu, sigma = (float(one[latent]) for one in self.q[name])
            sigma = max(sigma, 0.012)  # a narrower one would fall between two points of the line
            line.set_ydata(np.exp(-(((self.grid - mu) / sigma) ** 2) / 2))


class AttackPicture(MovingPicture):
    """An image, the same under attack, both reconstructions, and the similarities (MS-SSIM) over the attack's steps.

    Reconstructions are E[x|z = μ(x)], without the noise of Eq. 5, so that only the attack moves them.

    Arguments:
        index: the image's number in its data set, which names the random start.
        options: ``lr``, ``gradient``, ``seed`` of :func:`~vaelib.gaps.attack_encoder`.
    """

    def __init__(
        self, vaes: Mapping[str, VAE], image: Tensor, *, radii: Sequence[float], steps: int = 50, every: int = 5,
        variant: str = "kuzina2022", index: int = 0, **options,
    ):  # fmt: skip
        self.steps, self.measured = [step for step in range(steps + 1) if step % every == 0], {}
        colours = _colours(vaes)
        self.axes = (("δ", [f"{radius:.2f}" for radius in radii]), ("steps", list(map(str, self.steps))))
        self.start = (len(radii) // 2, len(self.steps) - 1)
        image = as_float(image.cpu())
        for name, vae in vaes.items():
            path = attack_path(vae, image, radii, steps=steps, every=every, index=index, **options)
            self.measured[name] = _reconstructed(vae, image, path, variant)
        with mpl.rc_context(fname=STYLE):
            figure = ReportFigure(figsize=(10.2, 1.75 * len(vaes) + 0.25))
            moving = [self._row(figure, row, name, image, colours[name]) for row, name in enumerate(vaes)]
            bottom = 0.55
            ax = figure.box(6.7, bottom, 3.2, figure.get_figheight() - bottom - 0.35)
            ax.set(xlim=(0, steps), ylim=(0, 1.02), xlabel="steps of the attack")
            ax.set_title("MS-SSIM of inputs (dotted), reconstructions", fontsize=9, weight="normal", color=DARK)
            self.marker = ax.axvline(0, color=DARK, lw=1.2)
            for name, artists in zip(vaes, moving, strict=True):
                for style in (":", "-"):
                    artists += ax.plot(self.steps, np.zeros(len(self.steps)), style, color=colours[name])
            self.artists = moving
            self.freeze(figure, [artist for row in moving for artist in row] + [self.marker])

    def _row(self, figure: ReportFigure, row: int, name: str, image: Tensor, colour: str) -> list[Artist]:
        """Draw a method's row and return the artists that move: attacked input, its reconstruction, with titles."""
        side, y = 1.4, figure.get_figheight() - 1.75 * (row + 1)
        reconstruction, _, _, _ = self.measured[name]
        _draw(figure, 0.05, y, side, image, "x" if row == 0 else " ")
        attacked = _draw(figure, 1.6, y, side, image)
        _draw(figure, 3.3, y, side, reconstruction, _name(name), colour)
        return attacked + _draw(figure, 4.85, y, side, image, colour=colour)

    def move(self, radius: int, step: int) -> None:
        """Show the attack of one radius after a number of steps."""
        for (_, attacked, after, similarity), row in zip(self.measured.values(), self.artists, strict=True):
            picture, title, shown, name, dotted, solid = row
            picture.set_data(_pixels(attacked[radius, step]))
            shown.set_data(_pixels(after[radius, step]))
            inputs, outputs = similarity[:, radius]
            title.set_text(f"δ = {self.axes[0][1][radius]}: {inputs[step]:.2f}")
            name.set_text(f"attacked: {outputs[step]:.2f}")
            dotted.set_ydata(inputs)
            solid.set_ydata(outputs)
        self.marker.set_xdata([self.steps[step]] * 2)


def _reconstructed(vae: VAE, image: Tensor, path: Tensor, variant: str) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
    """Return x̃, x_a, x̃_a and the similarities (inputs, reconstructions) of each, on the CPU."""
    with evaluating(vae) as device, torch.inference_mode():
        every = torch.cat([image.unsqueeze(0).to(device), path.flatten(0, 1)])
        outputs = torch.cat(
            [vae.likelihood.mean(vae.decode(vae.encode(part).mu)).clamp(0, 1) for part in every.split(250)]
        )
        pairs = ((every[:1], every[1:]), (outputs[:1], outputs[1:]))
        found = torch.stack([ms_ssim(one.expand_as(many), many, variant=variant) for one, many in pairs])
        after = outputs[1:].unflatten(0, path.shape[:2])
        return outputs[0].cpu(), path.cpu(), after.cpu(), found.unflatten(1, path.shape[:2]).cpu().numpy()
