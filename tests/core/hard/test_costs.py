"""What messages cost, counted: writes, encodings, tasks, timers and futures.

A clock would tell what the machine was busy with. These figures are the same on every
run, so whoever makes a delivery dearer learns it here. The time that a turn is measured
by stands still: a burst takes as many turns as it would on a machine with nothing else to do.
No heartbeat beats where something else is counted.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import (
    WsApp,
    WsMessage,
    use_ws_message,
    use_ws_rooms,
)
from wsrooms.server.protocol import ServerConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    # Fixtures of conftest.py, which importlib mode does not let us import.
    Crowds = Callable[[WsApp, int], AbstractAsyncContextManager[Any]]
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]

pytestmark = pytest.mark.every_loop

MESSAGES = 16
"""As many of one segment as wait by default while another is handled."""


@pytest.fixture(autouse=True)
def _standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsrooms.turns.monotonic", lambda: 100.0)


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# Writes and encodings


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Give how often each transport was written to, by the order in which it was made."""
    writes: Counter[int] = Counter()
    connection_made = ServerConnection.connection_made
    made = 0

    class Counted(asyncio.Transport):
        def __init__(self, transport: Any) -> None:
            nonlocal made
            super().__init__()
            self._transport = transport
            self._number = made
            made += 1

        def __getattribute__(self, name: str) -> Any:
            if name in {"write", "_transport", "_number"}:
                return super().__getattribute__(name)
            return getattr(self._transport, name)

        def write(self, data: Any) -> None:
            writes[self._number] += 1
            self._transport.write(data)

    def made_with(self: ServerConnection, transport: Any) -> None:
        connection_made(self, Counted(transport))

    monkeypatch.setattr(ServerConnection, "connection_made", made_with)
    return writes


@pytest.mark.parametrize("members", [3, 40])
@pytest.mark.parametrize("event", ["sync", "async", "raw"])
async def test_messages_of_one_segment_cost_one_write_for_each_member(
    crowd_of: Crowds, written: Counter[int], event: str, members: int
) -> None:
    app = WsApp(heartbeat_interval=None)

    @app.on_message("sync", "/r")
    def sync(message: WsMessage[int]) -> int:
        use_ws_rooms().broadcast("said", data=message.data)
        return message.data

    @app.on_message("async", "/r")
    async def asynchronous(message: WsMessage[int]) -> int:
        use_ws_rooms().broadcast("said", data=message.data)
        return message.data

    @app.on_message("raw", "/r")
    def raw() -> object:
        data = use_ws_message().data_raw
        use_ws_rooms().broadcast("said", data=data)
        return data

    async with crowd_of(app, members) as crowd:
        before, written_before = app.stats(), Counter(written)
        await crowd.send(*(crowd.message(event, data=n, id=n) for n in range(MESSAGES)), to=0)
        after = app.stats()
        # The sender is left out of its own broadcasts; its replies are one write all the same.
        assert after["messages_out"] - before["messages_out"] == MESSAGES * members
        assert after["replies"] - before["replies"] == MESSAGES
        assert after["writes"] - before["writes"] == members
        assert written - written_before == Counter(range(members))


@pytest.mark.parametrize("members", [1, 3, 40])
@pytest.mark.parametrize("how", ["handler", "room", "everybody"])
async def test_a_broadcast_is_encoded_once_for_all(
    crowd_of: Crowds, members: int, how: str
) -> None:
    encoded = 0

    class Odd:
        pass

    def hook(value: object) -> str:
        nonlocal encoded
        encoded += 1
        return "odd"

    app = WsApp(heartbeat_interval=None, enc_hook=hook)

    @app.on_message("say", "/r")
    def say() -> None:
        use_ws_rooms().broadcast("said", data=Odd(), exclude_self=False)

    async with crowd_of(app, members) as crowd:
        before = app.stats()["messages_out"]
        if how == "handler":
            await crowd.send(*[crowd.message("say")] * 5, to=0)
        else:
            for _ in range(5):
                if how == "room":
                    app.room("/r").broadcast("said", Odd())
                else:
                    app.broadcast("said", "/r", Odd())
            await crowd.settle()
        assert app.stats()["messages_out"] - before == 5 * members
        assert encoded == 5


