"""Mistakes of clients, and how they show on both sides."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

if TYPE_CHECKING:
    Mistake = Any  # the fixture of conftest.py


async def refused(mistake: Mistake, url: str, **options: Any) -> str:
    """The status line and the body that a client is refused with."""
    with pytest.raises(InvalidStatus) as caught:
        await connect(url, **options)
    response = caught.value.response
    body = (response.body or b"").decode().strip()
    told: str = mistake.received(f"{response.status_code} {response.reason_phrase}: {body}")
    return told


async def test_a_message_is_an_object_with_event_and_path(mistake: Mistake) -> None:
    """A frame that is no message.

    Why: What is no message has no id that could be answered, so it is dropped and counted
    (`stats()["dropped_json"]`, `["dropped_shape"]` and so on). Debug mode tells each kind once.
    Remedy: `{"event": ..., "path": ...}`, with `"data"` where there is some and an `"id"` where
    a reply is wanted; see the [wire protocol](wire-protocol.md).
    """
    app = mistake.runs("""
        from wsrooms import WsApp

        ws = WsApp(debug=True)
    """).ws
    async with mistake.client(app) as client:
        for frame in ("hello", '["join","/chat/general"]'):
            await client.send(frame)
        await client.handled()
    assert mistake.log() == [
        "WARNING dropped a message of 5f0c… without an answer: it is no JSON",
        (
            "WARNING dropped a message of 5f0c… without an answer: a message is an object "
            'with the strings "event" and "path", and perhaps "data" and an "id", a string '
            "or number"
        ),
    ]


async def test_a_message_has_a_route(mistake: Mistake) -> None:
    """A message without a route.

    Why: Event and path are compared to the letter: case counts, and so does a slash at the end.
    The client gets 404 if it has sent an id. Debug mode names the nearest routes.
    Remedy: Spell it as the route does; `ws.routes()` lists them.
    """
    app = mistake.runs("""
        from wsrooms import WsApp

        ws = WsApp(debug=True)

        @ws.on_message("join", "/chat/:room")
        async def join():
            ...
    """).ws
    async with mistake.client(app) as client:
        assert await client.call("jion", "/chat/general") == [
            '→ {"event": "jion", "path": "/chat/general", "id": 1}',
            '← {"id":1,"error":{"code":404,"message":"Not found"}}',
        ]
        await client.send('{"event": "join", "path": "/chat/general/"}')
        await client.handled()
    assert mistake.log() == [
        (
            "WARNING no route for 'jion' '/chat/general', answered with 404: did you mean "
            "'join' '/chat/:room'?"
        ),
        (
            "WARNING no route for 'join' '/chat/general/', dropped as it has no id: did you "
            "mean 'join' '/chat/:room'?"
        ),
    ]


async def test_a_param_is_written_with_a_colon(mistake: Mistake) -> None:
    """A param in braces.

    Why: Braces and angle brackets are how other frameworks write it. Here they are letters as
    any other, so the route is there, and only a path with braces in it finds it.
    Remedy: `"/chat/:room"`; [Routing](routing.md) has the rest.
    """
    app = mistake.runs("""
        from wsrooms import WsApp

        ws = WsApp(debug=True)

        @ws.on_message("join", "/chat/{room}")
        async def join():
            ...
    """).ws
    async with mistake.client(app) as client:
        assert await client.call("join", "/chat/general") == [
            '→ {"event": "join", "path": "/chat/general", "id": 1}',
            '← {"id":1,"error":{"code":404,"message":"Not found"}}',
        ]
    assert mistake.log() == [
        (
            "WARNING no route for 'join' '/chat/general', answered with 404: of this event "
            "there is 'join' '/chat/{room}', where {room} is plain text: a param is written :room"
        ),
    ]


async def test_what_a_parser_raises_shows_in_debug_mode(mistake: Mistake) -> None:
    """message_parser that raises.

    Why: A parser that raises refuses the frame: it is dropped, and counted in
    `stats()["dropped_parser"]`. If it is the parser that is wrong, debug mode shows its traceback.
    Remedy: Return a mapping with "event" and "path", and perhaps "data" and "id".
    """
    app = mistake.runs("""
        import json

        from wsrooms import WsApp

        def parse(frame):
            event, path, data = json.loads(frame)
            return {"evnt": event, "path": path, "data": data}

        ws = WsApp(message_parser=parse, debug=True)
    """).ws
    async with mistake.client(app) as client:
        await client.send(json.dumps(["join", "/chat/general", None]))
        await client.handled()
    assert mistake.log() == [
        (
            "WARNING dropped a message of 5f0c… without an answer: message_parser refused "
            "it\nTraceback (most recent call last):\n  ...\nKeyError: 'event'"
        ),
    ]


async def test_a_page_of_another_host_is_named_in_the_log(mistake: Mistake) -> None:
    """A page of another host.

    Why: A browser sends cookies wherever a page connects to, so by default only pages of the
    server's own host may.
    Remedy: The line in the log names the option. `debug=True` lets every port of this machine in.
    """
    app = mistake.runs("""
        from wsrooms import WsApp

        ws = WsApp()
    """).ws
    async with mistake.serving(app) as url:
        headers = {"Origin": "https://example.org"}
        assert (
            await refused(mistake, url, additional_headers=headers)
            == "403 Forbidden: This origin may not connect."
        )
    assert mistake.log() == [
        (
            "WARNING refused a page of origin 'https://example.org' on host "
            "'127.0.0.1:8000': if it is yours, start with "
            "WsApp(allowed_origins=['https://example.org'])"
        ),
    ]


async def test_the_port_speaks_websocket(mistake: Mistake) -> None:
    """A browser's address bar, or curl.

    Why: They send plain HTTP.
    Remedy: Connect with a WebSocket; serve pages and health checks with
    `ws.run(http_handler=...)`.
    """
    app = mistake.runs("""
        from wsrooms import WsApp

        ws = WsApp()
    """).ws
    async with mistake.serving(app) as url:
        assert (
            await mistake.http_get(url)
            == "426 Upgrade Required: This is a WebSocket server: connect with ws:// or wss://."
        )


async def test_only_the_path_of_the_address_is_upgraded(mistake: Mistake) -> None:
    """A client that connects to another path.

    Why: With `path="/ws"` the address serves this path alone.
    Remedy: Connect to it. In the log it is a line at level DEBUG.
    """
    app = mistake.runs("""
        from wsrooms import WsApp

        ws = WsApp()

        if __name__ == "__main__":
            ws.run(port=8000, path="/ws")
    """).ws
    mistake.level = logging.DEBUG
    async with mistake.serving(app, path="/ws") as url:
        assert (
            await refused(mistake, url + "/socket")
            == "404 Not Found: There is no WebSocket at /socket."
        )
    assert mistake.log("404") == [
        "DEBUG refused /socket with 404: the WebSocket is at /ws (option path)",
    ]
