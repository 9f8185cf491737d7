"""``WsApp``: how it starts, serves and ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import (
    MemoryBus,
    MemoryTransport,
    NotRunning,
    ServerNotStarted,
    UnknownOption,
    WsApp,
    WsRoutes,
    tagged,
    use_ws_connection,
    use_ws_rooms,
    use_ws_server,
)

from .fake_broker import FakeBroker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]


def texts(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_app_that_does_not_run_says_so(when: str) -> None:
    app = WsApp()
    if when == "after":
        async with app.serving():
            room = app.room("r")
        with pytest.raises(NotRunning):
            room.broadcast("e")
    for use in (
        lambda: app.room("r"),
        lambda: app.broadcast("e", "/p"),
        lambda: app.server.broadcast("e", "/p"),
        lambda: app.server.connections(),
        lambda: app.server.get_connection("id"),
        lambda: app.server.room_connections("r"),
        lambda: app.server.room("r"),
        lambda: app.start_task(asyncio.sleep(0), name="t"),
    ):
        with pytest.raises(NotRunning):
            use()
    assert app.health().state == "closed"
    assert app.health().since >= 0
    assert app.health().error is None


async def test_a_task_that_outlives_its_app_is_told_so(connect: Connect) -> None:
    app = WsApp()
    over = asyncio.Event()
    outcome: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def outlive() -> None:
        await over.wait()
        with pytest.raises(NotRunning):
            use_ws_server().broadcast("e", "/p")
        outcome.set_result(None)

    @app.on_message("start", "/")
    def start() -> None:
        tasks.append(asyncio.get_running_loop().create_task(outlive()))

    tasks: list[asyncio.Task[None]] = []
    async with app.serving() as address:
        await (await connect(address)).call("start", "/")
    over.set()
    async with asyncio.timeout(DEADLINE):
        await outcome
        await asyncio.gather(*tasks)


async def test_serving_gives_the_address_and_ends_with_its_block(connect: Connect) -> None:
    app = WsApp()
    app.on_message("ping", "/", lambda: "pong")
    async with app.serving() as address:
        assert address.host == "127.0.0.1"
        assert address.url == f"ws://127.0.0.1:{address.port}"
        peer = await connect(address)
        assert await peer.call("ping", "/") == "pong"
        assert app.health().state == "up"
    assert await peer.ended() == (1001, "server shutting down")
    with pytest.raises(ConnectionRefusedError):
        await connect(address)
    assert app.health().state == "closed"


async def test_an_app_listens_on_several_addresses_and_closes_all(connect: Connect) -> None:
    app = WsApp()
    app.on_message("who", "/", lambda: len(use_ws_server().connections()))
    first = await app.listen(0)
    second = await app.listen(0)
    assert first.port != second.port
    a = await connect(first)
    b = await connect(second)
    assert await a.call("who", "/") == await b.call("who", "/") == 2
    await app.close()
    for address in (first, second):
        with pytest.raises(ConnectionRefusedError):
            await connect(address)


async def test_two_listens_at_a_time_start_the_app_once(connect: Connect) -> None:
    broker = FakeBroker()
    broker.up = True
    app = WsApp(broadcast_transport=broker)
    app.on_message("ping", "/", lambda: "pong")
    addresses = await asyncio.gather(app.listen(0), app.listen(0))
    assert broker.starts == 1
    for address in addresses:
        assert await (await connect(address)).call("ping", "/") == "pong"
    await app.close()
    assert broker.closed == 1


async def test_a_closed_app_starts_again_empty(connect: Connect) -> None:
    bus = MemoryBus()
    app = WsApp(broadcast_transport=MemoryTransport(bus))

    @app.on_message("join", "/r")
    async def join() -> int:
        await use_ws_rooms().join()
        return len(app.room("/r"))

    for _ in range(3):
        async with app.serving() as address:
            peer = await connect(address)
            assert await peer.call("join", "/r") == 1
            assert bus.channels() == {"ws:server": 1, "ws:room:/r": 1}
            assert app.stats()["connections_total"] == 1
        assert bus.channels() == {}


async def test_after_a_restart_each_gap_is_told_once() -> None:
    deliver: dict[str, Callable[[str], None]] = {}

    class Bus:
        def publish(self, channel: str, payload: str) -> None: ...

        def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
            deliver[channel] = handler

        def unsubscribe(self, channel: str) -> None: ...

    gaps: list[object] = []
    app = WsApp(broadcast_transport=tagged(Bus()))
    app.on_gap(gaps.append)
    for restart in range(3):
        async with app.serving():
            payload = '{"event":"e","path":"/p"}'
            deliver["ws:server"](f"1 other {restart} 1 {payload}")
            deliver["ws:server"](f"1 other {restart} 3 {payload}")
            assert len(gaps) == restart + 1
            assert app.stats()["gaps"] == 1


async def test_an_app_whose_loop_has_ended_without_close_starts_on_a_new_one() -> None:
    app = WsApp()
    loop = asyncio.new_event_loop()

    def abandon() -> None:
        loop.run_until_complete(app.listen(0))
        for server in app._life.listener._listening if app._life.listener else []:
            server.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    await asyncio.to_thread(abandon)
    async with app.serving():
        assert app.server.connections() == frozenset()


async def test_subprotocols_may_be_none(raw_client: Callable[..., Any]) -> None:
    app = WsApp()
    async with app.serving(subprotocols=None) as address, raw_client(address, None) as client:
        response = await client.upgrade("/", ["Sec-WebSocket-Protocol: chat"])
        assert response.status == 101
        assert "sec-websocket-protocol" not in {name.lower() for name in response.headers}


async def test_close_is_idempotent_and_may_be_called_by_many() -> None:
    app = WsApp()
    await app.close()
    await app.listen(0)
    await asyncio.gather(app.close(), app.close(), app.close())
    await app.close()
    assert app.health().state == "closed"


async def test_a_close_that_is_cancelled_is_finished_all_the_same(
    connect: Connect, eventually: Eventually
) -> None:
    bus = MemoryBus()
    app = WsApp(broadcast_transport=MemoryTransport(bus))
    release = asyncio.Event()
    app.on_message("wait", "/", release.wait)
    address = await app.listen(0)
    peer = await connect(address)
    peer.send("wait", "/")
    await peer.settled()
    closing = asyncio.create_task(app.close())
    await peer.ended()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    release.set()
    await eventually(lambda: app.health().state == "closed" and not bus.channels())
    await app.close()


async def test_listening_while_it_closes_is_refused(connect: Connect) -> None:
    app = WsApp()
    release = asyncio.Event()
    app.on_message("wait", "/", release.wait)
    peer = await connect(await app.listen(0))
    peer.send("wait", "/")
    await peer.settled()
    closing = asyncio.create_task(app.close())
    await peer.ended()
    with pytest.raises(NotRunning, match="closing"):
        await app.listen(0)
    release.set()
    await closing


async def test_a_handler_may_close_the_app(connect: Connect) -> None:
    bus = MemoryBus()
    app = WsApp(broadcast_transport=MemoryTransport(bus), shutdown_timeout=0.02)
    gone: list[str] = []
    app.on_disconnect(lambda: gone.append(use_ws_connection().id))
    app.on_message("stop", "/", app.close)
    peer = await connect(await app.listen(0))
    peer.send("stop", "/")
    assert (await peer.ended()).code == 1001
    await app.close()
    assert len(gone) == 1
    assert bus.channels() == {}


async def test_a_port_in_use_leaves_nothing_running() -> None:
    holder = WsApp()
    bus = MemoryBus()
    app = WsApp(broadcast_transport=MemoryTransport(bus))
    async with holder.serving() as address:
        with pytest.raises(ServerNotStarted, match="in use"):
            await app.listen(address.port)
        assert bus.channels() == {}
        with pytest.raises(NotRunning):
            app.room("r")


async def test_a_failed_second_address_leaves_the_first_one_serving(connect: Connect) -> None:
    app = WsApp()
    app.on_message("ping", "/", lambda: "pong")
    async with app.serving() as address:
        with pytest.raises(ServerNotStarted):
            await app.listen(address.port)
        assert await (await connect(address)).call("ping", "/") == "pong"


async def test_a_misspelt_server_option_is_named() -> None:
    with pytest.raises(UnknownOption, match="subprotocol"):
        await WsApp().listen(0, subprotocol=["a"])  # type: ignore[call-arg]  # the mistake


async def test_start_and_close_are_one_log_line_each(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wsrooms")
    app = WsApp()
    async with app.serving() as address:
        await connect(address)
        await connect(address)
    assert texts(caplog, logging.INFO) == [
        f"listening on {address.url}",
        "closed; 2 connections ended",
    ]


async def test_close_runs_on_disconnect_for_all_and_waits_for_handlers(connect: Connect) -> None:
    app = WsApp()
    order: list[str] = []
    started, release = asyncio.Event(), asyncio.Event()

    @app.on_disconnect
    async def goodbye() -> None:
        connection = use_ws_connection()
        assert connection.close_code == 1001
        await asyncio.sleep(0)
        order.append("disconnect")

    @app.on_message("slow", "/")
    async def slow() -> None:
        started.set()
        await release.wait()
        order.append("handler")

    address = await app.listen(0)
    peer, idle = await connect(address), await connect(address)
    peer.send("slow", "/")
    await started.wait()
    closing = asyncio.create_task(app.close())
    assert (await peer.ended()).code == (await idle.ended()).code == 1001
    release.set()
    await closing
    assert sorted(order) == ["disconnect", "disconnect", "handler"]
    assert order.index("handler") < len(order) - 1


async def test_handlers_and_hooks_that_hang_are_cancelled_at_close(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsrooms.instance.GIVEN_UP", 0.05)
    app = WsApp(shutdown_timeout=0.05)
    ended: list[str] = []

    async def hang(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    app.on_message("hang", "/", lambda: hang("handler"))
    app.on_disconnect(lambda: hang("hook"))
    peer = await connect(await app.listen(0))
    peer.send("hang", "/")
    await peer.settled()
    async with asyncio.timeout(DEADLINE):
        await app.close()
    assert ended == ["handler", "hook"]
    assert texts(caplog, logging.ERROR) == []


async def test_a_handler_that_ignores_its_cancellation_cannot_hold_up_the_close(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsrooms.instance.GIVEN_UP", 0.02)
    monkeypatch.setattr("wsrooms.session.GIVE_UP", 0.01)
    app = WsApp(shutdown_timeout=0.02)
    release = asyncio.Event()
    disconnected: list[bool] = []
    stubborn_tasks: list[asyncio.Task[Any] | None] = []

    @app.on_message("hang", "/")
    async def stubborn() -> None:
        stubborn_tasks.append(asyncio.current_task())
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    app.on_disconnect(lambda: disconnected.append(True))
    peer = await connect(await app.listen(0))
    peer.send("hang", "/")
    await peer.settled()
    async with asyncio.timeout(DEADLINE):
        await app.close()
    assert disconnected == [True]
    release.set()
    [task] = stubborn_tasks
    assert task is not None
    await asyncio.wait([task])


def test_routes_lists_every_route_with_its_handler_in_order() -> None:
    app, chat = WsApp(), WsRoutes()

    def one() -> None: ...

    def two() -> None: ...

    app.on_message("a", "/x", one)
    app.include(chat, prefix="/chat")
    chat.on_message("b", "/:room", two)
    assert app.routes() == [("a", "/x", one), ("b", "/chat/:room", two)]


async def test_listening_that_a_close_overtakes_is_told(connect: Connect) -> None:
    app = WsApp()
    address = await app.listen(0)
    outcomes = await asyncio.gather(app.listen(0), app.close(), return_exceptions=True)
    assert isinstance(outcomes[0], NotRunning)
    with pytest.raises(ConnectionRefusedError):
        await connect(address)


async def test_what_does_not_end_when_it_is_cancelled_is_named_in_the_log(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsrooms.life.CLOSE_TRANSPORT", 0.02)
    monkeypatch.setattr("wsrooms.instance.GIVEN_UP", 0.02)
    app = WsApp(shutdown_timeout=0.02)
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    hooks: list[asyncio.Task[Any] | None] = []

    @app.on_disconnect
    async def stubborn_hook() -> None:
        hooks.append(asyncio.current_task())
        await stubborn()

    await connect(await app.listen(0))
    task = app.start_task(stubborn(), name="stubborn ticker")
    await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE):
        await app.close()
    assert "1 connections could not be ended in time" in caplog.text
    assert "task stubborn ticker does not end when it is cancelled" in caplog.text
    release.set()
    await asyncio.wait([task, *filter(None, hooks)])
