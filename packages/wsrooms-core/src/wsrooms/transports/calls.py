"""Calls of anybody's transport: sync or async, and their errors as ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms.receipt import Receipt
from wsrooms.transports.envelope import new_instance_id

if TYPE_CHECKING:
    import logging

__all__ = [
    "as_exception",
    "as_transport_error",
    "cancelled_by_us",
    "drawn_instance_id",
    "end_tasks",
    "is_pending",
    "until_done",
    "untraced",
    "wait_for_end",
]

Answer = TypeVar("Answer")

AGAIN = 0.02
"""Seconds until a cancellation that was swallowed is repeated."""


def as_transport_error(error: Exception) -> TransportError:
    """``error``, or a ``TransportUnavailable`` that was caused by it."""
    if isinstance(error, TransportError):
        return error
    wrapped = TransportUnavailable(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def as_exception(failure: BaseException) -> Exception:
    """What a transport raised; its own CancelledError, of a future it gave up, as an error."""
    if isinstance(failure, Exception):
        return failure
    return TransportUnavailable("the transport gave the call up")


def untraced(error: Exception, transport: object, logger: logging.Logger) -> Exception:
    """``error`` without its frames, of which one holds the receipt that will hold it.

    In that circle a receipt that is dropped would tell of its failure only when the
    garbage is collected.
    """
    logger.debug("%r failed", transport, exc_info=error)
    return error.with_traceback(None)


def cancelled_by_us(failure: BaseException) -> bool:
    """Whether this task was cancelled, and not merely something that it awaited."""
    task = asyncio.current_task()
    return (
        isinstance(failure, asyncio.CancelledError) and task is not None and task.cancelling() > 0
    )


def is_pending(call: object) -> TypeGuard[Awaitable[None]]:
    """Whether a method of the transport is still to be awaited; sync ones may return anything."""
    if isinstance(call, Receipt):
        return not call.done or call.error is not None
    return hasattr(call, "__await__")


def drawn_instance_id() -> str:
    """Who publishes: random, and the same in every run on a seeded ``VirtualTimeLoop``."""
    try:
        chances = getattr(asyncio.get_running_loop(), "wsrooms_random", None)
    except RuntimeError:
        chances = None
    return new_instance_id() if chances is None else f"{chances.getrandbits(64):016x}"


async def wait_for_end(call: Callable[[], object]) -> None:
    """Call a sync or async method to its end."""
    result = call()
    if is_pending(result):
        await result


async def until_done(task: asyncio.Task[Answer], patience: float = float("inf")) -> Answer:
    """Wait for ``task`` and its answer; cancelled, cancel it until it has ended.

    A client library may swallow a cancellation, and wait for the next thing: with
    ``asyncio.wait_for`` on Python 3.11 for instance, where it comes as the wait is just over.

    Args:
        task: Whose only waiter this is.
        patience: Seconds that it may go on when it is cancelled; then it is left to itself.
    """
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await end_tasks([task], patience)
        raise
    return task.result()


async def end_tasks(
    tasks: Collection[asyncio.Task[Any]], patience: float
) -> list[asyncio.Task[Any]]:
    """Cancel ``tasks`` again and again until they have ended; their errors are of no use.

    Each that has not ended is cancelled once at least, and has a moment to end: it may take
    0.02 s more than ``patience``.

    Returns:
        Those that go on after ``patience`` seconds.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    left = [task for task in tasks if not task.done()]
    while left:
        for task in left:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # one is on its way already
            await asyncio.wait(left, timeout=AGAIN)
        left = [task for task in left if not task.done()]
        if loop.time() >= until:
            break
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # or it would be logged as one that was missed
    return left
