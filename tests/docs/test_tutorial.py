"""The tutorial, followed to the letter: its files in an empty folder, its tests run there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .programs import ROOT, copy, run_pytest

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs/tutorial.md").read_text("utf-8")


def test_the_tests_of_the_tutorial_pass_in_a_folder_of_their_own(tmp_path: Path) -> None:
    copy("tutorial/server.py", tmp_path)
    copy("tutorial/pytest.ini", tmp_path)
    copy("tutorial/test_server.py", tmp_path)
    copy("tutorial/test_fleet.py", tmp_path)
    told = run_pytest(tmp_path)
    assert re.search(r"\b10 passed\b", told), told


def test_the_test_of_the_front_page_passes_beside_its_program(tmp_path: Path) -> None:
    copy("chat.py", tmp_path)
    copy("test_chat.py", tmp_path)
    copy("tutorial/pytest.ini", tmp_path)
    told = run_pytest(tmp_path)
    assert re.search(r"\b1 passed\b", told), told


def test_the_tutorial_names_each_file_before_it_shows_it() -> None:
    shown = re.findall(r'--8<-- "examples/tutorial/(.+?)"', PAGE)
    assert shown == [
        "step1_answer.py",
        "step2_rooms.py",
        "server.py",
        "pytest.ini",
        "test_server.py",
        "test_fleet.py",
    ]
    for name in shown[2:]:
        assert f"`{name}`" in PAGE.split(f'"examples/tutorial/{name}"')[0]
