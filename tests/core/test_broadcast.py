"""One message for many: encoded once, delivered once, and its form between instances."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET, Raw

from tests.ids import shown
from wsrooms import WsApp, use_ws_connection, use_ws_message, use_ws_rooms
from wsrooms.broadcast import Broadcast, ForeignPayload, checked_params, read_payload
from wsrooms.wire import CustomCodec, JsonCodec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wsrooms import Params

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py


class CountingCodec(JsonCodec):
    """Counts what it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.pushes = 0
        self.datas = 0

    def push(self, event: str, path: str, data: object, params: Params | None) -> bytes:
        self.pushes += 1
        return super().push(event, path, data, params)

    def data(self, data: object) -> bytes:
        self.datas += 1
        return super().data(data)


class Member:
    def __init__(self, id: str) -> None:
        self.id = id
        self.rooms: set[str] = set()
        self.received: list[object] = []

    def send(self, event: str, path: str, data: object = UNSET, params: Any = None) -> None:
        self.received.append(data)


def test_it_is_encoded_once_for_clients_and_once_for_the_bus() -> None:
    codec = CountingCodec()
    broadcast = Broadcast(codec, "e", "/p", [1], None)
    members = [Member("a"), Member("b")]
    broadcast.deliver(members, None)
    assert broadcast.payload("x") == broadcast.payload("x")
    broadcast.deliver(members, None)
    assert broadcast.encode() is broadcast.encode()
    assert (codec.pushes, codec.datas) == (1, 1)


@pytest.mark.parametrize(
    ("data", "params", "exclude", "payload"),
    [
        (UNSET, None, None, {}),
        (None, {}, None, {"data": None}),
        (Raw(b""), None, None, {}),
        (Raw(b'{"a": 1.50}'), None, "id", {"data": {"a": 1.5}, "excludeId": "id"}),
        ([], {"a": "b", "c": ["d"]}, None, {"data": [], "params": {"a": "b", "c": ["d"]}}),
        (0, None, Member("m"), {"data": 0, "excludeId": "m"}),
    ],
    ids=shown,
)
def test_the_payload_is_the_originals_json_without_what_is_absent(
    data: object, params: Any, exclude: Any, payload: dict[str, object]
) -> None:
    broadcast = Broadcast(JsonCodec(), "é", "/p", data, params)
    document = broadcast.payload(exclude)
    assert json.loads(document) == {"event": "é", "path": "/p", **payload}
    read = read_payload(document.decode())
    assert (read.event, read.path, read.params) == ("é", "/p", params or None)
    assert read.excludeId == payload.get("excludeId")


def test_raw_data_passes_byte_for_byte() -> None:
    raw = Raw(b'{"a" :  1.50, "b":"\\u00e9"}')
    broadcast = Broadcast(JsonCodec(), "e", "/p", raw, None)
    assert bytes(raw) in broadcast.encode()
    assert bytes(read_payload(broadcast.payload(None).decode()).data) == bytes(raw)


def test_lone_surrogates_of_another_instance_become_replacement_characters() -> None:
    payload = read_payload('{"event":"e","path":"/p","data":"\\ud83c and \\ud83d\\ude00"}')
    assert json.loads(bytes(payload.data)) == "\ufffd and 😀"


@pytest.mark.parametrize(
    "payload", ["", "{", "[]", '{"event":"e"}', '{"event":"e","path":"/","data":1e}', "\ud800"]
)
def test_what_is_no_payload_is_foreign(payload: str) -> None:
    with pytest.raises(ForeignPayload):
        read_payload(payload)


def test_deliver_leaves_out_one_member_by_itself_or_by_id() -> None:
    a, b, c = Member("a"), Member("b"), Member("c")
    Broadcast(JsonCodec(), "e", "/", 1, None).deliver([a, b, c], b)
    Broadcast(JsonCodec(), "e", "/", 2, None).deliver([a, b, c], "c")
    assert (a.received, b.received, c.received) == ([1, 2], [2], [1])


def test_params_are_texts_or_lists_of_them() -> None:
    good: dict[str, str | list[str]] = {"a": "b", "c": ["d", "e"], "f": []}
    assert checked_params(good) is good
    assert checked_params(None) is None
    bad: list[Any] = [{"a": 1}, {"a": None}, {1: "a"}, {"a": ["b", 2]}]
    for params in bad:
        with pytest.raises(TypeError, match="params"):
            checked_params(params)


def test_a_custom_serializer_is_called_once_for_all() -> None:
    calls: list[dict[str, object]] = []

    def serializer(message: dict[str, object]) -> str:
        calls.append(message)
        return "x"

    broadcast = Broadcast(CustomCodec(None, serializer), "e", "/p", {"a": 1}, {"k": "v"})
    broadcast.deliver([Member("a"), Member("b")], None)
    broadcast.payload(None)
    assert calls == [{"event": "e", "path": "/p", "params": {"k": "v"}, "data": {"a": 1}}]


# To connections


async def test_one_frame_object_goes_to_every_connection(connect: Connect) -> None:
    app = WsApp()
    app.on_message("join", "/r", lambda: use_ws_rooms().join())
    async with app.serving() as address:
        peers = [await connect(address) for _ in range(3)]
        for peer in peers:
            await peer.call("join", "/r")
        frames: list[bytes] = []
        for connection in app.server.connections():
            connection._deliver = frames.append
        app.room("/r").broadcast("e", {"a": 1})
        assert len(frames) == 3
        assert frames[0] is frames[1] is frames[2]


async def test_data_raw_is_passed_on_as_sent_and_nothing_stays_nothing(connect: Connect) -> None:
    app = WsApp()

    @app.on_message("join", "/r")
    def join() -> None:
        use_ws_rooms().join()

    @app.on_message("say", "/r")
    def say() -> None:
        use_ws_rooms().broadcast("said", use_ws_message().data_raw, exclude_self=False)
        use_ws_connection().send("to you", "/", use_ws_message().data_raw)

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("join", "/r")
        cases: list[tuple[dict[str, object], dict[str, object]]] = [
            ({}, {}),
            ({"data": None}, {"data": None}),
            ({"data": [1.5, {"é": "\u2028"}]}, {"data": [1.5, {"é": "\u2028"}]}),
        ]
        for sent, received in cases:
            peer.send("say", "/r", id="x", **sent)
            assert await peer.reply("x") is None
            assert await peer.pushes() == [
                {"event": "said", "path": "/r", **received},
                {"event": "to you", "path": "/", **received},
            ]


async def test_room_and_composable_differ_only_in_their_defaults(connect: Connect) -> None:
    app = WsApp()
    app.on_message("join", "/c/:x", lambda: use_ws_rooms().join("r"))

    @app.on_message("say", "/c/:x")
    async def say() -> None:
        connection = use_ws_connection()
        use_ws_rooms().broadcast("e", 1, room="r")
        app.room("r").broadcast("e", 1, params={"x": "1"}, exclude=connection.id)
        use_ws_rooms().broadcast("f", 2, room="r", exclude_self=False)
        await asyncio.to_thread(lambda: app.room("r").broadcast("f", 2, params={"x": "1"}))

    async with app.serving() as address:
        a, b = await connect(address), await connect(address)
        for peer in (a, b):
            await peer.call("join", "/c/1")
        await a.call("say", "/c/1")
        e = {"event": "e", "path": "r", "data": 1, "params": {"x": "1"}}
        f = {"event": "f", "path": "r", "data": 2, "params": {"x": "1"}}
        assert await b.pushes() == [e, e, f, f]
        assert await a.pushes() == [f, f]
