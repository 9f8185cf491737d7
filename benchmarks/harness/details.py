"""The page with every figure of a result file."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.figures import conditions, middle, overloaded, ranked
from benchmarks.harness.measure import SENDS
from benchmarks.harness.scenarios import SCENARIOS, Scenario
from benchmarks.harness.special import special
from benchmarks.harness.tables import Row, table

if TYPE_CHECKING:
    from benchmarks.harness.results import Load, Results

__all__ = ["details"]


def details(results: Results) -> list[str]:
    """Every figure, scenario by scenario."""
    lines = [conditions(results)]
    for name, scenario in SCENARIOS.items():
        if scenario.kind not in ("load", "idle", "calls"):
            continue
        rows = [
            row for row in (_row(results, server, scenario) for server in ranked(results)) if row
        ]
        if rows:
            lines += ["", f"## {name}: {scenario.title}", "", *table(_heads(scenario), rows)]
    lines += special(results, "##", full=True)
    if results.skipped:
        lines += ["", "## Not measured", ""]
        lines += [f"- {server}: {reason}" for server, reason in results.skipped.items()]
    return lines


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
