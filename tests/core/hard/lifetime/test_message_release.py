"""What a message brought is released when it is handled: at once, not when garbage is collected.

Messages are large and connections idle for hours, so a single one that is kept per
connection would be all of the memory.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import WsApp, WsError, WsLimits, use_ws_message, use_ws_rooms

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from contextlib import AbstractAsyncContextManager

    # Fixtures of conftest.py, which importlib mode does not let us import.
    Connect = Callable[..., Awaitable[Any]]
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]
    RawClients = Callable[..., AbstractAsyncContextManager[Any]]

pytestmark = pytest.mark.every_loop

SILENT = logging.getLogger("wsrooms.silent")
"""pytest would keep a record, and with it the traceback, of each failure that is logged."""
SILENT.setLevel(logging.CRITICAL + 1)


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class Big:
    """Stands for the data of a message; unlike bytes it can be watched."""


class Parser:
    """A ``message_parser`` that makes data which can be watched."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[Big]] = []

    def __call__(self, frame: str | bytes) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(frame)
        message["data"] = Big()
        self.made.append(weakref.ref(message["data"]))
        return message

    def alive(self) -> int:
        return sum(each() is not None for each in self.made)


async def later() -> None:
    await asyncio.sleep(0)
    assert isinstance(use_ws_message().data, Big)


