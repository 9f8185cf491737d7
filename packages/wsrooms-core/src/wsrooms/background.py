"""Background tasks of one running app, which its end takes along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import logging

__all__ = ["BackgroundTasks"]

T = TypeVar("T")


class BackgroundTasks:
    """Tasks whose death is logged; iterating gives those that have not ended, oldest first."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        logger: logging.Logger,
        on_failed: Callable[[], object],
    ) -> None:
        """Start empty; ``on_failed`` is called for each that dies."""
        self._loop = loop
        self._logger = logger
        self._on_failed = on_failed
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in order, so that a run can repeat
        self._given_up: set[asyncio.Task[Any]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(self._tasks)

    def start(self, coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run ``coro`` in a task."""
        task = self._loop.create_task(coro, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    async def cancel(self, timeout: float) -> None:
        """Cancel all, also those begun meanwhile, and wait until they have ended.

        What goes on after half of ``timeout`` seconds is cancelled once more: a first
        cancellation may be swallowed, as by ``asyncio.wait_for`` of Python 3.11 where its result
        comes just then. What goes on after all of them is logged, and left to itself for good.
        """
        current, began = asyncio.current_task(), self._loop.time()
        for until in (began + timeout / 2, began + timeout):
            cancelled: set[asyncio.Task[Any]] = set()
            while alive := self._others(current):
                for task in alive:
                    if task not in cancelled:
                        cancelled.add(task)
                        # Whatever was begun in this turn begins first: else it would never.
                        self._loop.call_soon(task.cancel)
                left = until - self._loop.time()
                if left <= 0:
                    break
                await asyncio.wait(alive, timeout=left)
        for task in self._others(current):
            self._given_up.add(task)
            self._logger.error("task %s does not end when it is cancelled", task.get_name())

    def _others(self, current: asyncio.Task[Any] | None) -> list[asyncio.Task[Any]]:
        """Those that are waited for: not ``current``, which waits, and none that was given up."""
        return [task for task in self._tasks if task is not current and task not in self._given_up]

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        self._given_up.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failed()
            self._logger.error("background task %s died", task.get_name(), exc_info=error)
