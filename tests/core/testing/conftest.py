"""Tests of the testing kit: what is marked ``every_loop`` also runs on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import pytest

from tests.core.testing.told import Told
from wsrooms import WsApp, WsError, use_ws_connection, use_ws_message, use_ws_rooms
from wsrooms.testing import VirtualTimeLoop


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
        factories["virtual"] = VirtualTimeLoop
    return factories


@pytest.fixture
def chat() -> WsApp:
    """Give an app with rooms below /chat, and events that answer in various ways."""
    app = WsApp(shutdown_timeout=0.05)  # for handlers that a test leaves waiting

    @app.on_message("join", "/chat/:room")
    async def join() -> dict[str, bool]:
        await use_ws_rooms().join()
        return {"joined": True}

    @app.on_message("message", "/chat/:room")
    def message() -> None:
        use_ws_rooms().broadcast("message", use_ws_message().data)

    @app.on_message("later", "/chat/:room")
    async def later() -> None:
        await asyncio.sleep(0.05)
        use_ws_rooms().broadcast("later", exclude_self=False)

    @app.on_message("fail", "/chat/:room")
    def fail() -> None:
        raise WsError(418, "short and stout")

    @app.on_message("wait", "/chat/:room")
    async def wait() -> str:
        await asyncio.sleep(3600)
        return "waited"

    @app.on_message("push", "/chat/:room")
    def push() -> str:
        connection = use_ws_connection()
        for number in range(3):
            connection.send("pushed", "/", number)
        return "done"

    @app.on_message("leave", "/chat/:room")
    def leave() -> None:
        use_ws_connection().close(4000, "as you wish")

    return app


@pytest.fixture
def history() -> Told:
    """Give a history of two instances to write in."""
    told = Told()
    told.started("i0", publisher="p0")
    told.started("i1", publisher="p1")
    return told
