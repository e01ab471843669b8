"""Where a result comes from: versions, commit, device and cores; all that is installed, and what memory it took."""

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from .. import paths
from ..precision import bf16_pays, gpus_for
from ..version import __version__


def cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def provenance(device: str = "auto") -> dict[str, str]:
    """Return versions, commit and device: what a reader needs to trust or repeat a result."""
    there = packages()
    versions = {name: there[name] for name in ("torch", "numpy", "diffusers") if name in there}
    gpus = gpus_for(device)
    name = torch.cuda.get_device_name(gpus[0]) if gpus else f"CPU, {cores()} cores"
    name += ", bfloat16" if bf16_pays("cuda" if gpus else "cpu") else ", float32 only"
    return {"vaelib": __version__, "commit": commit(), "python": platform.python_version(), "device": name} | versions


@cache
def commit() -> str:
    """Return the checkout's short commit, with ``+`` if files differ from it; ``none`` outside a checkout."""
    git = ["git", "-C", str(paths.project_root())]
    try:
        text = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        status = [*git, "status", "--porcelain", "--", "."]
        if paths.project_root() in paths.build_root().parents:  # of another name than build/ it is not ignored
            status.append(f":(exclude,literal){paths.build_root().relative_to(paths.project_root()).as_posix()}")
        clean = not subprocess.run(status, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return text.strip() + ("" if clean else "+")


@cache
def processor() -> str:
    """Return the processor's model as the system names it."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        if sys.platform == "darwin":
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine() or "unknown"


@cache
def packages() -> dict[str, str]:
    """Return the version of every installed package by name."""
    found = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    return {name: found[name] for name in sorted(filter(None, found), key=str.lower)}


def packages_digest(installed: Mapping[str, str]) -> str:
    """Return twelve hex digits that are equal where all versions are.

    >>> packages_digest({"a": "1"}) == packages_digest({"a": "1"}) != packages_digest({"a": "2"})
    True
    """
    return hashlib.sha256("\n".join(f"{k}=={v}" for k, v in installed.items()).encode()).hexdigest()[:12]


def environment() -> dict[str, Any]:
    """Return the rest of what may matter: processor, system, threads of torch, every installed package."""
    return {
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "packages": packages(),
    }


def forget_peak() -> None:
    """Let :func:`peak_memory` begin anew, where the system can (Linux); else it counts from the start of the process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory() -> int | None:
    """Return the most memory (bytes) that this process had in use since :func:`forget_peak`; None: not to be known."""
    # Linux, unless a sandbox leaves the line out. (getrusage would count what the parent had before this process was started.)
    with contextlib.suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
