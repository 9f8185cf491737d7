"""Tables of what is not a rate: memory, joins, disconnects, latency by load, handler kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.contenders import HANDLER_KINDS
from benchmarks.harness.figures import late, middle, ranked
from benchmarks.harness.scenarios import LOADS, SCENARIOS
from benchmarks.harness.tables import Row, table, thousands

if TYPE_CHECKING:
    from benchmarks.harness.results import Level, Load, Results, Run

__all__ = ["special"]

KINDS = {
    "": "sync, decoded",
    "-raw": "sync, raw",
    "-async": "async, decoded",
    "-async-raw": "async, raw",
}


def special(results: Results, head: str = "###", *, full: bool = False) -> list[str]:
    """A small table for each that was measured, under a heading each; all figures if ``full``."""
    parts: tuple[tuple[str, str, list[str]], ...] = (
        ("memory", "Memory", _memory(results, full=full)),
        ("joins", "Joins", _joins(results)),
        ("disconnect", "Disconnects", _disconnects(results)),
        ("load-fan", "Latency under load: a room of 1,000", _levels(results, "load-fan", full)),
        ("load-rpc", "Latency under load: replies", _levels(results, "load-rpc", full)),
        ("kinds", "Handler kinds", _kinds(results)),
        ("instructions", "Instructions", _instructions(results)),
    )
    lines: list[str] = []
    for name, title, body in parts:
        if body:
            titled = f"{name}: {SCENARIOS[name].title}" if full and name in SCENARIOS else title
            lines += ["", f"{head} {titled}", "", *body]
    return lines


def _found(results: Results, scenario: str, has: Callable[[Run], object]) -> Iterator[Run]:
    """The first run with figures of each server."""
    for server in ranked(results):
        runs = [run for run in results.of(server, scenario) if has(run)]
        if runs:
            yield runs[0]


def _memory(results: Results, *, full: bool) -> list[str]:
    heads = ["server", "KB, silent", "KB, has spoken", "bytes a room"]
    heads += ["connections", "before, MB", "in rooms, MB"] if full else []
    rows: list[Row] = []
    count = 0
    for run in _found(results, "memory", lambda run: run.memory):
        assert run.memory is not None
        memory = run.memory
        count = memory.connections
        cells = [f"{memory.open_kb_each:.1f}", f"{memory.spoken_kb_each:.1f}"]
        cells += [f"{memory.membership_bytes:,.0f}"]
        more = [f"{count:,}", f"{memory.base_kb / 1024:.0f}", f"{memory.joined_kb / 1024:.0f}"]
        rows.append([run.server, *cells, *(more if full else [])])
    told = f"Resident memory for each of {count:,} connections, then for each of its three rooms"
    return [f"{told} (100 members each).", "", *table(heads, rows)] if rows else []


def _joins(results: Results) -> list[str]:
    rows: list[Row] = []
    heads = ["server"]
    count = 0
    for run in _found(results, "joins", lambda run: run.joins):
        joins = run.joins or {}
        count = max(each.count for each in joins.values())
        heads = ["server", *joins]
        cells = [
            f"{each.seconds:.2f} s, {each.rate / 1e3:,.1f} k/s ({each.cpu_us:.0f} µs)"
            for each in joins.values()
        ]
        rows.append([run.server, *cells])
    told = f"Time for {count:,} joins, each confirmed; joins a second; CPU of the server for each."
    return [told, "", *table(heads, rows)] if rows else []


def _disconnects(results: Results) -> list[str]:
    runs = list(_found(results, "disconnect", lambda run: run.disconnect))
    if not runs or runs[0].disconnect is None:
        return []
    heads = ["server"]
    for one_room, where in ((True, "one room"), (False, "a room each")):
        sizes = [step.others for step in runs[0].disconnect.growing(one_room=one_room)]
        heads += [*(f"{where}: {size:,}" for size in sizes), "most / least"]
    rows: list[Row] = []
    for run in runs:
        row = [run.server]
        for one_room in (True, False):
            assert run.disconnect is not None
            costs = [step.cpu_us for step in run.disconnect.growing(one_room=one_room)]
            row += [*(f"{cost:.0f}" for cost in costs), f"{max(costs) / min(costs):.2f}"]
        rows.append(row)
    told = "CPU of the server for a disconnect, µs, beside so many other connections that share "
    return [f"{told}one room, or have one each.", "", *table(heads, rows)]


def _levels(results: Results, scenario: str, full: bool) -> list[str]:
    rows: list[Row] = []
    shares: list[str] = []
    for run in _found(results, scenario, lambda run: run.levels):
        assert run.load is not None
        levels = run.levels or []
        shares = [f"{level.share:.0%}" for level in levels]
        cells = (_level(run, level) for level in levels)
        rows.append([run.server, thousands(run.load.rate), *cells])
        if full:
            rows += [["", "", *(_level_cost(level) for level in levels)]]
    unit = SCENARIOS[scenario].unit
    told = "p50 / p99 / p99.9 in ms, at shares of the most that the same server did just before."
    return [told, "", *table(["server", f"most, k {unit}/s", *shares], rows)] if rows else []


def _level(run: Run, level: Level) -> str:
    if late(run, level):
        return "overload"
    latencies = (level.load.p50_us, level.load.p99_us, level.load.p999_us)
    return " / ".join(f"{latency / 1e3:.1f}" for latency in latencies)


def _level_cost(level: Level) -> str:
    load = level.load
    return f"{load.rate:,.0f}/s, {load.user_us:.1f} + {load.system_us:.1f} µs, {load.busy:.0%}"


def _kinds(results: Results) -> list[str]:
    """Ours by handler and data; nothing where only one kind was measured."""
    servers = {
        f"{KINDS[kind]}, {loop}": f"wsrooms-{loop}{kind}"
        for loop in ("asyncio", "uvloop")
        for kind in HANDLER_KINDS
    }
    names = [name for name in LOADS if not SCENARIOS[name].demand]
    names = [name for name in names if any(results.loads(each, name) for each in servers.values())]
    rows: list[Row] = []
    for kind, server in servers.items():
        cells = [results.loads(server, name) for name in names]
        if any(cells):
            rows.append([kind, *(_rate_and_cost(loads) if loads else "–" for loads in cells)])
    if len(rows) < 3:
        return []
    told = "wsrooms by the kind of its handlers and what they pass on: thousands a second, and "
    return [
        f"{told}CPU of the server for each in µs (medians).",
        "",
        *table(["kind", *names], rows),
    ]


def _rate_and_cost(loads: list[Load]) -> str:
    rate = median(load.rate for load in loads)
    return f"{thousands(rate)} ({middle(loads, lambda load: load.cpu_us):.2f})"


def _instructions(results: Results) -> list[str]:
    runs = list(_found(results, "instructions", lambda run: run.instructions))
    if not runs:
        return []
    names = list(dict.fromkeys(name for run in runs for name in _each(run)))
    rows = [
        [run.server, *(f"{_each(run)[name]:,.0f}" if name in _each(run) else "–" for name in names)]
        for run in runs
    ]
    by = runs[0].instructions.counted_by if runs[0].instructions else ""
    told = f"Instructions outside the kernel for each delivery or reply, counted by {by}: the same "
    return [
        f"{told}within a few percent, whatever else the machine does.",
        "",
        *table(["server", *names], rows),
    ]


def _each(run: Run) -> dict[str, float]:
    return run.instructions.each if run.instructions else {}
