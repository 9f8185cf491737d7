"""Measurements with many connections that are steered step by step: memory, joins, disconnects."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.results import Disconnect, Goodbyes, Joining, Memory
from benchmarks.harness.server import Failed, ServerProcess
from benchmarks.harness.wsload import told, wsload

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.harness.contenders import Contender
    from benchmarks.harness.machine import Cores

__all__ = ["Crowd", "Sizes", "disconnects", "joins", "memory"]

WITHIN = 60
"""Seconds of one step."""

FIRST_FEW = 20
"""What a server loads for its first clients is not the price of each."""

ROOMS_EACH = 3
SHARED_BY = 100

CLIENT_ROOMS = 1000
"""Rooms that a single client joins: more than wsrooms allows unless its limits are raised."""

BATCHES = 3

ALL = 1 << 30
"""One room is shared by so many: by all."""


class Crowd:
    """Connections of one wsload, numbered from 0 in the order of their opening.

    Every join and every request is to be answered once, in order and without an error, and no
    connection to end unasked: the first fault ends the measurement.
    """

    def __init__(
        self, contender: Contender, server: ServerProcess, cores: Cores, limit: int
    ) -> None:
        self._port = server.port
        words = ["--port", str(server.port), "--conns", str(limit), "--timeout", str(WITHIN)]
        self._clients = subprocess.Popen(
            wsload(cores, "crowd", *words, *contender.dialect.arguments("crowd")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.size = 0
        self.closed = 0
        self.may_close = False
        """Whether one that ends unasked, or cannot be opened, is counted in ``closed`` only."""

    def open(self, count: int, port: int = 0) -> int:
        """Open so many connections more, to another port if need be; returns the first's number."""
        first = self.size
        self.size += count
        self._step(None if self.may_close else count, f"open {count} {port or self._port}")
        return first

    def request(self, first: int, count: int) -> None:
        """Have each of these send a request."""
        self._step(count, f"request {first} {count}")

    def join(
        self, first: int, count: int, each: int = 1, shared_by: int = 1, room: int = 0
    ) -> float:
        """Have these join ``each`` rooms, numbered from ``room`` on; returns the seconds."""
        return self._step(count * each, f"join {first} {count} {each} {shared_by} {room}")[
            "seconds"
        ]

    def turns(self, first: int, count: int, each: int, room: int) -> dict[str, float]:
        """Have these join rooms of their own one after another; returns seconds and latencies."""
        return self._step(count * each, f"turns {first} {count} {each} {room}")

    def say(
        self,
        speaker: int,
        count: int,
        room: int = 0,
        step: int = 1,
        within: float = WITHIN,
        *,
        again: bool = False,
    ) -> dict[str, float]:
        """Send a message to so many rooms, every ``step``-th; ``done`` is in how many it was heard.

        A message that is not heard ``within`` these seconds is no fault. ``again`` adds another
        one for the same rooms: whichever is heard counts.
        """
        verb, milliseconds = "again" if again else "say", max(1, round(1000 * within))
        return self._step(None, f"{verb} {speaker} {count} {room} {step} {count} {milliseconds}")

    def listen(self, speaker: int, seconds: float) -> int:
        """How many messages have arrived since the last ``say`` that was not ``again``."""
        line = f"again {speaker} 0 0 1 {ALL} {round(1000 * seconds)}"
        return int(self._step(None, line)["arrived"])

    def close(self, first: int, count: int) -> None:
        """Have these say goodbye; returns when the server has closed their sockets."""
        self._step(count, f"close {first} {count}")

    def _step(self, expected: int | None, line: str) -> dict[str, float]:
        assert self._clients.stdin is not None
        assert self._clients.stdout is not None
        try:
            self._clients.stdin.write(line + "\n")
            self._clients.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"wsload ended before {line!r}") from None
        answer = told(self._clients.stdout.readline())
        self.closed = int(answer["closed"] + answer["failed"])
        kinds = ["out_of_order", "refused", *([] if self.may_close else ["failed", "closed"])]
        wrong = [f"{answer[kind]:.0f} {kind}" for kind in kinds if answer[kind]]
        if expected is not None and answer["done"] != expected:
            wrong.insert(0, f"{answer['done']:.0f} of {expected}")
        if wrong:
            raise Failed(f"{line!r}: {', '.join(wrong)}")
        return answer

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clients.kill()
        self._clients.communicate()


