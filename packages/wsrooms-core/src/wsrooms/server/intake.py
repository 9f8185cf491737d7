"""The half of a socket that reads: bytes in, whole messages out, no faster than they are handled.

Frames that clients send most are read here (``frames.py``), everything else by
``websockets.server.ServerProtocol``, frame by frame, so that both agree where one
ends. What cannot be handled now waits as it came, and meanwhile the socket is not read.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, cast

from websockets.frames import CloseCode, Frame, Opcode

from wsrooms.server.frames import LONGEST_PLAIN, PLAIN, close_is_in, frame_size, unmask

if TYPE_CHECKING:
    from websockets.server import ServerProtocol

    from wsrooms.connection import WsConnection
    from wsrooms.sendbuffer import SendBuffer
    from wsrooms.server.listener import Server, SessionLike

__all__ = ["Intake"]

SLICE = 4096
"""Bytes after our last word that the library parses at a time: about 700 smallest frames."""

TURN_MESSAGES = 64
"""Messages of one connection that are handled before the others get a turn."""

UNASKED_PONG = b"\x8a\x80\0\0\0\0"
"""A frame that may come at any time and means nothing."""


class Intake(asyncio.Protocol, ABC):
    """Reads one socket.

    Attributes:
        buffer: What goes out; a full one stops the reading, since replies go there.
        connection: The client, once its handshake is done.
        heard: Whether anything came since the heartbeat last looked.
    """

    __slots__ = (
        "_head",
        "_inbox",
        "_inbox_at",
        "_leaving",
        "_longest_plain",
        "_no_close",
        "_partial",
        "_partial_text",
        "_protocol",
        "_pumping",
        "_reading_paused",
        "_rest",
        "_server",
        "_session",
        "_transport",
        "buffer",
        "connection",
        "heard",
    )

    _transport: asyncio.Transport
    buffer: SendBuffer

    def __init__(self, server: Server, protocol: ServerProtocol, hard_limit: int) -> None:
        """Read for ``server``; frames over ``hard_limit`` bytes are for the library to refuse."""
        self._server = server
        self._protocol = protocol
        self._longest_plain = min(hard_limit, LONGEST_PLAIN)
        self.connection: WsConnection | None = None
        self._session: SessionLike | None = None
        self._inbox: bytes | None = None  # read, and from _inbox_at on not handled
        self._inbox_at = 0
        self._head = b""  # of a frame that has said too little yet to be told apart
        self._rest = 0  # bytes of a frame that the library has begun to read
        self._leaving = False  # a CLOSE is in the inbox
        self._no_close = False  # none is: it was looked for already
        self._partial: bytearray | None = None  # of a fragmented message
        self._partial_text = False
        self._reading_paused = False
        self._pumping = False
        self.heard: bool = False

    @property
    def transport(self) -> asyncio.Transport:
        """The socket."""
        return self._transport

    # What the other half does

    @abstractmethod
    def _receive_handshake(self, data: bytes) -> bytes:
        """Take bytes of the first request; returns what was read behind a handshake."""

    @abstractmethod
    def _say_last_words(self, writes: list[bytes]) -> None:
        """The client has sent CLOSE, or broken the protocol; ``writes`` is the answer."""

    @abstractmethod
    def _fail(self, code: int, reason: str) -> None:
        """The client has sent what ends its connection with ``code``."""

    @abstractmethod
    def _broken(self, error: BaseException) -> None:
        """A mistake that is not the client's."""

    # Bytes in

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self.heard = True
        self._no_close = False
        if self._inbox is not None:
            # The pump is on its way, or waits for ready(); some transports still deliver
            # what they hold after pause_reading().
            self._inbox = self._inbox[self._inbox_at :] + data
            self._inbox_at = 0
            return
        try:
            self._read(data, 0)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - see _broken
            self._broken(error)

    def _read(self, data: bytes, at: int) -> None:
        """Handle ``data`` from ``at`` on, as far as the session and this turn of the loop allow.

        A message is handled before the frame behind it is looked at. What comes after
        the handler has closed the connection is read for the client's CLOSE alone.
        """
        if self.connection is None:
            data = self._receive_handshake(data)
        elif self._head:
            data, self._head = self._head + data, b""
        buffer = self.buffer
        turns = self._server.instance.turns
        clock = turns.clock
        flusher = self._server.flusher
        longest = self._longest_plain
        between = not self._rest and self._partial is None  # two messages, so that one may begin
        size = len(data)
        handled = 0
        until = 0.0
        while at < size:
            session = self._session
            if handled:
                if not until:
                    until = turns.until()
                if handled >= TURN_MESSAGES or flusher.pressed or clock() > until:
                    self._wait(data, at)
                    self._pump_later()
                    return
            handled += 1
            if session is None:
                self._read_without_session(data[at : at + SLICE])
                at += SLICE
                continue
            # _stalled(), written out: it runs for every message, and two calls would double it.
            if (session.full or (buffer.blocked and buffer.full)) and not self._leaving:
                # Looked for once in what was read, not once for each message that has to wait.
                if self._no_close or not close_is_in(data, at + self._rest):
                    self._no_close = True
                    self._wait(data, at)
                    self._pause_reading()
                    return
                # The client has sent CLOSE: what came before it goes to the session, a read
                # at most, so that slow handlers do not hold up the end.
                self._leaving = True
                if buffer.full:
                    buffer.close()  # nobody will read these replies
            if between and data[at] == PLAIN and at + 8 < size:
                length = data[at + 1]
                if 0x80 <= length < 0xFE:
                    body = at + 6
                    end = at + length - 0x7A  # of which 0x80 says that it is masked
                elif length == 0xFE:
                    body = at + 8
                    end = body + (data[at + 2] << 8 | data[at + 3])
                else:  # not masked, or a length of eight bytes
                    end = size + 1
                    body = 0
                if end <= size and end - body <= longest:
                    at = end
                    payload = unmask(data[body:end], data[body - 4 : body])
                    if payload.isascii():
                        session.receive(payload, True)
                    else:
                        self._receive_text(payload)
                    continue
            at = self._read_by_library(data, at)
            between = not self._rest and self._partial is None
        session = self._session
        if session is not None and session.full:
            self._pause_reading()

    def _wait(self, data: bytes, at: int) -> None:
        """Put back what could not be handled now."""
        self._inbox = data
        self._inbox_at = at

    def _read_by_library(self, data: bytes, at: int) -> int:
        """Hand over the frame at ``at``, or what has come of it; returns where that ends."""
        left = self._rest or frame_size(data, at)
        if not left:
            self._head = data[at:]
            return len(data)
        end = min(at + left, len(data))
        self._rest = left - (end - at)
        protocol = self._protocol
        protocol.receive_data(data[at:end])
        events = protocol.events_received()
        writes = protocol.data_to_send()
        if protocol.eof_sent:
            self._say_last_words(writes)
            return end
        for write in writes:
            self.buffer.keep(write)
        large = False
        for event in events:
            frame = cast("Frame", event)
            large = large or len(frame.data) > SLICE
            self._handle(frame)
        if large and not self._rest and self._session is not None:
            # The library's parser refers to the last frame for as long as it waits for another.
            protocol.receive_data(UNASKED_PONG)
            protocol.events_received()
        return end

    def _read_without_session(self, data: bytes) -> None:
        """After our last word, or where the first request was no handshake."""
        protocol = self._protocol
        over = protocol.eof_sent
        if over:  # only the end of the socket is waited for
            return
        protocol.receive_data(data)
        protocol.events_received()
        protocol.data_to_send()
        if protocol.eof_sent:  # the client's CLOSE came, or what is no frame
            self._transport.close()

    def _pump(self) -> None:
        """Go on with what had to wait."""
        data = self._inbox
        if data is not None:
            self._inbox = None
            self._read(data, self._inbox_at)
        if self._inbox is None and self._reading_paused and not self._stalled():
            self._resume_reading()

    def _pump_later(self) -> None:
        self._pause_reading()
        if not self._pumping:
            self._pumping = True
            self._server.instance.turns.queue(self.pump)

    def pump(self) -> None:
        """Take a turn."""
        self._pumping = False
        try:
            self._pump()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - see _broken
            self._broken(error)

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self.heard = True  # a deadline that ran while nothing could be heard is void
            self._transport.resume_reading()

    def _stalled(self) -> bool:
        """Whether the next message has to wait: for handlers, or for the client to read replies."""
        session = self._session
        return (session is not None and session.full) or self.buffer.full

    def ready(self) -> None:
        """The session can take messages again."""
        if self._reading_paused:
            self._pump_later()

    def _handle(self, frame: Frame) -> None:
        """One frame of an open connection, as the library read it."""
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._partial_text = opcode is Opcode.TEXT
            self._partial = bytearray()
        elif opcode is not Opcode.CONT or self._partial is None:
            return
        self._partial += frame.data
        if frame.fin:
            whole, self._partial = bytes(self._partial), None
            if self._partial_text:
                self._receive_text(whole)
            else:
                self._receive(whole, False)

    def _receive_text(self, payload: bytes) -> None:
        # Checked here and once for all: what is passed on undecoded must not
        # carry a byte that closes the connections of everybody else.
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            self._fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
        else:
            self._receive(payload, True)

    def _receive(self, payload: bytes, text: bool) -> None:
        session = self._session
        if session is not None:
            session.receive(payload, text)
