"""Explorers without a kernel: the pictures of every stop and a range input.

A twin is written by a notebook (``build/<profile>/twins/<name>.json``: pictures and labels, nothing executable), then shown by
the report beside the figure of the same name, and by that notebook. Nothing is fetched from anywhere.
"""

import base64
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import jinja2
import numpy as np
from torch import Tensor

from ... import paths
from ...errors import VaelibError
from ...files import read_json, write_json, write_text
from ...images import as_float
from ...models import VAE
from ...runs import Experiment
from ..publish import stem
from ..trained import load_test_set
from .frames import AttackPicture, MovingPicture, TraversalPicture, informative_latents

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parents[1]), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
Record = TypeVar("Record")
QUALITY, EFFORT = 75, 6  # of the frames (WebP): at 85 and 2 nobody sees a difference, and they take half as much again
TRAVERSAL = ".traversal"  # ends the name of a figure's second slider


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
        return int(np.ravel_multi_index(self.start, [len(stops) for _, stops in self.axes]))

    def _repr_html_(self) -> str:
        return str(TEMPLATES.get_template("twin.html").module.twin(self))


def twin_of(picture: MovingPicture, caption: str) -> Twin:
    """Return every place of a picture as a twin."""
    frames = []
    for image in picture.frames():
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=QUALITY, method=EFFORT)
        frames.append(base64.b64encode(buffer.getvalue()).decode())
    axes = [(name, list(stops)) for name, stops in picture.axes]
    return Twin(axes, list(picture.start), frames, image.width, caption)


def keep(twin: Twin, profile: str, name: str) -> Twin:
    """Write a twin for the report, under the name of the figure it stands beside, and return it."""
    write_json(paths.build_root() / profile / f"twins/{name}.json", twin._asdict())
    return twin


def take_twins(profile: str, name: str) -> list[Path]:
    """Put what moves a figure's latents, as it comes with the project, beside the build's figures; return the files."""
    found = sorted((paths.results_folder(profile) / "twins").glob(f"{name}.*.json"))
    for path in found:
        write_text(paths.build_root() / profile / "twins" / path.name, path.read_text(encoding="utf-8"))
    return found


def read_checked(kind: Callable[..., Record], path: Path, check: Callable[[Record], None]) -> Record:
    """Read a record that a run wrote beside a figure; ``check`` raises ValueError for one whose parts do not fit.

    Raises:
        VaelibError: it is something else.
    """
    try:
        record = kind(**read_json(path))
        check(record)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise VaelibError(f"{path.name} is not readable ({error}); delete it and run its notebook again") from None
    return record


def read_twin(path: Path) -> Twin:
    """Read what :func:`keep` wrote; raises VaelibError for something else."""

    def check(twin: Twin) -> None:
        for frame in twin.frames:
            base64.b64decode(frame, validate=True)
        counts = [len(stops) for _, stops in twin.axes]
        starts = len(twin.start) == len(counts) and all(map(range.__contains__, map(range, counts), twin.start))
        if not starts or math.prod(counts) != len(twin.frames):
            raise ValueError("not one frame for each stop")

    return read_checked(Twin, path, check)


def traversal_twin(
    experiment: Experiment,
    vaes: Mapping[str, VAE],
    index: int,
    *,
    latents: int = 6,
    stops: int = 13,
    figure: str,
) -> Twin:
    """Return, and keep for the report beside a ``figure``, the latents of a test image, moved one at a time.

    They are the most informative ones.
    """
    images, _ = load_test_set(experiment)
    orders = {name: informative_latents(vae, images[:12])[:latents] for name, vae in vaes.items()}
    picture = TraversalPicture(vaes, images[index], orders, stops=stops)
    caption = (
        f"Choose a latent of test image {index}, by its rank in KL to the prior, and drag z: E[x|z] with all other latents "
        "kept, and where q(z|x) lies."
    )
    return keep(twin_of(picture, caption), experiment.profile.name, f"{figure}_{stem(experiment)}{TRAVERSAL}")


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
