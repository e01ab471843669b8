"""A notebook is a pair: the ``.py`` is the source, the ``.ipynb`` is made from it; an executed copy is a build product.

``sync`` writes pairs in one direction only and the same text always gives the same bytes (stable cell ids); whatever a
person changed in an ``.ipynb`` alone is kept beside it. ``copies`` are what ``make lab`` opens, so that git stays clean.
"""

import hashlib
import itertools
import shutil
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from .. import paths
from ..errors import VaelibError
from ..files import write_text

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def clean_text(source: Path) -> str:
    """Return the ``.ipynb`` text of a py:percent notebook: no outputs, cell ids made from the cells' own text."""
    notebook, seen = jupytext.read(source), {}
    for cell in notebook.cells:
        digest = _digest(cell)
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    notebook.metadata["kernelspec"] = nbformat.from_dict(KERNEL)
    notebook.metadata.get("jupytext", {}).pop("text_representation", None)  # as jupytext itself does in an .ipynb
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def _digest(cell: Any) -> str:
    return hashlib.sha256((cell.cell_type + cell.source).encode()).hexdigest()[:8]


def _said(notebook: Any) -> list[tuple]:
    """Return what a person wrote: kind, text and tags of each cell; not what Jupyter adds by running and saving."""
    cells = [cell for cell in notebook.cells if cell.source.strip()]  # running the last cell opens an empty one
    return [(cell.cell_type, cell.source.rstrip(), cell.metadata.get("tags", [])) for cell in cells]


def compare(source: Path, notebook: Path) -> str:
    """Return how an ``.ipynb`` stands to its ``.py``, outputs aside: ``"same"``, ``"older"`` or ``"edited"``.

    Older: it is as :func:`clean_text` once wrote it. An edited one holds what only a person can have written: a cell whose
    id was not made from its text, or, where cells went or moved, a file that is younger than the ``.py``.
    """
    try:
        found = nbformat.reads(notebook.read_text(encoding="utf-8"), 4)
        said = _said(found)
    except (ValueError, AttributeError, KeyError, TypeError):
        return "edited"  # no notebook, a merge's conflict perhaps: nobody knows what is in it
    if said == _said(jupytext.read(source)):
        return "same"
    touched = any(cell.get("id", "").partition("-")[0] != _digest(cell) for cell in found.cells if cell.source.strip())
    return "edited" if touched or notebook.stat().st_mtime > source.stat().st_mtime else "older"


def sources(folder: Path | None = None) -> list[Path]:
    """Return the notebooks' sources in their order; they come with a checkout, not with the installed package.

    Raises:
        VaelibError: none are there.
    """
    folder = folder or paths.project_root() / "notebooks"
    found = sorted(folder.glob("[0-9]*.py"))
    if not found:
        raise VaelibError(
            f"{folder} holds no notebooks: they need a checkout of the repository; run this in its folder"
        )
    return found


def sync(check: bool = False, folder: Path | None = None) -> list[str]:
    """Write each ``.ipynb`` from its ``.py``, clean; return the names that were not so.

    An edit in the ``.ipynb`` alone is copied beside it first, and told. With ``check`` nothing is written, and outputs do
    not count.
    """
    changed = []
    for source in sources(folder):
        pair, text = source.with_suffix(".ipynb"), clean_text(source)
        if pair.exists() and (compare(source, pair) == "same" if check else pair.read_bytes() == text.encode()):
            continue
        changed.append(pair.name)
        if not check:
            if pair.exists() and compare(source, pair) == "edited":
                print(f"{pair.name} had an edit that {source.name} has not: kept as {_kept(pair)}", file=sys.stderr)
            write_text(pair, text)
    return changed


def _kept(pair: Path) -> str:
    """Copy a notebook beside itself under a name that is free, and return that name."""
    names = (f"{pair.stem}.edited{f'-{number}' if number > 1 else ''}.ipynb" for number in itertools.count(1))
    copy = next(path for path in map(pair.with_name, names) if not path.exists())
    shutil.copy2(pair, copy)
    return copy.name


def copies(out: Path, folder: Path | None = None) -> list[str]:
    """Put a copy of every notebook into ``out``, to be run and saved there; return the names that are the reader's own.

    A copy that says the same as its ``.py`` keeps its outputs, one from an older ``.py`` is renewed, an edited one stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    own = []
    for source in sources(folder):
        copy = out / f"{source.stem}.ipynb"
        state = compare(source, copy) if copy.exists() else "older"
        if state == "edited":
            own.append(copy.name)
        elif state == "older":
            write_text(copy, clean_text(source))
    return own
