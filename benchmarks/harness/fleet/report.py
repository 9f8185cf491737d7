"""What a reader wants to know of a result file about fleets, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from benchmarks.harness.figures import conditions, middle, overloaded, rate_of
from benchmarks.harness.fleet.contenders import OURS, OVER_REDIS, WITHOUT_GOAL
from benchmarks.harness.fleet.scenarios import SCENARIOS
from benchmarks.harness.tables import Row, table, thousands

if TYPE_CHECKING:
    from benchmarks.harness.results import Load, Restart, Results, Run
    from benchmarks.harness.scenarios import Scenario

__all__ = ["details", "summary"]

RANKED_BY = "cross20"

RIVALS = {
    "socket.io": ("socket.io-classic", "socket.io-sharded", "socket.io-nats"),
    "centrifuge": ("centrifuge-default", "centrifuge-delay", "centrifugo-nats"),
}
"""Whom ours are to outdo: of each the best of its settings counts."""

OVER = "wsrooms over Redis"
"""The rival of ours over other brokers, on the same loop."""

GOALS = {
    ("cross1", "socket.io"): 1.0,
    ("cross1", "centrifuge"): 1.0,
    ("cross20", "socket.io"): 8.0,
    ("cross20", "centrifuge"): 1.2,
    ("cross1", OVER): 1.0,
    ("cross20", OVER): 1.0,
    ("relay20", OVER): 1.0,
}
"""How many times the rate of a rival is aimed at."""

PARTS = ("hears", "talks", "broker")
"""Whose CPU is counted, in the order of the programs that wsload is given."""

T = TypeVar("T")


def summary(results: Results) -> list[str]:
    """Rates, ratios and costs, then what else was measured, a small table each."""
    lines = [conditions(results)]
    for title, body in (
        ("", _rates(results)),
        ("", _ratios(results)),
        ("CPU for each message", _costs(results)),
        ("Joins", _turns(results)),
        ("Memory for each room", _rooms(results)),
        ("Rooms of others, and many messages at once", _others(results)),
        ("A broker that is killed and started", _restarts(results)),
    ):
        if body:
            lines += ["", *([f"## {title}", ""] if title else []), *body]
    return lines


def details(results: Results) -> list[str]:
    """Every figure, scenario by scenario, then the summary's other tables."""
    lines = [conditions(results)]
    for name, scenario in SCENARIOS.items():
        rows = [row for server in _ranked(results) if (row := _row(results, server, scenario))]
        if rows:
            lines += ["", f"## {name}: {scenario.title}", "", *table(_heads(scenario), rows)]
    for title, body in (
        ("turns", _turns(results)),
        ("rooms", _rooms(results)),
        ("strangers, writes", _others(results)),
        ("restart", _restarts(results)),
    ):
        if body:
            lines += ["", f"## {title}", "", *body]
    if results.skipped:
        lines += ["", "## Not measured", ""]
        lines += [f"- {server}: {reason}" for server, reason in results.skipped.items()]
    return lines


# ---- rates, ratios and CPU ----


def _ranked(results: Results) -> list[str]:
    def speed(server: str) -> float:
        loads = results.loads(server, RANKED_BY)
        return middle(loads, rate_of) if loads else 0

    return sorted(results.servers(), key=speed, reverse=True)


def _rates(results: Results) -> list[str]:
    names = [name for name in ("cross1", "cross20", "cross-rate20") if _measured(results, name)]
    heads = ["server", *(_head(SCENARIOS[name]) for name in names), "faults"]
    rows = [
        [
            server,
            *(_rate(results, server, SCENARIOS[name]) for name in names),
            _faults(results, server, names),
        ]
        for server in _ranked(results)
        if any(results.of(server, name) for name in names)
    ]
    told = "Thousands a second: median (lowest…highest). One instance's client sends, 500 of the "
    return [f"{told}other's hear it.", "", *table(heads, rows)] if rows else []


