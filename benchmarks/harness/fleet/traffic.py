"""What messages cost a broker and its connections, without WebSockets: for calculations."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness.results import Flood, Traffic
from benchmarks.harness.server import Failed
from benchmarks.harness.transports.child import SIZE
from benchmarks.harness.transports.subjects import OURS
from benchmarks.harness.transports.worker import Worker

if TYPE_CHECKING:
    from benchmarks.harness.fleet.brokers import Broker

__all__ = ["HEARERS", "RATES", "traffic"]

RATES = (100, 1000, 10_000)
"""Messages a second, first alone and then many at a time."""

HEARERS = (1, 3)
"""Processes that hear each of them; where they are more, one more wants none."""

ROOMS = 50
"""In which they are said."""

SETTLED = 0.5
"""Seconds until what came with a new connection is over."""

HEARD_WITHIN = 10.0

GLANCE = 0.01
"""Seconds between two looks at whether all is heard."""


def traffic(broker: Broker, namespace: str, seconds: float) -> Traffic:
    """Measure it, in windows of so many seconds.

    Raises:
        Failed: Something was not heard.
    """
    name, url = OURS[broker.scheme], broker.in_namespace(namespace)
    base, idle = broker.resident_kb(), broker.idle_share(seconds)
    others = _connections(broker.port)
    found = Traffic(payload=SIZE, connections=0, idle_share=idle, broker_kb=base, floods=[])
    with contextlib.ExitStack() as stack:
        talker = stack.enter_context(Worker(name, url))
        hearers: list[Worker] = []
        stranger: Worker | None = None
        for count in HEARERS:
            while len(hearers) < count:
                hearers.append(stack.enter_context(Worker(name, url)))
                hearers[-1].do("rooms", count=ROOMS)
            if count > 1:
                stranger = stack.enter_context(Worker(name, url))
                stranger.do("listen")
            everybody = [talker, *hearers, *([stranger] if stranger else [])]
            found.connections = round((_connections(broker.port) - others) / len(everybody))
            # Where the broker is not told of rooms, it sends everything to everybody.
            hearing = len(hearers) if broker.knows_rooms else len(everybody)
            for rate in RATES:
                time.sleep(SETTLED)
                flood = _flood(broker, talker, hearers, stranger, rate, seconds)
                flood.hearing = hearing
                found.floods.append(flood)
    return found


def _flood(
    broker: Broker,
    talker: Worker,
    hearers: Sequence[Worker],
    stranger: Worker | None,
    rate: int,
    seconds: float,
) -> Flood:
    programs = [broker, talker, hearers[0], *([stranger] if stranger else [])]
    for hearer in hearers:
        hearer.do("expect", count=0, timed=False)
    began, before = time.monotonic(), [program.cpu_seconds() for program in programs]
    sent, received = (each.do("wire", port=broker.port) for each in (talker, hearers[0]))
    said = talker.do("flood", rate=rate, seconds=seconds, rooms=ROOMS)
    give_up = time.monotonic() + HEARD_WITHIN
    for hearer in hearers:
        while (heard := hearer.do("counted")) < said:
            if time.monotonic() > give_up:
                raise Failed(f"{heard} of {said} messages were heard")
            time.sleep(GLANCE)
    took = time.monotonic() - began
    used = [now.cpu_seconds() - then for now, then in zip(programs, before, strict=True)]
    return Flood(
        rate=rate,
        hearing=len(hearers),
        messages=said,
        seconds=took,
        broker_cpu_s=used[0],
        talker_cpu_s=used[1],
        hearer_cpu_s=used[2],
        stranger_cpu_s=used[3] if stranger else None,
        bytes_in=talker.do("wire", port=broker.port)[0] - sent[0],
        bytes_out=hearers[0].do("wire", port=broker.port)[1] - received[1],
    )


def _connections(port: int) -> int:
    """How many there are to this port, as their clients see them."""
    found = 0
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):  # there is no IPv6
            for line in Path(f"/proc/net/{table}").read_text("utf-8").splitlines()[1:]:
                _, _, remote, state, *_ = line.split()
                found += state == "01" and int(remote.rpartition(":")[2], 16) == port
    return found
