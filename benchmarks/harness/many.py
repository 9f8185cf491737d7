"""The figures in docs/many.md: some of those that are on the pages of the programs.

What is a dash in them was not measured.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from benchmarks.harness.markers import between, with_parts
from benchmarks.harness.results import ROOT
from benchmarks.harness.tables import table

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["main", "write"]

PAGE = "docs/many.md"
PERFORMANCE, FIGURES, KAFKA = (
    f"docs/{name}.md" for name in ("performance", "transports/figures", "transports/kafka")
)

BROKERS = {"Redis": "wsrooms-redis", "NATS": "wsrooms-nats", "Kafka": "wsrooms-kafka"}
LOOPS = {"asyncio": "wsrooms-asyncio", "uvloop": "wsrooms-uvloop"}

FLOOD = "10,000/s"
MISSING = "–"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Draw or check; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py many",
        description=f"Draws the tables of {PAGE} from those of {PERFORMANCE}, {FIGURES} and "
        f"{KAFKA}. Programs that write one of these do so too.",
    )
    told = "write nothing; fail where it has others, or where figures are missing"
    parser.add_argument("--check", action="store_true", help=told)
    options = parser.parse_args(arguments)
    page = root / PAGE
    try:
        if not options.check:
            write({}, root)
            return 0
        parts = _parts({}, root)
        made = with_parts(page, **parts)
    except ValueError as error:
        print(f"wsrooms: {error}", file=sys.stderr)
        return 2
    if made != page.read_text("utf-8"):
        print(f"{PAGE} has other figures than were measured: run benchmarks/run.py many")
        return 1
    if missing := [line for lines in parts.values() for line in lines if f"| {MISSING} |" in line]:
        print(f"{PAGE} lacks figures that were not measured:", *missing, sep="\n")
        return 1
    return 0


def write(pages: Mapping[Path, str], root: Path = ROOT) -> list[Path]:
    """Write these pages, and docs/many.md by them; returns which files these are.

    Raises:
        ValueError: One of those that docs/many.md is drawn from, or itself, has lost its markers.
            Nothing is written then.
    """
    many = root / PAGE
    found = {**pages, many: with_parts(many, **_parts(pages, root))}
    for path, text in found.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return list(found)


def _parts(pages: Mapping[Path, str], root: Path) -> dict[str, list[str]]:
    """Its tables, when these pages are as they are to be, and all others as they are."""

    def read(name: str, part: str) -> str:
        page = root / name
        return between(pages[page] if page in pages else page.read_text("utf-8"), part)

    return {
        "choosing": _choosing(read(FIGURES, "costs"), read(KAFKA, "kafka")),
        "sizing": _sizing(read(PERFORMANCE, "measured")),
    }


def _choosing(costs: str, kafka: str) -> list[str]:
    """What each broker takes for a message and for a room."""
    prices = Table(costs)
    floods = Table(kafka, after="CPU of who wants none")
    at_a_time = "1 / 20 / 100 at a time, µs"
    rows = [
        [title, *(prices.get(row, name) for name in BROKERS.values())]
        for title, row in (
            (
                "a message, from one process to another, µs: p50 / p99",
                "from one process to another, µs: p50 / p99",
            ),
            (
                "CPU of publishing it, where 1 / 20 / 100 go at a time, µs",
                f"CPU of publishing one of 200 bytes, {at_a_time}",
            ),
            ("CPU of hearing it, likewise", f"CPU of hearing one of 200 bytes, {at_a_time}"),
            (
                "CPU of the broker for it, likewise",
                f"CPU of the broker, for one of 200 bytes, {at_a_time}",
            ),
            (
                "memory of a subscription, in an instance with members of its room, bytes",
                "… resident, bytes",
            ),
            ("… at the broker, bytes", "… at the broker, resident, bytes"),
        )
    ]
    title = "CPU of an instance without members of the room, 10,000 messages a second, µs"
    rows.append([title, *(_each(floods.get(name, FLOOD)) for name in BROKERS.values())])
    return table(["", *BROKERS], rows)


def _each(cell: str) -> str:
    """Of "21.8 (21.5 µs); 50" that for each message."""
    found = re.search(r"\(([\d.]+) µs\)", cell)
    return found[1] if found else MISSING


def _sizing(measured: str) -> list[str]:
    """What one process takes for its clients, and what it does for them."""
    rates, memory = Table(measured), Table(measured, after="### Memory")
    rows = (
        ("memory of a client that is silent, KB", memory, "KB, silent"),
        ("… that has spoken, KB", memory, "KB, has spoken"),
        ("… of its being in a room, bytes", memory, "bytes a room"),
        ("thousand deliveries a second, one message at a time", rates, "fan1, k deliveries/s"),
        ("… 20 messages at a time", rates, "fan20, k deliveries/s"),
        ("thousand requests answered a second, one at a time", rates, "rpc1, k replies/s"),
    )
    return table(
        ["one process, on one core", *LOOPS],
        [[title, *(of.get(name, column) for name in LOOPS.values())] for title, of, column in rows],
    )


class Table:
    """The first table of a text, after these words of it."""

    def __init__(self, text: str, after: str = "") -> None:
        found = re.search(r"(?:^\|.*\n)+", text.partition(after)[2] if after else text, re.M)
        lines = found[0].splitlines() if found else [""]
        cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
        self._head, *self._rows = cells

    def get(self, row: str, column: str) -> str:
        """The cell where these cross."""
        cells = next((cells for cells in self._rows if cells[0] == row), [])
        found = dict(zip(self._head, cells, strict=False))
        return found.get(column, MISSING)