class Kinds:
    """A handler of each kind, each of which looks at its data."""

    def sync(self) -> None:
        assert isinstance(use_ws_message().data, Big)

    async def asynchronous(self) -> None:
        await later()

    def with_parameter(self, message: Any) -> None:
        assert isinstance(message.data, Big)

    async def task(self) -> None:
        await asyncio.create_task(later())

    async def group(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(later())

    async def thread(self) -> None:
        await asyncio.to_thread(self.sync)

    async def deadline(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()

    def join(self) -> None:
        use_ws_rooms().join()

    def joins_and_leaves(self) -> None:
        use_ws_rooms().join()
        use_ws_rooms().leave()

    def broadcast(self) -> None:
        use_ws_rooms().broadcast("e", "a" * 900_000)

    def refuses(self) -> None:
        self.sync()
        raise WsError(400)

    async def refuses_later(self) -> None:
        await later()
        raise WsError(400)

    def fails(self) -> None:
        self.sync()
        raise LookupError

    async def fails_later(self) -> None:
        await later()
        raise LookupError


KINDS = [kind for kind in vars(Kinds) if not kind.startswith("_")]


async def is_released(parser: Parser, eventually: Eventually) -> None:
    """Turns of the loop may pass, for what ends with a callback; no second and no collector."""
    for _ in range(20):
        await asyncio.sleep(0)
    assert parser.alive() == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_keeps_the_data_of_a_handled_message(
    connect: Connect, eventually: Eventually, plain_bus: Any, kind: str
) -> None:
    parser = Parser()
    app = WsApp(logger=SILENT, message_parser=parser, broadcast_transport=plain_bus.transport())
    app.on_message("m", "/r", getattr(Kinds(), kind))
    async with app.serving() as address:
        peer = await connect(address)
        for _ in range(3):
            await peer.call("m", "/r")
        await is_released(parser, eventually)
        assert len(parser.made) == 3


@pytest.mark.parametrize("outcome", ["answers", "fails"])
async def test_nothing_keeps_it_where_around_message_and_several_handlers_are(
    connect: Connect, eventually: Eventually, outcome: str
) -> None:
    parser = Parser()
    app = WsApp(logger=SILENT, message_parser=parser)
    kinds = Kinds()

    @app.around_message
    async def around(call_next: Callable[[], Awaitable[object]]) -> object:
        await later()
        return await call_next()

    for handler in (kinds.refuses, kinds.fails_later, kinds.fails):
        app.on_message("m", "/r", handler)
    if outcome == "answers":
        app.on_message("m", "/r", kinds.asynchronous)
    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("m", "/r")
        await is_released(parser, eventually)
        assert len(parser.made) == 1


async def test_a_reply_that_waits_for_its_join_keeps_nothing_of_its_message(
    connect: Connect, eventually: Eventually, plain_bus: Any
) -> None:
    parser = Parser()
    transport = plain_bus.transport()
    release = transport.hold("subscribe ws:room:/r")
    app = WsApp(logger=SILENT, message_parser=parser, broadcast_transport=transport)
    app.on_message("m", "/r", Kinds().join)
    async with app.serving() as address:
        peer = await connect(address)
        peer.send("m", "/r", id="join")
        await peer.settled()
        assert app.stats()["joins_pending"] == 1
        await is_released(parser, eventually)
        release()
        await peer.reply("join")


async def test_a_message_that_nobody_handles_is_not_kept(
    connect: Connect, eventually: Eventually
) -> None:
    parser = Parser()
    app = WsApp(logger=SILENT, message_parser=parser)
    async with app.serving() as address:
        peer = await connect(address)
        assert (await peer.call("m", "/r"))["error"]["code"] == 404
        await is_released(parser, eventually)


# What the loop does in the context of a message must not keep it


async def test_a_connection_that_had_to_wait_keeps_none_of_its_messages(
    connect: Connect, eventually: Eventually
) -> None:
    """Reading it again is begun by a message that is handled, and goes on when it is not."""
    parser = Parser()
    app = WsApp(logger=SILENT, message_parser=parser, limits=WsLimits(waiting_messages=2))
    app.on_message("m", "/r", Kinds().asynchronous)
    async with app.serving() as address:
        peer = await connect(address)
        peer.send_text(*['{"event":"m","path":"/r"}'] * 20)
        await peer.call("m", "/r")
        await is_released(parser, eventually)
        assert len(parser.made) == 21


async def test_a_client_that_does_not_read_keeps_no_message_of_another(
    connect: Connect, raw_client: RawClients, eventually: Eventually
) -> None:
    parser = Parser()
    app = WsApp(logger=SILENT, message_parser=parser, limits=WsLimits(outbox_bytes=2**30))
    app.on_message("join", "/r", Kinds().join)
    app.on_message("m", "/r", Kinds().broadcast)
    async with (
        app.serving() as address,
        raw_client(address, receive_buffer=4096) as stalled,
    ):
        await stalled.send('{"event":"join","path":"/r"}')
        await eventually(lambda: len(app.room("/r")) == 1)
        peer = await connect(address)
        for _ in range(10):  # more than the sockets' buffers take
            await peer.call("m", "/r")
        await is_released(parser, eventually)
        assert len(parser.made) == 11


# The bytes


SIZE = 900_000


@pytest.fixture
def growth() -> Iterator[Callable[[], int]]:
    """Give what tells how many bytes more are in use than at its first call."""
    tracemalloc.start(1)
    start: list[int] = []

    def grown() -> int:
        used, _ = tracemalloc.get_traced_memory()
        start.append(used)
        return used - start[0]

    yield grown
    tracemalloc.stop()


def small(app: WsApp) -> str:
    app.on_message("small", "/", lambda: None)
    return '{"event":"small","path":"/","id":0}'


@pytest.mark.parametrize("kind", ["sync", "async", "not found", "not JSON", "fragments", "binary"])
async def test_an_idle_connection_keeps_no_bytes_of_its_last_message(
    raw_client: RawClients, eventually: Eventually, growth: Callable[[], int], kind: str
) -> None:
    app = WsApp(logger=SILENT)

    @app.on_message("sync", "/")
    def sync() -> None:
        assert len(use_ws_message().data) == SIZE

    @app.on_message("async", "/")
    async def asynchronous() -> None:
        await asyncio.sleep(0)
        sync()

    async with app.serving() as address, raw_client(address) as client:
        await client.send(small(app))
        await client.text()
        growth()
        event = "async" if kind == "async" else "nobody" if kind == "not found" else "sync"
        message = json.dumps({"event": event, "path": "/", "data": "a" * SIZE}).encode()
        if kind == "fragments":
            await client.write(client.frame(message[:400_000], client.TEXT, fin=False))
            await client.write(client.frame(message[400_000:], client.CONT))
        else:
            if kind == "not JSON":
                message = message[:-1]
            opcode = client.BINARY if kind == "binary" else client.TEXT
            await client.write(client.frame(message, opcode))
        del message
        await eventually(lambda: app.stats()["messages_in"] == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert growth() < SIZE / 4
        assert app.stats()["dropped"] == (kind == "not JSON")


@pytest.mark.parametrize("kind", ["sync", "async", "refuses", "fails", "fails later"])
async def test_the_bytes_of_a_message_are_free_when_the_next_one_has_come(
    raw_client: RawClients, growth: Callable[[], int], kind: str
) -> None:
    app = WsApp(logger=SILENT)

    def sync() -> None:
        assert len(use_ws_message().data) == SIZE
        if kind == "refuses":
            raise WsError(400)
        if kind.startswith("fails"):
            raise LookupError

    async def asynchronous() -> None:
        await asyncio.sleep(0)
        sync()

    app.on_message("m", "/", asynchronous if kind in ("async", "fails later") else sync)
    async with app.serving() as address, raw_client(address) as client:
        await client.send(small(app))
        await client.text()
        growth()
        await client.send(json.dumps({"event": "m", "path": "/", "id": 1, "data": "a" * SIZE}))
        await client.text()
        await client.send(small(app))
        await client.text()
        assert growth() < SIZE / 4
