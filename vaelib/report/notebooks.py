"""Notebooks: the ``.py`` is the source, the ``.ipynb`` its clean pair, an executed copy is a build product.

``sync`` writes pairs in one direction only and the same text always gives the same bytes (stable cell ids); whatever a
person changed in an ``.ipynb`` alone is kept beside it. ``copies`` are what ``make lab`` opens, so that git stays clean.
``run`` executes a source through papermill: a misspelt parameter is fatal (papermill alone warns and runs the full
budget), the target appears by rename after every cell has run, and a failed run stays beside it as a hidden part file.
"""

import ast
import difflib
import hashlib
import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from .. import paths
from ..errors import VaelibError
from ..files import write_atomic

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
FIRST = {"profile": "laptop", "dataset": "fashion_mnist"}  # so that Run All is affordable
HOW_TO_KEEP = "`jupytext --to py:percent` on the .ipynb takes the edit over, `make sync` undoes it and keeps a copy"
CELL_LINES, IMPORT_LINES, DEFINITION_LINES = 10, 15, 5


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
    """Return the notebooks' sources in their order."""
    return sorted((folder or paths.project_root() / "notebooks").glob("[0-9]*.py"))


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
            write_atomic(pair, lambda part, text=text: part.write_text(text, encoding="utf-8"))
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
            write_atomic(copy, lambda part, text=clean_text(source): part.write_text(text, encoding="utf-8"))
    return own


def lint(path: Path) -> list[str]:
    """Return how a notebook breaks the house rules, a line each; empty where it keeps them."""
    path = Path(path)
    notebook = jupytext.read(path)
    wrong = []
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        wrong.append("its header names no kernel python3")
    if not all(cell.source.strip() for cell in notebook.cells):
        wrong.append("it has an empty cell")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) == 1:
        wrong += _lint_parameters(tagged[0].source)
    else:
        wrong.append(f"it has {len(tagged)} cells tagged parameters, not one")
    for cell in code:
        wrong += _lint_cell(cell.source, count=cell not in tagged)
    return [f"{path.name}: {text}" for text in wrong]


def _lint_parameters(source: str) -> list[str]:
    """Return what is wrong with a parameters cell: plain literals only, opening with profile and dataset."""
    values = {}
    for statement in ast.parse(source).body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        try:
            values[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError):
            return [f"its parameters cell holds more than plain literals: {ast.unparse(statement)[:60]!r}"]
    expected = FIRST if "dataset" in values else {"profile": FIRST["profile"]}
    if list(values.items())[: len(expected)] != list(expected.items()):
        opening = ", ".join(f"{name} = {value!r}" for name, value in expected.items())
        return [f"its parameters cell must open with {opening}"]
    return []


def _lint_cell(source: str, count: bool) -> list[str]:
    """Return what is wrong with a code cell: too many lines of code, or a definition that belongs in the library."""
    tree = ast.parse("\n".join("" if line.startswith(("%", "!")) else line for line in source.splitlines()))
    lines = [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]
    imports = any(isinstance(statement, ast.Import | ast.ImportFrom) for statement in tree.body)
    limit = IMPORT_LINES if imports else CELL_LINES
    wrong = []
    if count and len(lines) > limit:
        wrong.append(f"a cell has {len(lines)} lines of code, over {limit}: {lines[0]!r}")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            length = node.end_lineno - node.lineno + 1
            if length > DEFINITION_LINES:
                wrong.append(f"{node.name} has {length} lines, over {DEFINITION_LINES}: move it to the library")
    return wrong


