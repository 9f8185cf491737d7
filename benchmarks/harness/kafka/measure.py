"""Measures, with one broker of each kind: Kafka's settings, and what the rooms of others cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.harness.fleet.brokers import Broker
from benchmarks.harness.kafka.results import Idle, KafkaCosts, Others, Speed, Way
from benchmarks.harness.machine import Cores
from benchmarks.harness.transports.subjects import LIBRARIES, OURS
from benchmarks.harness.transports.worker import Worker

__all__ = ["OTHERS", "SETTINGS", "Measure"]

EVERYWHERE = Cores(None, None)

Options = dict[str, float]

SETTINGS: dict[str, tuple[str, Options]] = {
    "Redis": ("redis", {}),
    "NATS": ("nats", {}),
    "Kafka, as it is by itself": ("kafka", {}),
    "fetch_gather=0": ("kafka", {"fetch_gather": 0}),
    "fetch_gather=0, partitions=1": ("kafka", {"fetch_gather": 0, "partitions": 1}),
    "fetch_max_wait=0.01": ("kafka", {"fetch_max_wait": 0.01}),
    "partitions=32": ("kafka", {"partitions": 32}),
    "linger=0.005": ("kafka", {"linger": 0.005}),
}
"""Between which latency and speed are compared: the broker, and options of the transport."""

RARE, OFTEN = 1, 200
"""Messages a second whose latency is measured."""

LONGER = 5
"""Windows in which those are timed that are rare."""

BURST = 1000
"""Messages at a time, for speed."""

BURSTS = 5
"""For each second of a window."""

WAITS = (0.01, 0.1, 0.5)
PARTITIONS = (8, 128)
"""Between which idling is compared."""

SETTLED = 1.0
"""Seconds until what came with a new client is over."""

PATIENT = {"start_timeout": 60.0, "connect_timeout": 30.0, "confirm_timeout": 20.0}
"""To make many partitions takes a broker long, if its machine has other work."""

OTHERS: dict[str, tuple[str, str, Options]] = {
    "wsrooms-kafka": (OURS["kafka"], "kafka", {}),
    "wsrooms-kafka, fetch_gather=0": (OURS["kafka"], "kafka", {"fetch_gather": 0}),
    "aiokafka": (LIBRARIES["kafka"], "kafka", {}),
    "wsrooms-redis": (OURS["redis"], "redis", {}),
    "wsrooms-nats": (OURS["nats"], "nats", {}),
}
"""Who hears nothing of what others say: the subject, its broker, and options."""

FLOODS = (1000, 5000, 10_000)
"""Messages a second that others say."""

ROOMS = 50
"""In which they do."""


@dataclass
class Measure:
    """One repetition.

    Attributes:
        seconds: The length of a window.
        brokers: Those that run, by their kind.
        costs: Where the figures go.
        tell: Is told what was measured, as it is.
    """

    seconds: float
    brokers: dict[str, Broker]
    costs: KafkaCosts
    tell: Callable[[str], None]

    def all(self) -> None:
        """Everything that can be measured with these brokers.

        Raises:
            Failed: There are no figures.
        """
        with contextlib.ExitStack() as stack:
            pairs = {
                name: self._pair(stack, number, kind, options)
                for number, (name, (kind, options)) in enumerate(SETTINGS.items())
                if kind in self.brokers
            }
            for setting, (hears, talks) in pairs.items():
                self._speed(setting, hears, talks)
            self._rare(pairs)
            for setting, (hears, talks) in pairs.items():
                hears.do("expect", count=self._count(OFTEN), timed=True)
                talks.do("pace", count=self._count(OFTEN), every=1 / OFTEN)
                self._timed(setting, OFTEN, hears)
        if "kafka" in self.brokers:
            self._idle()
        for number, (who, (subject, kind, options)) in enumerate(OTHERS.items()):
            if kind in self.brokers:
                self._others(who, subject, kind, self._url(kind, f"others-{number}", options))

    def _pair(
        self, stack: contextlib.ExitStack, number: int, kind: str, options: Options
    ) -> tuple[Worker, Worker]:
        """A process that hears and one that talks, which share a topic with nobody."""
        url = self._url(kind, f"pair-{number}", options)
        hears, talks = (stack.enter_context(Worker(OURS[kind], url)) for _ in range(2))
        hears.do("listen")
        return hears, talks

    def _url(self, kind: str, namespace: str, options: Options) -> str:
        return self.brokers[kind].in_namespace(namespace, **options)

    def _speed(self, setting: str, hears: Worker, talks: Worker) -> None:
        """How many go through."""
        count = BURST * max(1, round(BURSTS * self.seconds))
        _sent(hears, talks, count)  # a broker in Java takes long to become fast
        took = _sent(hears, talks, count)
        self.costs.speeds.append(Speed(setting=setting, messages=count, seconds=took))
        self.tell(f"{setting}: {count / took:,.0f} messages/s")

    def _count(self, rate: int) -> int:
        """Messages that are timed: of what is rare there would be too little in one window."""
        return max(2, round(rate * self.seconds * (LONGER if rate == RARE else 1)))

    def _rare(self, pairs: dict[str, tuple[Worker, Worker]]) -> None:
        """One message a second, with all settings, which take turns: each for itself takes long."""
        count = self._count(RARE)
        for hears, talks in pairs.values():
            hears.do("expect", count=count, timed=True)
            talks.tell("pace", count=count, every=1 / RARE)
            time.sleep(1 / RARE / len(pairs))
        for setting, (hears, talks) in pairs.items():
            talks.answer("pace")
            self._timed(setting, RARE, hears)

    def _timed(self, setting: str, rate: int, hears: Worker) -> None:
        took = sorted(hears.do("heard"))
        p50, p90, p99 = (took[int(share * len(took))] / 1e3 for share in (0.5, 0.9, 0.99))
        way = Way(
            setting=setting,
            rate=rate,
            count=len(took),
            p50_us=p50,
            p90_us=p90,
            p99_us=p99,
            most_us=took[-1] / 1e3,
        )
        self.costs.ways.append(way)
        self.tell(f"{setting}: {rate}/s, p50 {p50 / 1e3:.1f} ms, p99 {p99 / 1e3:.1f} ms")

    def _idle(self) -> None:
        """What a client and the broker take for nothing."""
        for partitions in PARTITIONS:
            for wait in (*WAITS, 0.0):
                with contextlib.ExitStack() as stack:
                    client: Worker | None = None
                    if wait:
                        options = {**PATIENT, "partitions": partitions, "fetch_max_wait": wait}
                        url = self._url("kafka", f"idle-{partitions}", options)
                        client = stack.enter_context(Worker(OURS["kafka"], url))
                        client.do("listen")
                    broker = self.brokers["kafka"]
                    time.sleep(SETTLED)
                    before = client.cpu_seconds() if client else 0
                    by_broker = broker.idle_share(self.seconds)
                    by_client = (client.cpu_seconds() - before) / self.seconds if client else 0
                idle = Idle(
                    fetch_max_wait=wait, partitions=partitions, client=by_client, broker=by_broker
                )
                self.costs.idles.append(idle)
                self.tell(
                    f"idle, {partitions} partitions, fetch_max_wait {wait:g}: "
                    f"{idle.client:.1%} + {idle.broker:.1%}"
                )

    def _others(self, who: str, subject: str, kind: str, url: str) -> None:
        """What somebody takes who wants nothing of what others say."""
        broker = self.brokers[kind]
        with Worker(OURS[kind], url) as talks, Worker(subject, url) as hears:
            hears.do("listen")
            time.sleep(SETTLED)
            idle = hears.idle_share(self.seconds)
            for rate in FLOODS:
                hears.do("expect", count=1, timed=False)
                before = [time.monotonic(), hears.cpu_seconds(), broker.cpu_seconds()]
                said = talks.do("flood", rate=rate, seconds=self.seconds, rooms=ROOMS)
                # Whoever hears the last one has passed over all that went before.
                talks.do("talk", count=1, burst=1)
                hears.do("heard")
                after = [time.monotonic(), hears.cpu_seconds(), broker.cpu_seconds()]
                seconds, used, by_broker = (
                    now - then for now, then in zip(after, before, strict=True)
                )
                found = Others(
                    subject=who,
                    rate=rate,
                    messages=said,
                    seconds=seconds,
                    cpu_s=used,
                    broker_cpu_s=by_broker,
                    idle=idle,
                )
                self.costs.others.append(found)
                self.tell(
                    f"{who}: {said / seconds:,.0f} messages/s of others: "
                    f"{found.share:.1%}, {found.each_us:.1f} µs each"
                )


def _sent(hears: Worker, talks: Worker, count: int) -> float:
    """Send so many; returns the seconds until the last of them is heard."""
    hears.do("expect", count=count, timed=False)
    began = time.monotonic()
    talks.do("talk", count=count, burst=BURST)
    hears.do("heard")
    return time.monotonic() - began
