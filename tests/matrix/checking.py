"""Whether the record is complete, passed, no older than the code, and drawn as it is.

It asks no broker and runs no test: it takes as long as pytest takes to collect them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.matrix import page, promises
from tests.matrix.columns import COLUMNS, Column, digest
from tests.matrix.record import FAILED, NOT_RUN, RECORD, Run, read
from tests.matrix.running import CHANGED, collected

__all__ = ["of_column", "of_pages", "problems"]

SHOWN = 3
"""How many names a message has."""

DRAW = "make matrix ARGS=--draw"


def problems() -> list[str]:
    """All that is wrong, each with what to do."""
    runs = read()
    wanted = collected()
    found = [
        problem
        for column in COLUMNS
        for problem in of_column(column, runs.get(column.name), wanted[column.name])
    ]
    known = dict.fromkeys(scenario for each in wanted.values() for scenario in each)
    return [*found, *of_pages(runs, known)]


def of_column(column: Column, run: Run | None, wanted: Sequence[str]) -> Iterator[str]:
    """What is wrong with one column, of which pytest collects these scenarios."""
    remedy = f"make matrix ARGS='--only {column.name}'"
    if run is None:
        yield f"{column.name}: {RECORD.name} has no such column: {remedy}"
        return
    if missing := [each for each in wanted if each not in run.entries]:
        yield f"{column.name}: not in {RECORD.name}: {_some(missing)}: {remedy}"
    if extra := [each for each in run.entries if each not in set(wanted)]:
        yield f"{column.name}: only in {RECORD.name}: {_some(extra)}: {remedy}"
    if run.code != digest(column.code):
        yield f"{column.name}: the transport's code has changed since {run.date}: {remedy}"
    if run.commit == "?" or run.commit.endswith(CHANGED):
        yield f"{column.name}: ran on what no commit has ({run.commit}): commit, then {remedy}"
    if column.image and f"{column.image} in Docker" not in run.server.split(", "):
        yield f"{column.name}: ran on {run.server}, not on {column.image} in Docker: {remedy}"
    for result in (FAILED, NOT_RUN):
        bad = [
            f"{name} ({each.why})"
            for name, each in run.entries.items()
            if each.result == result and each.is_bad
        ]
        if bad:
            yield f"{column.name}: {result}: {_some(bad)}: mend it, then {remedy}"


def of_pages(runs: Mapping[str, Run], known: Iterable[str]) -> Iterator[str]:
    """What is wrong with what is drawn of them."""
    there = page.PAGE.read_text("utf-8") if page.PAGE.exists() else ""
    if there != page.drawn(runs):
        yield f"{page.PAGE.name} is not what {RECORD.name} gives: {DRAW}"
    there = promises.PAGE.read_text("utf-8")
    yield from promises.problems(there, known)
    if there != promises.drawn(there, runs):
        yield f"the table of {promises.PAGE.name} is not what {RECORD.name} gives: {DRAW}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
