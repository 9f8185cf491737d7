"""Which function kept the loop, and for how long: on a clock that stands still by itself."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import WsApp, WsMessage, use_ws_rooms
from wsrooms.debug.blocking import LoopWatch
from wsrooms.transports.logs import SeldomLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py

HERE = str(Path(__file__).relative_to(Path.cwd())) if Path(__file__).is_relative_to(
    Path.cwd()
) else __file__  # fmt: skip


class Clock:
    """Time passes where a function says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def block(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("wsrooms.debug.blocking.perf_counter", clock)
    return clock


class Watched:
    """A watch, what it has logged, and how often it counted."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.watch = LoopWatch(SeldomLog(logging.getLogger("wsrooms.test")))
        self.watch.on_blocked = self._count
        self.count = 0
        self._caplog = caplog

    def _count(self) -> None:
        self.count += 1

    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._caplog.records]


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(caplog)


def line_of(fn: Callable[..., object]) -> int:
    return fn.__code__.co_firstlineno


# What is told


def test_a_sync_function_that_blocks_is_named_with_its_place(
    watched: Watched, clock: Clock
) -> None:
    def slow() -> str:
        clock.block(0.1)
        return "result"

    assert watched.watch.function(slow, "on_connect")() == "result"
    name = "test_a_sync_function_that_blocks_is_named_with_its_place.<locals>.slow"
    assert watched.lines() == [
        f"on_connect, {name} ({HERE}:{line_of(slow)}), kept the event loop busy for 100 ms, while "
        "nothing else could run: make it async def, and move what blocks to a thread with "
        "'await asyncio.to_thread(...)'"
    ]
    assert watched.count == 1


def test_what_takes_less_than_a_tenth_of_a_second_is_not_named(
    watched: Watched, clock: Clock
) -> None:
    watched.watch.function(lambda: clock.block(0.099), "on_connect")()
    assert watched.lines() == []
    assert watched.count == 0


def test_one_that_raises_is_named_too(watched: Watched, clock: Clock) -> None:
    def fails() -> None:
        clock.block(1)
        raise KeyError("it")

    with pytest.raises(KeyError):
        watched.watch.function(fails, "on_connect")()
    assert watched.count == 1


def test_a_function_is_named_once_a_minute_and_counted_each_time(
    watched: Watched, clock: Clock
) -> None:
    slow = watched.watch.function(lambda: clock.block(1), "on_connect")
    other = watched.watch.function(lambda: clock.block(1), "on_disconnect")
    for _ in range(3):
        slow()
    other()
    assert len(watched.lines()) == 2
    assert watched.count == 4


# Coroutines


async def test_each_step_of_an_async_function_is_timed_alone(
    watched: Watched, clock: Clock
) -> None:
    async def steps() -> int:
        for _ in range(10):
            clock.block(0.09)
            await asyncio.sleep(0)
        return 7

    assert await watched.watch.function(steps, "on_connect")() == 7
    assert watched.count == 0


async def test_a_step_that_blocks_is_named_and_the_function_need_not_become_async(
    watched: Watched, clock: Clock
) -> None:
    async def one_step() -> None:
        await asyncio.sleep(0)
        clock.block(0.25)

    await watched.watch.function(one_step, "on_connect")()
    [line] = watched.lines()
    assert "kept the event loop busy for 250 ms" in line
    assert line.endswith(
        "could run: move what blocks to a thread with 'await asyncio.to_thread(...)'"
    )


async def test_what_another_thread_calls_keeps_no_loop_busy(watched: Watched, clock: Clock) -> None:
    hook = watched.watch.function(lambda: clock.block(0.5), "enc_hook")
    await asyncio.to_thread(hook)
    assert watched.count == 0
    hook()
    assert watched.count == 1


async def test_waiting_is_not_blocking(watched: Watched, clock: Clock) -> None:
    waiting = asyncio.get_running_loop().create_future()

    async def waits() -> None:
        await waiting

    task = asyncio.ensure_future(watched.watch.function(waits, "on_connect")())
    await asyncio.sleep(0)
    clock.block(10)  # something else's time
    waiting.set_result(None)
    await task
    assert watched.count == 0


async def test_what_a_wrapped_function_waits_for_reaches_it_and_what_it_raises_comes_out(
    watched: Watched, clock: Clock
) -> None:
    async def cancelled() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            clock.block(1)
            raise KeyError("mine") from None
        return "never"

    task = asyncio.ensure_future(watched.watch.function(cancelled, "on_connect")())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(KeyError, match="mine"):
        await task
    assert watched.count == 1


async def test_one_that_is_cancelled_before_it_begins_leaves_no_coroutine_unawaited(
    watched: Watched,
) -> None:
    async def never() -> None:
        raise AssertionError

    task = asyncio.ensure_future(watched.watch.function(never, "on_connect")())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    watched.watch.function(never, "on_connect")().close()


async def test_a_task_of_it_shows_the_function_itself(watched: Watched) -> None:
    waiting = asyncio.get_running_loop().create_future()

    async def shown_here() -> None:
        await waiting

    task = asyncio.ensure_future(watched.watch.function(shown_here, "on_connect")())
    await asyncio.sleep(0)
    assert "shown_here" in repr(task)
    assert "await waiting" in "".join(traceback.format_stack(task.get_stack()[0]))
    waiting.set_result(None)
    await task


async def test_what_an_outer_function_spends_in_an_inner_one_is_the_inner_ones(
    watched: Watched, clock: Clock
) -> None:
    inner = watched.watch.function(lambda: clock.block(0.2), "inner")

    async def around() -> None:
        clock.block(0.06)
        inner()
        clock.block(0.06)

    await watched.watch.function(around, "outer")()
    assert [line.split(",")[0] for line in watched.lines()] == ["inner", "outer"]
    assert "busy for 200 ms" in watched.lines()[0]
    assert "busy for 120 ms" in watched.lines()[1]


# In an app


async def test_every_function_of_an_app_is_watched_and_counted(
    connect: Connect, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    app = WsApp(debug=True, enc_hook=lambda value: clock.block(1))

    @app.on_connect
    def connected() -> None:
        clock.block(1)

    @app.on_disconnect
    async def disconnected() -> None:
        clock.block(1)

    @app.around_message
    async def around(call_next: Callable[[], Awaitable[object]]) -> object:
        clock.block(1)
        return await asyncio.create_task(wrapped(call_next))

    async def wrapped(call_next: Callable[[], Awaitable[object]]) -> object:
        return await call_next()

    @app.on_message("sync", "/:x")
    def sync() -> object:
        clock.block(1)
        return object()

    @app.on_message("async", "/:x")
    async def later(message: WsMessage[int]) -> int:
        await asyncio.sleep(0)
        clock.block(1)
        return message.data

    @app.on_error
    def on_error(error: BaseException, route: str) -> None:
        clock.block(1)

    @app.on_message("fail", "/:x")
    def fail() -> None:
        raise KeyError

    async def background() -> None:
        clock.block(1)

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("sync", "/1") is None
        assert await peer.call("async", "/1", 5) == 5
        await peer.call("fail", "/1")
        await app.start_task(background(), name="background")
        await peer.close()
    blocked = [
        re.split(",| kept", record.getMessage())[0]
        for record in caplog.records
        if "kept the event loop" in record.getMessage()
    ]
    assert blocked == [
        "on_connect",
        "around_message",
        "the handler of 'sync' '/:x'",
        "enc_hook",
        "the handler of 'async' '/:x'",
        "on_error",
        "the background task 'background'",
        "on_disconnect",
    ]
    assert app.stats()["handlers_blocked"] == 10  # around_message thrice


async def test_without_debug_nothing_is_timed(connect: Connect, clock: Clock) -> None:
    app = WsApp()

    @app.on_message("sync", "/")
    def sync() -> None:
        clock.block(1)

    async with app.serving() as address:
        peer = await connect(address)
        await peer.call("sync", "/")
        assert app.stats()["handlers_blocked"] == 0


async def test_handlers_answer_as_they_do_without_debug(connect: Connect) -> None:
    app = WsApp(debug=True)

    @app.on_message("sum", "/")
    def fails(message: WsMessage[list[int]]) -> int:
        raise KeyError

    @app.on_message("sum", "/")
    def adds(message: WsMessage[list[int]]) -> int:
        return sum(message.data)

    @app.on_message("join", "/:room")
    def joins() -> object:
        return use_ws_rooms().join()  # a receipt, which is awaited

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("sum", "/", [1, 2]) == 3
        assert (await peer.call("sum", "/", ["x"]))["error"]["code"] == 422
        assert await peer.call("join", "/r") is None
        assert [handler for _, _, handler in app.routes()] == [fails, adds, joins]


async def test_the_rest_of_a_message_may_be_a_background_task_as_without_debug(
    connect: Connect,
) -> None:
    app = WsApp(debug=True)

    @app.around_message
    async def apart(call_next: Callable[[], Any]) -> object:
        return await app.start_task(call_next(), name="the rest")

    @app.around_message
    async def inner(call_next: Callable[[], Awaitable[object]]) -> object:
        return await call_next()

    @app.on_message("one", "/")
    def one() -> int:
        return 1

    async with app.serving() as address:
        peer = await connect(address)
        assert await peer.call("one", "/") == 1


def test_an_app_that_does_not_debug_does_not_load_what_does() -> None:
    program = (
        "import asyncio, sys, wsrooms\n"
        "async def main():\n"
        "    async with wsrooms.WsApp(debug=DEBUG).serving():\n"
        "        return 'wsrooms.debug' in sys.modules\n"
        "print(asyncio.run(main()))"
    )
    for debug in (False, True):
        code = program.replace("DEBUG", str(debug))
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert told.stdout == f"{debug}\n", told.stderr
