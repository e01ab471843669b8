"""One's own images: an .npz or a folder comes back as it was saved, and a mistake is named."""

import io
import os
import shutil
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from vaelib.data import load_dataset
from vaelib.errors import VaelibError
from vaelib.report.study import studies, study_named

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("shape", "channels"), [((28, 28), 1), ((32, 32, 3), 3), ((3, 20, 31), 3), ((1, 32, 32), 1)])
def test_npz_round_trip(tmp_path, shape, channels):
    images = RNG.integers(1, 255, (20, *shape), dtype=np.uint8)
    labels = np.arange(20) % 2
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    data = load_dataset(str(tmp_path / "mine.npz"))
    assert (data.name, len(data.train), len(data.test), data.exact) == ("mine", 16, 4, False)
    assert data.train.shape[1:] == (channels, 32, 32)
    assert data.test_labels.bincount().tolist() == [2, 2]
    # Every image is in one of the two, once.
    sums = [part.sum((1, 2, 3), dtype=torch.int64) for part in (data.train, data.test)]
    assert sorted(torch.cat(sums).tolist()) == sorted(images.reshape(20, -1).sum(1).tolist())


def test_images_sorted_by_class_come_in_a_seeded_order(tmp_path):
    """The first n of a data set are taken for a sample of it, also where all images are taken."""
    level = np.arange(200, dtype=np.uint8)
    images, labels = np.broadcast_to(level[:, None, None], (200, 8, 8)), level // 100
    np.savez(tmp_path / "mine.npz", train=images, y_train=labels, test=images, y_test=labels)
    name = str(tmp_path / "mine.npz")
    data = load_dataset(name, n_train=1_000, at_most=True)
    for part, found in ((data.train, data.train_labels), (data.test, data.test_labels)):
        shown = part[:, 0, 16, 16]
        assert sorted(shown.tolist()) == level.tolist()
        assert torch.equal(found, shown.long() // 100)
        assert 30 < found[:100].sum() < 70
    assert not torch.equal(data.train, data.test)  # the two are drawn apart
    assert torch.equal(data.train, load_dataset(name).train)
    assert not torch.equal(data.train, load_dataset(name, seed=1).train)


def test_npz_with_its_own_split(tmp_path):
    train, test = (RNG.choice(np.array([0, 255], np.uint8), (n, 28, 28)) for n in (6, 3))
    np.savez(tmp_path / "mine.npz", train=train, test=test, test_labels=np.array([4, 5, 6]))
    data = load_dataset(str(tmp_path / "mine.npz"))
    inner = data.train[:, 0, 2:30, 2:30].numpy()
    assert sorted(image.tobytes() for image in inner) == sorted(image.tobytes() for image in train)
    assert sorted(data.test_labels.tolist()) == [4, 5, 6]
    assert set(data.train.unique().tolist()) == {0, 255}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((9, 28, 28), np.float32)}, "must be uint8"),
        ({"images": np.zeros((9, 64, 64), np.uint8)}, "64x64, must be at most 32x32"),
        ({"images": np.zeros((9, 784), np.uint8)}, "must be .N, H, W."),
        ({"images": np.zeros((9, 3, 32, 3), np.uint8)}, "must be .N, H, W."),
        ({"images": np.zeros((9, 28, 28), np.uint8), "labels": np.zeros(8, int)}, "9 whole numbers"),
        (
            {"images": np.zeros((9, 28, 28), np.uint8), "y": np.arange(9) - 1},
            "y begins at -1, must be whole numbers from 0",
        ),
        ({"images": np.array([None] * 9, object)}, "plain arrays"),
        ({"pictures": np.zeros((9, 28, 28), np.uint8)}, "an array images"),
        ({"images": np.zeros((2, 28, 28), np.uint8)}, "too few"),
    ],
)
def test_npz_mistakes(tmp_path, arrays, words):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(VaelibError, match=words) as error:
        load_dataset(str(tmp_path / "mine.npz"))
    assert "mine.npz" in str(error.value)


def test_an_npz_that_is_none(tmp_path):
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    for content in (b"", b"junk", b"PK\x03\x04 and no more", array.getvalue()):
        (tmp_path / "mine.npz").write_bytes(content)
        with pytest.raises(VaelibError, match=r"mine\.npz: expected an \.npz"):
            load_dataset(str(tmp_path / "mine.npz"))


