"""The app's ``lifespan``: entered and left by one task, which waits in between.

Task groups and timeouts insist on being left by the task that entered them, and
an app may be started and closed by two.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from contextlib import AbstractAsyncContextManager
    from contextvars import Context

__all__ = ["Lifespan"]


class Lifespan:
    """One run of the context manager that ``lifespan(app)`` gave."""

    def __init__(
        self, manager: AbstractAsyncContextManager[object], logger: logging.Logger
    ) -> None:
        self._manager = manager
        self._logger = logger
        self._entered = asyncio.Event()
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def enter(self, context: Context) -> None:
        """Enter it, in ``context``; whatever it raises is raised here."""
        loop = asyncio.get_running_loop()
        task = self._task = loop.create_task(self._run(), name="wsrooms lifespan", context=context)
        task.add_done_callback(self._ended)
        try:
            await self._entered.wait()
        except BaseException:
            self._leave.set()
            task.cancel()
            await asyncio.wait([task])
            raise
        if task.done():
            await task

    async def leave(self) -> None:
        """Leave it; whatever that raises is raised here."""
        task = self._task
        if task is None or task.done():
            return
        self._leave.set()
        await task

    async def _run(self) -> None:
        async with self._manager:
            self._entered.set()
            await self._leave.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._entered.is_set():
            self._entered.set()
        elif not self._leave.is_set():
            error = None if task.cancelled() else task.exception()
            self._logger.error("lifespan ended before the app", exc_info=error)
