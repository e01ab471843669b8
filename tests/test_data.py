"""Data sets: damaged files are refused by name, splits are stratified and disjoint, sources are tried in turn."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from vaelib.data import dataset_names, datasets, load_dataset, sources
from vaelib.data.idx import read_idx
from vaelib.data.splits import quotas, stratified
from vaelib.errors import VaelibError

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def small_set(n_train: int = 60, n_test: int = 20) -> dict[str, bytes]:
    return {
        f"{part}-{kind}": idx(array)
        for part, n in (("train", n_train), ("t10k", n_test))
        for kind, array in (
            ("images-idx3-ubyte", RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8)),
            ("labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8)),
        )
    }


@pytest.fixture
def published(monkeypatch) -> dict[str, bytes]:
    """A small stand-in for the published MNIST and FashionMNIST."""
    content = small_set()
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in content.items()}
    monkeypatch.setattr(sources, "IDX_MD5", {"MNIST": md5, "FashionMNIST": md5})
    monkeypatch.setattr(sources, "FULL", {"train": 60, "t10k": 20})
    return content


def put(root: Path, content: dict[str, bytes], name: str = "MNIST", zipped: bool = True) -> Path:
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    for file, data in content.items():
        (folder / f"{file}{'.gz' * zipped}").write_bytes(gzip.compress(data) if zipped else data)
    return folder


@pytest.mark.parametrize("shape", [(3, 4, 5), (7,), (1, 28, 28)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_round_trip(tmp_path, shape, pack):
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "file").write_bytes(pack(idx(array)))
    found, md5 = read_idx(tmp_path / "file", len(shape))
    assert np.array_equal(found, array)
    assert md5 == hashlib.md5(idx(array)).hexdigest()


def test_an_idx_file_is_read_again_only_if_it_looks_another(tmp_path):
    """A notebook asks for its data set some ten times, and unpacking one takes half a second."""
    path, array = tmp_path / "file", np.zeros((3, 4, 5), np.uint8)
    path.write_bytes(gzip.compress(idx(array)))
    found, _ = read_idx(path, 3)
    assert read_idx(path, 3)[0] is found
    assert not found.flags.writeable
    path.write_bytes(gzip.compress(idx(array + 1)))
    assert (read_idx(path, 3)[0] == 1).all()


ARRAY = idx(np.zeros((3, 4, 5), np.uint8))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ARRAY[:-1], "truncated or foreign"),
        (ARRAY + b"1", "truncated or foreign"),
        (gzip.compress(ARRAY)[:-9], "whole gzip file"),
        (b"<html>no such page</html>", "magic 00 00 08 03"),
        (b"", "found 0 bytes"),
        (idx(np.zeros(3, np.uint8)), "3 dimensions"),
    ],
    ids=["short", "long", "gzip cut", "web page", "empty", "one axis"],
)
def test_damaged_idx_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(VaelibError, match=words) as error:
        read_idx(path, 3)
    assert str(path) in str(error.value)
    assert "delete this file" in str(error.value)


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("fashion_mnist", "FashionMNIST/raw", "train-images-idx3-ubyte"),
        ("cifar10", sources.CIFAR_FOLDER, "data_batch_1"),
    ],
)
def test_a_file_that_cannot_be_opened_is_one_line(tmp_path, name, folder, file):
    """A folder in a file's place stands in for one without the right to read it, which root always has."""
    for one in (*sources.IDX_MD5["FashionMNIST"], *sources.CIFAR_MD5):
        (tmp_path / folder / one).mkdir(parents=True)
    with pytest.raises(VaelibError, match=rf"{name}: cannot read .*{file} \(Is a directory\); make it readable"):
        load_dataset(name, roots=[tmp_path], download=False)


