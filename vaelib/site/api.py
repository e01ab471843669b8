"""The API reference: pdoc's pages from the docstrings, a page a module, without a network."""

import importlib
import json
import pkgutil
import warnings
from pathlib import Path
from types import ModuleType

import vaelib

from ..errors import VaelibError
from ..files import write_text

LEFT_OUT = ("vaelib.cli", "vaelib.__main__")


def module_names() -> list[str]:
    """Return the names of all modules of the library that are to be read about."""
    names = [one.name for one in pkgutil.walk_packages(vaelib.__path__, "vaelib.")]
    return ["vaelib", *(name for name in names if name not in LEFT_OUT)]


def write_api(folder: Path) -> Path:
    """Write the API reference into ``folder`` and return its first page; raises VaelibError without pdoc."""
    try:
        from pdoc import doc, render, render_helpers
    except ImportError:
        raise VaelibError("the API reference needs pdoc; install it with: pip install 'vaelib[docs]'") from None
    from jinja2 import pass_context

    @pass_context
    def to_markdown(context, docstring: str) -> str:
        return render_helpers.to_markdown_with_context(context, docstring.replace(":`~", ":`"))

    render.configure(docformat="google", show_source=False, footer_text=f"vaelib {vaelib.__version__}")
    render.env.filters["to_markdown"] = to_markdown
    # A browser makes the index of the search when somebody searches: 7 MB less, and the same bytes with Node.js and without.
    render.precompile_index = lambda documents, script: json.dumps(documents)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pdoc's, of fields that are made
        pages = _pages(doc, render)
    for name, text in pages.items():
        write_text(Path(folder) / name, text)
    return Path(folder) / "vaelib.html"


def _pages(doc: ModuleType, render: ModuleType) -> dict[str, str]:
    """Return the pages by their names."""
    modules = {name: doc.Module(importlib.import_module(name)) for name in module_names()}
    for name, module in modules.items():  # where __all__ names the public objects, pdoc would leave the modules out
        module.__dict__["submodules"] = [one for other, one in modules.items() if other.rpartition(".")[0] == name]
    pages = {f"{name.replace('.', '/')}.html": render.html_module(module, modules) for name, module in modules.items()}
    return pages | {"index.html": render.html_index(modules), "search.js": render.search_index(modules)}
