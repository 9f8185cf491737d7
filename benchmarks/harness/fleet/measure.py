"""Loads fleets; every method gives the figures of one measurement."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.harness.crowd import Crowd, memory
from benchmarks.harness.fleet.processes import Fleet
from benchmarks.harness.fleet.scenarios import STRANGERS, WRITES
from benchmarks.harness.fleet.spread import spread
from benchmarks.harness.fleet.traffic import traffic
from benchmarks.harness.machine import Cores
from benchmarks.harness.measure import SENDS, Paused, counted_calls, loaded
from benchmarks.harness.results import Load, Restart, Rooms, Run, Stranger, Turns
from benchmarks.harness.server import Failed
from benchmarks.harness.wsload import wsload

if TYPE_CHECKING:
    from benchmarks.harness.contenders import Contender
    from benchmarks.harness.scenarios import Scenario

__all__ = ["FleetBench"]

CLIENTS = 10
"""They share the rooms of "rooms" and "restart"."""

TURNS = ((1, 500), (50, 100))
"""Clients, and how many rooms each joins in turn."""

FIRST_FEW = 20
"""What a server loads for its first rooms is not the price of each."""

ELSEWHERE = 90_000
"""The number of a room in which nobody talks."""

AT_ONCE = 50
"""Rooms that are spoken to in one write: channels_redis loses messages that wait beyond 100."""

SPEAKERS = 500
"""Connections that may be thrown out for what they say, one after another."""

OUTAGE = 1.0
"""Seconds without a broker."""

SAMPLE = 10
"""Rooms of which all must be heard again."""

GLANCE = 0.05
"""Seconds between messages to the sample: the slowest can do as many."""

SAY_ON = 2.0
"""Seconds for which messages are sent at least, once the broker is back, and then awaited."""

BACK_WITHIN = 15.0
"""Seconds until all must be as before, else it is never."""

OVERLOADED_FOR = 3.0
"""Seconds that who cannot keep up with "strangers" has for what is left."""

NEED_A_BROKER = ("stranger", "restart", "traffic")
"""Kinds that mean nothing on one instance alone."""

LONGER = 2
"""Windows that last so many times as long: many processes share the cores."""

HEARD_WITHIN = 5.0
"""Seconds for messages to AT_ONCE rooms."""


@dataclass(frozen=True, kw_only=True)
class FleetBench:
    """How this run measures.

    Attributes:
        cores: Where the instance that hears and all the others run.
        seconds: The length of a window.
        warm: Seconds of load before it.
        rooms: How many "rooms" and "restart" have, a multiple of CLIENTS.
    """

    cores: Cores
    seconds: float
    warm: float
    rooms: int

    def start(self, contender: Contender) -> Fleet:
        """The fleet of ``contender``, accepting."""
        return Fleet(contender, self.cores)

    def can(self, contender: Contender, scenario: Scenario) -> bool:
        """Whether this fleet can be measured in this scenario here."""
        if scenario.kind == "writes" and shutil.which("perf") is None:
            return False
        alone = contender.broker == "memory"
        if alone and (scenario.kind in NEED_A_BROKER or scenario.instances > 1):
            return False
        return not scenario.who or contender.name in scenario.who

    def measure(
        self, contender: Contender, scenario: Scenario, server: Fleet, repetition: int
    ) -> Run:
        """One measurement; a failure is one of its results."""
        run = Run(server=contender.name, scenario=scenario.name, repetition=repetition)
        try:
            match scenario.kind:
                case "load":
                    run.load = loaded(self._words(contender, scenario, server))
                case "stranger":
                    run.load, run.stranger = self.stranger(contender, server)
                case "writes":
                    run.load, run.writes = self.writes(contender, server)
                case "turns":
                    run.turns = self.turns(contender, server)
                case "rooms":
                    run.rooms = self.room_memory(contender, server)
                case "restart":
                    run.restart = self.restart(contender, server)
                case "spread":
                    run.load, run.most = spread(
                        contender,
                        server,
                        self.cores,
                        scenario.instances,
                        seconds=LONGER * self.seconds,
                        warm=self.warm,
                    )
                case "traffic":
                    run.traffic = traffic(server.broker, "traffic", LONGER * self.seconds)
                case "memory":
                    run.memory = memory(contender, server.hears, self.cores, self.rooms)
                case _:
                    raise Failed(f"a fleet has no {scenario.kind}")
        except Failed as error:
            run.error = str(error)
        return run

    def _words(
        self, contender: Contender, scenario: Scenario, fleet: Fleet, *more: str, seconds: float = 0
    ) -> list[str]:
        mode, *rest = scenario.load
        words = [mode, "--port", str(fleet.hears.port), "--sender-port", str(fleet.talks.port)]
        for program in fleet.programs:
            words += ["--pid", str(program.pid)]
        words += [*rest, "--warm", str(self.warm), "--secs", str(seconds or self.seconds)]
        if self.cores.server is not None:
            words += ["--core", str(self.cores.server)]
        return wsload(self.cores, *words, *more, *contender.dialect.arguments(mode))

    def stranger(self, contender: Contender, fleet: Fleet) -> tuple[Load, Stranger]:
        """What an instance takes while the others talk about what its clients do not hear.

        Raises:
            Failed: There are no figures.
        """
        with fleet.another() as third, Crowd(contender, third, self.cores, 1) as own:
            own.open(1)
            own.join(0, 1, room=ELSEWHERE)
            third.rest()
            idle = third.idle_share(max(1, self.seconds))
            words = self._words(contender, STRANGERS, fleet, "--pause")
            with Paused(words, drain=OVERLOADED_FOR) as clients:
                began, before = time.monotonic(), third.cpu_seconds()
                load = clients.go()
                used, took = third.cpu_seconds() - before, time.monotonic() - began
        if not load.received:
            raise Failed("nobody heard anything")
        found = Stranger(messages=load.received, seconds=took, cpu_s=used, idle_share=idle)
        return load, found

    def writes(self, contender: Contender, fleet: Fleet) -> tuple[Load, dict[str, float]]:
        """System calls that send, of the instance that talks, for 1,000 messages in one write.

        Raises:
            Failed: They cannot be counted here.
        """
        words = self._words(contender, WRITES, fleet, seconds=3)
        load, each = counted_calls(fleet.talks.pid, lambda: loaded(words))
        return load, {name: 1000 * each[name] for name in SENDS if name in each}

    def turns(self, contender: Contender, fleet: Fleet) -> list[Turns]:
        """Joins one after another: by one client, and by many at the same time.

        Raises:
            Failed: A join was refused, or not answered.
        """
        found: list[Turns] = []
        most = max(clients for clients, _ in TURNS)
        with Crowd(contender, fleet.hears, self.cores, most) as crowd:
            crowd.open(most)
            crowd.turns(0, most, 1, room=ELSEWHERE)
            room = 0
            for clients, each in TURNS:
                fleet.hears.rest()
                before, broker = fleet.hears.cpu_seconds(), fleet.broker.cpu_seconds()
                told = crowd.turns(0, clients, each, room)
                found.append(
                    Turns(
                        clients=clients,
                        count=clients * each,
                        seconds=told["seconds"],
                        cpu_s=fleet.hears.cpu_seconds() - before,
                        broker_cpu_s=fleet.broker.cpu_seconds() - broker,
                        p50_us=told["p50_us"],
                        p99_us=told["p99_us"],
                    )
                )
                room += clients * each
        return found

    def room_memory(self, contender: Contender, fleet: Fleet) -> Rooms:
        """What each of many rooms adds to its instance and to the broker.

        Raises:
            Failed: A join was refused, or not answered.
        """
        with Crowd(contender, fleet.hears, self.cores, CLIENTS + 1) as crowd:
            crowd.turns(crowd.open(1), 1, FIRST_FEW, room=ELSEWHERE)
            first = crowd.open(CLIENTS)
            fleet.hears.rest()
            base, broker = fleet.hears.resident_kb(), fleet.broker.resident_kb()
            crowd.turns(first, CLIENTS, self.rooms // CLIENTS, room=0)
            fleet.hears.rest()
            return Rooms(
                rooms=self.rooms,
                base_kb=base,
                full_kb=fleet.hears.resident_kb(),
                broker_base_kb=broker,
                broker_full_kb=fleet.broker.resident_kb(),
            )

    def restart(self, contender: Contender, fleet: Fleet) -> Restart:
        """How long it takes until all is as before when the broker was killed.

        Raises:
            Failed: A join was refused, or a message not heard before.
        """
        with Crowd(contender, fleet.hears, self.cores, CLIENTS + SPEAKERS) as crowd:
            crowd.open(CLIENTS)
            speaker = crowd.open(1, fleet.talks.port)
            crowd.turns(0, CLIENTS, self.rooms // CLIENTS, room=0)
            heard, _ = _heard_in_all(crowd, speaker, self.rooms)
            if heard != self.rooms:
                raise Failed(f"only {heard} of {self.rooms} rooms heard before the restart")
            channels = fleet.broker.subscriptions()
            crowd.may_close = True
            fleet.broker.fall()
            talk = _Talk(crowd, speaker, fleet.talks.port, self.rooms)
            talk.go_on(OUTAGE)
            fleet.broker = fleet.broker.anew()
            before = fleet.hears.cpu_seconds()
            channels_s, heard_s = self._until_all_is_back(talk, fleet, channels)
            used = fleet.hears.cpu_seconds() - before
            lost = talk.lost()
            heard, twice = _heard_in_all(crowd, talk.speaker(), self.rooms)
            return Restart(
                rooms=self.rooms,
                outage_s=OUTAGE,
                channels=channels,
                channels_after=fleet.broker.subscriptions(),
                channels_s=channels_s,
                heard_s=heard_s,
                heard=heard,
                twice=twice,
                said=talk.said,
                lost=lost,
                closed=crowd.closed,
                cpu_s=used,
            )

    def _until_all_is_back(
        self, talk: _Talk, fleet: Fleet, channels: int
    ) -> tuple[float | None, float | None]:
        """Seconds until the broker has its channels, and until a sample of rooms is heard."""
        began = time.monotonic()
        channels_s: float | None = None
        heard_s: float | None = None
        while (now := time.monotonic() - began) < BACK_WITHIN:
            if channels_s is None and fleet.broker.subscriptions() >= channels:
                channels_s = now
            if heard_s is None and talk.all_heard:
                heard_s = now
            if channels_s is not None and heard_s is not None and now > SAY_ON:
                break
            talk.go_on(GLANCE)
        return channels_s, heard_s


class _Talk:
    """Messages to a sample of rooms, over and over, from a client that may be thrown out."""

    def __init__(self, crowd: Crowd, speaker: int, port: int, rooms: int) -> None:
        self.said = 0
        self.all_heard = False
        self._crowd, self._speaker, self._port = crowd, speaker, port
        self._step = max(1, rooms // SAMPLE)
        self._sample = len(range(0, rooms, self._step))
        self._closed = 0

    def speaker(self) -> int:
        """The client that speaks now: a new one, if the last may have been thrown out."""
        if self._crowd.closed > self._closed and self._crowd.size < CLIENTS + SPEAKERS:
            self._closed = self._crowd.closed
            self._speaker = self._crowd.open(1, self._port)
        return self._speaker

    def go_on(self, seconds: float) -> None:
        """Say something every GLANCE for so long."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            told = self._crowd.say(
                self.speaker(), self._sample, step=self._step, within=GLANCE, again=self.said > 0
            )
            self.said += self._sample
            self.all_heard = told["done"] == self._sample
            time.sleep(max(0, now + GLANCE - time.monotonic()))

    def lost(self) -> int:
        """What of all that was never heard."""
        return self.said - self._crowd.listen(self.speaker(), SAY_ON)


def _heard_in_all(crowd: Crowd, speaker: int, rooms: int) -> tuple[int, int]:
    """Say something in each; returns in how many it was heard, and how often twice."""
    heard = twice = 0
    for first in range(0, rooms, AT_ONCE):
        some = min(AT_ONCE, rooms - first)
        told = crowd.say(speaker, some, room=first, within=HEARD_WITHIN)
        heard += int(told["done"])
        twice = int(told["twice"])
        if not told["done"] and not heard:
            break  # nobody is there who could hear
    return heard, twice
