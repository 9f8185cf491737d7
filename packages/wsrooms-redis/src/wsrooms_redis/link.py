"""The two links to Redis: one hears, one publishes.

So a slow reader of the one never holds up the other. Each room is a SUBSCRIBE, each message
a PUBLISH in the envelope of wsrooms.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any

from wsrooms.errors import TransportUnavailable
from wsrooms.transports import Address, Command, WireLink
from wsrooms_redis.login import a_replica, is_replica
from wsrooms_redis.wire import Refusal, Wire, pack, refusal

if TYPE_CHECKING:
    from wsrooms.transports import BrokerTransport
    from wsrooms_redis.target import Target

__all__ = ["HearingLink", "PublishingLink"]

PASSING = ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "OOM", "MISCONF")
"""Answers of a server that is not ready, or no longer the right one: try again elsewhere."""


class _Link(WireLink[Wire]):
    """What both connections have in common."""

    def __init__(self, transport: BrokerTransport, target: Target) -> None:
        """Connect for ``transport`` to ``target``."""
        hint = "; does it speak TLS there?" if target.scheme == "rediss" else ""
        super().__init__(transport, target.scheme, target.addresses, hint=hint)
        self._target = target
        self._names = target.names

    def _made(self) -> Wire:
        return Wire(self._on_reply)

    async def _open(self, wire: Wire, address: Address) -> None:
        await wire.open(self._target, address)

    @abstractmethod
    def _on_reply(self, reply: Any) -> None: ...


class HearingLink(_Link):
    """The connection on which messages arrive."""

    def __init__(self, transport: BrokerTransport, target: Target) -> None:
        """Hear for ``transport``."""
        super().__init__(transport, target)
        self._unanswered: deque[tuple[Command, list[str]] | None] = deque()
        """What the next answers are about; None: a ping."""

    async def connect(self) -> None:
        """Connect to the first server that answers; nothing is asked of it yet."""
        self._unanswered.clear()
        await super().connect()

    def wake(self) -> None:
        """Subscribe and unsubscribe what there is."""
        if self._wire is None:
            return
        now = self._wire.now
        for command in self._exchange.wishes.commands(now):
            self._unanswered.append((command, list(reversed(command.channels))))
            names = map(self._names.of, command.channels)
            self._wire.write(pack(command.kind.upper(), *names))

    def _on_reply(self, reply: Any) -> None:
        if isinstance(reply, Refusal):
            self._refused(reply)
        elif not isinstance(reply, list):
            self._pinged()  # before the first subscription
        elif reply[0] == b"message":
            channel = self._names.channel(reply[1])
            assert self._wire is not None
            self._exchange.received(channel, reply[2], self._wire.heard_at)
        elif reply[0] in (b"subscribe", b"unsubscribe"):
            _, channels = self._asked()
            self._exchange.wishes.answered(channels.pop())
            if not channels:
                self._unanswered.popleft()
                self._transport.answered()
        elif reply[0] == b"pong":
            self._pinged()

    def _asked(self) -> tuple[Command, list[str]]:
        """The command that is answered next, and its channels from the last to this one."""
        asked = self._unanswered[0] if self._unanswered else None
        if asked is None:
            raise unasked(self._where)
        return asked

    @property
    def _unconfirmed(self) -> bool:
        return False  # silence is enough: nobody waits for what else it says

    def _ping(self, wire: Wire) -> None:
        self._unanswered.append(None)  # a refusal is an answer too: a full disk refuses pings
        wire.write(pack("PING"))

    def _pinged(self) -> None:
        if not self._unanswered or self._unanswered.popleft() is not None:
            raise unasked(self._where)

    def _refused(self, error: Refusal) -> None:
        """A command has failed as a whole, or a ping: that is an answer all the same."""
        if self._unanswered and self._unanswered[0] is None:
            self._unanswered.popleft()
            return
        if not self._unanswered or error.code != "NOPERM":
            raise refusal(error, "", self._where)
        command, channels = self._asked()
        self._unanswered.popleft()
        if command.kind == "subscribe" and len(channels) > 1:
            for channel in command.channels:
                self._exchange.wishes.ask_alone(channel)
            self.wake()
        else:
            for channel in command.channels:
                told = refusal(error, channel, self._where)
                self._exchange.subscribe_refused(channel, told)
        self._transport.answered()


class PublishingLink(_Link):
    """The connection on which messages go out, one batch at a time."""

    def __init__(self, transport: BrokerTransport, target: Target) -> None:
        """Publish for ``transport``."""
        super().__init__(transport, target)
        self._batch: deque[str | None] = deque()
        """The channels of what is not answered yet; None: a ping, which holds up the next batch."""

    async def connect(self) -> None:
        """Connect to the first server that answers; nothing is asked of it yet."""
        self._batch.clear()
        await super().connect()

    def wake(self) -> None:
        """Publish the next batch, once the last one is confirmed."""
        if self._wire is None or self._batch or not self._transport.may_publish:
            return
        now = self._wire.now
        batch = self._exchange.outbox.batch(now)
        if not batch:
            return
        name = self._names.of
        self._batch.extend(message.channel for message in batch)
        self._wire.written_at = now
        self._wire.write(
            b"".join(pack(b"PUBLISH", name(each.channel), each.payload) for each in batch)
        )

    def _on_reply(self, reply: Any) -> None:
        if not self._batch:
            where = self._where
            raise refusal(reply, "", where) if isinstance(reply, Refusal) else unasked(where)
        channel = self._batch.popleft()
        if channel is None:
            if is_replica(reply):
                raise a_replica(self._where)
        elif not isinstance(reply, Refusal):
            self._exchange.outbox.confirm()
        elif reply.code in (*PASSING, "NOAUTH", "WRONGPASS"):
            raise refusal(reply, channel, self._where)
        else:
            self._exchange.publish_refused(refusal(reply, channel, self._where))
        if not self._batch and len(self._exchange.outbox):
            self.wake()

    def _ping(self, wire: Wire) -> None:
        self._batch.append(None)  # under load too: a replica answers messages as a primary does
        wire.write(pack("ROLE" if wire.asks_role else "PING"))

    @property
    def _unconfirmed(self) -> bool:
        return bool(self._batch) and self._batch[0] is not None


def unasked(where: str) -> TransportUnavailable:
    """The error of an answer without a question: what belongs to what is unknown then."""
    return TransportUnavailable(f"{where} answered what it was not asked")
