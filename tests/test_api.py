"""The API reference: every module has its page, tables and names are readable, and nothing is fetched."""

import re
from pathlib import Path

import pytest

import vaelib
from vaelib.site.api import module_names, write_api


def test_tables_in_docstrings_are_markdown():
    grid = re.compile(r"^ *=+(?: +=+)+$", re.MULTILINE)
    assert [path.name for path in Path(vaelib.__path__[0]).rglob("*.py") if grid.search(path.read_text())] == []
    assert "| G_g" in vaelib.__doc__.replace("`", "")


def test_formulas_are_plain_text_since_no_script_is_there_to_set_them():
    assert [path.name for path in Path(vaelib.__path__[0]).rglob("*.py") if "math:" in path.read_text()] == []


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
    assert ":`~" not in text
