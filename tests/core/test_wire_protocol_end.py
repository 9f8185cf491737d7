"""The wire protocol's sizes, closing codes and codecs: frames in and out, over a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.deadlines import DEADLINE
from wsrooms import (
    TransportUnavailable,
    WsApp,
    WsError,
    WsLimits,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    # A fixture of conftest.py, which importlib mode does not let us import.
    RawClient = Any

MIB = 1_048_576
MARK = '{"event":"mark","path":"/mark","id":"mark"}'
MARKED = '{"id":"mark","data":null}'


def declare(app: WsApp) -> WsApp:
    """Declare what the tests below ask for."""
    app.on_message("mark", "/mark", lambda: None)
    app.on_message("echo", "/x", lambda: use_ws_message().data)

    @app.on_message("push", "/x")
    def push() -> str:
        use_ws_connection().send("first", "/p")
        use_ws_connection().send("second", "/p", None)
        use_ws_connection().send("third", "/p", [1], {"name": "ü", "rest": ["a", "b"]})
        return "done"

    @app.on_message("join", "*")
    async def join() -> None:
        await use_ws_rooms().join(use_ws_message().data)

    @app.on_message("close", "/x")
    def close() -> str:
        use_ws_connection().close(*use_ws_message().data)
        return "too late"

    return app


@pytest.fixture
async def client(raw_client: Callable[..., Any]) -> AsyncIterator[RawClient]:
    async with declare(WsApp()).serving() as address, raw_client(address) as client:
        yield client


def m(event: str, path: str = "/x", **members: object) -> str:
    """Write a message as a browser does."""
    return json.dumps(
        {"event": event, "path": path, **members}, separators=(",", ":"), ensure_ascii=False
    )


def fragments(client: RawClient, parts: list[bytes]) -> list[bytes]:
    return [
        client.frame(part, client.CONT if number else client.TEXT, fin=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]


# Sizes


async def test_a_message_of_max_message_size_is_taken_and_a_longer_one_dropped(
    raw_client: Callable[..., Any],
) -> None:
    app = declare(WsApp(max_message_size=1000))
    message = m("echo", data="", id=1)
    fits = message.replace('""', '"' + "a" * (1000 - len(message)) + '"')
    over = message.replace('""', '"' + "a" * (1001 - len(message)) + '"')
    async with app.serving() as address, raw_client(address) as client:
        await client.send(over, fits, MARK)
        (reply,) = await client.texts(until=MARKED)
        assert len(reply) == 1000 - len(message) + len('{"id":1,"data":""}')
        await client.write(
            client.frame(over[:500].encode(), client.TEXT, fin=False),
            client.frame(over[500:].encode(), client.CONT),
            client.frame(MARK),
        )
        assert await client.texts(until=MARKED) == []
        assert app.stats()["dropped"] == 2


async def test_the_size_limit_is_one_mebibyte_where_nothing_is_said(client: RawClient) -> None:
    message = m("echo", data="", id=1)
    fits = message.replace('""', '"' + "a" * (MIB - len(message)) + '"')
    await client.send(fits.replace('"aa', '"aaa'), fits, MARK)
    assert [len(reply) for reply in await client.texts(until=MARKED)] == [
        MIB - len(message) + len('{"id":1,"data":""}')
    ]


@pytest.mark.parametrize("size", [16_000, 16_001])
async def test_sixteen_times_the_size_is_dropped_and_more_closes_with_1009(
    size: int, raw_client: Callable[..., Any]
) -> None:
    async with (
        declare(WsApp(max_message_size=1000)).serving() as address,
        raw_client(address) as client,
    ):
        await client.send(" " * size, MARK)
        if size == 16_000:
            assert await client.texts(until=MARKED) == []
        else:
            assert (await client.close_code())[0] == 1009


async def test_a_frame_over_the_hard_limit_is_refused_by_its_length_alone(
    client: RawClient,
) -> None:
    head = client.frame(b"a" * (16 * MIB + 1), client.TEXT)[:14]  # the length, and no payload
    await client.write(head)
    assert (await client.close_code())[0] == 1009


async def test_fragments_that_together_pass_the_hard_limit_close_with_1009(
    raw_client: Callable[..., Any],
) -> None:
    async with (
        declare(WsApp(max_message_size=1000)).serving() as address,
        raw_client(address) as client,
    ):
        await client.write(client.frame(b"a" * 8000, client.TEXT, fin=False))
        await client.write(client.frame(b"a" * 8000, client.CONT, fin=False))
        await client.write(client.frame(b"a", client.CONT, fin=False))
        assert (await client.close_code())[0] == 1009


# Closing


async def test_text_that_is_not_utf_8_closes_with_1007(client: RawClient) -> None:
    await client.write(
        client.frame(m("echo", data="before", id=1)),
        client.frame(b'{"event":"echo","path":"/x","data":"\xff","id":2}', client.TEXT),
        client.frame(m("echo", data="after", id=3)),
    )
    assert await client.text() == '{"id":1,"data":"before"}'
    assert (await client.close_code())[0] == 1007


async def test_text_in_fragments_that_is_not_utf_8_as_a_whole_closes_with_1007(
    client: RawClient,
) -> None:
    await client.write(*fragments(client, [b'"\xc3', b'\xc3"']))
    assert (await client.close_code())[0] == 1007


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (WsError(401), 1008, "WsError 401"),
        (WsError(401, "who are you?"), 1008, "who are you?"),
        (WsError(403, "not you"), 1008, "not you"),
        (WsError(404, "no such chat"), 1011, "no such chat"),
        (RuntimeError("secret"), 1011, "Internal Error"),
        (TransportUnavailable("secret"), 1011, "Service Unavailable"),
        (WsError(403, "ü" * 62), 1008, "ü" * 61),
        (WsError(403, "a" * 124), 1008, "a" * 123),
        (WsError(403, "a" * 123), 1008, "a" * 123),
        (WsError(403, "a" * 121 + "😀"), 1008, "a" * 121),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
async def test_what_on_connect_raises_closes_the_connection(
    error: Exception, code: int, reason: str, later: bool, raw_client: Callable[..., Any]
) -> None:
    app = declare(WsApp())

    def refuse() -> None:
        raise error

    async def refuse_later() -> None:
        await asyncio.sleep(0)
        raise error

    app.on_connect(refuse_later if later else refuse)
    async with app.serving() as address, raw_client(address) as client:
        assert await client.close_code() == (code, reason)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ([], 1000, ""),
        ([1000, "bye"], 1000, "bye"),
        ([3000], 3000, ""),
        ([4999, "ü" * 100], 4999, "ü" * 61),
        ([1014], 1014, ""),
    ],
)
async def test_close_sends_what_it_is_given_and_nothing_after_it(
    arguments: list[Any], code: int, reason: str, client: RawClient
) -> None:
    await client.send(m("push", id=1), m("close", data=arguments, id=2), m("echo", id=3))
    for _ in range(3):
        await client.text()
    assert await client.text() == '{"id":1,"data":"done"}'
    assert await client.close_code() == (code, reason)
    await client.write(client.close_frame(code))
    assert await client.end() == b""


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])
async def test_codes_that_must_not_be_sent_are_refused(code: int, client: RawClient) -> None:
    await client.send(m("close", data=[code], id=1))
    assert await client.text() == '{"id":1,"error":{"code":500,"message":"Internal Error"}}'


async def test_the_first_close_wins(raw_client: Callable[..., Any]) -> None:
    app = WsApp()
    gone: asyncio.Future[tuple[int | None, str | None]] = asyncio.Future()

    @app.on_message("close", "/x")
    def close() -> None:
        use_ws_connection().close(4001, "first")
        use_ws_connection().close(4002, "second")

    @app.on_disconnect
    def disconnected() -> None:
        connection = use_ws_connection()
        gone.set_result((connection.close_code, connection.close_reason))

    async with app.serving() as address, raw_client(address) as client:
        await client.send(m("close"))
        assert await client.close_code() == (4001, "first")
        await client.write(client.close_frame(4003, "third"))
        async with asyncio.timeout(DEADLINE):
            assert await gone == (4001, "first")


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ((1000, ""), (1000, "")),
        ((1001, ""), (1001, "")),
        ((4321, "ü"), (4321, "ü")),
        ((None, ""), (1005, "")),
    ],
)
async def test_the_close_of_a_client_is_echoed_and_seen(
    sent: tuple[int | None, str], seen: tuple[int, str], raw_client: Callable[..., Any]
) -> None:
    app = WsApp()
    gone: asyncio.Future[tuple[int | None, str | None]] = asyncio.Future()

    @app.on_disconnect
    def disconnected() -> None:
        connection = use_ws_connection()
        gone.set_result((connection.close_code, connection.close_reason))

    async with app.serving() as address, raw_client(address) as client:
        await client.write(client.close_frame(*sent))
        assert await client.close_code() == seen
        async with asyncio.timeout(DEADLINE):
            assert await gone == seen
        assert await client.end() == b""


async def test_the_end_of_the_server_closes_with_1001(raw_client: Callable[..., Any]) -> None:
    app = declare(WsApp())
    async with app.serving() as address, raw_client(address) as client:
        await client.send(m("join", "/r", data="/r", id=1))
        await client.text()
        closing = asyncio.ensure_future(app.close())
        assert (await client.close_code())[0] == 1001
        await client.write(client.close_frame(1001))
        assert await client.end() == b""
        await closing


async def test_a_client_that_holds_up_on_connect_with_unread_pushes_gets_4008(
    raw_client: Callable[..., Any],
) -> None:
    app = WsApp(limits=WsLimits(outbox_messages=10))
    joined, told = asyncio.Event(), asyncio.Event()

    @app.on_connect
    async def connect() -> None:
        use_ws_connection().join("all")
        joined.set()
        await told.wait()

    async with app.serving() as address, raw_client(address) as client:
        async with asyncio.timeout(DEADLINE):
            await joined.wait()
        for _ in range(11):
            app.room("all").broadcast("tick")
        assert (await client.close_code())[0] == 4008
        told.set()


# A parser and a serializer in place of JSON


def parse(frame: str | bytes) -> Mapping[str, Any]:
    """Read what the tests write: MessagePack in binary frames, lines in text frames."""
    if isinstance(frame, bytes):
        return msgspec.msgpack.decode(frame, type=dict[str, Any])
    event, path, *more = frame.split("\n")
    return {"event": event, "path": path, **dict(line.split("=", 1) for line in more)}


async def test_a_parser_reads_text_and_binary_frames_and_a_serializer_writes_binary_ones(
    raw_client: Callable[..., Any],
) -> None:
    written: list[dict[str, Any]] = []

    def serialize(message: dict[str, Any]) -> bytes:
        written.append(message)
        return msgspec.msgpack.encode(message)

    app = declare(WsApp(message_parser=parse, message_serializer=serialize))
    pack = msgspec.msgpack.encode
    async with app.serving() as address, raw_client(address) as client:
        await client.send(
            pack({"event": "echo", "path": "/x", "data": b"\xff\x00", "id": 1}),
            "echo\n/x\ndata=ü\nid=a",
            pack({"event": "echo", "path": "/x", "data": 1}),
            pack({"event": "none", "path": "/x", "id": 2.5}),
            pack({"event": "push", "path": "/x"}),
        )
        frames = [await client.receive() for _ in range(6)]
    assert {frame.opcode for frame in frames} == {client.BINARY}
    expected: list[dict[str, Any]] = [
        {"id": 1, "data": b"\xff\x00"},
        {"id": "a", "data": "ü"},
        {"id": 2.5, "error": {"code": 404, "message": "Not found"}},
        {"event": "first", "path": "/p"},
        {"event": "second", "path": "/p", "data": None},
        {"event": "third", "path": "/p", "params": {"name": "ü", "rest": ["a", "b"]}, "data": [1]},
    ]
    assert [msgspec.msgpack.decode(frame.payload) for frame in frames] == expected
    assert [list(message) for message in written] == [list(message) for message in expected]


async def test_a_serializer_that_returns_str_writes_text_frames(
    raw_client: Callable[..., Any],
) -> None:
    app = declare(WsApp(message_serializer=lambda message: repr(message["data"])))
    async with app.serving() as address, raw_client(address) as client:
        await client.send(m("echo", data={"a": [None]}, id=1))
        assert await client.text() == "{'a': [None]}"


async def test_what_a_parser_raises_or_lacks_drops_the_message(
    raw_client: Callable[..., Any],
) -> None:
    app = declare(WsApp(message_parser=parse))
    pack = msgspec.msgpack.encode
    async with app.serving() as address, raw_client(address) as client:
        await client.send(
            b"\xc1",
            "echo",
            pack([1]),
            pack({"event": "echo", "path": 1, "id": 1}),
            pack({"event": "echo", "path": "/x", "id": True}),
            pack({"event": "echo", "path": "/x", "id": [1]}),
            "mark\n/mark\nid=mark",
        )
        assert await client.texts(until=MARKED) == []
        assert app.stats()["dropped"] == 6


async def test_a_serializer_that_fails_is_a_500_and_the_connection_lives(
    raw_client: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def serialize(message: dict[str, Any]) -> str:
        if "data" in message and message["data"] == "bad":
            raise RuntimeError("secret")
        return json.dumps(message)

    app = declare(WsApp(message_serializer=serialize))
    async with app.serving() as address, raw_client(address) as client:
        await client.send(m("echo", data="bad", id=1), m("echo", data="good", id=2))
        assert json.loads(await client.text()) == {
            "id": 1,
            "error": {"code": 500, "message": "Internal Error"},
        }
        assert json.loads(await client.text()) == {"id": 2, "data": "good"}
    assert "echo /x" in caplog.text
