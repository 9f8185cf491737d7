"""What passes between one instance and the broker, without the broker.

Pure: it knows no loop, no socket and no clock. It joins the parts that every transport of
a broker needs: numbers and an outbox for what goes out, wishes for what is to come in, and
the judgement of what comes. Whoever owns the connections writes the batches and commands
that it gives, and tells it what came back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from wsrooms.errors import InvalidChannel, OutboxFull, PayloadTooLarge, TransportError
from wsrooms.receipt import Receipt
from wsrooms.transports.envelope import Sequencer, assemble, parse
from wsrooms.transports.inbox import Inbox
from wsrooms.transports.logs import SeldomLog
from wsrooms.transports.outbox import Outbox, Outgoing
from wsrooms.transports.wishes import Wishes

if TYPE_CHECKING:
    import logging

    from wsrooms.transports.options import BrokerOptions
    from wsrooms.transports.protocols import Gap

__all__ = ["PROBE_PREFIX", "Exchange", "checked"]

PROBE_PREFIX = "ws:probe:"
"""What the channel of an instance's messages to itself begins with; its id follows."""


class Exchange:
    """One instance's traffic: tagged, numbered, bounded on the way out, judged on the way in.

    Attributes:
        instance: Who publishes; drawn anew by :meth:`begin`.
        probe_channel: Where this instance sends messages to itself.
        wishes: What is to be subscribed.
        outbox: What is to be published, in its envelope.
        max_payload: Bytes that a payload to be published may have: what the transport was
            made for, or less, where the broker takes less.
        check: Raises ``InvalidChannel`` for what the broker cannot carry.
        probes: Own messages on the probe's channel that came back.
    """

    def __init__(self, options: BrokerOptions, *, max_payload: int, logger: logging.Logger) -> None:
        self.max_payload: int = max_payload
        self.check: Callable[[str], None] = checked
        self.instance: str = ""
        self.probe_channel: str = PROBE_PREFIX
        self.wishes: Wishes = Wishes()
        self.outbox: Outbox[bytes] = Outbox(
            max_messages=options.outbox_messages,
            max_bytes=options.outbox_bytes,
            max_age=options.outbox_age,
            policy=options.outbox_policy,
        )
        self._inbox = Inbox(logger)
        self.probes: int = 0
        self._log = SeldomLog(logger)
        self._sequencer = Sequencer()
        self._own = self._own_id = b""
        self._max_received = max_payload
        self._own_skipped = 0
        self._foreign = 0

    def begin(self, instance: str) -> None:
        """From now on this is ``instance``; others see a new publisher, and so does it."""
        self.instance = instance
        self.probe_channel = PROBE_PREFIX + instance
        self._inbox.begin()
        self._own_id = instance.encode("ascii")
        self._own = b"1 " + self._own_id + b" "

    # Out

    def publish(self, channel: str, payload: str, now: float) -> Receipt:
        """Put ``payload`` into the outbox, numbered.

        Returns:
            Done when the broker has taken it; a full outbox is its error, and the number
            is taken all the same, so that others report the gap.

        Raises:
            PayloadTooLarge: No number was taken.
            InvalidChannel: Likewise.
            UnicodeEncodeError: Likewise; the payload is no text that UTF-8 can carry.
        """
        self.check(channel)
        data = payload.encode()
        if len(data) > self.max_payload:
            raise PayloadTooLarge(len(data), self.max_payload)
        epoch, seq = self._sequencer.next(channel)
        receipt = Receipt()
        try:
            self.outbox.put(channel, b"%b%d %d %b" % (self._own, epoch, seq, data), receipt, now)
        except OutboxFull as full:
            receipt.settle(full.with_traceback(None))  # or its frames would keep the receipt
        return receipt

    # In

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Receipt:
        """Wish for ``channel``; done when the broker has confirmed.

        Raises:
            InvalidChannel: No broker could carry that name.
        """
        self.check(channel)
        return self.wishes.want(channel, handler)

    def unsubscribe(self, channel: str, now: float) -> None:
        """Wish ``channel`` away: no handler is called any more."""
        self.wishes.unwant(channel, now)
        self._inbox.unsubscribed(channel, now)

    def received(self, channel: str, data: bytes, now: float) -> None:
        """Hand what the broker brought to its handler, unless it is not to be heard."""
        if data.startswith(self._own):
            self._own_skipped += 1
            self.probes += channel == self.probe_channel
            return
        handler = self.wishes.handler(channel)
        if handler is None:
            return  # unsubscribed, and the broker has not come to that yet
        envelope = None
        if len(data) <= self._max_received + len(self._own) + 40:  # two numbers of 19 digits
            try:
                envelope = parse(data.decode())
            except UnicodeDecodeError:
                envelope = None
        if envelope is None:
            self.count_foreign(channel, len(data))
            return
        self._inbox.deliver(channel, handler, envelope, now)

    def arrived(self, channel: str, head: Sequence[bytes] | None, data: bytes, now: float) -> None:
        """As :meth:`received`, of a broker that keeps the parts of the envelope apart.

        Args:
            channel: Where it came.
            head: Version, instance, epoch and sequence number; None: there are none.
            data: The payload.
            now: The time.
        """
        if head is not None and head[1] == self._own_id:
            self._own_skipped += 1
            self.probes += channel == self.probe_channel
            return
        handler = self.wishes.handler(channel)
        if handler is None:
            return
        envelope = None
        if head is not None and len(data) <= self._max_received:
            envelope = assemble(head, data)
        if envelope is None:
            self.count_foreign(channel, len(data))
            return
        self._inbox.deliver(channel, handler, envelope, now)

    @property
    def on_gap(self) -> Callable[[Gap], None] | None:
        """Told of each gap."""
        return self._inbox.on_gap

    @on_gap.setter
    def on_gap(self, callback: Callable[[Gap], None] | None) -> None:
        self._inbox.on_gap = callback

    def gap(self, gap: Gap) -> None:
        """Tell that messages were lost."""
        self._inbox.gap(gap)

    def count_foreign(self, channel: str, size: int) -> None:
        """What came on ``channel``, of ``size`` bytes, is no message of wsrooms: it is dropped."""
        self._foreign += 1
        self._log.error(
            "foreign",
            "dropped what is no message of wsrooms on %s (%d bytes); %d so far: "
            "something else publishes there, or another version of wsrooms",
            channel,
            size,
            self._foreign,
        )

    # What the broker refuses; an operator cannot see it from the errors of clients

    def subscribe_refused(self, channel: str, error: TransportError) -> None:
        """The broker will not subscribe ``channel``: who waits is told, and the log."""
        self._log.warning("subscribe", "%s", error)
        self.wishes.refused(channel, error)

    def publish_refused(self, error: TransportError) -> None:
        """The broker has refused the first unconfirmed message for good: likewise."""
        self._log.warning("publish", "%s", error)
        self.outbox.fail(error)

    def settled(self, outcomes: Mapping[Outgoing[bytes], TransportError | None]) -> None:
        """The broker has taken some unconfirmed messages, or refused them for good: likewise."""
        refused = next(filter(None, outcomes.values()), None)
        if refused is not None:
            self._log.warning("publish", "%s", refused)
        self.outbox.settle(outcomes)

    # The end

    def fail_all(self, error: TransportError) -> None:
        """Give up all that waits, in both directions."""
        self.outbox.fail_all(error)
        self.wishes.fail_all(error)

    def stats(self) -> dict[str, int]:
        """All counters and gauges."""
        return {
            "published": self.outbox.confirmed,
            "publish_failed": self.outbox.failed,
            "resent": self.outbox.resent,
            "received": self._inbox.received,
            "own_skipped": self._own_skipped,
            "duplicates": self._inbox.duplicates,
            "gaps": self._inbox.gaps,
            "missing": self._inbox.missing,
            "foreign": self._foreign,
            "handler_errors": self._inbox.handler_errors,
            "subscriptions": len(self.wishes),
            "outbox": len(self.outbox),
            "outbox_bytes": self.outbox.size,
        }


def checked(channel: str) -> None:
    """Check that a broker could carry ``channel``.

    Raises:
        InvalidChannel: It is empty, or UTF-8 cannot encode it.
    """
    if not channel:
        raise InvalidChannel(channel, "it is empty")
    if not channel.isascii():
        try:
            channel.encode()
        except UnicodeEncodeError:
            raise InvalidChannel(channel, "UTF-8 cannot encode it") from None
