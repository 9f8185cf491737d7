"""The page "Routing": every row of its tables, and its examples."""

from __future__ import annotations

import json
import re
from itertools import permutations

import pytest

from wsrooms import WsRouter

from .programs import ROOT, load

PAGE = (ROOT / "docs/routing.md").read_text("utf-8")


def rows(columns: str) -> list[list[str]]:
    """The cells of the table that has these ``columns``, without their backticks."""
    table = PAGE.split(f"| {columns} |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in table]


def winner(patterns: tuple[str, ...], path: str) -> tuple[str, object] | None:
    router: WsRouter[str] = WsRouter()
    for pattern in patterns:
        router.add("any", pattern, pattern)
    match = router.lookup("any", path)
    return None if match is None else (match.handlers[0], match.params)


PATTERNS = rows("pattern | path | params")
PRECEDENCE = rows("path | wins | over")


def test_the_tables_of_the_page_are_found() -> None:
    assert len(PATTERNS) == len(re.findall(r"^\| `[^|]+\| `[^|]+\| (?:`\{|–)", PAGE, re.MULTILINE))
    assert len(PATTERNS) >= 24
    assert len(PRECEDENCE) >= 10


@pytest.mark.parametrize(("pattern", "path", "params"), PATTERNS, ids=lambda cell: cell)
def test_a_pattern_matches_as_its_row_says(pattern: str, path: str, params: str) -> None:
    expected = None if params == "–" else (pattern, json.loads(params))
    assert winner((pattern,), path) == expected


@pytest.mark.parametrize(("path", "wins", "over"), PRECEDENCE, ids=lambda cell: cell)
def test_the_winner_of_a_row_wins_in_either_order(path: str, wins: str, over: str) -> None:
    assert winner((over,), path) is not None
    for both in permutations((wins, over)):
        found = winner(both, path)
        assert found is not None
        assert found[0] == wins


# Pytest collects the tests that the page shows.
globals().update(
    {name: test for name, test in vars(load("routing.py")).items() if name.startswith("test_")}
)
