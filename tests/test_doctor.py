"""The doctor: it sees what is there, says what a missing thing costs, and touches nothing."""

import pytest

from vaelib import doctor
from vaelib.data import dataset_names


def found(name):
    return {one.name: one for one in doctor.examine()}[name]


def test_it_names_all_it_looks_for_and_leaves_nothing_behind(build_folder, capsys):
    from vaelib.cli import doctor as command

    command()
    text = capsys.readouterr().out
    for name in ("python", "torch", "device", "cores", "bfloat16", "build", "browser", *dataset_names(), "diffusers"):
        assert f" {name} " in text
    assert text.count("! ") == sum(bool(one.cost) for one in doctor.examine())
    assert not build_folder.exists()


def test_every_data_set_has_its_places():
    assert set(doctor.PLACES) == set(dataset_names())


def test_data_is_seen_where_the_library_looks(tmp_path, monkeypatch):
    monkeypatch.setenv("VAELIB_DATA", str(tmp_path))
    assert "downloads" in found("fashion_mnist").cost
    (tmp_path / "FashionMNIST/raw").mkdir(parents=True)
    assert "downloads" in found("fashion_mnist").cost  # it is empty
    (tmp_path / "FashionMNIST/raw/train-images-idx3-ubyte").touch()
    assert found("fashion_mnist") == ("fashion_mnist", str(tmp_path / "FashionMNIST/raw"), "")


def test_a_data_folder_that_is_none_is_told(monkeypatch):
    monkeypatch.setenv("VAELIB_DATA", "/nope")
    assert found("VAELIB_DATA") == (
        "VAELIB_DATA",
        "/nope is no folder",
        "correct it or unset it: until then no data set can be read",
    )


@pytest.mark.parametrize(("browser", "cost"), [("/bin/chromium", False), (None, True)])
def test_a_missing_browser_costs_the_browser_tests(monkeypatch, browser, cost):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: browser)
    assert bool(found("browser").cost) == cost


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_whose_driver_is_too_old_is_told(monkeypatch, there):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/bin/nvidia-smi" if there else None)
    monkeypatch.setattr(doctor.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.torch.version, "cuda", "13.0")
    assert ("for CUDA 13.0 the driver may be too old; update it" in found("device").cost) == there


def test_workers_that_take_turns_on_a_gpu_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert "CUDA MPS" not in {one.name for one in doctor.examine()}
    monkeypatch.setattr(doctor, "usable_gpus", lambda: [0])
    monkeypatch.setattr(doctor.torch.cuda, "get_device_name", lambda number=0: "a card")
    assert "take turns on a GPU: start `nvidia-cuda-mps-control -d`" in found("CUDA MPS").cost
    (tmp_path / "control").touch()
    assert found("CUDA MPS") == ("CUDA MPS", "on", "")


def test_a_small_disk_and_a_missing_package_are_told(monkeypatch):
    usage = doctor.shutil.disk_usage("/")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage._replace(free=2**30))
    monkeypatch.setitem(doctor.PACKAGES, "no-such-package", "nothing works")
    assert "VAELIB_BUILD" in found("build").cost
    assert found("no-such-package").cost.startswith("nothing works; pip install")
    assert "missing or small" in doctor.format_findings(doctor.examine())
