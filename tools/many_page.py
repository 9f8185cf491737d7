"""Draws the figures in docs/many.md from those that the measuring programs have written.

They are in docs/performance.md, docs/transports/figures.md and docs/transports/kafka.md. With
``--check`` nothing is written, and it fails if the page has others.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROKERS = {"Redis": "wsrooms-redis", "NATS": "wsrooms-nats", "Kafka": "wsrooms-kafka"}
LOOPS = {"asyncio": "wsrooms-asyncio", "uvloop": "wsrooms-uvloop"}


class Table:
    """A table of a page: the first one after ``mark`` with a column ``column``."""

    def __init__(self, page: str, mark: str, column: str) -> None:
        _, found, after = page.partition(mark)
        assert found, f"no {mark!r} in the page"
        tables = re.findall(r"(?:^\|.*\n)+", after, re.MULTILINE)
        cells = ([cells_of(line) for line in table.splitlines()] for table in tables)
        self._head, _, *self._rows = next(rows for rows in cells if begins(rows[0], column))

    def get(self, row: str, column: str) -> str:
        """The cell where these cross; the first of those that begin so."""
        titles = [cells[0] for cells in self._rows]
        return self._rows[begins(titles, row)[0]][begins(self._head, column)[0]]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def begins(cells: Sequence[str], with_what: str) -> list[int]:
    """Where those are that begin so, or if there are some, those that are no longer either."""
    same = [number for number, cell in enumerate(cells) if cell == with_what]
    return same or [number for number, cell in enumerate(cells) if cell.startswith(with_what)]


def choosing(transports: str, kafka: str) -> list[str]:
    """What each broker takes for a message and for a room."""
    costs = Table(transports, "<!-- costs: begin", "wsrooms-redis")
    others = Table(kafka, "CPU of who wants none", "10,000/s")
    rows = {
        "a message, from one process to another, µs: p50 / p99": "from one process to another",
        "CPU of publishing it, where 1 / 20 / 100 go at a time, µs": "CPU of publishing",
        "CPU of hearing it, likewise": "CPU of hearing",
        "CPU of the broker for it, likewise": "CPU of the broker",
        "memory of a subscription, in an instance with members of its room, bytes": "… resident",
        "… at the broker, bytes": "… at the broker",
    }
    filled = [
        [title, *(costs.get(row, name) for name in BROKERS.values())] for title, row in rows.items()
    ]
    each = [others.get(name, "10,000/s") for name in BROKERS.values()]
    strangers = [re.findall(r"\(([\d.]+) µs\)", cell)[0] for cell in each]  # 21.8 (21.5 µs); 50
    title = "CPU of an instance without members of the room, 10,000 messages a second, µs"
    return drawn(["", *BROKERS], [*filled, [title, *strangers]])


def sizing(performance: str) -> list[str]:
    """What one process takes for its clients, and what it does for them."""
    memory = Table(performance, "### Memory", "KB, silent")
    rates = Table(performance, "<!-- measured: begin", "fan1")
    rows = (
        ("memory of a client that is silent, KB", memory, "KB, silent"),
        ("… that has spoken, KB", memory, "KB, has spoken"),
        ("… of its being in a room, bytes", memory, "bytes a room"),
        ("thousand deliveries a second, one message at a time", rates, "fan1,"),
        ("… 20 messages at a time", rates, "fan20,"),
        ("thousand requests answered a second, one at a time", rates, "rpc1,"),
    )
    return drawn(
        ["one process, on one core", *LOOPS],
        [[title, *(of.get(name, column) for name in LOOPS.values())] for title, of, column in rows],
    )


def drawn(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def page_with_figures(root: Path) -> str:
    """The page as it should be."""
    docs = {
        name: (root / "docs" / name).read_text("utf-8")
        for name in ("many.md", "performance.md", "transports/figures.md", "transports/kafka.md")
    }
    page, performance, transports, kafka = docs.values()
    figures = {"choosing": choosing(transports, kafka), "sizing": sizing(performance)}
    for name, lines in figures.items():
        first = f"<!-- {name}: begin (written by tools/many_page.py) -->"
        last = f"<!-- {name}: end -->"
        before, begin, rest = page.partition(first)
        _, end, after = rest.partition(last)
        assert begin, f"docs/many.md lacks {first!r}"
        assert end, f"docs/many.md lacks {last!r}"
        page = "\n".join([f"{before}{first}", "", *lines, "", f"{last}{after}"])
    return page


def main(*, check: bool) -> None:
    page = ROOT / "docs/many.md"
    made = page_with_figures(ROOT)
    if not check:
        page.write_text(made, "utf-8")
    elif made != page.read_text("utf-8"):
        sys.exit("docs/many.md has other figures than were measured: run tools/many_page.py")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
