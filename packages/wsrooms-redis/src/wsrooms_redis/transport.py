"""``RedisTransport``: rooms across instances through Redis or Valkey pub/sub.

Two connections: one hears, one publishes, so that a slow reader of one never holds up the
other. Each message is a PUBLISH in the envelope of wsrooms, each room a SUBSCRIBE.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, Unpack

from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms.transports import BrokerLink, BrokerTransport, Command, WsBroadcastTransport
from wsrooms_redis.login import a_replica, is_replica
from wsrooms_redis.options import RedisKeywords, RedisOptions
from wsrooms_redis.target import Address, Target
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
        read.check_tls(self.target.scheme)
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


class _Link(BrokerLink):
    """What both connections have in common: a wire, and pings on it."""

    def __init__(self, transport: RedisTransport) -> None:
        self._transport = transport
        self._exchange = transport.exchange
        self._wire: Wire | None = None
        self._pinged_at = 0.0

    async def connect(self) -> None:
        addresses = self._transport.addresses
        scheme = self._transport.target.scheme
        # A machine that is gone does not even refuse: it must not take the others' time.
        share = self._transport.options.connect_timeout / len(addresses)
        error: TransportError | None = None
        for _ in range(len(addresses)):
            address = addresses[0]
            self._wire = wire = Wire(self._on_reply)
            try:
                async with asyncio.timeout(0.95 * share):  # before the base gives all of it up
                    await wire.open(self._transport.target, address, self._transport.options)
            except BaseException as failure:
                if addresses[0] is address:  # else the other link has found out
                    addresses.rotate(-1)
                if isinstance(failure, TimeoutError):
                    told = f"{scheme}://{address} did not answer within {share:.2g} s"
                    hint = "; does it speak TLS there?" if scheme == "rediss" else ""
                    error = TransportUnavailable(told + hint)
                elif isinstance(failure, TransportUnavailable):
                    error = failure
                else:
                    raise
                await wire.close()
            else:
                self._pinged_at = wire.heard_at
                return
        assert error is not None
        raise error

    async def lost(self) -> TransportError:
        assert self._wire is not None
        why = await self._wire.lost()
        where = self._transport.where
        return why or TransportUnavailable(f"{where} has closed the connection")

    async def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    def abort(self, error: TransportError) -> None:
        if self._wire is not None:
            self._wire.abort(error)

    def tick(self, now: float, late: float) -> None:
        wire = self._wire
        if wire is None:
            return
        wire.look(late)
        interval = self._transport.options.ping_interval
        silent = now - wire.heard_at
        if silent > 2 * interval:
            self.abort(
                TransportUnavailable(f"{self._transport.where} was silent for {silent:.1f} s")
            )
        elif now - self._pinged_at >= interval:
            self._pinged_at = now
            self._ping(wire)

    @abstractmethod
    def _ping(self, wire: Wire) -> None:
        """Ask for a sign of life: a refusal is one too.

        A server that cannot save its data refuses writes, and pings with them, not pub/sub.
        """

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

    def _ping(self, wire: Wire) -> None:
        self._unanswered.append(None)
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
        self._written_at = 0.0

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
        self._written_at = now
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

    def tick(self, now: float, late: float) -> None:
        super().tick(now, late)
        if self._wire is None:
            return
        limit = self._transport.options.confirm_timeout
        self._written_at = max(min(self._written_at + late, now), self._wire.heard_at)
        if self._batch and self._batch[0] is not None and now - self._written_at > limit:
            where = self._transport.where
            self.abort(TransportUnavailable(f"{where} did not confirm within {limit:g} s"))


def unasked(where: str) -> TransportUnavailable:
    """The error of an answer without a question: what belongs to what is unknown then."""
    return TransportUnavailable(f"{where} answered what it was not asked")


def from_url(url: str) -> WsBroadcastTransport:
    """What the core calls for a Redis URL."""
    return RedisTransport(url)