# Tasks, timers, futures


@pytest.fixture
async def made() -> list[asyncio.Task[Any]]:
    """Give the tasks that are made, but for the one that asyncio itself makes for each client."""
    tasks: list[asyncio.Task[Any]] = []

    def factory(loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        # What ends a generator that somebody has left has no name: it is no work of the server.
        if getattr(work, "__name__", "_accept_connection2") != "_accept_connection2":
            tasks.append(task)
        return task

    asyncio.get_running_loop().set_task_factory(factory)
    return tasks


async def test_sync_handlers_take_no_task_and_a_burst_of_async_ones_one(
    crowd_of: Crowds, made: list[asyncio.Task[Any]]
) -> None:
    app = WsApp(heartbeat_interval=None)

    @app.on_message("sync", "/r")
    def sync() -> None:
        use_ws_rooms().broadcast("said")

    @app.on_message("async", "/r")
    async def asynchronous() -> None:
        use_ws_rooms().broadcast("said")

    async with crowd_of(app, 20) as crowd:
        made.clear()
        await crowd.send(*[crowd.message("sync", id=1)] * MESSAGES)
        assert made == []
        await crowd.send(*[crowd.message("async", id=1)] * MESSAGES, to=0)
        assert len(made) == 1
        await crowd.send(*[crowd.message("async", id=1)] * MESSAGES)
        assert len(made) == 1 + 20


class Asked:
    """What was asked of the loop: timers, and the futures that it made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop: Any = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self.futures = 0
        call_later, call_at, create_future = loop.call_later, loop.call_at, loop.create_future

        def later(*args: Any, **more: Any) -> asyncio.TimerHandle:
            return self._note(call_later(*args, **more))

        def at(*args: Any, **more: Any) -> asyncio.TimerHandle:
            return self._note(call_at(*args, **more))

        def future() -> asyncio.Future[Any]:
            self.futures += 1
            made: asyncio.Future[Any] = create_future()
            return made

        monkeypatch.setattr(loop, "call_later", later)
        monkeypatch.setattr(loop, "call_at", at)
        monkeypatch.setattr(loop, "create_future", future)

    def _note(self, timer: asyncio.TimerHandle) -> asyncio.TimerHandle:
        if timer not in self._timers:  # asyncio's call_later uses its call_at
            self._timers.append(timer)
        return timer

    def timers(self) -> int:
        """Timers that are neither cancelled nor due."""
        now = asyncio.get_running_loop().time()
        return sum(not timer.cancelled() and timer.when() > now for timer in self._timers)


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def futures_alive() -> int:
    gc.collect()  # of those that asyncio has left in circles
    return sum(isinstance(each, asyncio.Future) for each in gc.get_objects())


async def test_an_idle_connection_keeps_no_task_no_timer_and_no_future(
    crowd_of: Crowds, made: list[asyncio.Task[Any]], asked: Asked
) -> None:
    app = WsApp()
    async with crowd_of(app, 10) as crowd:
        made.clear()
        tasks, timers, futures = len(asyncio.all_tasks()), asked.timers(), futures_alive()
        await crowd.connect(100)
        await crowd.send(crowd.message("join", id=1))
        assert len(asyncio.all_tasks()) == tasks
        # A deadline of the test's own, and the heartbeat, which is one for all.
        assert asked.timers() <= timers + 2
        assert futures_alive() <= futures + 2
        # Not even for a moment: a task for each handshake would be gone by now.
        assert made == []


async def test_a_delivery_makes_no_future_and_no_timer(crowd_of: Crowds, asked: Asked) -> None:
    app = WsApp(heartbeat_interval=None)
    async with crowd_of(app, 100) as crowd:
        timers = asked.timers()
        asked.futures = 0
        before = app.stats()["messages_out"]
        for _ in range(3):
            app.room("/r").broadcast("said", 1)
            app.broadcast("said", "/", 1)
        await crowd.settle()
        assert app.stats()["messages_out"] - before == 600
        assert asked.futures == 0
        assert asked.timers() <= timers
