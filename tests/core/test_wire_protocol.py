"""The wire protocol, line by line: frames in and frames out, over a real socket, to the byte."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from wsrooms import (
    UNSET,
    TransportUnavailable,
    WsApp,
    WsError,
    WsMessage,
    use_route_params,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    # A fixture of conftest.py, which importlib mode does not let us import.
    RawClient = Any

MARK = '{"event":"mark","path":"/mark","id":"mark"}'
MARKED = '{"id":"mark","data":null}'


class Order(msgspec.Struct):
    item: str
    count: int = 1


def declare(app: WsApp) -> WsApp:
    """Declare handlers for all that the protocol promises."""
    app.on_message("mark", "/mark", lambda: None)
    app.on_message("echo", "/x", lambda: use_ws_message().data)
    app.on_message("raw", "/x", lambda: use_ws_message().data_raw)
    app.on_message("has", "/x", lambda: use_ws_message().has_data)
    app.on_message("path", "/chat/:room", lambda: use_ws_message().path)
    app.on_message("param", "/chat/:room", lambda: use_route_params()["room"])
    app.on_message("nothing", "/x", lambda: None)
    app.on_message("unset", "/x", lambda: UNSET)
    app.on_message("set", "/x", lambda: {1, 2, object()})
    app.on_message("order", "/x", order)

    @app.on_message("async", "/x")
    async def answer_later() -> object:
        await asyncio.sleep(0)
        return use_ws_message().data

    @app.on_message("push", "/x")
    def push() -> str:
        use_ws_connection().send("first", "/p")
        use_ws_connection().send("second", "/p", None)
        use_ws_connection().send("third", "/p", [1], {"name": "ü", "rest": ["a", "b"]})
        return "done"

    @app.on_message("push-later", "/x")
    async def push_later() -> str:
        use_ws_connection().send("first", "/p")
        await asyncio.sleep(0)
        use_ws_connection().send("second", "/p")
        return "done"

    @app.on_message("fail", "/x")
    def fail() -> None:
        raise WsError(*use_ws_message().data)

    @app.on_message("fail-later", "/x")
    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise WsError(*use_ws_message().data)

    @app.on_message("break", "/x")
    def break_() -> None:
        raise RuntimeError("secret")

    @app.on_message("bus", "/x")
    def bus() -> None:
        raise TransportUnavailable("secret")

    @app.on_message("join", "*")
    async def join() -> list[str]:
        rooms = use_ws_rooms()
        await rooms.join(use_ws_message().data)
        return rooms.rooms()

    @app.on_message("say", "/chat/:room")
    def say() -> None:
        message = use_ws_message()
        use_ws_rooms().broadcast("said", message.data_raw if message.has_data else UNSET)

    @app.on_message("both", "/x")
    def first_fails() -> None:
        raise WsError(418)

    app.on_message("both", "/x", lambda: "second")

    @app.on_message("neither", "/x")
    def neither() -> None:
        raise RuntimeError("secret")

    @app.on_message("neither", "/x")
    async def neither_later() -> None:
        raise WsError(409, "the last one's")

    return app


def order(message: WsMessage[Order]) -> Order:
    return message.data


@pytest.fixture
async def client(raw_client: Callable[..., Any]) -> AsyncIterator[RawClient]:
    async with declare(WsApp()).serving() as address, raw_client(address) as client:
        yield client


def m(event: str, path: str = "/x", **members: object) -> str:
    """Write a message as a browser does."""
    return json.dumps(
        {"event": event, "path": path, **members}, separators=(",", ":"), ensure_ascii=False
    )


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


ANSWERED: dict[str, tuple[list[str | bytes | list[bytes]], list[str]]] = {
    "a request gets one reply": ([m("echo", data=1, id=1)], ['{"id":1,"data":1}']),
    "a message without an id gets none": ([m("echo", data=1)], []),
    "a failure without an id gets none": ([m("break"), m("fail", data=[400]), m("none")], []),
    "an id of null is none": ([m("echo", data=1, id=None)], []),
    "an async handler's reply": ([m("async", data="x", id=1)], ['{"id":1,"data":"x"}']),
    "None is null": ([m("nothing", id=1)], ['{"id":1,"data":null}']),
    "a reply has data even where none was given": (
        [m("unset", id=1)],
        ['{"id":1,"data":null}'],
    ),
    "data of null is data": (
        [m("has", data=None, id=1), m("has", id=2), m("has", data=False, id=3)],
        ['{"id":1,"data":true}', '{"id":2,"data":false}', '{"id":3,"data":true}'],
    ),
    "0 and the empty string are ids": (
        [m("echo", id=0), m("echo", id="")],
        ['{"id":0,"data":null}', '{"id":"","data":null}'],
    ),
    "numbers come back byte for byte": (
        [
            '{"event":"echo","path":"/x","id":1.50}',
            '{"event":"echo","path":"/x","id":-0}',
            '{"event":"echo","path":"/x","id":1e3}',
            '{"event":"echo","path":"/x","id":123456789012345678901234567890}',
            '{"event":"echo","path":"/x","id":0.1000000000000000055511151231257827}',
        ],
        [
            '{"id":1.50,"data":null}',
            '{"id":-0,"data":null}',
            '{"id":1e3,"data":null}',
            '{"id":123456789012345678901234567890,"data":null}',
            '{"id":0.1000000000000000055511151231257827,"data":null}',
        ],
    ),
    "strings come back byte for byte, escapes as they were": (
        [
            '{"event":"echo","path":"/x","id":"\\u00fc \\/ \\n"}',
            '{"event":"echo","path":"/x","id":"ü"}',
        ],
        ['{"id":"\\u00fc \\/ \\n","data":null}', '{"id":"ü","data":null}'],
    ),
    "an error has the id, too": (
        ['{"event":"?","path":"/x","id":1.0}'],
        ['{"id":1.0,"error":{"code":404,"message":"Not found"}}'],
    ),
    "other members are ignored, the order of members too": (
        ['{"id":1,"extra":{"id":9},"data":[2],"path":"/x","v":2,"event":"echo"}'],
        ['{"id":1,"data":[2]}'],
    ),
    "white space is allowed": (
        [' \r\n{ "event" : "echo" ,\t"path":"/x" , "id" : 1 }\n'],
        ['{"id":1,"data":null}'],
    ),
    "JSON in a binary frame, answered in a text frame": (
        [m("echo", data="ü", id=1).encode()],
        ['{"id":1,"data":"ü"}'],
    ),
    "a message in fragments, cut inside a character": (
        [[m("echo", data="ü", id=1).encode()[:29], b"", m("echo", data="ü", id=1).encode()[29:]]],
        ['{"id":1,"data":"ü"}'],
    ),
    "unicode is sent as it is, not escaped": (
        ['{"event":"echo","path":"/x","id":1,"data":"\\u00fc \\ud83d\\ude00"}'],
        ['{"id":1,"data":"ü 😀"}'],
    ),
    "data that is passed on raw keeps its bytes": (
        ['{"event":"raw","path":"/x","id":1,"data":[ 1.0, 1e2,"\\u00fc"]}'],
        ['{"id":1,"data":[ 1.0, 1e2,"\\u00fc"]}'],
    ),
    "a lone surrogate is accepted and becomes the replacement character": (
        ['{"event":"echo","path":"/x","id":1,"data":"a\\ud83d"}'],
        ['{"id":1,"data":"a\ufffd"}'],
    ),
    "pushes: no data is left out, None is null, empty params are left out; the reply is last": (
        [m("push", id=1)],
        [
            '{"event":"first","path":"/p"}',
            '{"event":"second","path":"/p","data":null}',
            '{"event":"third","path":"/p","params":{"name":"ü","rest":["a","b"]},"data":[1]}',
            '{"id":1,"data":"done"}',
        ],
    ),
    "what an async handler pushes comes before its reply": (
        [m("push-later", id=1)],
        [
            '{"event":"first","path":"/p"}',
            '{"event":"second","path":"/p"}',
            '{"id":1,"data":"done"}',
        ],
    ),
    "replies come in the order of the requests": (
        [m("async", data=1, id=1), m("echo", data=2, id=2), m("async", data=3, id=3)],
        ['{"id":1,"data":1}', '{"id":2,"data":2}', '{"id":3,"data":3}'],
    ),
    "404: no route, by event or by path": (
        [m("echo", "/y", id=1), m("nope", "/x", id=2), m("echo", "/x/", id=3)],
        [f'{{"id":{id},"error":{{"code":404,"message":"Not found"}}}}' for id in (1, 2, 3)],
    ),
    "WsError: its code and message": (
        [m("fail", data=[409, "taken: ü"], id=1), m("fail-later", data=[4711, ""], id=2)],
        [
            '{"id":1,"error":{"code":409,"message":"taken: ü"}}',
            '{"id":2,"error":{"code":4711,"message":""}}',
        ],
    ),
    "WsError without a message says its code": (
        [m("fail", data=[418], id=1)],
        ['{"id":1,"error":{"code":418,"message":"WsError 418"}}'],
    ),
    "500: any other exception, and nothing of it is told": (
        [m("break", id=1)],
        ['{"id":1,"error":{"code":500,"message":"Internal Error"}}'],
    ),
    "500: a result that is not JSON": (
        [m("set", id=1)],
        ['{"id":1,"error":{"code":500,"message":"Internal Error"}}'],
    ),
    "503: the bus": (
        [m("bus", id=1)],
        ['{"id":1,"error":{"code":503,"message":"Service Unavailable"}}'],
    ),
    "400: a number that does not fit, where a handler asks": (
        ['{"event":"echo","path":"/x","id":1,"data":1e999}'],
        ['{"id":1,"error":{"code":400,"message":"Undecodable data: Number out of range"}}'],
    ),
    "422: data of another type, in the words of msgspec": (
        [
            m("order", data={"item": 1}, id=1),
            m("order", data={}, id=2),
            m("order", id=3),
            m("order", data={"item": "a"}, id=4),
        ],
        [
            '{"id":1,"error":{"code":422,"message":"Expected `str`, got `int` - at `$.item`"}}',
            '{"id":2,"error":{"code":422,"message":"Object missing required field `item`"}}',
            '{"id":3,"error":{"code":422,"message":"Expected `object`, got `null`"}}',
            '{"id":4,"data":{"item":"a","count":1}}',
        ],
    ),
    "of several handlers the first that does not raise answers": (
        [m("both", id=1)],
        ['{"id":1,"data":"second"}'],
    ),
    "and where all raise, the last one's error counts": (
        [m("neither", id=1)],
        ['{"id":1,"error":{"code":409,"message":"the last one\'s"}}'],
    ),
    "routing ignores the query; the message and the room keep it": (
        [
            m("path", "/chat/a?b=/c", id=1),
            m("param", "/chat/a%20b?c", id=2),
            m("join", "/chat/a?b", id=3),
        ],
        [
            '{"id":1,"data":"/chat/a?b=/c"}',
            '{"id":2,"data":"a b"}',
            '{"id":3,"data":["/chat/a?b"]}',
        ],
    ),
}


@pytest.mark.parametrize("name", ANSWERED)
async def test_frames_in_and_frames_out(name: str, client: RawClient) -> None:
    sent, expected = ANSWERED[name]
    for message in sent:
        if isinstance(message, list):
            await client.write(*fragments(client, message))
        else:
            await client.send(message)
    await client.send(MARK)
    assert await client.texts(until=MARKED) == expected


@pytest.mark.parametrize("name", ANSWERED)
async def test_the_same_in_one_write(name: str, client: RawClient) -> None:
    sent, expected = ANSWERED[name]
    frames: list[bytes] = []
    for message in sent:
        if isinstance(message, list):
            frames += fragments(client, message)
        else:
            frames.append(client.frame(message))
    await client.write(*frames, client.frame(MARK))
    assert await client.texts(until=MARKED) == expected


def fragments(client: RawClient, parts: list[bytes]) -> list[bytes]:
    return [
        client.frame(part, client.CONT if number else client.TEXT, fin=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]


MALFORMED: dict[str, str | bytes] = {
    "empty": "",
    "no JSON": "hello",
    "two documents": m("echo") + m("echo"),
    "a number": "1",
    "an array": '["echo","/x",1]',
    "null": "null",
    "no event": '{"path":"/x","id":1}',
    "no path": '{"event":"echo","id":1}',
    "an event that is a number": '{"event":1,"path":"/x","id":1}',
    "a path that is null": '{"event":"echo","path":null,"id":1}',
    "an id that is true": m("echo", id=True),
    "an id that is an array": m("echo", id=[1]),
    "an id that is an object": m("echo", id={}),
    "a name in single quotes": "{'event':'echo','path':'/x','id':1}",
    "NaN": '{"event":"echo","path":"/x","id":NaN}',
    "data that is no JSON": '{"event":"raw","path":"/x","id":1,"data":+1}',
    "a control character in a string": '{"event":"raw","path":"/x","id":1,"data":"\n"}',
    "cut short": m("echo", id=1)[:-1],
    "a byte order mark": "\ufeff" + m("echo", id=1),
    "binary that is no JSON": b"\x00\x01",
    "binary that is not UTF-8": b'{"event":"raw","path":"/x","id":1,"data":"\xff"}',
    "binary with a surrogate": b'{"event":"raw","path":"/x","id":1,"data":"\xed\xa0\x80"}',
    "binary with a character cut short": b'{"event":"raw","path":"/x","id":1,"data":"\xc3"}',
    "an array nested 100,000 deep": deep(100_000),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_message_is_dropped_and_counted(
    name: str, raw_client: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "wsrooms")
    app = declare(WsApp())
    async with app.serving() as address, raw_client(address) as client:
        await client.send(MALFORMED[name], MARK)
        assert await client.texts(until=MARKED) == []
        assert app.stats()["dropped"] == 1
        dropped = [record for record in caplog.records if "dropped" in record.message]
        assert [record.levelno for record in dropped] == [logging.DEBUG]


async def test_data_nested_too_deep_is_a_400_where_a_handler_asks_and_passes_nowhere(
    client: RawClient,
) -> None:
    message = '{"event":"%s","path":"/x","id":%d,"data":' + deep(100_000) + "}"
    await client.send(message % ("echo", 1), message % ("raw", 2), message % ("has", 3), MARK)
    first, second, third = await client.texts(until=MARKED)
    assert first.startswith('{"id":1,"error":{"code":400,')
    assert second.startswith('{"id":2,"error":{"code":400,')
    assert third == '{"id":3,"data":true}'


async def test_a_bad_room_name_is_a_400(client: RawClient) -> None:
    await client.send(m("join", "/x", data="", id=1), m("join", "/x", data="a" * 1025, id=2))
    for id in (1, 2):
        assert (await client.text()).startswith(f'{{"id":{id},"error":{{"code":400,"message":"')
    await client.send(m("join", "/x", data="a" * 1024, id=3))
    assert await client.text() == '{"id":3,"data":["' + "a" * 1024 + '"]}'


async def test_a_join_that_the_bus_does_not_confirm_is_a_503(
    raw_client: Callable[..., Any],
) -> None:
    class Silent:
        """A bus that confirms the server's own channel and nothing else."""

        def publish(self, channel: str, payload: str) -> None:
            pass

        async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
            if channel.startswith("ws:room:"):
                await asyncio.get_running_loop().create_future()

        def unsubscribe(self, channel: str) -> None:
            pass

    app = declare(WsApp(broadcast_transport=Silent(), join_timeout=0.05))
    async with app.serving() as address, raw_client(address) as client:
        await client.send(m("join", "/r", data="/r", id=1))
        assert await client.text() == (
            '{"id":1,"error":{"code":503,"message":"Service Unavailable"}}'
        )