@pytest.mark.parametrize("profile", ["smoke", "paper"])
@pytest.mark.parametrize(
    ("n", "study", "words"),
    [
        (5, "three_gaps", "n_train = 4 and n_test = 1 must both be at least 2; give 8 images or more"),
        (7, "teacher_sheet", "n_train = 6 and n_test = 1 must both be at least 2"),
        (9, "teacher_sheet", "n_test = 2 and .* too few for precision and recall; raise n_test to at least 8"),
        (8, "three_gaps", ""),
        (38, "teacher_sheet", ""),
        (8, "regularisers", "set it to at most 4, or give more images"),
    ],
)
def test_too_few_images_for_a_study_are_refused_in_a_line(tmp_path, profile, n, study, words):
    np.savez(tmp_path / "mine.npz", images=RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8))
    if not words:
        assert study_named(study).runs(profile, str(tmp_path / "mine.npz")).runs
        return
    with pytest.raises(VaelibError, match=words):
        study_named(study).runs(profile, str(tmp_path / "mine.npz"))


@pytest.mark.parametrize("study", [study.name for study in studies().values() if study.runs])
def test_a_study_takes_eight_images_or_says_in_a_line_what_it_lacks(tmp_path, study):
    np.savez(tmp_path / "mine.npz", images=RNG.integers(0, 256, (8, 28, 28), dtype=np.uint8))
    refused = []
    for profile in ("smoke", "paper"):
        try:
            assert study_named(study).runs(profile, str(tmp_path / "mine.npz")).runs
        except VaelibError:  # and no other error
            refused.append(profile)
    lacking = {
        name: ["smoke", "paper"] for name in ("downstream", "teacher_sheet", "calibrate_protocol", "regularisers")
    }
    assert refused == (lacking | {"image_memorisation": ["paper"]}).get(study, [])


def write_images(folder: Path, arrays: np.ndarray) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow not installed")
    folder.mkdir(parents=True)
    for i, array in enumerate(arrays):
        image.fromarray(array).save(folder / f"{i:03}.png")


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 3)])
def test_image_folder_round_trip(tmp_path, shape):
    images = RNG.integers(0, 256, (2, 10, *shape), dtype=np.uint8)
    for name, arrays in zip(("cat", "dog"), images, strict=True):
        write_images(tmp_path / "pets" / name, arrays)
    data = load_dataset(str(tmp_path / "pets"))
    assert (data.name, len(data.train), len(data.test)) == ("pets", 16, 4)
    assert data.source == "pets, split 80/20"
    cats = data.train[data.train_labels == 0]
    assert cats.shape == (8, 1 if len(shape) == 2 else 3, 32, 32)
    flat = {bytes(array.transpose(2, 0, 1) if array.ndim == 3 else array) for array in images[0]}
    assert all(bytes(cat.numpy().tobytes()) in flat for cat in cats)


def test_image_folder_with_its_own_split_and_another_size(tmp_path):
    write_images(tmp_path / "pets" / "train" / "cat", np.full((3, 50, 40), 9, np.uint8))
    write_images(tmp_path / "pets" / "train" / "dog", np.full((3, 32, 32, 3), 8, np.uint8))
    write_images(tmp_path / "pets" / "test" / "dog", np.full((2, 32, 32, 3), 7, np.uint8))
    data = load_dataset(str(tmp_path / "pets"))
    assert data.train.shape == (6, 3, 32, 32)
    assert data.train[data.train_labels == 0].unique().tolist() == [9]
    assert data.test_labels.tolist() == [1, 1]
    assert "resized to 32x32" in data.source


def test_image_folder_mistakes(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VaelibError, match="no images found"):
        load_dataset(str(tmp_path / "empty"))
    write_images(tmp_path / "pets" / "cat", np.zeros((6, 32, 32), np.uint8))
    write_images(tmp_path / "pets" / "deep", np.zeros((7, 32, 32), np.uint16))
    with pytest.raises(VaelibError, match=r"7 of 13 images cannot be read.*deep.000\.png.*8 bits a channel"):
        load_dataset(str(tmp_path / "pets"))


# Labels and ranges of an .npz


@pytest.mark.parametrize("name", ["labels", "label", "y", "Y", "target"])
@pytest.mark.parametrize("images", ["images", "image", "x"])
def test_labels_are_read_under_the_names_in_use(tmp_path, name, images):
    arrays = {images: RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8), name: np.arange(20)[:, None] % 4}
    np.savez(tmp_path / "mine.npz", **arrays, classes=np.array(list("abcd")))
    assert load_dataset(str(tmp_path / "mine.npz")).train_labels.bincount().tolist() == [4] * 4


