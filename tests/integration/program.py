"""One server process of a fleet; the nursery makes it.

Its app is like a user's: clients reach it over TCP and other instances through its broker.
The test that started it tells it by lines of JSON what only code on the server can do, and
is told what only that can see. It ends when it is told to, at SIGTERM, and when the test
has gone, so that none outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from wsrooms import (
    Gap,
    WsApp,
    WsLimits,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)
from wsrooms.testing import recorded_routes
from wsrooms.testing.fleet.recorder import ANNOUNCED, SAID
from wsrooms.transports import BrokerTransport

if TYPE_CHECKING:
    import socket

LONGEST_COMMAND = 64 * 1024 * 1024
"""Bytes of one line of input: it may name every room of a large fleet."""

LOOK_AGAIN = 0.01
"""Seconds between two looks at a state that nothing announces."""


TURNS = 10
"""Of the loop, in which closed sockets may end."""


def descriptors() -> int:
    """How many files and sockets this process has open, and the one that counts them."""
    return len(os.listdir("/dev/fd"))


def resident() -> int:
    """Bytes of memory that this process holds now; 0 where the system does not say."""
    if not os.path.exists("/proc/self/statm"):
        return 0
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def declare(app: WsApp) -> None:
    """What clients may call, beside what recorded clients do."""
    app.include(recorded_routes())

    @app.on_connect
    async def _connect() -> None:
        connection = use_ws_connection()
        for user in connection.request.query.get("user", []):
            await connection.join(f"user:{user}")

    @app.on_message("enter", "/room")
    async def _enter() -> None:  # a room that is no path
        await use_ws_rooms().join(use_ws_message(str).data)

    @app.on_message("exit", "/room")
    def _exit() -> None:
        use_ws_rooms().leave(use_ws_message(str).data)

    @app.on_message("say", "/room")
    async def _say() -> None:
        room, data = use_ws_message(tuple[str, Any]).data
        await use_ws_rooms().broadcast("said", data, room=room)

    @app.on_message("whoami", "/")
    def _whoami() -> str:
        return use_ws_connection().id

    @app.on_message("join", "/chat/:room")
    async def _join() -> None:
        await use_ws_rooms().join()

    @app.on_message("post", "/chat/:room")
    async def _post() -> None:
        message = use_ws_message()
        await use_ws_rooms().broadcast("post", message.data_raw if message.has_data else UNSET)

    @app.on_message("post", "/tags/:tag/:tag")
    async def _tags() -> None:
        room = "/chat/" + use_route_params().getlist("tag")[0]
        await use_ws_rooms().broadcast("tags", room=room, exclude_self=False)

    @app.on_message("message", "/user/:id")
    async def _message() -> None:
        user = use_ws_server().room(f"user:{use_route_params()['id']}")
        await user.broadcast("message", use_ws_message().data)

    @app.on_message("everybody", "/*")
    async def _everybody() -> None:
        message = use_ws_message()
        await use_ws_server().broadcast("news", message.path, message.data, params={"by": "us"})

    @app.on_message("here", "/*")
    async def _here() -> None:
        message = use_ws_message()
        await use_ws_server().broadcast("news", message.path, message.data, local=True)


class Commands:
    """What the test may ask of the process; a method for each."""

    def __init__(self, app: WsApp) -> None:
        self.app = app
        self.ending = asyncio.Event()

    async def say(self, sends: list[tuple[str, str]]) -> list[str | None]:
        """Broadcast recorded messages, each a room and an id, in one turn; return the errors."""
        receipts = [self.app.room(room).broadcast(SAID, id) for room, id in sends]
        return [await _error_of(receipt) for receipt in receipts]

    async def announce(self, message: str) -> str | None:
        """Broadcast a recorded message to everybody; return the error."""
        return await _error_of(self.app.broadcast(ANNOUNCED, "/", message))

    async def broadcast(
        self, room: str, event: str, more: dict[str, Any] | None = None
    ) -> str | None:
        """Broadcast from code that handles no message; ``more`` are data, params, exclude."""
        return await _error_of(self.app.room(room).broadcast(event, **(more or {})))

    async def health(self) -> dict[str, Any]:
        """That of the app."""
        health = self.app.health()
        return {"state": health.state, "since": health.since, "error": health.error}

    async def until(self, state: str) -> float:
        """Wait until the app is in ``state``; return the clock of the machine then."""
        while self.app.health().state != state:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(LOOK_AGAIN)
        return time.monotonic()

    async def stats(self) -> dict[str, int]:
        """Those of the app."""
        return self.app.stats()

    async def max_payload(self) -> int:
        """Bytes that a message between instances may have."""
        transport = self.app._life.transport
        assert isinstance(transport, BrokerTransport)
        return transport.max_payload

    async def members(self, rooms: list[str]) -> list[int]:
        """How many local members each room has."""
        return [len(self.app.room(room)) for room in rooms]

    async def resources(self) -> dict[str, int]:
        """What the process holds, once garbage is collected."""
        gc.collect()
        return {
            "descriptors": descriptors(),
            "tasks": len(asyncio.all_tasks()) - 1,  # but for the one that answers
            "objects": len(gc.get_objects()),
            "resident": resident(),
        }

    async def block(self, seconds: float) -> None:
        """Keep the loop busy, as a handler should not."""
        time.sleep(seconds)  # noqa: ASYNC251 - what it is for

    async def close(self) -> None:
        """Close the app; the process lives on until the test has gone."""
        await self.app.close()


def publisher_of(app: WsApp) -> str | None:
    """What other instances call this one in a gap."""
    transport = app._life.transport
    return transport.exchange.instance if isinstance(transport, BrokerTransport) else None


async def _error_of(receipt: Awaitable[None]) -> str | None:
    try:
        await receipt
    except Exception as error:  # noqa: BLE001 - the test judges it
        return repr(error)
    return None


class Line:
    """The connection to the test: lines of JSON in both directions."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def tell(self, **facts: object) -> None:
        """Say something to the test."""
        self._writer.write(json.dumps(facts).encode() + b"\n")

    async def obey(self, commands: Commands) -> None:
        """Do what the test says until it says no more, each in a task of its own."""
        async with asyncio.TaskGroup() as obeying:
            try:
                async for line in self._reader:
                    obeying.create_task(self._obey(commands, json.loads(line)))
            finally:
                commands.ending.set()

    async def _obey(self, commands: Commands, asked: dict[str, Any]) -> None:
        try:
            command: Callable[..., Awaitable[Any]] = getattr(commands, asked["do"])
            result = await command(**asked["with"])
        except Exception as error:  # noqa: BLE001 - the test judges it
            self.tell(id=asked["id"], error=repr(error))
        else:
            self.tell(id=asked["id"], result=result)

    async def read(self) -> dict[str, Any]:
        """The next line."""
        line: dict[str, Any] = json.loads(await self._reader.readline())
        return line

    async def close(self) -> None:
        """Say no more, once all is said."""
        self._writer.close()
        await self._writer.wait_closed()


