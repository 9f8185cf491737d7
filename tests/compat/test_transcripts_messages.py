"""Messages: their ids, data, paths, params, encodings and sizes, replayed.

Every application here is one scenario of ``transcripts.json``, under its name.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET
from websockets.asyncio.client import connect

from wsrooms import WsApp, use_route_params, use_ws_connection, use_ws_message, use_ws_rooms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    # The fixture of conftest.py, which importlib mode does not let us import.
    Replay = Callable[[str, WsApp], Awaitable[None]]

APPLICATIONS: dict[str, Callable[[], WsApp]] = {}


def application(declare: Callable[[], WsApp]) -> Callable[[], WsApp]:
    APPLICATIONS[declare.__name__.replace("_", "-")] = declare
    return declare


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
def params() -> WsApp:
    ws = WsApp()
    patterns = ("/u/:name/posts/:id", "/twice/:a/:a", r"/n/:id(\d+)", "/files/*", "/m/:from-:to")
    for pattern in patterns:
        ws.on_message("show", pattern, lambda: use_route_params().params)
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


@pytest.mark.parametrize("scenario", APPLICATIONS)
async def test_clients_of_the_original_are_answered_alike(scenario: str, replay: Replay) -> None:
    await replay(scenario, APPLICATIONS[scenario]())


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