async def test_a_broadcast_has_the_room_as_path_and_the_params_of_the_route(
    raw_client: Callable[..., Any],
) -> None:
    app = declare(WsApp())
    async with (
        app.serving() as address,
        raw_client(address) as alice,
        raw_client(address) as bob,
    ):
        for client in (alice, bob):
            await client.send(m("join", "/chat/a%20b?q", data="/chat/a%20b?q", id=1))
            assert await client.text() == '{"id":1,"data":["/chat/a%20b?q"]}'
        said = (
            '{"event":"say","path":"/chat/a%20b?q","data":{ "b":1.0}}',
            '{"event":"say","path":"/chat/a%20b?q","data":null}',
            '{"event":"say","path":"/chat/a%20b?q"}',
        )
        await alice.send(*said, MARK)
        assert await alice.texts(until=MARKED) == []
        await bob.send(MARK)
        start = '{"event":"said","path":"/chat/a%20b?q","params":{"room":"a b"}'
        assert await bob.texts(until=MARKED) == [
            start + ',"data":{ "b":1.0}}',
            start + ',"data":null}',
            start + "}",
        ]


async def test_one_bad_byte_does_not_reach_a_room(raw_client: Callable[..., Any]) -> None:
    async with (
        declare(WsApp()).serving() as address,
        raw_client(address) as bad,
        raw_client(address) as good,
    ):
        await good.send(m("join", "/chat/a", data="/chat/a", id=1))
        await good.text()
        said = b'{"event":"say","path":"/chat/a","data":"\xff"}'
        await bad.send(said)  # binary
        await bad.write(bad.frame(said, bad.TEXT))
        assert (await bad.close_code())[0] == 1007
        await good.send(MARK)
        assert await good.texts(until=MARKED) == []
