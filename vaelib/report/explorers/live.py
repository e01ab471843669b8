"""A decoder that runs in the report: its weights as float16, and a few lines of JavaScript that move all of its latents.

For the fully connected network, whose decoder is three matrices; the residual network keeps its pictures of every stop
(:func:`~vaelib.report.explorers.static.traversal_twin`). A file for each method lies among the twins
(``<figure>.latents-<method>.json``, under 3 MB): numbers and labels, nothing executable.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ... import paths
from ...errors import VaelibError
from ...files import write_json
from ...images import SIDE, as_float
from ...models import VAE
from ...models.vae import FullyConnectedVAE
from ...modes import evaluating
from ..canvas import LABELS
from ..trained import halves
from .frames import informative_latents
from .static import read_checked

ENDING = ".latents-"  # between the name of the figure and that of the method


class Decoder(NamedTuple):
    """A decoder x = h(W₃ relu(W₂ relu(W₁ z + b₁) + b₂) + b₃), the test images to start from, and their encodings.

    Attributes:
        bounded: h is the sigmoid; else the output is cut to [0, 1].
        layers: (outputs, inputs, weights row by row and then biases as float16 in base64) each.
        order: the latents, those that carry most first.
        means: μ(x) of each image.
        images: pixels, a byte each, in base64; (channels, 32, 32).
    """

    method: str
    name: str
    bounded: bool
    channels: int
    layers: list[tuple[int, int, str]]
    order: list[int]
    means: list[list[float]]
    images: list[str]
    labels: list[int]


def can_live(vae: VAE) -> bool:
    """Return True for a VAE whose decoder can run in the page: fully connected, an output a pixel, weights that fit float16."""
    alike = isinstance(vae, FullyConnectedVAE) and vae.channels_out == vae.channels
    return alike and all(map(halves, vae.decoder.parameters()))


def decoder_of(vae: VAE, method: str, images: Tensor, labels: Sequence[int]) -> Decoder:
    """Return a VAE's decoder as numbers, to be moved from the encodings of uint8 ``images`` (N, C, 32, 32).

    Raises:
        VaelibError: it has another decoder.
    """
    if not can_live(vae):
        raise VaelibError(
            f"{method}: only a fully connected decoder with one output a pixel, of weights that float16 can hold, runs in the "
            "page; use traversal_twin"
        )
    with evaluating(vae) as device, torch.inference_mode():
        means = vae.encode(as_float(images.to(device))).mu.cpu()
        layers = []
        for one in (one for one in vae.decoder if isinstance(one, torch.nn.Linear)):
            numbers = torch.cat([one.weight.flatten(), one.bias]).cpu().numpy().astype("<f2")
            layers.append((one.out_features, one.in_features, base64.b64encode(numbers.tobytes()).decode()))
    return Decoder(
        method=method,
        name=LABELS.get(method, method),
        bounded=getattr(vae.likelihood, "bounded", True),
        channels=vae.channels,
        layers=layers,
        order=informative_latents(vae, images).tolist(),
        means=[[round(float(value), 5) for value in row] for row in means],
        images=[base64.b64encode(image.numpy().tobytes()).decode() for image in images.cpu()],
        labels=[int(label) for label in labels],
    )


def keep_decoders(
    vaes: Mapping[str, VAE], images: Tensor, labels: Tensor, profile: str, name: str, count: int = 10
) -> list[Path]:
    """Write the decoders of several methods for the report, beside the figure ``name``; return the files.

    They start from ``count`` of the test ``images``, one of each label as far as there are so many.
    """
    first = [int((labels == label).nonzero()[0, 0]) for label in labels.unique()]
    chosen = (first + [i for i in range(len(labels)) if i not in first])[:count]
    files = [paths.build_root() / profile / f"twins/{name}{ENDING}{method}.json" for method in vaes]
    for (method, vae), file in zip(vaes.items(), files, strict=True):
        write_json(file, decoder_of(vae, method, images[chosen], labels[chosen].tolist())._asdict())
    return files


def read_decoders(folder: Path, name: str) -> list[Decoder]:
    """Return the decoders that lie beside a figure, an empty list without any; raises VaelibError for something else."""
    found = sorted(folder.glob(f"*{ENDING}*.json"), reverse=True)  # normal training at the left of DMaaPx
    return [read_checked(Decoder, path, _check) for path in found if path.name.startswith(f"{name}{ENDING}")]


def _check(decoder: Decoder) -> None:
    """Raise ValueError for a decoder whose parts do not fit."""
    width = len(decoder.order)
    for rows, columns, packed in decoder.layers:
        if columns != width or len(base64.b64decode(packed, validate=True)) != 2 * rows * (columns + 1):
            raise ValueError("a layer has another size")
        width = rows
    pixels = decoder.channels * SIDE * SIDE
    sizes = {len(base64.b64decode(image, validate=True)) for image in decoder.images}
    shapes = [len(row) == len(decoder.order) and all(map(math.isfinite, row)) for row in decoder.means]
    whole = sorted(decoder.order) == list(range(len(decoder.order))) and len(shapes) == len(decoder.images) > 0
    if width != pixels or sizes != {pixels} or not all(shapes) or not whole or len(decoder.labels) != len(shapes):
        raise ValueError("its parts do not fit")
