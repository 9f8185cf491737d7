"""Two apps on one bus: all that rooms mean, across instances.

Every sentence holds over the memory transport, over a plain class of three
async methods, and over one whose bus echoes, made safe by ``tagged()``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import (
    MemoryBus,
    MemoryTransport,
    TransportError,
    WsApp,
    WsBroadcastTransport,
    tagged,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]
    Bus = Any

ROOM = "/chat/general"


def declare(app: WsApp) -> WsApp:
    @app.on_message("join", "/chat/:room")
    async def join() -> list[str]:
        room = use_ws_message().data
        await use_ws_rooms().join(room)
        return use_ws_rooms().rooms()

    @app.on_message("leave", "/chat/:room")
    def leave() -> list[str]:
        use_ws_rooms().leave(use_ws_message().data)
        return use_ws_rooms().rooms()

    @app.on_message("say", "/chat/:room")
    async def say() -> None:
        options = use_ws_message().data
        await use_ws_rooms().broadcast("said", **options)

    @app.on_message("shout", "/chat/:room")
    async def shout() -> None:
        await use_ws_server().broadcast("shouted", "/all", **use_ws_message().data)

    @app.on_disconnect
    async def goodbye() -> None:
        await asyncio.sleep(0)
        connection = use_ws_connection()
        for room in connection._rooms_in_order():
            app.room(room).broadcast("left", connection.id, exclude=connection.id)

    app.on_message("me", "*", lambda: use_ws_connection().id)
    app.on_message("ping", "*", lambda: "pong")
    return app


class Two:
    """Two apps that serve, with two clients each: a and b of the first, c and d of the second."""

    a: Any
    b: Any
    c: Any
    d: Any

    def __init__(self, apps: list[WsApp], channels: Callable[[], dict[str, int]]) -> None:
        self.one, self.other = apps
        self.channels = channels

    async def heard(self, *names: str) -> dict[str, list[dict[str, Any]]]:
        """What each has been pushed by now. A marker to all says when the bus has brought it."""
        for app in (self.one, self.other):
            await app.broadcast("marker", "/")
        heard: dict[str, list[dict[str, Any]]] = {}
        for name in names or ("a", "b", "c", "d"):
            heard[name] = pushes = []
            left = 2
            while left:
                push = await getattr(self, name).push()
                if push["event"] == "marker":
                    left -= 1
                else:
                    pushes.append(push)
        return {name: pushes for name, pushes in heard.items() if pushes}

    async def call_all(self, event: str, data: object = None) -> None:
        for peer in (self.a, self.b, self.c, self.d):
            await peer.call(event, ROOM, data)


def memory() -> tuple[list[WsBroadcastTransport], Callable[[], dict[str, int]]]:
    bus = MemoryBus()
    return [MemoryTransport(bus), MemoryTransport(bus)], bus.channels


@pytest.fixture(params=["memory", "plain", "tagged echo"])
async def two(
    request: pytest.FixtureRequest, connect: Connect, plain_bus: Bus
) -> AsyncIterator[Two]:
    transports: list[WsBroadcastTransport]
    if request.param == "memory":
        transports, channels = memory()
    elif request.param == "plain":
        transports, channels = [plain_bus.transport() for _ in range(2)], plain_bus.channels
    else:
        transports = [tagged(plain_bus.transport(echo=True)) for _ in range(2)]
        channels = plain_bus.channels
    apps = [declare(WsApp(broadcast_transport=transport)) for transport in transports]
    two = Two(apps, channels)
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(app.serving()) for app in apps]
        for name, address in zip("abcd", [addresses[0]] * 2 + [addresses[1]] * 2, strict=True):
            setattr(two, name, await connect(address))
        yield two
    assert channels() == {}


def said(data: object, path: str = ROOM, **params: object) -> dict[str, object]:
    push: dict[str, object] = {"event": "said", "path": path, "data": data}
    return {**push, "params": params} if params else push


async def test_a_broadcast_reaches_the_room_on_both_and_nobody_else(two: Two) -> None:
    for peer in (two.a, two.b, two.c):
        assert await peer.call("join", ROOM) == [ROOM]
    await two.a.call("say", ROOM, {"data": 1})
    push = said(1, room="general")
    assert await two.heard() == {"b": [push], "c": [push]}


async def test_the_path_is_the_default_room_and_any_name_a_custom_one(two: Two) -> None:
    await two.a.call("join", ROOM)
    for room in ("user:7", "a b.*>", "ünïcode/€"):
        await two.c.call("join", ROOM, room)
        await two.a.call("say", ROOM, {"room": room, "data": room})
        assert await two.heard() == {"c": [said(room, room, room="general")]}
    await two.c.call("say", ROOM, {"data": 1})
    assert await two.heard() == {"a": [said(1, room="general")]}


async def test_params_are_those_of_the_senders_route_and_left_out_where_there_are_none(
    two: Two,
) -> None:
    await two.call_all("join", "/chat/other")
    await two.a.call("say", "/chat/x%20y", {"room": "/chat/other", "data": None})
    push = {"event": "said", "path": "/chat/other", "data": None, "params": {"room": "x y"}}
    assert await two.heard() == {name: [push] for name in "bcd"}
    two.one.room("/chat/other").broadcast("told")
    two.one.room("/chat/other").broadcast("told", params={})
    two.one.room("/chat/other").broadcast("told", 0, params={"p": ["1", "2"], "q": "3"})
    assert await two.heard("b", "c") == {
        name: [
            {"event": "told", "path": "/chat/other"},
            {"event": "told", "path": "/chat/other"},
            {
                "event": "told",
                "path": "/chat/other",
                "data": 0,
                "params": {"p": ["1", "2"], "q": "3"},
            },
        ]
        for name in "bc"
    }


async def test_the_sender_is_left_out_unless_it_wants_to_hear_itself(two: Two) -> None:
    await two.call_all("join")
    await two.c.call("say", ROOM, {"data": 1})
    assert (await two.heard()).keys() == set("abd")
    await two.c.call("say", ROOM, {"data": 2, "exclude_self": False})
    assert (await two.heard()).keys() == set("abcd")


async def test_a_connection_may_be_excluded_by_id(two: Two) -> None:
    await two.call_all("join")
    id = await two.a.call("me", ROOM)
    two.one.room(ROOM).broadcast("said", 1, exclude=id)
    assert await two.heard() == {name: [said(1)] for name in "bcd"}
    two.one.room(ROOM).broadcast("said", 2, exclude="nobody")
    assert await two.heard() == {name: [said(2)] for name in "abcd"}


async def test_local_stays_here(two: Two) -> None:
    await two.call_all("join")
    assert two.one.room(ROOM).broadcast("said", 1, local=True).done
    assert await two.heard() == {name: [said(1)] for name in "ab"}
    two.other.broadcast("said", ROOM, 2, local=True)
    assert await two.heard() == {name: [said(2)] for name in "cd"}


async def test_a_server_wide_broadcast_reaches_every_client_the_sender_too(two: Two) -> None:
    await two.a.call("shout", ROOM, {"data": "fire", "params": {"floor": "3"}})
    push = {"event": "shouted", "path": "/all", "data": "fire", "params": {"floor": "3"}}
    assert await two.heard() == {name: [push] for name in "abcd"}
    two.other.broadcast("quiet", "/")
    assert await two.heard() == {name: [{"event": "quiet", "path": "/"}] for name in "abcd"}


async def test_one_message_is_received_once_however_often_one_joined(two: Two) -> None:
    for _ in range(3):
        await two.call_all("join")
    await two.d.call("say", ROOM, {"data": 1})
    assert await two.heard() == {name: [said(1, room="general")] for name in "abc"}


async def test_who_has_left_hears_no_more_and_who_rejoins_does(two: Two) -> None:
    await two.call_all("join")
    assert await two.c.call("leave", ROOM) == []
    assert await two.c.call("leave", ROOM) == []
    await two.a.call("say", ROOM, {"data": 1})
    assert (await two.heard()).keys() == set("bd")
    assert await two.c.call("join", ROOM) == [ROOM]
    await two.a.call("say", ROOM, {"data": 2})
    assert await two.heard() == {name: [said(2, room="general")] for name in "bcd"}


async def test_the_first_member_subscribes_and_the_last_one_ends_it(
    two: Two, eventually: Eventually
) -> None:
    channel = f"ws:room:{ROOM}"

    def subscribed() -> int:
        return two.channels().get(channel, 0)

    assert two.channels() == {"ws:server": 2}
    await two.a.call("join", ROOM)
    assert subscribed() == 1
    await two.b.call("join", ROOM)
    assert subscribed() == 1
    await two.c.call("join", ROOM)
    assert subscribed() == 2
    await two.a.call("leave", ROOM)
    await two.c.close()
    await eventually(lambda: subscribed() == 1)
    two.b.abort()
    await eventually(lambda: subscribed() == 0)
    assert two.channels() == {"ws:server": 2}
    await two.d.call("join", ROOM)
    assert subscribed() == 1
    await two.a.call("say", ROOM, {"data": 1})
    assert await two.heard("a", "d") == {"d": [said(1, room="general")]}


async def test_queries_answer_for_this_instance_only(two: Two) -> None:
    await two.call_all("join")
    id = await two.a.call("me", ROOM)
    assert len(two.one.room(ROOM)) == len(two.other.room(ROOM)) == 2
    assert len(two.one.server.connections()) == 2
    connection = two.one.server.get_connection(id)
    assert connection is not None
    assert two.other.server.get_connection(id) is None
    assert connection in two.one.server.room_connections(ROOM)
    assert connection not in two.other.server.room_connections(ROOM)
    assert connection.rooms == {ROOM}


async def test_what_on_disconnect_tells_its_rooms_reaches_both(
    two: Two, eventually: Eventually
) -> None:
    await two.call_all("join")
    await two.a.call("join", ROOM, "second")
    await two.d.call("join", ROOM, "second")
    id = await two.a.call("me", ROOM)
    two.a.abort()
    left = {"event": "left", "path": ROOM, "data": id}
    await eventually(lambda: len(two.one.room(ROOM)) == 1)
    heard = await two.heard("b", "c", "d")
    assert heard == {"b": [left], "c": [left], "d": [left, {**left, "path": "second"}]}


async def test_the_order_of_one_room_is_kept_with_the_replies_of_the_handler(two: Two) -> None:
    await two.call_all("join")
    for number in range(20):
        two.a.send("say", ROOM, {"data": number, "exclude_self": False}, id=f"#{number}")
    await two.a.reply("#19")
    heard = await two.heard()
    pushes = [said(number, room="general") for number in range(20)]
    assert heard == dict.fromkeys("abcd", pushes)
    frames = [frame for frame in two.a.received if frame.get("event") != "marker"]
    numbers = [frame["data"] if "event" in frame else frame["id"] for frame in frames[1:]]
    assert numbers == [each for n in range(20) for each in (n, f"#{n}")]


async def test_data_passes_as_it_was_sent(two: Two) -> None:
    await two.call_all("join")
    cases: list[object] = [None, "é\u2028😀", 1.5, [], {"a": {"b": [1, {}]}}, "x" * 100_000]
    for data in cases:
        await two.a.call("say", ROOM, {"data": data})
        assert await two.heard("c") == {"c": [said(data, room="general")]}


async def test_health_and_figures_tell_of_the_bus(two: Two) -> None:
    await two.call_all("join")
    before = two.other.stats()["received"]
    two.one.room(ROOM).broadcast("said")
    await two.heard()
    assert two.other.stats()["received"] == before + 2  # with the marker
    assert two.one.health().state == two.other.health().state == "up"
    for app in (two.one, two.other):
        stats = app.stats()
        assert (stats["memberships"], stats["rooms"], stats["connections"]) == (2, 1, 2)
        assert stats["foreign"] == stats["echoes"] == stats["gaps"] == stats["duplicates"] == 0


# Plain transports that behave badly


async def test_a_bus_that_echoes_untagged_is_found_out_once_and_tagged_is_named(
    connect: Connect, plain_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    apps = [declare(WsApp(broadcast_transport=plain_bus.transport(echo=True))) for _ in range(2)]
    async with apps[0].serving() as here, apps[1].serving() as there:
        a, b, c = await connect(here), await connect(here), await connect(there)
        for peer in (a, b, c):
            await peer.call("join", ROOM)
        for number in range(3):
            await a.call("say", ROOM, {"data": number})
        for peer in (b, c):
            assert [(await peer.push())["data"] for _ in range(3)] == [0, 1, 2]
        assert await a.pushes() == await b.pushes() == await c.pushes() == []
        assert apps[0].stats()["echoes"] == 3
        assert apps[1].stats()["echoes"] == 0
    [error] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "wsrooms.tagged()" in error.getMessage()
    assert error.levelno == logging.ERROR


async def test_an_echo_that_comes_after_its_sender_left_is_known_all_the_same(
    connect: Connect, plain_bus: Bus, eventually: Eventually
) -> None:
    transport = plain_bus.transport(echo=True)
    app = declare(WsApp(broadcast_transport=transport))
    async with app.serving() as address:
        a, b = await connect(address), await connect(address)
        for peer in (a, b):
            await peer.call("join", ROOM)
        release = transport.hold(f"publish ws:room:{ROOM}")
        await a.close()
        await eventually(lambda: len(app.server.connections()) == 1)
        release()
        await eventually(lambda: app.stats()["echoes"] == 1)
        assert [push["event"] for push in await b.pushes()] == ["left"]


async def test_a_publish_that_fails_raises_nothing_but_its_receipt(
    connect: Connect, plain_bus: Bus, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    transport = plain_bus.transport()
    app = declare(WsApp(broadcast_transport=transport))
    async with app.serving() as address:
        a, b = await connect(address), await connect(address)
        for peer in (a, b):
            await peer.call("join", ROOM)
        transport.failing[f"publish ws:room:{ROOM}"] = LookupError("no such topic")
        answer = await a.call("say", ROOM, {"data": 1})  # it awaits the receipt
        assert answer["error"] == {"code": 503, "message": "Service Unavailable"}
        assert await b.push() == said(1, room="general")
        receipt = app.room(ROOM).broadcast("said")
        with pytest.raises(TransportError, match="no such topic"):
            await receipt
        app.room(ROOM).broadcast("dropped")
        await eventually(lambda: app.stats()["receipts_failed"])
        assert app.stats()["receipts_failed"] == 1
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "no such topic" in record.getMessage()


async def test_what_is_no_message_on_our_channels_is_dropped_and_counted(
    connect: Connect, plain_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    app = declare(WsApp(broadcast_transport=plain_bus.transport()))
    stranger = plain_bus.transport()
    foreign = [
        "", "no json", "[]", "1", '{"event":1,"path":"/"}', '{"event":"e"}', "[" * 100_000,
        '{"event":"e","path":"/","params":{"a":1}}', "1 me 1 1 {}", '{"event":"\ud800","path":"/"}',
        '{"event":"e","path":"/","excludeId":5}', '{"event":"e","path":"/","data":}',
    ]  # fmt: skip
    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("join", ROOM)
        for payload in foreign:
            await stranger.publish(f"ws:room:{ROOM}", payload)
        good = {"event": "e", "path": "/elsewhere", "data": {"a": [1]}, "more": True}
        await stranger.publish(f"ws:room:{ROOM}", json.dumps(good))
        assert await peer.push() == {"event": "e", "path": "/elsewhere", "data": {"a": [1]}}
        assert app.stats()["foreign"] == len(foreign)
        assert app.stats()["received"] == 1
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
