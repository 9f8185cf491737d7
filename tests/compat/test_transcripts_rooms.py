"""Rooms, the server's view of its connections, and how those end, replayed.

Every application here is one scenario of ``transcripts.json``, under its name.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec import UNSET

from tests.deadlines import promised
from wsrooms import WsApp, use_ws_connection, use_ws_message, use_ws_rooms, use_ws_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    # The fixture of conftest.py, which importlib mode does not let us import.
    Replay = Callable[[str, WsApp], Awaitable[None]]

APPLICATIONS: dict[str, Callable[[], WsApp]] = {}


def application(declare: Callable[[], WsApp]) -> Callable[[], WsApp]:
    APPLICATIONS[declare.__name__.replace("_", "-")] = declare
    return declare


def given_data() -> object:
    """Return the message's data to pass on: UNSET where it has none."""
    message = use_ws_message()
    return message.data if message.has_data else UNSET


@application
def rooms_of_the_path() -> WsApp:
    ws = WsApp()

    @ws.on_message("rooms", "/")
    def rooms() -> list[str]:
        return sorted(use_ws_rooms().rooms())

    @ws.on_message("join", "/chat/:room")
    async def join() -> list[str]:
        await use_ws_rooms().join()
        return rooms()

    @ws.on_message("leave", "/chat/:room")
    def leave() -> list[str]:
        use_ws_rooms().leave()
        return rooms()

    @ws.on_message("say", "/chat/:room")
    def say() -> str:
        use_ws_rooms().broadcast("said", given_data())
        return "sent"

    @ws.on_message("say-to-all", "/chat/:room")
    def say_to_all() -> str:
        use_ws_rooms().broadcast("said", given_data(), exclude_self=False)
        return "sent"

    return ws


@application
def rooms_by_name() -> WsApp:
    ws = WsApp()

    def named_room() -> str | None:
        data: dict[str, str] = use_ws_message().data or {}
        return data.get("room")

    async def join() -> list[str]:
        await use_ws_rooms().join(named_room())
        return sorted(use_ws_rooms().rooms())

    def leave() -> list[str]:
        use_ws_rooms().leave(named_room())
        return sorted(use_ws_rooms().rooms())

    def say() -> str:
        data = use_ws_message().data
        use_ws_rooms().broadcast(
            "said",
            data.get("data", UNSET),
            room=named_room(),
            exclude_self=data.get("exclude_self", True),
        )
        return "sent"

    for path in ("/static", "/p/:x/:y", "/twice/:x/:x"):
        ws.on_message("join", path, join)
        ws.on_message("leave", path, leave)
        ws.on_message("say", path, say)
    return ws


async def join_lobby() -> None:
    await use_ws_rooms().join("lobby")


def count_with_lobby() -> list[int]:
    server = use_ws_server()
    return [len(server.connections()), len(server.room_connections("lobby"))]


@application
def server() -> WsApp:
    ws = WsApp()

    @ws.on_message("all", "/announce")
    def announce() -> str:
        data = use_ws_message().data
        use_ws_server().broadcast(
            data["event"], data["path"], data.get("data", UNSET), params=data.get("params")
        )
        return "sent"

    @ws.on_message("tell", "/")
    def tell() -> str | None:
        data = use_ws_message().data
        connection = use_ws_server().get_connection(data["to"])
        if connection is None:
            return None
        connection.send("told", "/inbox", data["data"])
        return "told"

    ws.on_message("count", "/", count_with_lobby)
    ws.on_message("join", "/", join_lobby)
    return ws


@application
def client_leaves() -> WsApp:
    ws = WsApp()

    @ws.on_message("say", "/")
    def say() -> str:
        use_ws_rooms().broadcast("said", room="lobby")
        return "sent"

    @ws.on_disconnect
    def left() -> None:
        server, connection = use_ws_server(), use_ws_connection()
        found = server.get_connection(connection.id) is connection
        in_lobby = connection in server.room_connections("lobby")
        server.broadcast("left", "/", [connection.id, sorted(connection.rooms), found, in_lobby])

    ws.on_message("join", "/", join_lobby)
    ws.on_message("count", "/", count_with_lobby)
    return ws


@application
def client_leaves_slowly() -> WsApp:
    ws = WsApp()

    @ws.on_disconnect
    async def left() -> None:
        use_ws_server().broadcast("leaving", "/", sorted(use_ws_connection().rooms))
        await asyncio.sleep(0)
        use_ws_server().broadcast("left", "/", sorted(use_ws_connection().rooms))

    ws.on_message("join", "/", join_lobby)
    return ws


@application
def server_closes() -> WsApp:
    ws = WsApp()

    @ws.on_message("close", "/")
    def close() -> str:
        use_ws_connection().close(**use_ws_message().data)
        return "closed"

    @ws.on_message("push-and-close", "/")
    def push_and_close() -> None:
        use_ws_connection().send("bye", "/log")
        use_ws_connection().close(4000, "told")

    @ws.on_message("close-twice", "/")
    def close_twice() -> None:
        use_ws_connection().close(4000, "first")
        use_ws_connection().close(4001, "second")

    @ws.on_message("close-and-say", "/")
    async def close_and_say() -> None:
        await use_ws_rooms().join("lobby")
        use_ws_connection().close(4000, "")
        use_ws_rooms().broadcast("said", room="lobby", exclude_self=False)

    @ws.on_message("close-all", "/")
    def close_all() -> None:
        for connection in use_ws_server().connections():
            connection.close(4002, "all")

    ws.on_message("join", "/", join_lobby)
    return ws


@application
def heartbeat() -> WsApp:
    ws = WsApp(heartbeat_interval=0.1, heartbeat_timeout=promised(5.0))

    @ws.on_disconnect
    def left() -> None:
        use_ws_server().broadcast("left", "/")

    return ws


@application
def shutdown() -> WsApp:
    ws = WsApp()
    ws.on_message("join", "/", join_lobby)
    return ws


@pytest.mark.parametrize("scenario", APPLICATIONS)
async def test_clients_of_the_original_are_answered_alike(scenario: str, replay: Replay) -> None:
    await replay(scenario, APPLICATIONS[scenario]())
