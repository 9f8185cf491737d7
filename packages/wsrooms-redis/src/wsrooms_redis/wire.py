"""One connection to Redis: redis-py connects and logs in, then its bytes pass through here.

redis-py's own reading costs eight times as much a message, reconnects by itself and never
notices a dead peer, so its stream is replaced by a protocol over hiredis once the login is
done. Nothing here waits: what arrives is handed on, and the end is told once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import hiredis

from wsrooms.errors import (
    AuthenticationFailed,
    PermissionDenied,
    TransportError,
    TransportUnavailable,
)
from wsrooms_redis.login import left, log_in, made, primary_of, transport_of

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

    from wsrooms_redis.options import RedisOptions
    from wsrooms_redis.target import Address, Target

__all__ = ["Refusal", "Wire", "pack", "refusal"]

SLICE = 0.005
"""Seconds of reading after which the loop gets a turn."""

PIECE = 8 * 1024
"""Bytes for hiredis at a time: it moves all that it holds for each kilobyte that it hands out."""

NOTHING = object()


class Refusal(Exception):
    """An error that Redis answered; ``code`` is its first word, such as NOPERM."""

    def __init__(self, text: str) -> None:
        self.code: str = text.partition(" ")[0]
        super().__init__(text)


def pack(*words: str | bytes) -> bytes:
    """A command as Redis reads it."""
    stubless: Any = words  # hiredis's stub knows tuples of one word only
    packed: bytes = hiredis.pack_command(stubless)
    return packed


class Wire(asyncio.Protocol):
    """A logged-in connection.

    Attributes:
        heard_at: The loop's time at which the peer last showed that it is there: anything
            arrived, or :meth:`look` saw it take bytes.
        asks_role: Whether ``ROLE`` tells if the server is made a replica.
    """

    def __init__(self, on_reply: Callable[[Any], None]) -> None:
        """Hand each reply to ``on_reply``; what that raises ends the connection."""
        self.heard_at: float = 0.0
        self.asks_role: bool = False
        self._on_reply = on_reply
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=NOTHING)
        self._loop = asyncio.get_running_loop()
        self._connection: AbstractConnection | None = None
        self._transport: asyncio.Transport | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._why: TransportError | None = None
        self._reading = False
        self._ended = False
        self._unsent = 0
        self._unread = b""

    async def open(self, target: Target, address: Address, options: RedisOptions) -> None:
        """Connect to the server at ``address``, or to the one that this sentinel names.

        Raises:
            AuthenticationFailed: The login or the certificate was refused.
            TransportUnavailable: Anything else that redis-py or the system says.
        """
        if target.service:
            address = await primary_of(target, address, options)
        connection = self._connection = made(target, address, options)
        self.asks_role = await log_in(connection, f"{target.scheme}://{address}")
        transport = self._transport = transport_of(connection)
        self.heard_at = self._loop.time()
        transport.set_protocol(self)
        self._reading = True
        if transport.is_closing():  # it ended before anybody was there to be told
            self._end()

    @property
    def now(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def write(self, data: bytes) -> None:
        """Send ``data``, unless the connection is at its end."""
        if self._transport is not None and not self._ended:
            self._transport.write(data)

    def look(self, late: float) -> None:
        """See whether the peer takes what is written: on a slow line that may take long.

        Args:
            late: Seconds by which this look is late; a peer is not to blame for them.
        """
        # What came while nobody looked was dated as it was read: no credit for that.
        self.heard_at = min(self.heard_at + late, self._loop.time())
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        if unsent < self._unsent:
            self.heard_at = self._loop.time()
        self._unsent = unsent

    def abort(self, why: TransportError) -> None:
        """End it at once, whatever is unsent, because of ``why``."""
        if self._why is None:
            self._why = why
        if self._transport is not None:
            self._transport.abort()
        self._end()

    async def lost(self) -> TransportError | None:
        """Wait for the end; why, if that was said."""
        await asyncio.shield(self._gone)
        return self._why

    async def close(self) -> None:
        """Leave nothing of it; also of one that was never opened, or half."""
        self._end()
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        await left(connection)

    def _end(self) -> None:
        self._ended = True
        if not self._gone.done():
            self._gone.set_result(None)

    # asyncio.Protocol

    def connection_lost(self, exc: Exception | None) -> None:
        """The system has closed it."""
        if self._why is None and exc is not None:
            self._why = TransportUnavailable(f"the connection was lost: {exc}")
        self._end()

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        self.heard_at = self._loop.time()
        self._unread += data
        if self._reading:
            self._read()

    def _read(self) -> None:
        """Hand replies on, and go on in the loop's next turn where that takes long."""
        self._reading = True
        gets, on_reply = self._reader.gets, self._on_reply
        unread, at = self._unread, 0
        until = self._loop.time() + SLICE
        try:
            while not self._ended:
                reply = gets()
                if reply is not NOTHING:
                    on_reply(reply)
                elif at >= len(unread):
                    break
                elif self._loop.time() > until:
                    self._pause()
                    break
                else:
                    self._reader.feed(unread, at, min(PIECE, len(unread) - at))
                    at += PIECE
        except TransportError as error:
            self.abort(error)
        except hiredis.ProtocolError as error:
            self.abort(TransportUnavailable(f"what answers there is not Redis: {error}"))
        self._unread = unread[at:]

    def _pause(self) -> None:
        self._reading = False
        assert self._transport is not None
        self._transport.pause_reading()
        self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._read()
        if self._reading and not self._ended and self._transport is not None:
            self._transport.resume_reading()


def refusal(error: Refusal, channel: str, where: str) -> TransportError:
    """What to tell of an error that Redis answered about ``channel``."""
    if error.code == "NOPERM":
        what = f" {channel}" if channel else ""
        return PermissionDenied(channel, f"{where} denies{what}: {error}")
    if error.code in ("NOAUTH", "WRONGPASS"):
        return AuthenticationFailed(f"{where} wants a login: {error}")
    return TransportUnavailable(f"{where} answered: {error}")