def _head(scenario: Scenario) -> str:
    return f"{scenario.name}, {'latency' if scenario.demand else f'k {scenario.unit}/s'}"


def _measured(results: Results, name: str) -> bool:
    return any(results.loads(server, name) for server in results.servers())


def _rate(results: Results, server: str, scenario: Scenario) -> str:
    loads = results.loads(server, scenario.name)
    if not loads:
        return "–"
    if scenario.demand:
        if overloaded(loads, scenario):
            return "overload"
        p50, p99 = (middle(loads, figure) / 1e3 for figure in (_p50, _p99))
        return f"p50 {p50:.1f}, p99 {p99:.1f} ms"
    rates = [load.rate for load in loads]
    return f"{thousands(median(rates))} ({thousands(min(rates))}…{thousands(max(rates))})"


def _p50(load: Load) -> float:
    return load.p50_us


def _p99(load: Load) -> float:
    return load.p99_us


def _faults(results: Results, server: str, names: Iterable[str]) -> str:
    """What was wrong with the deliveries in these scenarios, and in how many runs."""
    found: dict[str, int] = {}
    for name in names:
        for run in results.of(server, name):
            kinds = [kind.replace("_", " ") for each in run.windows() for kind in each.faults]
            for kind in [*kinds, *(["failed"] if run.error else [])]:
                found[f"{name}: {kind}"] = found.get(f"{name}: {kind}", 0) + 1
    return ", ".join(f"{what} ({count} ×)" for what, count in found.items()) or "0"


def _ratios(results: Results) -> list[str]:
    ours = [server for server in _ranked(results) if server.startswith(OURS)]
    rows: list[Row] = []
    for name, rival in GOALS:
        for server in ours:
            rivals = [OVER_REDIS.get(server, "")] if rival == OVER else RIVALS[rival]
            ratios = _paired(results, name, server, rivals)
            if ratios:
                spread = f"({min(ratios):.2f}…{max(ratios):.2f})"
                goal = "–" if server in WITHOUT_GOAL else f"{GOALS[name, rival]:g} ×"
                cpu = _least_cpu(results, name, rivals) / _least_cpu(results, name, [server])
                ratio, by_cpu = f"**{median(ratios):.2f} ×**", f"{cpu:.2f} ×"
                rows.append([name, server, rival, ratio, spread, by_cpu, goal])
    heads = ["scenario", "server", "times", "ratio", "spread", "by least CPU", "goal"]
    told = (
        "How many times the rate of the other's best setting, both measured within the same "
        "repetition: median, lowest and highest; and by the least CPU that the instance that hears "
        "took for each delivery in any repetition, which other programs disturb less."
    )
    return [told, "", *table(heads, rows)] if rows else []


def _paired(results: Results, name: str, server: str, rivals: Sequence[str]) -> list[float]:
    """Our rate over the best of theirs, for each repetition."""
    found: list[float] = []
    for run in results.of(server, name):
        theirs = [
            other.load.rate
            for rival in rivals
            for other in results.of(rival, name)
            if other.repetition == run.repetition and other.load is not None
        ]
        if run.load is not None and theirs:
            found.append(run.load.rate / max(theirs))
    return found


def _least_cpu(results: Results, name: str, servers: Sequence[str]) -> float:
    """Seconds for each delivery of the instance that hears, in the best run of any of these."""
    loads = [load for server in servers for load in results.loads(server, name) if load.count]
    return min(load.each_s[0] / load.count for load in loads)


