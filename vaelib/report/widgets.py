"""Explorers for notebooks, built by plain functions: an ``observe`` callback puts new PNG bytes into a ``widgets.Image``.

==============================  =====================================================================
:func:`interpolation_explorer`  a line between the latents of two test images (Fig. 3)
:func:`traversal_explorer`      one latent of an image moved, the others kept
:func:`attack_explorer`         an image under attack, by radius and steps (Eq. 10)
:func:`curve_explorer`          training curves of the runs in the store
==============================  =====================================================================

Nothing here trains, and neither pyplot nor ``Output`` widgets are used, so nothing piles up or flickers. The trained
VAEs come from :func:`~vaelib.report.smoothness.trained_vaes`, which says what to run where one is missing.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import ipywidgets as widgets
import matplotlib as mpl
import pandas as pd
import torch
from torch import Tensor
from traitlets import link

from ..errors import VaelibError
from ..images import as_float
from ..models import VAE
from ..runs import Store, VAERun
from ..runs.tables import stored_curves
from ..tasks.interpolation import interpolate
from .canvas import GREY, LABELS, STYLE, ReportFigure
from .curve_picture import CurvePicture
from .frames import AttackPicture, MovingPicture, PathPicture, TraversalPicture, informative_latents
from .smoothness import image_row

SIDE = 62  # pixels of a thumbnail and of the button below it
GAP = 4  # between two buttons


def _thumbnails(images: Tensor, names: Mapping[int, str]) -> bytes:
    """Return the row of images to choose from, the chosen ones named."""
    count = len(images)
    width, height = count * (SIDE + GAP) / 100, (SIDE + 22) / 100
    with mpl.rc_context(fname=STYLE):
        figure = ReportFigure(figsize=(width, height))
        ax = figure.add_axes((0, 0, 1, SIDE / 100 / height))
        image_row(ax, images, (0, count))
        for place in range(count):
            look = {"color": "black" if place in names else GREY, "ha": "center", "va": "bottom", "fontsize": 9}
            ax.text(place + 0.5, 1.03, names.get(place, str(place)), **look)
    return figure._repr_png_()


def _choice(images: Tensor, value: int, name: str) -> tuple[widgets.ToggleButtons, widgets.Box]:
    """Return buttons, one below each thumbnail, and the row they stand in, ``name`` at its end."""
    buttons = widgets.ToggleButtons(
        options=[(str(n), n) for n in range(len(images))], value=value, style={"button_width": f"{SIDE}px"}
    )
    buttons.layout.width = f"{len(images) * (SIDE + GAP) + 8}px"
    return buttons, widgets.HBox([buttons, widgets.HTML(f"← <b>{name}</b>")])


def _strip(images: Tensor) -> widgets.Image:
    width = f"{len(images) * (SIDE + GAP)}px"
    return widgets.Image(format="png", layout={"width": width, "min_width": width})


def _picture() -> widgets.Image:
    return widgets.Image(format="png", layout={"max_width": "100%", "align_self": "flex-start"})


def _played(slider: widgets.FloatSlider, stops: int, interval: int = 150) -> widgets.HBox:
    """Return a slider with a button that plays its stops."""
    low, span = slider.min, (slider.max - slider.min) / (stops - 1)
    play = widgets.Play(min=0, max=stops - 1, value=round((slider.value - low) / span), interval=interval)
    there, back = (lambda stop: low + stop * span), (lambda value: round((value - low) / span))
    link((play, "value"), (slider, "value"), transform=(there, back))
    return widgets.HBox([play, slider])


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

    (one, first_row), (two, second_row) = _choice(images, 0, "x₀ (α = 1)"), _choice(images, 1, "x₁ (α = 0)")
    slider = widgets.FloatSlider(value=0.5, min=0, max=1, step=1 / (alphas - 1), description="α")
    thumbnails, panel, note = _strip(images), _picture(), widgets.HTML()

    def move(_=None) -> None:
        if one.value != two.value:
            panel.value = picture(one.value, two.value).png(round(slider.value * (alphas - 1)))

    def choose(_=None) -> None:
        note.value = "" if one.value != two.value else "The same image twice spans no line: choose another."
        thumbnails.value = _thumbnails(images, {one.value: "x₀", two.value: "x₁"})
        move()

    slider.observe(move, "value")
    for choice in (one, two):
        choice.observe(choose, "value")
    choose()
    return widgets.VBox([thumbnails, first_row, second_row, note, _played(slider, alphas), panel])


def _of_one_image(
    images: Tensor, make: Callable[[int], MovingPicture], sliders: widgets.Box, place: Callable[[], tuple[int, ...]]
) -> widgets.VBox:
    """Return a panel that chooses one image and shows ``make(its number)`` at ``place()``."""
    make = lru_cache(maxsize=8)(make)
    choice, row = _choice(images, 0, "x")
    thumbnails, panel, note = _strip(images), _picture(), widgets.HTML()

    def move(_=None) -> None:
        panel.value = make(choice.value).png(*place())

    def choose(_=None) -> None:
        note.value = "One moment…"
        thumbnails.value = _thumbnails(images, {choice.value: "x"})
        move()
        note.value = ""

    choice.observe(choose, "value")
    choose()
    box = widgets.VBox([thumbnails, row, note, sliders, panel])
    box.move = move  # for the sliders' own observers
    return box


def traversal_explorer(
    vaes: Mapping[str, VAE], images: Tensor, *, latents: int = 16, stops: int = 25, reach: float = 3.0
) -> widgets.VBox:
    """Return a panel to move one latent of an image and keep the others: choose the image and the latent, then drag z_i.

    Latents are ranked by their KL to the prior over ``images``, method by method, since they share no numbering.

    Arguments:
        vaes, images: as for :func:`interpolation_explorer`.
        latents: how many to offer, the most informative first.
        stops, reach: z_i moves over this many stops from −reach to reach, in standard deviations of the prior.
    """
    images = as_float(images.cpu())
    orders = {name: informative_latents(vae, images)[:latents] for name, vae in vaes.items()}
    ranks = [(str(rank + 1), rank) for rank in range(min(map(len, orders.values())))]
    rank = widgets.SelectionSlider(options=ranks, value=0, description="latent")
    slider = widgets.FloatSlider(value=0, min=-reach, max=reach, step=2 * reach / (stops - 1), description="z_i")

    def place() -> tuple[int, int]:
        return rank.value, round((slider.value + reach) / (2 * reach) * (stops - 1))

    def make(number: int) -> TraversalPicture:
        return TraversalPicture(vaes, images[number], orders, stops=stops, reach=reach)

    box = _of_one_image(images, make, widgets.VBox([rank, _played(slider, stops)]), place)
    for one in (rank, slider):
        one.observe(box.move, "value")
    return box


def attack_explorer(
    vaes: Mapping[str, VAE],
    images: Tensor,
    *,
    radius: float = 0.2,
    radii: int = 11,
    steps: int = 50,
    every: int = 5,
    **options,
) -> widgets.VBox:
    """Return a panel to attack an image (Eq. 10): choose it, then move the radius δ and the number of steps.

    The attacks of all radii are made when an image is chosen (about a second); the sliders then only look them up.

    Arguments:
        vaes, images: as for :func:`interpolation_explorer`; δ = 0.1 and 50 steps are the paper's for grey images.
        radius, radii: δ moves from 0 to ``radius`` over ``radii`` stops.
        steps, every: the number of steps moves from 0 to ``steps`` by ``every``.
        options: ``variant`` of MS-SSIM; ``lr``, ``gradient``, ``seed`` of :func:`~vaelib.gaps.attack_encoder`.
    """
    images, grid = as_float(images.cpu()), torch.linspace(0, radius, radii).tolist()
    delta = widgets.FloatSlider(
        value=grid[radii // 2], min=0, max=radius, step=radius / (radii - 1), description="δ", readout_format=".2f"
    )
    count = widgets.IntSlider(value=steps // every * every, min=0, max=steps // every * every, step=every)
    count.description = "steps"

    def make(number: int) -> AttackPicture:
        return AttackPicture(vaes, images[number], radii=grid, steps=steps, every=every, index=number, **options)

    def place() -> tuple[int, int]:
        return round(delta.value / radius * (radii - 1)), count.value // every

    box = _of_one_image(images, make, widgets.HBox([_played(delta, radii, 400), count]), place)
    for slider in (delta, count):
        slider.observe(box.move, "value")
    return box


def _labelled(found: Iterable[tuple[VAERun, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Return curves under names that a reader tells apart; the method stays in ``attrs``."""
    curves, order = {}, list(LABELS)

    def place(one: tuple[VAERun, pd.DataFrame]) -> tuple:
        vae = one[0]
        return vae.data.name, vae.network.likelihood, vae.epochs, vae.seed, order.index(vae.method), vae.key

    for vae, curve in sorted(found, key=place):
        network = vae.network
        size = f" nc{network.nc} mz{network.mz}" if network.architecture == "residual" else ""
        name = f"{LABELS[vae.method]} · seed {vae.seed} · {Path(vae.data.name).stem} "
        name += f"{network.likelihood}{size} · N = {vae.data.n_train:,} · {vae.epochs} epochs"
        curves[f"{name} · {vae.key[:6]}" if name in curves else name] = curve
        curve.attrs["method"] = vae.method
    return curves


