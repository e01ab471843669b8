"""Weights of VAEs in half precision, small enough to come with the project: ``build/<profile>/weights``, packed from there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import paths
from ..errors import VaelibError
from ..models import VAE
from ..models.weights import load_weights
from .experiments import Experiment
from .settings import Artifact, VAERun
from .stages import build_vae
from .store import TENSORS, Store, load_tensors, save_tensors


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
    firsts = {point.series: point for point in reversed(experiment.points) if point.subject.seed == 0}
    for series, vae in vaes.items():
        keep_weights(folder / f"{firsts[series].vae.key}.safetensors", vae)
    for one in (point.run for kind in kinds for point in experiment.measured(kind)):
        tensors, about = load_tensors(store.require(one) / TENSORS)
        save_tensors(folder / f"{one.key}.safetensors", tensors, about)


def shipped_vae(settings: VAERun, profile: str) -> VAE:
    """Return a VAE that came with the project."""
    vae = build_vae(settings.network, settings.data.channels)
    kept_weights(paths.results_folder(profile) / f"weights/{settings.key}.safetensors", vae)
    return vae