@pytest.mark.parametrize("zipped", [True, False])
def test_published_files_are_exact_and_padded(tmp_path, published, zipped):
    put(tmp_path, published, "FashionMNIST", zipped)
    data = load_dataset("fashion_mnist", roots=[tmp_path], download=False)
    assert (data.exact, data.source) == (True, "FashionMNIST, bit-exact")
    assert data.train.shape == (60, 1, 32, 32)
    assert data.train.dtype == torch.uint8
    assert data.train.is_contiguous()
    assert data.train_labels.dtype == torch.int64
    original = np.frombuffer(published["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(60, 28, 28)
    assert np.array_equal(data.train[:, 0, 2:30, 2:30], original)
    assert data.train.sum(dtype=torch.int64) == original.sum(dtype=np.int64)


def test_binary_mnist_is_rounded_at_a_half(tmp_path, published):
    put(tmp_path, published)
    data = load_dataset("binary_mnist", roots=[tmp_path], download=False)
    original = np.frombuffer(published["t10k-images-idx3-ubyte"], np.uint8, offset=16).reshape(20, 28, 28)
    assert set(data.train.unique().tolist()) == {0, 255}
    assert np.array_equal(data.test[:, 0, 2:30, 2:30] / 255, np.round(original / 255.0))


def test_full_count_with_another_md5_is_refused(tmp_path, published):
    for name in published:
        damaged = published | {name: published[name][:-1] + bytes([published[name][-1] ^ 1])}
        folder = put(tmp_path / name, damaged)
        with pytest.raises(VaelibError, match="with MD5") as error:
            load_dataset("binary_mnist", roots=[tmp_path / name], download=False)
        assert str(folder / name) in str(error.value)


def test_part_of_the_test_set_is_labelled(tmp_path, published, monkeypatch):
    images = np.frombuffer(published["t10k-images-idx3-ubyte"], np.uint8, offset=16).reshape(20, 28, 28)
    part = idx(images[:7])
    put(tmp_path, published | {"t10k-images-idx3-ubyte": part})
    # Nothing says of which set these are a part.
    data = load_dataset("binary_mnist", roots=[tmp_path], download=False)
    assert not data.exact
    assert data.source == "MNIST, bit-exact train, 7 test images, unverified, rounded at 0.5"
    assert data.test_labels.tolist() == list(range(7))
    known = hashlib.md5(part).hexdigest(), hashlib.md5(published["t10k-labels-idx1-ubyte"]).hexdigest()
    monkeypatch.setattr(sources, "FIRST_MD5", {known: "first 7"})
    data = load_dataset("binary_mnist", roots=[tmp_path], download=False)
    assert "bit-exact train, first 7 of 20 test images" in data.source
    # Known images beside labels of others.
    shuffled = idx(np.arange(9, -1, -1, dtype=np.uint8))
    put(tmp_path / "other", published | {"t10k-images-idx3-ubyte": part, "t10k-labels-idx1-ubyte": shuffled})
    assert "unverified" in load_dataset("binary_mnist", roots=[tmp_path / "other"], download=False).source


def test_whole_images_need_their_own_labels(tmp_path, published):
    put(tmp_path, published | {"t10k-labels-idx1-ubyte": idx(np.zeros(21, np.uint8))})
    with pytest.raises(VaelibError, match="t10k-labels"):
        load_dataset("binary_mnist", roots=[tmp_path], download=False)


def test_part_of_the_training_set_is_refused(tmp_path, published):
    put(tmp_path, published | {"train-images-idx3-ubyte": idx(np.zeros((30, 28, 28), np.uint8))})
    with pytest.raises(VaelibError, match="train-images"):
        load_dataset("binary_mnist", roots=[tmp_path], download=False)


def test_roots_are_searched_in_order(tmp_path, published):
    put(tmp_path / "second", published)
    put(tmp_path / "third", dict.fromkeys(published, b"junk"))
    (tmp_path / "first" / "MNIST" / "raw").mkdir(parents=True)
    roots = [tmp_path / name for name in ("first", "second", "third")]
    assert load_dataset("binary_mnist", roots=roots, download=False).exact


@pytest.mark.parametrize("n", [1, 9, 10, 33, 100, 477])
def test_quotas_keep_proportions(n):
    counts = np.array([200, 100, 7, 170])
    places = quotas(counts, n)
    assert places.sum() == n
    assert (places <= counts).all()
    assert (np.abs(places - n * counts / counts.sum()) < 1).all()


def test_subsets_are_stratified_nested_and_seeded():
    labels = np.repeat([0, 1, 2, 5], [200, 100, 50, 150])
    large, small = (stratified(labels, n, 0, "subset") for n in (200, 100))
    assert np.unique(labels[small], return_counts=True)[1].tolist() == [40, 20, 10, 30]
    assert len(set(large)) == 200
    for label in np.unique(labels):
        mine = large[labels[large] == label]
        assert np.array_equal(small[labels[small] == label], mine[: len(mine) // 2])
    assert np.array_equal(small, stratified(labels, 100, 0, "subset"))
    assert not np.array_equal(small, stratified(labels, 100, 1, "subset"))
    assert not np.array_equal(labels[small], np.sort(labels[small]))


def test_with_fewer_places_than_classes_every_class_has_its_chance():
    """By largest remainder the same classes went without at every seed."""
    labels = np.repeat(np.arange(10), 30)
    drawn = [labels[stratified(labels, 5, seed, "subset")] for seed in range(40)]
    assert all(len(set(classes)) == 5 for classes in drawn)
    share = np.bincount(np.concatenate(drawn), minlength=10) / len(drawn)
    assert share.min() > 0.2  # of 0.5, with a standard deviation of 0.08
    assert share.max() < 0.8
    large, small = (stratified(labels, n, 0, "subset") for n in (5, 3))
    assert np.array_equal(small, large[:3])


@pytest.mark.parametrize("setting", ["n_train", "n_test"])
@pytest.mark.parametrize("n", [0, -1, 61])
def test_impossible_sizes_name_the_setting(tmp_path, published, setting, n):
    put(tmp_path, published)
    with pytest.raises(VaelibError, match=rf"{setting} = {n} .* the (60|20) images"):
        load_dataset("binary_mnist", roots=[tmp_path], download=False, **{setting: n})


def test_subset_of_a_data_set(tmp_path, published):
    put(tmp_path, published)
    data = load_dataset("binary_mnist", n_train=30, n_test=10, seed=3, roots=[tmp_path], download=False)
    again = load_dataset("binary_mnist", n_train=30, n_test=10, seed=3, roots=[tmp_path], download=False)
    assert data.train_labels.bincount().tolist() == [3] * 10
    assert data.test_labels.bincount().tolist() == [1] * 10
    assert torch.equal(data.train, again.train)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fashion-mnist", "did you mean fashion_mnist"),
        ("cifar100", "did you mean cifar10"),
        ("no/such.npz", "spelling"),
    ],
)
def test_unknown_names(name, words):
    with pytest.raises(VaelibError, match=words) as error:
        load_dataset(name)
    assert all(known in str(error.value) for known in dataset_names())


@pytest.mark.parametrize(
    ("name", "source", "allowed"),
    [
        ("cifar10", "lossless", "auto, original, lossless_4k, jpeg"),
        ("binary_mnist", "jpeg", "auto, full, mnist-5k"),
        ("fashion_mnist", "full", "auto"),
    ],
)
def test_unknown_sources(name, source, allowed):
    with pytest.raises(VaelibError, match=allowed):
        load_dataset(name, source=source)


@pytest.mark.parametrize("name", ["fashion_mnist", "binary_mnist", "cifar10"])
def test_missing_data_names_the_way_out(tmp_path, name):
    with pytest.raises(VaelibError, match="VAELIB_DATA") as error:
        load_dataset(name, roots=[tmp_path], download=False)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_data_root_that_is_no_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("VAELIB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(VaelibError, match=r"VAELIB_DATA = .*nowhere"):
        load_dataset("cifar10", download=False)


def test_the_archive_follows_the_mirrors(tmp_path, published, monkeypatch):
    asked = []
    monkeypatch.setattr(sources, "download", lambda files, mirrors, folder, otherwise: asked.append(otherwise))

    def debian(folder, names):
        assert sorted(names) == sorted(f"{name}.gz" for name in published)
        put(tmp_path / "cache", published, "FashionMNIST")

    monkeypatch.setattr(sources, "fashion_mnist_from_debian", debian)
    pytest.importorskip("torchvision", reason="torchvision not installed")
    assert load_dataset("fashion_mnist", roots=[tmp_path / "given", tmp_path / "cache"]).exact
    assert asked == ["Debian's archive"]
    assert not (tmp_path / "given").exists()


def test_mnist_5k_is_cached_and_split(tmp_path, monkeypatch):
    arrays = {"images": np.zeros((5000, 28, 28), np.uint8), "labels": np.repeat(np.arange(10, dtype=np.uint8), 500)}
    table = np.column_stack([arrays["images"].reshape(5000, -1), arrays["labels"]])
    monkeypatch.setattr(sources, "MNIST_5K_MD5", hashlib.md5(table.tobytes()).hexdigest())

    def wheel(path):
        path.parent.mkdir()
        np.savez(path, **arrays)

    monkeypatch.setattr(sources, "mnist_5k_from_wheel", wheel)
    data = load_dataset("binary_mnist", source="mnist-5k", roots=[tmp_path])
    assert (len(data.train), len(data.test), data.exact) == (4000, 1000, False)
    assert data.test_labels.bincount().tolist() == [100] * 10
    assert "mnist-5k" in data.source
    monkeypatch.delattr(sources, "mnist_5k_from_wheel")
    assert torch.equal(load_dataset("binary_mnist", roots=[tmp_path], download=False).train, data.train)


@pytest.mark.parametrize(
    ("name", "file", "shape"),
    [
        ("binary_mnist", "mnist-5k/mnist_5k.npz", (5000, 28, 28)),
        ("cifar10", "cifar10-4k/cifar10_4k.npz", (4000, 32, 32, 3)),
    ],
)
@pytest.mark.parametrize("labels", [np.uint8, np.int64])
def test_other_images_under_a_known_name_are_refused(tmp_path, name, file, shape, labels):
    (tmp_path / file).parent.mkdir()
    np.savez(tmp_path / file, images=np.zeros(shape, np.uint8), labels=np.zeros(shape[0], labels))
    with pytest.raises(VaelibError, match=Path(file).name):
        load_dataset(name, roots=[tmp_path], download=False)


# CIFAR-10


@pytest.fixture
def cifar(tmp_path, monkeypatch) -> Path:
    """A small stand-in for cifar-10-python.tar.gz."""
    archive, md5 = tmp_path / "cifar" / sources.CIFAR_TAR, {}
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for name in sources.CIFAR_MD5:
            images = RNG.integers(0, 256, (10, 3072), dtype=np.uint8)
            content = pickle.dumps({b"data": images, b"labels": list(range(10))})
            md5[name] = hashlib.md5(content).hexdigest()
            info = tarfile.TarInfo(f"{sources.CIFAR_FOLDER}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(sources, "CIFAR_MD5", md5)
    monkeypatch.setattr(sources, "CIFAR_TAR_MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    return archive.parent


def test_cifar_is_unpacked_into_the_cache_only(tmp_path, cifar):
    data = load_dataset("cifar10", roots=[cifar, tmp_path / "cache"], download=False)
    assert (data.train.shape, data.test.shape, data.exact) == ((50, 3, 32, 32), (10, 3, 32, 32), True)
    assert data.source == sources.CIFAR_EXACT
    assert [path.name for path in cifar.iterdir()] == [sources.CIFAR_TAR]
    batch = tmp_path / "cache" / sources.CIFAR_FOLDER / "data_batch_1"
    rows = pickle.loads(batch.read_bytes())[b"data"]
    assert np.array_equal(data.train[:10].reshape(10, -1), rows)


def test_a_batch_with_another_md5_is_never_unpickled(tmp_path, cifar):
    load_dataset("cifar10", roots=[cifar, tmp_path / "cache"], download=False)
    batch = tmp_path / "cache" / sources.CIFAR_FOLDER / "test_batch"
    batch.write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(VaelibError, match="test_batch: expected"):
        load_dataset("cifar10", roots=[tmp_path / "cache"], download=False)
    (cifar / sources.CIFAR_TAR).write_bytes(b"junk")
    with pytest.raises(VaelibError, match=sources.CIFAR_TAR):
        load_dataset("cifar10", roots=[cifar], download=False)


# The real files, where VAELIB_DATA holds them


def real(*names: str) -> list[Path]:
    root = Path(os.environ.get("VAELIB_DATA", "/nonexistent"))
    if not any((root / name).exists() for name in names):
        pytest.skip(f"VAELIB_DATA holds no {' or '.join(names)}")
    return [root]


def test_real_mnist():
    data = load_dataset("binary_mnist", roots=real("MNIST/raw"), download=False)
    assert len(data.train) == 60_000
    assert data.train_labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.exact == (len(data.test) == 10_000)
    assert data.exact or len(data.test) != 3_000 or "first 3,000 of 10,000 test images" in data.source
    assert 0.08 < (data.train > 0).float().mean() < 0.12


def test_real_fashion_mnist():
    data = load_dataset("fashion_mnist", roots=real("FashionMNIST/raw"), download=False)
    assert data.exact
    assert data.train_labels.bincount().tolist() == [6000] * 10


def test_real_lossless_cifar10():
    roots = real("cifar10-4k/cifar10_4k.npz")
    data = load_dataset("cifar10", source="lossless_4k", roots=roots, download=False)
    assert data.train.shape == (3000, 3, 32, 32)
    assert "subset" in data.source
    assert datasets.subset(data.test_labels.numpy(), 100, 0, "n_test").shape == (100,)


def test_an_archive_called_cifar10_is_believed_by_its_checksum_alone(tmp_path, monkeypatch):
    """Whatever else lies under that name is said to be unverified; a cache from before there were marks is made anew."""
    images, labels = np.zeros((3, 32, 32, 3), np.uint8), np.zeros(3, np.int64)
    arrays = {"train": images, "train_labels": labels, "test": images, "test_labels": labels}
    monkeypatch.setattr(sources, "_decode_jpegs", lambda path: arrays)
    archive, cache = tmp_path / "cifar10-jpeg.tar.xz", tmp_path / "cache"
    archive.write_bytes(b"others")
    said = [sources.cifar10([tmp_path, cache], "jpeg", False).source]
    (cache / "cifar10-jpeg/in_turn.md5").unlink()
    monkeypatch.setattr(sources, "CIFAR_JPEG_MD5", hashlib.md5(b"others").hexdigest())
    said.append(sources.cifar10([tmp_path, cache], "jpeg", False).source)
    archive.unlink()
    said.append(sources.cifar10([tmp_path, cache], "jpeg", False).source)
    assert said == ["CIFAR-10 JPEG copy (lossy, unverified)", *2 * ["CIFAR-10 JPEG copy (lossy)"]]


@pytest.mark.slow
def test_real_jpeg_cifar10(tmp_path):
    roots = [*real("cifar10-jpeg.tar.xz"), tmp_path]
    first, cached = (load_dataset("cifar10", source="jpeg", roots=roots, download=False) for _ in range(2))
    assert (len(first.train), len(first.test)) == (50_000, 10_000)
    assert first.source == "CIFAR-10 JPEG copy (lossy)"  # as it was, since labels are part of keys
    assert first.train_labels.bincount().tolist() == [5000] * 10
    assert first.test_labels[:1_000].bincount().tolist() == [100] * 10  # not class by class
    assert torch.equal(first.train, cached.train)
