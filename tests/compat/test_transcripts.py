"""An app that is declared like the original's answers its clients like the original.

Every scenario of ``transcripts.json`` has its server here, declared with our
API under the scenario's name; ``conftest.py`` replays what the clients did.
Where we answer otherwise on purpose the step says so, and with what reason.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET
from websockets.asyncio.client import connect

from wsrooms import (
    WsApp,
    WsError,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    # The fixtures of conftest.py, which importlib mode does not let us import.
    Replay = Callable[[str, WsApp], Awaitable[None]]
    Transcripts = Any

APPLICATIONS: dict[str, Callable[[], WsApp]] = {}


def application(declare: Callable[[], WsApp]) -> Callable[[], WsApp]:
    APPLICATIONS[declare.__name__.replace("_", "-")] = declare
    return declare


def given_data() -> object:
    """Return the message's data to pass on: UNSET where it has none."""
    message = use_ws_message()
    return message.data if message.has_data else UNSET


def fail(code: int, message: str | None = None) -> Callable[[], object]:
    def handler() -> object:
        raise WsError(code, message)

    return handler


def fail_later(code: int, message: str | None = None) -> Callable[[], object]:
    async def handler() -> object:
        await asyncio.sleep(0)
        raise WsError(code, message)

    return handler


def fail_plainly() -> object:
    raise RuntimeError("secret")


async def fail_plainly_later() -> object:
    await asyncio.sleep(0)
    raise RuntimeError("secret")


@application
def ids() -> WsApp:
    ws = WsApp()
    ws.on_message("echo", "/x", lambda: use_ws_message().data)
    return ws


@application
def results() -> WsApp:
    ws = WsApp()
    table: dict[str, object] = {
        "null": None,
        "false": False,
        "zero": 0,
        "empty": "",
        "list": [1, "two", None],
        "object": {"nested": {"ü": "🎉"}},
    }

    @ws.on_message("give", "/:what")
    def give() -> object:
        return table.get(use_route_params()["what"])

    @ws.on_message("give-later", "/:what")
    async def give_later() -> object:
        await asyncio.sleep(0)
        return table.get(use_route_params()["what"])

    @ws.on_message("given", "/data")
    def given() -> object:
        return {"given": use_ws_message().has_data, "data": use_ws_message().data}

    ws.on_message("echo", "/data", lambda: use_ws_message().data)
    return ws


@application
def not_found() -> WsApp:
    ws = WsApp()
    ws.on_message("known", "/known", lambda: "here")
    ws.on_message("*", "/any", lambda: "any")
    return ws


@application
def hostile_events() -> WsApp:
    ws = WsApp()
    ws.on_message("known", "/known", lambda: "here")
    return ws


@application
def errors() -> WsApp:
    ws = WsApp()

    @ws.on_message("fail", "/sync")
    def sync() -> None:
        data = use_ws_message().data
        raise WsError(data["code"], data.get("message"))

    @ws.on_message("fail", "/async")
    async def later() -> None:
        data = use_ws_message().data
        await asyncio.sleep(0)
        raise WsError(data["code"], data.get("message"))

    @ws.on_message("fail", "/pushed")
    def pushed() -> None:
        use_ws_connection().send("before", "/log")
        raise WsError(409, "pushed")

    ws.on_message("fail", "/plain", fail_plainly)
    ws.on_message("fail", "/plain-async", fail_plainly_later)
    ws.on_message("fail", "/unserializable", lambda: object())
    return ws


@application
def several_handlers() -> WsApp:
    ws = WsApp()

    def try_each(path: str, *handlers: Callable[[], object]) -> None:
        for handler in handlers:
            ws.on_message("try", path, handler)

    def push(event: str, then: Callable[[], object]) -> Callable[[], object]:
        def handler() -> object:
            use_ws_connection().send(event, "/log")
            return then()

        return handler

    def second() -> str:
        return "second"

    async def second_later() -> str:
        await asyncio.sleep(0)
        return "second"

    try_each("/second-answers", fail(400, "first"), second)
    try_each("/first-answers", lambda: "first", push("never", second))
    try_each("/null-answers", lambda: None, second)
    try_each("/all-fail", fail(400, "first"), fail(409, "last"))
    try_each("/last-plain", fail(400, "first"), fail_plainly)
    try_each("/plain-first", fail_plainly, second)
    try_each("/async-first", fail_later(400, "first"), second)
    try_each("/async-second", fail(400, "first"), second_later)
    try_each("/async-fail", fail_later(400, "first"), fail_later(409, "last"))
    try_each("/pushes", push("one", fail(400, "first")), push("two", second))
    return ws


@application
def push_to_self() -> WsApp:
    ws = WsApp()

    @ws.on_message("push", "/self")
    def push() -> str:
        for item in use_ws_message().data:
            use_ws_connection().send(
                item["event"], item["path"], item.get("data", UNSET), item.get("params")
            )
        return "done"

    @ws.on_message("push-later", "/self")
    async def push_later() -> str:
        use_ws_connection().send("before", "/log")
        await asyncio.sleep(0)
        use_ws_connection().send("after", "/log")
        return "done"

    return ws


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