def curve_explorer(store: Store | None = None, *, quantity: str = "elbo_test", chosen: int = 4) -> widgets.VBox:
    """Return a panel of the training curves in the store: pick runs and a quantity, smooth, take a logarithmic axis.

    Arguments:
        quantity: shown first; nats per image.
        chosen: how many runs are picked at the start, of those that differ in their method alone.

    Raises:
        VaelibError: the store holds no trained VAE.
    """
    curves = _labelled(stored_curves(store or Store()))
    if not curves:
        raise VaelibError(
            "no VAE has been trained yet: run `make`, or `vaelib run three_gaps --profile smoke` (seconds)"
        )
    names = list(curves)
    alike: dict[str, list[str]] = {}  # runs that differ in their method alone
    for name in names:
        alike.setdefault(name.partition(" · ")[2], []).append(name)
    most = max(alike.values(), key=len)
    runs = widgets.SelectMultiple(options=names, value=most[:chosen], rows=min(10, len(names)))
    runs.layout.width = "36em"
    known = sorted({one for curve in curves.values() for one in curve["quantity"]})
    which = widgets.Dropdown(options=known, value=quantity if quantity in known else known[0], description="quantity")
    smooth = widgets.FloatSlider(value=0, min=0, max=0.95, step=0.05, description="smooth")
    log = widgets.Checkbox(value=False, description="logarithmic epochs")
    panel, shown = _picture(), []

    def move(_=None) -> None:
        panel.value = shown[0].png(round(smooth.value / 0.05))

    def choose(_=None) -> None:
        shown[:] = [CurvePicture({name: curves[name] for name in runs.value}, which.value, log=log.value)]
        move()

    smooth.observe(move, "value")
    for one in (runs, which, log):
        one.observe(choose, "value")
    choose()
    return widgets.VBox([widgets.HBox([runs, widgets.VBox([which, smooth, log])]), panel])
