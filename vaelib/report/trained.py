"""What drawing reads from the store, or of what was shipped: an experiment's test images and its trained VAEs.

Weights that come with the project are in half precision, small enough for that: ``build/<profile>/weights``, packed from there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import paths
from ..errors import VaelibError
from ..models import VAE
from ..models.weights import load_weights
from ..runs import Experiment, Store, load_vae, run
from ..runs.settings import Artifact
from ..runs.stages import build_vae
from ..runs.stages.context import pick_device
from ..runs.store import TENSORS, load_split, load_tensors, save_tensors
from ..runs.tables import shipped_file
from .canvas import LABELS
from .publish import command_of


def load_test_set(experiment: Experiment) -> tuple[Tensor, Tensor]:
    """Return the experiment's test images, (N, C, 32, 32) uint8, and their labels."""
    if experiment.profile.use_results:
        run([experiment.data])  # reads them, which is no training
    return tuple(load_split(Store(), experiment.data, name) for name in ("test", "test_labels"))


def trained_vaes(experiment: Experiment, methods: Sequence[str] | None = None) -> dict[str, VAE]:
    """Return the trained VAE of seed 0 of each series (or of ``methods``), read from the store; nothing is trained here.

    Under ``use_results`` they are those that were shipped, in half precision.

    Of several VAEs of a series it is the first one: the sensitivity panel trains some again under another setting.

    Raises:
        VaelibError: one is not there yet, with the command that makes it.
    """
    store, vaes, device = Store(), {}, pick_device()
    for point in experiment.points:
        if point.vae.seed == 0 and point.series not in vaes and (methods is None or point.series in methods):
            if experiment.profile.use_results:
                vae = vaes[point.series] = build_vae(point.vae.network, experiment.data.channels).to(device)
                kept_weights(paths.weights_file(paths.results_folder(experiment.profile.name), point.vae.key), vae)
                continue
            if not store.has_manifest(point.vae):
                making = command_of(experiment)
                raise VaelibError(
                    f"{LABELS.get(point.series, point.series)}, seed 0, is not in the store: run `{making}` (with your "
                    "overrides as --set name=value), or the notebook's own cells above; or set use_results=true"
                )
            vaes[point.series] = load_vae(point.vae, store, device=device)
    return vaes


def halves(numbers: Tensor) -> bool:
    """Return whether numbers have a half precision in which none becomes infinite."""
    return numbers.is_floating_point() and bool(numbers.half().isfinite().all())


def keep_weights(path: Path, vae: VAE, **about: Any) -> None:
    """Write a VAE's weights in half precision, what is too large for it as it is, with facts ``about`` it."""
    save_tensors(path, {name: one.half() if halves(one) else one for name, one in vae.state_dict().items()}, about)


def kept_weights(path: Path, vae: VAE) -> dict[str, Any]:
    """Load what :func:`keep_weights` wrote into ``vae``; return the facts about it.

    Raises:
        VaelibError: it was not shipped.
    """
    tensors, about = load_tensors(shipped_file(path))
    load_weights(vae, {name: one.float() if one.dtype == torch.half else one for name, one in tensors.items()}, path)
    vae.eval()
    return about


def keep_for_explorers(experiment: Experiment, vaes: Mapping[str, VAE], *kinds: type[Artifact]) -> None:
    """Put an experiment's VAEs by series, and the tensors of what was measured of ``kinds``, where they may be packed from.

    Under ``use_results`` there is nothing to keep.
    """
    if experiment.profile.use_results:
        return
    folder, store = paths.build_root() / experiment.profile.name, Store()
    firsts = {point.series: point for point in reversed(experiment.points) if point.subject.seed == 0}
    for series, vae in vaes.items():
        keep_weights(paths.weights_file(folder, firsts[series].vae.key), vae)
    for one in (point.run for kind in kinds for point in experiment.measured(kind)):
        tensors, about = load_tensors(store.require(one) / TENSORS)
        save_tensors(paths.weights_file(folder, one.key), tensors, about)
