"""One instance's line to its transport, whatever that transport can do.

The room manager wants one thing of every transport: wishes that converge,
publishes in order, a receipt for each, and word of gaps and outages. A class of
three methods gives none of that, so it is added here: calls for one channel
never overlap and the last wish wins, publishes wait in a bounded outbox, and
nothing waits for ever. What a transport does itself is left to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Protocol

from wsrooms.errors import TransportClosed, TransportError
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.transports.backoff import backoff
from wsrooms.transports.calls import (
    as_exception,
    as_transport_error,
    cancelled_by_us,
    is_pending,
    untraced,
    wait_for_end,
)
from wsrooms.transports.protocols import (
    Gap,
    SupportsGaps,
    SupportsLifecycle,
    SupportsState,
    SupportsStats,
    TransportState,
    WsBroadcastTransport,
)
from wsrooms.transports.publisher import Publisher

if TYPE_CHECKING:
    import logging

__all__ = ["BusLink", "LinkEvents"]

FIRST_TRY = 0.5
"""Seconds in which a broker that need not be there may let the app start with it."""


class LinkEvents(Protocol):
    """What the link's owner is told, always on the loop's thread."""

    def subscribed(self, channel: str) -> None:
        """The transport confirmed: from now on nothing on ``channel`` is missed."""
        ...

    def refused(self, channel: str, error: TransportError) -> None:
        """The transport will not subscribe; the wish is gone."""
        ...

    def lapsed(self, channel: str) -> None:
        """A subscription was given up that is still wished: it is asked for once more."""
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

    __slots__ = ("call", "confirmed", "held", "limit", "name", "task", "wish")

    def __init__(self, name: str) -> None:
        self.name = name
        self.call: Receipt | None = None  # a subscription that is not answered yet
        self.limit: asyncio.TimerHandle | None = None  # until when that may take
        self.wish: Callable[[str], None] | None = None
        self.held = False  # the transport may hold a subscription
        self.confirmed = False
        self.task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a call for this channel is under way: no two may be."""
        return self.task is not None or self.call is not None

    def answered(self) -> None:
        """The subscription is under way no more."""
        self.call = None
        if self.limit is not None:
            self.limit.cancel()
            self.limit = None

    def abandoned(self) -> None:
        """Nobody waits for the subscription any more; its maker is told, and may begin another."""
        call = self.call
        self.answered()
        if call is not None:
            call._abandon()

    def receive(self, payload: str) -> None:
        """What the transport calls: the handler of now, whenever it was told."""
        if self.wish is not None:
            self.wish(payload)


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
        self._starter: asyncio.Task[None] | None = None
        self._closed = False
        # For tasks, which otherwise would keep the context of whoever joins first.
        self._context = copy_context()
        self._publisher = Publisher(transport, events.publish_failed, self._context, logger)
        self._outages = 0
        self.keeps_log: bool = bool(getattr(transport, "keeps_log", False))
        self.may_echo: bool = not getattr(transport, "skips_own", False)
        self.live: bool = True
        """Whether subscriptions can be confirmed now; joins wait while it is False."""
        self.down_since: float | None = None
        if isinstance(transport, SupportsGaps):
            transport.on_gap(self._on_gap)
        if isinstance(transport, SupportsState):
            transport.on_state(self._on_state)

    # Lifecycle

    async def start(self, *, keep_trying: bool = False) -> None:
        """Start the transport, if it has a lifecycle.

        Args:
            keep_trying: Return even if it does not start, or takes its time, and try until
                it does.

        Raises:
            TransportError: It did not start.
        """
        self._closed = False
        transport = self.transport
        if not isinstance(transport, SupportsLifecycle):
            return
        if not keep_trying:
            try:
                await wait_for_end(transport.start)
            except (Exception, asyncio.CancelledError) as failure:
                if cancelled_by_us(failure):
                    raise
                told = as_transport_error(as_exception(failure))
                raise told from told.__cause__
            return
        loop = asyncio.get_running_loop()
        tried: asyncio.Future[None] = loop.create_future()
        self._starter = loop.create_task(
            self._start_in_the_end(transport, tried),
            name="wsrooms transport start",
            context=self._context,
        )
        # A broker that is there is worth a moment; a silent one keeps nobody from serving.
        await asyncio.wait([tried], timeout=FIRST_TRY)
        if not tried.done():
            self._on_state("down", f"{transport!r} has not started yet")

    async def _start_in_the_end(
        self, transport: SupportsLifecycle, tried: asyncio.Future[None]
    ) -> None:
        delays = backoff()
        outages = self._outages
        while True:
            try:
                await wait_for_end(transport.start)
                break
            except (Exception, asyncio.CancelledError) as failure:
                if cancelled_by_us(failure):
                    raise
                if self._closed:
                    return
                self._on_state("down", str(as_transport_error(as_exception(failure))))
                self._publisher.expire()
            if not tried.done():
                tried.set_result(None)
            await asyncio.sleep(next(delays))
        self._starter = None
        if not tried.done():
            tried.set_result(None)
        if self._closed:
            return  # what waits fails with the close, which does not wait for another task
        if self._outages > outages:
            self._publisher.go_on()  # in a task: after the wishes, before what is published now
            self._on_state("up", None)

    async def close(self, timeout: float) -> None:
        """Publish what waits, end every subscription, close the transport.

        Args:
            timeout: Seconds for all of it. What is not published in half of them fails
                with ``TransportClosed``.
        """
        self._closed = True
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        # Whatever was begun in this turn begins now: it would end unawaited if cancelled first.
        await asyncio.sleep(0)
        await self._publisher.finish(timeout / 2)
        self._publisher.stop()
        channels, self._channels = list(self._channels.values()), {}
        tasks = [self._starter, self._publisher.task, *(channel.task for channel in channels)]
        await self._cancelled([task for task in tasks if task is not None], until)
        self._publisher.fail_all(TransportClosed("the app has closed"))
        for channel in channels:
            channel.wish = None
            channel.abandoned()
        if isinstance(self.transport, SupportsLifecycle):
            await self._in_time(self.transport.close, until)
            return
        ended = [each.name for each in channels if each.task is None or each.task.done()]
        calls = (partial(self.transport.unsubscribe, name) for name in ended)
        await asyncio.gather(*(self._in_time(call, until) for call in calls))

    async def _in_time(self, call: Callable[[], object], until: float) -> None:
        """Make a last call to the transport; it is logged if it fails or will not end."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(wait_for_end(call), name="wsrooms last call")
        try:
            await asyncio.wait([task], timeout=until - loop.time())
        finally:
            await self._cancelled([] if task.done() else [task], until)
        if task.done() and (error := TimeoutError() if task.cancelled() else task.exception()):
            self._logger.error("closing %r failed", self.transport, exc_info=error)

    async def _cancelled(self, tasks: list[asyncio.Task[None]], until: float) -> None:
        """Cancel ``tasks`` and wait until they have ended, but not for ever."""
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        left = max(0.1, until - asyncio.get_running_loop().time())
        _, stubborn = await asyncio.wait(tasks, timeout=left)
        for task in stubborn:
            self._logger.error("%s of %r does not end", task.get_name(), self.transport)

    # Subscriptions

    @property
    def deadline(self) -> float:
        """Until when a confirmation that is asked for now may take: an outage counts in full."""
        down = self.down_since
        since = asyncio.get_running_loop().time() if down is None else down
        return since + self._confirm_timeout

    @property
    def overdue(self) -> bool:
        """Whether the transport has been down for so long that nobody waits for it any more."""
        down = self.down_since is not None
        return down and self.deadline <= asyncio.get_running_loop().time()

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
        if entry.busy or self._closed or self._starter is not None:
            return  # what has not started yet is told all wishes when it has
        if entry.wish is not None:
            if entry.confirmed:
                return
            entry.held = True
            try:
                call = self.transport.subscribe(entry.name, entry.receive)
            except Exception as error:  # noqa: BLE001 - anybody's class; it becomes the join's error
                self._refuse(entry, self._untraced(error))
                return
            if isinstance(call, Receipt):
                self._subscribe_by(call, entry)
            elif is_pending(call):
                entry.task = asyncio.get_running_loop().create_task(
                    self._subscribing(entry, call, self._outages),
                    name=f"wsrooms subscribe {entry.name}",
                    context=self._context,
                )
            else:
                self._confirm(entry)
        elif entry.held:
            self._take_back(entry)
        else:
            self._forget(entry)

    def _take_back(self, entry: _Channel) -> None:
        """Unsubscribe, then look at the wish again."""
        entry.held = entry.confirmed = False
        try:
            call = self.transport.unsubscribe(entry.name)
        except Exception:
            self._logger.exception("unsubscribing %s failed", entry.name)
            call = None
        if is_pending(call):
            entry.task = asyncio.get_running_loop().create_task(
                self._unsubscribing(entry, call),
                name=f"wsrooms unsubscribe {entry.name}",
                context=self._context,
            )
        else:
            self._reconcile(entry)

    def _subscribe_by(self, call: Receipt, entry: _Channel) -> None:
        """A transport that gives receipts needs no task for each of its channels."""
        if call.done:
            self._subscribed(entry, call._take_error(), self._outages)
            return
        entry.call = call
        loop = asyncio.get_running_loop()
        entry.limit = loop.call_later(
            self._confirm_timeout, self._give_up, entry, context=self._context
        )
        call._when_done(partial(self._told, entry, self._outages))

    def _told(self, entry: _Channel, outages: int, call: Receipt) -> None:
        """A subscription is answered; too late, if it was given up."""
        error = call._take_error()
        if entry.call is call:
            entry.answered()
            self._subscribed(entry, error, outages)

    def _subscribed(self, entry: _Channel, error: Exception | None, outages: int) -> None:
        """A subscription was confirmed, or failed with ``error``."""
        if error is None:
            if entry.wish is None or (outages != self._outages and not self.keeps_log):
                self._reconcile(entry)  # what was confirmed before an outage is asked for again
            else:
                self._confirm(entry)
        elif outages != self._outages:
            self._reconcile(entry)  # it says nothing of the line that there is now
        else:
            self._refuse(entry, error)

    def _give_up(self, entry: _Channel) -> None:
        """Each join has a deadline of its own: whoever still waits gets a fresh try."""
        entry.abandoned()
        if self._closed:
            return  # the close ends what may be left of it, and no call may begin beside that
        if entry.wish is not None:
            self._events.lapsed(entry.name)
        self._take_back(entry)

    async def _subscribing(self, entry: _Channel, call: Awaitable[None], outages: int) -> None:
        limit = asyncio.timeout(self._confirm_timeout)
        try:
            async with limit:
                await call
        except (Exception, asyncio.CancelledError) as failure:
            entry.task = None
            if cancelled_by_us(failure):
                raise
            if limit.expired():
                self._give_up(entry)
            else:
                self._subscribed(entry, as_exception(failure), outages)
            return
        entry.task = None
        self._subscribed(entry, None, outages)

    async def _unsubscribing(self, entry: _Channel, call: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._confirm_timeout):
                await call
        except (Exception, asyncio.CancelledError) as failure:
            if cancelled_by_us(failure):
                raise
            self._logger.exception("unsubscribing %s failed", entry.name)
        finally:
            entry.task = None
        self._reconcile(entry)

    def _confirm(self, entry: _Channel) -> None:
        if not self.live and not self.keeps_log:
            return  # it is subscribed once more when the transport is up
        entry.confirmed = True
        self._events.subscribed(entry.name)

    def _refuse(self, entry: _Channel, error: Exception) -> None:
        """The subscription failed; whatever is left of it at the transport is taken back."""
        if not self.live and entry.wish is not None:
            return  # joins wait while the bus is down, and all is asked for when it is up
        entry.wish = None
        entry.confirmed = False
        self._events.refused(entry.name, as_transport_error(error))
        self._reconcile(entry)

    def _forget(self, entry: _Channel) -> None:
        if self._channels.get(entry.name) is entry:
            del self._channels[entry.name]

    def _on_gap(self, gap: Gap) -> None:
        if not self._closed:  # a transport outlives the links of an app that restarts
            self._events.gap(gap)

    def _on_state(self, state: TransportState, error: str | None) -> None:
        if self._closed:
            return
        live = state == "up"
        if self.live and not live:
            self._outages += 1
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
        # No isinstance: a protocol with a property would cost each broadcast microseconds.
        limit: int | None = getattr(self.transport, "max_payload", None)
        return limit

    def publish(self, channel: str, payload: str) -> Receipt:
        """Publish after everything that was published before; never raises, never waits."""
        if self._closed:
            return self._failed(TransportClosed("the app has closed"))
        if self._publisher.task is not None or self._starter is not None:
            return self._publisher.put(channel, payload)
        try:
            call = self.transport.publish(channel, payload)
        except Exception as error:  # noqa: BLE001 - anybody's class; it becomes the receipt's error
            return self._failed(as_transport_error(self._untraced(error)))
        if isinstance(call, Receipt):
            return call._told_to(self._events.publish_failed)
        if not is_pending(call):
            return FINISHED
        return self._publisher.follow(channel, payload, call)

    def _failed(self, error: TransportError) -> Receipt:
        return Receipt.failed(error, self._events.publish_failed)

    def _untraced(self, error: Exception) -> Exception:
        return untraced(error, self.transport, self._logger)

    # Figures

    def stats(self) -> dict[str, int]:
        """The transport's own counters, and what waits here."""
        own = self.transport.stats() if isinstance(self.transport, SupportsStats) else {}
        return {**self._publisher.stats(), **own}
