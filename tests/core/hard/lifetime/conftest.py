"""One client that dies at a chosen moment, and the proof that nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import socket
import struct
import sys
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE, promised
from wsrooms import WsAddress, WsApp, use_ws_connection, use_ws_rooms
from wsrooms.server.settings import ServerSettings

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    # pytest's importlib mode lets only type checkers import a conftest.
    from tests.core.conftest import PlainTransport, RawClient
    from wsrooms import WsConnection

GONE_WITHIN = promised(1.0)
"""Seconds within which a dead client's objects are gone: half of the server's close timeout,
so that what only a timer frees is found."""

GAUGES = ("connections", "rooms", "memberships", "joins_pending")

SUBJECT = "/subject"


async def _close(client: RawClient) -> None:
    await client.write(client.close_frame(4321, "bye"))


async def _reset(client: RawClient) -> None:
    sock = client.writer.get_extra_info("socket")
    at_once = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    client.writer.transport.abort()


async def _finish(client: RawClient) -> None:
    client.writer.write_eof()


class Death:
    """A way in which a client ends its connection, and what on_disconnect is told of it."""

    def __init__(
        self, die: Callable[[RawClient], Awaitable[None]], code: int, reason: str = ""
    ) -> None:
        self.die = die
        self.told = code, reason
        self.reset = die is _reset


DEATHS = {
    "CLOSE": Death(_close, 4321, "bye"),
    "RST": Death(_reset, 1006),
    "FIN without CLOSE": Death(_finish, 1006),
}


@pytest.fixture(params=DEATHS)
def death(request: pytest.FixtureRequest) -> Death:
    """Each way in which a client may end."""
    return DEATHS[request.param]


@pytest.fixture(params=["RST", "FIN without CLOSE"])
def sudden_death(request: pytest.FixtureRequest) -> Death:
    """Each way in which a client may end without a CLOSE."""
    return DEATHS[request.param]


def objects_since_freeze() -> list[object]:
    """What wsrooms has made since ``gc.freeze()`` and what is referred to."""
    gc.collect()
    return [
        each
        for each in gc.get_objects()
        if str(getattr(type(each), "__module__", "")).startswith("wsrooms")
    ]


class Stage:
    """An app with a room that a witness watches, and one client more: the subject.

    Declare on ``app``; hooks for the subject alone with ``on_connect``.
    """

    witness: RawClient

    def __init__(
        self,
        app: WsApp,
        bus: PlainTransport,
        raw_client: Callable[..., AbstractAsyncContextManager[RawClient]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self.app = app
        self.bus = bus
        self.address = WsAddress("", 0, "")
        self._loop: asyncio.AbstractEventLoop | None = None
        self.ends: list[tuple[int | None, str | None, list[str]]] = []
        """What each on_disconnect of the subject saw: code, reason and rooms."""
        self.notes: list[object] = []
        """Whatever the handlers of a test want to tell it."""
        self.entered = asyncio.Event()
        """Set when a handler has come to where the client shall die."""
        self._go_on = asyncio.Event()
        self._releases: list[Callable[[], None]] = [self._go_on.set]
        self._subject: weakref.ref[WsConnection] | None = None
        self._raw_client = raw_client
        self._caplog = caplog
        self._before: dict[str, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        app.on_message("join", "*", lambda: use_ws_rooms().join())
        app.on_disconnect(self._note_end)

    # What a test declares

    def on_connect(self, hook: Callable[[], object]) -> Callable[[], object]:
        """Run ``hook``, sync or async, when the subject connects."""

        def only_for_the_subject() -> object:
            return hook() if use_ws_connection().request.path == SUBJECT else None

        self.app.on_connect(only_for_the_subject)
        return hook

    def hold(self, call: str) -> None:
        """Keep a call of the transport, such as "subscribe ws:room:r", until the release."""
        self._releases.append(self.bus.hold(call))

    def here(self) -> None:
        """Called by a handler or hook, in any thread: the client may die now."""
        self._subject = weakref.ref(use_ws_connection())
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.entered.set)

    async def stand_still(self) -> None:
        """As ``here``, and stay until the release."""
        self.here()
        await self.released()

    async def released(self) -> None:
        """Wait for the release."""
        await self._go_on.wait()

    async def _note_end(self) -> None:
        connection = use_ws_connection()
        if connection.request.path != SUBJECT:
            return
        server = self.app.server
        assert server.get_connection(connection.id) is connection
        rooms = sorted(connection.rooms)
        await asyncio.sleep(0)
        for room in rooms:
            assert connection in server.room_connections(room)
        self.ends.append((connection.close_code, connection.close_reason, rooms))

    # What a test does

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve, with a witness in the room "/watched"; from now on objects are counted."""
        self._loop = asyncio.get_running_loop()
        async with (
            self.app.serving() as self.address,
            self._raw_client(self.address, "/witness") as self.witness,
        ):
            await self.witness.send('{"event":"join","path":"/watched","id":1}')
            await self.witness.text()
            self._before = self._gauges()
            self._tasks = asyncio.all_tasks()
            # What exists now is not looked at any more: collecting becomes quick, and
            # all that is found later came with the subject.
            gc.freeze()
            yield

    def client(self, path: str | None = SUBJECT) -> AbstractAsyncContextManager[RawClient]:
        """Connect the subject."""
        return self._raw_client(self.address, path)

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop turn until something is so."""
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110 - turns of the loop are what it waits for
                await asyncio.sleep(0)

    async def reached(self) -> None:
        """Wait until a handler is where the client shall die."""
        async with asyncio.timeout(DEADLINE):
            await self.entered.wait()

    async def noticed(self) -> None:
        """Wait until the server knows that the subject is gone."""

        def knows() -> bool:
            assert self._subject is not None
            connection = self._subject()
            return connection is None or connection.close_code is not None

        await self.until(knows)

    def release(self) -> None:
        """Let the handlers that stand still go on, and the transport confirm."""
        for release in self._releases:
            release()

    async def nothing_is_left(self) -> None:
        """Wait until there is no trace of the subject, or fail with what there is."""
        await self.until(lambda: self._gauges() == self._before)
        await self.until(lambda: asyncio.all_tasks() <= self._tasks)
        await self.until(lambda: set(self.bus.bus.channels()) == {"ws:server", "ws:room:/watched"})
        loop = asyncio.get_running_loop()
        until = loop.time() + GONE_WITHIN
        turns = 0
        while left := objects_since_freeze():
            if turns > 100 and loop.time() > until:
                pytest.fail(described(left), pytrace=False)
            del left
            turns += 1
            await asyncio.sleep(0)
        assert self._subject is None or self._subject() is None
        stats = self.app.stats()
        assert (stats["handler_errors"], stats["hook_errors"], stats["tasks_failed"]) == (0, 0, 0)
        loud = [one for one in self._caplog.records if one.levelno >= logging.WARNING]
        assert [one.getMessage() for one in loud] == []

    def _gauges(self) -> dict[str, int]:
        stats = self.app.stats()
        assert len(self.app.server.connections()) == stats["connections"]
        return {gauge: stats[gauge] for gauge in GAUGES}


def described(left: list[object]) -> str:
    """Each kind of object that is left, with what refers to it."""
    kinds: dict[str, tuple[int, Counter[str]]] = {}
    for each in left:
        referrers = [other for other in gc.get_referrers(each) if other is not left]
        count, known = kinds.get(type(each).__qualname__, (0, Counter[str]()))
        known.update(type(other).__qualname__ for other in referrers)
        kinds[type(each).__qualname__] = count + 1, known
    lines = [f"{count} {kind}, referred to by {dict(by)}" for kind, (count, by) in kinds.items()]
    return "left behind:\n" + "\n".join(lines)


@pytest.fixture
def make_stage(
    plain_bus: Any,
    raw_client: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Stage]]:
    """Give what makes a stage: ``make_stage(**options_of_the_app)``."""
    settings = functools.partial(ServerSettings, close_timeout=2 * GONE_WITHIN)
    monkeypatch.setattr("wsrooms.app.ServerSettings", settings)

    def make(**options: Any) -> Stage:
        transport = plain_bus.transport()
        return Stage(WsApp(broadcast_transport=transport, **options), transport, raw_client, caplog)

    yield make
    gc.unfreeze()


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    """Give a stage whose app has the options that it has by default."""
    return make_stage()
