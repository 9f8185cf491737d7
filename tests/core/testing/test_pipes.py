"""What the pipe in memory does beside imitating a socket: bounds, delays, and faults."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, cast

from wsrooms.testing import run
from wsrooms.testing.clients.pipes import SOCKET_BYTES, Pipe, PipeTransport

if TYPE_CHECKING:
    import pytest


class End(asyncio.Protocol):
    """Notes what arrives, and when."""

    def __init__(self) -> None:
        self.arrived: list[tuple[float, bytes]] = []
        self.ended = False
        self.paused = False
        self.lost = asyncio.Event()
        self.seen: object = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.arrived.append((asyncio.get_running_loop().time(), data))
        self.seen = LEAK.get(None)

    def eof_received(self) -> None:
        self.ended = True

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.arrived)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def moves(end: PipeTransport) -> bool:
    return end.in_flight


LEAK: contextvars.ContextVar[str] = contextvars.ContextVar("leak")


async def test_each_way_holds_what_it_is_told_to_and_the_rest_waits_with_the_writer() -> None:
    client, server = End(), End()
    pipe = Pipe(client, server, socket_bytes=1000)
    await asyncio.sleep(0)
    pipe.server.pause_reading()
    pipe.client.write(b"x" * 5000)
    assert pipe.client.get_write_buffer_size() == 4000
    pipe.server.resume_reading()
    await turns(20)
    assert len(server.data) == 5000
    assert pipe.client.get_write_buffer_size() == 0
    pipe.client.abort()
    await server.lost.wait()


async def test_of_a_cut_pipe_neither_side_hears_anything_again() -> None:
    client, server = End(), End()
    pipe = Pipe(client, server)
    await asyncio.sleep(0)
    pipe.cut()
    pipe.client.write(b"hello?")
    await turns(10)
    assert server.data == b""
    pipe.client.abort()
    await client.lost.wait()
    await turns(10)
    assert (server.ended, server.lost.is_set()) == (False, False)
    pipe.server.write(b"x" * (SOCKET_BYTES + 100_000))
    assert server.paused, "the buffers of a cut line fill up"
    pipe.server.abort()
    await server.lost.wait()


async def test_what_had_arrived_before_the_cut_is_read() -> None:
    client, server = End(), End()
    pipe = Pipe(client, server)
    await asyncio.sleep(0)
    pipe.client.write(b"just in time")
    pipe.cut()
    await turns(3)
    assert server.data == b"just in time"
    pipe.client.abort()
    pipe.server.abort()
    await server.lost.wait()


def test_bytes_travel_as_long_as_they_are_told_and_nothing_overtakes() -> None:
    delays = iter([0.5, 0.1, 3.0, 0.0, 0.0])

    async def main() -> None:
        client, server = End(), End()
        pipe = Pipe(client, server, latency=lambda: next(delays))
        await asyncio.sleep(0)
        for part in (b"a", b"b"):
            pipe.client.write(part)
        await asyncio.sleep(1)
        pipe.client.write(b"c")
        pipe.client.close()
        await server.lost.wait()
        assert server.arrived == [(0.5, b"ab"), (4.0, b"c")]
        await client.lost.wait()

    run(main())


def test_what_travels_when_the_pipe_is_cut_does_not_arrive() -> None:
    async def main() -> None:
        client, server = End(), End()
        pipe = Pipe(client, server, latency=1.0)
        await asyncio.sleep(0)
        pipe.client.write(b"lost")
        pipe.cut()
        await asyncio.sleep(10)
        assert server.data == b""
        pipe.server.abort()
        pipe.client.abort()
        await client.lost.wait()

    run(main())


async def test_each_end_is_called_in_its_own_context_whoever_writes() -> None:
    client, server = End(), End()
    pipe = Pipe(client, server)
    await asyncio.sleep(0)
    LEAK.set("of the test")
    pipe.client.write(b"x")
    await turns(5)
    assert (server.data, server.seen) == (b"x", None)
    pipe.client.abort()
    await server.lost.wait()


async def test_it_tells_whether_anything_still_moves() -> None:
    client, server = End(), End()
    pipe = Pipe(client, server)
    assert moves(pipe.client), "connection_made has not been called"
    await turns(2)
    assert not moves(pipe.client)
    pipe.client.write(b"x")
    assert moves(pipe.server)
    pipe.server.pause_reading()
    assert not moves(pipe.server), "without help this stays where it is"
    pipe.server.resume_reading()
    await asyncio.sleep(0)
    assert not moves(pipe.server)
    pipe.client.abort()
    await server.lost.wait()


async def test_it_knows_the_addresses_of_both_ends() -> None:
    pipe = Pipe(End(), End(), peername=("203.0.113.9", 4000))
    assert pipe.server.get_extra_info("peername") == ("203.0.113.9", 4000)
    assert pipe.client.get_extra_info("sockname") == ("203.0.113.9", 4000)
    assert pipe.server.get_extra_info("socket") is None
    assert "open" in repr(pipe.server)
    await asyncio.sleep(0)
    pipe.server.abort()
    await asyncio.sleep(0)
    assert "gone" in repr(pipe.server)
    pipe.client.abort()


async def test_a_fifth_write_to_a_lost_connection_is_complained_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, server = End(), End()
    pipe = Pipe(client, server)
    await asyncio.sleep(0)
    pipe.client.abort()
    await client.lost.wait()
    for _ in range(6):
        pipe.client.write(b"x")
    assert "socket.send() raised exception" in caplog.text
    await server.lost.wait()
