"""A process that has one subject, and does with it what it is told, line by line.

python -m benchmarks.harness.transports.child SUBJECT URL
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import stat
import struct
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.harness.transports.subjects import SUBJECTS, Ours, Subject

__all__ = ["CHANNEL", "PAYLOAD"]

CHANNEL = "ws:room:/chat/general"

PAYLOAD = '{"event":"message","path":"/chat/general","params":{"room":"general"},"data":"%s"}'
"""As a room's members are sent it; the data is a time and what makes it 200 bytes."""

SIZE = 200

TCP_INFO = struct.Struct("=QQII")
"""At 120 bytes in ``struct tcp_info``: bytes acknowledged and received, segments out and in."""

HEADERS = 90
"""Bytes of a segment beside its data: Ethernet 38, IP 20, TCP 32."""

EACH = 0.001
"""Seconds between the messages of a flood."""


class Child:
    """The subject, and what it has heard."""

    def __init__(self, subject: Subject) -> None:
        """Do nothing yet."""
        self._subject = subject
        self._heard = 0
        self._wanted = 0
        self._all_heard = asyncio.Event()
        self._took: list[int] | None = None

    def commands(self) -> dict[str, Callable[..., Awaitable[object]]]:
        """All that it can be told, with the names of what they take."""
        return {
            "start": self._subject.start,
            "close": self._subject.close,
            "listen": self.listen,
            "expect": self.expect,
            "heard": self.heard,
            "counted": self.counted,
            "wire": self.wire,
            "talk": self.talk,
            "pace": self.pace,
            "flood": self.flood,
            "rooms": self.rooms,
            "traced": self.traced,
        }

    async def listen(self) -> None:
        """Hear what is said from now on."""
        await self._subject.listen([CHANNEL], self._on_message)

    async def expect(self, count: int, *, timed: bool) -> None:
        """Count anew, and note how long each was on its way, or not."""
        self._heard, self._wanted = 0, count
        self._took = [] if timed else None
        self._all_heard.clear()

    def _on_message(self, payload: str) -> None:
        self._heard += 1
        if self._took is not None:
            said = payload.rpartition('"data":"')[2].partition(" ")[0]
            self._took.append(time.monotonic_ns() - int(said))
        if self._heard == self._wanted:
            self._all_heard.set()

    async def heard(self) -> list[float]:
        """Wait for as many as are expected; the nanoseconds of each, if they were noted."""
        await self._all_heard.wait()
        return [float(each) for each in self._took or []]

    async def counted(self) -> int:
        """How many it has heard since it was to count anew."""
        return self._heard

    async def wire(self, port: int) -> list[int]:
        """Bytes that its connections to this port have sent and received, with all headers."""
        return _over_the_wire(port)

    async def talk(self, count: int, burst: int) -> None:
        """Say so much, so many at a time."""
        payload = _payload()
        for _ in range(count // burst):
            await self._subject.say(CHANNEL, payload, burst)

    async def pace(self, count: int, every: float) -> None:
        """Say something every so many seconds."""
        at = time.monotonic()
        for _ in range(count):
            at += every
            await asyncio.sleep(max(0, at - time.monotonic()))
            await self._subject.say(CHANNEL, _payload(), 1)

    async def flood(self, rate: int, seconds: float, rooms: int) -> int:
        """Say so many a second, spread over so many other channels; returns how many it were.

        They go out as those of many instances would: a few every millisecond.
        """
        assert isinstance(self._subject, Ours)
        names = [f"ws:room:/chat/{n}" for n in range(rooms)]
        payload, said, began = _payload(), 0, time.monotonic()
        while (gone := time.monotonic() - began) < seconds:
            due = int(gone * rate)
            self._subject.spread([names[n % rooms] for n in range(said, due)], payload)
            said = due
            await asyncio.sleep(EACH)
        return said

    async def rooms(self, count: int) -> float:
        """Subscribe to so many at once; returns the seconds until the last is confirmed."""
        names = [f"ws:room:/chat/{n}" for n in range(count)]
        began = time.perf_counter()
        await self._subject.listen(names, self._on_message)
        return time.perf_counter() - began

    async def traced(self, count: int) -> int:
        """Likewise; returns the bytes of the Python objects that stay."""
        tracemalloc.start()
        await self.rooms(count)
        gc.collect()
        here, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return here


def _over_the_wire(port: int) -> list[int]:
    sent = received = 0
    for number in map(int, os.listdir("/proc/self/fd")):
        # The one that lists them is closed by now.
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as connection:
                if connection.family == socket.AF_INET and connection.getpeername()[1] == port:
                    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
                    acked, heard, segments_out, segments_in = TCP_INFO.unpack_from(info, 120)
                    sent += acked + HEADERS * segments_out
                    received += heard + HEADERS * segments_in
    return [sent, received]


def _payload() -> str:
    head = PAYLOAD % f"{time.monotonic_ns()} "
    return PAYLOAD % f"{time.monotonic_ns()} {'x' * (SIZE - len(head))}"


async def main(name: str, url: str) -> None:
    _, make = SUBJECTS[name]
    commands = Child(make(url)).commands()
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        told: dict[str, Any] = json.loads(line)
        answer = await commands[told.pop("do")](**told)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
