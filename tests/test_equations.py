"""Equations in Markdown: all of the notebooks' become MathML, money and code stay what they are."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jupytext
import pytest
from math_core import LatexError

from vaelib.site.markdown import UNSET, equation, to_html

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("[0-9]*.py"))
NUMBERED = {"00": "2345", "01": ["11"], "03": "3456789", "09": ["10", "5"]}  # the paper's equations, by notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_equation_of_a_notebook_is_set(path):
    cells = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "markdown"]
    page = "".join(map(to_html, cells))
    assert UNSET not in page
    assert "$" not in page
    assert "\\" not in page.replace("\\*", "")
    assert "<sub>" not in page
    numbers = [part.partition("</span>")[0] for part in page.split("</math><span>")[1:]]
    assert numbers == [f"({number})" for number in NUMBERED.get(path.stem[:2], "")]


def test_a_formula_is_markup_that_can_be_parsed_and_shows_nothing_but_its_symbols():
    tree = ElementTree.fromstring(equation(r"p_\theta(x \mid z) < 1"))
    assert "".join(tree.itertext()) == "pθ(x∣z)<1"
    with pytest.raises(LatexError):
        equation(r"\nothing{x}")


@pytest.mark.parametrize(
    "text",
    [
        "costs $5 or $6",
        "$5, `$x$` and $7",
        "US$ 3 and US$ 4",
        r"\$x\$",
        "`$x$`",
        "```sh\necho $HOME $PATH\n```",
        "a $b",
        "$ x $",
    ],
)
def test_dollars_of_money_and_code_stay(text):
    page = to_html(text)
    assert "<math" not in page
    assert page.count("$") == text.count("$")


def test_what_cannot_be_set_is_shown_as_it_was_written():
    assert to_html(r"so $\nothing<b>$ it is") == f'<p>so <code class="{UNSET}">$\\nothing&lt;b&gt;$</code> it is</p>\n'
    page = to_html("a $x$ b\n\n$$y\n= z \\tag{<i>}$$\n\n| a |\n| --- |\n| $p(x \\mid z)$ |\n")
    assert page.count("<math") == 3
    assert page.count("<td>") == 1
    assert "<span>(&lt;i&gt;)</span>" in page
