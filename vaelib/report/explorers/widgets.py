"""Explorers for notebooks, built by plain functions: an ``observe`` callback puts new PNG bytes into a ``widgets.Image``.

| explorer                       | shows                                                  |
| ------------------------------ | ------------------------------------------------------ |
| :func:`interpolation_explorer` | a line between the latents of two test images (Fig. 3) |
| :func:`traversal_explorer`     | one latent of an image moved, the others kept          |
| :func:`attack_explorer`        | an image under attack, by radius and steps (Eq. 10)    |

Nothing here trains, and neither pyplot nor ``Output`` widgets are used, so nothing piles up or flickers. The trained
VAEs come from :func:`~vaelib.report.trained.trained_vaes`, which says what to run where one is missing.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

import ipywidgets as widgets
import torch
from torch import Tensor

from ...errors import VaelibError
from ...images import as_float
from ...models import VAE
from ...tasks.interpolation import interpolate
from .controls import choices, picture, played
from .frames import AttackPicture, MovingPicture, PathPicture, TraversalPicture, informative_latents

TRAVERSED = "E[x|z] of each method as one latent moves, and where q(z|x) lies"
ATTACKED = "the image under attack, the reconstructions of each method, and MS-SSIM over the steps"


def interpolation_explorer(
    vaes: Mapping[str, VAE], images: Tensor, *, alphas: int = 21, samples: int = 4
) -> widgets.VBox:
    """Return a panel to walk between the latents of two of ``images``: choose both, then move or play α.

    Arguments:
        vaes: trained VAEs by method (``normal``, ``dmaapx``); each keeps its device.
        images: (n, C, H, W) test images to choose from, uint8 or floats in [0, 1]; a dozen fit on a screen.
        alphas, samples: as for :func:`~vaelib.tasks.interpolation.interpolate`.

    Raises:
        VaelibError: fewer than two images.
    """
    if len(images) < 2:
        raise VaelibError(f"images = {len(images)} of them leave no choice; give at least two")
    images = as_float(images.cpu())

    @lru_cache(maxsize=8)
    def path(first: int, second: int) -> PathPicture:
        options = {"alphas": alphas, "samples": samples}
        return PathPicture({name: interpolate(v, images[first], images[second], **options) for name, v in vaes.items()})

    (one, two), cells = choices(images, **{"x₀": 0, "x₁": 1})
    slider = widgets.FloatSlider(value=0.5, min=0, max=1, step=1 / (alphas - 1), description="α")
    panel, note = picture(), widgets.HTML("Choose two images: x₀ is shown at α = 1, x₁ at α = 0.")
    asked = note.value

    def move(_=None) -> None:
        if one.value != two.value:
            panel.value = path(one.value, two.value).png(round(slider.value * (alphas - 1)))

    def choose(_=None) -> None:
        note.value = asked if one.value != two.value else "The same image twice spans no line: choose another."
        panel.tooltip = (
            f"E[x|z] of each method between images {two.value} (α = 0) and {one.value} (α = 1), "
            "and log q with a marker at α"
        )
        move()

    slider.observe(move, "value")
    for choice in (one, two):
        choice.observe(choose, "value")
    choose()
    return widgets.VBox([note, cells, played(slider, alphas), panel])


def _of_one_image(
    images: Tensor,
    make: Callable[[int], MovingPicture],
    sliders: widgets.Box,
    place: Callable[[], tuple[int, ...]],
    shown: str,
) -> widgets.VBox:
    """Return a panel that chooses one image and shows ``make(its number)`` at ``place()``; ``shown`` says what that is."""
    make = lru_cache(maxsize=8)(make)
    (choice,), cells = choices(images, x=0)
    panel, note = picture(), widgets.HTML()

    def move(_=None) -> None:
        panel.value = make(choice.value).png(*place())

    def choose(_=None) -> None:
        note.value = "One moment…"
        panel.tooltip = f"image {choice.value}: {shown}"
        move()
        note.value = ""

    choice.observe(choose, "value")
    choose()
    box = widgets.VBox([cells, note, sliders, panel])
    box.move = move  # for the sliders' own observers
    return box


def traversal_explorer(vaes: Mapping[str, VAE], images: Tensor) -> widgets.VBox:
    """Return a panel to move one latent of an image and keep the others: choose the image and the latent, then drag z_i.

    Sixteen latents are ranked by their KL to the prior over ``images``, method by method, since they share no numbering; z_i
    moves over three standard deviations of the prior either way. Arguments are those of :func:`interpolation_explorer`.
    """
    images = as_float(images.cpu())
    orders = {name: informative_latents(vae, images)[:16] for name, vae in vaes.items()}
    ranks = [(str(rank + 1), rank) for rank in range(min(map(len, orders.values())))]
    rank = widgets.SelectionSlider(options=ranks, value=0, description="latent")
    slider = widgets.FloatSlider(value=0, min=-3, max=3, step=0.25, description="z_i")

    def place() -> tuple[int, int]:
        return rank.value, round((slider.value + 3) / 0.25)

    def make(number: int) -> TraversalPicture:
        return TraversalPicture(vaes, images[number], orders, stops=25)

    box = _of_one_image(images, make, widgets.VBox([rank, played(slider, 25)]), place, TRAVERSED)
    for one in (rank, slider):
        one.observe(box.move, "value")
    return box


def attack_explorer(vaes: Mapping[str, VAE], images: Tensor, **options) -> widgets.VBox:
    """Return a panel to attack an image (Eq. 10): choose it, then move the radius δ, up to 0.2, and the number of steps.

    The attacks of all radii are made when an image is chosen (about a second); the sliders then only look them up.

    Arguments:
        vaes, images: as for :func:`interpolation_explorer`; δ = 0.1 and 50 steps are the paper's for grey images.
        options: ``variant`` of MS-SSIM; ``lr``, ``gradient``, ``seed`` of :func:`~vaelib.gaps.attack_encoder`.
    """
    images, grid = as_float(images.cpu()), torch.linspace(0, 0.2, 11).tolist()
    delta = widgets.FloatSlider(value=grid[5], min=0, max=0.2, step=0.02, description="δ", readout_format=".2f")
    count = widgets.IntSlider(value=50, min=0, max=50, step=5, description="steps")

    def make(number: int) -> AttackPicture:
        return AttackPicture(vaes, images[number], radii=grid, steps=50, every=5, index=number, **options)

    def place() -> tuple[int, int]:
        return round(delta.value / 0.02), count.value // 5

    box = _of_one_image(images, make, widgets.HBox([played(delta, 11, 400), count]), place, ATTACKED)
    for slider in (delta, count):
        slider.observe(box.move, "value")
    return box
