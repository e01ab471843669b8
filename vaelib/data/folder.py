"""One's own images as a folder: a sub-folder a class (ImageFolder's layout), in ``train`` and ``test`` or not.

One file that cannot be read does not cost the others: it is left out, named and counted.
"""

import warnings
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import VaelibError
from ..images import SIDE
from ..progress import track
from .own import SPLITS, as_text, eighty_twenty, left_out, to_bytes
from .splits import Raw

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
# Images too, but not for us: with most of them in a folder, what is left is no sample of it.
UNREAD = {".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".tga", ".dng", ".cr2", ".nef", ".arw"}
# Copies and notes that systems leave beside the images; everything whose name begins with a dot is hidden, too.
HIDDEN = ("__macosx", "@eadir", "thumbs.db", "desktop.ini")


class Part(NamedTuple):
    """The images of one folder (of any mode) and their labels, what was done to them, what was left out and why."""

    images: list[np.ndarray]
    labels: np.ndarray
    done: set[str]
    left: dict[str, str]


def _hidden(name: str) -> bool:
    return name[0] == "." or name.lower() in HIDDEN


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not _hidden(child.name))


def visible_files(path: Path) -> list[Path]:
    """Return the files at any depth of ``path``, hidden ones and those in hidden folders aside."""
    found = (file for file in path.rglob("*") if not any(map(_hidden, file.relative_to(path).parts)))
    return sorted(file for file in found if file.is_file())


def _images_in(path: Path) -> list[Path]:
    """Return the files directly in ``path`` that are images, whether or not we read their format."""
    files = [file for file in sorted(path.iterdir()) if file.is_file() and not _hidden(file.name)]
    return [file for file in files if file.suffix.lower() in SUFFIXES | UNREAD]


def _unwrapped(path: Path) -> Path:
    """Return the folder of the classes: a lone folder that holds nothing but folders is no class, but around them."""
    folders = _folders(path)
    if len(folders) == 1 and not _images_in(path) and _folders(folders[0]) and not _images_in(folders[0]):
        return _unwrapped(folders[0])
    return path


