"""One running instance: its tasks, its health, its figures, and its neighbours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import (
    MemoryBus,
    MemoryTransport,
    OutsideContext,
    WsApp,
    WsError,
    use_ws_connection,
    use_ws_rooms,
    use_ws_server,
)

from .fake_broker import FakeBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]


def texts(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


async def test_a_background_task_that_dies_is_logged_by_name_and_counted(
    caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    async def die() -> None:
        raise LookupError("no such row")

    app = WsApp()
    async with app.serving():
        task = app.start_task(die(), name="price ticker")
        await eventually(task.done)
        await eventually(lambda: texts(caplog, logging.ERROR))
        [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert record.getMessage() == "background task price ticker died"
        assert record.exc_info
        assert app.stats()["tasks_failed"] == 1


async def test_close_cancels_background_tasks_and_waits_for_them() -> None:
    ended: list[str] = []

    async def tick() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("tick")

    app = WsApp()
    async with app.serving():
        task = app.start_task(tick(), name="tick")
        assert task.get_name() == "tick"
        await asyncio.sleep(0)
    assert ended == ["tick"]
    assert app.stats()["tasks_failed"] == 0


async def test_a_background_task_may_close_the_app_and_is_started_from_any_thread() -> None:
    app = WsApp()
    closed = asyncio.Event()

    async def close() -> None:
        await app.close()
        closed.set()

    await app.listen(0)
    task = await asyncio.to_thread(lambda: app.start_task(close(), name="closer"))
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await app.close()
    assert app.health().state == "closed"


STATS = {
    "connections", "connections_total", "connections_rejected", "handshakes_failed",
    "http_responses", "messages_in", "messages_out", "writes", "replies", "errors",
    "handler_errors", "hook_errors", "handlers_blocked", "tasks_failed", "slow_clients",
    "dropped_slow", "heartbeat_timeouts", "dropped", "dropped_json", "dropped_shape",
    "dropped_parser", "dropped_too_long", "dropped_utf8", "rooms", "memberships",
    "joins_pending", "joins_failed", "receipts_failed", "published", "received", "outbox",
    "outbox_bytes", "foreign", "echoes", "duplicates", "gaps", "resent", "reconnects",
}  # fmt: skip


def documented_stats() -> set[str]:
    return set(re.findall(r"^ *``(\w+)`` ", WsApp.stats.__doc__ or "", re.MULTILINE))


@pytest.mark.parametrize("transport", [None, "memory://"])
async def test_every_figure_is_documented_and_there_from_the_start(transport: str | None) -> None:
    app = WsApp(broadcast_transport=transport)
    assert set(app.stats()) == documented_stats() == STATS
    assert set(app.stats().values()) == {0}
    async with app.serving():
        assert set(app.stats()) == documented_stats() == STATS
        assert set(app.stats().values()) == {0}
    assert set(app.stats()) == STATS


async def test_stats_count_what_passed(connect: Connect, eventually: Eventually) -> None:
    app = WsApp(logger=logging.Logger("silent"))

    @app.on_connect
    def let_in() -> None:
        if "refuse" in use_ws_connection().request.query:
            raise WsError(403, "no")

    @app.on_message("join", "/r")
    def join() -> None:
        use_ws_rooms().join()
        use_ws_rooms().join("other")

    @app.on_message("fail", "/r")
    def fail() -> None:
        raise LookupError

    app.on_message("say", "/r", lambda: use_ws_rooms().broadcast("said", exclude_self=False))
    async with app.serving() as address:
        a, b = await connect(address), await connect(address)
        assert (await (await connect(address, "/?refuse=1")).ended()).code == 1008
        for peer in (a, b):
            await peer.call("join", "/r")
        await a.call("say", "/r")
        await b.push()
        a.send_text("no json", "[]")
        a.send("fail", "/r")
        await a.call("nowhere", "/")
        stats = app.stats()
        assert stats["connections"] == 2
        assert stats["connections_total"] == 3
        assert stats["connections_rejected"] == 1
        assert stats["messages_in"] == 7
        assert stats["replies"] == 3
        assert stats["errors"] == 2
        assert stats["handler_errors"] == 1
        assert stats["dropped"] == 2
        assert stats["dropped_json"] == stats["dropped_shape"] == 1
        assert stats["rooms"] == 2
        assert stats["memberships"] == 4
        assert stats["messages_out"] == 6
        await a.close()
        await eventually(lambda: app.stats()["connections"] == 1)
        assert app.stats()["memberships"] == 2
    after = app.stats()
    assert after["connections"] == after["rooms"] == after["memberships"] == 0
    assert after["connections_total"] == 3


async def test_what_a_transport_counts_as_handler_errors_is_added_to_the_apps_own(
    connect: Connect,
) -> None:
    class Counting(MemoryTransport):
        def stats(self) -> dict[str, int]:
            return {"handler_errors": 2}

    app = WsApp(broadcast_transport=Counting(), logger=logging.Logger("silent"))

    @app.on_message("fail", "/r")
    def fail() -> None:
        raise LookupError

    async with app.serving() as address:
        assert app.stats()["handler_errors"] == 2
        await (await connect(address)).call("fail", "/r")
        assert app.stats()["handler_errors"] == 3


async def test_stats_and_health_are_told_to_other_threads() -> None:
    app = WsApp()
    async with app.serving():
        assert (await asyncio.to_thread(app.stats))["connections"] == 0
        assert (await asyncio.to_thread(app.health)).state == "up"


async def test_health_follows_the_bus(caplog: pytest.LogCaptureFixture) -> None:
    class Talkative(FakeBroker):
        tell: Callable[[str, str | None], None]

        def on_state(self, callback: Callable[..., None]) -> None:
            self.tell = callback

    caplog.set_level(logging.INFO, "wsrooms")
    broker = Talkative()
    broker.up = True
    app = WsApp(broadcast_transport=broker)
    async with app.serving():
        assert app.health().state == "up"
        broker.tell("down", "connection reset")
        health = app.health()
        assert (health.state, health.error) == ("down", "connection reset")
        assert 0 <= health.since < 60
        broker.tell("deaf", None)
        assert app.health().state == "deaf"
        broker.tell("up", None)
        assert (app.health().state, app.health().error) == ("up", None)
    broker.tell("up", None)
    assert app.health().state == "closed"
    assert texts(caplog, logging.INFO)[1:4] == [
        "the bus is down: connection reset",
        "the bus is deaf",
        "the bus is up",
    ]


async def test_two_apps_in_one_loop_share_nothing(connect: Connect) -> None:
    apps = [WsApp(), WsApp()]
    for app in apps:
        app.on_message("join", "/r", lambda: use_ws_rooms().join())
        app.on_message("count", "/r", lambda: len(use_ws_server().room_connections("/r")))
    async with apps[0].serving() as one, apps[1].serving() as two:
        a, b = await connect(one), await connect(two)
        await a.call("join", "/r")
        assert await a.call("count", "/r") == 1
        assert await b.call("count", "/r") == 0
        apps[0].room("/r").broadcast("e")
        apps[0].broadcast("all", "/")
        assert [push["event"] for push in await a.pushes()] == ["e", "all"]
        assert await b.pushes() == []


async def test_two_apps_on_two_loops_of_one_process_speak_over_a_bus(connect: Connect) -> None:
    bus = MemoryBus()

    def make() -> WsApp:
        app = WsApp(broadcast_transport=MemoryTransport(bus))

        @app.on_message("join", "/r")
        async def join() -> int:
            await use_ws_rooms().join()
            return threading.get_ident()

        app.on_message("say", "/r", lambda: use_ws_rooms().broadcast("said", 1))
        return app

    here, there = make(), make()
    up: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    done = threading.Event()

    def elsewhere() -> None:
        async def serve() -> None:
            async with there.serving() as address:
                loop.call_soon_threadsafe(up.set_result, address)
                await asyncio.to_thread(done.wait)

        asyncio.run(serve())

    thread = asyncio.create_task(asyncio.to_thread(elsewhere))
    async with here.serving() as address:
        a, b = await connect(address), await connect(await up)
        assert await a.call("join", "/r") == threading.get_ident()
        assert await b.call("join", "/r") != threading.get_ident()
        await a.call("say", "/r")
        assert await b.push() == {"event": "said", "path": "/r", "data": 1}
        await b.call("say", "/r")
        assert await a.push() == {"event": "said", "path": "/r", "data": 1}
        done.set()
        await thread


async def test_a_task_is_made_of_a_coroutine_and_of_nothing_else() -> None:
    async def work() -> None: ...

    function: Any = work
    app = WsApp()
    with pytest.raises(TypeError, match=r"start_task\(.*\.work\): give a coroutine, which"):
        app.start_task(function, name="work")


async def test_what_runs_beside_messages_is_told_what_it_may_use_instead_of_one() -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        use_ws_rooms()
        yield

    with pytest.raises(OutsideContext, match=r"in lifespan and background tasks use app\.room"):
        await WsApp(lifespan=lifespan).listen(0)
