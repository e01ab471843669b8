"""What a machine has for this project, and what each missing thing costs (``vaelib doctor``)."""

import os
import platform
import shutil
from pathlib import Path
from typing import NamedTuple

import torch

from . import paths
from .data import dataset_names
from .data.sources import CIFAR_FOLDER, CIFAR_TAR
from .precision import bf16_pays, mps_runs, usable_gpus
from .runs import Store
from .runs.provenance import commit, cores, packages
from .version import __version__

# Where a data set is looked for under each root, and what its absence costs.
PLACES = {
    "fashion_mnist": (("FashionMNIST/raw",), "`vaelib fetch` downloads 30 MB, from a mirror or Debian's archive"),
    "binary_mnist": (
        ("MNIST/raw", "mnist-5k"),
        "`vaelib fetch --dataset binary_mnist` downloads it, or 5,000 images of it",
    ),
    "cifar10": (
        (CIFAR_FOLDER, CIFAR_TAR, "cifar10-4k", "cifar10-jpeg", "cifar10-jpeg.tar.xz"),
        "170 MB from a slow host; without it Fig. 2 and the sweeps run on FashionMNIST alone",
    ),
}
PACKAGES = {  # as pip knows them
    "diffusers": "no teacher can be trained or sampled, so no DMaaPx",
    "distributed": "runs one after another only (`--workers 0`)",
    "pandas": "no tables, no figures",
    "torchvision": "data sets are not downloaded from their mirrors",
    "scikit-learn": "no downstream tasks (notebook 05)",
    "jupyterlab": "no notebooks to open (`make lab`)",
    "papermill": "notebooks do not run headlessly, so `make` makes no figures",
    "ipywidgets": "no sliders and no bars in notebooks",
    "playwright": "the browser tests are skipped",
    "voila": "the browser test of notebooks without code is skipped",
    "pdoc": "no API reference (`make docs`)",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Finding(NamedTuple):
    """One line: what was looked for, what was found, and what its absence costs (empty where nothing lacks)."""

    name: str
    found: str
    cost: str = ""


def examine() -> list[Finding]:
    """Return what this machine has; nothing is downloaded, decoded or written."""
    return [*_machine(), *_places(), *_data(), *_packages()]


def _machine() -> list[Finding]:
    gpu, idle = usable_gpus(), torch.cuda.is_available()
    build = f"{torch.__version__} ({'CUDA ' + torch.version.cuda if torch.version.cuda else 'CPU'} build)"
    device = torch.cuda.get_device_name(gpu[0]) if gpu else "CPU"
    slow = "" if gpu else "smoke takes minutes, laptop's headline up to an hour; gpu and paper would take months"
    if idle and not gpu:
        slow = f"this PyTorch has no kernels for the {torch.cuda.get_device_name()}: install one that has; {slow}"
    elif torch.version.cuda and not gpu and shutil.which("nvidia-smi"):
        slow = (
            f"`nvidia-smi` is here, but torch sees no GPU: for CUDA {torch.version.cuda} the driver may be too old; update it, or "
            f"install a torch that fits; {slow}"
        )
    bf16 = bf16_pays("cuda" if gpu else "cpu")
    few = "" if gpu or cores() > 1 else "runs wait for each other: the headline takes twice as long as on two cores"
    turns = "workers take turns on a GPU: start `nvidia-cuda-mps-control -d` (docs/machines.md)"
    sharing = Finding("CUDA MPS", "on") if mps_runs() else Finding("CUDA MPS", "off", turns)
    return [
        Finding("vaelib", f"{__version__}, commit {commit()}"),
        Finding("python", platform.python_version()),
        Finding("torch", build),
        Finding("device", device, slow),
        *([sharing] if gpu else []),
        Finding("cores", str(cores()), few),
        Finding(
            "bfloat16", "yes" if bf16 else "no", "" if bf16 else "everything in float32: the teacher trains slower"
        ),
    ]


def _places() -> list[Finding]:
    build = paths.build_root()
    there = next(folder for folder in (build, *build.parents) if folder.exists())
    free = shutil.disk_usage(there).free / 2**30
    writable = os.access(there, os.W_OK)
    cost = "" if free > 5 else "laptop needs about 3 GiB: free some, or set VAELIB_BUILD to another disk"
    cost = cost if writable else "it cannot be written: set VAELIB_BUILD to another folder"
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    made = len(Store().finished())
    return [
        Finding("build", f"{paths.shown(build)}, {free:.0f} GiB free, {made} artifacts made", cost),
        Finding(
            "browser", browser or "none", "" if browser else "the browser tests are skipped; nothing else needs one"
        ),
    ]


def _data() -> list[Finding]:
    roots, found = paths.data_roots(), []
    for given in roots[:-1]:
        if not given.is_dir():
            cure = "correct it or unset it: until then no data set can be read"
            found.append(Finding("VAELIB_DATA", f"{given} is no folder", cure))
    for name in dataset_names():
        places, cost = PLACES.get(name, ((), ""))
        there = [root / place for root in roots for place in places if _has_files(root / place)]
        found.append(Finding(name, paths.shown(there[0]) if there else "not here yet", "" if there else cost))
    return found


def _has_files(place: Path) -> bool:
    """Return whether a place is a file, or a folder with one in it."""
    return place.is_file() or (place.is_dir() and any(one.is_file() for one in place.iterdir()))


def _packages() -> list[Finding]:
    there, cure = packages(), "pip install 'vaelib[all]' has it"
    return [
        Finding(name, there.get(name, "not installed"), "" if name in there else f"{cost}; {cure}")
        for name, cost in PACKAGES.items()
    ]


def format_findings(findings: list[Finding]) -> str:
    """Return the findings as text: a line each, what something costs below it, a sum at the end."""
    lines = []
    for name, found, cost in findings:
        lines += [f"{'!' if cost else ' '} {name:14} {found}"] + ([f"    {'':12} {cost}"] if cost else [])
    missing = sum(bool(one.cost) for one in findings)
    told = (
        f"{missing} {'thing is' if missing == 1 else 'things are'} missing or small"
        if missing
        else "everything is here"
    )
    return "\n".join([*lines, "", told])
