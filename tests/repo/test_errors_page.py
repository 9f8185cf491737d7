"""The tool that writes the page of errors, where a mistake cannot be made on this machine."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL: dict[str, Any] = runpy.run_path(str(ROOT / "tools/errors_page.py"))
PAGE = (ROOT / "docs/errors.md").read_text("utf-8")


@pytest.mark.parametrize(
    "title", ["A Kafka that is not there", "A message that Kafka does not take"]
)
def test_what_cannot_be_made_stays_on_the_page_as_it_is(title: str) -> None:
    kept: str = TOOL["kept"](title, PAGE)
    assert kept.startswith(f"### {title}\n")
    assert "\n##" not in kept
    assert kept.count("**Why.**") == kept.count("**Remedy.**") == 1
    before, after = PAGE.split(kept)
    assert before.endswith("\n\n")
    assert after[:4] in ("\n###", "\n## ", "")


def test_what_cannot_be_made_and_is_not_on_the_page_is_told() -> None:
    with pytest.raises(SystemExit, match="No such mistake"):
        TOOL["kept"]("No such mistake", PAGE)


def test_a_group_without_a_heading_is_told() -> None:
    gallery = TOOL["Gallery"]()
    gallery.titles["test_more"] = {}
    with pytest.raises(AssertionError, match="test_more"):
        TOOL["page_of"](gallery, PAGE)
