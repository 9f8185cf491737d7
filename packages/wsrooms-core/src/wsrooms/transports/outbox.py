"""What waits to be published: bounded by count, bytes and age, in order.

Pure: time is handed in. Whoever publishes takes from the front; each message
carries the receipt that its sender holds. Messages that were written and not yet
confirmed are kept apart: no bound drops them, and a new link gets them first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, AnyStr, Generic, Literal

from wsrooms.errors import OutboxFull, OutcomeUnknown, TransportError, TransportUnavailable

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt

__all__ = ["Outbox", "OutboxPolicy", "Outgoing"]

OutboxPolicy = Literal["reject", "drop_oldest"]

BATCH_MESSAGES = 512
BATCH_BYTES = 256 * 1024
"""What a connection writes at a time: enough to fill it, little to write once more."""


class Outgoing(Generic[AnyStr]):
    """A message on its way to the broker.

    Attributes:
        channel: Where it goes.
        payload: What it says.
        receipt: Of its sender.
        deadline: When it is too old.
        size: Bytes.
    """

    __slots__ = ("channel", "deadline", "payload", "receipt", "size")

    def __init__(
        self, channel: str, payload: AnyStr, receipt: Receipt, deadline: float, size: int
    ) -> None:
        self.channel: str = channel
        self.payload: AnyStr = payload
        self.receipt: Receipt = receipt
        self.deadline: float = deadline
        self.size: int = size


class Outbox(Generic[AnyStr]):
    """Messages in the order of their publish calls."""

    __slots__ = (
        "_flying",
        "_max_age",
        "_max_bytes",
        "_max_messages",
        "_on_lost",
        "_policy",
        "_waiting",
        "confirmed",
        "failed",
        "resent",
        "size",
    )

    def __init__(
        self,
        *,
        max_messages: int,
        max_bytes: int,
        max_age: float,
        policy: OutboxPolicy = "reject",
        on_lost: Callable[[str], None] | None = None,
    ) -> None:
        """Hold at most ``max_messages`` and ``max_bytes``, each for ``max_age`` seconds.

        Args:
            max_messages: Written ones that are not confirmed count too.
            max_bytes: Likewise.
            max_age: Seconds from ``put`` until a message fails.
            policy: What a bound costs: the new message ("reject") or the oldest that was
                not written yet ("drop_oldest"). Its receipt tells ``OutboxFull``.
            on_lost: Called with the channel of each message that was refused, dropped or
                got too old unwritten: where messages are numbered only as they are sent
                it takes a number, and the others see that it is missing.
        """
        self._on_lost = on_lost
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._policy: OutboxPolicy = policy
        self._waiting: deque[Outgoing[AnyStr]] = deque()
        self._flying: deque[Outgoing[AnyStr]] = deque()
        self.size: int = 0
        """Bytes that it holds."""
        self.confirmed: int = 0
        """Messages that the broker has taken."""
        self.failed: int = 0
        """Messages that were not published, or whose outcome is unknown."""
        self.resent: int = 0
        """Messages that were written once more, on a new link."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._flying)

    @property
    def flying(self) -> int:
        """Messages that were written and are not confirmed."""
        return len(self._flying)

    @property
    def waiting(self) -> int:
        """Messages that were not written yet."""
        return len(self._waiting)

    def put(self, channel: str, payload: AnyStr, receipt: Receipt, now: float) -> Outgoing[AnyStr]:
        """Add a message at the end.

        Raises:
            OutboxFull: A bound is reached; nothing was added.
        """
        if isinstance(payload, bytes) or payload.isascii():
            size = len(payload)
        else:
            size = len(payload.encode())
        full = self._full(size)
        while full is not None and self._waiting and self._may_drop(size):
            oldest = self._waiting.popleft()
            self.size -= oldest.size
            self._lost(oldest.channel)
            self._give_up(oldest, full)
            full = self._full(size)
        if full is not None:
            self.failed += 1
            self._lost(channel)
            raise full
        message = Outgoing(channel, payload, receipt, now + self._max_age, size)
        self._waiting.append(message)
        self.size += size
        return message

    def _full(self, size: int) -> OutboxFull | None:
        if len(self) >= self._max_messages:
            return OutboxFull(self._max_messages, "messages")
        if self.size + size > self._max_bytes:
            return OutboxFull(self._max_bytes, "bytes")
        return None

    def _may_drop(self, size: int) -> bool:
        """Whether dropping what was not written is allowed, and would make room."""
        if self._policy != "drop_oldest":
            return False
        flying = sum(message.size for message in self._flying)
        return len(self._flying) < self._max_messages and flying + size <= self._max_bytes

    # One message after another

    def take(self, now: float) -> Outgoing[AnyStr] | None:
        """Remove and return the oldest message that is not too old; older ones fail."""
        self.expire(now)
        if not self._waiting:
            return None
        message = self._waiting.popleft()
        self.size -= message.size
        return message

    # In batches that are confirmed

    def batch(
        self, now: float, *, messages: int = BATCH_MESSAGES, size: int = BATCH_BYTES
    ) -> list[Outgoing[AnyStr]]:
        """What to write now: the unconfirmed ones of a lost link, else those that wait longest.

        To be called only while nothing is on its way. Each of the batch is confirmed or
        failed in order (:meth:`confirm`, :meth:`fail`), or the link is :meth:`lost`.

        Args:
            now: The time; what is too old fails.
            messages: How many at most.
            size: Bytes at most, but one message always.
        """
        self.expire(now)
        self.lost()  # what was given up since the link was lost has nobody who waits for it
        flying, waiting = self._flying, self._waiting
        self.resent += len(flying)
        if not flying:
            while waiting and len(flying) < messages:
                size -= waiting[0].size
                if size < 0 and flying:
                    break
                flying.append(waiting.popleft())
        return list(flying)

    def confirm(self) -> None:
        """The broker has taken the first unconfirmed message."""
        message = self._landed()
        if not message.receipt.done:  # else it has been counted as failed
            self.confirmed += 1
            message.receipt.settle()

    def fail(self, error: TransportError) -> None:
        """The broker has refused the first unconfirmed message for good."""
        self._give_up(self._landed(), error)

    def settle(self, outcomes: Mapping[Outgoing[AnyStr], TransportError | None]) -> None:
        """The broker has taken some of the unconfirmed messages, or refused them for good.

        Whatever order they come in: the others keep theirs.

        Args:
            outcomes: None for what it has taken.
        """
        kept: deque[Outgoing[AnyStr]] = deque()
        for message in self._flying:
            if message not in outcomes:
                kept.append(message)
                continue
            self.size -= message.size
            error = outcomes[message]
            if error is not None:
                self._give_up(message, error)
            elif not message.receipt.done:
                self.confirmed += 1
                message.receipt.settle()
        self._flying = kept

    def _landed(self) -> Outgoing[AnyStr]:
        message = self._flying.popleft()
        self.size -= message.size
        return message

    def lost(self) -> None:
        """The link is gone: what is unconfirmed is written again, unless it was given up."""
        kept = deque(each for each in self._flying if not each.receipt.done)
        self.size -= sum(each.size for each in self._flying if each.receipt.done)
        self._flying = kept

    # The end

    @property
    def due(self) -> float | None:
        """When the next message will be too old."""
        for message in self._flying:
            if not message.receipt.done:
                return message.deadline
        return self._waiting[0].deadline if self._waiting else None

    def expire(self, now: float) -> None:
        """Fail what is too old, and remove it.

        One that was written fails with ``OutcomeUnknown`` and keeps its place until its
        answer comes or the link is lost, since answers are told apart by their order.
        """
        for message in self._flying:
            if message.deadline > now:
                break
            if not message.receipt.done:
                told = f"written and not confirmed within {self._max_age:g} s"
                self._give_up(message, OutcomeUnknown(f"a publish on {message.channel} was {told}"))
        waiting = self._waiting
        while waiting and waiting[0].deadline <= now:
            message = waiting.popleft()
            self.size -= message.size
            self._lost(message.channel)
            told = f"not published within {self._max_age:g} s: the bus is slow or down"
            self._give_up(message, TransportUnavailable(told))

    def fail_all(self, error: TransportError) -> None:
        """Remove every message and settle its receipt with ``error``."""
        for messages in self._flying, self._waiting:
            while messages:
                self._give_up(messages.popleft(), error)
        self.size = 0

    @property
    def last(self) -> Receipt | None:
        """Of the newest message whose outcome is open: once it is done, so are all."""
        for messages in self._waiting, self._flying:
            for message in reversed(messages):
                if not message.receipt.done:
                    return message.receipt
        return None

    def _give_up(self, message: Outgoing[AnyStr], error: TransportError) -> None:
        if not message.receipt.done:  # else it has been counted
            self.failed += 1
            message.receipt.settle(error)

    def _lost(self, channel: str) -> None:
        if self._on_lost is not None:
            self._on_lost(channel)
