"""What several tables need of a result file: medians, faults, order, conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.fleet.scenarios import SCENARIOS as FLEET_SCENARIOS
from benchmarks.harness.scenarios import LOADS, SCENARIOS, Scenario

if TYPE_CHECKING:
    from benchmarks.harness.results import Level, Load, Results, Run

__all__ = ["conditions", "faults", "late", "measured", "middle", "overloaded", "ranked", "rate_of"]

ENOUGH = 0.95
"""The share of a fixed load that must have been delivered; below it the server was overloaded."""


def conditions(results: Results) -> str:
    """Where, when and how, in one paragraph."""
    settings = results.settings
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    where = "server and load on a core each" if settings.pinned else "server and load not pinned"
    if results.what != "server" and settings.pinned:
        where = "the instance that hears on a core, all else and the load on another"
    loads = [load for run in results.runs for load in run.windows()]
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
        for load, excused in _windows(run):
            kinds = {kind: count for kind, count in load.faults.items() if kind != excused}
            if kinds:
                told = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
                found.append(f"{cell}: {told}")
    return found


def _windows(run: Run) -> Iterator[tuple[Load, str]]:
    """Each window, and the fault that is none: under more than a server can take, it is late."""
    if run.load is not None:
        known = SCENARIOS | FLEET_SCENARIOS
        demand = known[run.scenario].demand if run.scenario in known else 0
        yield run.load, "missing" if run.load.rate < ENOUGH * demand else ""
        if run.most is not None:
            yield run.most, ""
        for level in run.levels or []:
            yield level.load, "missing" if late(run, level) else ""


def late(run: Run, level: Level) -> bool:
    """Whether a share of the most was more than the server could take then."""
    if run.load is None:
        return False
    each = SCENARIOS[SCENARIOS[run.scenario].of].each
    expected = level.share * run.load.rate * level.load.wall_s
    # A window holds whole messages only.
    return level.load.count < ENOUGH * expected - each


def middle(loads: Sequence[Load], figure: Callable[[Load], float]) -> float:
    """The median of a figure over the repetitions."""
    return median(figure(load) for load in loads)


def overloaded(loads: Sequence[Load], scenario: Scenario) -> bool:
    """Whether a fixed load was more than the server could take."""
    return bool(scenario.demand) and middle(loads, rate_of) < ENOUGH * scenario.demand


def rate_of(load: Load) -> float:
    """Deliveries or replies a second."""
    return load.rate


def measured(results: Results, scenario: str) -> bool:
    """Whether any server has figures."""
    return any(run.scenario == scenario and run.load is not None for run in results.runs)


def ranked(results: Results) -> list[str]:
    """All servers, the fastest first, by the first scenario that was measured."""
    first = next((name for name in LOADS if measured(results, name)), "")

    def speed(server: str) -> float:
        loads = results.loads(server, first)
        return middle(loads, rate_of) if loads else 0

    return sorted(results.servers(), key=speed, reverse=True)
