"""What the site shows of docstrings has no reStructuredText left."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "packages").glob("*/src/**/*.py"))
LEFT = re.compile(r"^ *\.\. |:\w+:`|^ *==+ ", re.MULTILINE)

markdown = runpy.run_path(str(ROOT / "tools/docstrings.py"))["markdown"]


def test_roles_become_code_and_full_names_become_links() -> None:
    assert markdown("See :meth:`check`, :class:`~wsrooms.WsApp`.") == (
        "See `check`, [`WsApp`][wsrooms.WsApp]."
    )


def test_a_code_block_becomes_a_fence_and_keeps_its_blank_lines() -> None:
    told = markdown("One.\n\n.. code-block:: python\n\n    a = 1\n\n    if a:\n        b()\n\nTwo.")
    assert told == "One.\n\n```python\na = 1\n\nif a:\n    b()\n```\n\nTwo."


def test_a_table_becomes_a_table() -> None:
    told = markdown("=====  ====\n``a``  one\n       more\n``b``  two\n=====  ====")
    assert told == "| | |\n|---|---|\n| ``a`` | one more |\n| ``b`` | two |"


def test_no_docstring_of_the_packages_has_anything_else() -> None:
    read = 0
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node) or ""
                assert not LEFT.search(markdown(docstring)), f"{source}: {docstring}"
                read += bool(docstring)
    assert read > 300
