"""What a reader wants to know of a result file about transports, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.many import write
from benchmarks.harness.markers import with_parts
from benchmarks.harness.results import ROOT
from benchmarks.harness.tables import table
from benchmarks.harness.transports.child import SIZE
from benchmarks.harness.transports.subjects import LIBRARIES, OURS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness.transports.results import Burst, Cost, Costs

__all__ = ["publish", "summary"]

PARTS = ("publishing one", "hearing one", "the broker, for one")
"""Whose CPU is counted, in the order in which it is kept."""


def summary(costs: Costs) -> list[str]:
    """All subjects, beside each other."""
    return [*_conditions(costs), "", *_table(costs, [*OURS.values(), *LIBRARIES.values()])]


def publish(costs: Costs, root: Path = ROOT) -> list[Path]:
    """Write the table into docs/transports/figures.md, and of each broker its part into its page.

    Raises:
        ValueError: A page has lost its markers.
    """
    pages = {root / "docs/transports/figures.md": summary(costs)}
    for kind, name in OURS.items():
        if costs.of(name):
            rows = [*_conditions(costs), "", *_table(costs, [name, LIBRARIES[kind]])]
            pages[root / f"docs/transports/{kind}.md"] = rows
    return write({page: with_parts(page, costs=lines) for page, lines in pages.items()}, root)


def _conditions(costs: Costs) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in costs.versions.items())
    count = max((cost.repetition + 1 for cost in costs.costs), default=0)
    told = [f"{costs.when} on {costs.machine}; {versions}. Medians of {count}, interleaved."]
    return told + [f"Not measured: {name} ({reason})." for name, reason in costs.skipped.items()]


def _table(costs: Costs, names: Iterable[str]) -> list[str]:
    found = {name: some for name in names if (some := costs.of(name))}
    rows = [[title, *(tell(some) for some in found.values())] for title, tell in _rows(costs.costs)]
    return table(["", *found], rows)


Tell = Callable[[Sequence["Cost"]], str]


def _rows(costs: Sequence[Cost]) -> list[tuple[str, Tell]]:
    """Each figure: what it is called, and how it is told of some repetitions."""
    rooms = f"{max(cost.rooms for cost in costs):,}" if costs else "0"
    bursts = [burst.at_a_time for burst in costs[0].bursts] if costs else []
    each = " / ".join(map(str, bursts))
    return [
        ("from one process to another, µs: p50 / p99", _way),
        *(
            (f"CPU of {part} of {SIZE} bytes, {each} at a time, µs", _cpu(number))
            for number, part in enumerate(PARTS)
        ),
        (f"{rooms} subscriptions at once, confirmed: s (CPU, s)", _subscribed),
        ("memory of a subscription: Python objects, bytes", _bytes(_traced)),
        ("… resident, bytes", _bytes(_resident)),
        ("… at the broker, resident, bytes", _bytes(_at_broker)),
        (f"idle with {rooms} subscriptions: CPU, ms a second", _idle),
        (f"{rooms} subscriptions after a restart of the broker: s (CPU, s)", _restored),
    ]


def _way(costs: Sequence[Cost]) -> str:
    return f"{_middle(costs, lambda c: c.p50_us):,.0f} / {_middle(costs, lambda c: c.p99_us):,.0f}"


def _cpu(part: int) -> Tell:
    def tell(costs: Sequence[Cost]) -> str:
        bursts = zip(*(cost.bursts for cost in costs), strict=True)
        return " / ".join(f"{_of_one(same, part):.1f}" for same in bursts)

    return tell


def _of_one(bursts: Sequence[Burst], part: int) -> float:
    return median(1e6 * burst.each_s[part] / burst.count for burst in bursts)


def _subscribed(costs: Sequence[Cost]) -> str:
    seconds, cpu = (
        _middle(costs, get) for get in (lambda c: c.subscribe_s, lambda c: c.subscribe_cpu_s)
    )
    return f"{seconds:.2f} ({cpu:.2f})"


def _bytes(get: Callable[[Cost], float]) -> Tell:
    return lambda costs: f"{_middle(costs, get):,.0f}"


def _traced(cost: Cost) -> float:
    return cost.traced_bytes / cost.rooms


def _resident(cost: Cost) -> float:
    return 1024 * cost.resident_kb / cost.rooms


def _at_broker(cost: Cost) -> float:
    return 1024 * cost.broker_kb / cost.rooms


def _idle(costs: Sequence[Cost]) -> str:
    return f"{1e3 * _middle(costs, lambda c: c.idle_share):.2f}"


def _restored(costs: Sequence[Cost]) -> str:
    pairs = [
        (cost.restored_s, cost.restored_cpu_s)
        for cost in costs
        if cost.restored_s is not None and cost.restored_cpu_s is not None
    ]
    if not pairs:
        return "–"
    seconds, cpu = (median(figures) for figures in zip(*pairs, strict=True))
    return f"{seconds:.2f} ({cpu:.2f})"


def _middle(costs: Sequence[Cost], get: Callable[[Cost], float]) -> float:
    return median(get(cost) for cost in costs)
