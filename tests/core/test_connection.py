"""A connection as handlers see it: what it is sent, from any thread, and how it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import (
    ConnectionGone,
    InvalidRoom,
    NotRunning,
    PayloadTooLarge,
    Receipt,
    TransportError,
    WsApp,
    WsConnection,
    WsKey,
    WsLimits,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
    use_ws_server,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]
    Bus = Any


def only(app: WsApp) -> WsConnection:
    [connection] = app.server.connections()
    return connection


# On the loop


async def test_send_reply_and_reply_error_reach_this_client_alone(connect: Connect) -> None:
    app = WsApp()

    @app.on_message("later", "/")
    def later() -> None:
        connection = use_ws_connection()
        connection.send("bare", "/p")
        connection.send("null", "/p", None)
        connection.send("full", "/p", {"a": 1}, {"k": ["v"]})
        connection.reply("other", [1])
        connection.reply(0)
        connection.reply_error(1.5, 418, "teapot")

    async with app.serving() as address:
        peer, other = await connect(address), await connect(address)
        await peer.call("later", "/")
        assert peer.received == [
            {"event": "bare", "path": "/p"},
            {"event": "null", "path": "/p", "data": None},
            {"event": "full", "path": "/p", "params": {"k": ["v"]}, "data": {"a": 1}},
            {"id": "other", "data": [1]},
            {"id": 0, "data": None},
            {"id": 1.5, "error": {"code": 418, "message": "teapot"}},
            {"id": 1, "data": None},
        ]
        await other.settled()
        assert other.received == []


async def test_what_json_cannot_carry_raises_and_sends_nothing(connect: Connect) -> None:
    app = WsApp()
    async with app.serving() as address:
        peer = await connect(address)
        connection = only(app)
        calls: list[Callable[[], object]] = [
            lambda: connection.send("e", "/", object()),
            lambda: connection.reply(1, object()),
        ]
        for call in calls:
            with pytest.raises(TypeError):
                call()
        await peer.settled()
        assert peer.received == []


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, -1])
async def test_a_close_code_that_cannot_be_sent_is_refused(connect: Connect, code: int) -> None:
    app = WsApp()
    async with app.serving() as address:
        peer = await connect(address)
        with pytest.raises(ValueError, match="3000-4999"):
            only(app).close(code)
        await peer.settled()


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1014, 3000, 4999])
async def test_close_sends_what_came_before_and_the_first_call_wins(
    connect: Connect, code: int
) -> None:
    app = WsApp()
    async with app.serving() as address:
        peer = await connect(address)
        connection = only(app)
        connection.send("last", "/")
        connection.close(code, "because")
        connection.close(4000, "too late")
        connection.send("ignored", "/")
        assert (connection.closed, connection.close_code) == (True, code)
        assert connection.close_reason == "because"
        assert await peer.ended() == (code, "because")
        assert peer.received == [{"event": "last", "path": "/"}]


async def test_a_connection_that_is_over_ignores_sends_and_refuses_joins(
    connect: Connect, eventually: Eventually
) -> None:
    app = WsApp()
    async with app.serving() as address:
        peer = await connect(address)
        connection = only(app)
        await peer.close(4444, "bye")
        await eventually(lambda: not app.server.connections())
        assert (connection.close_code, connection.close_reason) == (4444, "bye")
        connection.send("e", "/")
        connection.reply(1)
        connection.close()
        assert connection.leave("r").done
        with pytest.raises(ConnectionGone) as caught:
            connection.join("r")
        assert caught.value.connection_id == connection.id
        with pytest.raises(ConnectionGone):
            await asyncio.to_thread(lambda: connection.join("r").result(5))
        assert connection.rooms == set()
        assert "closed" in repr(connection)


async def test_rooms_are_those_it_is_in_in_the_order_of_joining(connect: Connect) -> None:
    app = WsApp()
    app.on_message("ids", "/", lambda: sorted(c.id for c in use_ws_server().connections()))
    async with app.serving() as address:
        await connect(address)
        connection = only(app)
        for room in ("z", "a", "m", "a"):
            connection.join(room)
        assert connection.rooms == {"a", "m", "z"}
        assert connection._rooms_in_order() == ["z", "a", "m"]
        connection.leave("z")
        connection.join("z")
        assert connection._rooms_in_order() == ["a", "m", "z"]
        assert app.room("m").connections() == {connection}


async def test_context_is_the_users_and_a_key_makes_an_entry_typed(connect: Connect) -> None:
    user, other = WsKey[str]("user"), WsKey[str]("user")
    app = WsApp()
    app.on_connect(lambda: use_ws_connection().context.update({user: "ada", "plain": 1}))
    app.on_message("me", "/", lambda: use_ws_connection().get(user))
    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("me", "/") == "ada"
        with pytest.raises(KeyError, match="user"):
            only(app).get(other)
        assert only(app).context["plain"] == 1


async def test_the_request_is_that_of_the_handshake(connect: Connect) -> None:
    app = WsApp()
    async with app.serving() as address:
        headers = {"X-Token": "t", "Cookie": "a=1; b=2"}
        peer = await connect(address, "/some%20path?q=1&q=2&r", headers)
        connection = only(app)
        request = connection.request
        assert (request.method, request.path) == ("GET", "/some%20path")
        assert request.query == {"q": ["1", "2"], "r": [""]}
        assert request.headers["x-token"] == request.headers["X-TOKEN"] == "t"
        assert request.cookies == {"a": "1", "b": "2"}
        assert request.remote_address == peer.transport.get_extra_info("sockname")
        assert connection.subprotocol is None


async def test_pushes_that_wait_for_on_connect_are_bounded(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsrooms.session.LINGER", 0.01)
    app = WsApp(limits=WsLimits(outbox_messages=3))
    entered = asyncio.Event()

    @app.on_connect
    async def hang() -> None:
        use_ws_connection().join("r")
        entered.set()
        await asyncio.Event().wait()

    async with app.serving() as address:
        peer = await connect(address)
        await entered.wait()
        for _ in range(4):
            app.room("r").broadcast("e")
        assert (await peer.ended()).code == 4008
        assert peer.received == []


# From other threads


async def test_calls_of_a_thread_take_effect_in_their_order(connect: Connect) -> None:
    app = WsApp()

    @app.on_message("thread", "/r/:x")
    async def from_thread() -> object:
        connection, rooms = use_ws_connection(), use_ws_rooms()

        def work() -> list[str]:
            for number in range(3):
                connection.send("sent", "/", number)
                rooms.join()
                rooms.broadcast("said", number, exclude_self=False)
                app.room("/r/1").broadcast("told", number)
                app.broadcast("all", "/", number)
                connection.reply(f"extra {number}", number)
                rooms.leave()
                rooms.broadcast("nobody hears", exclude_self=False)
            rooms.join("kept")
            return rooms.rooms()

        return await asyncio.to_thread(work)

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("thread", "/r/1") == ["kept"]
        events = [frame.get("event") or frame["id"] for frame in peer.received[:-1]]
        numbers = [frame["data"] for frame in peer.received[:-1]]
        assert events == [
            event
            for number in range(3)
            for event in ("sent", "said", "told", "all", f"extra {number}")
        ]
        assert numbers == [number for number in range(3) for _ in range(5)]


async def test_queries_of_a_thread_are_snapshots_taken_on_the_loop(connect: Connect) -> None:
    app = WsApp()
    app.on_message("join", "/r", lambda: use_ws_rooms().join())

    def work(id: str) -> tuple[object, ...]:
        server = app.server
        return (
            [connection.id for connection in server.connections()],
            server.get_connection(id) is not None,
            server.get_connection("nobody"),
            len(server.room_connections("/r")),
            len(app.room("/r")),
            bool(app.room("empty")),
            [connection._rooms_in_order() for connection in app.room("/r").connections()],
        )

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("join", "/r")
        id = only(app).id
        answer = await asyncio.to_thread(work, id)
        assert answer == ([id], True, None, 1, 1, True, [["/r"]])


async def test_a_thread_is_told_of_bad_names_and_data_in_the_call_itself(
    connect: Connect, plain_bus: Bus
) -> None:
    transport = plain_bus.transport()
    transport.max_payload = 100
    app = WsApp(broadcast_transport=transport)
    raised: list[str] = []

    @app.on_message("thread", "/r")
    async def from_thread() -> None:
        connection, rooms = use_ws_connection(), use_ws_rooms()

        def work() -> None:
            calls: list[Callable[[], object]] = [
                lambda: rooms.join(""),
                lambda: connection.join("x" * 2000),
                lambda: rooms.broadcast("e", room=""),
                lambda: app.room(""),
                lambda: rooms.broadcast("e", object()),
                lambda: app.room("r").broadcast("e", object()),
                lambda: app.broadcast("e", "/", object()),
                lambda: connection.send("e", "/", object()),
                lambda: rooms.broadcast("e", "x" * 100, exclude_self=False),
                lambda: app.room("r").broadcast("e", "x" * 100),
                lambda: app.broadcast("e", "/", "x" * 100),
                lambda: connection.close(1006),
            ]
            for call in calls:
                try:
                    call()
                except (ValueError, TypeError) as error:
                    raised.append(type(error).__name__)

        await asyncio.to_thread(work)

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("thread", "/r")
        assert raised == [
            *[InvalidRoom.__name__] * 4,
            *["TypeError"] * 4,
            *[PayloadTooLarge.__name__] * 3,
            "ValueError",
        ]
        assert len(peer.received) == 1


async def test_receipts_of_a_thread_wait_for_the_transport(
    connect: Connect, plain_bus: Bus
) -> None:
    transport = plain_bus.transport()
    release = transport.hold("subscribe ws:room:/r")
    transport.failing["publish ws:room:bad"] = LookupError("no such topic")
    app = WsApp(broadcast_transport=transport)
    outcome: list[object] = []

    @app.on_message("thread", "/r")
    async def from_thread() -> None:
        connection = use_ws_connection()

        def work() -> None:
            receipt = connection.join("/r")
            with pytest.raises(TimeoutError):
                receipt.result(0.01)
            app.server.connections()  # the loop has had a turn
            outcome.append(receipt.done)
            app._life.instance.loop.call_soon_threadsafe(release)  # type: ignore[union-attr]  # it runs
            receipt.result(5)
            outcome.append(receipt.done)
            app.room("/r").broadcast("e").result(5)
            with pytest.raises(TransportError, match="no such topic"):
                app.room("bad").broadcast("e").result(5)

        await asyncio.to_thread(work)

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("thread", "/r")
        assert outcome == [False, True]
        assert (await peer.push())["event"] == "e"
        receipt = app.room("/r").broadcast("e")
        with pytest.raises(RuntimeError, match="await"):
            receipt.result()
        await receipt


async def test_a_failure_that_a_thread_dropped_is_logged_and_counted(
    connect: Connect, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    app = WsApp(limits=WsLimits(rooms_per_connection=1))

    @app.on_message("thread", "/r")
    async def from_thread() -> None:
        rooms = use_ws_rooms()

        def work() -> None:
            for room in "ab":
                rooms.join(room)

        await asyncio.to_thread(work)

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("thread", "/r")
        await eventually(lambda: app.stats()["receipts_failed"] == 1)
    assert "Too many rooms" in caplog.text


async def test_a_thread_that_comes_after_the_end_is_told(connect: Connect) -> None:
    held: list[WsConnection] = []

    async def serve() -> None:
        app = WsApp()
        app.on_message("hold", "/", lambda: held.append(use_ws_connection()))
        async with app.serving() as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await reader.readuntil(b"\r\n\r\n")
            held.extend(app.server.connections())
            writer.transport.abort()

    await asyncio.to_thread(lambda: asyncio.run(serve()))
    [connection] = held
    calls: list[Callable[[], object]] = [
        lambda: connection.send("e", "/"),
        lambda: connection.leave("r"),
        lambda: connection._rooms_in_order(),
    ]
    for call in calls:
        with pytest.raises(NotRunning):
            call()


async def test_a_dropped_receipt_of_a_leave_or_join_is_nothing_to_worry_about(
    connect: Connect,
) -> None:
    app = WsApp()

    @app.on_message("both", "/")
    def both() -> bool:
        room = use_ws_message().data
        joined, left = use_ws_rooms().join(room), use_ws_rooms().leave(room)
        assert isinstance(joined, Receipt)
        return joined is left  # the shared finished one: nothing is made per call

    async with app.serving() as address:
        assert await (await connect(address)).call("both", "/", "r") is True
