"""The pipe in memory calls its protocols as the transport of a real socket does.

Each script runs twice, over a real pair of sockets and over a pipe, and both have to call
the two protocols alike, in the same order. How the bytes are cut is left to each.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, cast

import pytest

from tests.deadlines import DEADLINE
from wsrooms.testing.clients.pipes import Pipe, PipeTransport

MUCH = b"x" * 8_000_000
"""More than any pair of sockets has room for."""


class Recording(asyncio.BaseProtocol):
    """Notes how it is called; ``eof`` is what it answers to the end of the other side."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.received = 0
        self.eof = False
        self.heir: Recording | None = None
        self.on_data: Callable[[], None] = lambda: None
        self.transport = cast("asyncio.Transport", None)
        self._changed = asyncio.Event()

    def note(self, call: str) -> None:
        self.calls.append(call)
        self._changed.set()

    async def until(self, ready: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not ready():
                self._changed.clear()
                await self._changed.wait()

    async def called(self, call: str) -> None:
        """Wait until it was called so."""
        await self.until(lambda: call in self.calls)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.note("made")

    def took(self, size: int) -> None:
        self.received += size
        if self.calls[-1] == "data":
            self._changed.set()
        else:
            self.note("data")
        self.on_data()

    def eof_received(self) -> bool:
        self.note("eof")
        return self.eof

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.note(f"lost: {type(exc).__name__}")


class Plain(Recording, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.took(len(data))


class Buffered(Recording, asyncio.BufferedProtocol):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(65_536)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.took(nbytes)


Script = Callable[[Recording, Recording], Awaitable[None]]
Family = Literal["tcp", "unix"]
LOST = "lost: NoneType"


def reset(end: Recording) -> None:
    """Leave as a process that is killed with unread bytes, or a firewall, does."""
    if isinstance(end.transport, PipeTransport):
        end.transport.reset()
        return
    sock = end.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()


async def a_few_bytes_each_way(client: Recording, server: Recording) -> None:
    client.transport.write(b"question")
    await server.until(lambda: server.received == 8)
    server.transport.writelines([b"ans", memoryview(b"wer")])
    await client.until(lambda: client.received == 6)
    client.transport.close()
    client.note(f"closing: {client.transport.is_closing()}")
    await server.called(LOST)


async def close_flushes(client: Recording, server: Recording) -> None:
    server.transport.write(MUCH)
    server.note("written")
    server.transport.close()
    server.note("closed")
    await client.called(LOST)
    client.note(str(client.received == len(MUCH)))
    await server.called(LOST)


async def abort_drops(client: Recording, server: Recording) -> None:
    client.transport.pause_reading()
    server.transport.write(MUCH)
    server.transport.abort()
    server.note(f"left: {server.transport.get_write_buffer_size()}")
    server.transport.write(b"ignored")
    await server.called(LOST)
    client.transport.resume_reading()
    await client.called(LOST)
    client.note(str(0 < client.received < len(MUCH)))


async def the_end_of_one_side_ends_both(client: Recording, server: Recording) -> None:
    client.transport.write(b"last")
    client.transport.write_eof()
    with pytest.raises(RuntimeError):
        client.transport.write(b"more")
    await server.called(LOST)
    await client.called(LOST)


async def one_side_may_end_alone(client: Recording, server: Recording) -> None:
    server.eof = True
    client.transport.write_eof()
    await server.called("eof")
    server.transport.write(b"still here")
    await client.until(lambda: client.received == 10)
    server.transport.close()
    await client.called(LOST)


async def write_eof_waits_for_what_was_written(client: Recording, server: Recording) -> None:
    server.eof = True
    client.transport.write(MUCH)
    client.transport.write_eof()
    await server.called("eof")
    server.note(str(server.received == len(MUCH)))
    server.transport.close()
    await client.called(LOST)


async def a_slow_reader_pauses_the_writer(client: Recording, server: Recording) -> None:
    client.transport.pause_reading()
    client.transport.pause_reading()
    server.transport.write(MUCH)
    server.note("written")
    client.note(f"reading: {client.transport.is_reading()}")
    server.transport.write(b"more")
    client.transport.resume_reading()
    await server.called("resume")
    await client.until(lambda: client.received == len(MUCH) + 4)
    client.transport.close()
    await server.called(LOST)


async def limits_say_when_to_pause(client: Recording, server: Recording) -> None:
    client.transport.pause_reading()
    server.transport.set_write_buffer_limits(high=len(MUCH))
    server.transport.write(MUCH)
    server.note(f"low: {server.transport.get_write_buffer_limits()[0]}")
    server.transport.set_write_buffer_limits(high=0)
    server.note("set")
    client.transport.resume_reading()
    await server.called("resume")
    server.note(f"left: {server.transport.get_write_buffer_size()}")
    server.transport.close()
    await client.called(LOST)


async def a_reset_is_an_error(client: Recording, server: Recording) -> None:
    reset(client)
    await server.called("lost: ConnectionResetError")


async def what_came_before_a_reset_is_read(client: Recording, server: Recording) -> None:
    client.transport.write(b"hello")
    reset(client)
    await server.called("lost: ConnectionResetError")


async def who_does_not_read_meets_a_reset_when_it_writes(
    client: Recording, server: Recording
) -> None:
    server.transport.pause_reading()
    reset(client)
    await client.called(LOST)
    server.transport.write(b"hello?")
    await server.called("lost: ConnectionResetError")


async def close_with_unread_bytes_is_a_reset(client: Recording, server: Recording) -> None:
    client.transport.pause_reading()
    server.transport.write(b"never read")
    client.transport.close()
    await server.called("lost: ConnectionResetError")


async def pausing_holds_back_what_has_come(client: Recording, server: Recording) -> None:
    server.on_data = lambda: server.transport.pause_reading()
    client.transport.write(MUCH)
    await server.called("data")
    first = server.received
    for _ in range(20):
        await asyncio.sleep(0)
    server.note(str(server.received == first))
    server.on_data = lambda: None
    server.transport.resume_reading()
    await server.until(lambda: server.received == len(MUCH))
    server.transport.abort()
    await client.called(LOST)


async def an_end_is_not_seen_while_paused(client: Recording, server: Recording) -> None:
    server.transport.pause_reading()
    client.transport.close()
    await client.called(LOST)
    server.note("resume")
    server.transport.resume_reading()
    await server.called(LOST)


async def the_end_comes_once(client: Recording, server: Recording) -> None:
    server.transport.close()
    server.transport.close()
    server.transport.abort()
    server.transport.pause_reading()
    server.transport.resume_reading()
    server.note("returned")
    await server.called(LOST)
    await client.called(LOST)


async def close_then_abort_drops_the_rest(client: Recording, server: Recording) -> None:
    client.transport.pause_reading()
    server.transport.write(MUCH)
    server.transport.close()
    server.transport.abort()
    await server.called(LOST)
    client.transport.resume_reading()
    await client.called(LOST)
    client.note(str(client.received < len(MUCH)))


async def a_protocol_that_fails_is_cut_off(client: Recording, server: Recording) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    server.on_data = fail
    client.transport.write(b"boom")
    await server.called("lost: ZeroDivisionError")
    await client.called(LOST)


async def wrong_types_are_refused(client: Recording, server: Recording) -> None:
    with pytest.raises(TypeError):
        client.transport.write(cast("bytes", "text"))
    client.transport.write(b"")
    client.transport.set_write_buffer_limits(low=10)
    client.note(str(client.transport.get_write_buffer_limits()))
    with pytest.raises(ValueError):
        client.transport.set_write_buffer_limits(high=1, low=2)
    client.note(str(client.transport.can_write_eof()))
    client.transport.close()
    await server.called(LOST)


async def a_protocol_can_be_exchanged(client: Recording, server: Recording) -> None:
    other = type(server)()
    other.note("exchanged")
    other.transport = server.transport
    server.transport.set_protocol(other)
    server.heir = other
    assert server.transport.get_protocol() is other
    client.transport.write(b"for the other")
    await other.until(lambda: other.received == 13)
    client.transport.close()
    await other.called(LOST)
    server.calls += other.calls


SCRIPTS: list[Script] = [
    a_few_bytes_each_way,
    close_flushes,
    abort_drops,
    the_end_of_one_side_ends_both,
    one_side_may_end_alone,
    write_eof_waits_for_what_was_written,
    a_slow_reader_pauses_the_writer,
    limits_say_when_to_pause,
    a_reset_is_an_error,
    what_came_before_a_reset_is_read,
    who_does_not_read_meets_a_reset_when_it_writes,
    close_with_unread_bytes_is_a_reset,
    pausing_holds_back_what_has_come,
    an_end_is_not_seen_while_paused,
    the_end_comes_once,
    close_then_abort_drops_the_rest,
    a_protocol_that_fails_is_cut_off,
    wrong_types_are_refused,
    a_protocol_can_be_exchanged,
]


def protocol(end: Recording) -> Recording:
    return end


async def over_sockets(client: Recording, server: Recording) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        other, _ = listening.accept()
    for end, sock in ((client, one), (server, other)):
        await loop.connect_accepted_socket(partial(protocol, end), sock)


async def over_a_pipe(client: Recording, server: Recording) -> None:
    Pipe(client, server)
    await client.called("made")
    await server.called("made")


async def play(
    script: Script,
    connect: Callable[[Recording, Recording], Awaitable[None]],
    kind: type[Recording],
) -> dict[str, list[str]]:
    """Run a script; returns how the two protocols were called."""
    client, server = Plain(), kind()
    await connect(client, server)
    try:
        await script(client, server)
    finally:
        for end in (client, server):
            owner = end if end.heir is None else end.heir
            if not lost(owner):
                end.transport.abort()
                await owner.until(partial(lost, owner))
    return {"client": client.calls, "server": server.calls}


def lost(end: Recording) -> bool:
    return any(call.startswith("lost") for call in end.calls)


@pytest.mark.parametrize("kind", [Plain, Buffered])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
async def test_a_pipe_calls_its_protocols_as_a_socket_does(
    script: Script, kind: type[Recording]
) -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, told: complaints.append(told["message"]))
    real = await play(script, over_sockets, kind)
    complained, complaints[:] = len(complaints), []
    piped = await play(script, over_a_pipe, kind)
    assert piped == real
    assert len(complaints) == complained
