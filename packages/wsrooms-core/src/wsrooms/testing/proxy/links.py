"""One connection through the proxy: two sockets, and the bytes on their way between them.

The sockets are read and written by the loop's own callbacks, without a task and without
asyncio's transports: those go on writing what they hold, and here nothing may pass once a
test has said so.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import asyncio

__all__ = ["Address", "Link", "Pace", "Way"]

Address = tuple[socket.AddressFamily, str | tuple[Any, ...]]  # any: as each family has it
"""Where the broker listens: a family and what ``connect`` takes."""

READ_BYTES = 262_144
"""The most that one read takes: what was written together mostly arrives in one."""

HELD_BYTES = 1_048_576
"""What one way holds before it reads no more, as the buffers of routers do."""

SLICE = 0.05
"""Seconds of a limited bandwidth that one read may take at once."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing such a socket sends RST."""


@dataclass
class Pace:
    """How slowly bytes pass; shared by all connections of a proxy.

    Attributes:
        bytes_per_second: In each direction of a connection; None is without a limit.
        latency: Seconds that a byte travels.
    """

    bytes_per_second: float | None = None
    latency: float = 0.0

    @property
    def read_bytes(self) -> int:
        """The most that one read may take."""
        if self.bytes_per_second is None:
            return READ_BYTES
        return max(1, min(READ_BYTES, int(self.bytes_per_second * SLICE)))

    @property
    def held_bytes(self) -> int:
        """What one way holds at most: what travels at this pace."""
        if self.bytes_per_second is None:
            return HELD_BYTES
        return max(1, int(self.bytes_per_second * (self.latency + SLICE)))


class Way:
    """One direction: what was read from ``source`` and is not yet written to ``sink``.

    Attributes:
        reads: How often something was read.
        bytes: How much.
        ended: Whether the source has said that no more will come.
    """

    __slots__ = (
        "_free",
        "_held",
        "_link",
        "_reading",
        "_sink",
        "_size",
        "_source",
        "_timer",
        "_waits",
        "_writing",
        "bytes",
        "ended",
        "passed_end",
        "reads",
    )

    def __init__(self, link: Link, source: socket.socket, sink: socket.socket) -> None:
        self._link = link
        self._source = source
        self._sink = sink
        self._held: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._free = 0.0
        """When the bandwidth is free for the next byte."""
        self._waits = False
        """Whether the sink takes no more for now."""
        self._timer: asyncio.TimerHandle | None = None
        self._reading = False
        self._writing = False
        self.reads: int = 0
        self.bytes: int = 0
        self.ended: bool = False
        self.passed_end: bool = False

    def watch(self) -> None:
        """Ask the loop for exactly what can go on now."""
        passes, room = self._link.passes, self._size < self._link.pace.held_bytes
        self._read_when_there_is_something(passes and room and not self.ended)
        self._write_when_there_is_room(passes and self._waits)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if passes and self._held and not self._waits:
            self._timer = self._link.loop.call_at(self._held[0][0], self._pass)

    def _read_when_there_is_something(self, wanted: bool) -> None:
        if wanted and not self._reading:
            self._link.loop.add_reader(self._source, self._read)
        elif self._reading and not wanted:
            self._link.loop.remove_reader(self._source)
        self._reading = wanted

    def _write_when_there_is_room(self, wanted: bool) -> None:
        if wanted and not self._writing:
            self._link.loop.add_writer(self._sink, self._ready)
        elif self._writing and not wanted:
            self._link.loop.remove_writer(self._sink)
        self._writing = wanted

    def _read(self) -> None:
        pace, now = self._link.pace, self._link.loop.time()
        try:
            data = self._source.recv(pace.read_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._link.reset()
            return
        if data:
            self.reads += 1
            self.bytes += len(data)
            self._size += len(data)
            if pace.bytes_per_second is not None:
                self._free = max(now, self._free) + len(data) / pace.bytes_per_second
            self._held.append((max(now, self._free) + pace.latency, data))
        else:
            self.ended = True
        self._pass()

    def _ready(self) -> None:
        self._waits = False
        self._pass()

    def _pass(self) -> None:
        """Write what has travelled long enough, and the end behind the last of it."""
        now = self._link.loop.time()
        while self._held and not self._waits and self._held[0][0] <= now:
            due, data = self._held.popleft()
            try:
                sent = self._sink.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._link.reset()
                return
            self._size -= sent
            if sent < len(data):
                self._held.appendleft((due, data[sent:]))
                self._waits = True
        if self.ended and not self._held and not self.passed_end:
            self.passed_end = True
            with contextlib.suppress(OSError):  # the sink has gone already
                self._sink.shutdown(socket.SHUT_WR)
            if self._link.has_ended:
                self._link.close()
                return
        self.watch()

    def stop(self) -> None:
        """Give back what :meth:`watch` asked for."""
        self._read_when_there_is_something(False)
        self._write_when_there_is_room(False)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Link:
    """One client, its connection to the broker, and both directions.

    Attributes:
        up: From the client to the broker.
        down: From the broker to the client.
        pace: How slowly bytes pass.
        silent: Whether nothing passes, and nobody is told.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: socket.socket,
        address: Address,
        pace: Pace,
        gone: Callable[[Link], None],
        *,
        silent: bool,
    ) -> None:
        """Take over a client that was accepted; ``gone`` is called once it is over."""
        family, self._target = address
        self.loop = loop
        self.pace = pace
        self.silent = silent
        self._gone = gone
        self._client = client
        self._broker = socket.socket(family, socket.SOCK_STREAM)
        self._state: Literal["new", "connecting", "open", "closed"] = "new"
        for each in (client, self._broker):
            each.setblocking(False)
            if each.family != getattr(socket, "AF_UNIX", None):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.up: Way = Way(self, client, self._broker)
        self.down: Way = Way(self, self._broker, client)

    @property
    def passes(self) -> bool:
        """Whether bytes may move."""
        return self._state == "open" and not self.silent

    @property
    def has_ended(self) -> bool:
        """Whether both sides have heard the other's end."""
        return self.up.passed_end and self.down.passed_end

    def watch(self) -> None:
        """Go on with whatever is allowed now; connects to the broker first."""
        if self._state == "new" and not self.silent:
            self._connect()
        elif self._state == "open":
            self.up.watch()
            self.down.watch()

    def _connect(self) -> None:
        error = self._broker.connect_ex(self._target)
        if error == errno.EINPROGRESS:
            self._state = "connecting"
            self.loop.add_writer(self._broker, self._connected)
        else:
            self._opened(error)

    def _connected(self) -> None:
        self.loop.remove_writer(self._broker)
        self._opened(self._broker.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _opened(self, error: int) -> None:
        if error:
            self.reset()
            return
        self._state = "open"
        self.watch()

    def reset(self) -> None:
        """End it with RST towards both sides; what was on its way is lost."""
        if self._state != "closed":
            for each in (self._client, self._broker):
                with contextlib.suppress(OSError):  # a Unix socket knows no RST
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.close()

    def close(self) -> None:
        """End it; closing twice changes nothing."""
        if self._state == "closed":
            return
        if self._state == "connecting":
            self.loop.remove_writer(self._broker)
        self._state = "closed"
        self.up.stop()
        self.down.stop()
        self._client.close()
        self._broker.close()
        self._gone(self)
