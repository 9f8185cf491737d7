"""One connection to Redis: redis-py connects and logs in, then its bytes pass through here.

redis-py's own reading costs eight times as much a message, so its stream is replaced by a
protocol over hiredis once the login is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import hiredis

from wsrooms.errors import (
    AuthenticationFailed,
    PermissionDenied,
    TransportError,
    TransportUnavailable,
)
from wsrooms.transports import Address, BrokerWire, shown
from wsrooms_redis.login import left, log_in, made, primary_of, transport_of

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

    from wsrooms_redis.target import Target

__all__ = ["Refusal", "Wire", "pack", "refusal"]

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


class Wire(BrokerWire):
    """A logged-in connection, which hiredis reads.

    Attributes:
        asks_role: Whether ``ROLE`` tells if the server is made a replica.
    """

    def __init__(self, on_reply: Callable[[Any], None]) -> None:
        """Hand each reply to ``on_reply``; what that raises ends the connection."""
        super().__init__()
        self.asks_role: bool = False
        self._on_reply = on_reply
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=NOTHING)
        self._connection: AbstractConnection | None = None
        self._unread = b""

    async def open(self, target: Target, address: Address) -> None:
        """Connect to the server at ``address``, or to the one that this sentinel names.

        Raises:
            AuthenticationFailed: The login or the certificate was refused.
            TransportUnavailable: Anything else that redis-py or the system says.
        """
        if target.service:
            address = await primary_of(target, address)
        self.where: str = shown(target.scheme, address)
        connection = self._connection = made(target, address)
        self.asks_role = await log_in(connection, self.where)
        self.take_over(transport_of(connection))

    async def close(self) -> None:
        """Leave nothing of it; also of one that was never opened, or half."""
        await super().close()
        connection, self._connection = self._connection, None
        if connection is not None:
            await left(connection)

    def _keep(self, data: bytes) -> None:
        self._unread += data

    def _hand_on(self, until: float) -> bool:
        gets, on_reply = self._reader.gets, self._on_reply
        unread, at = self._unread, 0
        try:
            while not self._ended:
                reply = gets()
                if reply is not NOTHING:
                    on_reply(reply)
                elif at >= len(unread):
                    return True
                elif self.now > until:
                    return False
                else:
                    self._reader.feed(unread, at, min(PIECE, len(unread) - at))
                    at += PIECE
        except hiredis.ProtocolError as error:
            told = f"{self.where}: what answers there is not Redis: {error}"
            raise TransportUnavailable(told) from None
        finally:
            self._unread = unread[at:]
        return True


def refusal(error: Refusal, channel: str, where: str) -> TransportError:
    """What to tell of an error that Redis answered about ``channel``."""
    if error.code == "NOPERM":
        what = f" {channel}" if channel else ""
        return PermissionDenied(channel, f"{where} denies{what}: {error}")
    if error.code in ("NOAUTH", "WRONGPASS"):
        return AuthenticationFailed(f"{where} wants a login: {error}")
    return TransportUnavailable(f"{where} answered: {error}")
