"""The server alone, without an app: on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trustme

from tests.deadlines import DEADLINE
from wsrooms import WsLimits
from wsrooms.instance import Counters
from wsrooms.loopthread import LoopThread
from wsrooms.rooms import Rooms
from wsrooms.server.listener import Server
from wsrooms.server.settings import ServerSettings, WsAddress
from wsrooms.server.sockets import listen_on
from wsrooms.turns import Turns
from wsrooms.wire import JsonCodec

if TYPE_CHECKING:
    from wsrooms import WsConnection


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every async test of this folder on each loop there is."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "asyncio": asyncio.new_event_loop
    }
    with contextlib.suppress(ImportError):  # there is none for Windows
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


class RecordingSession:
    """Notes what the server tells it, and is full when a test says so."""

    def __init__(self, connection: WsConnection, ready: Callable[[], None]) -> None:
        self.connection = connection
        self.ready = ready
        self.full = False
        self.opened = False
        self.received: list[tuple[bytes, bool]] = []
        self.on_receive: Callable[[bytes], object] = lambda payload: None
        self.ended = asyncio.Event()
        self._changed = asyncio.Event()

    def open(self) -> None:
        self.opened = True
        self.connection._accept()

    def receive(self, payload: bytes, text: bool) -> None:
        self.received.append((payload, text))
        self._changed.set()
        self.on_receive(payload)

    def end(self) -> None:
        self.ended.set()

    def reply(self, text: str) -> None:
        self.connection.reply(text)

    async def has_received(self, count: int) -> list[bytes]:
        async with asyncio.timeout(DEADLINE):
            while len(self.received) < count:
                self._changed.clear()
                await self._changed.wait()
        return [payload for payload, _ in self.received]

    async def has_ended(self) -> tuple[int | None, str | None]:
        async with asyncio.timeout(DEADLINE):
            await self.ended.wait()
        return self.connection.close_code, self.connection.close_reason

    async def fill(self) -> int:
        """Push until the socket takes no more; returns how many pushes that took."""
        pushed = 0
        while not self.connection._way.buffer.blocked:
            self.connection.send("n", "/", [pushed, "a" * 50_000])
            pushed += 1
            await asyncio.sleep(0)
            assert pushed < 2000, "the socket took 100 MB"
        return pushed


class Serving:
    """A server at an address, with a session for each client."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.counters: Counters = server.instance.counters
        self.address = WsAddress("", 0, "")
        self.sessions: list[RecordingSession] = []
        self.on_session: Callable[[RecordingSession], object] = lambda session: None

    @property
    def session(self) -> RecordingSession:
        """The session of the client that came last."""
        return self.sessions[-1]


@contextlib.asynccontextmanager
async def _serve(
    *,
    limits: WsLimits | None = None,
    max_message_size: int = 1_048_576,
    heartbeat_interval: float | None = None,
    heartbeat_timeout: float = 5.0,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Serving]:
    loop = asyncio.get_running_loop()
    instance = SimpleNamespace(
        loop=loop,
        thread=LoopThread(loop),
        turns=Turns(loop, contextvars.copy_context()),
        codec=JsonCodec(),
        rooms=Rooms(),
        limits=limits or WsLimits(),
        logger=logging.getLogger("wsrooms"),
        max_message_size=max_message_size,
        counters=Counters(),
    )

    def open_session(connection: WsConnection, ready: Callable[[], None]) -> RecordingSession:
        session = RecordingSession(connection, ready)
        serving.sessions.append(session)
        serving.on_session(session)
        return session

    server = Server(
        cast("Any", instance),
        open_session,
        heartbeat_interval=heartbeat_interval,
        heartbeat_timeout=heartbeat_timeout,
    )
    serving = Serving(server)
    given: dict[str, Any] = {"allowed_origins": "same", "logger": instance.logger} | settings
    listening, serving.address = await listen_on(
        server.factory(ServerSettings(**given)), "127.0.0.1", 0, options or {}
    )
    server.add(listening)
    try:
        yield serving
    finally:
        server.stop_accepting()
        server.close_all(1001, "the test is over")
        await server.sockets_gone(1.0)


@pytest.fixture
def serve() -> Callable[..., AbstractAsyncContextManager[Serving]]:
    """A server without an app, in an async with block; it takes ServerSettings."""
    return _serve


@pytest.fixture(name="serving")
async def a_server() -> AsyncIterator[Serving]:
    """A server whose clients may send little, and have time to end."""
    async with _serve(close_timeout=60, max_message_size=1000) as serving:
        yield serving


@pytest.fixture
async def client(serving: Serving, raw_client: Callable[..., Any]) -> AsyncIterator[Any]:
    """A client of that server."""
    async with raw_client(serving.address) as client:
        yield client


@pytest.fixture(scope="session")
def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Give contexts for a server called localhost and for a client that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
