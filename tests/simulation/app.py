"""The app that is simulated: ordinary handlers, and some that behave badly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, NamedTuple

from wsrooms import (
    Receipt,
    WsApp,
    WsError,
    WsLimits,
    use_ws_connection,
    use_ws_rooms,
    use_ws_server,
)
from wsrooms.testing.fleet.recorder import PREFIX, SAID

if TYPE_CHECKING:
    from random import Random

__all__ = ["LOBBY", "ROOMS", "Options", "Planned", "Saying", "make_app"]

ROOMS = ("/red", "/blue")

LOBBY = "/lobby"
"""The room that on_connect joins, for those who ask for it in their path."""

TICK = 8.0
"""Seconds between two messages of an instance's background task."""

Saying = Callable[[object, str, Callable[[str], Receipt]], None]
"""Records what an instance's code sends: (its ``server``, the room, what sends an id)."""


class Planned(Exception):
    """A handler fails on purpose."""


class Options(NamedTuple):
    """What differs between runs."""

    join_timeout: float
    heartbeat_interval: float
    waiting_messages: int
    slow_client: str
    waits_in_on_connect: bool
    remembers: bool
    answers: str

    @classmethod
    def drawn(cls, random: Random) -> Options:
        """Some."""
        return cls(
            join_timeout=random.choice((1.0, 3.0, 8.0)),
            heartbeat_interval=random.choice((2.0, 10.0, 30.0)),
            waiting_messages=random.choice((1, 2, 16)),
            slow_client=random.choice(("close", "close", "drop_oldest", "drop_newest")),
            waits_in_on_connect=random.random() < 0.5,
            remembers=random.random() < 0.7,
            answers=random.choice(("receipts", "receipts", "awaitables")),
        )


def make_app(options: Options, say: Saying) -> WsApp:
    """An app with ``options`` whose own messages ``say`` records."""

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        async def tick() -> None:
            while True:
                await asyncio.sleep(TICK)
                say(app.server, ROOMS[0], lambda id: app.room(ROOMS[0]).broadcast(SAID, id))

        app.start_task(tick(), name="tick")
        yield

    app = WsApp(
        lifespan=lifespan,
        join_timeout=options.join_timeout,
        heartbeat_interval=options.heartbeat_interval,
        heartbeat_timeout=1.0,
        shutdown_timeout=3.0,
        limits=WsLimits(
            outbox_bytes=2000,
            outbox_messages=12,
            waiting_messages=options.waiting_messages,
            slow_client=options.slow_client,  # type: ignore[arg-type]  # drawn from these literals
        ),
    )

    @app.on_connect
    async def come() -> None:
        connection = use_ws_connection()
        if "lobby" not in connection.request.query:
            return
        joined = connection.join(LOBBY)
        if options.waits_in_on_connect:
            await joined

    @app.on_disconnect
    def go() -> None:
        connection, server = use_ws_connection(), use_ws_server()
        room = server.room(LOBBY)
        say(server, LOBBY, lambda id: room.broadcast(SAID, id, exclude=connection.id))

    async def impatient() -> None:
        try:
            async with asyncio.timeout(0.2):
                await use_ws_rooms().join()
        except TimeoutError:
            raise WsError(408, "gave up") from None

    def join_and_fail() -> None:
        use_ws_rooms().join()
        raise Planned

    async def slow() -> None:
        await asyncio.sleep(0.3)

    for handler in (impatient, join_and_fail, slow):
        app.on_message(PREFIX + handler.__name__, "*?", handler)
    return app
