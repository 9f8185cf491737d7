"""The page "Testing": its programs, in a folder of their own, pass as they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .programs import ROOT, copy, run_pytest

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs/testing.md").read_text("utf-8")


def test_the_tests_of_the_shop_pass_in_a_folder_of_their_own(tmp_path: Path) -> None:
    copy("tutorial/pytest.ini", tmp_path)
    copy("testing/shop.py", tmp_path)
    copy("testing/test_handlers.py", tmp_path)
    copy("testing/test_shop.py", tmp_path)
    copy("testing/test_line.py", tmp_path)
    told = run_pytest(tmp_path, "-p", "pytest_wsrooms", "-W", "error")
    assert re.search(r"\b14 passed\b", told), told


def test_what_the_page_names_is_there() -> None:
    import wsrooms.testing

    for name in re.findall(r"`(?:client|ctx)\.(\w+)", PAGE):
        classes = (wsrooms.testing.Client, wsrooms.testing.HandlerContext)
        assert any(name in {*vars(one), *one.__annotations__} for one in classes), name
