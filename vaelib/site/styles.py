"""JupyterLab's style sheets without what nothing on a page asks for: they are 256 kB, of which a rendered notebook needs 12."""

import re
from collections.abc import Callable

import tinycss2
from tinycss2.ast import Declaration, Node, QualifiedRule

BANNER = re.compile(
    r"\s*/\*---.*?\*/", re.DOTALL
)  # so begin JupyterLab's sheets; ours have rules that scripts may need later
CLASS = re.compile(r"\.(-?[_a-zA-Z][\w-]*)")
CLASSES = re.compile(r'\sclass="([^"]*)"')
ASIDE = re.compile(r":not\([^)]*\)|\[[^\]]*\]")  # parts of a selector that name no class which an element must have
STYLE = re.compile(r"(<style[^>]*>)(.*?)(</style>)", re.DOTALL)
ASKED = re.compile(r"var\(\s*(--[\w-]+)")


def slim(page: str) -> str:
    """Return a page whose sheets of JupyterLab's have only rules of its classes, and variables that are asked for.

    >>> slim('<style>/*---*/.a{color:var(--x)}.b{color:red}:root{--x:blue;--y:red}</style><p class="a">')
    '<style>/*---*/.a{color:var(--x)}:root{--x:blue}</style><p class="a">'
    """
    there = {name for names in CLASSES.findall(STYLE.sub("", page)) for name in names.split()}

    def each(keep: Callable[[str], str], page: str) -> str:
        def sheet(found: re.Match) -> str:
            licence = BANNER.match(found[2])
            return f"{found[1]}{licence[0]}{keep(found[2])}{found[3]}" if licence else found[0]

        return STYLE.sub(sheet, page)

    page, before = each(lambda css: _of_classes(css, there), page), ""
    while page != before:  # a variable may be asked for by one that nobody asks for
        before, asked = page, set(ASKED.findall(page))
        page = each(lambda css, asked=asked: _of_variables(css, asked), page)
    return page


def _of_classes(css: str, there: set[str]) -> str:
    """Return the rules one of whose selectors names no class that is not ``there``."""
    kept = []
    for rule in tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True):
        named = ASIDE.sub("", tinycss2.serialize(rule.prelude)) if isinstance(rule, QualifiedRule) else ""
        if any(set(CLASS.findall(selector)) <= there for selector in named.split(",")):
            kept.append(rule.serialize())
    return "".join(kept)


def _is_variable(line: Node) -> bool:
    return isinstance(line, Declaration) and line.name.startswith("--")


def _of_variables(css: str, asked: set[str]) -> str:
    """Return the sheet without the variables that nothing asks for."""
    kept = []
    for rule in tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True):
        text = rule.serialize()
        if isinstance(rule, QualifiedRule) and "--" in text:
            lines = tinycss2.parse_blocks_contents(rule.content, skip_comments=True, skip_whitespace=True)
            lines = [one for one in lines if not _is_variable(one) or one.name in asked]
            text = f"{tinycss2.serialize(rule.prelude)}{{{';'.join(one.serialize().rstrip(';') for one in lines)}}}"
        kept.append(text)
    return "".join(kept)
