"""Tables of a result file, in Markdown: one page for readers, one with every figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.measure import SENDS
from benchmarks.harness.scenarios import LOADS, SCENARIOS, Scenario

if TYPE_CHECKING:
    from benchmarks.harness.results import Load, Results

__all__ = ["details", "faults", "summary"]

Row = Sequence[str]


def summary(results: Results) -> list[str]:
    """What a reader wants to know: rates, CPU, and how they compare."""
    measured = [SCENARIOS[name] for name in LOADS if _measured(results, name)]
    columns = [
        f"{scenario.name}, {'latency' if scenario.demand else f'k {scenario.unit}/s'}"
        for scenario in measured
    ]
    lines = [conditions(results), ""]
    lines += ["Rates in thousands a second: median (lowest…highest).", ""]
    lines += _table(
        ["server", *columns],
        (
            [server, *(_rate_cell(results, server, scenario) for scenario in measured)]
            for server in _ranked(results)
        ),
    )
    lines += ["", "CPU of the server for each delivery or reply, µs user + system (medians):", ""]
    lines += _table(
        ["server", *(scenario.name for scenario in measured)],
        (
            [server, *(_cpu_cell(results, server, scenario) for scenario in measured)]
            for server in _ranked(results)
        ),
    )
    ratios = list(_ratios(results, measured))
    if ratios:
        lines += [
            "",
            "Times `websockets` on the same loop, and the share of what C can do: by rate, and in "
            "brackets by the least CPU, which other programs disturb less.",
            "",
        ]
        heads = ["scenario", "asyncio", "uvloop", "goal", "asyncio / C", "uvloop / C"]
        lines += _table(heads, ratios)
    return lines


def details(results: Results) -> list[str]:
    """Every figure, scenario by scenario."""
    lines = [conditions(results)]
    for name, scenario in SCENARIOS.items():
        rows = [
            row for row in (_row(results, server, scenario) for server in _ranked(results)) if row
        ]
        if rows:
            lines += ["", f"## {name}: {scenario.title}", "", *_table(_heads(scenario), rows)]
    if results.skipped:
        lines += ["", "## Not measured", ""]
        lines += [f"- {server}: {reason}" for server, reason in results.skipped.items()]
    return lines


def conditions(results: Results) -> str:
    """Where, when and how, in one paragraph."""
    settings = results.settings
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    where = "server and load on a core each" if settings.pinned else "server and load not pinned"
    loads = [run.load for run in results.runs if run.load is not None]
    foreign = max((load.foreign for load in loads), default=0)
    wrong = faults(results)
    checked = f"{sum(load.count for load in loads):,} deliveries checked: "
    checked += f"{len(wrong)} faults ({'; '.join(wrong[:3])})" if wrong else "0 faults"
    noise = f"other programs took up to {foreign:.0%} of the server's core"
    return (
        f"{results.when} on {results.machine}, {where}; {versions}. {settings.repetitions} × "
        f"{settings.seconds:g} s for each cell, interleaved. {checked}; {noise}."
    )


def faults(results: Results) -> list[str]:
    """What went wrong, a line each."""
    found = []
    for run in results.runs:
        cell = f"{run.server} {run.scenario}"
        if run.error is not None:
            found.append(f"{cell}: {run.error}")
        elif run.load is not None and run.load.faults:
            kinds = ", ".join(f"{count} {kind}" for kind, count in run.load.faults.items())
            found.append(f"{cell}: {kinds}")
    return found


def middle(loads: Sequence[Load], figure: Callable[[Load], float]) -> float:
    """The median of a figure over the repetitions."""
    return median(figure(load) for load in loads)


def overloaded(loads: Sequence[Load], scenario: Scenario) -> bool:
    """Whether a fixed load was more than the server could take."""
    return bool(scenario.demand) and middle(loads, _rate) < 0.95 * scenario.demand


def _rate(load: Load) -> float:
    return load.rate


def _measured(results: Results, scenario: str) -> bool:
    return any(run.scenario == scenario and run.load is not None for run in results.runs)


def _ranked(results: Results) -> list[str]:
    """The fastest first, by the first scenario that was measured."""
    first = next((name for name in LOADS if _measured(results, name)), "")

    def speed(server: str) -> float:
        loads = results.loads(server, first)
        return middle(loads, _rate) if loads else 0

    return sorted(results.servers(), key=speed, reverse=True)


def _rate_cell(results: Results, server: str, scenario: Scenario) -> str:
    loads = results.loads(server, scenario.name)
    if not loads:
        return "–"
    if scenario.demand:
        return "overload" if overloaded(loads, scenario) else _latency(loads)
    rates = [load.rate for load in loads]
    return f"{_thousands(median(rates))} ({_thousands(min(rates))}…{_thousands(max(rates))})"


def _latency(loads: Sequence[Load]) -> str:
    p50 = middle(loads, lambda load: load.p50_us) / 1e3
    p99 = middle(loads, lambda load: load.p99_us) / 1e3
    return f"p50 {p50:.1f}, p99 {p99:.1f} ms"


def _cpu_cell(results: Results, server: str, scenario: Scenario) -> str:
    loads = results.loads(server, scenario.name)
    if not loads:
        return "–"
    user = middle(loads, lambda load: load.user_us)
    system = middle(loads, lambda load: load.system_us)
    return f"{user:.2f} + {system:.2f}"


def _ratios(results: Results, scenarios: Iterable[Scenario]) -> Iterable[Row]:
    """A row a scenario: ours against websockets, then against C, each by rate and by CPU."""
    own = [f"wsrooms-{loop}" for loop in ("asyncio", "uvloop")]
    for scenario in scenarios:
        if scenario.demand:
            continue
        theirs = [
            _ratio(results, scenario.name, server, server.replace("wsrooms", "websockets"))
            for server in own
        ]
        limits = [_ratio(results, scenario.name, server, "limit-coalesce") for server in own]
        if any((*theirs, *limits)):
            goal = "" if scenario.goal is None else f"{scenario.goal:g} ×"
            yield [
                scenario.name,
                *(f"**{cell[0]:.2f} ×** ({cell[1]:.2f} ×)" if cell else "–" for cell in theirs),
                goal,
                *(f"{cell[0]:.2f} ({cell[1]:.2f})" if cell else "–" for cell in limits),
            ]


def _ratio(results: Results, scenario: str, server: str, other: str) -> tuple[float, float] | None:
    """How many times the other's median rate, and the other's least CPU over ours."""
    ours, theirs = results.loads(server, scenario), results.loads(other, scenario)
    if not ours or not theirs:
        return None
    by_rate = middle(ours, _rate) / middle(theirs, _rate)
    return by_rate, min(map(_cpu, theirs)) / min(map(_cpu, ours))


def _cpu(load: Load) -> float:
    return load.cpu_us


def _heads(scenario: Scenario) -> Row:
    if scenario.name == "idle":
        return ["server", "KB each (min / median)", "before, MB", "connects/s", "runs"]
    if scenario.name == "syscalls":
        return ["server", "burst 1: all", "sends", "epoll", "burst 20: all", "sends"]
    return [
        *("server", f"{scenario.unit}/s: median (min…max)", "CPU µs each (min / median)"),
        *("user", "system", "busy", "p50 ms", "p99 ms", "p99.9 ms", "foreign", "faults"),
    ]


def _row(results: Results, server: str, scenario: Scenario) -> Row | None:
    runs = results.of(server, scenario.name)
    if not runs:
        return None
    if scenario.name == "idle":
        row = _idle_row(results, server)
    elif scenario.name == "syscalls":
        row = _calls_row(results, server)
    else:
        row = _load_row(results, server, scenario)
    return row or [server, f"failed: {runs[-1].error}"]


def _load_row(results: Results, server: str, scenario: Scenario) -> Row | None:
    loads = results.loads(server, scenario.name)
    if not loads:
        return None
    rates = [load.rate for load in loads]
    runs = results.of(server, scenario.name)
    wrong = sum(run.error is not None for run in runs) + sum(bool(load.faults) for load in loads)
    told = f"{wrong} of {len(runs)} runs" if wrong else "0"
    cpu = f"{min(load.cpu_us for load in loads):.2f} / {middle(loads, lambda x: x.cpu_us):.2f}"
    return [
        server,
        f"{median(rates):,.0f} ({min(rates):,.0f}…{max(rates):,.0f})",
        cpu,
        f"{middle(loads, lambda load: load.user_us):.2f}",
        f"{middle(loads, lambda load: load.system_us):.2f}",
        f"{middle(loads, lambda load: load.busy):.0%}",
        *(
            f"{middle(loads, figure) / 1e3:.2f}"
            for figure in (_p50, lambda load: load.p99_us, lambda load: load.p999_us)
        ),
        f"{max(load.foreign for load in loads):.0%}",
        f"overload, {told}" if overloaded(loads, scenario) else told,
    ]


def _p50(load: Load) -> float:
    return load.p50_us


def _idle_row(results: Results, server: str) -> Row | None:
    found = [run.idle for run in results.of(server, "idle") if run.idle is not None]
    if not found:
        return None
    each = [idle.kb_each for idle in found]
    return [
        server,
        f"{min(each):.1f} / {median(each):.1f}",
        f"{median(idle.base_kb for idle in found) / 1024:.0f}",
        f"{median(idle.connections / idle.connect_s for idle in found):,.0f}",
        str(len(found)),
    ]


def _calls_row(results: Results, server: str) -> Row | None:
    found = [run.calls for run in results.of(server, "syscalls") if run.calls is not None]
    if not found:
        return None
    one, twenty = found[0].burst1, found[0].burst20
    epoll = sum(count for name, count in one.items() if name.startswith("epoll"))
    return [
        server,
        f"{one['total']:.3f}",
        f"{sum(one.get(name, 0) for name in SENDS):.3f}",
        f"{epoll:.3f}",
        f"{twenty['total']:.3f}",
        f"{sum(twenty.get(name, 0) for name in SENDS):.3f}",
    ]


def _thousands(value: float) -> str:
    value /= 1e3
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _table(heads: Row, rows: Iterable[Row]) -> list[str]:
    lines = [_line(heads), _line(["---"] + ["---:"] * (len(heads) - 1))]
    return lines + [_line([*row, *[""] * (len(heads) - len(row))]) for row in rows]


def _line(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"
