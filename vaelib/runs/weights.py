"""Weights of VAEs in half precision, small enough to come with the project: ``build/<profile>/weights``, packed from there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import paths
from ..errors import VaelibError
from ..models import VAE
from ..models.weights import load_weights
from .experiments import Experiment
from .settings import Artifact
from .store import TENSORS, Store, load_tensors, save_tensors


def weights_file(folder: Path, name: str) -> Path:
    """Return where a build's ``folder``, or that of shipped results, has weights."""
    return folder / "weights" / f"{name}.safetensors"


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
    folder, store = paths.build_root() / experiment.profile.name, Store()
    firsts = {point.series: point for point in reversed(experiment.points) if point.subject.seed == 0}
    for series, vae in vaes.items():
        keep_weights(weights_file(folder, firsts[series].vae.key), vae)
    for one in (point.run for kind in kinds for point in experiment.measured(kind)):
        tensors, about = load_tensors(store.require(one) / TENSORS)
        save_tensors(weights_file(folder, one.key), tensors, about)
