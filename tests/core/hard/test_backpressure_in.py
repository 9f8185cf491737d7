"""A client that sends faster than its handlers work: what the server holds of it, and what not.

What the server holds is counted from outside: the kernel says how many bytes of a
connection it has received and how many of these nobody has read yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import struct
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE, promised
from wsrooms import WsApp, WsLimits, use_ws_message, use_ws_rooms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]
    ServerReads = Callable[[Any], Callable[[], int]]

pytestmark = pytest.mark.every_loop

ONE_READ = 262_144
"""What one read brings at most, on either loop."""

BYTES_RECEIVED = 128
"""Where Linux's struct tcp_info has tcpi_bytes_received."""

FIRST = 100_000
"""The first number, so that all have the same length."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was received")


@pytest.fixture
def server_reads() -> Iterator[ServerReads]:
    """Give what makes, for a client, the count of its bytes that the server has read.

    The server is in this process, so its end of the socket is one of our descriptors.
    """
    mine: list[socket.socket] = []

    def find(client: Any) -> Callable[[], int]:
        import fcntl
        import termios

        of_client = client.transport.get_extra_info
        (end,) = ends_of(of_client("sockname"), of_client("peername"))
        mine.append(end)

        def count() -> int:
            info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            received: int = struct.unpack_from("Q", info, BYTES_RECEIVED)[0]
            unread: int = struct.unpack("i", fcntl.ioctl(end, termios.FIONREAD, b"\0" * 4))[0]
            return received - unread

        return count

    yield find
    for end in mine:
        end.close()


def ends_of(address: object, server: object) -> list[socket.socket]:
    """Our descriptors, duplicated, of a server's sockets whose other end has this address."""
    found: list[socket.socket] = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile, or it has no other end
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as copy:
                if copy.family != socket.AF_INET or copy.getsockname() != server:
                    continue  # which another server's client had before
                if copy.getpeername() == address:
                    found.append(copy.dup())
    return found


class SlowApp:
    """An app whose async handler waits for a permit each time; what came and went is counted."""

    def __init__(self, **options: Any) -> None:
        # Without a heartbeat, if not told otherwise: a raw client gets no ping between.
        given: dict[str, Any] = {"heartbeat_interval": None} | options
        self.app = WsApp(shutdown_timeout=0.5, **given)
        self.permits = asyncio.Semaphore(0)
        self.started: list[int] = []
        self.finished = 0
        self.at_once = 0
        self.others = 0
        """Messages that were no concern of the slow handler."""
        self.app.on_message("slow", "/", self._slow)
        self.app.on_message("fast", "/", self._fast)

    async def _slow(self) -> int:
        number: int = use_ws_message().data["number"]
        self.started.append(number)
        self.at_once = max(self.at_once, len(self.started) - self.finished)
        await self.permits.acquire()
        self.finished += 1
        return number

    def _fast(self) -> str:
        self.others += 1
        return "fast"

    @property
    def in_flight(self) -> int:
        """Messages that were received and whose handler has not ended."""
        return self.app.stats()["messages_in"] - self.others - self.finished

    def has_started(self, count: int) -> Callable[[], bool]:
        return lambda: len(self.started) == count

    def release_all(self) -> None:
        for _ in range(10_000):
            self.permits.release()


def messages(event: str, count: int, size: int, path: str = "/") -> list[str]:
    """Numbered messages of one length; the number is also the id."""
    data = {"padding": "a" * size}
    return [
        json.dumps(
            {
                "event": event,
                "path": path.format(number),
                "id": FIRST + number,
                "data": data | {"number": FIRST + number},
            }
        )
        for number in range(count)
    ]


def wire_size(texts: list[str]) -> int:
    """The bytes of one of them as a client's frame."""
    return len(texts[0]) + (8 if len(texts[0]) < 65_536 else 14)


async def replies(peer: Any, count: int) -> list[int]:
    """The ids of all replies in the order in which they came, once there are ``count``."""
    async with asyncio.timeout(DEADLINE):
        while len(peer.received) < count:
            peer._news.clear()
            await peer._news.wait()
    await peer.settled()  # one more than there should be would be here by now
    assert all("data" in message for message in peer.received), "none of them is an error"
    return [message["id"] for message in peer.received]


@linux
@pytest.mark.parametrize("waiting_messages", [1, 16])
@pytest.mark.parametrize("concurrent", [1, 4])
@pytest.mark.parametrize(("count", "size"), [(2000, 300), (400, 8_000), (40, 300_000)])
async def test_the_server_holds_one_read_and_the_waiting_messages_of_a_client_and_no_more(
    count: int,
    size: int,
    concurrent: int,
    waiting_messages: int,
    connect: Connect,
    eventually: Eventually,
    server_reads: ServerReads,
) -> None:
    limits = WsLimits(waiting_messages=waiting_messages)
    slow = SlowApp(limits=limits, max_concurrent_messages=concurrent)
    texts = messages("slow", count, size)
    frame = wire_size(texts)
    in_flight = waiting_messages + concurrent
    async with slow.app.serving() as address:
        peer, other = await connect(address), await connect(address)
        read = server_reads(peer)
        before = read()
        peer.send_text(*texts)
        for step in range(10):
            await eventually(slow.has_started(step + concurrent))
            assert await other.call("fast", "/") == "fast"
            assert read() - before - slow.finished * frame <= ONE_READ + in_flight * frame
            assert slow.in_flight <= in_flight
            slow.permits.release()
        assert read() - before < count * frame, "the rest is in the kernel"
        slow.release_all()
        got = await replies(peer, count)
        assert slow.at_once == concurrent
        assert slow.started == [FIRST + number for number in range(count)]
        if concurrent == 1:
            assert got == slow.started
        else:
            assert sorted(got) == slow.started


