"""The page "Rooms and broadcasting": each of its claims is a test in examples/rooms, run here."""

from __future__ import annotations

import re

from .programs import EXAMPLES, ROOT, load

PAGE = (ROOT / "docs/rooms.md").read_text("utf-8")

PROGRAMS = {
    "handlers.py": load("rooms/handlers.py"),
    "optional_kinds.py": load("rooms/optional_kinds.py"),
    "membership.py": load("rooms/membership.py"),
    "broadcasting.py": load("rooms/broadcasting.py"),
    "life.py": load("rooms/life.py"),
}

CLAIMS = [
    (name, claim)
    for program in PROGRAMS.values()
    for name, claim in vars(program).items()
    if name.startswith("test_")
]

# Pytest collects what is here, with its fixtures and marks.
globals().update(CLAIMS)


def test_no_two_claims_have_the_same_name() -> None:
    assert len(CLAIMS) == len(dict(CLAIMS))


def test_the_page_shows_every_claim_once() -> None:
    shown: list[str] = []
    for program, section in re.findall(r'^--8<-- "examples/rooms/(.+?):(.+?)"', PAGE, re.MULTILINE):
        text = (EXAMPLES / "rooms" / program).read_text("utf-8")
        begin, end = f"# --8<-- [start:{section}]", f"# --8<-- [end:{section}]"
        shown += re.findall(r"^(?:async )?def (test_\w+)", between(text, begin, end), re.MULTILINE)
    assert sorted(shown) == sorted(name for name, _ in CLAIMS)


def between(text: str, begin: str, end: str) -> str:
    assert text.count(begin) == text.count(end) == 1, begin
    return text.split(begin)[1].split(end)[0]
