"""The transport that needs no broker: apps of one process on a shared bus object."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from wsrooms.errors import TransportClosed

if TYPE_CHECKING:
    from wsrooms.transports.protocols import WsBroadcastTransport

__all__ = ["MemoryBus", "MemoryTransport"]

Handler = Callable[[str], None]


class _Subscriber:
    """A handler, and the loop on whose thread it must be called."""

    __slots__ = ("handler", "loop", "thread")

    def __init__(self, handler: Handler) -> None:
        self.handler: Handler | None = handler
        self.thread = threading.get_ident()
        try:
            self.loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self.loop = None

    def deliver(self, payload: str) -> None:
        if self.loop is None or self.thread == threading.get_ident():
            self._call(payload)
            return
        try:
            self.loop.call_soon_threadsafe(self._call, payload)
        except RuntimeError:  # that loop has closed, and its app with it
            logging.getLogger("wsrooms").debug("a subscriber's loop has closed")

    def _call(self, payload: str) -> None:
        handler = self.handler
        if handler is None:  # unsubscribed while the payload was on its way
            return
        try:
            handler(payload)
        except Exception:
            logging.getLogger("wsrooms").exception("a handler of the memory bus failed")


class MemoryBus:
    """What several ``MemoryTransport`` objects share; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channels: dict[str, dict[MemoryTransport, _Subscriber]] = {}

    def channels(self) -> dict[str, int]:
        """How many transports are subscribed to each channel: a snapshot."""
        with self._lock:
            return {channel: len(subscribers) for channel, subscribers in self._channels.items()}

    def _add(self, channel: str, transport: MemoryTransport, handler: Handler) -> None:
        subscriber = _Subscriber(handler)
        with self._lock:
            subscribers = self._channels.setdefault(channel, {})
            known = subscribers.get(transport)
            if known is not None and known.loop is subscriber.loop:
                known.handler = handler  # it also gets what is on its way to the old one
                return
            if known is not None:
                known.handler = None
            subscribers[transport] = subscriber

    def _discard(self, channel: str, transport: MemoryTransport) -> None:
        with self._lock:
            subscribers = self._channels.get(channel)
            if subscribers is None:
                return
            subscriber = subscribers.pop(transport, None)
            if subscriber is not None:
                subscriber.handler = None
            if not subscribers:
                del self._channels[channel]

    def _discard_everywhere(self, transport: MemoryTransport) -> None:
        for channel in self.channels():
            self._discard(channel, transport)

    def _others(self, channel: str, transport: MemoryTransport) -> list[_Subscriber]:
        with self._lock:
            subscribers = self._channels.get(channel, {})
            return [
                subscriber for owner, subscriber in subscribers.items() if owner is not transport
            ]


class MemoryTransport:
    """Joins the apps of one process that share a bus object.

    A confirmed subscribe hears every later publish, in order, once, never its
    own: what ``memory://`` and tests rely on. Each app needs its own transport.
    """

    skips_own = True

    def __init__(self, bus: MemoryBus | None = None) -> None:
        """Attach to ``bus``; None makes a private one."""
        self.bus: MemoryBus = MemoryBus() if bus is None else bus
        self._closed = False
        self._lock = threading.Lock()
        self._outgoing: deque[tuple[str, str]] = deque()
        self._publishing = False

    async def start(self) -> None:
        """Ready at once; opens a closed transport again."""
        self._closed = False

    async def close(self) -> None:
        """End every subscription; idempotent."""
        self._closed = True
        self.bus._discard_everywhere(self)

    def replica(self) -> MemoryTransport:
        """Another transport on the same bus."""
        return MemoryTransport(self.bus)

    def publish(self, channel: str, payload: str) -> None:
        """Hand ``payload`` to every other transport that is subscribed, before this returns.

        Subscribers of another thread get it on their own loop, in order. What a
        handler makes this transport publish while it publishes follows after.

        Raises:
            TransportClosed: After close.
        """
        self._check_open()
        with self._lock:
            self._outgoing.append((channel, payload))
            if self._publishing:
                return
            self._publishing = True
        while True:
            with self._lock:
                if not self._outgoing:
                    self._publishing = False
                    return
                channel, payload = self._outgoing.popleft()
            try:
                for subscriber in self.bus._others(channel, self):
                    subscriber.deliver(payload)
            except BaseException:  # an interrupt: it must not end all publishing
                self._publishing = False
                raise

    def subscribe(self, channel: str, handler: Handler) -> None:
        """Subscribe at once; a second time replaces the handler.

        Raises:
            TransportClosed: After close.
        """
        self._check_open()
        self.bus._add(channel, self, handler)

    def unsubscribe(self, channel: str) -> None:
        """End the subscription at once; harmless where there is none.

        Raises:
            TransportClosed: After close.
        """
        self._check_open()
        self.bus._discard(channel, self)

    def _check_open(self) -> None:
        if self._closed:
            raise TransportClosed("this MemoryTransport has been closed")

    def __repr__(self) -> str:
        return f"<MemoryTransport on {self.bus!r}>"


if TYPE_CHECKING:
    _: type[WsBroadcastTransport] = MemoryTransport
