"""What somebody probably meant: the routes and rooms whose names are near to one that is not there.

Pure functions over names. They run once for each mistake and in debug mode only, so they
may take their time, but not without bound: a client chooses what they are asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from itertools import islice
from urllib.parse import unquote

from wsrooms.errors import NEAR

__all__ = ["foreign_params", "like_rooms", "near_routes", "spelt_otherwise"]

NAMES = 1000
"""Of so many names at most the near ones are looked for."""

LENGTH = 200
"""So many characters of a name at most are compared."""

COMPARED = 20
"""So many names at most are compared to the letter, of those that have the same letters."""

LIKE = 0.8
"""From which ratio on a room is like another one."""

TOLD = 3
"""So many near names at most are told."""

FOREIGN = re.compile(r"\{(\w+)\}|<(?:\w+:)?(\w+)>")
"""A param as FastAPI and Flask write it, which is plain text here."""


def near_routes(event: str, path: str, routes: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The routes that a message without one may have been meant for, the nearest first."""
    path = path[:LENGTH].partition("?")[0]
    near: dict[tuple[str, str], float] = {}
    for route in islice(routes, NAMES):
        of_event = 1.0 if route[0] == "*" else _alike(event, route[0])
        of_path = _alike_path(path, route[1])
        if min(of_event, of_path) >= NEAR:
            near[route] = of_event + of_path
    return sorted(near, key=lambda route: -near[route])[:TOLD]


def foreign_params(routes: Iterable[tuple[str, str]]) -> str:
    """What to say where one of the routes has a param in the spelling of another framework."""
    for _, pattern in routes:
        if found := FOREIGN.search(pattern):
            return f", where {found[0]} is plain text: a param is written :{found[1] or found[2]}"
    return ""


def spelt_otherwise(room: str, rooms: Iterable[str]) -> list[str]:
    """The rooms whose names differ from ``room`` only in what people take for the same."""
    plain = _plain(room)
    return [other for other in islice(rooms, NAMES) if other != room and _plain(other) == plain][
        :TOLD
    ]


def like_rooms(room: str, rooms: Iterable[str]) -> list[str]:
    """The rooms whose names are like ``room``, and not by being of one kind: another number."""
    plain = _without_digits(room)
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(room[:LENGTH].casefold())
    near: list[tuple[float, str]] = []
    compared = 0
    for other in islice(rooms, NAMES):
        matcher.set_seq1(other[:LENGTH].casefold())
        # The quick ones are never below the ratio, and spare it for nearly all.
        if matcher.real_quick_ratio() < LIKE or matcher.quick_ratio() < LIKE:
            continue
        if _without_digits(other) == plain:
            continue
        compared += 1
        if (alike := matcher.ratio()) >= LIKE:
            near.append((alike, other))
        if compared == COMPARED:
            break
    best = sorted(near, key=lambda pair: -pair[0])
    return [other for _, other in best[:TOLD]]


def _plain(room: str) -> str:
    room = unquote(room[:LENGTH]).partition("?")[0].partition("#")[0]
    return "/".join(part for part in room.strip().casefold().split("/") if part)


def _without_digits(room: str) -> str:
    return "".join(char for char in room.casefold() if not char.isdigit())


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(
        None, one[:LENGTH].casefold(), other[:LENGTH].casefold(), autojunk=False
    ).ratio()


def _alike_path(path: str, pattern: str) -> float:
    """How near a path is to a pattern, segment by segment; a parameter is near to any text."""
    asked, known = path.lstrip("/").split("/"), pattern.lstrip("/").split("/")
    alike = [
        _alike(segment, wanted)
        for segment, wanted in zip(asked, known, strict=False)
        if ":" not in wanted and "*" not in wanted
    ]
    length = min(len(asked), len(known)) / max(len(asked), len(known))
    return length * (sum(alike) / len(alike) if alike else 1.0)
