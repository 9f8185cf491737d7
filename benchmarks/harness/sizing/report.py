"""What a reader is told: the calculation beside what was measured, then large fleets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmarks.harness.fleet.brokers import ALL
from benchmarks.harness.fleet.scenarios import (
    SPREAD_MEMBERS,
    SPREAD_RATE,
    SPREAD_ROOMS,
    TRANSPORTS,
)
from benchmarks.harness.sizing.model import Fleet, Machines, Prices, Range, Use, Workload, fold, use
from benchmarks.harness.tables import Row, table

if TYPE_CHECKING:
    from benchmarks.harness.results import Load, Results

__all__ = ["WORKLOADS", "assumed", "checked", "sized"]

WORKLOADS = (
    Workload(name="many small rooms", rooms=250_000, members=4, rate=0.1),
    Workload(name="a few large rooms", rooms=100, members=10_000, rate=1),
    Workload(name="one room for everybody", rooms=1, members=1_000_000, rate=1),
)
"""A million clients, each in one room."""

CHECKED = Workload(
    name="measured", rooms=SPREAD_ROOMS, members=SPREAD_MEMBERS, rate=SPREAD_RATE, even=True
)

BROKERS = 3
"""How many the last lines of the tables are about."""


def assumed(fleet: Fleet, machines: Machines, workloads: Sequence[Workload] = WORKLOADS) -> str:
    """What the calculation takes for granted, in one paragraph."""
    [payload] = {work.payload for work in workloads}
    return (
        f"{fleet.instances:,} instances of one core, {fleet.clients:,} clients on each; messages "
        f"of {payload:,} bytes and {machines.frame} more around each delivery; "
        f"{machines.broker_cores} cores for a broker that uses several; network cards of "
        f"{machines.bits / 1e9:g} Gbit/s; {machines.instance_mb:,.0f} MB for an instance and "
        f"{machines.broker_mb:,.0f} MB for a broker."
    )


# ---- predicted beside measured ----


def checked(results: Results, prices: Sequence[Prices]) -> list[str]:
    """The same formulas for the instances that were measured, and how far off they are."""
    heads = ["", "instances: % of a core", "measured", "off by"]
    heads += ["broker: % of a core", "measured", "off by"]
    heads += ["full speed: µs a message, instances", "measured", "off by"]
    rows = [
        _checked(price, scenario.instances, run.load, run.most)
        for price in prices
        for scenario in TRANSPORTS.values()
        for run in results.of(price.name, scenario.name)[-1:]
        if scenario.kind == "spread" and run.load is not None and run.most is not None
    ]
    return table(heads, rows) if rows else []


def _checked(price: Prices, count: int, load: Load, most: Load) -> Row:
    found = use(price, Fleet(instances=count, clients=0), CHECKED)
    *instances, broker = (share / load.wall_s for share in load.each_s)
    said = most.count / SPREAD_MEMBERS / SPREAD_ROOMS / most.wall_s
    faster = Workload(name="", rooms=SPREAD_ROOMS, members=SPREAD_MEMBERS, rate=said, even=True)
    at_once = use(price, Fleet(instances=count, clients=0), faster)
    messages = most.count / SPREAD_MEMBERS
    return [
        f"{ALL[price.name].title}, {count} instance{'s' * (count > 1)}",
        *_beside(100 * count * found.instance.most, 100 * sum(instances)),
        *_beside(100 * found.broker.most, 100 * broker),
        *_within(
            at_once.instance * (1e6 * count / at_once.published),
            1e6 * sum(most.each_s[:-1]) / messages,
        ),
    ]


def _within(predicted: Range, measured: float) -> list[str]:
    """Likewise, where the calculation gives a range, and may be right in all of it."""
    nearest = min(max(measured, predicted.least), predicted.most)
    off = f"{(nearest - measured) / measured:+.0%}" if nearest != measured else "within"
    return [f"{predicted.least:.0f} … {predicted.most:.0f}", f"{measured:.0f}", off]


def _beside(predicted: float, measured: float) -> list[str]:
    off = f"{(predicted - measured) / measured:+.0%}" if measured else "–"
    return [f"{predicted:.0f}", f"{measured:.0f}", off]


# ---- large fleets ----

Tell = Callable[[Use], str]

LINES: tuple[tuple[str, Tell], ...] = (
    ("messages/s into the broker", lambda found: f"{found.published:,.0f}"),
    ("messages/s from it to instances", lambda found: f"{found.sent:,.0f}"),
    ("deliveries/s to clients, of all instances", lambda found: f"{found.deliveries:,.0f}"),
    (
        "network of the broker: in + out, Mbit/s",
        lambda found: f"{found.bits_in / 1e6:,.0f} + {found.bits_out / 1e6:,.0f}",
    ),
    (
        "network of an instance: in + out, Mbit/s",
        lambda found: f"{found.instance_bits_in / 1e6:,.1f} + {found.instance_bits_out / 1e6:,.1f}",
    ),
    ("CPU of the broker, cores", lambda found: _range(found.broker, 1)),
    ("CPU of an instance, % of its core", lambda found: _range(found.instance, 100)),
    ("memory of an instance, MB", lambda found: f"{found.instance_mb:,.0f}"),
    ("memory of the broker, MB", lambda found: f"{found.broker_mb:,.0f}"),
    (
        "subscriptions at the broker",
        lambda found: f"{found.subscriptions:,.0f}" if found.subscriptions else "–",
    ),
    ("connections to the broker", lambda found: f"{found.connections:,}"),
)


def sized(
    prices: Sequence[Prices],
    fleet: Fleet,
    machines: Machines,
    workloads: Sequence[Workload] = WORKLOADS,
) -> list[str]:
    """A table for each workload, a broker a column."""
    lines: list[str] = []
    heads = ["", *(ALL[price.name].title for price in prices)]
    for work in workloads:
        found = [use(price, fleet, work, machines) for price in prices]
        rows: list[Row] = [[title, *map(tell, found)] for title, tell in LINES]
        rows.append(["the limit that comes first", *(_limit(each) for each in found)])
        folds = [fold(price, fleet, work, machines) for price in prices]
        rows.append(["… at so many times the messages", *(_fold(*each) for each in folds)])
        several = Fleet(
            instances=fleet.instances, clients=fleet.clients, brokers=BROKERS, replicas=BROKERS
        )
        with_more = [use(price, several, work, machines) for price in prices]
        rows.append(
            [f"CPU of each of {BROKERS} brokers, cores", *(_range(e.broker, 1) for e in with_more)]
        )
        lines += ["", f"### {work.name[0].upper()}{work.name[1:]}", "", _told(work, fleet), ""]
        lines += table(heads, rows)
    return lines[1:]


def _told(work: Workload, fleet: Fleet) -> str:
    each = work.rooms * work.rate / (fleet.instances * fleet.clients)
    rooms = "1 room" if work.rooms == 1 else f"{work.rooms:,} rooms"
    often = f"{work.rate:g} times a second" if work.rate > 1 else f"every {1 / work.rate:g} s"
    return (
        f"{rooms} of {work.members:,}; in each of them somebody says something {often}, so that a "
        f"client says {3600 * each:,.3g} things an hour. A room has members on "
        f"{work.hosts(fleet.instances):,.1f} instances."
    )


def _range(found: Range, factor: float) -> str:
    """From what it is if many come at a time, to what it is if each comes alone."""
    low, high = (
        f"{factor * end:,.0f}" if factor * end >= 10 else f"{factor * end:.2g}"
        for end in (found.least, found.most)
    )
    return low if low == high else f"{low} … {high}"


def _limit(found: Use) -> str:
    first = found.limits[0]
    return f"{first.name} ({first.share:.0%})"


def _fold(times: float, name: str) -> str:
    told = f"{times:,.0f}" if times >= 10 else f"{times:.2g}"
    return f"{told} × ({name})"
