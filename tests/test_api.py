"""The API reference: every module has its page, tables and names are readable, and nothing is fetched."""

import re

import pytest

from vaelib.report.api import module_names, readable, write_api

WITH_HEAD = """Before.

====  ==============
name  what :math:`x`
====  ==============
a     :func:`~vaelib.elbo`
b     one | two
====  ==============

After."""


def test_tables_and_formulas_become_markdown():
    text = readable(WITH_HEAD)
    assert text.splitlines()[2:6] == [
        "| name | what `x` |",
        "| --- | --- |",
        "| a | :func:`vaelib.elbo` |",
        "| b | one \\| two |",
    ]
    assert "=" not in text
    assert readable("| a |") == "| a |"


@pytest.mark.slow
def test_every_module_has_a_page_and_no_page_asks_the_network(tmp_path):
    pytest.importorskip("pdoc")
    first = write_api(tmp_path)
    for name in module_names():
        page = (tmp_path / f"{name.replace('.', '/')}.html").read_text()
        assert not re.search(r"""<(?:script|link|img)[^>]+(?:src|href)=["']https?:""", page)
    text = first.read_text()
    assert "evaluate_elbo" in text
    assert "<td>" in text
    assert "=====" not in text