async def serve(connection: socket.socket) -> None:
    """Serve as the first line from ``connection`` says, until the end.

    It has ``log``, a file for the standard error; ``url`` of the broker; ``options`` and
    ``limits`` of the app; ``port``.
    """
    line = Line(*await asyncio.open_connection(sock=connection, limit=LONGEST_COMMAND))
    given = await line.read()
    errors = os.open(given["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(errors, 2)
    os.close(errors)
    line.tell(told="born", pid=os.getpid())
    try:
        await _serve(line, given)
    finally:
        await line.close()


async def _serve(line: Line, given: dict[str, Any]) -> None:
    options = dict(given["options"])
    if given["limits"] is not None:
        options["limits"] = WsLimits(**given["limits"])
    app = WsApp(broadcast_transport=given["url"], **options)
    declare(app)

    @app.on_gap
    def _gap(gap: Gap) -> None:
        line.tell(told="gap", room=gap.room, publisher=gap.publisher, missing=gap.missing)

    before = descriptors()
    commands = Commands(app)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, commands.ending.set)
    try:
        address = await app.listen(given["port"])
    except Exception as error:  # noqa: BLE001 - the test judges it
        line.tell(told="failed", error=repr(error))
        return
    line.tell(told="serving", port=address.port, publisher=publisher_of(app))
    obeying = asyncio.create_task(line.obey(commands), name="commands")
    await commands.ending.wait()
    began = time.monotonic()
    await app.close()
    obeying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await obeying
    seconds = time.monotonic() - began
    for _ in range(TURNS):
        await asyncio.sleep(0)
    left = [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    more = descriptors() - before
    line.tell(told="closed", seconds=seconds, tasks=left, descriptors=more, stats=app.stats())