@pytest.mark.parametrize(
    "names",
    [
        ("train", "train_labels", "test", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "labels_train", "X_valid", "labels_valid"),
        ("train_images", "train_label", "val_images", "val_label"),
    ],
)
def test_splits_are_read_under_the_names_in_use(tmp_path, names):
    values = [RNG.integers(0, 256, (6, 8, 8), dtype=np.uint8), np.arange(6)]
    values += [RNG.integers(0, 256, (3, 8, 8), dtype=np.uint8), np.array([4, 5, 5])]
    np.savez(tmp_path / "mine.npz", **dict(zip(names, values, strict=True)))
    data = load_dataset(str(tmp_path / "mine.npz"))
    assert labels(data) == (list(range(6)), [4, 5, 5])
    assert ("val as the test set" in data.source) == (names[2] not in ("test", "x_test"))


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"kinds": np.arange(9)}, "the array kinds, expected images"),
        ({"classes": np.arange(9)}, "the array classes"),
        ({"y_train": np.arange(9)}, "the array y_train"),
        ({"train": np.zeros((9, 28, 28), np.uint8)}, "the array train"),
        ({"labels": np.arange(9), "y": np.arange(9)}, "arrays labels and y say the same"),
        ({"labels": np.zeros((9, 10), int)}, "9 whole numbers"),
    ],
)
def test_an_array_that_nothing_reads_is_named(tmp_path, others, words):
    np.savez(tmp_path / "mine.npz", images=np.zeros((9, 28, 28), np.uint8), **others)
    with pytest.raises(VaelibError, match=words):
        load_dataset(str(tmp_path / "mine.npz"))


def labels(data) -> tuple[list[int], list[int]]:
    return sorted(data.train_labels.tolist()), sorted(data.test_labels.tolist())


def test_labels_without_a_split_are_none_of_a_split(tmp_path):
    part = np.zeros((6, 28, 28), np.uint8)
    np.savez(tmp_path / "mine.npz", train=part, test=part, labels=np.arange(6))
    with pytest.raises(VaelibError, match="the array labels"):
        load_dataset(str(tmp_path / "mine.npz"))


def test_validation_arrays_beside_a_test_set_are_named(tmp_path, capsys):
    parts = {f"{split}_images": np.full((6, 8, 8), i, np.uint8) for i, split in enumerate(("val", "train", "test"), 7)}
    np.savez(tmp_path / "mine.npz", **parts)
    data = load_dataset(str(tmp_path / "mine.npz"))
    assert (data.train.max(), data.test.max()) == (8, 9)
    assert data.source == "mine.npz, left out 1: val_images"
    assert "mine.npz: left out 1: val_images (there are test images)" in capsys.readouterr().out


