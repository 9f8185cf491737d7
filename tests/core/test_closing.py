"""What begins, enters or fails while the app closes: none of it is left, and none unawaited."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE
from wsrooms import NotRunning, ServerNotStarted, WsAddress, WsApp
from wsrooms.testing import connect_client
from wsrooms.transports import Gap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Closing:
    """A transport whose close ends when the test says so."""

    def __init__(self) -> None:
        self.closing, self.go_on = asyncio.Event(), asyncio.Event()
        self.closes = 0
        self.tell_gap: Callable[[Gap], None] = lambda gap: None

    async def start(self) -> None: ...

    async def publish(self, channel: str, payload: str) -> None: ...

    async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None: ...

    async def unsubscribe(self, channel: str) -> None: ...

    async def close(self) -> None:
        self.closes += 1
        self.closing.set()
        await self.go_on.wait()

    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        self.tell_gap = callback


class Entering:
    """A lifespan that is entered when the test says so."""

    def __init__(self) -> None:
        self.reached, self.enter = asyncio.Event(), asyncio.Event()
        self.events: list[str] = []

    @contextlib.asynccontextmanager
    async def __call__(self, app: WsApp) -> AsyncIterator[None]:
        self.reached.set()
        self.events.append("begins")
        try:
            await self.enter.wait()
            self.events.append("entered")
            yield
        finally:
            await asyncio.sleep(0)
            self.events.append("left")


async def test_a_close_while_the_bus_starts_ends_that_and_the_app_does_not_run() -> None:
    starting, stopped = asyncio.Event(), asyncio.Event()

    class Absent(Closing):
        async def start(self) -> None:
            starting.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

    transport = Absent()
    transport.go_on.set()
    app = WsApp(broadcast_transport=transport)
    listens = [asyncio.create_task(app.listen(0)) for _ in range(2)]
    await starting.wait()
    await app.close()
    assert stopped.is_set()
    assert app.health().state == "closed"
    for listen in listens:
        with pytest.raises(NotRunning, match="closed while it started"):
            await listen
    assert app.health().state == "closed"
    assert transport.closes == 1


@pytest.mark.parametrize("turns", range(16))
@pytest.mark.parametrize("enters", [True, False])
async def test_a_close_at_any_moment_of_a_start_leaves_the_lifespan_before_it_returns(
    turns: int, enters: bool
) -> None:
    transport, lifespan = Closing(), Entering()
    transport.go_on.set()
    app = WsApp(broadcast_transport=transport, lifespan=lifespan)
    listens = asyncio.create_task(app.listen(0))
    await lifespan.reached.wait()
    if enters:
        lifespan.enter.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    await app.close()
    assert lifespan.events in (["begins", "left"], ["begins", "entered", "left"])
    assert transport.closes == 1
    assert app.health().state == "closed"
    await asyncio.wait([listens])
    if not listens.cancelled() and (error := listens.exception()) is not None:
        assert isinstance(error, NotRunning)
    lifespan.enter.set()
    async with app.serving():  # again
        assert app.health().state == "up"


@pytest.mark.parametrize("turns", range(16))
async def test_a_listen_that_is_cancelled_leaves_no_app_running(turns: int) -> None:
    transport, lifespan = Closing(), Entering()
    transport.go_on.set()
    lifespan.enter.set()
    app = WsApp(broadcast_transport=transport, lifespan=lifespan)
    listens = asyncio.create_task(app.listen(0))
    await lifespan.reached.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    listens.cancel()
    await asyncio.wait([listens])
    if not listens.cancelled():
        await app.close()
    assert lifespan.events in (["begins", "left"], ["begins", "entered", "left"])
    assert app.health().state == "closed"


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("first", ["a close", "the listen is cancelled"])
async def test_a_second_close_cuts_nothing_short_and_lets_no_other_start_in(
    turns: int, first: str
) -> None:
    transport, reached, left = Closing(), asyncio.Event(), list[bool]()
    transport.go_on.set()

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        reached.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            left.append(transport.closes == 0)

    app = WsApp(broadcast_transport=transport, lifespan=lifespan)
    listens = asyncio.create_task(app.listen(0))
    await reached.wait()
    closes = [asyncio.create_task(app.close())] if first == "a close" else []
    if not closes:
        listens.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    closes.append(asyncio.create_task(app.close()))
    await asyncio.sleep(0)
    with pytest.raises(NotRunning, match="wait for close"):
        await app.listen(0)
    await asyncio.wait(closes)
    assert left == [True]
    assert app.health().state == "closed"
    await asyncio.wait([listens])
    assert listens.cancelled() or isinstance(listens.exception(), NotRunning)


@pytest.mark.parametrize("starter", ["listen", "a visitor"])
async def test_a_visitor_that_goes_ends_no_start_that_somebody_else_waits_for(
    starter: str,
) -> None:
    transport, lifespan = Closing(), Entering()
    transport.go_on.set()
    app = WsApp(broadcast_transport=transport, lifespan=lifespan)

    async def visit() -> None:
        async with connect_client(app):
            pass

    makes = [app.listen(0), visit()] if starter == "listen" else [visit(), app.listen(0)]
    tasks: list[asyncio.Task[object]] = []
    for make in makes:
        tasks.append(asyncio.create_task(make))
        await lifespan.reached.wait()
        await asyncio.sleep(0)
    listens, visits = tasks if starter == "listen" else reversed(tasks)
    visits.cancel()
    await asyncio.wait([visits])
    lifespan.enter.set()
    assert isinstance(await listens, WsAddress)
    assert app.health().state == "up"
    await app.close()


async def test_a_visitor_whose_other_start_fails_starts_and_closes_the_app() -> None:
    transport, lifespan = Closing(), Entering()
    transport.go_on.set()
    app = WsApp(broadcast_transport=transport, lifespan=lifespan)
    visited = asyncio.Event()

    async def visit() -> None:
        async with connect_client(app):
            visited.set()

    listens = asyncio.create_task(app.listen(0))
    await lifespan.reached.wait()
    visits = asyncio.create_task(visit())
    await asyncio.sleep(0)
    listens.cancel()
    await asyncio.wait([listens])
    lifespan.enter.set()
    await visits
    assert visited.is_set()
    assert app.health().state == "closed"


async def test_what_a_lifespan_raises_when_its_entering_is_cancelled_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reached = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        reached.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            raise LookupError("no pool")

    app = WsApp(lifespan=lifespan)
    listens = asyncio.create_task(app.listen(0))
    await reached.wait()
    await app.close()
    with pytest.raises(NotRunning):
        await listens
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "lifespan failed when it was cancelled"
    ]


@pytest.mark.parametrize("turns", range(16))
async def test_a_bus_is_closed_once_where_the_lifespan_fails_as_the_app_closes(
    turns: int,
) -> None:
    transport, reached, enter = Closing(), asyncio.Event(), asyncio.Event()
    transport.go_on.set()

    def settings() -> None:
        raise LookupError("no settings")

    @contextlib.asynccontextmanager
    async def lifespan(app: WsApp) -> AsyncIterator[None]:
        reached.set()
        await enter.wait()
        settings()
        yield

    app = WsApp(broadcast_transport=transport, lifespan=lifespan)
    listens = asyncio.create_task(app.listen(0))
    await reached.wait()
    enter.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    await app.close()
    with pytest.raises((LookupError, NotRunning)):
        await listens
    assert transport.closes == 1
    assert app.health().state == "closed"


async def test_a_start_that_does_not_end_when_it_is_cancelled_does_not_keep_the_close(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsrooms.life.START_GIVEN_UP", 0.02)
    starting, release = asyncio.Event(), asyncio.Event()

    class Stubborn(Closing):
        async def start(self) -> None:
            starting.set()
            while not release.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await release.wait()

    transport = Stubborn()
    transport.go_on.set()
    app = WsApp(broadcast_transport=transport)
    listens = asyncio.create_task(app.listen(0))
    await starting.wait()
    await app.close()
    assert "the start of the app does not end when it is cancelled" in caplog.text
    release.set()
    with pytest.raises(NotRunning):
        await listens
    assert app.health().state == "closed"


async def test_a_listen_that_fails_does_not_close_the_app_of_another_that_started_it() -> None:
    class Slow(Closing):
        async def start(self) -> None:
            for _ in range(5):
                await asyncio.sleep(0)

    transport = Slow()
    transport.go_on.set()
    app = WsApp(broadcast_transport=transport)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        good, bad = await asyncio.gather(app.listen(0), app.listen(port), return_exceptions=True)
    assert isinstance(good, WsAddress)
    assert isinstance(bad, ServerNotStarted)
    assert app.health().state == "up"
    await app.close()


@pytest.mark.parametrize("turns", range(4))
async def test_an_async_hook_that_is_told_as_the_app_closes_begins(turns: int) -> None:
    transport = Closing()
    transport.go_on.set()
    app = WsApp(broadcast_transport=transport)
    told: list[Gap] = []

    @app.on_gap
    async def note(gap: Gap) -> None:
        told.append(gap)

    async with app.serving():
        loop, gap = asyncio.get_running_loop(), Gap(None, None, None)

        def tell(left: int) -> None:
            if left:
                loop.call_soon(tell, left - 1)
            else:
                transport.tell_gap(gap)

        loop.call_soon(tell, turns)
    gc.collect()  # Python tells of a coroutine that nobody awaited when it is thrown away
    assert told in ([gap], [])


async def test_a_task_that_is_started_while_the_bus_closes_ends_with_it() -> None:
    transport = Closing()
    app = WsApp(broadcast_transport=transport)
    await app.listen(0)
    closes = asyncio.create_task(app.close())
    await transport.closing.wait()
    task = app.start_task(asyncio.sleep(2 * DEADLINE), name="late")
    transport.go_on.set()
    await closes
    assert task.cancelled()


async def test_a_task_that_swallows_a_cancellation_is_cancelled_once_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsrooms.life.CLOSE_TRANSPORT", 0.2)

    async def consume() -> None:
        with contextlib.suppress(asyncio.CancelledError):  # as wait_for of Python 3.11 may
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    app = WsApp()
    await app.listen(0)
    task = app.start_task(consume(), name="consumer")
    await app.close()
    assert task.cancelled()
    assert "does not end" not in caplog.text


async def test_tasks_are_cancelled_in_their_order_and_so_is_what_they_begin_then() -> None:
    app, ended = WsApp(), list[str]()

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)
            if name == "5":
                app.start_task(work("child"), name="child")

    await app.listen(0)
    for number in range(12):
        app.start_task(work(f"{number}"), name=f"{number}")
    await app.close()
    assert ended == [*map(str, range(12)), "child"]


async def test_a_task_that_will_not_end_is_waited_for_once_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsrooms.life.CLOSE_TRANSPORT", 0.1)
    release, cancelled = asyncio.Event(), list[None]()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                cancelled.append(None)

    app = WsApp(broadcast_transport="memory://")
    await app.listen(0)
    task = app.start_task(stubborn(), name="stubborn")
    await app.close()
    assert len(cancelled) == 2
    assert caplog.text.count("task stubborn does not end") == 1
    release.set()
    await task


def listening() -> set[int]:
    """The descriptors of this process's sockets that accept connections."""
    found: set[int] = set()
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # the listing's own has closed
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                each = socket.socket(fileno=int(name))
                if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found.add(int(name))
                each.detach()
    return found


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("kind", ["a port", "a path"])
async def test_a_listen_that_is_cancelled_at_any_moment_leaves_no_socket_open(
    turns: int, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("s") / "s"
    before = listening()
    app = WsApp()
    listens = asyncio.create_task(
        app.listen(0) if kind == "a port" else app.listen(0, unix_path=str(path))
    )
    for _ in range(turns):
        await asyncio.sleep(0)
    listens.cancel()
    await asyncio.wait([listens])
    await app.close()
    assert listening() == before
    assert not path.exists()
