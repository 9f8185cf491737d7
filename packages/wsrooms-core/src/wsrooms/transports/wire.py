"""One connection to a broker once a client library has connected and logged in.

The libraries read slowly, reconnect by themselves and never notice a dead peer, so their
stream gives way to one of these. Nothing here waits: what arrives is handed on, and the
end is told once.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from wsrooms.errors import TransportError, TransportUnavailable

__all__ = ["BrokerWire"]

READ = 64 * 1024
"""Bytes that are read at a time, at most."""

SLICE = 0.005
"""Seconds of reading after which the loop gets a turn."""


class BrokerWire(ABC, asyncio.BufferedProtocol):
    """A logged-in connection.

    Attributes:
        where: The server, for errors; who connects may know it better than the link.
        heard_at: The loop's time at which the peer last showed that it is there: anything
            arrived, or :meth:`look` saw it take bytes.
        written_at: The loop's time at which the oldest that is not confirmed was written.
    """

    def __init__(self) -> None:
        """Prepare a connection; :meth:`take_over` starts it."""
        self.where: str = "the broker"
        self.heard_at: float = 0.0
        self.written_at: float = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._why: TransportError | None = None
        self._reading = False
        self._ended = False
        self._unsent = 0
        self._buffer = memoryview(b"")  # none while there is nothing to read

    def take_over(self, transport: asyncio.Transport, unread: bytes = b"") -> None:
        """Go on with ``transport``, of which somebody else has read ``unread`` already."""
        self._transport = transport
        # For a plain protocol asyncio allocates 256 KiB for each read, which the C library
        # may map and unmap: two page faults and half of what a message costs that comes alone.
        self._buffer = memoryview(bytearray(READ))
        self.heard_at = self.written_at = self._loop.time()
        transport.set_protocol(self)
        if not transport.is_reading() and not transport.is_closing():
            transport.resume_reading()
        if unread:
            self._keep(unread)
        self._read()
        if transport.is_closing():  # it ended before anybody was there to be told
            self._end()

    @abstractmethod
    def _keep(self, data: bytes) -> None:
        """Keep what has arrived until :meth:`_hand_on`."""

    @abstractmethod
    def _hand_on(self, until: float) -> bool:
        """Hand on all that is complete, or until the loop's time is ``until``.

        Returns:
            Whether there was time for all of it.

        Raises:
            TransportError: It makes no sense: the connection ends with that.
        """

    @property
    def ended(self) -> bool:
        """Whether nothing will come any more."""
        return self._ended

    @property
    def now(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def write(self, data: bytes) -> None:
        """Send ``data``, unless the connection is at its end."""
        if self._transport is not None and not self._ended:
            self._transport.write(data)

    def look(self, late: float) -> None:
        """See whether the peer takes what is written: on a slow line that may take long."""
        # What arrived while nobody looked was dated as it was read: no credit for that.
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
        """Leave nothing of it, without a wait for the peer; also of one that never began."""
        self._end()
        if self._transport is not None:
            # With unsent bytes and a silent peer a mere close would wait for ever.
            self._transport.abort()

    def _end(self) -> None:
        self._ended = True
        if not self._gone.done():
            self._gone.set_result(None)

    # asyncio.BufferedProtocol

    def connection_lost(self, exc: Exception | None) -> None:
        """The system has closed it."""
        if self._why is None and exc is not None:
            self._why = TransportUnavailable(f"{self.where}: the connection was lost: {exc}")
        self._end()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go; :meth:`buffer_updated` follows before anything else."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have arrived."""
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        self.heard_at = self._loop.time()
        self._keep(data)
        if self._reading:
            self._read()

    def _read(self) -> None:
        """Hand on what arrived, and go on in the loop's next turn where that takes long."""
        self._reading = True
        if self._ended:
            return
        try:
            if not self._hand_on(self._loop.time() + SLICE):
                self._pause()
        except TransportError as error:
            self.abort(error)

    def _pause(self) -> None:
        self._reading = False
        assert self._transport is not None
        self._transport.pause_reading()
        self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._read()
        if self._reading and not self._ended and self._transport is not None:
            self._transport.resume_reading()
