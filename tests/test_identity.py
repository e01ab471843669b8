"""What images of one's own are called: by what they are, not by where they lie."""

import numpy as np
import pytest

from vaelib import runs
from vaelib.data import dataset_names
from vaelib.data.identity import dataset_from_here, dataset_tag
from vaelib.errors import VaelibError
from vaelib.report.publish import stem
from vaelib.runs import Data
from vaelib.studies.three_gaps.runs import three_gaps

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 8, 8), dtype=np.uint8)


def write(path, images=IMAGES):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=images, labels=np.arange(len(images)) % 2)
    return str(path)


def test_a_known_name_is_its_own_tag():
    assert [dataset_tag(name) for name in dataset_names()] == list(dataset_names())


def test_other_content_is_another_tag_and_the_same_is_the_same(tmp_path):
    first = dataset_tag(write(tmp_path / "a/images.npz"))
    content = (tmp_path / "a/images.npz").read_bytes()
    assert first.startswith("images-")
    assert dataset_tag(str(tmp_path / "a/images.npz")) == first
    (tmp_path / "b").mkdir()
    (tmp_path / "b/images.npz").write_bytes(content)
    assert dataset_tag(str(tmp_path / "b/images.npz")) == first
    write(tmp_path / "a/images.npz", 255 - IMAGES)
    assert dataset_tag(str(tmp_path / "a/images.npz")) != first


def test_a_folder_follows_its_images_and_nothing_else(tmp_path):
    folder = tmp_path / "set.v1"
    for name in ("cat/1.png", "dog/1.png"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"pixels")
    first = dataset_tag(str(folder))
    assert first.startswith("set_v1-")
    assert dataset_tag(f"{folder}/") == first
    for name in ("cat/.DS_Store", "cat/.thumbnails/1.png", "notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert dataset_tag(str(folder)) == first
    (folder / "cat/1.png").touch()
    assert dataset_tag(str(folder)) == first
    (folder / "cat/2.png").write_bytes(b"more")
    second = dataset_tag(str(folder))
    (folder / "cat/2.png").rename(folder / "dog/2.png")  # another class
    assert len({first, second, dataset_tag(str(folder))}) == 3


@pytest.mark.parametrize(
    "name", ["my photos", "2024-01-01", "2024", "photos #1", "a'\"b", "$HOME", "<img src=x>", "a;b&c", "-p", "…"]
)
def test_a_tag_is_a_plain_word(tmp_path, name):
    path = write(tmp_path / f"{name}.npz")
    plain, _, digest = dataset_tag(path).rpartition("-")
    assert plain.replace("-", "").replace("_", "").isalnum() or name == "-p"
    assert len(digest) == 8


def test_what_is_no_data_set_is_refused_in_the_loaders_words(tmp_path):
    for name in ("fashion_minst", str(tmp_path / "none"), ""):
        with pytest.raises(VaelibError, match="is unknown; choose one of fashion_mnist"):
            dataset_tag(name)


def test_a_relative_path_becomes_absolute_where_it_was_given(tmp_path, monkeypatch):
    write(tmp_path / "mine.npz")
    monkeypatch.chdir(tmp_path)
    assert dataset_from_here("mine.npz") == str(tmp_path / "mine.npz")
    assert dataset_from_here("cifar10") == "cifar10"
    assert dataset_from_here("mine.np") == "mine.np"


def test_runs_tables_and_figures_follow_the_tag_and_not_the_path(tmp_path, monkeypatch):
    paths = [write(tmp_path / folder / "images.npz") for folder in "ab"]
    (tmp_path / "b/images.npz").write_bytes((tmp_path / "a/images.npz").read_bytes())
    first, second = (three_gaps("smoke", path) for path in paths)
    assert [run.key for run in first.runs] == [run.key for run in second.runs]
    assert first.dataset == first.data.name == stem(first) == dataset_tag(paths[0])
    assert (first.data.place, second.data.place) == tuple(paths)
    monkeypatch.chdir(tmp_path / "a")
    assert three_gaps("smoke", "images.npz").data.place == paths[0]  # workers have another folder
    write(tmp_path / "a/images.npz", 255 - IMAGES)
    assert stem(three_gaps("smoke", paths[0])) != stem(first)


def test_the_keys_of_known_data_sets_are_what_they_were():
    """Computed before images of one's own had tags."""
    known = Data(name="fashion_mnist", n_train=1000, n_test=10_000, label="FashionMNIST, bit-exact", digest="0" * 20)
    assert known.key == "de6fcd6a3dcb17c1765f"
    assert runs.VAERun(data=known, network={"likelihood": "mol"}).key == "4ee1cd4a954a88800c70"