def test_images_of_0_and_1_are_taken_as_binary(tmp_path):
    bits = RNG.integers(0, 2, (20, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "bits.npz", images=bits)
    np.savez(tmp_path / "two.npz", train=bits, test=0 * bits)
    for half in (0, 1):
        write_images(tmp_path / "folder" / f"{half}", bits[10 * half : 10 * half + 10])
    for name in ("bits.npz", "two.npz", "folder"):
        data = load_dataset(str(tmp_path / name))
        assert set(data.train.unique().tolist()) == {0, 255}
        assert data.train.unique().tolist() == [0, 255]
        assert "binary: 0 and 1 taken as 0 and 255" in data.source
    np.savez(tmp_path / "dark.npz", images=2 * bits)
    assert load_dataset(str(tmp_path / "dark.npz")).train.max() == 2


# A folder's layout


def make_tree(root: Path, *files: str) -> None:
    """Write one grey image a path, the i-th of the grey level 10 i, with i from 1 on."""
    image = pytest.importorskip("PIL.Image", reason="Pillow not installed")
    for i, file in enumerate(files, 1):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        image.new("L", (32, 32), 10 * i).save(root / file)


def levels(data) -> tuple[list[int], list[int]]:
    return tuple(sorted((part[:, 0, 0, 0] // 10).tolist()) for part in (data.train, data.test))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "val"),
        ("Train", "Val"),
        ("TRAIN", "valid"),
        ("training", "validation"),
        ("train", "eval"),
        ("train", "Test"),
    ],
)
def test_the_split_that_is_there_is_taken(tmp_path, train, test):
    make_tree(tmp_path / "d", f"{train}/a/1.png", f"{train}/b/2.png", f"{test}/a/3.png", f"{test}/b/4.png")
    data = load_dataset(str(tmp_path / "d"))
    assert levels(data) == ([1, 2], [3, 4])
    assert labels(data) == ([0, 1], [0, 1])
    assert data.source == ("d" if test == "Test" else f"d, {test} as the test set")


def test_a_validation_set_beside_a_test_set_is_left_out_by_name(tmp_path, capsys):
    make_tree(tmp_path / "d", "train/a/1.png", "val/a/2.png", "test/a/3.png", "more/4.png", "train/5.png", "6.png")
    data = load_dataset(str(tmp_path / "d"))
    assert levels(data) == ([1], [3])
    # In an order that no hash decides: the label is part of every key.
    assert data.source == "d, left out 4: more/, val/, 6.png and 1 more"
    assert "d: left out 4: more/ (there are train and test), val/" in capsys.readouterr().out


def test_a_split_without_classes_is_one_class(tmp_path):
    make_tree(tmp_path / "d", "train/1.png", "train/2.png", "val/3.png")
    data = load_dataset(str(tmp_path / "d"))
    assert levels(data) == ([1, 2], [3])
    assert data.train_labels.tolist() == [0, 0]


def test_a_lone_split_folder_is_a_wrapper_and_beside_classes_a_class(tmp_path):
    make_tree(tmp_path / "d", *(f"Train/{name}/{i}.png" for name in "ab" for i in range(5)))
    assert sorted(load_dataset(str(tmp_path / "d")).train_labels.bincount().tolist()) == [4, 4]
    make_tree(tmp_path / "cars", *(f"{name}/{i}.png" for name in ("car", "train") for i in range(5)))
    assert sorted(load_dataset(str(tmp_path / "cars")).train_labels.bincount().tolist()) == [4, 4]


@pytest.mark.parametrize("around", ["photos/", "photos/dataset/", ".hidden/../photos/"])
def test_a_folder_around_the_class_folders_is_looked_through(tmp_path, around):
    files = [f"{around}{name}/{number}.png" for name in ("cat", "dog") for number in range(5)]
    (tmp_path / ".hidden").mkdir()
    make_tree(tmp_path, *files)
    data = load_dataset(str(tmp_path), seed=1)
    assert torch.cat([data.train_labels, data.test_labels]).bincount().tolist() == [5, 5]
    assert data.source.startswith(tmp_path.name)
    make_tree(tmp_path, "photos/loose.png")  # beside images a folder of folders is a class
    assert load_dataset(str(tmp_path)).train_labels.unique().tolist() == [0]


def test_a_folder_around_train_and_test_is_looked_through(tmp_path):
    make_tree(tmp_path, *(f"set/{split}/{name}/1.png" for split in ("train", "test") for name in ("a", "b")))
    data = load_dataset(str(tmp_path))
    assert labels(data) == ([0, 1], [0, 1])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("val/a/1.png", "test/a/2.png"), "no train"),
        (("train/a/1.png", "val/a/2.png", "valid/a/2.png"), "val and valid are both"),
        (("cat/train/1.png", "cat/test/2.png", "dog/3.png"), "test and train would be mixed"),
        (("wrap/Train/a/1.png", "wrap/Val/a/2.png", "3.png"), "give this folder"),
    ],
)
def test_layouts_that_cannot_be_meant(tmp_path, files, words):
    make_tree(tmp_path / "d", *files)
    with pytest.raises(VaelibError, match=words):
        load_dataset(str(tmp_path / "d"))


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", "__MACOSX", ".thumbnails", ".git", "@eaDir"])
def test_hidden_folders_are_skipped_at_any_depth(tmp_path, hidden):
    real = [f"{split}/{name}/deep/{split}.png" for split in ("train", "test") for name in "ab"]
    copies = [f"{hidden}/{real[0]}", f"train/{hidden}/x.png", f"train/a/{hidden}/x.png", f"test/b/deep/{hidden}/x.png"]
    make_tree(tmp_path / "d", *real, *copies, "test/a/._test.png")
    data = load_dataset(str(tmp_path / "d"))
    assert levels(data) == ([1, 2], [3, 4])
    assert data.train_labels.tolist() == [0, 1]
    assert data.source == "d"


# What a file says beside its pixels


