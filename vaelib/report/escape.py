"""Names that users chose, in Markdown and in tables: shown as they are, never read as markup."""

import re
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

# What Markdown or HTML could take for markup. As character references, because frontends differ in what a backslash does.
MARKUP = re.compile(r"[&<>\"'`*\[\]!$\\|~#]")


def in_markdown(text: object) -> str:
    r"""Return a text as Markdown that shows it, on one line.

    >>> in_markdown("a <b> | c")
    'a &#60;b&#62; &#124; c'
    """
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", " ".join(str(text).split()))


BLANK = re.compile(r'<th( class="[^"]*\bblank\b[^"]*"[^>]*)>&nbsp;</th>')


class _Table(Styler):
    """A frame's style whose empty corners are no headings: those who hear a table would be read an empty one."""

    def to_html(self, *args: Any, **options: Any) -> Any:
        """Return the table as HTML; what is written to a file instead stays as pandas writes it."""
        page = super().to_html(*args, **options)
        return BLANK.sub(r"<td\1></td>", page) if isinstance(page, str) else page


def styled(frame: pd.DataFrame) -> Styler:
    """Return ``frame.style``, which would show a cell ``<b>`` in bold, with cells and headings escaped."""
    style = _Table(frame).format(escape="html")
    return style.format_index(escape="html", axis="index").format_index(escape="html", axis="columns")


def nothing(why: str) -> Any:
    """Return what a notebook shows in place of a table that would have no rows: a sentence."""
    wide = {"selector": "caption", "props": "min-width: 36em; text-align: left"}  # a table without columns has no width
    return styled(pd.DataFrame()).set_caption(why).set_table_styles([wide], overwrite=False)
