"""Pictures for reading along: rows of images, mosaics, and the curve of a path."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ..images import as_float
from ..tasks.interpolation import Interpolation
from .canvas import STYLE, ReportFigure

LINE_LABEL = r"$\log q_\phi(z_\alpha\,|\,\tilde {x}_\alpha)$ (nats)"


def image_rows(rows: Mapping[str, torch.Tensor], title: str = "") -> ReportFigure:
    """Return a figure with one labelled row of images an entry, each (n, C, 32, 32), uint8 or floats in [0, 1]."""
    count = max(len(images) for images in rows.values())
    with mpl.rc_context(fname=STYLE):
        figure = ReportFigure(figsize=(1.6 + 0.95 * count, 0.3 + 1.02 * len(rows)))
        grid = figure.subplots(len(rows), count, squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": 0.06})
        for line, (label, images) in zip(grid, rows.items(), strict=True):
            pixels = as_float(images)
            for column, ax in enumerate(line):
                ax.set_axis_off()
                if column < len(pixels):
                    ax.imshow(pixels[column].permute(1, 2, 0).clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
            line[0].text(-0.12, 0.5, label, ha="right", va="center", transform=line[0].transAxes, fontsize=9)
        figure.suptitle(title, fontsize=11)
        width, height = figure.get_size_inches()
        figure.subplots_adjust(left=1.5 / width, right=0.99, bottom=0.05, top=1 - 0.4 / height)
    return figure


def mosaic(images: Tensor, columns: int) -> Tensor:
    """Return images (n, C, H, W) in [0, 1] as one (H', W', C) picture of ``columns``, a white pixel between them."""
    tiles = torch.nn.functional.pad(images.float(), (1, 1, 1, 1), value=1.0)
    n, channels, height, width = tiles.shape
    grid = tiles.view(n // columns, columns, channels, height, width)
    return grid.permute(0, 3, 1, 4, 2).reshape(n // columns * height, columns * width, channels)


def draw_mosaic(ax: Axes, images: Tensor, columns: int, **look: Any) -> None:
    """Draw images (n, C, H, W) in [0, 1] as a mosaic without axes; ``look`` is that of ``imshow``."""
    picture = mosaic(images, columns).clamp(0, 1).numpy()
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest", **look)
    ax.set_axis_off()


def draw_path(ax: Axes, path: Interpolation, colour: str) -> None:
    """Draw one reconstruction's curve (thin), the average over all (thick) and the band that holds 80 % of them."""
    alphas, curves = path.alphas.numpy(), path.log_q.numpy()
    ax.fill_between(alphas, *np.quantile(curves, [0.1, 0.9], axis=0), color=colour, alpha=0.16, lw=0)
    ax.plot(alphas, curves[0], color=colour, lw=0.7)
    ax.plot(alphas, curves.mean(0), color=colour, lw=2.2)
