"""One instance's line to its transport, whatever that transport can do.

The room manager wants one thing of every transport: wishes that converge,
publishes in order, a receipt for each, and word of gaps and outages. A class of
three methods gives none of that, so it is added here: calls for one channel
never overlap and the last wish wins, publishes wait in a bounded outbox, and
nothing waits for ever. What a transport does itself is left to it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, cast

from wsrooms.errors import (
    OutcomeUnknown,
    TransportClosed,
    TransportError,
    TransportUnavailable,
)
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.transports.backoff import backoff
from wsrooms.transports.outbox import Outbox, Outgoing
from wsrooms.transports.protocols import (
    Gap,
    SupportsGaps,
    SupportsLifecycle,
    SupportsMaxPayload,
    SupportsState,
    SupportsStats,
    TransportState,
    WsBroadcastTransport,
)

if TYPE_CHECKING:
    import logging

__all__ = ["BusLink", "LinkEvents"]

MAX_MESSAGES = 10_000
MAX_BYTES = 16 * 1024 * 1024
MAX_AGE = 15.0


class LinkEvents(Protocol):
    """What the link's owner is told, always on the loop's thread."""

    def subscribed(self, channel: str) -> None:
        """The transport confirmed: from now on nothing on ``channel`` is missed."""
        ...

    def refused(self, channel: str, error: TransportError) -> None:
        """The transport will not subscribe; the wish is gone."""
        ...

    def gap(self, gap: Gap) -> None:
        """Messages of other instances were lost."""
        ...

    def state_changed(self, state: TransportState, error: str | None) -> None:
        """The transport came up or went down."""
        ...

    def publish_failed(self, error: Exception) -> None:
        """A publish failed that nobody awaited."""
        ...


class _Channel:
    """What is wished of one channel, and how far that has come."""

    __slots__ = ("confirmed", "held", "name", "task", "wish")

    def __init__(self, name: str) -> None:
        self.name = name
        self.wish: Callable[[str], None] | None = None
        self.held = False  # the transport may hold a subscription
        self.confirmed = False
        self.task: asyncio.Task[None] | None = None


class BusLink:
    """Owns the conversation with one transport."""

    def __init__(
        self,
        transport: WsBroadcastTransport,
        events: LinkEvents,
        *,
        confirm_timeout: float,
        logger: logging.Logger,
    ) -> None:
        """Talk to ``transport``; a confirmation may take ``confirm_timeout`` seconds."""
        self.transport = transport
        self._events = events
        self._confirm_timeout = confirm_timeout
        self._logger = logger
        self._channels: dict[str, _Channel] = {}
        self._outbox = Outbox(max_messages=MAX_MESSAGES, max_bytes=MAX_BYTES, max_age=MAX_AGE)
        self._publisher: asyncio.Task[None] | None = None
        self._starter: asyncio.Task[None] | None = None
        self._closed = False
        self.keeps_log = bool(getattr(transport, "keeps_log", False))
        self.plain = not isinstance(transport, SupportsLifecycle)
        self.live = True
        """Whether subscriptions can be confirmed now; joins wait while it is False."""
        self.down_since: float | None = None
        if isinstance(transport, SupportsGaps):
            transport.on_gap(events.gap)
        if isinstance(transport, SupportsState):
            transport.on_state(self._on_state)

    # Lifecycle

    async def start(self, *, keep_trying: bool = False) -> None:
        """Start the transport, if it has a lifecycle.

        Args:
            keep_trying: Return even if it does not start, and try again until it does.

        Raises:
            TransportError: It did not start.
        """
        self._closed = False
        if not isinstance(self.transport, SupportsLifecycle):
            return
        try:
            await _wait(self.transport.start())
        except TransportError as error:
            if not keep_trying:
                raise
            self._on_state("down", str(error))
            self._starter = asyncio.get_running_loop().create_task(
                self._start_again(self.transport), name="wsrooms transport start"
            )

    async def _start_again(self, transport: SupportsLifecycle) -> None:
        for delay in backoff():
            await asyncio.sleep(delay)
            try:
                await _wait(transport.start())
            except TransportError as error:
                self._events.state_changed("down", str(error))
            else:
                break
        self._starter = None
        self._on_state("up", None)

    async def close(self, timeout: float) -> None:
        """Publish what waits, end every subscription, close the transport.

        Args:
            timeout: Seconds for all of it; what is not done by then fails with
                ``TransportClosed``.
        """
        self._closed = True
        if self._starter is not None:
            await _cancelled(self._starter)
        publisher = self._publisher
        if publisher is not None:
            await asyncio.wait([publisher], timeout=timeout)
            await _cancelled(publisher)
        self._outbox.fail_all(TransportClosed("the app has closed"))
        for channel in list(self._channels.values()):
            if channel.task is not None:
                await _cancelled(channel.task)
        channels, self._channels = self._channels, {}
        try:
            async with asyncio.timeout(timeout):
                if isinstance(self.transport, SupportsLifecycle):
                    await _wait(self.transport.close())
                else:
                    for channel in channels.values():
                        if channel.held:
                            await _wait(self.transport.unsubscribe(channel.name))
        except Exception:
            self._logger.exception("closing %r failed", self.transport)

    # Subscriptions

    def ready(self, channel: str) -> bool:
        """Whether a member that joins now misses nothing that is published from now on."""
        entry = self._channels.get(channel)
        return entry is not None and entry.confirmed

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        """Wish for ``channel``; ``events`` is told when it is confirmed, or at once."""
        entry = self._channels.get(channel)
        if entry is None:
            entry = self._channels[channel] = _Channel(channel)
        entry.wish = handler
        self._reconcile(entry)

    def unsubscribe(self, channel: str) -> None:
        """Wish ``channel`` away; harmless where it was not wished."""
        entry = self._channels.get(channel)
        if entry is not None:
            entry.wish = None
            self._reconcile(entry)

    def _reconcile(self, entry: _Channel) -> None:
        """Make the next call that brings the transport nearer to the wish, if none is under way."""
        if entry.task is not None or self._closed:
            return
        if entry.wish is not None:
            if entry.confirmed:
                return
            entry.held = True
            try:
                call = self.transport.subscribe(entry.name, entry.wish)
            except Exception as error:  # noqa: BLE001 - anybody's class; it becomes the join's error
                self._refuse(entry, error)
                return
            if call is None or (isinstance(call, Receipt) and call.done and call.error is None):
                self._confirm(entry)
            else:
                entry.task = asyncio.get_running_loop().create_task(
                    self._subscribing(entry, call), name=f"wsrooms subscribe {entry.name}"
                )
        elif entry.held:
            entry.held = entry.confirmed = False
            try:
                call = self.transport.unsubscribe(entry.name)
            except Exception:
                self._logger.exception("unsubscribing %s failed", entry.name)
                call = None
            if call is None or (isinstance(call, Receipt) and call.done):
                self._forget(entry)
            else:
                entry.task = asyncio.get_running_loop().create_task(
                    self._unsubscribing(entry, call), name=f"wsrooms unsubscribe {entry.name}"
                )
        else:
            self._forget(entry)

    async def _subscribing(self, entry: _Channel, call: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._confirm_timeout):
                await call
        except asyncio.CancelledError:
            entry.task = None
            raise
        except TimeoutError:
            entry.task = None
            error = TransportUnavailable(
                f"{entry.name} was not confirmed within {self._confirm_timeout:g} s"
            )
            self._refuse(entry, error)
        except Exception as error:  # noqa: BLE001 - anybody's class; it becomes the join's error
            entry.task = None
            self._refuse(entry, error)
        else:
            entry.task = None
            if entry.wish is not None:
                self._confirm(entry)
            else:
                self._reconcile(entry)

    async def _unsubscribing(self, entry: _Channel, call: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._confirm_timeout):
                await call
        except Exception:
            self._logger.exception("unsubscribing %s failed", entry.name)
        finally:
            entry.task = None
        self._reconcile(entry)

    def _confirm(self, entry: _Channel) -> None:
        entry.confirmed = True
        self._events.subscribed(entry.name)

    def _refuse(self, entry: _Channel, error: Exception) -> None:
        """The subscription failed; whatever is left of it at the transport is taken back."""
        entry.wish = None
        entry.confirmed = False
        self._events.refused(entry.name, as_transport_error(error))
        self._reconcile(entry)

    def _forget(self, entry: _Channel) -> None:
        if self._channels.get(entry.name) is entry:
            del self._channels[entry.name]

    def _on_state(self, state: TransportState, error: str | None) -> None:
        live = state == "up"
        if self.live and not live:
            self.down_since = asyncio.get_running_loop().time()
            if not self.keeps_log:  # a log is read on from where the link broke
                for entry in self._channels.values():
                    entry.confirmed = False
        elif live and not self.live:
            self.down_since = None
        self.live = live
        self._events.state_changed(state, error)
        if live:
            for entry in list(self._channels.values()):
                self._reconcile(entry)

    # Publishing

    @property
    def max_payload(self) -> int | None:
        """The transport's limit in bytes, if it has one."""
        if isinstance(self.transport, SupportsMaxPayload):
            return self.transport.max_payload
        return None

    def publish(self, channel: str, payload: str) -> Receipt:
        """Publish after everything that was published before; never raises, never waits."""
        if self._closed:
            return self._failed(TransportClosed("the app has closed"))
        if self._publisher is not None:
            receipt = Receipt(on_unseen=self._events.publish_failed)
            try:
                self._outbox.put(channel, payload, receipt, asyncio.get_running_loop().time())
            except TransportError as error:
                receipt.settle(error)
            return receipt
        try:
            call = self.transport.publish(channel, payload)
        except Exception as error:  # noqa: BLE001 - anybody's class; it becomes the receipt's error
            return self._failed(as_transport_error(error))
        if call is None:
            return FINISHED
        if isinstance(call, Receipt):
            return call
        receipt = Receipt(on_unseen=self._events.publish_failed)
        now = asyncio.get_running_loop().time()
        first = Outgoing(channel, payload, receipt, now + MAX_AGE, len(payload))
        self._publisher = asyncio.get_running_loop().create_task(
            self._publish_in_order(first, call), name="wsrooms publisher"
        )
        return receipt

    async def _publish_in_order(self, message: Outgoing, call: Awaitable[None] | None) -> None:
        """Await ``call``, then publish what came meanwhile, one after another."""
        loop = asyncio.get_running_loop()
        following: Outgoing | None = message
        try:
            while following is not None:
                message = following
                try:
                    if message.receipt.done:  # only after a cancelled predecessor
                        continue
                    if call is None:
                        call = self.transport.publish(message.channel, message.payload)
                    if call is not None:
                        async with asyncio.timeout_at(message.deadline):
                            await call
                except TimeoutError:
                    error = f"a publish on {message.channel} was not confirmed in {MAX_AGE:g} s"
                    message.receipt.settle(OutcomeUnknown(error))
                except Exception as error:  # noqa: BLE001 - anybody's class; the receipt carries it
                    message.receipt.settle(as_transport_error(error))
                else:
                    message.receipt.settle()
                finally:
                    call = None
                    following = self._outbox.take(loop.time())
        except asyncio.CancelledError:
            message.receipt.settle(TransportClosed("the app has closed"))
            if following is not None and following is not message:
                following.receipt.settle(TransportClosed("the app has closed"))
            raise
        finally:
            self._publisher = None

    def _failed(self, error: TransportError) -> Receipt:
        return Receipt.failed(error, self._events.publish_failed)

    # Figures

    def stats(self) -> dict[str, int]:
        """The transport's own counters, and what waits here."""
        own = self.transport.stats() if isinstance(self.transport, SupportsStats) else {}
        return {"outbox": len(self._outbox), "outbox_bytes": self._outbox.size, **own}


def as_transport_error(error: Exception) -> TransportError:
    """``error``, or a ``TransportUnavailable`` that was caused by it."""
    if isinstance(error, TransportError):
        return error
    wrapped = TransportUnavailable(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


async def _wait(result: object) -> None:
    """Await what a sync or async method returned."""
    if inspect.isawaitable(result):
        await cast("Awaitable[None]", result)


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])
