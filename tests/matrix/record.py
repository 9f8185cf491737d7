"""What is kept of the runs: ``docs/matrix.json``, a line for each scenario on each transport."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tests.brokers.record import BUILT_WITHOUT
from tests.matrix.columns import COLUMNS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "FAILED",
    "NOT_APPLICABLE",
    "NOT_RUN",
    "PASSED",
    "RECORD",
    "Entry",
    "Run",
    "read",
    "scenarios",
    "write",
]

RECORD = ROOT / "docs/matrix.json"

PASSED, FAILED = "passed", "failed"
NOT_APPLICABLE = "not applicable"
NOT_RUN = "not run"
"""For want of a server that can do it."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One scenario on one transport.

    Attributes:
        result: One of the four above.
        why: Of every result but "passed".
        counted: What was counted of each fault: the rows of ``faults_table``.
    """

    result: str
    why: str = ""
    counted: tuple[Row, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether somebody has to mend it.

        What a server was built without nobody here can: the page tells it.
        """
        if self.result == NOT_RUN:
            return BUILT_WITHOUT not in self.why
        return self.result == FAILED


@dataclass(frozen=True)
class Run:
    """One column.

    Attributes:
        server: What it ran on, and as what; "" for none.
        version: Of the server, by its own word; of Kafka, by its image's.
        clients: Versions of the libraries that speak to it.
        python: Version of Python.
        machine: In one line.
        date: When it began, UTC.
        commit: What was run.
        seconds: That its tests took, one after another.
        beside: How many columns ran at once.
        code: The digest of the code that it rests on.
        entries: By scenario, in the order in which they ran.
    """

    server: str
    version: str
    clients: Mapping[str, str]
    python: str
    machine: str
    date: str
    commit: str
    seconds: int
    beside: int
    code: str
    entries: Mapping[str, Entry] = field(default_factory=dict[str, Entry])

    def count(self, result: str, of: Iterable[str] | None = None) -> int:
        """How many scenarios ended so."""
        among = self.entries if of is None else of
        return sum(self.entries[each].result == result for each in among)

    @property
    def rows(self) -> list[Row]:
        """All that was counted."""
        return [row for entry in self.entries.values() for row in entry.counted]


def scenarios(runs: Mapping[str, Run]) -> list[str]:
    """All of the record: in the order of their columns, and what only later ones have behind."""
    return list(dict.fromkeys(each for run in runs.values() for each in run.entries))


def read(path: Path = RECORD) -> dict[str, Run]:
    """The columns that are kept, from left to right."""
    kept: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {column.name: _run(kept[column.name]) for column in COLUMNS if column.name in kept}


def _run(kept: dict[str, Any]) -> Run:
    entries = {
        name: Entry(each["result"], each.get("why", ""), tuple(each.get("counted", ())))
        for name, each in kept.pop("entries").items()
    }
    return Run(**kept, entries=entries)


def write(runs: Mapping[str, Run], path: Path = RECORD) -> None:
    """Keep them: a line for each scenario, so that differences can be read."""
    parts = [
        f" {_line(column.name)}: {{\n{_written(runs[column.name])}\n }}"
        for column in COLUMNS
        if column.name in runs
    ]
    made = path.with_suffix(".new")
    made.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")
    made.replace(path)  # whole or not at all


def _written(run: Run) -> str:
    head = {name: value for name, value in asdict(run).items() if name != "entries"}
    lines = [f"  {_line(name)}: {_line(value)}" for name, value in head.items()]
    entries = [f"   {_line(name)}: {_line(_kept(each))}" for name, each in run.entries.items()]
    return ",\n".join([*lines, '  "entries": {\n' + ",\n".join(entries) + "\n  }"])


def _kept(entry: Entry) -> dict[str, Any]:
    rows = [
        {name: _short(value) for name, value in row.items() if value is not None}
        for row in entry.counted
    ]
    full = {"result": entry.result, "why": entry.why, "counted": rows}
    return {name: value for name, value in full.items() if value}


def _short(value: object) -> object:
    return round(value, 2) if isinstance(value, float) else value


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