def memory(contender: Contender, server: ServerProcess, cores: Cores, count: int) -> Memory:
    """What a connection costs that is silent, that has spoken, and what a membership adds.

    Raises:
        Failed: They could not be made.
    """
    with Crowd(contender, server, cores, FIRST_FEW + count) as crowd:
        crowd.open(FIRST_FEW)
        crowd.request(0, FIRST_FEW)
        crowd.join(0, FIRST_FEW, ROOMS_EACH, SHARED_BY)
        base = _settled(server)
        first = crowd.open(count)
        opened = _settled(server)
        # A few at a time: what a server needs while it is busy with all is not what it keeps.
        groups = range(first, first + count, SHARED_BY)
        for start in groups:
            crowd.request(start, min(SHARED_BY, first + count - start))
        spoken = _settled(server)
        for number, start in enumerate(groups, 1):
            some = min(SHARED_BY, first + count - start)
            crowd.join(start, some, ROOMS_EACH, SHARED_BY, room=ROOMS_EACH * number)
        return Memory(
            connections=count,
            memberships=count * ROOMS_EACH,
            base_kb=base,
            open_kb=opened,
            spoken_kb=spoken,
            joined_kb=_settled(server),
        )


def _settled(server: ServerProcess) -> int:
    server.rest()
    return server.resident_kb()


def joins(
    contender: Contender, server: ServerProcess, cores: Cores, count: int
) -> dict[str, Joining]:
    """So many joins: by few clients into many rooms, into a room each, and into one.

    Raises:
        Failed: A join was refused, or not answered.
    """
    rooms = min(CLIENT_ROOMS, count)
    eager = count // rooms
    found: dict[str, Joining] = {}
    with Crowd(contender, server, cores, count + eager) as crowd:
        crowd.open(count + eager)
        for name, first, clients, each, shared_by in (
            (f"{rooms:,} rooms each, {eager:,} clients in turn", count, eager, rooms, 1),
            (f"a room each, {count:,} clients", 0, count, 1, 1),
            (f"one room, {count:,} clients", 0, count, 1, ALL),
        ):
            server.rest()
            before = server.cpu_seconds()
            seconds = 0.0
            # Who joins many does so alone: one after the other.
            alone = clients if each == 1 else 1
            for client in range(first, first + clients, alone):
                base = 1 + client * each if shared_by == 1 else 0
                seconds += crowd.join(client, alone, each, shared_by, room=base)
            used = server.cpu_seconds() - before
            found[name] = Joining(count=clients * each, seconds=seconds, cpu_s=used)
    return found


@dataclass(frozen=True)
class Sizes:
    """How an instance grows, and how many of its connections leave each time."""

    others: tuple[int, ...]
    leaving: int

    @classmethod
    def up_to(cls, count: int, sockets: int) -> Sizes:
        """A tenth of ``count``, ``count`` and twice that, if so many sockets may be open."""
        leaving = max(count // 20, 5)
        most = min(2 * count, sockets - leaving)
        return cls(tuple(size for size in (count // 10, count, most) if size <= most), leaving)


def disconnects(contender: Contender, cores: Cores, sizes: Sizes) -> Disconnect:
    """CPU of the server for a goodbye, beside more and more other connections.

    Raises:
        Failed: A connection ended unasked, or did not.
    """
    steps: list[Goodbyes] = []
    most = sizes.others[-1] + BATCHES * len(sizes.others) * sizes.leaving
    for one_room in (True, False):
        with (
            ServerProcess(contender, cores) as server,
            Crowd(contender, server, cores, most) as crowd,
        ):
            there = 0
            for others in sizes.others:
                _arrive(crowd, others - there, one_room)
                there = others
                server.rest()
                idle = server.idle_share()
                each = [
                    _leave(crowd, server, sizes.leaving, one_room, idle) * 1e6 / sizes.leaving
                    for _ in range(BATCHES)
                ]
                rooms = 1 if one_room else others
                steps.append(
                    Goodbyes(others=others, rooms=rooms, cpu_us=median(each), least_us=min(each))
                )
    return Disconnect(steps=steps)


def _arrive(crowd: Crowd, count: int, one_room: bool) -> int:
    first = crowd.open(count)
    crowd.join(first, count, shared_by=ALL if one_room else 1, room=0 if one_room else first)
    return first


def _leave(crowd: Crowd, server: ServerProcess, count: int, one_room: bool, idle: float) -> float:
    """Seconds of CPU until all that these leave behind is cleared away."""
    first = _arrive(crowd, count, one_room)
    server.rest(idle)
    began, before = time.monotonic(), server.cpu_seconds()
    crowd.close(first, count)
    server.rest(idle)
    return max(0, server.cpu_seconds() - before - idle * (time.monotonic() - began))
