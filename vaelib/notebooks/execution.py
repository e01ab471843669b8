"""Notebooks are executed from their ``.py`` (how the pairs are kept: :mod:`.pairs`; rendered: :mod:`vaelib.site.rendering`).

``run`` executes a source through papermill: a misspelt parameter is fatal (papermill alone warns and runs the full
budget), the target appears by rename after every cell has run, and a failed run stays beside it as a hidden part file.
"""

import ast
import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from ..data.identity import dataset_from_here
from ..errors import VaelibError, hint
from ..files import write_atomic
from ..paths import expanded
from ..runs.cluster import environment_kept
from ..runs.profiles import from_this_folder, parse_overrides, parse_pairs
from ..text import listed
from .pairs import KERNEL, compare, sources


def _set_environment() -> None:
    """Set what a kernel inherits.

    MPLBACKEND=Agg would drop every inline figure without a word; VAELIB_HEADLESS turns bars into a few lines.
    """
    os.environ.pop("MPLBACKEND", None)
    for name in {"VAELIB_BUILD", "VAELIB_DATA"} & set(os.environ):  # a kernel works in its notebook's folder
        os.environ[name] = os.path.abspath(expanded(os.environ[name])) if os.environ[name] else ""
    # A kernel that Ctrl-C ended leaves its semaphores to multiprocessing, which frees them and warns of it.
    quiet = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker"]))
    os.environ.update(VAELIB_HEADLESS="1", PYDEVD_DISABLE_FILE_VALIDATION="1", PYTHONWARNINGS=quiet)


