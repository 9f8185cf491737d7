"""A connection's life: on_connect, and sockets that end at the wrong moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import (
    ConnectionGone,
    WsApp,
    WsError,
    use_ws_connection,
    use_ws_message,
    use_ws_rooms,
)
from wsrooms.context import current

from .endings import Ends, nothing_left

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wsrooms import WsConnection

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]


# on_connect


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("raised", "code", "reason"),
    [
        (WsError(401, "log in"), 1008, "log in"),
        (WsError(403), 1008, "WsError 403"),
        (WsError(404, "no such chat"), 1011, "no such chat"),
        (WsError(403, "é" * 100), 1008, "é" * 61),
        (LookupError("secret"), 1011, "Internal Error"),
        (asyncio.CancelledError(), 1011, "Internal Error"),
    ],
    ids=repr,
)
async def test_what_on_connect_raises_refuses_the_connection(
    connect: Connect,
    eventually: Eventually,
    kind: str,
    raised: BaseException,
    code: int,
    reason: str,
) -> None:
    app = WsApp()
    ends = Ends(app)
    reported: list[str] = []
    app.on_error(lambda error, route: reported.append(route))

    def sync() -> None:
        raise raised

    async def later() -> None:
        await asyncio.sleep(0)
        raise raised

    app.on_connect(lambda: use_ws_connection().join("lobby"))
    app.on_connect(sync if kind == "sync" else later)
    app.on_message("m", "/", lambda: pytest.fail("a refused client was heard"))
    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.ended() == (code, reason)
        await eventually(lambda: nothing_left(app))
        assert ends.seen == []
        assert app.stats()["connections_rejected"] == 1
        assert reported == ([] if isinstance(raised, WsError) else ["on_connect"])


@pytest.mark.parametrize("raised", [LookupError(), asyncio.CancelledError()], ids=repr)
async def test_a_sync_on_connect_alone_refuses_at_once(
    connect: Connect, raised: BaseException
) -> None:
    app = WsApp()

    @app.on_connect
    def refuse() -> None:
        raise raised

    async with app.serving() as address:
        assert await (await connect(address)).ended() == (1011, "Internal Error")
        assert app.stats()["handler_errors"] == app.stats()["connections_rejected"] == 1


async def test_several_hooks_run_in_order_sync_and_async_mixed(
    connect: Connect, eventually: Eventually
) -> None:
    app = WsApp()
    order: list[str] = []

    def hook(name: str, *, later: bool) -> Any:
        async def run_later() -> None:
            await asyncio.sleep(0)
            order.append(name)

        return run_later if later else lambda: order.append(name)

    for number, later in enumerate((False, True, True, False, True)):
        app.on_connect(hook(f"connect {number}", later=later))
        app.on_disconnect(hook(f"disconnect {number}", later=later))
    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("m", "/")
        assert order == [f"connect {number}" for number in range(5)]
        await peer.close()
        await eventually(lambda: nothing_left(app))
    assert order[5:] == [f"disconnect {number}" for number in range(5)]


async def test_until_on_connect_has_ended_well_nobody_sees_the_connection(
    connect: Connect,
) -> None:
    app = WsApp()
    entered, go_on = asyncio.Event(), asyncio.Event()
    held: list[WsConnection] = []

    @app.on_connect
    async def slow() -> None:
        connection = use_ws_connection()
        if connection.request.path == "/slow":
            connection.join("lobby")
            held.append(connection)
            connection.send("own", "/", "sent by on_connect itself")
            entered.set()
            await go_on.wait()

    handled: list[str] = []
    app.on_message("*", "*", lambda: handled.append(use_ws_message().path))
    app.on_message("say", "/", lambda: app.room("lobby").broadcast("said", use_ws_message().data))
    async with app.serving() as address:
        peer = await connect(address, "/slow")
        await entered.wait()
        other = await connect(address)
        peer.send("m", "/early", id=1)
        peer.send("m", "/second", id=2)
        await peer.settled()
        assert handled == []
        for n in (1, 2):
            await other.call("say", "/", n)
        assert [push["event"] for push in await peer.pushes()] == ["own"]
        [connection] = held
        assert app.server.get_connection(connection.id) is None
        assert len(app.server.connections()) == 1
        assert app.server.room_connections("lobby") == frozenset()
        assert len(app.room("lobby")) == 0
        assert app.stats()["connections"] == 1
        go_on.set()
        assert await peer.reply(2) is None
        assert handled == ["/early", "/second"]
        assert app.server.room_connections("lobby") == {connection}
    assert peer.received[1:] == [
        {"event": "said", "path": "lobby", "data": 1},
        {"event": "said", "path": "lobby", "data": 2},
        {"id": 1, "data": None},
        {"id": 2, "data": None},
    ]


async def test_what_came_for_a_client_that_is_refused_after_all_is_never_sent(
    connect: Connect, eventually: Eventually
) -> None:
    app = WsApp()
    entered, go_on = asyncio.Event(), asyncio.Event()

    @app.on_connect
    async def slow() -> None:
        use_ws_connection().join("lobby")
        entered.set()
        await go_on.wait()
        raise WsError(403)

    async with app.serving() as address:
        peer = await connect(address)
        await entered.wait()
        app.room("lobby").broadcast("secret")
        app.broadcast("secret", "/")
        go_on.set()
        assert (await peer.ended()).code == 1008
        assert peer.received == []
        await eventually(lambda: nothing_left(app))


# The socket ends at the wrong moment


@pytest.mark.parametrize("well", [True, False])
async def test_a_socket_that_ends_during_on_connect_leaves_nothing(
    connect: Connect, eventually: Eventually, well: bool
) -> None:
    app = WsApp()
    ends = Ends(app)
    entered, go_on = asyncio.Event(), asyncio.Event()
    held: list[WsConnection] = []

    @app.on_connect
    async def slow() -> None:
        connection = use_ws_connection()
        held.append(connection)
        connection.join("lobby")
        entered.set()
        await go_on.wait()
        with pytest.raises(ConnectionGone):
            connection.join("too late")
        if not well:
            connection.join("too late")

    async with app.serving() as address:
        peer = await connect(address)
        await entered.wait()
        peer.abort()
        await eventually(lambda: held[0].closed)
        go_on.set()
        await eventually(lambda: nothing_left(app))
        assert ends.seen == ([(1006, ["lobby"])] if well else [])
        assert app.stats()["handler_errors"] == 0
        assert app.stats()["connections_rejected"] == (not well)


async def test_on_connect_that_never_ends_is_given_up_after_its_client_left(
    connect: Connect, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsrooms.session.LINGER", 0.02)
    app = WsApp()
    ends = Ends(app)
    entered = asyncio.Event()
    cancelled: list[bool] = []

    @app.on_connect
    async def hang() -> None:
        use_ws_connection().join("lobby")
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with app.serving() as address:
        peer = await connect(address)
        await entered.wait()
        peer.abort()
        await eventually(lambda: nothing_left(app))
        assert cancelled == [True]
        assert ends.seen == []
        assert app.stats()["handler_errors"] == 0


async def test_on_connect_that_ends_well_after_it_was_given_up_brings_nobody_back(
    connect: Connect, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsrooms.session.LINGER", 0.01)
    monkeypatch.setattr("wsrooms.session.GIVE_UP", 0.01)
    app = WsApp()
    ends = Ends(app)
    entered, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @app.on_connect
    async def stubborn() -> None:
        use_ws_connection().join("lobby")
        entered.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        ended.set()

    async with app.serving() as address:
        peer = await connect(address)
        await entered.wait()
        peer.abort()
        await eventually(lambda: app.stats()["memberships"] == 0)
        go_on.set()
        await ended.wait()
        await asyncio.sleep(0)
        assert nothing_left(app)
        assert ends.seen == []


@pytest.mark.parametrize("how", ["close", "abort", "close behind the message"])
async def test_a_handler_runs_on_after_its_client_left_and_then_comes_on_disconnect(
    connect: Connect, eventually: Eventually, how: str
) -> None:
    app = WsApp()
    ends = Ends(app)
    started, go_on = asyncio.Event(), asyncio.Event()
    outcome: list[str] = []

    app.on_message("join", "/r", lambda: use_ws_rooms().join())

    @app.on_message("run", "/r")
    async def run() -> None:
        connection = use_ws_connection()
        started.set()
        await go_on.wait()
        assert ends.seen == []
        connection.send("e", "/ignored")
        connection.reply("x")
        connection.close()
        use_ws_rooms().leave("never joined")
        try:
            use_ws_rooms().join("late")
        except ConnectionGone as error:
            outcome.append(error.connection_id)
            raise

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("join", "/r")
        [connection] = app.server.connections()
        peer.send("run", "/r", id="a")
        peer.send("run", "/r", id="b")
        if how == "close behind the message":
            await peer.close(4321, "bye")
        await started.wait()
        if how == "close":
            await peer.close(4321, "bye")
        elif how == "abort":
            peer.abort()
        await eventually(lambda: connection.closed)
        assert app.server.get_connection(connection.id) is connection
        app.room("/r").broadcast("e")
        go_on.set()
        await eventually(lambda: nothing_left(app))
        assert ends.seen == [(1006 if how == "abort" else 4321, ["/r"])]
        assert outcome == [connection.id, connection.id]
        assert app.stats()["handler_errors"] == 0
    assert len(peer.received) == 1


async def test_a_handler_that_never_ends_is_cancelled_some_time_after_its_client_left(
    connect: Connect, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsrooms.session.LINGER", 0.02)
    app = WsApp()
    ends = Ends(app)
    order: list[str] = []

    @app.on_message("hang", "/")
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("cancelled")
            await asyncio.sleep(0)
            assert ends.seen == []

    app.on_message("waits behind it", "/", lambda: order.append("ran"))
    async with app.serving() as address:
        peer = await connect(address)
        peer.send("hang", "/")
        peer.send("waits behind it", "/")
        await peer.settled()
        await peer.close()
        await eventually(lambda: nothing_left(app))
    assert order == ["cancelled"]
    assert [code for code, _ in ends.seen] == [1000]


@pytest.mark.parametrize("kind", ["sync", "async", "refused"])
async def test_joins_of_a_task_that_on_connect_left_behind_are_its_own_affair(
    connect: Connect, plain_bus: Any, kind: str
) -> None:
    app = WsApp(broadcast_transport=plain_bus.transport())
    tasks: list[asyncio.Task[None]] = []
    kept: list[object] = []
    opened = asyncio.Event()

    async def wander(connection: WsConnection) -> None:
        await opened.wait()
        try:
            for n in range(3):
                await connection.join(f"r{n}")
                connection.leave(f"r{n}")
        except ConnectionGone:
            assert kind == "refused"
        kept.append(current("", "").joins)

    def begin() -> None:
        tasks.append(asyncio.create_task(wander(use_ws_connection())))

    @app.on_connect
    async def begin_later() -> None:
        await asyncio.sleep(0)
        begin()
        if kind == "refused":
            raise WsError(403)

    if kind == "sync":
        app = WsApp(broadcast_transport=plain_bus.transport())
        app.on_connect(begin)
    app.on_message("ping", "/", lambda: "pong")
    async with app.serving() as address:
        peer = await connect(address)
        if kind == "refused":
            await peer.ended()
        else:
            assert await peer.call("ping", "/") == "pong"
        opened.set()
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*tasks)
    assert kept == [None]
