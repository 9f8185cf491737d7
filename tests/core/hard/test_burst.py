"""Ten thousand frames in one write: the loop goes on turning, nobody is closed, nobody waits.

The length of a turn is the CPU time of the loop's thread between two runs of a callback
that puts itself in the next turn, so a machine that is busy elsewhere fails nothing.

Why the bound holds: a turn handles at most 64 messages or 5 ms of one connection, plus the
message at which the time is noticed, and then writes for at most 5 ms, plus the 63 writes
until the clock is looked at again. That is some 12 ms on a slow machine; 20 are promised.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE, promised
from wsrooms import WsApp, use_ws_message, use_ws_rooms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wsrooms import WsAddress

pytestmark = [pytest.mark.every_loop, pytest.mark.usefixtures("without_garbage")]

FRAMES = 10_000

PING, PONG = 9, 10

TURN = promised(0.020)
"""Seconds of CPU that no turn may take."""

A_FEW_TURNS = 4
"""Turns until a request of somebody else is answered: it is read in the next one, handled,
its reply written at the end of that one or the next, and seen in the one after."""

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A client's frame; the mask is zero, so the payload is as it was."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BBI", 0x80 | opcode, 0x80 | size, 0) + payload
    return struct.pack("!BBHI", 0x80 | opcode, 0x80 | 126, size, 0) + payload


def server_frame(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload


def message(event: str, number: int | None = None, **more: object) -> bytes:
    data = {} if number is None else {"data": number}
    return frame(json.dumps({"event": event, "path": "/", **data, **more}).encode())


class Clients(threading.Thread):
    """Clients in a thread of their own, which read as fast as they can and keep every byte."""

    def __init__(self, address: WsAddress, count: int) -> None:
        super().__init__(name="clients", daemon=True)
        self._selector = selectors.DefaultSelector()
        self.sockets: list[socket.socket] = []
        self.received: dict[socket.socket, bytearray] = {}
        self.ended = 0
        self._address = address
        self._count = count
        self._over = False

    def connect(self) -> None:
        for _ in range(self._count):
            sock = socket.create_connection((self._address.host, self._address.port), DEADLINE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(UPGRADE)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            assert head.startswith(b"HTTP/1.1 101 ")
            self.sockets.append(sock)
            self.received[sock] = bytearray()
            self._selector.register(sock, selectors.EVENT_READ)

    def start_reading(self, all_but: socket.socket) -> None:
        self._selector.unregister(all_but)
        all_but.setblocking(False)
        self.start()

    def send(self, sock: socket.socket, data: bytes) -> None:
        """All in one call, which waits while the server does not read."""
        sock.sendall(data)

    def have(self, wanted: Mapping[socket.socket, bytes]) -> bool:
        """Whether each has received as much as that."""
        return all(len(self.received[sock]) >= len(data) for sock, data in wanted.items())

    def run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(0.05):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                try:
                    data = sock.recv(1 << 20)
                except ConnectionError:
                    data = b""
                if data:
                    self.received[sock] += data
                else:
                    self.ended += 1
                    self._selector.unregister(sock)

    def stop(self) -> None:
        self._over = True
        if self.is_alive():
            self.join()
        self._selector.close()
        for sock in self.sockets:
            sock.close()


class Turns:
    """Measures each turn of the loop, and meanwhile asks one thing after another as a client."""

    def __init__(self, other: socket.socket) -> None:
        self.loop = asyncio.get_running_loop()
        self.cpu: list[float] = []
        self.delays: list[int] = []
        """Turns from each request of the other client to its reply."""
        self.replies = b""
        self._other = other
        self._asked_at: int | None = None
        self._until: Callable[[], bool] = lambda: False
        self._done: asyncio.Future[None] = self.loop.create_future()

    async def measured_until(self, condition: Callable[[], bool]) -> None:
        self._until = condition
        self._last = time.thread_time()
        self.loop.call_soon(self._tick)
        async with asyncio.timeout(DEADLINE):
            await self._done

    def _tick(self) -> None:
        now = time.thread_time()
        self.cpu.append(now - self._last)
        self._last = now
        if self._until():
            self._done.set_result(None)
            return
        self._ask(self._other)
        self.loop.call_soon(self._tick)

    def _ask(self, other: socket.socket) -> None:
        turn = len(self.cpu)
        if self._asked_at is None:
            other.send(message("other", id=1))
            self._asked_at = turn
            return
        try:
            self.replies += other.recv(4096)
        except BlockingIOError:
            return
        self.delays.append(turn - self._asked_at)
        self._asked_at = None


async def burst(
    app: WsApp, members: int, data: bytes, *, pushes: bytes = b"", replies: bytes = b""
) -> Turns:
    """One client sends ``data``: it must receive the replies, and each member the pushes."""
    async with app.serving() as address:
        clients = Clients(address, members + 2)
        await asyncio.to_thread(clients.connect)
        sender, other, *readers = clients.sockets
        try:
            for member in readers:
                member.sendall(message("join"))
            async with asyncio.timeout(DEADLINE):
                while len(app.room("/")) < members:  # noqa: ASYNC110 - turns are waited for
                    await asyncio.sleep(0)
            clients.start_reading(all_but=other)
            turns = Turns(other)
            sending = asyncio.ensure_future(asyncio.to_thread(clients.send, sender, data))
            wanted = {sender: replies} | dict.fromkeys(readers, pushes)
            await turns.measured_until(
                lambda: (
                    all(len(clients.received[sock]) >= len(given) for sock, given in wanted.items())
                    or clients.ended > 0
                )
            )
            await sending
            assert clients.ended == 0, "nobody was closed"
            for sock, given in wanted.items():  # to the byte, so in order and nothing twice
                assert bytes(clients.received[sock]) == given
            assert app.stats()["slow_clients"] == 0
            assert app.stats()["connections"] == members + 2
        finally:
            await asyncio.to_thread(clients.stop)
    return turns


def check(turns: Turns, turns_at_least: int = FRAMES // 128) -> None:
    assert max(turns.cpu) < TURN
    assert len(turns.cpu) >= turns_at_least
    assert len(turns.delays) > 10, "another client was served meanwhile"
    assert max(turns.delays) <= A_FEW_TURNS
    assert turns.replies == server_frame(b'{"id":1,"data":"here"}') * len(turns.delays)


def app_for_bursts() -> WsApp:
    """An app that sends nothing by itself: a ping would be one frame more."""
    app = WsApp(heartbeat_interval=None)

    @app.on_message("join", "/")
    def join() -> None:
        use_ws_rooms().join()

    @app.on_message("say", "/")
    def say() -> None:
        app.room("/").broadcast("said", use_ws_message().data)

    @app.on_message("ask", "/")
    def ask() -> object:
        return use_ws_message().data

    @app.on_message("ask async", "/")
    async def ask_async() -> object:
        return use_ws_message().data

    app.on_message("other", "/", lambda: "here")
    return app


@pytest.mark.parametrize("event", ["ask", "ask async"])
async def test_a_burst_of_requests_is_answered_in_order_while_the_loop_turns(event: str) -> None:
    count = FRAMES if event == "ask" else FRAMES // 4  # each of those takes two turns by itself

    def write_down() -> tuple[bytes, bytes]:
        requests = b"".join(message(event, number, id=number) for number in range(count))
        replies = b"".join(
            server_frame(b'{"id":%d,"data":%d}' % (number, number)) for number in range(count)
        )
        return requests, replies

    # In a thread: on a busy machine it takes longer than a test may keep its loop.
    requests, replies = await asyncio.to_thread(write_down)
    check(await burst(app_for_bursts(), 0, requests, replies=replies))


async def test_a_burst_of_requests_that_cost_a_millisecond_each_leaves_the_others_their_turn() -> (
    None
):
    app = app_for_bursts()

    @app.on_message("work", "/")
    def work() -> None:
        until = time.thread_time() + 0.001
        while time.thread_time() < until:
            pass

    data = b"".join(message("work", id=number) for number in range(500))
    replies = b"".join(server_frame(b'{"id":%d,"data":null}' % number) for number in range(500))
    check(await burst(app, 0, data, replies=replies), turns_at_least=500 // 12)


async def test_a_burst_of_broadcasts_reaches_every_member_in_order_while_the_loop_turns() -> None:
    messages = b"".join(message("say", number) for number in range(FRAMES))
    pushes = b"".join(
        server_frame(b'{"event":"said","path":"/","data":%d}' % number) for number in range(FRAMES)
    )
    check(await burst(app_for_bursts(), 40, messages, pushes=pushes))


async def test_a_burst_of_pings_is_answered_in_order_while_the_loop_turns() -> None:
    pings = b"".join(frame(b"%d" % number, PING) for number in range(FRAMES))
    pongs = b"".join(server_frame(b"%d" % number, PONG) for number in range(FRAMES))
    check(await burst(app_for_bursts(), 0, pings, replies=pongs))


async def test_a_burst_of_what_is_no_message_costs_its_sender_alone() -> None:
    app = app_for_bursts()
    garbage = frame(b"{") * FRAMES + frame(b"end", PING)
    check(await burst(app, 0, garbage, replies=server_frame(b"end", PONG)))
    assert app.stats()["dropped_json"] == FRAMES
