"""Explorers without a kernel: the pictures of every stop and a range input, or curves that the page itself draws.

A twin is written by a run (``build/<profile>/twins/<name>.json``: pictures and labels, nothing executable), then shown by
the report beside the figure of the same name, and by the notebook that made it. Curves need no file of their own: the
report has their table. Nothing is fetched from anywhere.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
import pandas as pd
from torch import Tensor

from ... import paths
from ...errors import VaelibError
from ...files import read_json, write_json
from ...images import as_float
from ...models import VAE
from ...runs import Experiment
from ...tasks.interpolation import interpolate
from ..canvas import COLOURS, LABELS, MARKERS
from ..publish import stem
from ..trained import load_test_set
from .curves import heaviest, known_quantities, told, with_gap
from .frames import AttackPicture, MovingPicture, PathPicture, TraversalPicture, informative_latents

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parents[1]), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
QUALITY = 85  # of the frames (WebP)
TRAVERSAL = ".traversal"  # ends the name of a figure's second slider
DASHES = ("", "7 3", "2 3", "7 3 2 3")  # of the curves of one method, by seed
# The markers of canvas.MARKERS around (0, 0).
SHAPES = {
    "o": "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0z",
    "s": "M-2.8,-2.8h5.6v5.6h-5.6z",
    "D": "M0,-4L4,0L0,4L-4,0z",
    "^": "M0,-4L3.6,2.6H-3.6z",
    "v": "M0,4L3.6,-2.6H-3.6z",
    "P": "M-1.3,-3.8h2.6v2.5h2.5v2.6h-2.5v2.5h-2.6v-2.5h-2.5v-2.6h2.5z",
    "X": "M-3.5,-2L-2,-3.5L0,-1.5L2,-3.5L3.5,-2L1.5,0L3.5,2L2,3.5L0,1.5L-2,3.5L-3.5,2L-1.5,0z",
}


class Twin(NamedTuple):
    """Frames as base64 WebP, the last slider's stops fastest.

    Attributes:
        axes: the sliders, (name, labels of the stops) each.
        start: a stop's number for each slider, shown first.
        frames: one picture for each combination of stops.
        width: of a picture, in CSS pixels.
    """

    axes: list[tuple[str, list[str]]]
    start: list[int]
    frames: list[str]
    width: int
    caption: str

    @property
    def shown(self) -> int:
        """Return the number of the frame shown first."""
        place = 0
        for (_, stops), start in zip(self.axes, self.start, strict=True):
            place = place * len(stops) + start
        return place

    def _repr_html_(self) -> str:
        return str(TEMPLATES.get_template("twin.html").module.twin(self))


def twin_of(picture: MovingPicture, caption: str) -> Twin:
    """Return every place of a picture as a twin."""
    frames = []
    for image in picture.frames():
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=QUALITY, method=2)
        frames.append(base64.b64encode(buffer.getvalue()).decode())
    axes = [(name, list(stops)) for name, stops in picture.axes]
    return Twin(axes, list(picture.start), frames, image.width, caption)


def twins_folder(profile: str) -> Path:
    """Return ``build/<profile>/twins``."""
    return paths.build_root() / profile / "twins"


def keep(twin: Twin, profile: str, name: str) -> Twin:
    """Write a twin for the report, under the name of the figure it stands beside, and return it."""
    write_json(twins_folder(profile) / f"{name}.json", twin._asdict())
    return twin


def read_twin(path: Path) -> Twin:
    """Read what :func:`keep` wrote.

    Raises:
        VaelibError: it is something else.
    """
    try:
        twin = Twin(**read_json(path))
        whole = math.prod(len(stops) for _, stops in twin.axes) == len(twin.frames) > twin.shown >= 0
        for frame in twin.frames:
            base64.b64decode(frame, validate=True)
    except (ValueError, TypeError) as error:
        raise VaelibError(f"{path.name} is no readable twin ({error}); delete it and run its notebook again") from None
    if not whole:
        raise VaelibError(f"{path.name} has not one frame for each stop; delete it and run its notebook again")
    return twin


def interpolation_twin(
    experiment: Experiment, vaes: Mapping[str, VAE], pair: Sequence[int], *, alphas: int = 21, samples: int = 4
) -> Twin:
    """Return, and keep for the report, the slider of Fig. 3 between two test images, given by number."""
    images, _ = load_test_set(experiment)
    path = {
        name: interpolate(vae, images[pair[0]], images[pair[1]], alphas=alphas, samples=samples)
        for name, vae in vaes.items()
    }
    caption = f"Drag α: E[x|z] between test images {pair[1]} (α = 0) and {pair[0]} (α = 1), and log q with a marker."
    return keep(twin_of(PathPicture(path), caption), experiment.profile.name, f"fig03_{stem(experiment)}")


def traversal_twin(
    experiment: Experiment, vaes: Mapping[str, VAE], index: int, *, latents: int = 6, stops: int = 13
) -> Twin:
    """Return, and keep for the report beside Fig. 3, one test image's most informative latents, moved one at a time."""
    images, _ = load_test_set(experiment)
    orders = {name: informative_latents(vae, images[:12])[:latents] for name, vae in vaes.items()}
    picture = TraversalPicture(vaes, images[index], orders, stops=stops)
    caption = (
        f"Choose a latent of test image {index}, by its rank in KL to the prior, and drag z: E[x|z] with all other latents "
        "kept, and where q(z|x) lies."
    )
    return keep(twin_of(picture, caption), experiment.profile.name, f"fig03_{stem(experiment)}{TRAVERSAL}")


