"""What holds for every test: an async test leaves no task behind and does not block its loop."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytest_plugins = [
    "tests.brokers.plugin",
    "tests.integration.faults_table",
    "tests.reports",
    "tests.workers",
]

TICK = 0.1
TICKS_ALLOWED = 5


@pytest.fixture(autouse=True)
def _guard(request: pytest.FixtureRequest) -> None:
    """Watch every async test; being set up first, its fixtures have ended when it looks."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_loop_guard")


@pytest.fixture
async def _loop_guard(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    watch = LoopWatch(asyncio.get_running_loop())
    watch.start()
    yield
    watch.stop()
    left = await tasks_left_behind()
    if left:
        told = "\n".join(map(repr, left))
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1)
        pytest.fail(f"tasks left behind:\n{told}", pytrace=False)
    if watch.blocked_in and not request.node.get_closest_marker("may_block"):
        limit = TICK * TICKS_ALLOWED
        pytest.fail(f"blocked the loop for {limit} s in\n{watch.blocked_in}", pytrace=False)


async def tasks_left_behind() -> set[asyncio.Task[object]]:
    """Tasks that are still there after a few turns, in which cancelled ones may end."""
    mine = asyncio.current_task()
    left: set[asyncio.Task[object]] = set()
    for _ in range(10):
        left = {task for task in asyncio.all_tasks() if task is not mine}
        if not left:
            break
        await asyncio.sleep(0)
    return left


class LoopWatch(threading.Thread):
    """Asks the loop for a sign of life and notes where it is when none comes.

    Only ticks that themselves came on time count, so a machine that stands still for a
    moment blames no test.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="loop-watch", daemon=True)
        self.blocked_in: str | None = None
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._alive = threading.Event()
        self._done = threading.Event()

    def run(self) -> None:
        silent_ticks = 0
        clock = self._loop.time
        while self.blocked_in is None:
            self._alive.clear()
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._alive.set)
            started = clock()
            if self._done.wait(TICK):
                return
            on_time = clock() - started < TICK * 2
            if self._alive.is_set():
                silent_ticks = 0
            elif on_time:
                silent_ticks += 1
            if silent_ticks == TICKS_ALLOWED:
                frame = sys._current_frames()[self._loop_thread]
                self.blocked_in = "".join(traceback.format_stack(frame)[-3:])

    def stop(self) -> None:
        self._done.set()
        self.join()
