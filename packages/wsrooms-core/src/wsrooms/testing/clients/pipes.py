"""A pair of sockets in memory: two transports of asyncio that are connected to each other.

They call their protocols as the transports of real sockets do, in the same order, but
nothing leaves the process: bytes are handed over by ``loop.call_soon``, so a run on one
loop is the same run every time. Each way holds a bounded number of bytes, as a kernel's
buffers do; past that the writer's protocol is told to pause.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from enum import Enum, auto
from typing import Any, cast

__all__ = ["SOCKET_BYTES", "Pipe", "PipeTransport"]

SOCKET_BYTES = 262_144
"""Bytes on their way in one direction before a write has to wait."""

READ_BYTES = 262_144
"""Bytes that one ``data_received`` is given at most, as asyncio has it."""

TOO_MANY_WRITES = 5
"""Writes to a lost connection after which asyncio complains; so do we."""


class _Mark(Enum):
    """What may follow the last byte."""

    END = auto()  # the other side has ended its half
    RESET = auto()  # the other side is gone


class PipeTransport(asyncio.Transport):
    """One end of a :class:`Pipe`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipe: Pipe,
        protocol: asyncio.BaseProtocol,
        context: Context,
        extra: dict[str, Any],
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._pipe = pipe
        self._context = context
        self._peer: PipeTransport = self  # set by the pipe
        self._protocol = protocol
        self._connected = False  # connection_made was called, and connection_lost was not
        self._unsent = bytearray()
        self._travelling: deque[tuple[float, bytes | _Mark]] = deque()  # to us, delayed
        self._inbox = bytearray()  # arrived and not read
        self._mark: _Mark | None = None  # what follows the inbox
        self._on_its_way = 0  # bytes to us: travelling and arrived
        self._swallowed = 0  # bytes that we sent after the pipe was cut
        self._closing = False
        self._conn_lost = 0
        self._paused = False
        self._eof = False
        self._gone = False
        self._linger = True
        self._protocol_paused = False
        self._high, self._low = 65_536, 16_384
        self._reading: asyncio.Handle | None = None
        self._writing: asyncio.Handle | None = None
        self._arriving: asyncio.TimerHandle | None = None
        self._soon(self._protocol.connection_made, self)
        self._soon(self._start)

    def _soon(self, callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        return self._loop.call_soon(callback, *args, context=self._context)

    def _start(self) -> None:
        self._connected = True
        self._read_soon()

    # asyncio.Transport: reading

    def is_reading(self) -> bool:
        """Whether bytes that arrive are delivered."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Deliver nothing until :meth:`resume_reading`; the other side feels it in time."""
        if self.is_reading():
            self._paused = True
            self._stop_reading()

    def resume_reading(self) -> None:
        """Deliver again."""
        if self._paused and not self._closing:
            self._paused = False
            self._read_soon()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Call ``protocol`` from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Whom it calls."""
        return self._protocol

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _read_soon(self) -> None:
        if (
            self._reading is None
            and self._connected
            and self.is_reading()
            and (self._inbox or self._mark is not None)
        ):
            self._reading = self._soon(self._read)

    def _read(self) -> None:
        self._reading = None
        if self._conn_lost:
            return
        if not self._inbox:
            mark, self._mark = self._mark, None
            if mark is _Mark.RESET:
                self._fatal(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
            elif mark is _Mark.END:
                self._read_end()
            return
        try:
            self._deliver()
        except Exception as error:  # noqa: BLE001 - as asyncio does: it ends this connection
            self._fatal(error, "Fatal error: protocol.data_received() call failed.")
        self._read_soon()

    def _deliver(self) -> None:
        protocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            buffer = memoryview(cast("bytearray", protocol.get_buffer(-1)))
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            data = self._take(len(buffer))
            buffer[: len(data)] = data
            protocol.buffer_updated(len(data))
        else:
            cast("asyncio.Protocol", protocol).data_received(self._take(READ_BYTES))

    def _take(self, size: int) -> bytes:
        data = bytes(self._inbox[:size])
        del self._inbox[:size]
        self._on_its_way -= len(data)
        self._peer._write_soon()
        return data

    def _read_end(self) -> None:
        try:
            keep_open = cast("asyncio.Protocol", self._protocol).eof_received()
        except Exception as error:  # noqa: BLE001 - as asyncio does: it ends this connection
            self._fatal(error, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keep_open:
            self.close()

    # asyncio.Transport: writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; what does not fit on the way waits here."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data:
            return
        if self._conn_lost:
            if self._conn_lost >= TOO_MANY_WRITES:
                logging.getLogger("asyncio").warning("socket.send() raised exception.")
            self._conn_lost += 1
            return
        sent = 0
        if not self._unsent:
            try:
                sent = self._send(bytes(data))
            except OSError as error:
                self._fatal(error)
                return
            if sent == len(data):
                return
        self._unsent += data[sent:]
        self._pause_protocol()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send all of them, in order."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write_eof(self) -> None:
        """End what this side sends, once all of it is on its way."""
        if self._closing or self._eof:
            return
        self._eof = True
        if not self._unsent:
            self._send_mark(_Mark.END)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait here."""
        return len(self._unsent)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """What :meth:`set_write_buffer_limits` has set: low, high."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say when the protocol is told to pause and to resume writing."""
        if high is None:
            high = 65_536 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._pause_protocol()

    def _pause_protocol(self) -> None:
        if len(self._unsent) > self._high and not self._protocol_paused:
            self._protocol_paused = True
            self._tell("pause_writing")

    def _resume_protocol(self) -> None:
        if self._protocol_paused and len(self._unsent) <= self._low:
            self._protocol_paused = False
            self._tell("resume_writing")

    def _tell(self, method: str) -> None:
        try:
            getattr(self._protocol, method)()
        except Exception as error:  # noqa: BLE001 - as asyncio does
            self._complain(error, f"protocol.{method}() failed")

    def _write_soon(self) -> None:
        if self._unsent and self._writing is None:
            self._writing = self._soon(self._write_rest)

    def _write_rest(self) -> None:
        self._writing = None
        if self._conn_lost or not self._unsent:
            return
        try:
            sent = self._send(bytes(self._unsent))
        except OSError as error:
            self._unsent.clear()
            self._fatal(error)
            return
        del self._unsent[:sent]
        self._resume_protocol()
        if not self._unsent:
            if self._closing:
                self._lose(None)
            elif self._eof:
                self._send_mark(_Mark.END)

    # The way to the other side

    def _send(self, data: bytes) -> int:
        """Put on the way what fits; returns how much that was."""
        pipe, peer = self._pipe, self._peer
        if pipe.is_cut:
            sent = min(len(data), pipe.socket_bytes - self._swallowed)
            self._swallowed += sent
            return sent
        if self._mark is _Mark.RESET:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        if peer._gone:
            # As TCP does: the first write is answered with a reset.
            self._arrive(_Mark.RESET)
            return len(data)
        sent = min(len(data), pipe.socket_bytes - peer._on_its_way)
        if sent:
            peer._on_its_way += sent
            peer._travel(data[:sent])
        return sent

    def _send_mark(self, mark: _Mark) -> None:
        if not self._pipe.is_cut and not self._peer._gone:
            self._peer._travel(mark)

    def _travel(self, what: bytes | _Mark) -> None:
        """Bytes for us are on their way, and take as long as the pipe says."""
        delay = self._pipe.delay()
        if delay <= 0 and not self._travelling:
            self._arrive(what)
            return
        due = self._loop.time() + delay
        self._travelling.append((due, what))  # behind what is slower: nothing overtakes
        if self._arriving is None:
            self._arriving = self._loop.call_at(due, self._arrived, context=self._context)

    def _arrived(self) -> None:
        self._arriving = None
        if self._pipe.is_cut:
            self._travelling.clear()
        now = self._loop.time()
        while self._travelling and self._travelling[0][0] <= now:
            self._arrive(self._travelling.popleft()[1])
        if self._travelling:
            due = self._travelling[0][0]
            self._arriving = self._loop.call_at(due, self._arrived, context=self._context)

    def _arrive(self, what: bytes | _Mark) -> None:
        if self._gone:
            return
        if isinstance(what, bytes):
            self._inbox += what
        else:
            self._mark = what
        self._read_soon()
        if what is _Mark.RESET:
            self._write_soon()  # which now fails, as it should

    @property
    def peer(self) -> PipeTransport:
        """The other end."""
        return self._peer

    @property
    def in_flight(self) -> bool:
        """Whether something on its way to or from this end moves without any help."""
        if self._writing is not None or not (self._connected or self._gone):
            return True
        if self._gone or not self.is_reading() or self._pipe.is_cut:
            return False
        return bool(self._inbox or self._travelling or self._mark is not None)

    # The end

    def is_closing(self) -> bool:
        """Whether it has closed, or is about to."""
        return self._closing

    def close(self) -> None:
        """Close once all that was written is on its way."""
        if self._closing:
            return
        self._closing = True
        self._stop_reading()
        if not self._unsent:
            self._conn_lost += 1
            self._soon(self._lose, None)

    def abort(self) -> None:
        """Close at once; what waits is dropped."""
        self._force(None)

    def reset(self) -> None:
        """Abort, and let the other side get a ConnectionResetError in place of an end."""
        self._linger = False
        self._force(None)

    def _fatal(self, error: BaseException, message: str = "") -> None:
        if not isinstance(error, OSError):
            self._complain(error, message)
        self._force(error)

    def _complain(self, error: BaseException, message: str) -> None:
        told = {
            "message": message,
            "exception": error,
            "transport": self,
            "protocol": self._protocol,
        }
        self._loop.call_exception_handler(told)

    def _force(self, error: BaseException | None) -> None:
        if self._conn_lost:
            return
        self._unsent.clear()
        self._closing = True
        self._stop_reading()
        self._conn_lost += 1
        self._soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        self._conn_lost += 1
        try:
            self._protocol.connection_lost(error)
        finally:
            self._connected = False
            unread = bool(self._inbox)
            self._gone = True
            self._inbox.clear()
            self._travelling.clear()
            self._on_its_way = 0
            for handle in (self._writing, self._arriving):
                if handle is not None:
                    handle.cancel()
            if unread or not self._linger:
                self._send_mark(_Mark.RESET)  # so does a kernel
            elif not self._eof:
                self._send_mark(_Mark.END)

    def __repr__(self) -> str:
        state = "gone" if self._gone else "closing" if self._closing else "open"
        return f"<PipeTransport {self.get_extra_info('sockname')} {state}>"


class Pipe:
    """Two transports, connected.

    Attributes:
        client: The end that connected.
        server: The end that accepted.
        socket_bytes: What each way holds before writes have to wait.
        is_cut: Whether nothing arrives any more, on either side.
    """

    def __init__(
        self,
        client: asyncio.BaseProtocol,
        server: asyncio.BaseProtocol,
        *,
        client_context: Context | None = None,
        server_context: Context | None = None,
        socket_bytes: int = SOCKET_BYTES,
        latency: float | Callable[[], float] = 0.0,
        peername: tuple[str, int] = ("127.0.0.1", 50_000),
        sockname: tuple[str, int] = ("127.0.0.1", 8000),
    ) -> None:
        """Connect two protocols, on the running loop; they hear of it in its next turn.

        Args:
            client: The protocol of the end that connects.
            server: That of the end that accepts.
            client_context: What the callbacks of ``client`` run in; a copy of the current one.
            server_context: Likewise of ``server``.
            socket_bytes: What each way holds before writes have to wait.
            latency: Seconds that bytes travel, or what says so for each write;
                nothing overtakes.
            peername: The client's address.
            sockname: The server's.
        """
        loop = asyncio.get_running_loop()
        self.socket_bytes = socket_bytes
        self.is_cut: bool = False
        self.latency = latency
        self.client: PipeTransport = PipeTransport(
            loop,
            self,
            client,
            client_context or copy_context(),
            {"sockname": peername, "peername": sockname},
        )
        self.server: PipeTransport = PipeTransport(
            loop,
            self,
            server,
            server_context or copy_context(),
            {"sockname": sockname, "peername": peername},
        )
        self.client._peer, self.server._peer = self.server, self.client

    def delay(self) -> float:
        """Seconds that what is written now will travel."""
        return self.latency if isinstance(self.latency, int | float) else self.latency()

    def cut(self) -> None:
        """Let nothing arrive any more and tell nobody, as when a cable is pulled.

        Writes go on until the buffers are full; not even the end of one side is seen
        by the other.
        """
        self.is_cut = True
