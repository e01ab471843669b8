r"""Markdown as HTML, its equations set when the page is made: MathML, which browsers draw without a script.

``$x$`` and ``$$x$$`` are equations as pandoc reads them, so money stays money: no space follows an opening dollar, none
comes before a closing one, and no digit after it. ``\tag{3}`` gives a displayed equation its number.
"""

import html
import re
from typing import Any

from math_core import LatexError, LatexToMathML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath, MathInlineParser

TAG = re.compile(r"\\tag\{([^{}]*)\}")
UNSET = "unset-equation"  # the class of an equation that could not be set, and is shown as it was written


def equation(tex: str, displayed: bool = False) -> str:
    r"""Return a formula of LaTeX as MathML.

    Raises:
        math_core.LatexError: it is no LaTeX that can be set.

    >>> equation("G_g")
    '<math><msub><mi>G</mi><mi>g</mi></msub></math>'
    """
    return LatexToMathML(fancy_error=False).convert_with_local_state(tex.strip(), displaystyle=displayed)


def _shown(tex: str, displayed: bool) -> str:
    """Return a formula of a text; one that cannot be set is shown as it was written."""
    tag = TAG.search(tex) if displayed else None
    try:
        drawn = equation(TAG.sub("", tex) if displayed else tex, displayed)
    except LatexError:
        around = "$$" if displayed else "$"
        return f'<code class="{UNSET}">{html.escape(f"{around}{tex}{around}")}</code>'
    number = f"<span>({html.escape(tag[1])})</span>" if tag else ""
    # A long one scrolls in its frame, for which a keyboard must reach it.
    return f'<span class="equation" tabindex="0">{drawn}{number}</span>' if displayed else drawn


class _Inline(MathInlineParser):
    """What stands inside a paragraph; a dollar sign beside a space or a digit is money."""

    INLINE_MATH_TEX = r"(?s:(?<![$\\])\$(?![\s$])(?P<math_inline_tex>[^$`]*?)(?<![\s\\$])\$(?![\d$]))"
    SPECIFICATION = MathInlineParser.SPECIFICATION | {"inline_math_tex": INLINE_MATH_TEX}


class _Renderer(IPythonRenderer):
    """nbconvert's, which leaves formulas to a script; this one sets them."""

    def inline_math(self, body: str) -> str:
        """Return a formula in a line of text."""
        return _shown(body, False)

    def block_math(self, body: str) -> str:
        """Return a formula of its own line."""
        return _shown(body, True)


def to_html(source: str, **options: Any) -> str:
    """Return Markdown as HTML; ``options`` are those of nbconvert's ``IPythonRenderer``."""
    return MarkdownWithMath(renderer=_Renderer(escape=False, **options), inline=_Inline(hard_wrap=False)).render(source)
