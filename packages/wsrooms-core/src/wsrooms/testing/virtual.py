"""A loop on virtual time, and :func:`run`, which runs a coroutine on one.

Nothing is waited for: when nothing is ready the clock jumps to the next timer, so an hour
of ``asyncio.sleep`` takes no time and two runs take the same turns. Where nothing could
ever happen again it says so.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import traceback
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["Deadlock", "VirtualTimeLoop", "run"]

T = TypeVar("T")

ENDING_TURNS = 100
"""Turns that cancelled tasks may take to end."""


class Deadlock(RuntimeError):
    """Nothing is ready, no timer runs and no thread works: the wait would never end."""


class _NoWaiting(selectors.BaseSelector):
    """Looks at what is ready now, and lets the clock jump in place of waiting."""

    def __init__(self, jump: Callable[[float | None], bool]) -> None:
        self._real = selectors.DefaultSelector()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        return [] if self._jump(timeout) else self._real.select(None)

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer whenever nothing is ready.

    The clock begins at 0. Work in threads (``asyncio.to_thread``, ``run_in_executor``)
    takes real time and no virtual time: while any is under way the clock stands still.
    Real sockets are served as they become ready, but no timer waits for them.

    Attributes:
        wsrooms_random: What the core draws from, ids included; None: as everywhere.
    """

    wsrooms_random: random.Random | None

    def __init__(self, *, seed: int | None = None) -> None:
        """Make a loop; with ``seed`` the core's own chances are the same in every run."""
        self._now = 0.0
        self._threads = 0
        self._ending = False
        self.wsrooms_random = None if seed is None else random.Random(seed)
        super().__init__(_NoWaiting(self._advance))

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._now

    @property
    def wsrooms_clock(self) -> Callable[[], float]:
        """What the core reads in place of ``time.monotonic``."""
        return self.time

    def _advance(self, timeout: float | None) -> bool:
        """Let ``timeout`` seconds pass at once; False where something real is waited for."""
        if self._threads:
            return False
        if timeout is None:
            raise Deadlock(_deadlock(self))
        self._now += timeout
        return True

    def run_in_executor(  # type: ignore[override]  # typeshed's TypeVarTuple says no more
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call ``func`` in a thread; the clock stands still until it has returned."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: object) -> None:
        self._threads -= 1


def _deadlock(loop: asyncio.AbstractEventLoop) -> str:
    lines = ["nothing is ready, no timer runs and no thread works; what still waits:"]
    for task in sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name()):
        frames = task.get_stack(limit=1)
        where = traceback.format_list(traceback.extract_stack(frames[0], 1))[0] if frames else ""
        lines.append(f"- {task.get_name()}\n{where.rstrip()}")
    return "\n".join(lines)


def run(main: Coroutine[Any, Any, T], *, seed: int | None = None) -> T:
    """Run ``main`` on a :class:`VirtualTimeLoop` of its own, and return its result.

    When it has ended, tasks that still run are cancelled. What went wrong where nobody
    could be told (a task that died unseen, a callback that raised) is raised here.

    Args:
        main: What to run.
        seed: Makes the core's own chances (ids, jitter) the same in every run.

    Raises:
        Deadlock: It waits for what can never happen.
        RuntimeError: An event loop is running here already; or a task does not end
            when it is cancelled.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        main.close()
        raise RuntimeError("run() cannot be called in a running event loop: await the coroutine")
    loop = VirtualTimeLoop(seed=seed)
    unseen: list[BaseException] = []

    def note(_: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        error = told.get("exception") or RuntimeError(told["message"])
        error.add_note(str(told["message"]))
        unseen.append(cast("BaseException", error))

    loop.set_exception_handler(note)
    try:
        asyncio.set_event_loop(loop)
        result = loop.run_until_complete(main)
    except BaseException as error:
        _end(loop)
        for other in unseen:
            error.add_note(f"also: {other!r}")
        raise
    else:
        _end(loop)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    if len(unseen) == 1:
        raise unseen[0]
    if unseen:
        raise BaseExceptionGroup("went wrong where nobody could be told", unseen)
    return result


def _end(loop: VirtualTimeLoop) -> None:
    """Cancel what still runs, and let it end."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=60))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop._threads += 1  # the one that waits for those of the executor
    loop.run_until_complete(loop.shutdown_default_executor())
    loop._threads -= 1
    alive = [task.get_name() for task in left if not task.done()]
    if alive:
        raise RuntimeError(f"tasks that do not end when they are cancelled: {', '.join(alive)}")
    for task in left:
        if not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler(
                {"message": f"task {task.get_name()} failed at its end", "exception": error}
            )
