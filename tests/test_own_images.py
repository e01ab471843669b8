"""One's own images: an .npz or a folder comes back as it was saved, and a mistake is named."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from vaelib.data import load_dataset
from vaelib.errors import VaelibError

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


def test_npz_with_its_own_split(tmp_path):
    train, test = (RNG.choice(np.array([0, 255], np.uint8), (n, 28, 28)) for n in (6, 3))
    np.savez(tmp_path / "mine.npz", train=train, test=test, test_labels=np.array([4, 5, 6]))
    data = load_dataset(str(tmp_path / "mine.npz"))
    assert np.array_equal(data.train[:, 0, 2:30, 2:30], train)
    assert data.test_labels.tolist() == [4, 5, 6]
    assert data.binary


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((9, 28, 28), np.float32)}, "must be uint8"),
        ({"images": np.zeros((9, 64, 64), np.uint8)}, "64x64, must be at most 32x32"),
        ({"images": np.zeros((9, 784), np.uint8)}, "must be .N, H, W."),
        ({"images": np.zeros((9, 3, 32, 3), np.uint8)}, "must be .N, H, W."),
        ({"images": np.zeros((9, 28, 28), np.uint8), "labels": np.zeros(8, int)}, "9 whole numbers"),
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
    (tmp_path / "pets" / "cat" / "003.png").write_bytes(b"junk")
    with pytest.raises(VaelibError, match=r"003\.png"):
        load_dataset(str(tmp_path / "pets"))
    (tmp_path / "pets" / "cat" / "003.png").unlink()
    write_images(tmp_path / "pets" / "deep", np.zeros((6, 32, 32), np.uint16))
    with pytest.raises(VaelibError, match="8 bits a channel"):
        load_dataset(str(tmp_path / "pets"))
