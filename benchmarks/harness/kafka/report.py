"""What a reader wants to know of a result file about Kafka, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from benchmarks.harness.many import write
from benchmarks.harness.markers import with_parts
from benchmarks.harness.results import ROOT
from benchmarks.harness.tables import Row, table, thousands

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness.kafka.results import Idle, KafkaCosts, Others, Way

__all__ = ["publish", "summary"]

T = TypeVar("T")


def summary(costs: KafkaCosts) -> list[str]:
    """Latency and speed by setting, idling, and the rooms of others."""
    versions = ", ".join(f"{name} {version}" for name, version in costs.versions.items())
    lines = [f"{costs.when} on {costs.machine}; {versions}. Medians of {costs.repetitions}."]
    lines += [f"Not measured: {name} ({reason})." for name, reason in costs.skipped.items()]
    for told, rows in (
        ("From one process to another, ms, and messages a second, many at a time.", _ways(costs)),
        ("CPU while nobody says anything, % of a core: the client + the broker.", _idles(costs)),
        (
            "CPU of who wants none of the messages that others say, % of a core, and µs for "
            "each beside what it takes when all is quiet; then that of the broker.",
            _others(costs),
        ),
    ):
        if rows:
            lines += ["", told, "", *table(rows[0], rows[1:])]
    return lines


def publish(costs: KafkaCosts, root: Path = ROOT) -> list[Path]:
    """Write the tables into Kafka's page.

    Raises:
        ValueError: The page has lost its markers.
    """
    page = root / "docs/transports/kafka.md"
    return write({page: with_parts(page, kafka=summary(costs))}, root)


def _ways(costs: KafkaCosts) -> list[Row]:
    rates = _once(way.rate for way in costs.ways)
    heads = [""]
    for rate in rates:
        heads += [f"{rate:,}/s: p50 / p90 / p99", "most"]
    rows: list[Row] = [[*heads, "k messages/s"]]
    for setting in _once(way.setting for way in costs.ways):
        row = [setting]
        for rate in rates:
            some = [way for way in costs.ways if (way.setting, way.rate) == (setting, rate)]
            row += [
                " / ".join(_ms(some, get) for get in (_p50, _p90, _p99)),
                _ms(some, lambda way: way.most_us),
            ]
        speeds = [each for each in costs.speeds if each.setting == setting]
        rows.append([*row, thousands(_middle(speeds, lambda each: each.messages / each.seconds))])
    return rows if costs.ways else []


def _p50(way: Way) -> float:
    return way.p50_us


def _p90(way: Way) -> float:
    return way.p90_us


def _p99(way: Way) -> float:
    return way.p99_us


def _ms(ways: Sequence[Way], get: Callable[[Way], float]) -> str:
    return f"{_middle(ways, get) / 1e3:.1f}"


def _idles(costs: KafkaCosts) -> list[Row]:
    waits = _once(idle.fetch_max_wait for idle in costs.idles)
    heads = ["partitions"]
    heads += [f"fetch_max_wait={wait:g}" if wait else "no client" for wait in waits]
    rows: list[Row] = [heads]
    for partitions in _once(idle.partitions for idle in costs.idles):
        row = [str(partitions)]
        for wait in waits:
            some = [
                idle
                for idle in costs.idles
                if (idle.partitions, idle.fetch_max_wait) == (partitions, wait)
            ]
            client = _percent(some, lambda idle: idle.client)
            row.append(f"{client if wait else '–'} + {_percent(some, lambda idle: idle.broker)}")
        rows.append(row)
    return rows if costs.idles else []


def _percent(idles: Sequence[Idle], get: Callable[[Idle], float]) -> str:
    return f"{100 * _middle(idles, get):.1f}"


def _others(costs: KafkaCosts) -> list[Row]:
    rates = _once(each.rate for each in costs.others)
    rows: list[Row] = [["", "quiet", *(f"{rate:,}/s" for rate in rates)]]
    for subject in _once(each.subject for each in costs.others):
        of_it = [each for each in costs.others if each.subject == subject]
        row = [subject, f"{100 * _middle(of_it, lambda each: each.idle):.1f}"]
        row += [_share([each for each in of_it if each.rate == rate]) for rate in rates]
        rows.append(row)
    return rows if costs.others else []


def _share(others: Sequence[Others]) -> str:
    share, each, broker = (
        _middle(others, get)
        for get in (
            lambda other: other.share,
            lambda other: other.each_us,
            lambda other: other.broker_cpu_s / other.seconds,
        )
    )
    return f"{100 * share:.1f} ({each:.1f} µs); {100 * broker:.0f}"


def _once(values: Iterable[T]) -> list[T]:
    """Each of them, in the order of its first."""
    return list(dict.fromkeys(values))


def _middle(figures: Sequence[T], get: Callable[[T], float]) -> float:
    return median(map(get, figures))
