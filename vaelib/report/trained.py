"""What drawing reads from the store, or of what was shipped: an experiment's test images and its trained VAEs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import paths
from ..errors import VaelibError
from ..models import VAE
from ..models.weights import load_weights
from ..runs import Artifact, Experiment, Store, VAERun, load_vae, run
from ..runs.stages import build_vae
from ..runs.stages.context import pick_device
from ..runs.store import TENSORS, load_array, load_tensors, save_tensors
from .canvas import LABELS
from .publish import command_of


def load_test_set(experiment: Experiment) -> tuple[Tensor, Tensor]:
    """Return the experiment's test images, (N, C, 32, 32) uint8, and their labels."""
    if experiment.profile.use_results:
        run([experiment.data])  # reads them, which is no training
    folder = Store().require(experiment.data)
    images, labels = (np.array(load_array(folder / f"{name}.npy")) for name in ("test", "test_labels"))
    return torch.from_numpy(images), torch.from_numpy(labels)


def trained_vaes(
    experiment: Experiment, seed: int = 0, device: str = "auto", methods: Sequence[str] | None = None
) -> dict[str, VAE]:
    """Return the trained VAE of each series (or of ``methods``), read from the store; nothing is trained here.

    Under ``use_results`` they are those that were shipped, in half precision.

    Of several VAEs of a series and seed it is the first one: the sensitivity panel trains some again under another setting.

    Raises:
        VaelibError: one is not there yet, with the command that makes it.
    """
    store, vaes = Store(), {}
    for point in experiment.points:
        if point.vae.seed == seed and point.series not in vaes and (methods is None or point.series in methods):
            if experiment.profile.use_results:
                vaes[point.series] = _shipped(point.vae, experiment.profile.name).to(pick_device(device))
                continue
            if not store.has_manifest(point.vae):
                making = command_of(experiment)
                raise VaelibError(
                    f"{LABELS.get(point.series, point.series)}, seed {seed}, is not in the store: run `{making}` (with your "
                    "overrides as --set name=value), or the notebook's own cells above; or set use_results=true"
                )
            vaes[point.series] = load_vae(point.vae, store, device=pick_device(device))
    return vaes


def weights_folder(profile: str) -> Path:
    """Return ``build/<profile>/weights``: what explorers need of VAEs, small enough to be shipped."""
    return paths.build_root() / profile / "weights"


def keep_weights(path: Path, vae: VAE, **about: Any) -> None:
    """Write a VAE's weights in half precision, with facts ``about`` it."""
    halves = {name: one.half() if one.is_floating_point() else one for name, one in vae.state_dict().items()}
    save_tensors(path, halves, about)


def kept_weights(path: Path, vae: VAE) -> dict[str, Any]:
    """Load what :func:`keep_weights` wrote into ``vae``; return the facts about it.

    Raises:
        VaelibError: it was not shipped.
    """
    if not path.exists():
        raise VaelibError(
            f"use_results: {paths.shown(path)} does not come with the project (another setting, or never packed); leave "
            "use_results out, and it is computed"
        )
    tensors, about = load_tensors(path)
    load_weights(vae, {name: one.float() if one.dtype == torch.half else one for name, one in tensors.items()}, path)
    vae.eval()
    return about


def keep_for_explorers(experiment: Experiment, vaes: Mapping[str, VAE], *kinds: type[Artifact]) -> None:
    """Put an experiment's VAEs by series, and the tensors of what was measured of ``kinds``, where they may be packed from.

    Under ``use_results`` there is nothing to keep.
    """
    if experiment.profile.use_results:
        return
    folder, store = weights_folder(experiment.profile.name), Store()
    runs = {point.series: point.vae for point in reversed(experiment.points) if point.vae.seed == 0}
    for series, vae in vaes.items():
        keep_weights(folder / f"{runs[series].key}.safetensors", vae)
    for one in (point.run for kind in kinds for point in experiment.measured(kind)):
        tensors, about = load_tensors(store.require(one) / TENSORS)
        save_tensors(folder / f"{one.key}.safetensors", tensors, about)


def _shipped(settings: VAERun, profile: str) -> VAE:
    vae = build_vae(settings.network, settings.data.channels)
    kept_weights(paths.results_folder(profile) / f"weights/{settings.key}.safetensors", vae)
    return vae
