"""The page "The transport contract": its sentences name cases that exist, and all of them."""

from __future__ import annotations

import re
import runpy

import wsrooms.errors
from wsrooms.errors import TransportError
from wsrooms.testing.conformance import cases

from .buses import BUSES
from .programs import ROOT

PAGE = (ROOT / "docs/transports/contract.md").read_text("utf-8")
SENTENCES, LIST = PAGE.split("\n## The cases\n")
ROWS = re.findall(r"^\| \*\*([A-Z]\d+)\*\*\{#(\w+)\} \| (.+) \| (.+) \|$", SENTENCES, re.MULTILINE)
LISTED = [
    (int(number), name)
    for number, name in re.findall(r"^\| (\d+) \| `(\w+)`\{#\2\} \| .+ \|$", LIST, re.MULTILINE)
]
NAMES = {name for _, name in LISTED}


def test_every_sentence_has_a_name_of_its_own_in_order() -> None:
    assert len(ROWS) > 40
    assert [anchor for _, anchor, *_ in ROWS] == [name.lower() for name, *_ in ROWS]
    by_letter: dict[str, list[int]] = {}
    for name, *_ in ROWS:
        by_letter.setdefault(name[0], []).append(int(name[1:]))
    for letter, numbers in by_letter.items():
        assert numbers == list(range(1, len(numbers) + 1)), letter


def test_every_row_of_the_tables_is_such_a_sentence() -> None:
    begun = re.findall(r"^\| \*\*.+$", SENTENCES, re.MULTILINE)
    assert len(begun) == len(ROWS)


def test_every_sentence_is_proved_by_cases_of_the_list() -> None:
    for name, _, told, proof in ROWS:
        assert told.endswith("."), name
        named = re.findall(r"\[`(\w+)`\]\(#(\w+)\)", proof)
        assert named, name
        for case, anchor in named:
            assert case == anchor
            assert case in NAMES, f"{name}: {case}"
        for path in re.findall(r"`(tests/.+?)`", proof):
            assert (ROOT / path).is_file(), path


def test_every_case_proves_a_sentence() -> None:
    proving = set(re.findall(r"\[`(\w+)`\]\(#\w+\)", SENTENCES))
    assert proving == NAMES


def test_the_list_is_the_suites() -> None:
    """``python tools/contract_page.py`` makes it so."""
    assert runpy.run_path(str(ROOT / "tools/contract_page.py"))["section"]() == LIST
    assert [(case.number, case.name) for case in cases()] == LISTED
    assert {number for number, _ in LISTED} == set(range(1, 59))


def test_the_counters_are_those_of_the_code() -> None:
    table = SENTENCES.split("\n## Counters\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    for bus in BUSES:
        assert list(bus.transport().stats()) == named, bus.name


def test_the_errors_are_all_those_of_a_transport() -> None:
    table = SENTENCES.split("\n## Errors\n")[1]
    shown = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    errors = {
        name
        for name in wsrooms.errors.__all__
        if issubclass(getattr(wsrooms.errors, name), TransportError)
    }
    described = {*shown, *re.findall(r"`(\w+)`", table.split("\n| error")[0])}
    assert errors - described == set()
