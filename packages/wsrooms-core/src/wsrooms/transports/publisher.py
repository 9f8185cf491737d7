"""Publishes of a transport that answers each call: one after another, in order, never for ever.

What a transport of three methods cannot do for itself: while one of its calls is under way
the following wait in a bounded outbox, and each fails in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from wsrooms.errors import OutcomeUnknown, TransportClosed, TransportError
from wsrooms.receipt import Receipt
from wsrooms.transports.calls import (
    as_exception,
    as_transport_error,
    cancelled_by_us,
    is_pending,
    untraced,
)
from wsrooms.transports.outbox import Outbox, Outgoing
from wsrooms.transports.tagged import TaggedTransport

if TYPE_CHECKING:
    import logging
    from contextvars import Context

    from wsrooms.transports.protocols import WsBroadcastTransport

__all__ = ["Publisher"]

MAX_MESSAGES = 10_000
MAX_BYTES = 16 * 1024 * 1024
MAX_AGE = 15.0

TURN = 64
"""Publishes one after another before the loop gets a turn: a transport may never wait."""


class Publisher:
    """What waits until a call has been answered.

    Attributes:
        task: It publishes what waits; None while nothing does, and the next may be called.
    """

    def __init__(
        self,
        transport: WsBroadcastTransport,
        on_unseen: Callable[[Exception], None],
        context: Context,
        logger: logging.Logger,
    ) -> None:
        """Publish through ``transport``, in ``context``; unseen failures go to ``on_unseen``."""
        # No attribute of that name will do: somebody's class may count with it.
        on_lost = transport.lost if isinstance(transport, TaggedTransport) else None
        self.task: asyncio.Task[None] | None = None
        self._transport = transport
        self._on_unseen = on_unseen
        self._context = context
        self._logger = logger
        self._stopped = False
        self._outbox: Outbox[str] = Outbox(
            max_messages=MAX_MESSAGES, max_bytes=MAX_BYTES, max_age=MAX_AGE, on_lost=on_lost
        )

    def put(self, channel: str, payload: str) -> Receipt:
        """Publish after what waits; a full outbox is the receipt's error."""
        receipt = Receipt(on_unseen=self._on_unseen)
        try:
            self._outbox.put(channel, payload, receipt, asyncio.get_running_loop().time())
        except TransportError as error:
            receipt.settle(error)
        return receipt

    def follow(self, channel: str, payload: str, call: Awaitable[None]) -> Receipt:
        """Await the call that publishes this; what is published meanwhile waits."""
        receipt = Receipt(on_unseen=self._on_unseen)
        now = asyncio.get_running_loop().time()
        self.go_on(Outgoing(channel, payload, receipt, now + MAX_AGE, 0), call)
        return receipt

    def expire(self) -> None:
        """Fail what has waited for too long."""
        self._outbox.expire(asyncio.get_running_loop().time())

    async def finish(self, timeout: float) -> None:
        """Wait until nothing waits, for ``timeout`` seconds."""
        if self.task is not None:
            await asyncio.wait([self.task], timeout=timeout)

    def stop(self) -> None:
        """Begin no other call; what waits is to be failed, and the task to be cancelled."""
        self._stopped = True

    def fail_all(self, error: TransportError) -> None:
        """Fail what waits."""
        self._outbox.fail_all(error)

    def stats(self) -> dict[str, int]:
        """What waits."""
        return {"outbox": len(self._outbox), "outbox_bytes": self._outbox.size}

    def go_on(
        self, message: Outgoing[str] | None = None, call: Awaitable[None] | None = None
    ) -> None:
        """Publish ``message``, or what waits, in a task that goes on while there is more."""
        loop = asyncio.get_running_loop()
        first = self._outbox.take(loop.time()) if message is None else message
        if first is not None:
            self.task = loop.create_task(
                self._publish_in_order(first, call),
                name="wsrooms publisher",
                context=self._context,
            )

    async def _publish_in_order(self, message: Outgoing[str], call: Awaitable[None] | None) -> None:
        """Await ``call``, then publish what came meanwhile, one after another."""
        loop = asyncio.get_running_loop()
        published = 0
        following: Outgoing[str] | None = message
        try:
            while following is not None:
                message = following
                message.receipt.settle(await self._publish_one(message, call))
                call = None
                published += 1
                if self._stopped:
                    return  # the transport has swallowed a cancellation
                if not published % TURN:
                    await asyncio.sleep(0)
                following = self._outbox.take(loop.time())
        except asyncio.CancelledError:
            message.receipt.settle(TransportClosed("the app has closed"))
            raise
        finally:
            self.task = None

    async def _publish_one(
        self, message: Outgoing[str], call: Awaitable[None] | None
    ) -> TransportError | None:
        """Publish a message, whose call may have been made; returns why it failed."""
        limit = asyncio.timeout_at(message.deadline)
        try:
            async with limit:
                if call is None:
                    call = self._transport.publish(message.channel, message.payload)
                if is_pending(call):
                    await call
        except (Exception, asyncio.CancelledError) as failure:
            if cancelled_by_us(failure):
                raise
            if limit.expired():
                told = f"a publish on {message.channel} was not confirmed in {MAX_AGE:g} s"
                return OutcomeUnknown(told)
            return as_transport_error(
                untraced(as_exception(failure), self._transport, self._logger)
            )
        return None
