"""The prices of each broker, read from a result file about transports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from benchmarks.harness.fleet.brokers import ALL
from benchmarks.harness.sizing.model import Cluster, Curve, Prices

if TYPE_CHECKING:
    from benchmarks.harness.results import Flood, Load, Results, Run, Traffic

__all__ = ["Incomplete", "all_prices", "prices_of"]

CLUSTERS: dict[str, Cluster] = {
    "redis": "copies",
    "valkey": "copies",
    "nats": "routes",
    "kafka": "partitions",
}

THREADS = {"redis": 1, "valkey": 1}
"""Who uses one core only, whatever there is: commands run in one thread."""

RELAYS = ("relay-rare", "relay-rate", "relay20")
"""The same rooms at three rates."""

MEMBERS = 500
"""Of the room in "cross1" and "cross-rate20"."""

HEARS, TALKS = 0, 1
"""Places of the CPU of both instances in ``Load.each_s``."""

T = TypeVar("T")


class Incomplete(ValueError):
    """A result file lacks what a calculation needs; the text says what."""


def all_prices(results: Results) -> list[Prices]:
    """Of every broker that was measured in all that it takes.

    Raises:
        Incomplete: Of none.
    """
    found: list[Prices] = []
    lacking: list[str] = []
    for name in results.servers():
        if name == "memory":
            continue
        try:
            found.append(prices_of(results, name))
        except Incomplete as error:
            lacking.append(str(error))
    if not found:
        raise Incomplete("; ".join(lacking) or "no broker was measured")
    return found


def prices_of(results: Results, name: str) -> Prices:
    """The prices of one broker.

    Raises:
        Incomplete: Something was not measured.
    """
    traffic = _the(results, name, "traffic", lambda run: run.traffic)
    stranger = _the(results, name, "strangers", lambda run: run.stranger)
    rooms = _the(results, name, "rooms", lambda run: run.rooms)
    memory = _the(results, "memory", "memory", lambda run: run.memory)
    idle = stranger.idle_share
    relays = [_loads(results, name, scenario) for scenario in RELAYS]
    hear = _curve([_point(loads, HEARS, idle) for loads in relays])
    rooms_of_all = [_loads(results, name, scenario) for scenario in ("cross-rate20", "cross1")]
    into, out = _of_broker(traffic)
    alone, _ = _in_packets_of_their_own(traffic)
    broker = ALL[name]
    return Prices(
        name=name,
        cluster=CLUSTERS[name],
        threads=THREADS.get(name),
        reads_all=not broker.knows_rooms,
        talk=_curve([_point(loads, TALKS, idle) for loads in relays]),
        hear=hear,
        stranger=_of_strangers(traffic, idle),
        deliver=_curve(
            [_without_hearing(_point(loads, HEARS, idle), hear) for loads in rooms_of_all]
        ),
        into=into,
        out=out,
        idle=idle,
        broker_idle=traffic.idle_share,
        payload=traffic.payload,
        bytes_in=alone.bytes_in / alone.messages,
        bytes_out=alone.bytes_out / alone.messages,
        instance_kb=rooms.base_kb,
        connection_kb=memory.spoken_kb_each,
        room_bytes=rooms.bytes_each,
        member_bytes=memory.membership_bytes,
        broker_kb=traffic.broker_kb,
        broker_room_bytes=rooms.broker_bytes_each if broker.knows_rooms else 0,
        connections=traffic.connections,
    )


def _the(results: Results, name: str, scenario: str, get: Callable[[Run], T | None]) -> T:
    """The last figure of this kind."""
    found = [figure for run in results.of(name, scenario) if (figure := get(run)) is not None]
    if not found:
        raise Incomplete(f"{name} was not measured in {scenario}")
    return found[-1]


def _loads(results: Results, name: str, scenario: str) -> list[Load]:
    found = [load for load in results.loads(name, scenario) if load.count and load.each_s]
    if not found:
        raise Incomplete(f"{name} was not measured in {scenario}")
    return found


Point = tuple[float, float]


def _point(loads: Sequence[Load], part: int, idle: float) -> Point:
    """The rate, and the share of a core beside what is idle."""
    shares = (max(0, load.each_s[part] / load.wall_s - idle) for load in loads)
    return median(load.rate for load in loads), median(shares)


def _without_hearing(point: Point, hear: Curve) -> Point:
    rate, share = point
    return rate, max(0, share - hear.at(rate / MEMBERS).most)


def _curve(points: Sequence[Point]) -> Curve:
    """Of what was measured; what is rarer costs no more in all."""
    found: list[Point] = []
    for rate, share in sorted(points):
        before = found[-1][1] if found else 0
        if not found or rate > found[-1][0]:
            found.append((rate, max(share, before)))
    return Curve(tuple(found))


def _share(flood: Flood, seconds: float, idle: float) -> float:
    return max(0, seconds / flood.seconds - idle)


def _of_broker(traffic: Traffic) -> tuple[Curve, Curve]:
    """What a message into it costs, and one out of it: two equations at each rate."""
    into: list[Point] = []
    out: list[Point] = []
    for few, many in _pairs(traffic):
        first, second = (
            _share(flood, flood.broker_cpu_s, traffic.idle_share) for flood in (few, many)
        )
        rate = few.messages / few.seconds
        each = max(0, (second - first) / (many.hearing - few.hearing))
        out.append((rate, each))
        into.append((rate, max(0, first - few.hearing * each)))
    return _curve(into), _curve(out)


def _of_strangers(traffic: Traffic, idle: float) -> Curve:
    """Of a process that wants none of it."""
    points = [
        (flood.messages / flood.seconds, _share(flood, flood.stranger_cpu_s, idle))
        for flood in traffic.floods
        if flood.stranger_cpu_s is not None
    ]
    return _curve(points)


def _in_packets_of_their_own(traffic: Traffic) -> tuple[Flood, Flood]:
    """Heard by few, and by many, at the highest rate but one.

    Messages hardly share a packet there, and what passes by itself weighs nothing beside them.
    """
    pairs = _pairs(traffic)
    return pairs[-2] if len(pairs) > 1 else pairs[0]


def _pairs(traffic: Traffic) -> list[tuple[Flood, Flood]]:
    """For each rate, the lowest first: what few hear, and what many do."""
    rates = sorted({flood.rate for flood in traffic.floods})
    found: list[tuple[Flood, Flood]] = []
    for rate in rates:
        some = sorted(
            (flood for flood in traffic.floods if flood.rate == rate),
            key=lambda flood: flood.hearing,
        )
        if len(some) < 2:
            raise Incomplete("traffic was measured with one number of hearers only")
        found.append((some[0], some[-1]))
    return found
