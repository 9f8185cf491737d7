"""Calls of anybody's transport: sync or async, and their errors as ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeGuard

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
    "is_pending",
    "untraced",
    "wait_for_end",
]


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
