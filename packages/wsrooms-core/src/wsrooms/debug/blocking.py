"""Which function kept the event loop to itself, and for how long.

asyncio's own debug mode tells a task's repr; what a developer needs is the route, the
function and what to do. Functions are wrapped once, at start, and only while debugging,
so an app that does not debug pays nothing. What one wrapped function spends inside
another one (``around_message`` in ``call_next``) counts for the inner one alone.
"""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from wsrooms.routes import name_of, place_of
from wsrooms.wire import shown

if TYPE_CHECKING:
    from wsrooms.routes import Handler
    from wsrooms.transports.logs import SeldomLog

__all__ = ["LIMIT", "LoopWatch", "WatchedHooks"]

P = ParamSpec("P")
T = TypeVar("T")

LIMIT = 0.1
"""Seconds for which a function may keep the event loop before it is named."""


def _described(fn: Callable[..., object]) -> str:
    place = place_of(fn)
    return name_of(fn) if place is None else f"{name_of(fn)} ({place})"


class LoopWatch:
    """Times what runs on the loop, and names what takes over ``LIMIT`` seconds.

    It is made on the loop's thread. What other threads call keeps nobody waiting but
    themselves, so it is not timed: a push from a thread is encoded there, by hooks and all.

    Attributes:
        on_blocked: Called once for each time, logged or not.
    """

    def __init__(self, log: SeldomLog) -> None:
        """Tell ``log``, at most once a minute for each function."""
        self.on_blocked: Callable[[], None] = lambda: None
        self._log = log
        self._home = threading.get_ident()
        self._inside = 0.0

    def function(self, fn: Callable[P, object], what: str) -> Callable[P, Any]:
        """``fn``, timed, and a coroutine that it returns step by step."""
        return self._timed(fn, f"{what}, {_described(fn)},")

    def handler(self, handler: Handler, event: str, pattern: str) -> Handler:
        """A copy of ``handler`` that is timed."""
        label = f"the handler of {shown(event)!r} {shown(pattern)!r}, {_described(handler.fn)},"
        twin = copy.copy(handler)
        twin.call = self._timed(handler.call, label)
        twin.fn = self._timed(handler.fn, label)
        return twin

    def steps(self, work: Coroutine[Any, Any, T], label: str) -> Coroutine[Any, Any, T]:
        """``work``, each of its steps timed."""
        return _Steps(self, work, label)

    def _timed(self, fn: Callable[P, object], label: str) -> Callable[P, Any]:
        def timed(*args: P.args, **kwargs: P.kwargs) -> object:
            if threading.get_ident() != self._home:
                return fn(*args, **kwargs)
            started, outer = self.begin()
            try:
                result = fn(*args, **kwargs)
            finally:
                self.end(started, outer, label, "make it async def, and ")
            return self.steps(result, label) if inspect.iscoroutine(result) else result

        return timed

    def begin(self) -> tuple[float, float]:
        """Something begins to run; what this gives is for :meth:`end`."""
        outer, self._inside = self._inside, 0.0
        return perf_counter(), outer

    def end(self, started: float, outer: float, label: str, first: str) -> None:
        """It has ended, or waits; ``first`` is what has to be done about it before all else."""
        took = perf_counter() - started
        own = took - self._inside
        self._inside = outer + took
        if own >= LIMIT:
            self.on_blocked()
            self._log.warning(
                label,
                "%s kept the event loop busy for %.0f ms, while nothing else could run: "
                "%smove what blocks to a thread with 'await asyncio.to_thread(...)'",
                label,
                own * 1000,
                first,
            )


class _Steps(Coroutine[Any, Any, T], Iterator[Any]):
    """A coroutine whose steps are timed; in all else it is that coroutine."""

    def __init__(self, watch: LoopWatch, work: Coroutine[Any, Any, T], label: str) -> None:
        self._watch = watch
        self._work = work
        self._label = label

    def send(self, value: Any) -> Any:
        started, outer = self._watch.begin()
        try:
            return self._work.send(value)
        finally:
            self._watch.end(started, outer, self._label, "")

    def throw(self, *error: Any) -> Any:
        started, outer = self._watch.begin()
        try:
            return self._work.throw(*error)
        finally:
            self._watch.end(started, outer, self._label, "")

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return cast("Generator[Any, Any, T]", self)  # await asks it for no more than it has

    def __next__(self) -> Any:
        return self.send(None)

    def __getattr__(self, name: str) -> Any:  # names and frames, for whoever shows a task
        return getattr(self._work, name)


class WatchedHooks(Generic[P]):
    """Hooks that are timed, also those that are declared while the app runs."""

    def __init__(self, watch: LoopWatch, hooks: Iterable[Callable[P, object]], what: str) -> None:
        self._watch = watch
        self._hooks = hooks
        self._what = what

    def __iter__(self) -> Iterator[Callable[P, object]]:
        for hook in self._hooks:
            yield self._watch.function(hook, self._what)
