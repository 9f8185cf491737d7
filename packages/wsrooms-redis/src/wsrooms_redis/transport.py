"""``RedisTransport``: rooms across instances through Redis or Valkey pub/sub.

Two connections: one hears, one publishes, so that a slow reader of one never holds up the
other. Each message is a PUBLISH in the envelope of wsrooms, each room a SUBSCRIBE.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, Unpack

from wsrooms.errors import TransportUnavailable
from wsrooms.transports import (
    Address,
    BrokerLink,
    BrokerTransport,
    Command,
    WireLink,
    WsBroadcastTransport,
)
from wsrooms_redis.login import a_replica, is_replica
from wsrooms_redis.options import RedisKeywords, RedisOptions
from wsrooms_redis.target import Target
from wsrooms_redis.wire import Refusal, Wire, pack, refusal

__all__ = ["RedisTransport"]

BATCH_MESSAGES = 512
BATCH_BYTES = 256 * 1024

PASSING = ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "OOM", "MISCONF")
"""Answers of a server that is not ready, or no longer the right one: try again elsewhere."""


class RedisTransport(BrokerTransport):
    """Joins instances through a Redis or Valkey server.

    .. code-block:: python

        WsApp(broadcast_transport="redis://localhost")
        WsApp(broadcast_transport=RedisTransport("redis://localhost", namespace="staging"))

    Keeps what docs/transports/contract.md promises. Redis keeps no log: what is published
    while an instance has no connection is lost for it, and told as a gap.
    """

    options: RedisOptions

    def __init__(
        self, url: str = "redis://localhost:6379", **options: Unpack[RedisKeywords]
    ) -> None:
        """Prepare a transport; ``start()`` connects it.

        Args:
            url: ``redis://[user:password@]host[:port][,host…][/database]``, ``rediss://…``
                for TLS, ``redis+unix:///path`` for a Unix socket,
                ``redis+sentinel://host[:port][,host…]/service[/database]`` for whichever
                server the sentinels name. Of several hosts the first that is there and no
                replica is used; they share the ``connect_timeout``. The query may hold options.
            options: See :class:`RedisOptions`; they count before those of the URL.

        Raises:
            UnknownOption: One does not exist.
            ConfigurationError: The URL or a value makes no sense.
        """
        self._url = url
        self._given = options
        self.target: Target = Target.of(url)
        read = RedisOptions.read(self.target.query, options)
        read.check_tls(self.target.scheme, "rediss")
        super().__init__(
            read, where=self.target.where, max_payload=read.max_payload, logger=read.logger
        )
        self._prefix = f"{read.namespace}:" if read.namespace else ""
        self._cut = len(self._prefix)
        self.addresses: deque[Address] = deque(self.target.addresses)
        """The servers, or their sentinels, in the order in which they are tried next."""

    def replica(self) -> RedisTransport:
        """Another transport with the same URL and options."""
        return RedisTransport(self._url, **self._given)

    def _make_links(self) -> Sequence[BrokerLink]:
        return _Hearing(self), _Publishing(self)

    def wire_name(self, channel: str) -> bytes:
        """What ``channel`` is called at the broker."""
        return (self._prefix + channel).encode()

    def channel_of(self, wire_name: bytes) -> str:
        """The channel that is called so at the broker."""
        return wire_name.decode()[self._cut :]


class _Link(WireLink[Wire]):
    """What both connections have in common."""

    def __init__(self, transport: RedisTransport) -> None:
        tls = transport.target.scheme == "rediss"
        hint = "; does it speak TLS there?" if tls else ""
        super().__init__(transport, transport.addresses, hint=hint)
        self._transport = transport

    def _made(self) -> Wire:
        return Wire(self._on_reply)

    async def _open(self, wire: Wire, address: Address) -> None:
        await wire.open(self._transport.target, address, self._transport.options)

    def _where(self, address: Address) -> str:
        return f"{self._transport.target.scheme}://{address}"

    @abstractmethod
    def _on_reply(self, reply: Any) -> None: ...


class _Hearing(_Link):
    """The connection on which messages arrive."""

    def __init__(self, transport: RedisTransport) -> None:
        super().__init__(transport)
        self._unanswered: deque[tuple[Command, list[str]] | None] = deque()
        """What the next answers are about; None: a ping."""

    async def connect(self) -> None:
        self._unanswered.clear()
        await super().connect()

    def wake(self) -> None:
        if self._wire is None:
            return
        now = self._wire.now
        for command in self._exchange.wishes.commands(now):
            self._unanswered.append((command, list(reversed(command.channels))))
            names = map(self._transport.wire_name, command.channels)
            self._wire.write(pack(command.kind.upper(), *names))

    def _on_reply(self, reply: Any) -> None:
        if isinstance(reply, Refusal):
            self._refused(reply)
        elif not isinstance(reply, list):
            self._pinged()  # before the first subscription
        elif reply[0] == b"message":
            channel = self._transport.channel_of(reply[1])
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
            raise unasked(self._transport.where)
        return asked

    @property
    def _unconfirmed(self) -> bool:
        return False  # silence is enough: nobody waits for what else it says

    def _ping(self, wire: Wire) -> None:
        self._unanswered.append(None)  # a refusal is an answer too: a full disk refuses pings
        wire.write(pack("PING"))

    def _pinged(self) -> None:
        if not self._unanswered or self._unanswered.popleft() is not None:
            raise unasked(self._transport.where)

    def _refused(self, error: Refusal) -> None:
        """A command has failed as a whole, or a ping: that is an answer all the same."""
        if self._unanswered and self._unanswered[0] is None:
            self._unanswered.popleft()
            return
        if not self._unanswered or error.code != "NOPERM":
            raise refusal(error, "", self._transport.where)
        command, channels = self._asked()
        self._unanswered.popleft()
        if command.kind == "subscribe" and len(channels) > 1:
            for channel in command.channels:
                self._exchange.wishes.ask_alone(channel)
            self.wake()
        else:
            for channel in command.channels:
                told = refusal(error, channel, self._transport.where)
                self._exchange.subscribe_refused(channel, told)
        self._transport.answered()


class _Publishing(_Link):
    """The connection on which messages go out, one batch at a time."""

    def __init__(self, transport: RedisTransport) -> None:
        super().__init__(transport)
        self._batch: deque[str | None] = deque()
        """The channels of what is not answered yet; None: a ping, which holds up the next batch."""

    async def connect(self) -> None:
        self._batch.clear()
        await super().connect()

    def wake(self) -> None:
        if self._wire is None or self._batch or not self._transport.may_publish:
            return
        now = self._wire.now
        batch = self._exchange.outbox.batch(now, messages=BATCH_MESSAGES, size=BATCH_BYTES)
        if not batch:
            return
        name = self._transport.wire_name
        self._batch.extend(message.channel for message in batch)
        self._wire.written_at = now
        self._wire.write(
            b"".join(pack(b"PUBLISH", name(each.channel), each.payload) for each in batch)
        )

    def _on_reply(self, reply: Any) -> None:
        where = self._transport.where
        if not self._batch:
            raise refusal(reply, "", where) if isinstance(reply, Refusal) else unasked(where)
        channel = self._batch.popleft()
        if channel is None:
            if is_replica(reply):
                raise a_replica(where)
        elif not isinstance(reply, Refusal):
            self._exchange.outbox.confirm()
        elif reply.code in (*PASSING, "NOAUTH", "WRONGPASS"):
            raise refusal(reply, channel, where)
        else:
            self._exchange.publish_refused(refusal(reply, channel, where))
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


def from_url(url: str) -> WsBroadcastTransport:
    """What the core calls for a Redis URL."""
    return RedisTransport(url)
