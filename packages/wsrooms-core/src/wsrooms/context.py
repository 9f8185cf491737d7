"""What is current: the one ContextVar, and what a composable finds in it.

The session sets a :class:`Context` around every handler and hook. Tasks and
threads that a handler starts inherit it, as Python's context variables do;
nothing is ever left set for the next message.
"""

from __future__ import annotations

import contextvars
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from wsrooms.errors import OutsideContext

if TYPE_CHECKING:
    from wsrooms.connection import WsConnection
    from wsrooms.instance import Instance
    from wsrooms.message import WsMessage
    from wsrooms.receipt import Receipt

__all__ = ["Context", "current", "enter", "in_context", "leave", "note_join", "peek"]


class Context(Struct, eq=False):
    """One run of a handler or hook.

    A Struct, because one is made for every message and msgspec's constructor takes a
    third of the time of an ``__init__``.

    Attributes:
        instance: The running app.
        connection: The client; None in lifespan and background tasks.
        message: What is handled; None outside of messages.
        params: The route's parameters.
        joins: Receipts of joins that were not confirmed at once; the reply waits for them.
        decided: Whether the reply is made, so that later joins, of tasks that the
            handler left behind, are their own affair.
    """

    instance: Instance
    connection: WsConnection | None = None
    message: WsMessage[Any] | None = None
    params: dict[str, str | list[str]] | None = None
    joins: list[Receipt] | None = None
    decided: bool = False

    def decide(self) -> list[Receipt] | None:
        """The reply is made, or on_connect has ended; returns the joins it has to wait for."""
        self.decided = True
        joins, self.joins = self.joins, None
        return joins


_current: ContextVar[Context] = ContextVar("wsrooms_current")

enter: Callable[[Context], Token[Context]] = _current.set
"""Make a context current; to be called inside a copied ``contextvars.Context`` only.

What it returns is for :func:`leave`, which only a test's block needs.
"""

leave: Callable[[Token[Context]], None] = _current.reset
"""Undo an ``enter``."""


peek: Callable[[None], Context | None] = _current.get
"""``peek(None)`` is what is current, or None: for what runs with every message."""


def current(composable: str, needs: str) -> Context:
    """What is current here.

    Raises:
        OutsideContext: Nothing is.
    """
    context = _current.get(None)
    if context is None:
        raise OutsideContext(
            composable,
            needs,
            "call it in a handler or hook, or in a task or thread that one started; "
            "elsewhere use app.server, app.room(name) and app.broadcast()",
        )
    return context


def note_join(receipt: Receipt) -> None:
    """A join was made that is not confirmed: the current reply, or on_connect, waits for it."""
    context = _current.get(None)
    if (
        context is not None
        and context.connection is not None
        and not context.decided
        and context.instance.thread.inside  # else it is a join in an app of another loop
    ):
        if context.joins is None:
            context.joins = []
        context.joins.append(receipt)


@types.coroutine
def in_context(
    context: contextvars.Context, work: Coroutine[Any, Any, None]
) -> Generator[Any, Any, bool]:
    """Await ``work``, every step of it in ``context``, whatever that of the task is.

    Returns:
        Whether it had to wait for anything.
    """
    waited = False
    error: BaseException | None = None
    pending: Any = None
    try:
        while True:
            try:
                if error is None:
                    pending = context.run(work.send, None)
                else:
                    pending = context.run(work.throw, error)
            except StopIteration:
                return waited
            waited = True
            error = None
            try:
                yield pending  # a future or None, for the task, which sends nothing back
            except BaseException as thrown:  # noqa: BLE001 - it is for the work, as all else
                error = thrown
    finally:
        # The traceback of an error holds this frame, and so does that of a future that failed:
        # in that circle the message would outlive its handling.
        del error, pending
