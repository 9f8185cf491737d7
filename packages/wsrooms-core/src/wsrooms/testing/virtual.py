"""A loop on virtual time, and :func:`run`, which runs a coroutine on one.

Nothing is waited for: when nothing is ready the clock jumps to the next timer, so an hour
of ``asyncio.sleep`` takes no time and two runs take the same turns. Where nothing could
ever happen again it says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["Deadlock", "VirtualTimeLoop", "run"]

T = TypeVar("T")

RESOLUTION = time.get_clock_info("monotonic").resolution
"""How much too early asyncio lets a timer ring."""

PATIENCE = 5.0
"""Real seconds after which a thread that has not returned is taken to wait for the loop."""

GLANCE = 0.01
"""Real seconds that such a thread is given after each step of the clock."""

CANCELLED = 60.0
"""Virtual seconds that cancelled tasks have to end."""


class Deadlock(RuntimeError):
    """Nothing is ready, no timer runs and no thread works: what waits would wait for ever.

    The text names the tasks that wait, and where.
    """


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer whenever nothing is ready.

    The clock begins at 0. Work in threads (``asyncio.to_thread``, ``run_in_executor``)
    takes real time and no virtual time: while any is under way the clock stands still, for
    five real seconds; a thread that takes longer is taken to wait for something that the
    loop does later, such as a receipt. Threads of another kind are not waited for. Real
    sockets are served when they are ready, but no timer waits for them: this loop is for
    what stays in the process.

    Where nothing is ready, no timer runs and no thread works, it raises :class:`Deadlock`.

    Attributes:
        wsrooms_random: What the core draws ids from; None: as everywhere.
    """

    wsrooms_random: random.Random | None

    def __init__(self, *, seed: int | None = None) -> None:
        """Make a loop; with ``seed`` connections and instances get the same ids in every run."""
        self._now = 0.0
        self._threads = 0
        self._awaited = False  # whether a thread waits for time to pass
        self.wsrooms_random = None if seed is None else random.Random(seed)
        super().__init__(_NoWaiting(self._patience, self._let_pass))

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._now

    def wsrooms_clock(self) -> float:
        """What the core reads in place of ``time.monotonic``."""
        # How busy the machine is must not decide how much is handled in a turn.
        return self._now

    def run_in_executor(  # type: ignore[override]  # typeshed's signature is generic in args
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call ``func`` in a thread; the clock stands still until it has returned."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        self._awaited = False
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads that :meth:`run_in_executor` has used."""
        self._threads += 1  # asyncio waits for them in one more
        try:
            await super().shutdown_default_executor()
        finally:
            self._threads -= 1

    def _thread_done(self, _: object) -> None:
        self._threads -= 1
        self._awaited = False

    def _patience(self, seconds: float | None) -> float | None:
        """For how long something real is waited for before ``seconds`` pass; None: for ever."""
        if not self._threads:
            return 0.0
        if seconds is None:
            return None
        return GLANCE if self._awaited else PATIENCE

    def _let_pass(self, seconds: float | None) -> None:
        """Let that much time pass at once."""
        if seconds is None:
            raise Deadlock(_who_waits(self))
        self._awaited = self._threads > 0
        self._now += seconds
        if self._now + RESOLUTION == self._now:
            # Months from the start asyncio would take a timer of just now for one of later.
            self._now = math.nextafter(self._now, math.inf)


class _NoWaiting(selectors.BaseSelector):
    """Looks at what is ready, and where nothing is lets time pass in place of waiting."""

    def __init__(
        self,
        patience: Callable[[float | None], float | None],
        let_pass: Callable[[float | None], None],
    ) -> None:
        self._real = selectors.DefaultSelector()
        self._patience = patience
        self._let_pass = let_pass

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        patience = self._patience(timeout)
        if patience != 0:
            ready = self._real.select(patience)
        if not ready and patience is not None:
            self._let_pass(timeout)
        return ready

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


def run(main: Coroutine[Any, Any, T], *, seed: int | None = None) -> T:
    """Run ``main`` on a :class:`VirtualTimeLoop` of its own, and return its result.

    When it has ended, tasks that still run are cancelled. What went wrong where nobody
    could be told, such as a task that died unseen, is raised here.

    Args:
        main: What to run.
        seed: Makes what is drawn the same in every run: the ids of connections and
            instances, and all of the ``random`` module, whose state is put back afterwards.

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
    unseen: list[BaseException] = []
    with _seeded(seed), contextlib.closing(VirtualTimeLoop(seed=seed)) as loop:
        loop.set_exception_handler(lambda _, told: unseen.append(_error_of(told)))
        try:
            result = loop.run_until_complete(main)
        except BaseException as error:
            with contextlib.suppress(Exception):  # the first error is the one to look at
                _end(loop)
            for other in unseen:
                error.add_note(f"besides: {other!r}")
            raise
        _end(loop)
    if len(unseen) == 1:
        raise unseen[0]
    if unseen:
        raise BaseExceptionGroup("went wrong where nobody could be told", unseen)
    return result


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    state = random.getstate()
    try:
        if seed is not None:
            random.seed(seed)
        yield
    finally:
        if seed is not None:
            random.setstate(state)


def _error_of(told: dict[str, Any]) -> BaseException:
    error: BaseException = told.get("exception") or RuntimeError("reported to the event loop")
    error.add_note(str(told["message"]))
    return error


def _end(loop: VirtualTimeLoop) -> None:
    """Cancel what still runs, and let it end."""
    left = _in_order(asyncio.all_tasks(loop))
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=CANCELLED))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    alive = [task.get_name() for task in left if not task.done()]
    if alive:
        raise RuntimeError(f"tasks that do not end when they are cancelled: {', '.join(alive)}")
    for task in left:
        if not task.cancelled() and (error := task.exception()) is not None:
            told = {"message": f"{task.get_name()} failed when it was cancelled"}
            loop.call_exception_handler({**told, "exception": error})


def _in_order(tasks: set[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    return sorted(tasks, key=lambda task: (len(task.get_name()), task.get_name()))


def _who_waits(loop: asyncio.AbstractEventLoop) -> str:
    told = "nothing is ready, no timer runs and no thread works, so this would wait for ever:"
    outside = (
        "on virtual time nobody waits for a subprocess, a socket or a thread that asyncio has "
        "not started: what needs one is tested with asyncio.run()"
    )
    return "\n".join([told, *map(_where, _in_order(asyncio.all_tasks(loop))), outside])


def _where(task: asyncio.Task[Any]) -> str:
    """The lines at which a task and what it awaits stand."""
    lines = [f"  {task.get_name()}"]
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            code = frame.f_code
            lines.append(f"    {code.co_filename}:{frame.f_lineno} in {code.co_qualname}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return "\n".join(lines)
