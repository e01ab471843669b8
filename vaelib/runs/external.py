"""What others made, as settings: a pretrained teacher or a published sample set in place of our own teacher and bank."""

import re
from pathlib import Path

from .. import files, paths
from ..errors import VaelibError
from ..models.pretrained import AVERAGE, WEIGHTS, check_model, model_files, model_shape, network_folder
from ..samplers.published import open_samples
from .profiles import Profile
from .settings import Data, Pretrained, Samples, checked

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
HASH = re.compile(r"[0-9a-f]{64}")


def pretrained_for(data: Data, profile: Profile) -> Pretrained:
    """Return the teacher that ``teacher_from`` names: a diffusers folder here, or a hub id with its commit and checksum.

    Raises:
        VaelibError: no such folder, no safetensors in it, another checksum, or a hub id that is not pinned.
    """
    name, pinned = str(profile.teacher_from), profile.teacher_sha256
    folder = paths.expanded(name)
    if folder.is_dir():
        check_model(folder, data.channels)
        found = files.sha256(model_files(folder)[WEIGHTS])
        if pinned and found != pinned:
            raise VaelibError(f"teacher_sha256 = {pinned}: the weights in {folder} have {found}; fetch them again")
        values = {"model": folder.name, "sha256": found, "shape": model_shape(folder), "channels": data.channels}
        return checked(Pretrained, values | {"folder": str(folder.resolve())}, "a teacher")
    if not HUB_ID.fullmatch(name):
        raise VaelibError(f"teacher_from = {name}: there is no such folder, and it is no hub id (owner/name)")
    if not COMMIT.fullmatch(profile.teacher_revision or "") or not HASH.fullmatch(pinned or ""):
        raise VaelibError(
            f"teacher_from = {name} comes from the hub, so pin it: set teacher_revision to the 40 digits of a commit and "
            f"teacher_sha256 to the checksum of its {WEIGHTS} (both are on the model's page, Files)"
        )
    values = {"model": name, "revision": profile.teacher_revision, "sha256": pinned, "channels": data.channels}
    return checked(Pretrained, values, "a teacher")


def samples_for(data: Data, profile: Profile, binarize: bool) -> Samples:
    """Return the k·N images drawn from the sample set that ``bank_from`` names.

    Raises:
        VaelibError: absent, damaged, too small, or of other images.
    """
    path = paths.expanded(str(profile.bank_from)).resolve()
    found, size = open_samples(path), profile.k * data.n_train
    if found.channels != data.channels:
        raise VaelibError(
            f"bank_from = {path}: {found.channels} channels, {data.name} has {data.channels}; choose another"
        )
    if size > found.shape[0]:
        most = found.shape[0] // data.n_train
        raise VaelibError(
            f"k = {profile.k}: {path.name} holds {found.shape[0]:,} images, enough for k = {most}; lower k"
        )
    return Samples(
        name=path.name, path=str(path), digest=found.digest, size=size, channels=data.channels, binarize=binarize
    )


def source_of_samples(profile: Profile) -> str:
    """Return where the synthetic images come from, for people, with what one must know about it."""
    solver = "Heun" if profile.sampler == "heun" else "DPM-Solver++(2M)"
    steps = f"{profile.sampler_steps} {solver} steps"
    if profile.bank_from:
        name = Path(profile.bank_from).name
        known = " (filtered: of each class the 20 % that a classifier was surest of)" if name.startswith("1m") else ""
        return f"samples of others, {name}{known}, drawn from all of it by seed, k = {profile.k}"
    if profile.teacher_from:
        folder, name = paths.expanded(profile.teacher_from), profile.teacher_from
        if folder.is_dir():
            name = folder.name + (f", its {AVERAGE}" if network_folder(folder) == folder / AVERAGE else "")
        return f"teacher of others, {name} (it may have seen images that are not in D_train), k = {profile.k}, {steps}"
    return f"teacher {profile.teacher}, {profile.teacher_images:,} training images, k = {profile.k}, {steps}"
