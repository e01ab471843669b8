"""Shared by all tests: one thread (so that bits repeat), ``--slow``, ``--quick``, a build folder of each test's own, a browser."""

import os
import shutil
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

from vaelib.precision import usable_gpus

torch.set_num_threads(1)

# Of the suite's quick part (`make test-pythons`) is what shows whether the library works with these versions. These files start
# browsers, kernels, clusters or make, whose own versions are not the library's.
NOT_QUICK = {"browser", "cluster", "makefile", "notebooks", "smoke", "survival", "together"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: CI runs as root. The rest keeps a browser from looking for its maker's hosts.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PICTURES = Path(__file__).resolve().parents[1] / "build" / "screenshots"


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run tests that take minutes")
    parser.addoption("--quick", action="store_true", help="without browsers, notebooks, clusters and make")


def pytest_ignore_collect(collection_path, config):
    return True if config.getoption("--quick") and collection_path.stem.removeprefix("test_") in NOT_QUICK else None


def pytest_collection_modifyitems(config, items):
    # The longest file first: `make test` gives whole files to two processes, and one would end alone with it.
    items.sort(key=lambda item: item.path.name != "test_smoke.py")
    for item in items:  # by marker: keywords hold the names of folders too, and the project may lie in one called "gpu"
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow (make test SLOW=1)"))
        if item.get_closest_marker("gpu") and not usable_gpus():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def environment():
    """Fail a test that leaves the current folder, or the environment that its like read, otherwise than it found them."""
    read = (
        "VAELIB_",
        "DASK_",
        "__DASK_",
        "OMP_",
        "MKL_",
        "MALLOC_",
        "MPL",
        "PYTHON",
    )  # packages set others when imported

    def found():
        return os.getcwd(), {name: text for name, text in os.environ.items() if name.startswith(read)}

    before = found()
    yield
    assert found() == before


@pytest.fixture(scope="session", autouse=True)
def build_folder_of_modules(tmp_path_factory):
    """Point ``$VAELIB_BUILD`` away from the checkout's build for the fixtures of whole modules, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAELIB_BUILD", str(tmp_path_factory.mktemp("build")))
        yield


@pytest.fixture(autouse=True)
def build_folder(environment, tmp_path, monkeypatch):
    """Point ``$VAELIB_BUILD`` at an empty folder, so that no test reads or leaves anything in the checkout."""
    monkeypatch.setenv("VAELIB_BUILD", str(tmp_path / "build"))
    return tmp_path / "build"


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """Return the path of a small data set: 100 images of two classes, of which 80 are for training."""
    rng, labels = np.random.default_rng(0), np.arange(100) % 2
    images = (rng.random((100, 28, 28)) * 80 + 100 * labels[:, None, None]).astype(np.uint8)
    path = tmp_path_factory.mktemp("toy") / "toy.npz"
    np.savez(path, images=images, labels=labels)
    return str(path)


@pytest.fixture(scope="module")
def browser():
    """Return a running Chromium, or skip (in CI: fail) with what is missing."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path, sync_playwright = None, None
    if path is None:
        reason = "no browser: apt-get install chromium, pip install playwright"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()
