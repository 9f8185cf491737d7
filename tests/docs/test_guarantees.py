"""The page "Guarantees": whatever it names exists, and every row says what tells."""

from __future__ import annotations

import re

import wsrooms
from wsrooms import WsApp, WsConnection

from .programs import ROOT

PAGE = (ROOT / "docs/guarantees.md").read_text("utf-8")
TABLE = PAGE.split("| case | what arrives |")[1].split("\n\n")[0].splitlines()[2:]
ROWS = [[cell.strip() for cell in row.strip("|").split("|")] for row in TABLE]


def test_every_row_fills_its_five_columns() -> None:
    headings = [row for row in ROWS if row[0].startswith("**")]
    assert len(headings) >= 5
    for row in ROWS:
        assert len(row) == 5, row
        if row not in headings:
            assert all(row), row


def test_the_counters_hooks_and_errors_of_the_last_column_exist() -> None:
    known = {*WsApp().stats(), *dir(WsApp), *dir(WsConnection), *wsrooms.__all__}
    named = {
        name.removesuffix("()")
        for row in ROWS
        for name in re.findall(r"`([A-Za-z_]+(?:\(\))?)`", row[-1])
    }
    assert named - known == set()
    assert len(named) > 20
