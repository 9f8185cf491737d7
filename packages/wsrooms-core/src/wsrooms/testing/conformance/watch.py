"""What must be true at the end of every case: nothing left, nothing blocked, nothing complained.

Tasks, sockets, warnings, logged errors, errors that nobody could be told, and how long the
event loop was kept busy. Time is the loop thread's processor time, so that a busy machine
blames no transport.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import stat
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Watch"]

TICK = 0.01
"""Seconds between two looks at the loop."""

BLOCKED = 0.05
"""Seconds of processor time for which an instance may keep the loop to itself.

Several may have their turn in one round of the loop, and nobody can tell whose time it was: so
it is as many times as long as there are instances, and never less than twice.
"""

BLOCKED_WALL = 1.0
"""Seconds likewise, where nobody can tell one thread's processor time; also of plain waiting."""

TRACED = 10
"""How many times as long where every line is looked at, which makes all slower."""

LINGER = 2.0
"""Seconds in which the far ends of closed connections, which the rig may hold, must be gone."""

RIG = "rig"
"""How the names of tasks begin that belong to the rig."""


class Watch:
    """Looks on for as long as a case runs; :meth:`problems` tells what it has seen.

    Attributes:
        logs: What was logged at WARNING or above, by anybody.
    """

    def __init__(self, slowdown: float = 1.0) -> None:
        """Allow what is told in seconds of a clock ``slowdown`` times as long."""
        self._slowdown = slowdown
        self.logs: list[logging.LogRecord] = []
        self._expected: list[Callable[[logging.LogRecord], bool]] = []
        self._unseen: list[str] = []
        self._warnings: list[warnings.WarningMessage] = []
        self._stack = ExitStack()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sockets: set[tuple[int, int]] = set()

    def expect_instances(self, count: int) -> None:
        """There are so many, each of which has its turn."""
        self._loop_watch.instances = max(self._loop_watch.instances, count)

    def expect_logs(self, expected: Callable[[logging.LogRecord], bool]) -> None:
        """Take records for which ``expected`` is true for part of what the case is about."""
        self._expected.append(expected)

    @contextmanager
    def excused(self) -> Iterator[None]:
        """Do not count what keeps the loop busy in this block: it is the suite's own work."""
        self._loop_watch.pause()
        try:
            yield
        finally:
            self._loop_watch.go_on()

    def __enter__(self) -> Watch:
        loop = asyncio.get_running_loop()
        gc.collect()
        gc.freeze()  # so that what others left is not collected on this case's time
        self._stack.callback(gc.unfreeze)
        self._tasks = asyncio.all_tasks()
        self._sockets = _sockets()
        caught = self._stack.enter_context(warnings.catch_warnings(record=True))
        assert caught is not None  # as it is told to record
        self._warnings = caught
        warnings.simplefilter("always")
        handler = _Collecting(self.logs)
        root = logging.getLogger()
        root.addHandler(handler)
        self._stack.callback(root.removeHandler, handler)
        self._stack.callback(loop.set_exception_handler, loop.get_exception_handler())
        loop.set_exception_handler(lambda _, told: self._unseen.append(_told(told)))
        self._stack.callback(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = self._unraisable
        self._loop_watch = LoopWatch(loop, self._slowdown)
        self._loop_watch.start()
        self._stack.callback(self._loop_watch.stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    async def problems(self) -> list[str]:
        """What is wrong now that the case has ended: one sentence each."""
        self._loop_watch.stop()
        found: list[str] = []
        if (blocked := self._loop_watch.told()) is not None:
            found.append(blocked)
        found += [f"a task is left: {task!r}" for task in await self._tasks_left()]
        left = await self._sockets_left()
        if left:
            found.append(f"{left} socket(s) are left open")
        # Whatever was thrown away without its end is told of only when it is collected.
        gc.collect()
        await asyncio.sleep(0)
        found += [f"a warning: {_warning(each)}" for each in self._warnings]
        found += [f"an error that nobody could be told: {each}" for each in self._unseen]
        found += [
            f"logged: {record.name}: {record.levelname}: {record.getMessage()}{_traced(record)}"
            for record in self.logs
            if not any(expected(record) for expected in self._expected)
        ]
        return found

    async def _tasks_left(self) -> list[asyncio.Task[Any]]:
        left: list[asyncio.Task[Any]] = []
        for _ in range(10):  # turns, in which those that were cancelled may end
            mine = {asyncio.current_task(), *self._tasks}
            left = [task for task in asyncio.all_tasks() if task not in mine and _counts(task)]
            if not left:
                break
            await asyncio.sleep(0)
        return left

    async def _sockets_left(self) -> int:
        loop = asyncio.get_running_loop()
        until = loop.time() + LINGER * self._slowdown
        while loop.time() < until:
            if not _sockets() - self._sockets:
                return 0
            await asyncio.sleep(TICK)  # nothing tells that another's socket has closed
        return len(_sockets() - self._sockets)

    def _unraisable(self, told: Any) -> None:
        where = "" if told.object is None else f" in {told.object!r}"
        self._unseen.append(f"{told.exc_value!r}{where}")


class LoopWatch(threading.Thread):
    """Asks the loop for signs of life, and notes what it did until it gave one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, slowdown: float) -> None:
        super().__init__(name="conformance-loop-watch", daemon=True)
        self._wall_limit = BLOCKED_WALL * slowdown
        self._loop = loop
        self._home = threading.get_ident()
        self.instances: int = 2
        self._cpu, limit = _processor_time()
        self._limit = limit * slowdown
        self._asked: float | None = None
        self._over = threading.Event()
        self._excused = 0.0
        self._excused_since: float | None = None
        self._pauses = 0
        self._worst = 0.0
        self._longest = 0.0
        self._where = ""

    def start(self) -> None:
        """Begin to look."""
        gc.callbacks.append(self._on_collection)
        super().start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self.is_alive():
            self.join()
        with suppress(ValueError):
            gc.callbacks.remove(self._on_collection)

    def pause(self) -> None:
        """From now on nothing counts; each call needs its :meth:`go_on`."""
        self._pauses += 1
        if self._pauses == 1:
            self._excused_since = self._cpu()

    def go_on(self) -> None:
        """Count again."""
        self._pauses -= 1
        since = self._excused_since
        if not self._pauses and since is not None:
            self._excused += self._cpu() - since
            self._excused_since = None

    def told(self) -> str | None:
        """What kept the loop to itself for too long; None if nothing did."""
        if self._longest > self._wall_limit:
            return f"the event loop was blocked for {self._longest:.1f} s{self._where}"
        if self._worst > self._limit * self.instances:
            milliseconds = self._worst * 1000
            return f"the event loop was blocked for {milliseconds:.0f} ms of work{self._where}"
        return None

    def run(self) -> None:
        """Look."""
        waited = 0.0
        while True:
            at = time.monotonic()
            if self._over.wait(TICK):
                return
            # A look that is late tells of this very machine, which stood still.
            passed = min(time.monotonic() - at, 2 * TICK)
            asked = self._asked
            if asked is None:
                waited = 0.0
                self._asked = self._used()
                with suppress(RuntimeError):  # the loop has closed
                    self._loop.call_soon_threadsafe(self._alive)
                continue
            used = self._used() - asked
            waited = 0.0 if self._pauses else waited + passed
            if waited > max(self._wall_limit, self._longest):
                self._longest = waited
                self._note_where()
            elif used > max(self._limit, self._worst) and self._longest <= self._wall_limit:
                self._note_where()

    def _alive(self) -> None:
        if self._asked is not None:
            self._worst = max(self._worst, self._used() - self._asked)
            self._asked = None

    def _used(self) -> float:
        now, since = self._cpu(), self._excused_since
        return (now if since is None else since) - self._excused

    def _note_where(self) -> None:
        frame = sys._current_frames().get(self._home)
        # In the selector it waits again: what kept it is over, and has been noted.
        if frame is not None and frame.f_globals.get("__name__") != "selectors":
            stack = "".join(traceback.format_stack(frame)[-4:])
            self._where = f" in\n{stack}"

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        # Garbage is everybody's, and the larger the process, the longer it takes.
        if threading.get_ident() != self._home:
            return
        if phase == "start":
            self.pause()
        else:
            self.go_on()


def _processor_time() -> tuple[Callable[[], float], float]:
    """A clock of this thread that others can read, and the limit by it."""
    get_clock = getattr(time, "pthread_getcpuclockid", None)
    if get_clock is None:
        return time.monotonic, BLOCKED_WALL / 2
    clock = get_clock(threading.get_ident())
    return lambda: time.clock_gettime(clock), BLOCKED * (TRACED if _is_traced() else 1)


def _is_traced() -> bool:
    """Whether something, such as coverage, looks at every line."""
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    watched = monitoring is not None and monitoring.get_tool(monitoring.COVERAGE_ID) is not None
    return watched or sys.gettrace() is not None


def _sockets() -> set[tuple[int, int]]:
    """The sockets that this process has open; empty where the platform does not tell.

    Without those that listen: transports connect, so such a one is the rig's, whose proxy
    opens another whenever it has refused for a while.
    """
    found: set[tuple[int, int]] = set()
    try:
        names = os.listdir("/dev/fd")
    except OSError:
        return found
    for name in names:
        with suppress(OSError, ValueError):  # the listing itself was one of them
            status = os.fstat(int(name))
            if stat.S_ISSOCK(status.st_mode) and not _listens(int(name)):
                found.add((status.st_dev, status.st_ino))
    return found


def _listens(descriptor: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


class _Collecting(logging.Handler):
    def __init__(self, into: list[logging.LogRecord]) -> None:
        super().__init__(logging.WARNING)
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        self._into.append(record)


def _counts(task: asyncio.Task[Any]) -> bool:
    return not task.get_name().startswith(RIG)


def _told(told: dict[str, Any]) -> str:
    error = told.get("exception")
    return str(told["message"]) if error is None else f"{told['message']}: {error!r}"


def _warning(each: warnings.WarningMessage) -> str:
    return f"{each.category.__name__}: {each.message} ({each.filename}:{each.lineno})"


def _traced(record: logging.LogRecord) -> str:
    if record.exc_info is None or record.exc_info[1] is None:
        return ""
    return f" ({record.exc_info[1]!r})"