def attack_twin(
    vaes: Mapping[str, VAE], images: Tensor, index: int, profile: str, name: str, *, steps: int = 50, **options
) -> Twin:
    """Return, and keep for the report as ``name``, the attack on one of ``images`` by radius δ and number of steps."""
    radii = [0.0, 0.02, 0.05, 0.1, 0.15, 0.2]
    picture = AttackPicture(
        vaes, as_float(images[index]), radii=radii, steps=steps, every=max(1, steps // 5), index=index, **options
    )
    caption = (
        f"Drag δ and the steps: test image {index} under attack (Eq. 10), its reconstructions, and MS-SSIM of both."
    )
    return keep(twin_of(picture, caption), profile, name)


class CurveTwin(NamedTuple):
    """Training curves that a page draws: a checkbox for each run, a quantity, smoothing, a logarithmic axis.

    Attributes:
        runs: name, colour, dashes and marker (an SVG path) of each.
        points: by quantity and in the order of ``runs``, the epochs and the values of each.
        names: by quantity, its name for a reader and its unit.
        first: the quantity shown first.
        heaviest: the largest weight of the average.
    """

    runs: list[tuple[str, str, str, str]]
    points: dict[str, list[tuple[list[float], list[float]]]]
    names: dict[str, tuple[str, str]]
    first: str
    heaviest: float
    caption: str

    def _repr_html_(self) -> str:
        return str(TEMPLATES.get_template("curves.html").module.curves(self))


def curve_twin(curves: pd.DataFrame, first: str = "elbo_test") -> CurveTwin:
    """Return the runs of one setting in ``curves.csv`` as a twin of :func:`~vaelib.report.explorers.widgets.curve_explorer`."""
    curves = with_gap(curves.dropna(subset="value")).sort_values("effective_epoch")
    keys = sorted(
        set(zip(curves["method"], curves["seed"], strict=True)), key=lambda k: (list(LABELS).index(k[0]), k[1])
    )
    runs, points = [], {quantity: [] for quantity in known_quantities([curves])}
    for method, seed in keys:
        look = COLOURS[method], DASHES[seed % len(DASHES)], SHAPES[MARKERS[method]]
        runs.append((f"{LABELS[method]} · seed {seed}", *look))
        rows = curves[(curves["method"] == method) & (curves["seed"] == seed)]
        for quantity, series in points.items():
            own = rows[rows["quantity"] == quantity]
            series.append((own["effective_epoch"].tolist(), [float(f"{value:.6g}") for value in own["value"]]))
    caption = (
        "Every run by itself: pick runs and a quantity, smooth, take a logarithmic axis. Smoothing is an exponential moving "
        "average that begins after the first fifth of a run's epochs, which stays as it is."
    )
    names = {quantity: told(quantity) for quantity in points}
    most = heaviest(np.array(epochs) for series in points.values() for epochs, _ in series)
    return CurveTwin(runs, points, names, first if first in points else next(iter(points)), round(most, 2), caption)
