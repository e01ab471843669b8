"""One's own images: a folder with a sub-folder a class (ImageFolder's layout), or an ``.npz`` of uint8 arrays.

The split into train and test is the data's own (``train``/``test`` folders or arrays), else a stratified 80/20.
"""

import zipfile
from pathlib import Path

import numpy as np

from ..errors import VaelibError
from ..progress import track
from .idx import broken
from .splits import Raw, hold_out

SIDE = 32
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}


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


def _labels(arrays: dict[str, np.ndarray], name: str, n: int, path: Path) -> np.ndarray:
    """Return the labels ``name``, all 0 where the file has none."""
    labels = arrays.get(name, np.zeros(n, np.int64))
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise VaelibError(f"{path}: array {name} is {labels.dtype} {labels.shape}, must be {n} whole numbers")
    return labels


def _eighty_twenty(images: np.ndarray, labels: np.ndarray, path: Path, source: str) -> Raw:
    if len(images) < 5:
        raise VaelibError(f"{path}: {len(images)} images are too few to split 80/20; give at least 5")
    return hold_out(images, labels, round(len(images) / 5), f"{source}, split 80/20")


def npz(path: Path) -> Raw:
    """Return the data set of an .npz: ``images`` [``labels``], or ``train``, ``test`` [``train_labels``, ...]."""
    arrays = read_npz(path)
    if "images" in arrays:
        images = _check_images(arrays["images"], path, "images")
        return _eighty_twenty(images, _labels(arrays, "labels", len(images), path), path, path.name)
    if not {"train", "test"} <= arrays.keys():
        raise broken(path, f"arrays {', '.join(arrays) or 'none'}", "an array images, or arrays train and test")
    train, test = (_check_images(arrays[name], path, name) for name in ("train", "test"))
    if train.shape[1:] != test.shape[1:]:
        raise broken(path, f"train {train.shape}, test {test.shape}", "arrays train and test of one image shape")
    labels = (_labels(arrays, f"{name}_labels", len(x), path) for name, x in (("train", train), ("test", test)))
    return Raw(train, next(labels), test, next(labels), path.name, False)


def _read_folder(folder: Path, classes: list[str]) -> tuple[list[np.ndarray], np.ndarray, bool]:
    """Return the images of ``folder``'s classes (of any mode), their labels, and whether any was resized."""
    from PIL import Image, ImageOps

    files = [(file, label) for label, name in enumerate(classes) for file in sorted((folder / name).rglob("*"))]
    files = [(file, label) for file, label in files if file.suffix.lower() in SUFFIXES and file.name[0] != "."]
    images, resized = [], False
    for file, _ in track(files, f"reading {folder.name}", "images"):
        try:
            with Image.open(file) as image:
                if image.mode[0] in "IF":
                    raise VaelibError(f"{file}: its mode {image.mode} is not 8 bits a channel; convert it")
                image = image.convert("L" if image.mode in ("1", "L") else "RGB")
                if image.size != (SIDE, SIDE):
                    image, resized = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC), True
                images.append(np.asarray(image))
        except (OSError, SyntaxError) as error:
            raise broken(file, f"a damaged one ({error})", "an image") from error
    return images, np.array([label for _, label in files], dtype=np.int64), resized


def _stack(images: list[np.ndarray], grey: bool) -> np.ndarray:
    return np.stack(images if grey else [x if x.ndim == 3 else np.stack([x] * 3, -1) for x in images])


def image_folder(path: Path) -> Raw:
    """Return the images of ``path``'s class folders (or of those in ``path/train`` and ``path/test``) as 32x32.

    Images of another size are centre-cropped to a square and resized. One channel if all are grey, else three.
    """
    split = (path / "train").is_dir() and (path / "test").is_dir()
    folders = [path / "train", path / "test"] if split else [path]
    classes = sorted({child.name for folder in folders for child in folder.iterdir() if child.is_dir()})
    try:
        parts = [_read_folder(folder, classes) for folder in folders]
    except ImportError as error:
        raise VaelibError(f"{path}: reading image files needs Pillow; run pip install 'vaelib[eval]'") from error
    if not all(len(images) for images, _, _ in parts):
        raise VaelibError(f"{path}: no images found; expected <class>/<image>.png, or train/<class>/... and test/...")
    grey = all(x.ndim == 2 for images, _, _ in parts for x in images)
    source = path.name + (", centre-cropped and resized to 32x32" if any(resized for *_, resized in parts) else "")
    stacked = [(_stack(images, grey), labels) for images, labels, _ in parts]
    if split:
        return Raw(*stacked[0], *stacked[1], source, False)
    return _eighty_twenty(*stacked[0], path, source)