def _layout(path: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the folders of train and test, or the one that holds all classes, and what stands unused beside them."""
    splits: dict[str, Path] = {}
    folders = _folders(path)
    for folder in folders:
        split = SPLITS.get(folder.name.lower())
        if split in splits:
            raise VaelibError(f"{path}: {splits[split].name} and {folder.name} are both a {split} split; keep one")
        if split:
            splits[split] = folder
    if len(splits) < 2:
        # A lone "train" beside cars and ships is a class; all alone it is a wrapper.
        return (folders if splits and len(folders) == 1 else [path]), {}
    if "train" not in splits:
        raise VaelibError(f"{path}: folders {' and '.join(map(str, splits))}, but no train; expected train/<class>/...")
    both = [splits["train"], splits.get("test") or splits["val"]]
    return both, {f"{folder.name}/": "there are train and test" for folder in folders if folder not in both}


def _classes(folders: list[Path]) -> list[str]:
    """Return the names of the class folders; [""] where there are none."""
    return sorted({child.name for folder in folders for child in _folders(folder)}) or [""]


def has_classes(path: Path) -> bool:
    """Return whether there are two class folders."""
    return len(_classes(_layout(_unwrapped(path))[0])) > 1


def _refuse_splits_within(folder: Path, files: list[Path]) -> None:
    """Raise VaelibError where train and test lie inside a class: they would be mixed."""
    found = defaultdict(set)
    for file in files:
        for parent in file.relative_to(folder).parents:
            if split := SPLITS.get(parent.name.lower()):
                found[parent.parent].add(split)
    inside = next((parent for parent, splits in found.items() if len(splits) > 1), None)
    if inside is not None:
        raise VaelibError(
            f"{folder / inside}: its {' and '.join(sorted(found[inside]))} would be mixed in one class; give this folder, "
            "or rearrange it as train/<class>/... and test/<class>/..."
        )


def _read_image(file: Path) -> tuple[np.ndarray, set[str]]:
    """Return an image as (32, 32) or (32, 32, 3) the way a viewer shows it, and what was done to it."""
    from PIL import Image, ImageOps

    done = set()
    # A stream, not a path: Pillow 13 scrambles a turned TIFF that it maps into memory.
    with open(file, "rb") as stream, Image.open(stream) as image:
        if image.mode[0] in "IF":
            raise ValueError(f"its mode {image.mode} is not 8 bits a channel; convert it")
        grey = image.mode in ("1", "L", "LA")
        try:
            image = ImageOps.exif_transpose(image)
        except Exception:
            image.load()  # a broken EXIF block turns nothing; broken pixels raise again
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            if image.getchannel("A").getextrema()[0] < 255:
                done.add("transparency on white")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if grey else "RGB")
        if image.size != (SIDE, SIDE):
            done.add("centre-cropped and resized to 32x32")
            image = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC)
        return np.asarray(image), done


def _read_folder(path: Path, folder: Path, classes: list[str], strict: bool) -> Part:
    """Return the images of ``folder``'s classes; raises VaelibError where too many, or with ``strict`` any, are unread."""
    files = [(file, label) for label, name in enumerate(classes) for file in visible_files(folder / name)]
    _refuse_splits_within(folder, [file for file, _ in files])
    images, labels, done, unread, left = [], [], set(), {}, {}
    for file, label in track(files, f"reading {folder.name}", "images"):
        name, suffix = str(file.relative_to(path)), file.suffix.lower()
        if suffix not in SUFFIXES:
            (unread if suffix in UNREAD else left)[name] = f"{suffix or 'a file without a suffix'} is not read"
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, about what it reads all the same
                image, treatment = _read_image(file)
        except Exception as error:  # a damaged file raises whatever its decoder trips over; a huge one a bomb's error
            said = str(error).partition(" <_io.")[0]  # the stream's repr says nothing more
            unread[name] = " ".join(said.split()) or type(error).__name__
            continue
        images.append(image)
        labels.append(label)
        done |= treatment
    count = len(images) + len(unread)
    if not count:
        raise VaelibError(f"{path}: no images found; expected <class>/<image>.png, or train/<class>/... and test/...")
    if unread and (strict or 2 * len(unread) > count):
        name, why = next(iter(unread.items()))
        raise VaelibError(
            f"{folder}: {len(unread):,} of {count:,} images cannot be read, first {path / name} ({why}); "
            "save them as PNG or JPEG, or remove them"
        )
    return Part(images, np.array(labels, dtype=np.int64), done, unread | left)


def _stack(images: list[np.ndarray], grey: bool) -> np.ndarray:
    return np.stack(images if grey else [x if x.ndim == 3 else np.stack([x] * 3, -1) for x in images])


def image_folder(path: Path, strict: bool = False) -> Raw:
    """Return the images of ``path``'s class folders as 32x32, or of those in its ``train`` and ``test`` (else ``val``).

    Images of another size are centre-cropped to a square and resized, turned as their EXIF says, transparent ones laid
    on white. One channel if all are grey, else three. Without class folders all are of one class; folders around them
    that hold nothing else are looked through. ``strict``: an image
    that cannot be read is an error; else it is left out unless more than half are.
    """
    path, given = _unwrapped(path), path
    folders, left = _layout(path)
    classes = _classes(folders)
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise VaelibError(f"{path}: reading image files needs Pillow; run pip install 'vaelib[eval]'") from error
    parts = [_read_folder(path, folder, classes, strict) for folder in folders]
    grey = all(x.ndim == 2 for part in parts for x in part.images)
    stacked, binary = to_bytes([_stack(part.images, grey) for part in parts])
    source = ", ".join([as_text(given.name), *sorted(set().union(*(part.done for part in parts)))]) + binary
    if len(folders) == 2 and SPLITS[folders[1].name.lower()] == "val":
        source += f", {as_text(folders[1].name)} as the test set"
    if classes != [""]:
        loose = [file for place in sorted({path, *folders}) for file in _images_in(place)]
        left |= {str(file.relative_to(path)): "in no class folder" for file in loose}
    for part in parts:
        left |= part.left
    source += left_out(given, left)
    if len(folders) == 1:
        return eighty_twenty(stacked[0], parts[0].labels, path, source)
    return Raw(stacked[0], parts[0].labels, stacked[1], parts[1].labels, source, False)