def _costs(results: Results) -> list[str]:
    names = [name for name in ("relay-rate", "relay1", "relay20") if _measured(results, name)]
    heads = ["server"]
    for name in names:
        heads += [f"{name}, messages/s", "CPU, µs", "p50 / p99 ms"]
    rows: list[Row] = []
    for server in _ranked(results):
        cells: list[str] = []
        for name in names:
            loads = results.loads(server, name)
            cells += _cost_cells(loads, SCENARIOS[name]) if loads else ["–", "–", "–"]
        if any(cell != "–" for cell in cells):
            rows.append([server, *cells])
    told = (
        "50 rooms with a sender on one instance and one member on the other. CPU for each message: "
        "of the instance that hears, of the one that talks, and of the broker (medians)."
    )
    return [told, "", *table(heads, rows)] if rows else []


def _cost_cells(loads: Sequence[Load], scenario: Scenario) -> list[str]:
    rate = f"{middle(loads, rate_of):,.0f}"
    if overloaded(loads, scenario):
        rate = f"overload ({rate})"
    p50, p99 = (middle(loads, figure) / 1e3 for figure in (_p50, _p99))
    return [rate, _cpu(loads), f"{p50:.1f} / {p99:.1f}"]


def _cpu(loads: Sequence[Load]) -> str:
    """Microseconds of each part for each delivery."""
    each = [[1e6 * part / load.count for part in load.each_s] for load in loads if load.count]
    return " + ".join(f"{median(parts):.1f}" for parts in zip(*each, strict=True))


def _heads(scenario: Scenario) -> Row:
    return [
        *("server", f"{scenario.unit}/s: median (min…max)"),
        *(f"CPU of {part}, µs each" for part in PARTS),
        *("busy", "p50 ms", "p99 ms", "p99.9 ms", "foreign", "faults"),
    ]


def _row(results: Results, server: str, scenario: Scenario) -> Row | None:
    loads = results.loads(server, scenario.name)
    if not loads:
        return None
    rates = [load.rate for load in loads]
    shares = (median(load.each_s[part] / load.wall_s for load in loads) for part in range(3))
    latencies = (_p50, _p99, lambda load: load.p999_us)
    told = _faults(results, server, [scenario.name])
    return [
        server,
        f"{median(rates):,.0f} ({min(rates):,.0f}…{max(rates):,.0f})",
        *_cpu(loads).split(" + "),
        " / ".join(f"{share:.0%}" for share in shares),
        *(f"{middle(loads, figure) / 1e3:.2f}" for figure in latencies),
        f"{max(load.foreign for load in loads):.0%}",
        f"overload, {told}" if overloaded(loads, scenario) else told,
    ]


# ---- what else was measured ----


def _figures(
    results: Results, scenario: str, get: Callable[[Run], T | None]
) -> Iterator[tuple[str, list[T], str]]:
    """Of each server the figures of a scenario, and why there are none."""
    for server in _ranked(results):
        runs = results.of(server, scenario)
        found = [figure for run in runs if (figure := get(run)) is not None]
        errors = [run.error for run in runs if run.error]
        if runs:
            yield server, found, f"failed: {errors[-1]}" if errors and not found else ""


def _turns(results: Results) -> list[str]:
    heads = ["server"]
    rows: list[Row] = []
    for server, found, failed in _figures(results, "turns", lambda run: run.turns):
        if not found:
            rows.append([server, failed])
            continue
        row = [server]
        if len(heads) == 1:
            for turns in found[0]:
                clients = "1 client" if turns.clients == 1 else f"{turns.clients} clients"
                heads += [f"{clients}: joins/s", "p50 / p99 ms", "CPU, µs"]
        for number in range(len(found[0])):
            some = [each[number] for each in found]
            row += [
                f"{median(turns.rate for turns in some):,.0f}",
                f"{median(turns.p50_us for turns in some) / 1e3:.2f} / "
                f"{median(turns.p99_us for turns in some) / 1e3:.2f}",
                f"{1e6 * median(turns.cpu_s / turns.count for turns in some):.0f} + "
                f"{1e6 * median(turns.broker_cpu_s / turns.count for turns in some):.0f}",
            ]
        rows.append(row)
    told = (
        "Joins of rooms that nobody was in, each client's next one when the last is confirmed. "
        "CPU of the instance and of the broker for each."
    )
    return [told, "", *table(heads, rows)] if rows else []