@application
def params() -> WsApp:
    ws = WsApp()
    patterns = ("/u/:name/posts/:id", "/twice/:a/:a", r"/n/:id(\d+)", "/files/*", "/m/:from-:to")
    for pattern in patterns:
        ws.on_message("show", pattern, lambda: use_route_params().params)
    return ws


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


async def join_lobby() -> None:
    await use_ws_rooms().join("lobby")


def count_with_lobby() -> list[int]:
    server = use_ws_server()
    return [len(server.connections()), len(server.room_connections("lobby"))]


def count() -> int:
    return len(use_ws_server().connections())


@application
def on_connect() -> WsApp:
    ws = WsApp()

    async def accept_later() -> None:
        await asyncio.sleep(0)

    outcomes: list[Callable[[], object]] = [
        fail(401, "who are you"),
        fail(403, "not you"),
        fail(401),
        fail(429, "busy"),
        fail_plainly,
        fail_later(401, "who are you"),
        fail_plainly_later,
        fail_later(403, "ü" * 80),
        lambda: None,
        accept_later,
        lambda: use_ws_connection().send("welcome", "/log"),
    ]
    nth = iter(outcomes)
    ws.on_connect(lambda: next(nth)())
    ws.on_message("count", "/", count)
    return ws


@application
def on_connect_pending() -> WsApp:
    ws = WsApp()
    gates = [asyncio.Event()]
    connected = 0

    @ws.on_connect
    async def wait_for_release() -> None:
        nonlocal connected
        connected += 1
        nth = connected
        if nth > 1:
            await gates[-1].wait()
        if nth == 4:
            raise WsError(403, "late")

    @ws.on_message("release", "/")
    def release() -> None:
        gates[-1].set()
        gates.append(asyncio.Event())

    @ws.on_message("all", "/")
    def announce() -> None:
        use_ws_server().broadcast("news", "/")

    ws.on_message("count", "/", count)
    ws.on_message("echo", "/", lambda: use_ws_message().data)
    return ws


@application
def malformed() -> WsApp:
    ws = WsApp()

    @ws.on_message("echo", "/x")
    def echo() -> object:
        use_ws_connection().send("ran", "/log")
        return use_ws_message().data

    return ws


@application
def utf_8() -> WsApp:
    ws = WsApp()

    @ws.on_message("join", "/r")
    async def join() -> None:
        await use_ws_rooms().join()

    @ws.on_message("say", "/r")
    def say() -> None:
        use_ws_rooms().broadcast("said", use_ws_message().data_raw)

    ws.on_message("ignore", "/r", lambda: "fine")
    return ws


@application
def binary_and_fragments() -> WsApp:
    ws = WsApp()
    ws.on_message("echo", "/x", lambda: use_ws_message().data)
    return ws


@application
def size() -> WsApp:
    ws = WsApp(max_message_size=200)
    ws.on_message("echo", "/x", lambda: len(use_ws_message().data))
    return ws


@application
def default_size() -> WsApp:
    ws = WsApp()
    ws.on_message("echo", "/x", lambda: len(use_ws_message().data))
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
def concurrency() -> WsApp:
    ws = WsApp()
    opened = asyncio.Event()

    @ws.on_message("wait", "/")
    async def wait() -> str:
        await opened.wait()
        return "waited"

    @ws.on_message("open", "/")
    def open_() -> str:
        opened.set()
        return "opened"

    @ws.on_message("slow", "/")
    async def slow() -> str:
        await asyncio.sleep(0.02)  # what makes it slow, nothing waits for it
        return "slow"

    ws.on_message("fast", "/", lambda: "fast")
    return ws


@application
def parser_and_serializer() -> WsApp:
    def parse(frame: str | bytes) -> dict[str, Any]:
        event, path, data, id = json.loads(frame)
        return {"event": event, "path": path, "data": data, "id": id}

    def serialize(message: dict[str, Any]) -> str:
        return json.dumps({**message, "v": 1})

    ws = WsApp(message_parser=parse, message_serializer=serialize)

    @ws.on_message("echo", "/x")
    def echo() -> object:
        use_ws_connection().send("ran", "/log", use_ws_message().data)
        return use_ws_message().data

    return ws


@application
def heartbeat() -> WsApp:
    ws = WsApp(heartbeat_interval=0.1, heartbeat_timeout=0.5)

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


def test_every_recorded_scenario_is_replayed(transcripts: Transcripts) -> None:
    assert APPLICATIONS.keys() == {scenario.name for scenario in transcripts.scenarios}


def test_every_deviation_has_a_reason_and_another_outcome(transcripts: Transcripts) -> None:
    for scenario in transcripts.scenarios:
        for step in scenario.steps:
            if step.deviation is not None:
                assert step.deviation.because
                assert (step.received, step.closed) != (
                    step.deviation.received,
                    step.deviation.closed,
                )


@pytest.mark.parametrize(
    "id",
    ["1.0", "-0", "1E+2", "9007199254740993", '"\\u0061\\/"', '"\\ud83c"', '"ü \\n"', '""'],
)
async def test_an_id_comes_back_byte_for_byte(id: str) -> None:
    async with (
        ids().serving() as address,
        connect(address.url, compression=None, proxy=None) as client,
    ):
        await client.send(f'{{"event":"echo","path":"/x","data":7,"id":{id}}}')
        assert await client.recv() in (f'{{"id":{id},"data":7}}', f'{{"data":7,"id":{id}}}')