def run(source: Path, out: Path, parameters: dict[str, Any], log: bool = True, timeout: int | None = None) -> Path:
    """Execute ``source`` with ``parameters`` in the source's folder and return ``out``.

    ``log`` streams the cells' text; ``timeout`` bounds each cell in seconds. Raises VaelibError for an unknown
    parameter, for an ``out`` that is a folder, and for a run that failed; then ``out`` is untouched and
    ``.<name>.part.ipynb`` beside it shows how far it came.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    source, out = Path(source).resolve(), Path(out).resolve()
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = nbformat.from_dict(KERNEL)
    notebook.metadata.pop("jupytext", None)  # a result is not a paired notebook
    known = list(papermill.inspect_notebook(notebook))
    for name in sorted(set(parameters) - set(known)):
        raise VaelibError(f"{source.stem} has no parameter {name}; it has {', '.join(known)}{hint(name, known)}")
    if out.is_dir():
        raise VaelibError(f"{out} is a folder; give the name of a file, as {out / source.stem}.ipynb")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Each process writes into a file of its own, for two makes of one build may run the same notebook.
    part, own = (out.with_name(f".{out.stem}.{tag}part.ipynb") for tag in ("", f"{os.getpid()}."))
    pair = source.with_suffix(".ipynb")
    if pair.exists() and compare(source, pair) == "edited":
        told = f"{pair.name} has an edit that {source.name} has not: the .py is what runs"
        print(f"{told} (`jupytext --to py:percent` takes the edit over, `make sync` puts it aside)", file=sys.stderr)
    streams = {"stdout_file": sys.stdout, "stderr_file": sys.stderr} if log else {}
    # "auto" silences ipykernel's warning about plain TCP; KernelManager's IPC paths collide between parallel runs.
    config = Config({"KernelManager": {"transport_encryption": "auto"}})
    # Else the kernel sends on what its workers print, which the log has already, and tells of the interrupt by which it is
    # asked to end after the last cell as of an error.
    quiet = ["--IPKernelApp.capture_fd_output=False", "--IPKernelApp.log_level=CRITICAL"]
    # And asyncio tells, at length, of the task that ipykernel leaves behind when it ends.
    quiet.append("--IPKernelApp.exec_lines=__import__('logging').getLogger('asyncio').setLevel('CRITICAL')")
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # it tells of a kernel that died, as the error below does
    try:
        with environment_kept():
            _set_environment()
            done = papermill.execute_notebook(
                notebook, str(own), parameters=parameters, kernel_name=KERNEL["name"], cwd=str(source.parent),
                progress_bar=False, execution_timeout=timeout, config=config, extra_arguments=quiet, **streams,
            )  # fmt: skip
        # sys.exit(0) in a cell ends a run early, and papermill calls that a success.
        skipped = [c for c in done.cells if c.cell_type == "code" and c.source.strip() and not c.execution_count]
        if skipped:
            raise VaelibError(f"{source.name} stopped early: {len(skipped)} cells did not run; see {part.name}")
        _tidy(own, source.name, out.name)
        os.replace(own, out)
        part.unlink(missing_ok=True)  # of a run before this one
    except KeyboardInterrupt:
        # Else it tells of the cell that nobody waits for any more.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise
    except (papermill.PapermillExecutionError, DeadKernelError, TimeoutError) as error:
        last = str(error).strip().splitlines()[-1:]
        print(_last_lines(own), file=sys.stderr)
        raise VaelibError(f"{source.name} failed: {''.join(last)[:200]}; {part.name} shows how far it came") from error
    finally:
        if own.exists():
            with contextlib.suppress(Exception):  # half a file, or a full disk: the error on its way says more
                _tidy(own, source.name, out.name)
            os.replace(own, part)
    return out


def read_parameters(source: Path, pairs: Iterable[str], settings: Iterable[str] = ()) -> dict[str, Any]:
    """Return parameters given as ``name=value``, each read by the type of its default in ``source``.

    A text stays the text that it is, a data set's path becomes absolute. ``settings`` of a profile, ``name=value`` as well,
    become the parameter ``overrides`` of a notebook that has one.

    Raises:
        VaelibError: an item without ``=``, a value of another type, an unknown setting.
    """
    import papermill

    known = {name: about["default"] for name, about in papermill.inspect_notebook(jupytext.read(source)).items()}
    parameters = {
        name: _value(name, ast.literal_eval(known.get(name, "''")), text)
        for name, text in parse_pairs(pairs, "-p", "profile=smoke").items()
    }
    if "dataset" in parameters:
        parameters["dataset"] = dataset_from_here(parameters["dataset"])
    if "overrides" in known:
        overrides = from_this_folder(parameters.get("overrides", {})) | parse_overrides(settings)
        if overrides.get("use_results") and "use_results" not in source.read_text(encoding="utf-8"):
            knowing = [one.stem[:2] for one in sources() if "use_results" in one.read_text(encoding="utf-8")]
            raise VaelibError(
                f"{source.stem} computes everything itself: leave use_results out (notebooks {listed(knowing)} know it)"
            )
        parameters |= {"overrides": overrides} if overrides else {}
    return parameters


def _value(name: str, default: Any, text: str) -> Any:
    """Return ``text`` as a value of the default's type; any literal where that is None."""
    kind = type(default)
    try:
        if kind in (str, int, float):
            return kind(text)
        try:
            value = json.loads(text)
        except ValueError:
            value = ast.literal_eval(text)
        if default is None or type(value) is kind:
            return value
    except (ValueError, SyntaxError):
        pass
    raise VaelibError(f"-p {name}={text}: a value like {default!r} is wanted")


def _tidy(part: Path, source: str, out: str) -> None:
    """Rewrite a papermill result without widget state (views of dead widgets) and without this machine's paths."""
    if not part.exists():
        return
    notebook = nbformat.read(part, 4)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.setdefault("papermill", nbformat.NotebookNode()).update(input_path=source, output_path=out)
    write_atomic(part, lambda path: nbformat.write(notebook, path))


def _last_lines(part: Path) -> str:
    """Return the last 20 lines of text that a run left behind."""
    if not part.exists():
        return ""
    outputs = [output for cell in nbformat.read(part, 4).cells for output in cell.get("outputs", [])]
    text = [output.get("text", "") or "\n".join(output.get("traceback", [])) for output in outputs]
    return "\n".join("\n".join(text).splitlines()[-20:])
