"""Loads one subject, in processes and with a broker of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.harness.fleet.brokers import BROKERS
from benchmarks.harness.machine import Cores
from benchmarks.harness.server import Failed
from benchmarks.harness.transports.results import Burst, Cost
from benchmarks.harness.transports.subjects import OURS, SUBJECTS
from benchmarks.harness.transports.worker import Worker

if TYPE_CHECKING:
    from benchmarks.harness.fleet.brokers import Broker

__all__ = ["measure"]

BURSTS = ((1, 4), (20, 1), (100, 1))
"""How many go at a time, and which part of all messages: single ones take long."""

WARM_UP = 10
"""Which part of all messages goes before: a broker in Java takes long to become fast."""

PACED = 20
"""Which part of all messages is timed on its way."""

PACE = 0.002
"""Seconds between those."""

BACK_WITHIN = 30.0

GLANCE = 0.005
"""Seconds between two looks at whether the broker has all subscriptions again."""

EVERYWHERE = Cores(None, None)


def measure(name: str, repetition: int, *, rooms: int, messages: int, idle: float) -> Cost:
    """All figures of one subject.

    Args:
        name: Which.
        repetition: How many went before.
        rooms: How many channels it subscribes to.
        messages: How many are sent, at most.
        idle: Seconds of doing nothing.

    Raises:
        Failed: It gave none.
    """
    kind, _ = SUBJECTS[name]
    cost = Cost(subject=name, repetition=repetition, rooms=rooms)
    make = BROKERS[kind]
    log = f"transports-{name}"
    with make(EVERYWHERE, log) as broker:
        _messages(name, broker, cost, messages)
        if not make.knows_rooms:
            # Of what is asked of it next it learns nothing, and some take long to start.
            _traced(name, broker, cost)
            _hosted(name, broker, cost, idle)
            return cost
    with make(EVERYWHERE, log) as broker:
        _traced(name, broker, cost)
    with make(EVERYWHERE, log) as broker:
        _hosted(name, broker, cost, idle)
    return cost


def _traced(name: str, broker: Broker, cost: Cost) -> None:
    """What many subscriptions take of Python's memory, whose tracing slows everything down."""
    with Worker(name, broker.url) as child:
        cost.traced_bytes = child.do("traced", count=cost.rooms)


def _hosted(name: str, broker: Broker, cost: Cost, idle: float) -> None:
    """What many subscriptions take besides, while nobody says anything, and after a restart."""
    with Worker(name, broker.url) as child:
        _subscriptions(child, broker, cost)
        cost.idle_share = child.idle_share(idle)
        if name in OURS.values() and broker.knows_rooms:
            broker.fall()
            with broker.anew() as again:
                _restored(child, again, cost)


def _messages(name: str, broker: Broker, cost: Cost, messages: int) -> None:
    """What a message costs on its way from one process to another, and how long it takes."""
    with Worker(name, broker.url) as hears, Worker(name, broker.url) as talks:
        hears.do("listen")
        warm = messages // WARM_UP
        hears.do("expect", count=warm, timed=False)
        talks.do("talk", count=warm, burst=1)
        hears.do("heard")
        for burst, part in BURSTS:
            count = messages // part // burst * burst
            hears.do("expect", count=count, timed=False)
            programs = (talks, hears, broker)
            before = [each.cpu_seconds() for each in programs]
            talks.do("talk", count=count, burst=burst)
            hears.do("heard")
            after = [each.cpu_seconds() for each in programs]
            used = [now - then for now, then in zip(after, before, strict=True)]
            cost.bursts.append(Burst(at_a_time=burst, count=count, each_s=used))
        count = messages // PACED
        hears.do("expect", count=count, timed=True)
        talks.do("pace", count=count, every=PACE)
        took = sorted(hears.do("heard"))
        cost.p50_us, cost.p99_us = (took[int(share * len(took))] / 1e3 for share in (0.5, 0.99))
        talks.do("close")
        hears.do("close")


def _subscriptions(child: Worker, broker: Broker, cost: Cost) -> None:
    """What many of them take: time and memory."""
    child.rest(within=3)
    before = child.resident_kb(), broker.resident_kb()
    used = child.cpu_seconds()
    cost.subscribe_s = child.do("rooms", count=cost.rooms)
    cost.subscribe_cpu_s = child.cpu_seconds() - used
    child.rest(within=3)
    cost.resident_kb = child.resident_kb() - before[0]
    cost.broker_kb = broker.resident_kb() - before[1]
    cost.subscriptions = broker.subscriptions()


def _restored(child: Worker, broker: Broker, cost: Cost) -> None:
    """Wait until a broker that knew nothing has all subscriptions again."""
    began, used = time.monotonic(), child.cpu_seconds()
    while broker.subscriptions() < cost.subscriptions:
        if time.monotonic() - began > BACK_WITHIN:
            raise Failed(f"only {broker.subscriptions()} of {cost.subscriptions} were restored")
        time.sleep(GLANCE)
    cost.restored_s = time.monotonic() - began
    cost.restored_cpu_s = child.cpu_seconds() - used
