"""The end of a connection: who may close it, and what on_disconnect may do."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import (
    ConnectionGone,
    OutsideContext,
    WsApp,
    use_ws_connection,
    use_ws_rooms,
    use_ws_server,
)

from .endings import Ends, nothing_left

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wsrooms import WsConnection

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]


# close()


@pytest.mark.parametrize("how", ["handler", "twice", "task", "thread", "get_connection"])
async def test_close_ends_the_connection_whoever_calls_it(
    connect: Connect, eventually: Eventually, how: str
) -> None:
    app = WsApp()
    ends = Ends(app)

    @app.on_message("close", "/r")
    async def close() -> None:
        use_ws_rooms().join()
        connection = use_ws_connection()
        connection.send("last", "/words")
        if how == "thread":
            await asyncio.to_thread(connection.close, 4000, "by thread")
        elif how == "task":
            await asyncio.create_task(_call(lambda: connection.close(4000, "by task")))
        elif how == "get_connection":
            other = app.server.get_connection(connection.id)
            assert other is not None
            other.close(4000, "by get_connection")
        else:
            connection.close(4000, f"by {how}")
        if how == "twice":
            connection.close(4001, "too late")
        with pytest.raises(ConnectionGone):
            connection.join("late")

    async with app.serving() as address:
        peer = await connect(address)
        peer.send("close", "/r", id=1)
        assert await peer.ended() == (4000, f"by {how}")
        await eventually(lambda: nothing_left(app))
    assert ends.seen == [(4000, ["/r"])]
    assert peer.received == [{"event": "last", "path": "/words"}]


async def _call(call: Callable[[], object]) -> None:
    await asyncio.sleep(0)
    call()


async def test_close_in_on_connect_and_in_on_disconnect(
    connect: Connect, eventually: Eventually
) -> None:
    app = WsApp()
    ends = Ends(app)
    app.on_connect(lambda: use_ws_connection().close(4002, "go away"))
    app.on_disconnect(lambda: use_ws_connection().close(4003, "too late"))
    async with app.serving() as address:
        assert await (await connect(address)).ended() == (4002, "go away")
        await eventually(lambda: ends.seen)
        await eventually(lambda: nothing_left(app))
    assert ends.seen == [(4002, [])]


# on_disconnect


async def test_on_disconnect_may_tell_the_rooms_but_has_no_message(
    connect: Connect, eventually: Eventually
) -> None:
    app = WsApp()
    done = asyncio.Event()
    app.on_message("join", "/:room", lambda: use_ws_rooms().join())

    @app.on_disconnect
    def goodbye() -> None:
        with pytest.raises(OutsideContext):
            use_ws_rooms()
        connection = use_ws_connection()
        for room in connection._rooms_in_order():
            app.room(room).broadcast("left", connection.id, exclude=connection.id)
        use_ws_server().broadcast("gone", "/", connection.close_reason)
        done.set()

    async with app.serving() as address:
        leaver, stayer = await connect(address), await connect(address)
        for peer in (leaver, stayer):
            await peer.call("join", "/b")
            await peer.call("join", "/a")
        [id] = [c.id for c in app.server.connections() if c.request.remote_address == name(leaver)]
        await leaver.close(1000, "enough")
        await done.wait()
        assert await stayer.pushes() == [
            {"event": "left", "path": "/b", "data": id},
            {"event": "left", "path": "/a", "data": id},
            {"event": "gone", "path": "/", "data": "enough"},
        ]
        assert len(app.room("/a")) == 1
        await stayer.close()
        await eventually(lambda: nothing_left(app))


def name(peer: Any) -> object:
    return peer.transport.get_extra_info("sockname")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_failing_on_disconnect_does_not_stop_the_next(
    connect: Connect, eventually: Eventually, kind: str
) -> None:
    app = WsApp()
    ran: list[str] = []

    def sync() -> None:
        ran.append("fails")
        raise LookupError

    async def later() -> None:
        await asyncio.sleep(0)
        sync()

    async def cancelled_inside() -> None:
        raise asyncio.CancelledError

    app.on_disconnect(sync if kind == "sync" else later)
    app.on_disconnect(cancelled_inside)
    app.on_disconnect(lambda: ran.append("runs"))
    async with app.serving() as address:
        await (await connect(address)).close()
        await eventually(lambda: nothing_left(app) and len(ran) == 2)
        assert app.stats()["hook_errors"] == 2
    assert ran == ["fails", "runs"]


async def test_a_connection_that_is_over_is_not_referred_to_any_more(
    connect: Connect, eventually: Eventually
) -> None:
    app = WsApp()
    references: list[weakref.ref[WsConnection]] = []

    @app.on_message("join", "/:room")
    async def join() -> None:
        references.append(weakref.ref(use_ws_connection()))
        await use_ws_rooms().join()

    async with app.serving() as address:
        for how in ("close", "abort"):
            peer = await connect(address)
            await peer.call("join", "/r")
            await (peer.close() if how == "close" else _call(peer.abort))
        await eventually(lambda: nothing_left(app))
        await (await connect(address)).call("other", "/")  # the loop has had its turns
        gc.collect()
        assert [reference() for reference in references] == [None, None]


# on_disconnect and the end of the app


@pytest.mark.parametrize("stubborn", [False, True])
async def test_on_disconnect_that_never_ends_keeps_nobody_in_a_room(
    connect: Connect,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stubborn: bool,
) -> None:
    monkeypatch.setattr("wsrooms.session.LINGER", 0.02)
    monkeypatch.setattr("wsrooms.session.GIVE_UP", 0.02)
    app = WsApp()
    app.on_message("join", "/r", lambda: use_ws_rooms().join())
    go_on, ended = asyncio.Event(), asyncio.Event()
    rooms: list[set[str]] = []

    @app.on_disconnect
    async def hang() -> None:
        connection = use_ws_connection()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                rooms.append(set(connection.rooms))
                if not stubborn:
                    raise
        ended.set()

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("join", "/r")
        [connection] = app.server.connections()
        await peer.close()
        await eventually(lambda: nothing_left(app))
        assert rooms == [{"/r"}]
        assert app.stats()["hook_errors"] == 1
        go_on.set()
        if stubborn:
            await ended.wait()
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == (
        f"on_disconnect of {connection.id} was cancelled: it took over 0.02 s"
    )


async def test_at_close_handlers_and_on_disconnect_have_the_deadline_of_the_app(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    survived: list[str] = []
    monkeypatch.setattr("wsrooms.session.LINGER", 0.0)
    app = WsApp(shutdown_timeout=5.0)
    closed = asyncio.Event()

    async def past_linger(who: str) -> None:
        for _ in range(20):  # LINGER's timer would be due in the next turn
            await asyncio.sleep(0)
        survived.append(who)

    @app.on_message("run", "/")
    async def run() -> None:
        await closed.wait()
        await past_linger("handler")

    @app.on_disconnect
    async def gone() -> None:
        await past_linger("on_disconnect")

    address = await app.listen(0)
    peer = await connect(address)
    peer.send("run", "/")
    await peer.settled()
    closing = asyncio.create_task(app.close())
    await peer.ended()
    closed.set()
    await closing
    assert survived == ["handler", "on_disconnect"]
    assert app.stats()["hook_errors"] == 0


async def test_a_sync_on_disconnect_that_raises_cancelled_error_does_not_stop_the_next(
    connect: Connect, eventually: Eventually
) -> None:
    app = WsApp()

    @app.on_disconnect
    def cancelled() -> None:
        raise asyncio.CancelledError

    ends = Ends(app)
    async with app.serving() as address:
        peer = await connect(address)
        await peer.settled()
        await peer.close()
        await eventually(lambda: nothing_left(app))
        assert len(ends.seen) == 1
        assert app.stats()["hook_errors"] == 1


async def test_on_disconnect_that_is_cancelled_in_the_turn_of_its_start_still_begins_and_ends(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    # So short a time is over in the very turn in which on_disconnect becomes a task.
    app = WsApp(shutdown_timeout=1e-9)
    seen: list[str] = []

    @app.on_disconnect
    async def gone() -> None:
        seen.append("begun")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with app.serving() as address:
        peer = await connect(address)
        await peer.settled()
    assert seen == ["begun", "cancelled"]
    assert app.stats()["connections"] == 0
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
