"""``tagged()``: a three-method transport on an echoing bus, made safe."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from wsrooms.errors import ConfigurationError, PayloadTooLarge
from wsrooms.transports.calls import drawn_instance_id
from wsrooms.transports.envelope import (
    ENVELOPE_BYTES,
    Sequencer,
    parse,
    wrap,
)
from wsrooms.transports.inbox import Inbox
from wsrooms.transports.logs import SeldomLog
from wsrooms.transports.protocols import (
    Gap,
    SupportsGaps,
    SupportsLifecycle,
    SupportsReplica,
    SupportsState,
    SupportsStats,
    TransportState,
    WsBroadcastTransport,
)

__all__ = ["TaggedTransport", "tagged"]

LOGGER = logging.getLogger("wsrooms")


def tagged(transport: WsBroadcastTransport) -> TaggedTransport:
    """A three-method transport on an echoing bus, made safe.

    Payloads travel in the envelope ``1 <instance> <epoch> <seq> <payload>``, so
    that an instance skips its own messages, drops duplicates and reports gaps.
    All instances on that bus must be tagged.
    """
    return TaggedTransport(transport)


class TaggedTransport:
    """What :func:`tagged` returns."""

    skips_own = True

    def __init__(self, transport: WsBroadcastTransport) -> None:
        self._inner = transport
        self._instance = drawn_instance_id()
        self._sequencer = Sequencer()
        # What these raise must not end the wrapped transport's reader.
        self._inbox = Inbox(LOGGER)
        # Who hears what: looked up for each payload, so that a payload still on its way
        # reaches the handler of now, and none after an unsubscribe.
        self._handlers: dict[str, Callable[[str], None]] = {}
        self._log = SeldomLog(LOGGER)
        self._own_skipped = 0
        self._foreign: int = 0

    @property
    def wrapped(self) -> WsBroadcastTransport:
        """The transport that carries the envelopes."""
        return self._inner

    async def start(self) -> None:
        """Draw a new instance id and start the wrapped transport, if it has a lifecycle."""
        self._instance = drawn_instance_id()
        self._inbox.begin()
        if isinstance(self._inner, SupportsLifecycle):
            await self._inner.start()

    async def close(self) -> None:
        """Close the wrapped transport; one without a lifecycle is unsubscribed from all."""
        channels = list(self._handlers)
        self._handlers.clear()
        if isinstance(self._inner, SupportsLifecycle):
            await self._inner.close()
            return
        for channel in channels:
            try:
                call = self._inner.unsubscribe(channel)
                if inspect.isawaitable(call):
                    await call
            except Exception:
                LOGGER.exception("unsubscribing %s failed", channel)

    def publish(self, channel: str, payload: str) -> Awaitable[None] | None:
        """Publish ``payload`` in its envelope.

        Raises:
            PayloadTooLarge: It is over ``max_payload``, where the wrapped transport has one.
        """
        if hasattr(self._inner, "max_payload"):
            size, limit = len(payload.encode()), self.max_payload
            if size > limit:
                raise PayloadTooLarge(size, limit)
        epoch, seq = self._sequencer.next(channel)
        return self._inner.publish(channel, wrap(self._instance, epoch, seq, payload))

    def lost(self, channel: str) -> None:
        """Take a number for a message that will never be published: the others will miss it."""
        self._sequencer.next(channel)

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Awaitable[None] | None:
        """Subscribe; ``handler`` gets each payload of other instances once; it may raise."""
        self._handlers[channel] = handler

        def receive(text: str) -> None:
            handler = self._handlers.get(channel)
            if handler is None:
                return  # unsubscribed, and the wrapped transport has not come to that yet
            envelope = parse(text)
            if envelope is None:
                self._count_foreign(channel)
                return
            if envelope.instance == self._instance:
                self._own_skipped += 1
                return
            self._inbox.deliver(channel, handler, envelope, _now())

        return self._inner.subscribe(channel, receive)

    def unsubscribe(self, channel: str) -> Awaitable[None] | None:
        """Unsubscribe; no call of the handler begins after this returns."""
        self._handlers.pop(channel, None)
        self._inbox.unsubscribed(channel, _now())
        return self._inner.unsubscribe(channel)

    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        """Call ``callback`` for each gap; the last one given counts.

        Told are the gaps in a publisher's numbers, and those that the wrapped transport
        notices itself, such as a lost link.
        """
        self._inbox.on_gap = callback
        if isinstance(self._inner, SupportsGaps):
            self._inner.on_gap(callback)

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        """Pass on the wrapped transport's state, if it tells one."""
        if isinstance(self._inner, SupportsState):
            self._inner.on_state(callback)

    @property
    def max_payload(self) -> int:
        """The wrapped transport's limit less the envelope; without one, no limit."""
        limit: int | None = getattr(self._inner, "max_payload", None)
        return 2**63 if limit is None else limit - ENVELOPE_BYTES

    @property
    def keeps_log(self) -> bool:
        """Whether the wrapped transport reads on from where its link broke."""
        return bool(getattr(self._inner, "keeps_log", False))

    def stats(self) -> dict[str, int]:
        """What was skipped and dropped, with the wrapped transport's own counters."""
        inner = self._inner.stats() if isinstance(self._inner, SupportsStats) else {}
        return {
            **inner,
            "own_skipped": self._own_skipped,
            "duplicates": self._inbox.duplicates,
            "foreign": self._foreign,
            "handler_errors": self._inbox.handler_errors,
        }

    def replica(self) -> TaggedTransport:
        """A tagged transport around a replica of the wrapped one.

        Raises:
            ConfigurationError: The wrapped transport cannot make one.
        """
        if not isinstance(self._inner, SupportsReplica):
            raise ConfigurationError(
                f"{type(self._inner).__name__} has no replica() and cannot be shared by two apps: "
                "give the replica its own with replica(broadcast_transport=tagged(...))"
            )
        return TaggedTransport(self._inner.replica())

    def _count_foreign(self, channel: str) -> None:
        self._foreign += 1
        self._log.error(
            "foreign",
            "dropped a payload without envelope on %s; %d so far: "
            "every instance on this bus must use tagged()",
            channel,
            self._foreign,
        )

    def __repr__(self) -> str:
        return f"tagged({self._inner!r})"


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


if TYPE_CHECKING:
    _: type[WsBroadcastTransport] = TaggedTransport
