"""What waits to be published: bounded by count, bytes and age, in order.

Pure: time is handed in. Whoever publishes takes from the front; each message
carries the receipt that its sender holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from wsrooms.errors import OutboxFull, TransportError, TransportUnavailable

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt

__all__ = ["Outbox", "Outgoing"]


class Outgoing(NamedTuple):
    """A message on its way to the broker."""

    channel: str
    payload: str
    receipt: Receipt
    deadline: float
    size: int


class Outbox:
    """Messages in the order of their publish calls."""

    __slots__ = ("_max_age", "_max_bytes", "_max_messages", "_on_lost", "_waiting", "size")

    def __init__(
        self,
        *,
        max_messages: int,
        max_bytes: int,
        max_age: float,
        on_lost: Callable[[str], None] | None = None,
    ) -> None:
        """Hold at most ``max_messages`` and ``max_bytes``, each for ``max_age`` seconds.

        ``on_lost`` is called with the channel of each message that was refused or got too
        old: where messages are numbered it takes a number, and the others see that it is
        missing.
        """
        self._on_lost = on_lost
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._waiting: deque[Outgoing] = deque()
        self.size: int = 0
        """Bytes that wait."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, channel: str, payload: str, receipt: Receipt, now: float) -> Outgoing:
        """Add a message at the end.

        Raises:
            OutboxFull: A bound is reached; nothing was added.
        """
        size = len(payload) if payload.isascii() else len(payload.encode())
        full: OutboxFull | None = None
        if len(self._waiting) >= self._max_messages:
            full = OutboxFull(self._max_messages, "messages")
        elif self.size + size > self._max_bytes:
            full = OutboxFull(self._max_bytes, "bytes")
        if full is not None:
            self._lost(channel)
            raise full
        message = Outgoing(channel, payload, receipt, now + self._max_age, size)
        self._waiting.append(message)
        self.size += size
        return message

    def take(self, now: float) -> Outgoing | None:
        """Remove and return the oldest message that is not too old; older ones fail."""
        self.expire(now)
        if not self._waiting:
            return None
        message = self._waiting.popleft()
        self.size -= message.size
        return message

    def expire(self, now: float) -> None:
        """Remove what is too old, and fail it."""
        waiting = self._waiting
        while waiting and waiting[0].deadline <= now:
            message = waiting.popleft()
            self.size -= message.size
            self._lost(message.channel)
            message.receipt.settle(
                TransportUnavailable(
                    f"not published within {self._max_age:g} s: the bus is slow or down"
                )
            )

    def fail_all(self, error: TransportError) -> None:
        """Remove every message and settle its receipt with ``error``."""
        while self._waiting:
            self._waiting.popleft().receipt.settle(error)
        self.size = 0

    def _lost(self, channel: str) -> None:
        if self._on_lost is not None:
            self._on_lost(channel)
