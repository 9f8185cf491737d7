"""The one port of the fleet: deals out connections to the instances, one after another.

It reads the head of the first request of a connection and from then on only copies bytes.
WebSockets of the chat go to the next living instance; the page, and the WebSocket of its
buttons, come from the demo's own process, so that they are there when no instance is.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from demo_cluster.brokers import HOST

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Sequence

    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CONTROL = "/fleet"
"""The path of the buttons."""

HEAD_LIMIT = 32_768
HEAD_TIMEOUT = 10.0
PIECE = 65_536

NOBODY = "No instance lives. The page has a button that starts one.\n"
TOO_LONG = "The head of this request is too long.\n"


class Front:
    """A listener; ``listening()`` opens and closes it."""

    def __init__(self, living: Callable[[], Sequence[int]], control: int) -> None:
        """``living()`` are the instances' ports now, ``control`` that of the page."""
        self._living = living
        self._control = control
        self._turn = 0
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, at: socket.socket) -> AsyncIterator[None]:
        """Take the connections that come there; afterwards none is open."""
        server = await asyncio.start_server(self._take, sock=at, limit=HEAD_LIMIT)
        try:
            yield
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="a connection of the front")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
            there = await (self._next() if for_an_instance(head) else connect(self._control))
            if there is None:
                await refuse(writer, "503 Service Unavailable", NOBODY)
                return
            for _, side in ((reader, writer), there):
                # Drained is what the system has: the end of a copy throws the rest away.
                side.transport.set_write_buffer_limits(0)
            there[1].write(head)
            await copy_both_ways((reader, writer), there)
        except asyncio.LimitOverrunError:
            await refuse(writer, "431 Request Header Fields Too Large", TOO_LONG)
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            """Whoever came has gone, or said nothing."""
        finally:
            writer.transport.abort()

    async def _next(self) -> Streams | None:
        """A connection to the instance whose turn it is; one that has just died is passed over."""
        ports = self._living()
        for _ in ports:
            port = ports[self._turn % len(ports)]
            self._turn += 1
            if streams := await connect(port):
                return streams
        return None


def for_an_instance(head: bytes) -> bool:
    """Whether a request, by its head, opens a WebSocket of the chat."""
    request, *fields = head.decode("latin-1").split("\r\n")
    path = request.split(" ")[1:2]
    names = [[part.strip().lower() for part in field.split(":", 1)] for field in fields]
    return ["upgrade", "websocket"] in names and path != [CONTROL]


async def connect(port: int) -> Streams | None:
    """Streams to a port of this machine; None if nobody is there."""
    with contextlib.suppress(OSError):
        return await asyncio.open_connection(HOST, port)
    return None


async def copy_both_ways(client: Streams, there: Streams) -> None:
    """Until the other side has ended; what it said reaches the client before its end does."""
    asking = asyncio.create_task(copy(client[0], there[1]), name="what a client says")
    try:
        await copy(there[0], client[1])
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        there[1].transport.abort()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on, no faster than it is taken, and then the end; a break is one on both sides."""
    try:
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:  # which a socket that has gone is, not only a ConnectionError
        writer.transport.abort()


async def refuse(writer: asyncio.StreamWriter, status: str, why: str) -> None:
    """Answer, and end the connection."""
    lines = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(why)}",
        *("Retry-After: 1", "Connection: close", "", why),
    )
    writer.write("\r\n".join(lines).encode())
    writer.close()
    await writer.wait_closed()
