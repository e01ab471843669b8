"""Where a result comes from: versions, commit, device and cores."""

import os
import platform
import subprocess
from functools import cache
from importlib import metadata

import torch

from .. import paths
from ..precision import bf16_pays
from ..version import __version__


def cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def provenance() -> dict[str, str]:
    """Return versions, commit and device: what a reader needs to trust or repeat a result."""
    packages = ("torch", "numpy", "diffusers")
    versions = {name: metadata.version(name) for name in packages if _installed(name)}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {cores()} cores"
    device += ", bfloat16" if bf16_pays("cuda" if torch.cuda.is_available() else "cpu") else ", float32 only"
    return {"vaelib": __version__, "commit": commit(), "python": platform.python_version(), "device": device} | versions


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@cache
def commit() -> str:
    """Return the checkout's short commit, with ``+`` if files differ from it; ``none`` outside a checkout."""
    git = ["git", "-C", str(paths.project_root())]
    try:
        text = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        clean = not subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return text.strip() + ("" if clean else "+")