def load_files(folder: Path) -> torch.Tensor:
    """Return all images of a folder with one class, ordered by name."""
    for i in range(5):  # a test set that does not matter
        make_tree(folder, f"test/x/{i}.png")
    return load_dataset(str(folder)).train


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp"])
@pytest.mark.parametrize("size", [(32, 32), (48, 40)])
def test_exif_orientation_turns_an_image_before_it_is_cropped(tmp_path, suffix, size):
    image = pytest.importorskip("PIL.Image", reason="Pillow not installed")
    width, height = size
    upright = np.zeros((height, width), np.uint8)
    upright[: height // 2, : width // 4] = 200  # of no symmetry
    # What the camera stored, so that the orientation's turn gives the upright image (EXIF 2.32, Orientation).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }
    for orientation, pixels in stored.items():
        exif = image.Exif()
        exif[0x0112] = orientation
        file = tmp_path / "d" / "train" / "x" / f"{orientation}.{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        options = {"jpg": {"quality": 100}, "webp": {"lossless": True}}.get(suffix, {})
        image.fromarray(np.ascontiguousarray(pixels)).save(file, exif=exif, **options)
    shown = load_files(tmp_path / "d").short()
    assert len(shown) == 8
    assert shown[0, 0, 4, 2] > 150
    assert shown[0, 0, 28, 2] < 50
    assert (shown - shown[0]).abs().max() <= (40 if suffix == "jpg" else 0)


@pytest.mark.parametrize("block", [b"", b"junk", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
def test_a_broken_exif_block_turns_nothing(tmp_path, block):
    image = pytest.importorskip("PIL.Image", reason="Pillow not installed")
    (tmp_path / "d" / "train" / "x").mkdir(parents=True)
    for suffix in ("png", "jpg", "webp"):
        picture = image.new("L", (32, 32), 90)
        picture.save(tmp_path / "d" / "train" / "x" / f"1.{suffix}", exif=b"Exif\0\0" + block)
    assert load_files(tmp_path / "d").unique().tolist() == [90]


def transparent(image) -> dict:
    """Return an image of each mode that can be transparent: left half opaque, right half hides black or a colour."""
    half = np.zeros((32, 32), np.uint8)
    half[:, :16] = 255
    alpha, grey = image.fromarray(half), image.new("L", (32, 32), 100)
    red = image.new("RGB", (32, 32), (200, 0, 0))
    indexed = image.fromarray((half == 0).astype(np.uint8)).convert("P")
    indexed.putpalette([200, 0, 0, 0, 0, 90])
    with_alpha = indexed.copy()
    with_alpha.putalpha(alpha)
    assert with_alpha.mode == "PA"
    keyed = image.fromarray(np.where(half[..., None] > 0, (200, 0, 0), (0, 0, 90)).astype(np.uint8))
    grey_keyed = image.fromarray(np.where(half > 0, 100, 7).astype(np.uint8))
    return {
        "RGBA": (image.merge("RGBA", (*red.split(), alpha)), "png", {}),
        "LA": (image.merge("LA", (grey, alpha)), "png", {}),
        "PA": (with_alpha, "tif", {}),
        "P": (indexed, "png", {"transparency": 1}),
        "P, bytes": (indexed, "png", {"transparency": b"\xff\x00"}),
        "P, gif": (indexed, "gif", {"transparency": 1}),
        "RGB": (keyed, "png", {"transparency": (0, 0, 90)}),
        "L": (grey_keyed, "png", {"transparency": 7}),
    }


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "P, bytes", "P, gif", "RGB", "L"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    image = pytest.importorskip("PIL.Image", reason="Pillow not installed")
    picture, suffix, options = transparent(image)[mode]
    (tmp_path / "d" / "train" / "x").mkdir(parents=True)
    picture.save(tmp_path / "d" / "train" / "x" / f"1.{suffix}", **options)
    shown = load_files(tmp_path / "d")
    grey = mode in ("L", "LA")
    assert shown.shape == (1, 1 if grey else 3, 32, 32)
    assert shown[0, :, 5, 3].tolist() == ([100] if grey else [200, 0, 0])
    assert shown[0, :, 5, 25].unique().tolist() == [255]
    assert "transparency on white" in load_dataset(str(tmp_path / "d")).source


def test_opaque_alpha_changes_nothing(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow not installed")
    pixels = RNG.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    (tmp_path / "d" / "x").mkdir(parents=True)
    for i, array in enumerate(pixels):
        picture = image.fromarray(array)
        picture.putalpha(255)
        picture.save(tmp_path / "d" / "x" / f"{i}.png")
    data = load_dataset(str(tmp_path / "d"))
    assert data.source == "d, split 80/20"
    sums = [part.sum((1, 2, 3), dtype=torch.int64) for part in (data.train, data.test)]
    assert sorted(torch.cat(sums).tolist()) == sorted(pixels.reshape(5, -1).sum(1).tolist())


# Files that cannot be read


@pytest.fixture
def album(tmp_path) -> Path:
    """A folder with ten good images of two classes."""
    make_tree(tmp_path / "pets", *(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(5)))
    return tmp_path / "pets"


def test_what_cannot_be_read_is_left_out_named_and_counted(album, capsys):
    (album / "cat" / "7.png").write_bytes(b"junk")
    write_images(album / "new", RNG.integers(0, 256, (1, 32, 32), dtype=np.uint8))
    (album / "cat" / "8.jpg").write_bytes((album / "new" / "000.png").read_bytes()[:500])
    shutil.rmtree(album / "new")
    (album / "dog" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (album / "dog" / "notes.txt").write_text("good dogs")
    (album / "dog" / "Thumbs.db").write_bytes(b"")
    (album / "dog" / "really.png").mkdir()
    data = load_dataset(str(album))
    assert len(data.train) + len(data.test) == 10
    assert data.source == "pets, left out 4: cat/7.png, cat/8.jpg, dog/IMG_1.HEIC and 1 more, split 80/20"
    load_dataset(str(album), n_train=4)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("pets: left out 4: cat/7.png (cannot identify image file")
    assert "dog/IMG_1.HEIC (.heic is not read) and 1 more" in line
    with pytest.raises(VaelibError, match=r"3 of 13 images cannot be read, first .*7\.png"):
        load_dataset(str(album), strict=True)
    fetch = pytest.importorskip("vaelib.cli", reason="typer not installed").fetch
    fetch(str(album))
    with pytest.raises(VaelibError, match="3 of 13"):
        fetch(str(album), strict=True)


def test_a_folder_of_mostly_unread_images_stops(album):
    for i in range(11):
        (album / "cat" / f"IMG_{i}.heic").write_bytes(b"\0\0\0\x18ftypheic")
        (album / "dog" / f"{i}.txt").write_text("a caption is no image")
    with pytest.raises(VaelibError, match=r"11 of 21 images cannot be read.*\.heic is not read"):
        load_dataset(str(album))
    (album / "cat" / "IMG_0.heic").unlink()
    assert "left out 21" in load_dataset(str(album)).source


def test_an_empty_rest_stops(tmp_path):
    make_tree(tmp_path / "d", "train/a/1.png", "train/a/2.png", "train/a/3.png", "test/a/4.png")
    (tmp_path / "d" / "test" / "a" / "4.png").write_bytes(b"junk")
    with pytest.raises(VaelibError, match=r"test: 1 of 1 images cannot be read, first .*4\.png"):
        load_dataset(str(tmp_path / "d"))


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_a_huge_image_is_named(album, action, capsys):
    image = pytest.importorskip("PIL.Image", reason="Pillow not installed")
    (album / "dog" / "huge.png").write_bytes(huge_png(20_000, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        data = load_dataset(str(album))
        assert "left out 1: dog/huge.png" in data.source
        assert "dog/huge.png (Image size (200000000 pixels) exceeds" in capsys.readouterr().out
        with pytest.raises(VaelibError, match=r"first .*huge\.png \(Image size"):
            load_dataset(str(album), strict=True)
        # Pillow only warns from here on; it is an image like another.
        limit, image.MAX_IMAGE_PIXELS = image.MAX_IMAGE_PIXELS, 600
        try:
            (album / "dog" / "huge.png").unlink()
            assert load_dataset(str(album)).source == "pets, split 80/20"
        finally:
            image.MAX_IMAGE_PIXELS = limit


def huge_png(width: int, height: int) -> bytes:
    """Return the beginning of a PNG of that size."""
    chunks = b"IHDR" + struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(b"")
    packed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_names_that_are_no_text(album):
    try:
        (album / "cat" / os.fsdecode(b"caf\xe9\n.png")).write_bytes(b"junk")
    except OSError:
        pytest.skip("this file system has no such names")
    renamed = album.rename(album.with_name(os.fsdecode(b"im\xffg\n")))
    source = load_dataset(str(renamed)).source
    assert source.isprintable()
    assert source.encode()
