"""``lifespan``: entered and left by one task, around everything that clients see."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import (
    ConfigurationError,
    MemoryBus,
    MemoryTransport,
    NotRunning,
    WsApp,
    use_ws_server,
)
from wsrooms.lifespan import Lifespan

from .fake_broker import FakeBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]


def texts(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


async def test_lifespan_spans_the_first_accept_and_the_last_close(connect: Connect) -> None:
    order: list[str] = []
    broker = FakeBroker()
    broker.up = True

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        assert broker.calls == ["start"]
        assert app.health().state == "starting"
        assert app.server.connections() == frozenset()
        order.append("enter")
        yield
        assert broker.closed == 0
        order.append("leave")

    app = WsApp(broadcast_transport=broker, lifespan=lifespan)
    app.on_connect(lambda: order.append("connect"))
    app.on_disconnect(lambda: order.append("disconnect"))
    async with app.serving() as address:
        await connect(address)
        assert app.health().state == "up"
    assert order == ["enter", "connect", "disconnect", "leave"]
    assert broker.calls == ["start", "close"]


async def test_composables_for_the_server_work_in_lifespan_and_its_tasks(
    connect: Connect,
) -> None:
    ticked = asyncio.Event()

    async def ticker() -> None:
        while True:
            await ticked.wait()
            ticked.clear()
            use_ws_server().broadcast("tick", "/")

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        assert use_ws_server() is app.server
        app.start_task(ticker(), name="ticker")
        yield
        assert use_ws_server().connections() == frozenset()

    app = WsApp(lifespan=lifespan)
    async with app.serving() as address:
        peer = await connect(address)
        ticked.set()
        assert await peer.push() == {"event": "tick", "path": "/"}


async def test_a_lifespan_may_hold_a_task_group_though_another_task_closes() -> None:
    cancelled: list[bool] = []

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(child())
            await asyncio.sleep(0)
            yield
            task.cancel()

    app = WsApp(lifespan=lifespan)
    await asyncio.create_task(app.listen(0))
    await asyncio.create_task(app.close())
    assert cancelled == [True]


@pytest.mark.parametrize("when", ["calling", "entering"])
async def test_a_failing_lifespan_unwinds_the_start(when: str) -> None:
    bus = MemoryBus()
    task_ended = asyncio.Event()

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            task_ended.set()

    @contextlib.asynccontextmanager
    async def fails(app: WsApp) -> AsyncIterator[None]:
        app.start_task(background(), name="background")
        await asyncio.sleep(0)
        if app.health().state == "starting":
            raise LookupError("no database")
        yield

    def lifespan(app: WsApp) -> Any:
        if when == "calling":
            raise LookupError("no database")
        return fails(app)

    app = WsApp(broadcast_transport=MemoryTransport(bus), lifespan=lifespan)
    with pytest.raises(LookupError, match="no database"):
        await app.listen(0)
    assert bus.channels() == {}
    assert app.health().state == "closed"
    assert when == "calling" or task_ended.is_set()
    with pytest.raises(NotRunning):
        app.room("r")


async def test_a_start_that_is_cancelled_in_lifespan_unwinds() -> None:
    bus = MemoryBus()
    entering = asyncio.Event()
    left: list[bool] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        try:
            entering.set()
            await asyncio.Event().wait()
            yield
        finally:
            left.append(True)

    app = WsApp(broadcast_transport=MemoryTransport(bus), lifespan=lifespan)
    starting = asyncio.create_task(app.listen(0))
    await entering.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert left == [True]
    assert bus.channels() == {}


async def test_what_lifespan_raises_at_its_end_reaches_close_after_all_is_closed() -> None:
    bus = MemoryBus()

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        yield
        raise LookupError("could not flush")

    app = WsApp(broadcast_transport=MemoryTransport(bus), lifespan=lifespan)
    await app.listen(0)
    with pytest.raises(LookupError, match="could not flush"):
        await app.close()
    assert bus.channels() == {}
    assert app.health().state == "closed"


async def test_a_lifespan_that_dies_meanwhile_is_logged(
    caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    fail = asyncio.Event()

    async def child() -> None:
        await fail.wait()
        raise LookupError("pool lost")

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            yield

    app = WsApp(lifespan=lifespan)
    async with app.serving():
        fail.set()
        await eventually(lambda: texts(caplog, logging.ERROR))
        [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert record.getMessage() == "lifespan ended before the app"
        assert record.exc_info


@pytest.mark.parametrize("who", ["a task of its group", "its own end"])
async def test_close_from_what_the_lifespan_waits_for_ends(
    who: str, caplog: pytest.LogCaptureFixture
) -> None:
    bus = MemoryBus()
    ask = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        async def stop() -> None:
            await ask.wait()
            await app.close()

        async with asyncio.TaskGroup() as group:
            if who == "a task of its group":
                group.create_task(stop())
            yield
            if who == "its own end":
                await app.close()

    app = WsApp(broadcast_transport=MemoryTransport(bus), lifespan=lifespan, shutdown_timeout=0.02)
    await app.listen(0)
    async with asyncio.timeout(DEADLINE):
        if who == "a task of its group":
            ask.set()
            await app._life.until_closed()
        else:
            await app.close()
    assert app.health().state == "closed"
    assert bus.channels() == {}
    assert texts(caplog, logging.ERROR) == ["lifespan does not end: cancelled after 0.02 s"]


async def test_a_lifespan_that_ignores_its_cancellation_cannot_hold_up_the_close(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    monkeypatch.setattr("wsrooms.lifespan.GIVEN_UP", 0.02)
    release, over = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        yield
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        over.set()

    app = WsApp(lifespan=lifespan, shutdown_timeout=0.02)
    await app.listen(0)
    async with asyncio.timeout(DEADLINE):
        await app.close()
    assert app.health().state == "closed"
    assert texts(caplog, logging.ERROR) == [
        "lifespan does not end: cancelled after 0.02 s",
        "lifespan does not end when it is cancelled",
    ]
    release.set()
    await eventually(over.is_set)


async def test_a_start_whose_lifespan_ignores_its_cancellation_can_be_cancelled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    monkeypatch.setattr("wsrooms.lifespan.GIVEN_UP", 0.02)
    entering, release, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        entering.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        yield
        over.set()

    app = WsApp(lifespan=lifespan)
    starting = asyncio.create_task(app.listen(0))
    await entering.wait()
    starting.cancel()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(asyncio.CancelledError):
            await starting
    assert texts(caplog, logging.ERROR) == ["lifespan does not end when it is cancelled"]
    release.set()
    await eventually(over.is_set)


async def test_what_a_lifespan_raises_when_it_is_cancelled_at_its_end_reaches_close() -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        yield
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LookupError("not flushed") from None

    app = WsApp(lifespan=lifespan, shutdown_timeout=0.02)
    await app.listen(0)
    with pytest.raises(LookupError, match="not flushed"):
        await app.close()
    assert app.health().state == "closed"


async def test_close_during_lifespan_cancels_it() -> None:
    entering = asyncio.Event()
    left: list[bool] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        entering.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            left.append(True)

    app = WsApp(lifespan=lifespan)
    starting = asyncio.create_task(app.listen(0))
    await entering.wait()
    await app.close()
    assert left == [True]
    with pytest.raises(NotRunning):
        await starting


async def test_to_cancel_who_waits_for_the_end_of_a_lifespan_cancels_it() -> None:
    ending = asyncio.Event()
    order: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        ending.set()
        try:
            await asyncio.Event().wait()
        finally:
            order.append("cancelled")

    async with asyncio.timeout(DEADLINE):
        span = Lifespan(lifespan(), logging.getLogger("wsrooms"))
        await span.enter(contextvars.copy_context())
        leaving = asyncio.create_task(span.leave(60))
        await ending.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await asyncio.sleep(0)
    assert order == ["cancelled"]


async def coroutine(app: object) -> None: ...


async def generator(app: object) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(("fn", "kind"), [(coroutine, "coroutine"), (generator, "async_generator")])
async def test_a_lifespan_without_its_decorator_is_told_to_have_it(fn: Any, kind: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await WsApp(lifespan=fn).listen(0)
    assert str(caught.value).startswith(f"lifespan={fn.__name__} (")
    assert f" gives no async context manager but {kind}: put @contextlib" in str(caught.value)


async def test_a_lifespan_of_no_place_is_told_by_its_name() -> None:
    no_function: Any = repr  # of an app it gives a str
    with pytest.raises(ConfigurationError, match=r"^lifespan=repr gives no async .* but str: "):
        await WsApp(lifespan=no_function).listen(0)
