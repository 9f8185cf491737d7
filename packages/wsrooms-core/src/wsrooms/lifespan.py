"""The app's ``lifespan``: entered and left by one task, which waits in between.

Task groups and timeouts insist on being left by the task that entered them, and
an app may be started and closed by two. The end of the app cannot depend on
what somebody wrote there, so leaving it has a limit.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

from wsrooms.errors import ConfigurationError
from wsrooms.routes import name_of, place_of

if TYPE_CHECKING:
    import logging
    from contextvars import Context

__all__ = ["Lifespan", "manager_of"]

T = TypeVar("T")

GIVEN_UP = 2.0
"""Seconds for a lifespan that was cancelled to end."""


def manager_of(lifespan: Callable[[T], object], app: T) -> AbstractAsyncContextManager[object]:
    """What ``lifespan(app)`` gives.

    Raises:
        ConfigurationError: It is no async context manager.
    """
    given = lifespan(app)
    if isinstance(given, AbstractAsyncContextManager):
        return given
    if inspect.iscoroutine(given):
        given.close()
    place = place_of(lifespan)
    raise ConfigurationError(
        f"lifespan={name_of(lifespan)}{f' ({place})' if place else ''} gives no async context "
        f"manager but {type(given).__name__}: put @contextlib.asynccontextmanager above it, and "
        "yield once inside"
    )


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
            await self._cancel(task)
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self._logger.error("lifespan failed when it was cancelled", exc_info=error)
            raise
        if task.done():
            await task

    async def leave(self, timeout: float) -> None:
        """Leave it; whatever that raises is raised here.

        After ``timeout`` seconds it is cancelled: it may wait for a task that
        itself waits for the end of the app.
        """
        task = self._task
        if task is None or task.done():
            return
        self._leave.set()
        try:
            await asyncio.wait([task], timeout=timeout)
        except BaseException:
            task.cancel()
            raise
        if not task.done():
            self._logger.error("lifespan does not end: cancelled after %g s", timeout)
            await self._cancel(task)
        if task.done() and not task.cancelled():
            task.result()

    async def _run(self) -> None:
        async with self._manager:
            self._entered.set()
            await self._leave.wait()

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait([task], timeout=GIVEN_UP)
        if not task.done():
            self._logger.error("lifespan does not end when it is cancelled")

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._entered.is_set():
            self._entered.set()
        elif not self._leave.is_set():
            error = None if task.cancelled() else task.exception()
            self._logger.error("lifespan ended before the app", exc_info=error)
