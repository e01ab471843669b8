"""Names that users chose, in Markdown and in tables: shown as they are, never read as markup."""

import re
from typing import Any

import pandas as pd

# What Markdown or HTML could take for markup. As character references, because frontends differ in what a backslash does.
MARKUP = re.compile(r"[&<>\"'`*\[\]!$\\|~#]")


def in_markdown(text: object) -> str:
    r"""Return a text as Markdown that shows it, on one line.

    >>> in_markdown("a <b> | c")
    'a &#60;b&#62; &#124; c'
    """
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", " ".join(str(text).split()))


def styled(frame: pd.DataFrame) -> Any:
    """Return ``frame.style``, which would show a cell ``<b>`` in bold, with cells and headings escaped."""
    style = frame.style.format(escape="html")
    return style.format_index(escape="html", axis="index").format_index(escape="html", axis="columns")


def nothing(why: str) -> Any:
    """Return what a notebook shows in place of a table that would have no rows: a sentence."""
    return styled(pd.DataFrame()).set_caption(why)
