"""Loads one subject, in processes and with a broker of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.harness.fleet.brokers import BROKERS
from benchmarks.harness.machine import Cores
from benchmarks.harness.results import MADE
from benchmarks.harness.server import Failed, Watched
from benchmarks.harness.transports.results import Burst, Cost
from benchmarks.harness.transports.subjects import OURS, SUBJECTS

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.harness.fleet.brokers import Broker

__all__ = ["measure"]

BURSTS = ((1, 4), (20, 1), (100, 1))
"""How many go at a time, and which part of all messages: single ones take long."""

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
    log = f"transports-{name}"
    with BROKERS[kind](EVERYWHERE, log) as broker:
        _messages(name, broker, cost, messages)
    with BROKERS[kind](EVERYWHERE, log) as broker, _Child(name, broker.url) as child:
        cost.traced_bytes = child.do("traced", count=rooms)
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(BROKERS[kind](EVERYWHERE, log))
        child = stack.enter_context(_Child(name, broker.url))
        _subscriptions(child, broker, cost)
        cost.idle_share = child.idle_share(idle)
        if name in OURS.values():
            broker.stop()
            with broker.anew() as again:
                _restored(child, again, cost)
    return cost


def _messages(name: str, broker: Broker, cost: Cost, messages: int) -> None:
    """What a message costs on its way from one process to another, and how long it takes."""
    with _Child(name, broker.url) as hears, _Child(name, broker.url) as talks:
        hears.do("listen")
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


def _subscriptions(child: _Child, broker: Broker, cost: Cost) -> None:
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


def _restored(child: _Child, broker: Broker, cost: Cost) -> None:
    """Wait until a broker that knew nothing has all subscriptions again."""
    began, used = time.monotonic(), child.cpu_seconds()
    while broker.subscriptions() < cost.subscriptions:
        if time.monotonic() - began > BACK_WITHIN:
            raise Failed(f"only {broker.subscriptions()} of {cost.subscriptions} were restored")
        time.sleep(GLANCE)
    cost.restored_s = time.monotonic() - began
    cost.restored_cpu_s = child.cpu_seconds() - used


class _Child(Watched):
    """A process that has the subject."""

    def __init__(self, name: str, url: str) -> None:
        """Start it, and let it connect."""
        log = MADE / "logs" / f"transports-{name}-process.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        command = [sys.executable, "-m", "benchmarks.harness.transports.child", name, url]
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=Path(__file__).resolve().parents[3],
            )
        self.pid = self._process.pid
        self.do("start")

    def do(self, what: str, **given: object) -> Any:
        """Tell it to do something; returns what it answers.

        Raises:
            Failed: It has ended instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **given}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            last = self._log.read_text("utf-8", "replace").strip().splitlines()[-1:]
            raise Failed(f"it ended when told to {what}: {''.join(last)}")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