def _rooms(results: Results) -> list[str]:
    rows: list[Row] = []
    count = 0
    for server, found, failed in _figures(results, "rooms", lambda run: run.rooms):
        if not found:
            rows.append([server, failed])
            continue
        count = found[0].rooms
        rows.append(
            [
                server,
                f"{median(rooms.bytes_each for rooms in found):,.0f}",
                f"{median(rooms.broker_bytes_each for rooms in found):,.0f}",
                f"{median(rooms.full_kb for rooms in found) / 1024:.0f}",
            ]
        )
    heads = ["server", "bytes a room", "of the broker", "instance in all, MB"]
    told = f"Resident memory that each of {count:,} rooms adds, with its one member."
    return [told, "", *table(heads, rows)] if rows else []


def _others(results: Results) -> list[str]:
    heads = ["server", "idle, % of a core", "messages/s of others", "CPU for each, µs"]
    heads.append("sends for 1,000 messages")
    writes = {
        server: f"{sum(found[-1].values()):,.0f}" if found else failed
        for server, found, failed in _figures(results, "writes", lambda run: run.writes)
    }
    rows: list[Row] = []
    for server, found, failed in _figures(results, "strangers", lambda run: run.stranger):
        cells = [failed, "", ""]
        if found:
            rate = median(each.messages / each.seconds for each in found)
            idle = median(each.idle_share for each in found)
            cost = median(each.cpu_us for each in found)
            cells = [f"{100 * idle:.2f}", f"{rate:,.0f}", f"{cost:.2f}"]
        rows.append([server, *cells, writes.get(server, "–")])
    told = (
        "CPU of a third instance when all is quiet, and for each message in rooms that it does "
        "not host beside that. Then the system calls that send, of the instance that talks, "
        "while one client of it sends 1,000 messages in one write: to the broker and to itself."
    )
    return [told, "", *table(heads, rows)] if rows else []


def _restarts(results: Results) -> list[str]:
    rows: list[Row] = []
    rooms, outage = 0, 0.0
    for server, found, failed in _figures(results, "restart", lambda run: run.restart):
        if not found:
            rows.append([server, failed])
            continue
        rooms, outage = found[0].rooms, found[0].outage_s
        rows.append(
            [
                server,
                *_channels(found),
                _seconds(found, lambda each: each.heard_s),
                f"{min(each.heard for each in found):,}",
                f"{max(each.lost for each in found):,} of {found[-1].said:,}",
                f"{max(each.closed for each in found)}",
                f"{median(each.cpu_s for each in found):.2f}",
            ]
        )
    heads = ["server", "subscriptions back, s", "of", "heard again, s", "rooms that hear"]
    heads += ["lost", "thrown out", "CPU, s"]
    told = (
        f"{rooms:,} rooms on one instance; the broker is killed, and starts {outage:g} s later. "
        "All the time a client of the other instance says something in 10 of them every 50 ms. "
        "Seconds from when it accepts until it has as many subscriptions as before, and until each "
        "of the 10 has heard something; in how many of all rooms a message is heard in the end; "
        "how many that were said meanwhile were lost, and how many clients were thrown out."
    )
    return [told, "", *table(heads, rows)] if rows else []


def _channels(found: Sequence[Restart]) -> list[str]:
    last = found[-1]
    if not last.channels:
        return ["–", "–"]  # the broker is not told who hears what
    back = _seconds(found, lambda each: each.channels_s)
    return [back, f"{last.channels_after:,} of {last.channels:,}"]


def _seconds(found: Sequence[Restart], get: Callable[[Restart], float | None]) -> str:
    times = [get(each) for each in found]
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return "never" if not known else f"never ({len(times) - len(known)} of {len(times)})"
    return f"{median(known):.2f}"
