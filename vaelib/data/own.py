"""One's own images as an ``.npz`` of uint8 arrays, and what a folder of images (:mod:`.folder`) shares with it.

The split into train and test is the data's own (``train`` and ``test``, or else ``val``), else a stratified 80/20.
What is not used is refused or named: nothing that somebody saved is dropped in silence.
"""

import functools
import zipfile
from pathlib import Path

import numpy as np

from ..errors import VaelibError
from ..images import SIDE
from .idx import broken
from .splits import Raw, hold_out

SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val")
IMAGES, LABELS = {"image", "images", "x", "data"}, {"label", "labels", "y", "target", "targets"}
CLASS_NAMES = {"classes", "class_names"}  # as text they are no labels
NAMES = "images [labels], or train and test [train_labels, test_labels]"
NAMED = 3  # of what is left out, in a label


def read_npz(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz, unpickled never; raises VaelibError if it is damaged or lacks one of ``names``."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in names or archive.files}
    except KeyError as error:
        raise broken(path, f"none called {error.args[0]}", f"arrays {', '.join(names)}") from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise broken(path, f"a damaged or foreign one ({error})", "an .npz of plain arrays") from error
    strange = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]  # raw bytes of the archive
    if strange:
        raise broken(path, f"{strange[0]}, which is none", "an .npz of plain arrays")
    return arrays


def _check_images(images: np.ndarray, path: Path, name: str) -> np.ndarray:
    """Return ``images`` as (N, H, W) or (N, H, W, 3), or raise VaelibError."""
    if images.dtype != np.uint8:
        raise VaelibError(f"{path}: array {name} is {images.dtype}, must be uint8; save np.uint8(round(255 * x))")
    grey, last = images.ndim == 3, images.ndim == 4 and images.shape[-1] in (1, 3)
    first = images.ndim == 4 and images.shape[1] in (1, 3)
    if not len(images) or not (grey or last or first) or (last and first):
        expected = "(N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3"
        raise VaelibError(f"{path}: array {name} has shape {images.shape}, must be {expected}; save it so")
    images = images.transpose(0, 2, 3, 1) if first else images
    if max(images.shape[1:3]) > SIDE:
        raise VaelibError(
            f"{path}: images of array {name} are {images.shape[1]}x{images.shape[2]}, must be at most {SIDE}x{SIDE}; "
            "resize them before saving"
        )
    return images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images


def _role(name: str) -> tuple[str, str] | None:
    """Return the split ("" for none) and the kind that an array's name stands for, None for another's.

    >>> _role("y_train"), _role("val"), _role("labels"), _role("weights")
    (('train', 'labels'), ('val', 'images'), ('', 'labels'), None)
    """
    words = name.lower().split("_")
    splits = [SPLITS[word] for word in words if word in SPLITS]
    rest = "_".join(word for word in words if word not in SPLITS)
    kind = "labels" if rest in LABELS else "images" if rest in IMAGES or (splits and not rest) else None
    return ((splits or [""])[0], kind) if kind and len(splits) < 2 else None


def _roles(arrays: dict[str, np.ndarray], path: Path) -> dict[tuple[str, str], str]:
    """Return the name of the array of each split and kind; raises VaelibError for one that would not be used."""
    roles: dict[tuple[str, str], str] = {}
    unused = []
    for name, array in arrays.items():
        role = _role(name)
        if role in roles:
            raise VaelibError(f"{path}: arrays {roles[role]} and {name} say the same; keep one of them")
        if role:
            roles[role] = name
        elif name.lower() not in CLASS_NAMES or array.dtype.kind not in "US":
            unused.append(name)
    splits = {split for split, kind in roles if kind == "images"}
    if "" not in splits and not ("train" in splits and len(splits) > 1):
        raise broken(path, f"arrays {', '.join(arrays) or 'none'}", f"an array images, or train and test ({NAMES})")
    unused += [name for (split, _), name in roles.items() if split not in splits or (split and "" in splits)]
    if unused:
        raise VaelibError(f"{path}: nothing reads the array {', '.join(unused)}, expected {NAMES}; rename or remove it")
    return roles


