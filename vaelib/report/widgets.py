"""Sliders for notebooks, built by plain functions: an ``observe`` callback puts new PNG bytes into a ``widgets.Image``.

Nothing here trains, and neither pyplot nor ``Output`` widgets are used, so nothing piles up or flickers.
"""

import io
from collections.abc import Mapping
from functools import lru_cache

import ipywidgets as widgets
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from torch import Tensor
from traitlets import link

from ..errors import VaelibError
from ..gaps.bounds import as_float
from ..models import VAE
from ..tasks.interpolation import Interpolation, interpolate
from .canvas import COLOURS, GREY, LABELS, STYLE, ReportFigure
from .claims import number
from .smoothness import LINE_LABEL, draw_path, image_row


def _show(ax: Axes, image: Tensor):
    """Draw an image (C, H, W) in [0, 1] without axes and return the artist."""
    ax.set_axis_off()
    return ax.imshow(image.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=1)


class PathPicture:
    """The picture behind the slider: E[x|z_α] of each method, and log q(z_α | x̃_α) with a marker at α.

    What does not move is drawn once and kept as pixels, so a step costs milliseconds.
    """

    def __init__(self, paths: Mapping[str, Interpolation]):
        self.paths, count = paths, len(paths)
        with mpl.rc_context(fname=STYLE):
            figure = ReportFigure(figsize=(2.3 * count + 4.9, 2.7))
            width = figure.get_figwidth()
            pictures = [figure.add_axes((2.3 * n / width, 0.1, 2.0 / width, 0.75)) for n in range(count)]
            curve = figure.add_axes((1 - 4.1 / width, 0.2, 4.0 / width, 0.72))
            self.shown = [_show(ax, path.images[0]) for ax, path in zip(pictures, paths.values(), strict=True)]
            self.titles = [ax.set_title(" ", fontsize=9) for ax in pictures]
            for name, path in paths.items():
                draw_path(curve, path, COLOURS.get(name, GREY))
            curve.set(xlim=(-0.02, 1.02), xlabel=r"$\alpha$   (0: $x_1$, 1: $x_0$)", ylabel=LINE_LABEL)
            curve.yaxis.set_major_formatter("{x:,.0f}")
            self.marker = curve.axvline(0, color="#333333", lw=1.2)
            self.moving = [*self.shown, *self.titles, self.marker]
            for artist in self.moving:
                artist.set_animated(True)
            self.canvas = FigureCanvasAgg(figure)
            self.canvas.draw()
            self.still = self.canvas.copy_from_bbox(figure.bbox)

    def png(self, index: int) -> bytes:
        """Return the picture at the path's point ``index``."""
        for (name, path), picture, title in zip(self.paths.items(), self.shown, self.titles, strict=True):
            picture.set_data(path.images[index].permute(1, 2, 0).numpy())
            title.set(
                text=f"{LABELS.get(name, name)}: {number(float(path.mean[index]))} nats", color=COLOURS.get(name, GREY)
            )
            alpha = float(path.alphas[index])
        self.marker.set_xdata([alpha, alpha])
        self.canvas.restore_region(self.still)
        for artist in self.moving:
            artist.axes.draw_artist(artist)
        buffer = io.BytesIO()
        pixels = np.ascontiguousarray(np.asarray(self.canvas.buffer_rgba())[..., :3])
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def _thumbnails(images: Tensor, first: int, second: int) -> bytes:
    """Return the row of images to choose from, numbered, the chosen two named."""
    count, names = len(images), {first: " = x₀", second: " = x₁"}
    with mpl.rc_context(fname=STYLE):
        figure = ReportFigure(figsize=(0.85 * count, 1.1))
        ax = figure.add_axes((0, 0, 1, 0.85 / 1.1))
        image_row(ax, images, (0, count))
        for place in range(count):
            look = {"color": "black" if place in names else GREY, "ha": "center", "va": "bottom", "fontsize": 10}
            ax.text(place + 0.5, 1.05, f"{place}{names.get(place, '')}", **look)
    return figure._repr_png_()


def interpolation_explorer(
    vaes: Mapping[str, VAE], images: Tensor, *, alphas: int = 21, samples: int = 4, seed: int = 0
) -> widgets.VBox:
    """Return a panel to walk between the latents of two of ``images``: choose both, then move or play α.

    Arguments:
        vaes: trained VAEs by method (``normal``, ``dmaapx``); each keeps its device.
        images: (n, C, H, W) test images to choose from, uint8 or floats in [0, 1]; a dozen fit on a screen.
        alphas, samples, seed: as for :func:`~vaelib.tasks.interpolation.interpolate`.

    Raises:
        VaelibError: fewer than two images.
    """
    if len(images) < 2:
        raise VaelibError(f"images = {len(images)} of them leave no choice; give at least two")
    images = as_float(images.cpu())

    @lru_cache(maxsize=8)
    def picture(first: int, second: int) -> PathPicture:
        options = {"alphas": alphas, "samples": samples, "seed": seed}
        return PathPicture({name: interpolate(v, images[first], images[second], **options) for name, v in vaes.items()})

    numbers, narrow = [(str(n), n) for n in range(len(images))], {"button_width": "2.6em"}
    one = widgets.ToggleButtons(options=numbers, value=0, description="x₀ (α = 1)", style=narrow)
    two = widgets.ToggleButtons(options=numbers, value=1, description="x₁ (α = 0)", style=narrow)
    slider = widgets.FloatSlider(value=0.5, min=0, max=1, step=1 / (alphas - 1), description="α")
    play = widgets.Play(min=0, max=alphas - 1, value=(alphas - 1) // 2, interval=150)
    thumbnails, panel, note = widgets.Image(format="png"), widgets.Image(format="png"), widgets.HTML()

    def move(_=None) -> None:
        if one.value != two.value:
            panel.value = picture(one.value, two.value).png(round(slider.value * (alphas - 1)))

    def choose(_=None) -> None:
        note.value = "" if one.value != two.value else "The same image twice spans no line: choose another."
        thumbnails.value = _thumbnails(images, one.value, two.value)
        move()

    link((play, "value"), (slider, "value"), transform=(lambda i: i / (alphas - 1), lambda a: round(a * (alphas - 1))))
    slider.observe(move, "value")
    for choice in (one, two):
        choice.observe(choose, "value")
    choose()
    return widgets.VBox([thumbnails, one, two, note, widgets.HBox([play, slider]), panel])
