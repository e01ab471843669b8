"""Where things lie; absolute, so a notebook, a test and the command line agree whatever folder they start in."""

import os
from pathlib import Path


def project_root() -> Path:
    """Return the checkout this package is installed from, else the current folder."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "pyproject.toml").exists() else Path.cwd()


def expanded(name: str | Path) -> Path:
    """Return a path with ``~`` read as the home folder; where there is no such home, ``~name`` is a name like any other."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def build_root() -> Path:
    """Return the folder of everything made: ``$VAELIB_BUILD``, else ``build/`` in the checkout."""
    return expanded(os.environ.get("VAELIB_BUILD") or project_root() / "build").resolve()


def results_folder(profile: str) -> Path:
    """Return ``results/<profile>`` in the checkout: results that come with the project."""
    return project_root() / "results" / profile


def weights_file(folder: Path, name: str) -> Path:
    """Return where a build's ``folder``, or that of shipped results, has weights."""
    return folder / "weights" / f"{name}.safetensors"


def data_roots() -> list[Path]:
    """Return the folders searched for data sets: ``$VAELIB_DATA`` (only read), then our own cache."""
    given = os.environ.get("VAELIB_DATA")
    return ([expanded(given).resolve()] if given else []) + [build_root() / "data"]


def from_here(name: str) -> str:
    """Return the absolute path of what lies at ``name`` as seen from this folder; a name of nothing stays as it is.

    A kernel works in the notebooks' folder and workers anywhere, so paths are made absolute where they are given.
    """
    path = expanded(name)
    return os.path.abspath(path) if name and path.exists() else name


def shown(path: Path) -> str:
    """Return a path as a person in this folder would type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