def _labels(arrays: dict[str, np.ndarray], name: str | None, n: int, path: Path) -> np.ndarray:
    """Return the ``n`` labels ``name``, (N,) or (N, 1); all 0 where the file has none."""
    labels = arrays[name] if name else np.zeros(n, np.int64)
    if labels.shape not in ((n,), (n, 1)) or labels.dtype.kind not in "iu":
        raise VaelibError(f"{path}: array {name} is {labels.dtype} {labels.shape}, must be {n} whole numbers")
    if labels.min() < 0:  # a mark of "unlabelled", or a count from -1
        raise VaelibError(f"{path}: array {name} begins at {labels.min()}, must be whole numbers from 0 on; save it so")
    return labels.reshape(n)


def has_classes(path: Path) -> bool:
    """Return whether an .npz has labels that are not all the same."""
    arrays = read_npz(path)
    labels = [array for name, array in arrays.items() if (_role(name) or ("", ""))[1] == "labels"]
    return any(len(np.unique(array)) > 1 for array in labels)


def to_bytes(parts: list[np.ndarray]) -> tuple[list[np.ndarray], str]:
    """Return uint8 ``parts`` of one data set, those of 0 and 1 as 0 and 255, and a note for its label."""
    if max(part.max() for part in parts) != 1:
        return parts, ""
    return [part * np.uint8(255) for part in parts], ", binary: 0 and 1 taken as 0 and 255"


@functools.cache
def _say(path: Path, line: str) -> None:
    """Print what there is to say about ``path`` once: a data set is read several times on the way to a figure."""
    print(f"{path.name}: {line}", flush=True)


def as_text(name: str) -> str:
    """Return the name of a file, which may hold bytes that are no text, or a line break, as one that tables can hold."""
    return " ".join(name.encode(errors="replace").decode().split())


def left_out(path: Path, left: dict[str, str]) -> str:
    """Print once what of the data set at ``path`` is left out, and why, and return a note for its label."""
    if not left:
        return ""

    def listed(items: list[str]) -> str:
        more = f" and {len(items) - NAMED:,} more" if len(items) > NAMED else ""
        return ", ".join(items[:NAMED]) + more

    left = {as_text(item): why for item, why in left.items()}
    _say(path, f"left out {len(left):,}: {listed([f'{item} ({why})' for item, why in left.items()])}")
    return f", left out {len(left):,}: {listed(list(left))}"


def eighty_twenty(images: np.ndarray, labels: np.ndarray, path: Path, source: str) -> Raw:
    """Split images that come without a split; raises VaelibError where they are too few."""
    if len(images) < 5:
        raise VaelibError(f"{path}: {len(images)} images are too few to split 80/20; give at least 5")
    return hold_out(images, labels, round(len(images) / 5), f"{source}, split 80/20")


def npz(path: Path) -> Raw:
    """Return the data set of an .npz: ``images`` [``labels``], or ``train``, ``test`` [``train_labels``, ...].

    Other names in use are read as well (``label``, ``y``; ``x_train``, ``y_train``; ``train_images``; ``val`` as the
    test set where there is none); an array of a name that says nothing is an error.
    """
    arrays = read_npz(path)
    roles = _roles(arrays, path)
    single = ("", "images") in roles
    test = "test" if ("test", "images") in roles else "val"
    splits = [""] if single else ["train", test]
    images = [_check_images(arrays[roles[split, "images"]], path, roles[split, "images"]) for split in splits]
    pairs = zip(splits, images, strict=True)
    labels = [_labels(arrays, roles.get((split, "labels")), len(x), path) for split, x in pairs]
    images, note = to_bytes(images)
    if single:
        return eighty_twenty(images[0], labels[0], path, path.name + note)
    if images[0].shape[1:] != images[1].shape[1:]:
        raise broken(
            path, f"train {images[0].shape}, {test} {images[1].shape}", f"arrays train and {test} of one image shape"
        )
    if test == "val":
        note += ", val as the test set"
    unused = [name for (split, _), name in roles.items() if split not in splits]
    note += left_out(path, dict.fromkeys(unused, "there are test images"))
    return Raw(images[0], labels[0], images[1], labels[1], path.name + note, False)
