"""The same, first class: it connects again and keeps the whole contract, by BrokerTransport."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms.transports import BrokerLink, BrokerOptions, BrokerTransport, WsBroadcastTransport

LIMIT = 16 * 1024 * 1024  # of a line


# --8<-- [start:transport]
class LineBrokerTransport(BrokerTransport):
    """``line://host:port``, with the options of every transport of a broker."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url, self.given = url, options
        parts = urlsplit(url)
        self.address = parts.hostname or "localhost", parts.port or 7000
        super().__init__(
            BrokerOptions.read(parts.query, options),
            where="line://{}:{}".format(*self.address),  # for logs and errors: no password
            max_payload=1024 * 1024,
        )

    def replica(self) -> LineBrokerTransport:
        return LineBrokerTransport(self.url, **self.given)

    def _make_links(self) -> Sequence[BrokerLink]:
        return [LineLink(self)]  # or several: the one that hears first, that publishes last


# --8<-- [end:transport]


class LineLink(BrokerLink):
    """The connection, for as long as it lives, and again after that."""

    def __init__(self, transport: LineBrokerTransport) -> None:
        self._transport = transport
        self._exchange = transport.exchange
        self._options = transport.options
        self._writer: asyncio.StreamWriter | None = None

    # --8<-- [start:connection]
    async def connect(self) -> None:
        where = self._transport.where
        try:
            streams = await asyncio.open_connection(*self._transport.address, limit=LIMIT)
        except OSError as error:
            raise TransportUnavailable(f"{where} cannot be reached: {error}") from None
        self._reader, self._writer = streams
        self._why: TransportError = TransportUnavailable(f"{where} has closed the connection")
        self._unanswered: deque[list[str]] = deque()
        self._flying = 0  # of these, how many were published
        self._heard_at = self._pinged_at = self._written_at = asyncio.get_running_loop().time()

    async def lost(self) -> TransportError:
        try:
            async for line in self._reader:
                self._heard_at = asyncio.get_running_loop().time()
                self._on_line(json.loads(line))
        except OSError as error:
            return TransportUnavailable(f"{self._transport.where}: {error}")
        return self._why

    def abort(self, error: TransportError) -> None:
        if self._writer is not None:
            self._why = error
            self._writer.transport.abort()  # a mere close would wait for a peer that is silent

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()

    # --8<-- [end:connection]

    # --8<-- [start:traffic]
    def wake(self) -> None:
        """Send the commands that bring the broker nearer to the wishes, then one batch."""
        now = asyncio.get_running_loop().time()
        for command in self._exchange.wishes.commands(now):
            self._send([command.kind, channel] for channel in command.channels)
        if self._flying or not self._transport.may_publish:
            return  # never two batches on the way: what is sent again would overtake
        batch = self._exchange.outbox.batch(now)
        self._flying, self._written_at = len(batch), now
        self._send(["publish", each.channel, each.payload.decode()] for each in batch)

    def _on_line(self, line: list[str]) -> None:
        if line[0] == "message":
            _, channel, text = line
            data = text.encode("utf-8", "surrogateescape")  # whatever others may send
            self._exchange.received(channel, data, self._heard_at)
            return
        match self._unanswered.popleft():
            case ["subscribe" | "unsubscribe", channel]:
                self._exchange.wishes.answered(channel)
                self._transport.answered()
            case ["publish", *_]:
                self._flying -= 1
                self._exchange.outbox.confirm()
                if not self._flying and self._exchange.outbox.waiting:
                    self.wake()
            case _:
                pass  # a ping: that something was heard is all that it is for

    # --8<-- [end:traffic]

    def _send(self, commands: Iterable[list[str]]) -> None:
        lines: list[bytes] = []
        for command in commands:
            self._unanswered.append(command)
            lines.append(json.dumps(command).encode() + b"\n")
        if lines and self._writer is not None:
            self._writer.write(b"".join(lines))

    # --8<-- [start:tick]
    def tick(self, now: float, late: float) -> None:
        """Ping, and give up what does not answer; what was late here is nobody's silence."""
        self._heard_at += late
        self._written_at += late
        if now - self._heard_at > 2 * self._options.ping_interval:
            self.abort(TransportUnavailable(f"{self._transport.where} is silent"))
        elif self._flying and now - self._written_at > self._options.confirm_timeout:
            self.abort(TransportUnavailable(f"{self._transport.where} does not confirm"))
        elif now - self._pinged_at >= self._options.ping_interval:
            self._pinged_at = now
            self._send([["ping"]])

    # --8<-- [end:tick]


if TYPE_CHECKING:
    _: type[WsBroadcastTransport] = LineBrokerTransport