@linux
async def test_what_comes_while_on_connect_runs_is_bounded_likewise(
    connect: Connect, server_reads: ServerReads
) -> None:
    app = WsApp(shutdown_timeout=0.5)
    opened, entered = asyncio.Event(), asyncio.Event()
    handled: list[int] = []

    @app.on_connect
    async def on_connect() -> None:
        entered.set()
        await opened.wait()

    @app.on_message("note", "/")
    def note() -> None:
        handled.append(use_ws_message().data["number"])

    texts = messages("note", 400, 8_000)
    frame = wire_size(texts)
    async with app.serving() as address:
        peer = await connect(address)
        await entered.wait()
        read = server_reads(peer)
        before = read()
        peer.send_text(*texts)
        async with connect_twice(connect, address):
            assert read() - before <= ONE_READ + 16 * frame
            assert 0 < app.stats()["messages_in"] <= 16
            assert handled == []
        opened.set()
        assert await replies(peer, 400) == handled == [FIRST + number for number in range(400)]


@contextlib.asynccontextmanager
async def connect_twice(connect: Connect, address: Any) -> AsyncIterator[None]:
    """Two clients come after another: what was sent before has long arrived."""
    for _ in range(2):
        await connect(address)
    yield


@linux
@pytest.mark.parametrize("has_id", [True, False], ids=["request", "message"])
async def test_replies_that_wait_for_their_joins_count_as_waiting_messages(
    has_id: bool, connect: Connect, eventually: Eventually, server_reads: ServerReads
) -> None:
    bus = SlowBus()
    app = WsApp(broadcast_transport=bus, shutdown_timeout=0.5)
    handled: list[int] = []

    @app.on_message("join", "/:room")
    def join() -> str:
        handled.append(use_ws_message().data["number"])
        use_ws_rooms().join()
        return "joined"

    texts = messages("join", 300, 8_000, "/{}")
    if not has_id:
        texts = [text.replace('"id"', '"no"') for text in texts]
    frame = wire_size(texts)
    async with app.serving() as address:
        peer, other = await connect(address), await connect(address)
        bus.confirms.clear()
        read = server_reads(peer)
        before = read()
        peer.send_text(*texts)
        await eventually(lambda: len(handled) == 16)
        for _ in range(3):
            await other.settled()
        assert len(handled) == 16
        assert app.stats()["joins_pending"] == 16
        assert peer.received == []
        assert read() - before <= ONE_READ + 16 * frame
        bus.confirms.set()
        if has_id:
            assert await replies(peer, 300) == [FIRST + number for number in range(300)]
        await peer.settled()
        assert handled == [FIRST + number for number in range(300)]
        assert app.stats()["joins_pending"] == 0


class SlowBus:
    """A transport that confirms a subscribe when it is told to."""

    def __init__(self) -> None:
        self.confirms = asyncio.Event()
        self.confirms.set()

    async def publish(self, channel: str, payload: str) -> None:
        pass

    async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        await self.confirms.wait()

    async def unsubscribe(self, channel: str) -> None:
        pass


async def test_the_heartbeat_leaves_a_client_alone_whose_socket_waits_for_its_handler(
    connect: Connect, raw_client: Callable[..., Any]
) -> None:
    slow = SlowApp(heartbeat_interval=0.1, heartbeat_timeout=promised(2.0))
    texts = messages("slow", 100, 8_000)
    async with slow.app.serving() as address:
        peer = await connect(address)
        peer.send_text(*texts)  # what it answers to a ping stays behind these
        for _ in range(2):
            # One that says nothing shows that pings go out and that their time runs.
            async with raw_client(address) as silent:
                while (frame := await silent.receive()).opcode == silent.PING:
                    pass
                assert frame.payload[:2] == (1011).to_bytes(2, "big")
        assert slow.app.stats()["heartbeat_timeouts"] == 2
        assert len(slow.started) == 1
        assert slow.in_flight == 17
        slow.release_all()
        assert await replies(peer, 100) == [FIRST + number for number in range(100)]
        assert slow.app.stats()["heartbeat_timeouts"] == 2
        # Read again, it is asked again, and one that then says nothing is ended.
        peer.transport.pause_reading()
        async with asyncio.timeout(DEADLINE):
            while slow.app.stats()["heartbeat_timeouts"] == 2:  # noqa: ASYNC110 - a counter
                await asyncio.sleep(0.01)
        peer.transport.resume_reading()
        assert await peer.ended() == (1011, "no answer to a ping")


async def test_a_request_behind_a_slow_handler_waits_and_its_ping_is_answered_in_its_place(
    raw_client: Callable[..., Any], eventually: Eventually
) -> None:
    slow = SlowApp(limits=WsLimits(waiting_messages=2))
    texts = messages("slow", 6, 10)
    async with slow.app.serving() as address, raw_client(address) as client:
        for number, text in enumerate(texts):
            await client.write(client.frame(text), client.frame(b"%d" % number, client.PING))
        await eventually(lambda: slow.in_flight == 3)
        seen: list[str | int] = []
        for _ in range(12):
            if slow.permits.locked():
                slow.permits.release()
            frame = await client.receive()
            if frame.opcode == client.PONG:
                seen.append(frame.payload.decode())
            else:
                seen.append(json.loads(frame.payload)["id"] - FIRST)
        assert [one for one in seen if isinstance(one, str)] == list("012345")
        assert [one for one in seen if isinstance(one, int)] == [0, 1, 2, 3, 4, 5]
