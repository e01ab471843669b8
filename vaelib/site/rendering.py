"""An executed notebook as one HTML file: no script and nothing else from anywhere, light and dark, equations set."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from jinja2 import FileSystemLoader, pass_context
from nbconvert import HTMLExporter
from traitlets.config import Config

from ..files import write_text
from .markdown import to_html as markdown_to_html
from .styles import slim

NAMED = re.compile(r"(?<!`)\b[Nn]otebook (\d\d)\b(?!`)")


class _Exporter(HTMLExporter):
    """nbconvert's exporter with our Markdown."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """Return a cell's Markdown, or that of an output, as HTML."""
        attachments = context.get("cell", {}).get("attachments", {})
        return markdown_to_html(source, attachments=attachments, anchor_link_text=self.anchor_link_text)


def to_html(executed: Path, out: Path, links: Mapping[str, str] | None = None) -> Path:
    """Render an executed notebook as one HTML file and return its path.

    Cells tagged ``interactive`` are left out: they need a kernel. ``links`` are addresses of other notebooks' pages by number:
    "notebook 03" in the text then leads there.
    """
    notebook = nbformat.read(executed, 4)
    for cell in notebook.cells if links else ():
        if cell.cell_type == "markdown":
            cell.source = NAMED.sub(lambda m: f"[{m[0]}]({quote(links[m[1]])})" if m[1] in links else m[0], cell.source)
    remove = {"enabled": True, "remove_cell_tags": ["interactive"]}
    exporter = _Exporter(
        config=Config({"TagRemovePreprocessor": remove}),
        extra_loaders=[FileSystemLoader(Path(__file__).parent)],
        template_file="notebook.html",
    )
    exporter.register_preprocessor("nbconvert.preprocessors.TagRemovePreprocessor", enabled=True)
    exporter.log.setLevel(logging.ERROR)  # else a warning about alternative texts for each figure
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": Path(executed).stem}})
    write_text(Path(out), slim(body))
    return Path(out)
