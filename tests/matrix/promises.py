"""The promises of ``docs/guarantees.md``, each with the scenarios that show it.

Which those are is in ``promises.toml``; the table on the page is drawn from that and the record.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.matrix.columns import ROOT
from tests.matrix.page import heading, table
from tests.matrix.record import NOT_APPLICABLE, PASSED, Run, scenarios
from tests.matrix.words import anchor, sentence

__all__ = ["PAGE", "drawn", "problems", "promises"]

PAGE = ROOT / "docs/guarantees.md"
SHOWN = Path(__file__).parent / "promises.toml"

BLOCK = re.compile(r"(?<=<!-- matrix -->\n).*?(?=<!-- /matrix -->)", re.DOTALL)
ABOUT_THE_BUS = ("Several instances, the bus is up", "The bus is down", "Something dies")
"""Headings of the page's first table below which each row is a promise of the transports."""

ELSEWHERE = ("a bus that looks well and delivers nothing",)
"""Shown by tests of each transport that are not of the matrix: tests/transports/test_deaf.py."""


def promises() -> dict[str, list[str]]:
    """The scenarios of each, as ``promises.toml`` names them."""
    told = tomllib.loads(SHOWN.read_text("utf-8"))
    return {promise: each["scenarios"] for promise, each in told.items()}


def named(name: str, known: Iterable[str]) -> list[str]:
    """The scenarios that ``name`` means: itself, or with any parameters."""
    return [each for each in known if each == name or each.startswith(f"{name}[")]


def drawn(page: str, runs: Mapping[str, Run]) -> str:
    """The page, with the table of these runs."""
    known = scenarios(runs)
    rows: list[list[str]] = []
    for promise, names in promises().items():
        shown = [each for name in names for each in named(name, known)]
        links = "<br>".join(f"[{sentence(each)}](matrix.md#{anchor(each)})" for each in shown)
        place = f'<span id="{_place(promise)}"></span>{promise}'
        # Folded, or the names would make the page as long as the matrix.
        title = f"{len(shown)} scenario{'s' if len(shown) != 1 else ''}"
        told = f"<details><summary>{title}</summary>{links}</details>"
        rows.append([place, *(_count(shown, run) for run in runs.values()), told])
    head = ["promise", *(heading(*each) for each in runs.items()), "shown by"]
    made = f"\n{table(head, rows)}\n"
    return BLOCK.sub(lambda _: made, page)


def _count(shown: Iterable[str], run: Run) -> str:
    apply = [
        run.entries[each]
        for each in shown
        if each in run.entries and run.entries[each].result != NOT_APPLICABLE
    ]
    passed = sum(entry.result == PASSED for entry in apply)
    return f"{passed} of {len(apply)}" if apply else "–"


def _place(promise: str) -> str:
    return f"shown-{anchor(promise)}"


def rows(page: str) -> dict[str, str]:
    """The rows of the page that are promises of the transports: their text, and where it leads."""
    found: dict[str, str] = {}
    about = False
    for line in page.splitlines():
        first, *others = (cell.strip() for cell in line.strip("|").split("|"))
        if heading := re.fullmatch(r"\*\*(.+)\*\*", first):
            about = heading[1] in ABOUT_THE_BUS
        elif line == "## Transports":
            about = True
        elif line.startswith("## "):
            about = False
        elif about and line.startswith("| ") and first and others:
            linked = re.fullmatch(r"\[(.+)\]\(#(.+)\)", first)
            text, to = (linked[1], linked[2]) if linked else (first, "")
            found[text] = to
    return found


def problems(page: str, known: Iterable[str]) -> Iterable[str]:
    """What is wrong between the page and ``promises.toml``; ``known`` are all scenarios."""
    known = list(known)
    shown = promises()
    there = rows(page)
    for promise, to in there.items():
        if promise in ELSEWHERE:
            continue
        if promise not in shown:
            yield f"{PAGE.name}: no scenario shows {promise!r}: name some in {SHOWN.name}"
        elif to != _place(promise):
            yield f"{PAGE.name}: let {promise!r} lead to (#{_place(promise)})"
    for promise, names in shown.items():
        if promise not in there:
            yield f"{SHOWN.name}: {PAGE.name} has no row {promise!r}: name it as the page does"
        for name in names:
            if not named(name, known):
                yield f"{SHOWN.name}: there is no scenario {name}: name one that there is"
