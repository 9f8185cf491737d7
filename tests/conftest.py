"""What holds for every test: an async test leaves no task behind and does not block its loop."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import FrameType

pytest_plugins = [
    "tests.brokers.plugin",
    "tests.integration.faults_table",
    "tests.jitter",
    "tests.reports",
    "tests.workers",
]

TICK = 0.1
BLOCKED = 0.5
"""Seconds for which a test may keep its loop to itself."""


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
        pytest.fail(f"blocked the loop for {BLOCKED} s in\n{watch.blocked_in}", pytrace=False)


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


@pytest.fixture
def without_garbage() -> Iterator[None]:
    """Measure without it: a collection walks all that this process holds, whoever made it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class LoopWatch(threading.Thread):
    """Asks the loop for a sign of life and notes where it is when none comes.

    A busy machine blames no test: of a tick counts what the loop's thread has worked, or all of
    it where that waits for something of its own accord, but for the time in which it was ready to
    run and got no processor; and of a tick that comes late no more than of one on time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="loop-watch", daemon=True)
        self.blocked_in: str | None = None
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._look = looks_at(threading.get_native_id())
        self._alive = threading.Event()
        self._done = threading.Event()

    def run(self) -> None:
        clock = self._loop.time
        silent, (_, worked, starved) = 0.0, self._look()
        while self.blocked_in is None:
            self._alive.clear()
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._alive.set)
            started = clock()
            if self._done.wait(TICK):
                return
            worked_before, starved_before = worked, starved
            waits, worked, starved = self._look()
            took = clock() - started - (starved - starved_before)
            if not waits:  # it is at work, or would be, were it not for other programs
                took = min(took, worked - worked_before)
            silent = 0.0 if self._alive.is_set() else silent + min(took, TICK)
            if silent >= BLOCKED - TICK / 2:  # of each tick a moment may have been starved
                frame = sys._current_frames()[self._loop_thread]
                if begins_a_process(frame):
                    silent = 0.0
                    continue
                self.blocked_in = "".join(traceback.format_stack(frame)[-3:])

    def stop(self) -> None:
        self._done.set()
        self.join()


def begins_a_process(frame: FrameType | None) -> bool:
    """Whether it waits for a child to begin, which is the machine's time and asleep all of it."""
    while frame is not None:
        if frame.f_code.co_name == "_execute_child":  # of subprocess
            return True
        frame = frame.f_back
    return False


def looks_at(thread: int) -> Callable[[], tuple[bool, float, float]]:
    """Whether a thread waits for something, and seconds that it has worked and been kept from it.

    Where nobody tells of threads it always waits.
    """
    place = Path(f"/proc/self/task/{thread}")

    def look() -> tuple[bool, float, float]:
        try:
            state = (place / "stat").read_bytes().rpartition(b")")[2].split()[0]
            worked, starved, _ = (place / "schedstat").read_bytes().split()
        except OSError:
            return True, 0.0, 0.0
        waits = state in (b"S", b"D") or worked == b"0"  # there nothing is counted
        return waits, int(worked) / 1e9, int(starved) / 1e9

    return look
