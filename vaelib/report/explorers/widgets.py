"""Explorers for notebooks, built by plain functions: an ``observe`` callback puts new PNG bytes into a ``widgets.Image``.

==============================  =====================================================================
:func:`interpolation_explorer`  a line between the latents of two test images (Fig. 3)
:func:`traversal_explorer`      one latent of an image moved, the others kept
:func:`attack_explorer`         an image under attack, by radius and steps (Eq. 10)
:func:`curve_explorer`          training curves of the runs in the store
==============================  =====================================================================

Nothing here trains, and neither pyplot nor ``Output`` widgets are used, so nothing piles up or flickers. The trained
VAEs come from :func:`~vaelib.report.trained.trained_vaes`, which says what to run where one is missing.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...errors import VaelibError
from ...images import as_float
from ...models import VAE
from ...runs import Store, VAERun
from ...runs.tables import stored_curves
from ...tasks.interpolation import interpolate
from ..canvas import LABELS
from ..reference import setting
from .controls import WRAPPED, choices, picture, played
from .curves import STEP, CurvePicture, heaviest, known_quantities, told, with_gap
from .frames import AttackPicture, MovingPicture, PathPicture, TraversalPicture, informative_latents

TRAVERSED = "E[x|z] of each method as one latent moves, and where q(z|x) lies"
ATTACKED = "the image under attack, the reconstructions of each method, and MS-SSIM over the steps"


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
    def path(first: int, second: int) -> PathPicture:
        options = {"alphas": alphas, "samples": samples, "seed": seed}
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

    box = _of_one_image(images, make, widgets.VBox([rank, played(slider, stops)]), place, TRAVERSED)
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

    box = _of_one_image(images, make, widgets.HBox([played(delta, radii, 400), count]), place, ATTACKED)
    for slider in (delta, count):
        slider.observe(box.move, "value")
    return box


def _told(vae: VAERun) -> tuple[str, str]:
    """Return a run's list (what it shares with others that may be compared) and its name there, for a reader."""
    network, data = vae.network, vae.data
    kind = "residual" if network.architecture == "residual" else "fully connected"
    group = f"{setting(data.name, network.likelihood)} · {kind} network"
    group += f" · N = {data.n_train:,} · {vae.epochs:,} epochs"
    method = vae.method if vae.mollify == "none" else f"{vae.method}_mollify"
    name = f"{LABELS.get(method, LABELS[vae.method])} · seed {vae.seed}"
    name += f" · nc = {network.nc}, mz = {network.mz}" if network.architecture == "residual" else ""
    name += f" · k = {vae.k}" if vae.k else ""
    return group, name + (f" · {vae.real_share:.0%} real images" if vae.real_share is not None else "")


def _lists(found: Iterable[tuple[VAERun, pd.DataFrame]]) -> dict[str, dict[str, pd.DataFrame]]:
    """Return curves by list and name, the list that shows most methods (of the most training) first, all runs last.

    The method stays in ``attrs``.
    """
    order, lists, every = list(LABELS), {}, {}
    found = sorted(found, key=lambda one: (order.index(one[0].method), one[0].seed, one[0].key))
    cost = {_told(vae)[0]: vae.epochs * vae.data.n_train for vae, _ in found}
    methods = {group: {vae.method for vae, _ in found if _told(vae)[0] == group} for group in cost}
    for group in sorted(cost, key=lambda group: (-len(methods[group]), -cost[group], group)):
        curves = lists[group] = {}
        for vae, curve in found:
            if _told(vae)[0] == group:
                name = _told(vae)[1]
                name = f"{name} · {vae.key[:6]}" if name in curves else name
                curves[name] = every[f"{name} · {group}"] = with_gap(curve)
                curves[name].attrs["method"] = vae.method
    return lists | ({"all runs in the store": every} if len(lists) > 1 else {})


def curve_explorer(store: Store | None = None, *, quantity: str = "elbo_test", chosen: int = 4) -> widgets.VBox:
    """Return a panel of the training curves in the store: pick a list, runs and a quantity, smooth, take a log axis.

    Runs of one data set, network, N and number of epochs form a list; so runs of another profile have one of their own.

    Arguments:
        quantity: shown first; nats per image.
        chosen: how many runs are picked at the start, of those that differ in their method alone.

    Raises:
        VaelibError: the store holds no trained VAE.
    """
    lists = _lists(stored_curves(store or Store()))
    if not lists:
        raise VaelibError(
            "no VAE has been trained yet: run `make`, or `vaelib run three_gaps --profile smoke` (seconds)"
        )
    known = known_quantities(curve for curves in lists.values() for curve in curves.values())
    wide = {"width": "max-content", "max_width": "100%"}  # no name is cut
    which_list = widgets.Dropdown(options=list(lists), description="runs of", layout=wide)
    runs = widgets.SelectMultiple(description="runs", layout=wide)
    which = widgets.Dropdown(options=[(told(name)[0], name) for name in known], description="quantity", layout=wide)
    which.value = quantity if quantity in known else known[0]
    smooth = widgets.FloatSlider(value=0, min=0, max=0.95, step=STEP, description="smooth")
    log = widgets.Checkbox(value=False, description="logarithmic epochs")
    panel, shown = picture(), []

    def move(_=None) -> None:
        panel.value = shown[0].png(round(smooth.value / STEP))

    def choose(_=None) -> None:
        curves = lists[which_list.value]
        shown[:] = [CurvePicture({name: curves[name] for name in runs.value}, which.value, log=log.value)]
        panel.tooltip = f"{told(which.value)[0]} over effective epochs: {'; '.join(runs.value) or 'no run'}"
        move()

    def change_list(_=None) -> None:
        curves = lists[which_list.value]
        epochs = [curve["effective_epoch"].unique() for curve in curves.values()]
        smooth.max = heaviest(map(np.sort, epochs))
        alike: dict[str, list[str]] = {}  # runs that differ in their method alone
        for name in curves:
            alike.setdefault(name.partition(" · ")[2], []).append(name)
        runs.unobserve(choose, "value")
        runs.options, runs.rows = list(curves), min(10, len(curves))
        runs.value = max(alike.values(), key=len)[:chosen]
        runs.observe(choose, "value")
        choose()

    which_list.observe(change_list, "value")
    smooth.observe(move, "value")
    for one in (runs, which, log):
        one.observe(choose, "value")
    change_list()
    return widgets.VBox([which_list, widgets.HBox([runs, widgets.VBox([which, smooth, log])], layout=WRAPPED), panel])
