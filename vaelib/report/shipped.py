"""Results that come with the project: ``results/<profile>``, what a reader should see before anything is trained.

They are copies of a build's tables, figures with their records, ledger, sliders and rendered notebooks. A report can be
drawn from them; a run never takes them for its own.
"""

import shutil
from pathlib import Path

from .. import paths
from ..errors import VaelibError
from .claims import require_build

KEPT = (
    "build.json",
    "claims.json",
    "tables/*.csv",
    "figures/*.png",
    "figures/*.json",
    "twins/*.json",
    "notebooks/*.html",
)
LARGEST, IN_ALL = 4_000_000, 25_000_000  # bytes of a file, and of everything below results/


def results_folder(profile: str) -> Path:
    """Return ``results/<profile>`` in the checkout."""
    return paths.project_root() / "results" / profile


def pack(profile: str) -> list[Path]:
    """Make ``results/<profile>`` a copy of what a reader wants of ``build/<profile>``; return its files.

    Raises:
        VaelibError: there is no build; a file, or all of them, would be too large. Then nothing is changed.
    """
    build, out = require_build(paths.build_root() / profile), results_folder(profile)
    found = sorted(path for pattern in KEPT for path in build.glob(pattern))
    large = [path.name for path in found if path.stat().st_size > LARGEST]
    if large:
        raise VaelibError(
            f"{', '.join(large)}: over {LARGEST / 1e6:.0f} MB; delete it from {paths.shown(build)} or make it smaller"
        )
    others = [path for path in out.parent.rglob("*") if path.is_file() and out not in path.parents]
    total = sum(path.stat().st_size for path in [*found, *others])
    if total > IN_ALL:
        raise VaelibError(
            f"results would take {total / 1e6:.0f} MB, over {IN_ALL / 1e6:.0f}: delete what few people open"
        )
    shutil.rmtree(out, ignore_errors=True)
    kept = [out / path.relative_to(build) for path in found]
    for path, copy in zip(found, kept, strict=True):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return kept


def shown_build(profile: str) -> tuple[Path, bool]:
    """Return the folder that a profile's report is drawn from, and whether it is the build's own, not the shipped one.

    Raises:
        VaelibError: there is neither.
    """
    build, shipped = paths.build_root() / profile, results_folder(profile)
    if not any(build.glob("tables/*.csv")) and shipped.is_dir():
        return shipped, False
    return require_build(build), True
