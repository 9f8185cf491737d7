"""All of our transports in one table and one chart, and one, two and four instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from benchmarks.harness.chart import Panel, picture
from benchmarks.harness.figures import conditions, overloaded
from benchmarks.harness.fleet.brokers import ALL
from benchmarks.harness.fleet.scenarios import (
    SPREAD_MEMBERS,
    SPREAD_RATE,
    SPREAD_ROOMS,
    STRANGERS,
    TRANSPORTS,
)
from benchmarks.harness.tables import Row, table, thousands

if TYPE_CHECKING:
    from benchmarks.harness.results import Load, Results, Rooms, Run
    from benchmarks.harness.scenarios import Scenario

__all__ = ["chart", "instances", "side_by_side", "summary"]

HEARS, TALKS, BROKER = 0, 1, 2
"""Places of the CPU of each program in ``Load.each_s``, where there is more than one."""

T = TypeVar("T")

Tell = Callable[["Results", str], str]


def summary(results: Results) -> list[str]:
    """Both tables."""
    return [conditions(results), "", *side_by_side(results), "", *instances(results)]


def side_by_side(results: Results) -> list[str]:
    """Every figure a row, every transport a column."""
    names = results.servers()
    told = [[title, *(tell(results, name) for name in names)] for title, tell in ROWS]
    rows = [row for row in told if any(cell != "–" for cell in row[1:])]
    rooms = next((run.rooms.rooms for run in results.runs if run.rooms is not None), 0)
    rows = [[row[0].replace("ROOMS", f"{rooms:,}"), *row[1:]] for row in rows]
    return table(["", *(_title(name) for name in names)], rows)


def _title(name: str) -> str:
    return ALL[name].title


# ---- the rows ----


def _load(scenario: str, tell: Callable[[Sequence[Load]], str]) -> Tell:
    def told(results: Results, name: str) -> str:
        loads = results.loads(name, scenario)
        if not loads:
            return "–"
        return "overload" if overloaded(loads, TRANSPORTS[scenario]) else tell(loads)

    return told


def _latency(loads: Sequence[Load]) -> str:
    p50, p99 = (median(each) / 1e3 for each in zip(*map(_quantiles, loads), strict=True))
    return f"{p50:.2f} / {p99:.2f}"


def _quantiles(load: Load) -> tuple[float, float]:
    return load.p50_us, load.p99_us


def _rate(loads: Sequence[Load]) -> str:
    return thousands(median(load.rate for load in loads))


def _cpu(part: int) -> Callable[[Sequence[Load]], str]:
    """Microseconds of this program for each; where one does all, its figure is told once."""

    def told(loads: Sequence[Load]) -> str:
        if any(part >= len(load.each_s) for load in loads):
            return "–"
        return f"{median(1e6 * load.each_s[part] / load.count for load in loads):.1f}"

    return told


def _both(part: int) -> Tell:
    tell = _cpu(part)

    def told(results: Results, name: str) -> str:
        loads = [results.loads(name, scenario) for scenario in ("relay-rate", "relay20")]
        cells = [tell(some) if some else "–" for some in loads]
        return " / ".join(cells) if any(cell != "–" for cell in cells) else "–"

    return told


def _of(scenario: str, get: Callable[[Run], T | None], tell: Callable[[Sequence[T]], str]) -> Tell:
    def told(results: Results, name: str) -> str:
        runs = results.of(name, scenario)
        found = [figure for run in runs if (figure := get(run)) is not None]
        if found:
            return tell(found)
        return "failed" if any(run.error for run in runs) else "–"

    return told


def _if_told(tell: Tell) -> Tell:
    """Nothing of a broker that is not told of rooms."""
    return lambda results, name: tell(results, name) if ALL[name].knows_rooms else "–"


def _at_the_broker(rooms: Rooms) -> float:
    return rooms.broker_bytes_each


def _median(factor: float, digits: int, get: Callable[[T], float]) -> Callable[[Sequence[T]], str]:
    return lambda found: f"{factor * median(map(get, found)):,.{digits}f}"


def _seconds(get: Callable[[T], float | None]) -> Callable[[Sequence[T]], str]:
    def told(found: Sequence[T]) -> str:
        values = [value for each in found if (value := get(each)) is not None]
        return f"{median(values):.2f}" if len(values) == len(found) else "never"

    return told


ROWS: tuple[tuple[str, Tell], ...] = (
    (
        "latency from one instance to another at 1,000 messages/s, ms: p50 / p99",
        _load("relay-rate", _latency),
    ),
    ("k deliveries/s to 500 members, 1 message at a time", _load("cross1", _rate)),
    ("… 20 at a time", _load("cross20", _rate)),
    ("k messages/s in 50 rooms of one member, 20 at a time", _load("relay20", _rate)),
    ("CPU of a message at 1,000/s / as many as go, µs: publishing instance", _both(TALKS)),
    ("… instance that hosts its room", _both(HEARS)),
    ("… broker", _both(BROKER)),
    (
        f"CPU of an instance that hosts none of the rooms, {STRANGERS.demand:,.0f} messages/s, "
        "µs each",
        _of("strangers", lambda run: run.stranger, _median(1, 2, lambda each: each.cpu_us)),
    ),
    (
        "idle instance, % of a core",
        _of("strangers", lambda run: run.stranger, _median(100, 2, lambda each: each.idle_share)),
    ),
    (
        "idle broker, % of a core",
        _of("traffic", lambda run: run.traffic, _median(100, 2, lambda each: each.idle_share)),
    ),
    (
        "memory of a room on its instance, bytes",
        _of("rooms", lambda run: run.rooms, _median(1, 0, lambda each: each.bytes_each)),
    ),
    (
        "memory of its subscription at the broker, bytes",
        _if_told(_of("rooms", lambda run: run.rooms, _median(1, 0, _at_the_broker))),
    ),
    (
        "ROOMS rooms after a restart of the broker: subscribed again, s",
        _if_told(_of("restart", lambda run: run.restart, _seconds(lambda each: each.channels_s))),
    ),
    (
        "… heard again, s",
        _of("restart", lambda run: run.restart, _seconds(lambda each: each.heard_s)),
    ),
    (
        "… messages lost of those said meanwhile",
        _of(
            "restart",
            lambda run: run.restart,
            lambda found: f"{sum(each.lost for each in found)} of {sum(e.said for e in found)}",
        ),
    ),
)


# ---- one, two and four instances ----


def instances(results: Results) -> list[str]:
    """A row for each transport and number of instances."""
    steady = f"{SPREAD_ROOMS * SPREAD_MEMBERS * SPREAD_RATE:,} deliveries/s"
    heads = ["", f"{steady}: p50 / p99 ms", "CPU of a delivery, µs: instances + broker"]
    heads += ["most: k deliveries/s", "p50 / p99 ms", "CPU of a delivery, µs"]
    rows: list[Row] = []
    for name in results.servers():
        for scenario in TRANSPORTS.values():
            runs = results.of(name, scenario.name)[-1:]
            if scenario.kind == "spread":
                rows += [_spread(run, scenario) for run in runs if not run.error]
    return table(heads, rows) if rows else []


def _spread(run: Run, scenario: Scenario) -> Row:
    assert run.load is not None
    assert run.most is not None
    count = scenario.instances
    late = overloaded([run.load], scenario)
    return [
        f"{_title(run.server)}, {count} instance{'s' * (count > 1)}",
        *("overload" if late else _latency([run.load]), _each(run.load, count)),
        *(_rate([run.most]), _latency([run.most]), _each(run.most, count)),
    ]


def _each(load: Load, count: int) -> str:
    parts = sum(load.each_s[:count]), sum(load.each_s[count:])
    return " + ".join(f"{1e6 * part / load.count:.1f}" for part in parts if part)


# ---- the chart ----


def _from_p50_to_p99(load: Load) -> list[float]:
    return [load.p50_us / 1e3, load.p50_us / 1e3, load.p99_us / 1e3]


def _as_a_rate(load: Load) -> list[float]:
    return [load.rate]


def _all_cpu(load: Load) -> list[float]:
    return [1e6 * sum(load.each_s) / load.count]


PANELS: tuple[tuple[str, str, str, Callable[[Load], list[float]]], ...] = (
    (
        "relay-rate",
        "Latency from one instance to another, 1,000 messages a second",
        "milliseconds; the bar is the median, the whisker ends at p99",
        _from_p50_to_p99,
    ),
    (
        "cross1",
        "To 500 members on another instance, one message at a time",
        "deliveries a second",
        _as_a_rate,
    ),
    ("cross20", "Twenty messages at a time", "deliveries a second", _as_a_rate),
    (
        "relay20",
        "From one instance to another in 50 rooms, twenty at a time",
        "messages a second",
        _as_a_rate,
    ),
    (
        "relay-rate",
        "CPU of a message, 1,000 messages a second",
        "microseconds of both instances and the broker together",
        _all_cpu,
    ),
)


def chart(results: Results) -> str:
    """The figures of the table that say most, a panel each."""
    panels: list[Panel] = []
    for scenario, title, unit, get in PANELS:
        values = {
            _title(name): [value for load in loads for value in get(load)]
            for name in results.servers()
            if (loads := [load for load in results.loads(name, scenario) if load.count])
        }
        if values:
            panels.append((title, unit, values))
    return picture("All transports beside each other", panels)
