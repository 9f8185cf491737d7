"""Tests of what clients, clocks and loops can do to an app: asyncio's loop, and uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest

from wsrooms import use_ws_rooms

if TYPE_CHECKING:
    from wsrooms import WsAddress, WsApp

    Eventually = Callable[[Callable[[], object]], Awaitable[None]]  # a fixture of conftest.py

CROWD = 50
"""Connections that are made at a time; more would not fit into the listener's queue."""

SETTLED = 32
"""Turns of the loop after which all that was begun has ended."""

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what is marked ``every_loop`` on each loop there is, the rest on asyncio's own."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "asyncio": asyncio.new_event_loop
    }
    if item.get_closest_marker("every_loop"):
        with contextlib.suppress(ImportError):  # there is none for Windows
            import uvloop

            factories["uvloop"] = uvloop.new_event_loop
    return factories


class Crowd:
    """Clients that cost nothing: plain sockets, which only the test itself touches."""

    def __init__(self, app: WsApp, address: WsAddress, eventually: Eventually) -> None:
        self._app = app
        self._address = address
        self._eventually = eventually
        self.sockets: list[socket.socket] = []
        self._unused: list[socket.socket] = []

    @staticmethod
    def message(event: str, path: str = "/r", **more: object) -> bytes:
        """A client's frame; the mask is zero, so the payload is as it was."""
        payload = json.dumps({"event": event, "path": path, **more}).encode()
        assert len(payload) < 126
        return struct.pack("!BBI", 0x81, 0x80 | len(payload), 0) + payload

    def prepare(self, count: int) -> None:
        """Make ``count`` sockets that ``connect`` will use."""
        for _ in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            self._unused.append(sock)

    async def connect(self, count: int) -> None:
        """Connect so many more."""
        self.prepare(count - len(self._unused))
        while self._unused:
            some = [self._unused.pop() for _ in range(min(CROWD, len(self._unused)))]
            for sock in some:
                with contextlib.suppress(BlockingIOError):
                    sock.connect((self._address.host, self._address.port))
                sock.send(UPGRADE)
            self.sockets += some
            await self._are_open(self._app.stats()["connections"] + len(some))
        self.read()

    async def _are_open(self, count: int) -> None:
        await self._eventually(lambda: self._app.stats()["connections"] == count)

    async def send(self, *frames: bytes, to: int | None = None) -> None:
        """Send ``frames`` in one segment, by client ``to`` or by each, until all are handled."""
        done = self._app.stats()["messages_in"]
        senders = self.sockets if to is None else [self.sockets[to]]
        for sock in senders:
            sock.send(b"".join(frames))
        done += len(frames) * len(senders)
        await self._eventually(lambda: self._app.stats()["messages_in"] == done)
        await self.settle()

    async def settle(self) -> None:
        """Let end what has begun: as many turns as anything here takes."""
        for _ in range(SETTLED):
            await asyncio.sleep(0)

    def read(self) -> int:
        """Take what has come; returns how many bytes that were."""
        size = 0
        for sock in self.sockets:
            with contextlib.suppress(BlockingIOError):
                while data := sock.recv(2**16):
                    size += len(data)
        return size

    def close(self) -> None:
        for sock in (*self.sockets, *self._unused):
            sock.close()


@pytest.fixture
def crowd_of(eventually: Eventually) -> Callable[..., AbstractAsyncContextManager[Crowd]]:
    """Serve an app to so many clients, all of whom are in room "/r".

    ``async with crowd_of(app, 50) as crowd``; it declares the route "join", "/:room".
    """

    @contextlib.asynccontextmanager
    async def serve(app: WsApp, count: int) -> AsyncIterator[Crowd]:
        @app.on_message("join", "/:room")
        def join() -> None:
            use_ws_rooms().join()

        async with app.serving() as address:
            crowd = Crowd(app, address, eventually)
            try:
                await crowd.connect(count)
                await crowd.send(crowd.message("join"))
                assert app.stats()["memberships"] == count
                crowd.read()
                yield crowd
            finally:
                crowd.close()
                await eventually(lambda: app.stats()["connections"] == 0)

    return serve
