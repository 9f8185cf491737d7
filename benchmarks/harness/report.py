"""What a reader wants to know of a result file, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.figures import conditions, measured, middle, overloaded, ranked, rate_of
from benchmarks.harness.scenarios import LOADS, SCENARIOS, Scenario
from benchmarks.harness.special import special
from benchmarks.harness.tables import Row, table, thousands

if TYPE_CHECKING:
    from benchmarks.harness.results import Load, Results

__all__ = ["summary"]

LOOPS = ("asyncio", "uvloop")

OTHERS = {"picows": "picows-uvloop", "socketify": "socketify", "C": "limit-coalesce"}
"""What ours are compared with beside ``websockets``: the best loop in Python, the best server
for Python, and what C can do."""


def summary(results: Results) -> list[str]:
    """Rates, CPU, and how they compare; then what else was measured, a small table each."""
    loads = [SCENARIOS[name] for name in LOADS if measured(results, name)]
    lines = [conditions(results)]
    if loads:
        lines += _main(results, loads)
    ratios = list(_ratios(results, loads))
    if ratios:
        lines += [
            "",
            "Times `websockets` on the same loop, times picows (the fastest plain loop in Python), "
            "times socketify (C++ under Python), and the share of what C can do: by rate, and in "
            "brackets by the least CPU, which other programs disturb less.",
            "",
        ]
        compared = [name for name, server in OTHERS.items() if server in results.servers()]
        heads = ["scenario", *LOOPS, "goal"]
        heads += [f"{loop} / {name}" for name in compared for loop in LOOPS]
        lines += table(heads, ratios)
    return lines + special(results)


def _main(results: Results, loads: Sequence[Scenario]) -> list[str]:
    columns = [
        f"{scenario.name}, {'latency' if scenario.demand else f'k {scenario.unit}/s'}"
        for scenario in loads
    ]
    servers = [
        server
        for server in ranked(results)
        if any(results.loads(server, scenario.name) for scenario in loads)
    ]
    rates = [
        [server, *(_rate_cell(results, server, scenario) for scenario in loads)]
        for server in servers
    ]
    costs = [
        [server, *(_cpu_cell(results, server, scenario) for scenario in loads)]
        for server in servers
    ]
    return [
        *("", "Rates in thousands a second: median (lowest…highest).", ""),
        *table(["server", *columns], rates),
        "",
        "CPU of the server for each delivery or reply, µs user + system (medians):",
        "",
        *table(["server", *(scenario.name for scenario in loads)], costs),
    ]


def _rate_cell(results: Results, server: str, scenario: Scenario) -> str:
    loads = results.loads(server, scenario.name)
    if not loads:
        return "–"
    if scenario.demand:
        return "overload" if overloaded(loads, scenario) else _latency(loads)
    rates = [load.rate for load in loads]
    return f"{thousands(median(rates))} ({thousands(min(rates))}…{thousands(max(rates))})"


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


def _ratios(results: Results, scenarios: Iterable[Scenario]) -> Iterator[Row]:
    """A row a scenario: ours against websockets, then against the others."""
    compared = [server for server in OTHERS.values() if server in results.servers()]
    for scenario in scenarios:
        if scenario.demand:
            continue
        peers = [
            _ratio(results, scenario.name, f"wsrooms-{loop}", f"websockets-{loop}")
            for loop in LOOPS
        ]
        others = [
            _ratio(results, scenario.name, f"wsrooms-{loop}", server)
            for server in compared
            for loop in LOOPS
        ]
        if any((*peers, *others)):
            yield [
                scenario.name,
                *(f"**{cell[0]:.2f} ×** ({cell[1]:.2f} ×)" if cell else "–" for cell in peers),
                "" if scenario.goal is None else f"{scenario.goal:g} ×",
                *(f"{cell[0]:.2f} ({cell[1]:.2f})" if cell else "–" for cell in others),
            ]


def _ratio(results: Results, scenario: str, server: str, other: str) -> tuple[float, float] | None:
    """How many times the other's median rate, and the other's least CPU over ours."""
    ours, theirs = results.loads(server, scenario), results.loads(other, scenario)
    if not ours or not theirs:
        return None
    by_rate = middle(ours, rate_of) / middle(theirs, rate_of)
    return by_rate, min(load.cpu_us for load in theirs) / min(load.cpu_us for load in ours)