@contextmanager
def _kernel_environment() -> Iterator[None]:
    """Set what a kernel started inside inherits, and put the environment back.

    MPLBACKEND=Agg would drop every inline figure without a word; VAELIB_HEADLESS turns bars into a few lines.
    """
    before = dict(os.environ)
    os.environ.pop("MPLBACKEND", None)
    os.environ.update(VAELIB_HEADLESS="1", PYDEVD_DISABLE_FILE_VALIDATION="1")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run(source: Path, out: Path, parameters: dict[str, Any], log: bool = True, timeout: int | None = None) -> Path:
    """Execute ``source`` with ``parameters`` in the source's folder and return ``out``.

    ``log`` streams the cells' text; ``timeout`` bounds each cell in seconds. Raises VaelibError for an unknown
    parameter and for a run that failed; then ``out`` is untouched and ``.<name>.part.ipynb`` beside it shows how far
    it came.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    source, out = Path(source).resolve(), Path(out).resolve()
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = nbformat.from_dict(KERNEL)
    notebook.metadata.pop("jupytext", None)  # a result is not a paired notebook
    _refuse_unknown(source.stem, parameters, list(papermill.inspect_notebook(notebook)))
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.stem}.part.ipynb")
    pair = source.with_suffix(".ipynb")
    if pair.exists() and compare(source, pair) == "edited":
        print(
            f"{pair.name} has an edit that {source.name} has not: the .py is what runs ({HOW_TO_KEEP})", file=sys.stderr
        )
    streams = {"stdout_file": sys.stdout, "stderr_file": sys.stderr} if log else {}
    # "auto" silences ipykernel's warning about plain TCP; KernelManager's IPC paths collide between parallel runs.
    config = Config({"KernelManager": {"transport_encryption": "auto"}})
    try:
        with _kernel_environment():
            done = papermill.execute_notebook(
                notebook, str(part), parameters=parameters, kernel_name=KERNEL["name"], cwd=str(source.parent),
                progress_bar=False, execution_timeout=timeout, config=config, **streams,
            )  # fmt: skip
    except (papermill.PapermillExecutionError, DeadKernelError, TimeoutError) as error:
        _tidy(part, source.name, out.name)
        last = str(error).strip().splitlines()[-1:]
        print(_last_lines(part), file=sys.stderr)
        raise VaelibError(f"{source.name} failed: {''.join(last)[:200]}; {part.name} shows how far it came") from error
    _tidy(part, source.name, out.name)
    # sys.exit(0) in a cell ends a run early, and papermill calls that a success.
    skipped = [c for c in done.cells if c.cell_type == "code" and c.source.strip() and not c.execution_count]
    if skipped:
        raise VaelibError(f"{source.name} stopped early: {len(skipped)} cells did not run; see {part.name}")
    os.replace(part, out)
    return out


def _refuse_unknown(name: str, parameters: dict[str, Any], known: list[str]) -> None:
    """Raise VaelibError for a parameter the notebook has not, with the nearest name it has."""
    for unknown in sorted(set(parameters) - set(known)):
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise VaelibError(f"{name} has no parameter {unknown}: {hint}It has {', '.join(known)}")


def _tidy(part: Path, source: str, out: str) -> None:
    """Rewrite a papermill result without widget state (views of dead widgets) and without this machine's paths."""
    if not part.exists():
        return
    notebook = nbformat.read(part, 4)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.setdefault("papermill", nbformat.NotebookNode()).update(input_path=source, output_path=out)
    write_atomic(part, lambda path: nbformat.write(notebook, path))


def _last_lines(part: Path, count: int = 20) -> str:
    """Return the last lines of text that a run left behind."""
    if not part.exists():
        return ""
    outputs = [output for cell in nbformat.read(part, 4).cells for output in cell.get("outputs", [])]
    text = [output.get("text", "") or "\n".join(output.get("traceback", [])) for output in outputs]
    return "\n".join("\n".join(text).splitlines()[-count:])


# nbconvert's page without the scripts that it would fetch from a host.
STILL = "{% extends 'lab/index.html.j2' %}" + "".join(
    f"{{% block html_head_js{name} %}}{{% endblock %}}" for name in ("", "_mathjax", "_mermaidjs")
)


def to_html(executed: Path, out: Path) -> Path:
    """Render an executed notebook as one HTML file that fetches nothing (so no MathJax: write symbols as text).

    Cells tagged ``interactive`` are left out: they need a kernel.
    """
    import logging

    from jinja2 import DictLoader
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    remove = {"enabled": True, "remove_cell_tags": ["interactive"]}
    exporter = HTMLExporter(
        config=Config({"TagRemovePreprocessor": remove}),
        extra_loaders=[DictLoader({"still": STILL})],
        template_file="still",
    )
    exporter.register_preprocessor("nbconvert.preprocessors.TagRemovePreprocessor", enabled=True)
    exporter.log.setLevel(logging.ERROR)  # else a warning about alternative texts for each figure
    body, _ = exporter.from_notebook_node(nbformat.read(executed, 4), {"metadata": {"name": Path(executed).stem}})
    write_atomic(Path(out), lambda part: part.write_text(body, encoding="utf-8"))
    return Path(out)
