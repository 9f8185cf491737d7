"""An instance of a trial: a transport that is used as the core uses it, and what it tells."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from wsrooms.errors import TransportError
from wsrooms.receipt import Receipt
from wsrooms.transports import (
    Gap,
    SupportsGaps,
    SupportsLifecycle,
    SupportsState,
    SupportsStats,
    TaggedTransport,
    TransportState,
    WsBroadcastTransport,
    room_of,
)

if TYPE_CHECKING:
    from wsrooms.testing.history.history import History

__all__ = ["Instance", "Listener", "innermost"]


def innermost(transport: WsBroadcastTransport) -> WsBroadcastTransport:
    """What ``tagged()`` was given: it passes on what it does not have itself."""
    while isinstance(transport, TaggedTransport):
        transport = transport.wrapped
    return transport


class Listener:
    """What one subscription calls.

    Attributes:
        name: How the history calls it.
        channel: What it listens to.
        received: The payloads, in the order in which they came.
        on_payload: Called with each, after it is written down; it may raise.
    """

    def __init__(self, instance: Instance, name: str, channel: str) -> None:
        self.name = name
        self.channel = channel
        self.received: list[str] = []
        self.on_payload: Callable[[str], object] | None = None
        self._instance = instance

    def handle(self, payload: str) -> None:
        """Be the handler that a transport calls."""
        self.received.append(payload)
        self._instance._received(self, payload)
        if self.on_payload is not None:
            self.on_payload(payload)

    def __repr__(self) -> str:
        return f"<Listener {self.name} of {self.channel!r}: {len(self.received)} received>"


class Instance:
    """A transport, with a record of what it is asked and what it tells.

    Whatever the transport's methods are, sync, async or with receipts: here a publish returns a
    ``Receipt``, and calls of an async transport are awaited one after another.

    Attributes:
        name: How the history calls it.
        transport: The transport itself.
        states: What it told of its state, in order.
        gaps: What it told of losses, in order.
    """

    def __init__(
        self,
        name: str,
        transport: WsBroadcastTransport,
        id_of: Callable[[WsBroadcastTransport], str | None],
        history: History,
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self.transport = transport
        self.states: list[tuple[TransportState, str | None]] = []
        self.gaps: list[Gap] = []
        self._id_of = id_of
        self._history = history
        self._changed = changed
        self._numbers = itertools.count(1)
        self._listeners: dict[str, Listener] = {}
        self._waiting: deque[tuple[Awaitable[None], Receipt]] = deque()
        self._pump: asyncio.Task[None] | None = None

    @property
    def id(self) -> str | None:
        """The id under which it publishes, once it is started."""
        return self._id_of(self.transport)

    @property
    def state(self) -> TransportState | None:
        """What it told last of its state."""
        return self.states[-1][0] if self.states else None

    @property
    def tells_state(self) -> bool:
        """Whether the transport tells of its state at all."""
        return isinstance(innermost(self.transport), SupportsState)

    @property
    def stats(self) -> dict[str, int]:
        """The transport's counters; empty where it has none."""
        return self.transport.stats() if isinstance(self.transport, SupportsStats) else {}

    # Life

    async def start(self) -> None:
        """Start the transport, if it has a lifecycle."""
        if isinstance(self.transport, SupportsState):
            self.transport.on_state(self._state_told)
        if isinstance(self.transport, SupportsGaps):
            self.transport.on_gap(self._gap_told)
        if isinstance(self.transport, SupportsLifecycle):
            await self.transport.start()
        self._history.started(self.name, self.id)

    async def close(self) -> None:
        """Close the transport; one without a lifecycle is unsubscribed from everything."""
        for listener in list(self._listeners.values()):
            self._history.disconnect(listener.name)
        if isinstance(self.transport, SupportsLifecycle):
            self._listeners.clear()
            await self.transport.close()
        else:
            for channel in list(self._listeners):
                await self.unsubscribe(channel)
        if self._pump is not None:
            await self._pump

    # Subscriptions

    def listener(self, channel: str) -> Listener | None:
        """Who listens to ``channel`` now."""
        return self._listeners.get(channel)

    def ask(self, channel: str) -> tuple[Listener, Receipt]:
        """Subscribe, and do not wait: the listener, and what is done when it is confirmed.

        Of a transport with async methods the call is only begun when something is awaited.
        """
        listener = Listener(self, f"{self.name}.{next(self._numbers)}", channel)
        room = self._room(channel)
        history = self._history
        history.connect(listener.name, self.name)
        history.connected(listener.name)
        history.join(listener.name, room)
        replaced = self._listeners.get(channel)
        if replaced is not None:
            history.leave(replaced.name, room)

        def joined() -> None:
            history.joined(listener.name, room)
            if replaced is not None:
                history.left(replaced.name, room)

        receipt = self._receipt(
            lambda: self.transport.subscribe(channel, listener.handle),
            done=joined,
            failed=lambda error: history.join_failed(listener.name, room, repr(error)),
        )
        self._listeners[channel] = listener
        return listener, receipt

    async def listen(self, channel: str) -> Listener:
        """Subscribe, and wait until it is confirmed."""
        listener, receipt = self.ask(channel)
        await receipt
        return listener

    def drop(self, channel: str) -> Receipt:
        """Unsubscribe: no call of the handler begins after the receipt is done.

        It is done at once unless the transport's methods are async.
        """
        listener = self._listeners.pop(channel, None)
        room = self._room(channel)
        history = self._history
        if listener is None:
            return self._receipt(lambda: self.transport.unsubscribe(channel))
        history.leave(listener.name, room)
        return self._receipt(
            lambda: self.transport.unsubscribe(channel),
            done=lambda: history.left(listener.name, room),
        )

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe, and wait for what the transport has to do for it."""
        await self.drop(channel)

    # Messages

    def publish(self, channel: str, payload: str, *, by: str | None = None) -> Receipt:
        """Publish; the payload is the message's id in the history, so no two are the same.

        Raises:
            Exception: What the transport raises at once.
        """
        history = self._history
        room = self._room(channel)
        history.send(payload, room, instance=self.name, by=self.name if by is None else by)
        own = self._listeners.get(channel)
        if own is not None:  # as the core does; an echo of the transport is then one too many
            history.received(own.name, payload, room)
        return self._receipt(
            lambda: self.transport.publish(channel, payload),
            done=lambda: history.sent(payload),
            failed=lambda error: history.send_failed(payload, repr(error)),
        )

    async def say(self, channel: str, payload: str) -> None:
        """Publish, and wait until it is confirmed."""
        await self.publish(channel, payload)

    # What it tells

    def _received(self, listener: Listener, payload: str) -> None:
        self._history.received(listener.name, payload, self._room(listener.channel))
        self._changed()

    def _state_told(self, state: TransportState, error: str | None) -> None:
        self.states.append((state, error))
        self._changed()

    def _gap_told(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self._history.gap(self.name, gap.room, gap.publisher, gap.missing)
        self._changed()

    def _room(self, channel: str) -> str:
        """The history's name of a channel: as in the gaps that are told of it."""
        room = room_of(channel)
        return channel if room is None else room

    # Sync, async or a receipt

    def _receipt(
        self,
        call: Callable[[], Awaitable[None] | None],
        *,
        done: Callable[[], None] = lambda: None,
        failed: Callable[[Exception], None] = lambda _: None,
    ) -> Receipt:
        """Call a method of the transport; a receipt of how it ends."""
        receipt = Receipt()

        def ended(one: Receipt) -> None:
            if one.error is None:
                done()
            else:
                failed(one.error)
            self._changed()

        receipt._when_done(ended)
        try:
            returned: Any = call()
        except Exception as error:
            receipt.settle(error)
            raise
        if returned is None:
            receipt.settle()
        elif isinstance(returned, Receipt):
            returned._when_done(lambda one: receipt.settle(one._take_error()))
        elif isinstance(returned, asyncio.Future):
            returned.add_done_callback(lambda future: receipt.settle(_error_of(future)))
        else:
            self._waiting.append((returned, receipt))
            if self._pump is None:
                self._pump = asyncio.create_task(self._await_all(), name=f"rig: calls of {self}")
        return receipt

    async def _await_all(self) -> None:
        """Await what an async transport returned, one after another."""
        try:
            while self._waiting:
                awaitable, receipt = self._waiting.popleft()
                try:
                    await awaitable
                except Exception as error:  # noqa: BLE001 - it is the receipt's
                    receipt.settle(error)
                else:
                    receipt.settle()
        finally:
            self._pump = None

    def __repr__(self) -> str:
        return f"<Instance {self.name} {self.transport!r}>"


def _error_of(future: asyncio.Future[Any]) -> Exception | None:
    if future.cancelled():
        return TransportError("the transport gave the call up")
    error = future.exception()
    return error if error is None or isinstance(error, Exception) else TransportError(repr(error))
