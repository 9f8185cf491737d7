"""What the fault tests counted: a row for each fault, shown at the end of the run and kept.

It is a plugin of pytest.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["ROWS", "Row", "pytest_terminal_summary"]

KEPT_AS = "faults.json"
"""Below the folder ``wsrooms`` of pytest's cache."""


@dataclass
class Row:
    """What one fault did to the messages that were sent around it.

    Attributes:
        fault: What happened.
        broker: Which broker it happened to, or in front of.
        sent: Messages that the instances sent.
        confirmed: Those of them that the broker confirmed.
        refused: Those whose sender was told an error.
        unknown: Those whose sender died.
        due: Confirmed messages times the members that were subscribed.
        delivered: How many of those arrived.
        duplicated: Messages that somebody received twice.
        reported: Deliveries that did not arrive and that gaps tell of.
        silent: Messages that somebody did not receive, and no gap tells of.
        other: Other broken promises: order, false alarms, forgeries.
        resent: Messages that an instance wrote once more.
        dropped: Messages that came to an instance twice, of which it dropped one.
        noticed: Seconds until every broken instance was down, where that was waited for.
        healed: Seconds from the end of the fault until messages of each instance that were
            sent after it had reached members on each.
        local: Seconds that the slowest message took to members on its own instance.
        answer: Seconds that the slowest answer to a client took.
    """

    fault: str
    broker: str
    sent: int = 0
    confirmed: int = 0
    refused: int = 0
    unknown: int = 0
    due: int = 0
    delivered: int = 0
    duplicated: int = 0
    reported: int = 0
    silent: int = 0
    other: int = 0
    resent: int = 0
    dropped: int = 0
    noticed: float | None = None
    healed: float | None = None
    local: float | None = None
    answer: float | None = None


ROWS: list[Row] = []
"""Of this run, in the order in which the faults ended."""


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def lines(rows: list[Row]) -> list[str]:
    """The rows as an aligned table, with a head."""
    names = [field.name for field in dataclasses.fields(Row)]
    table = [names, *([_shown(getattr(row, name)) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in table
    ]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table, and keep it where a later program finds it."""
    if not ROWS:
        return
    terminalreporter.section("faults")
    for line in lines(ROWS):
        terminalreporter.write_line(line)
    cache = getattr(config, "cache", None)  # there is none with -p no:cacheprovider
    if cache is not None:
        kept = Path(cache.mkdir("wsrooms")) / KEPT_AS
        kept.write_text(json.dumps([dataclasses.asdict(row) for row in ROWS], indent=1), "utf-8")
