"""What becomes of a handled message: its reply, or its error, once its joins are confirmed.

The half of a session that answers. A reply whose joins are open is held, and
counts as a message in flight until it goes out; it keeps nothing of the message
but its id, because messages are large and a bus may be down for long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import UNSET, Raw

from wsrooms.errors import ConnectionGone, InvalidRoom, TransportError, WsError
from wsrooms.wire import shown

if TYPE_CHECKING:
    import asyncio
    from collections import deque

    from wsrooms.connection import WsConnection
    from wsrooms.context import Context
    from wsrooms.instance import Instance
    from wsrooms.receipt import Receipt
    from wsrooms.wire import Inbound

__all__ = ["FAILED", "Answering"]

FAILED = 1011
"""The close code where something of the program failed."""

INTERNAL = (500, "Internal Error")

ROUTE = 1000
"""Characters of event and path that are kept to name a message by."""


class _Asked(NamedTuple):
    """What is left of a message that waits for its answer."""

    id: object
    route: str


class Answering:
    """Who answers the messages of one connection."""

    __slots__ = (
        "_held",
        "_instance",
        "_keep",
        "_on_ready",
        "_tasks",
        "_waiting",
        "connection",
        "full",
    )

    def __init__(
        self, instance: Instance, connection: WsConnection, on_ready: Callable[[], None]
    ) -> None:
        """Answer to ``connection``; ``on_ready`` is called when what was full no longer is."""
        self._instance = instance
        self.connection: WsConnection = connection
        # All answers are made on the loop: there is no need to ask which thread this is.
        self._keep = connection._buffer.keep
        self._on_ready = on_ready
        self._waiting: deque[Inbound] | None = None
        self._tasks: dict[asyncio.Task[Any], bool] | None = None  # with whether each has begun
        self._held = 0
        self.full: bool = False
        """Whether the socket should not be read: enough messages wait, or replies to them."""

    @property
    def busy(self) -> bool:
        """Whether a message or a hook is being handled, or waits for that, or for its joins."""
        return bool(self._tasks or self._waiting or self._held)

    def _recount(self) -> None:
        """More or fewer messages are in flight than before."""
        waiting = self._waiting
        in_flight = self._held if waiting is None else self._held + len(waiting)
        was_full = self.full
        self.full = in_flight >= self._instance.limits.waiting_messages
        if was_full and not self.full:
            self._on_ready()

    def _answer(self, current: Context, inbound: Inbound, result: object) -> None:
        """Send what a handler returned, if anybody asked."""
        joins = current.decide()
        if inbound.id is UNSET:
            if joins is not None:
                self._when_joined(joins, _nothing)
            return
        try:
            frame = self._instance.codec.reply(inbound.id, result)
        except Exception as error:  # noqa: BLE001 - an enc_hook or serializer may raise anything
            self._send_error(_asked(inbound), joins, error, "its result cannot be sent")
            return
        if joins is None:
            self._instance.counters.replies += 1
            self._keep(frame)
        else:
            self._when_joined(joins, partial(self._reply_joined, _asked(inbound), joins, frame))

    def _reply_joined(self, asked: _Asked, joins: list[Receipt], frame: bytes) -> None:
        error = _unseen_error(joins)
        if error is not None:
            self._send_error(asked, None, error)
        else:
            self._instance.counters.replies += 1
            self._keep(frame)

    def _refuse(self, current: Context, inbound: Inbound, error: BaseException) -> None:
        """Answer with what a handler raised."""
        self._send_error(_asked(inbound), current.decide(), error)

    def _not_found(self, inbound: Inbound) -> None:
        """Nobody declared this route."""
        if inbound.id is not UNSET:
            self._instance.counters.errors += 1
            frame = self._error_frame(_asked(inbound), 404, "Not found")
            if frame is not None:
                self._keep(frame)

    def _send_error(
        self,
        asked: _Asked,
        joins: list[Receipt] | None,
        error: BaseException,
        what: str = "its handler failed",
    ) -> None:
        """Answer with an error; log and report what the program did not mean to raise."""
        instance = self._instance
        code, message = INTERNAL
        if isinstance(error, WsError):
            code, message = error.code, error.message
        elif isinstance(error, InvalidRoom):
            code, message = 400, str(error)
        elif isinstance(error, TransportError):
            code, message = 503, "Service Unavailable"
            if asked.id is UNSET:
                instance.rooms.failed_unseen("a message", error, shown(asked.route))
        elif isinstance(error, ConnectionGone) and self.connection.closed:
            return
        else:
            instance.report(error, asked.route, what)
        instance.counters.errors += 1
        frame = None if asked.id is UNSET else self._error_frame(asked, code, message)
        if joins is not None:
            self._when_joined(joins, partial(self._send, frame))
        else:
            self._send(frame)

    def _send(self, frame: bytes | None) -> None:
        if frame is not None:
            self._keep(frame)

    def _error_frame(self, asked: _Asked, code: int, message: str) -> bytes | None:
        """The frame of an error; None if the serializer fails at every one: it is over then."""
        for attempt in dict.fromkeys(((code, message), INTERNAL)):
            try:
                return self._instance.codec.error(asked.id, *attempt)
            except Exception as error:  # noqa: BLE001 - a serializer may raise anything
                self._instance.report(error, asked.route, "its error cannot be sent")
        self.connection.close(FAILED, INTERNAL[1])
        return None

    def _when_joined(self, joins: list[Receipt], then: Callable[[], None]) -> None:
        """Hold a reply back until every join of its handler is confirmed, or undone."""
        pending = [receipt for receipt in joins if not receipt.done]
        if not pending:
            then()
            return
        self._held += 1
        self._recount()
        left = len(pending)

        def one_done(_: Receipt) -> None:
            nonlocal left
            left -= 1
            if not left:
                then()
                self._held -= 1
                self._recount()

        for receipt in pending:
            receipt._when_done(one_done)


def _asked(inbound: Inbound) -> _Asked:
    id = inbound.id
    # Raw is a view of the whole message, which would live as long as it does.
    return _Asked(
        id.copy() if type(id) is Raw else id,
        f"{inbound.event[:ROUTE]} {inbound.path[:ROUTE]}"[:ROUTE],
    )


def _nothing() -> None:
    """Nobody waits for an answer; the message counts all the same."""


def _unseen_error(joins: list[Receipt]) -> Exception | None:
    """The first failure that the handler has not seen itself."""
    for receipt in joins:
        if receipt.error is not None and not receipt._seen:
            for other in joins:
                other._take_error()
            return receipt.error
    return None
