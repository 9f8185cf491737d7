"""One socket: frames in, flow control both ways, closing.

An ``asyncio.Protocol`` over the Sans-I/O layer of ``websockets``. It hands whole
messages to a session, and writes what the connection's ``SendBuffer`` gives it;
what messages mean is the session's affair.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State

from wsrooms.connection import SLOW_CLIENT, WsConnection
from wsrooms.sendbuffer import SendBuffer
from wsrooms.server.upgrade import BAD_REQUEST, ServerSettings, answer, new_protocol, read_request
from wsrooms.wire import cut_reason

if TYPE_CHECKING:
    from websockets.http11 import Request

    from wsrooms.handshake import WsRequest
    from wsrooms.server.listener import Server

__all__ = ["ServerConnection", "SessionLike"]

HANDSHAKE_TIMEOUT = 10.0
"""Seconds for a client to send its whole handshake."""

CLOSE_TIMEOUT = 2.0
"""Seconds for a client to answer our CLOSE before the socket is cut."""

SLICE = 4096
"""Bytes parsed at a time, so that one read cannot hold the loop: about 700 smallest frames."""

TURN_MESSAGES = 64
TURN_SECONDS = 0.005

HARD_LIMIT = 16
"""A message of so many times max_message_size is refused by its length, before it is held."""


class SessionLike(Protocol):
    """What the server needs of a session."""

    @property
    def full(self) -> bool:
        """Whether the socket should not be read."""
        ...

    def open(self) -> None:
        """The handshake is done."""
        ...

    def receive(self, payload: bytes, *, text: bool) -> None:
        """A whole message came."""
        ...

    def end(self) -> None:
        """The connection has closed."""
        ...


class ServerConnection(asyncio.Protocol):
    """One socket."""

    __slots__ = (
        "_close_timer",
        "_events",
        "_handshake_timer",
        "_inbox",
        "_last_words",
        "_partial",
        "_partial_text",
        "_protocol",
        "_pumping",
        "_reading_paused",
        "_server",
        "_session",
        "_settings",
        "_transport",
        "buffer",
        "connection",
        "heard",
    )

    _transport: asyncio.Transport
    buffer: SendBuffer

    def __init__(self, server: Server, settings: ServerSettings) -> None:
        self._server = server
        self._settings = settings
        self._protocol = new_protocol(settings, server.instance.max_message_size * HARD_LIMIT)
        self.connection: WsConnection | None = None
        self._session: SessionLike | None = None
        self._handshake_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._inbox: bytearray | None = None  # read and not parsed
        self._events: deque[Frame] | None = None  # parsed and not handled
        self._last_words: list[bytes] | None = None  # our CLOSE, behind the events before it
        self._partial: bytearray | None = None  # of a fragmented message
        self._partial_text = False
        self._reading_paused = False
        self._pumping = False
        self.heard = False
        """Whether anything came since the heartbeat last looked."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; it has HANDSHAKE_TIMEOUT seconds to say what it wants."""
        server = self._server
        self._transport = cast("asyncio.Transport", transport)
        limits = server.instance.limits
        self.buffer = SendBuffer(
            server.flusher,
            self._write,
            self._slow,
            limit_bytes=limits.outbox_bytes,
            limit_messages=limits.outbox_messages,
            policy=limits.slow_client,
        )
        server.opened(self)
        if server.closing:
            self.abort()
            return
        self._handshake_timer = server.loop.call_later(HANDSHAKE_TIMEOUT, self._handshake_late)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self.heard = True
        if self._inbox or self._events:
            self._inbox = (self._inbox or bytearray()) + data
            return
        if len(data) <= SLICE:
            self._parse(data)
        else:
            self._inbox = bytearray(data)
        if self._events or self._inbox or self._last_words:
            self._pump()

    def eof_received(self) -> bool:
        """The client will send no more; what it is owed still goes out."""
        self.buffer.flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        server = self._server
        server.lost(self)
        self._cancel_timers()
        self.buffer.close()
        self._inbox = self._events = self._partial = self._last_words = None
        if server.heartbeat is not None:
            server.heartbeat.discard(self)
        if self.connection is not None:
            self.connection.end(CloseCode.ABNORMAL_CLOSURE, "")
            self._end_session()

    def pause_writing(self) -> None:
        """The client reads too slowly for what was written."""
        self.buffer.block()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.buffer.unblock()
        if self._reading_paused:
            self._pump()

    # Bytes in

    def _parse(self, data: bytes) -> None:
        """Parse some bytes; the frames in them are handled by the pump or at once."""
        protocol = self._protocol
        if protocol.eof_sent:  # it is over, and only the end of the socket is waited for
            return
        protocol.receive_data(data)
        events = protocol.events_received()
        if self.connection is None:
            self._receive_handshake(events)
            return
        writes = protocol.data_to_send()
        if protocol.state is not State.OPEN:
            self._last_words = writes
        else:
            for write in writes:
                self.buffer.keep(write)
        if len(events) == 1 and not self._events and not self._stalled():
            self._handle(cast("Frame", events[0]))
        elif events:
            if self._events is None:
                self._events = deque()
            self._events.extend(cast("list[Frame]", events))

    def _pump(self) -> None:
        """Handle what has been read, as far as the session and this turn of the loop allow."""
        self._pumping = False
        loop = self._server.loop
        until = loop.time() + TURN_SECONDS
        handled = 0
        while True:
            while self._events:
                if self._stalled():
                    self._pause_reading()
                    return
                if handled >= TURN_MESSAGES or loop.time() > until:
                    self._pause_reading()
                    self._pump_later()
                    return
                self._handle(self._events.popleft())
                handled += 1
            if self._last_words is not None:
                self._say_last_words(self._last_words)
                return
            if not self._inbox:
                break
            if handled and loop.time() > until:
                self._pause_reading()
                self._pump_later()
                return
            piece = bytes(self._inbox[:SLICE])
            del self._inbox[:SLICE]
            handled += 1
            self._parse(piece)
        self._inbox = None
        if self._reading_paused and not self._stalled() and not self.buffer.closed:
            self._reading_paused = False
            self.heard = True  # a deadline that ran while nothing could be heard is void
            self._transport.resume_reading()

    def _pump_later(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._server.loop.call_soon(self._pump)

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _stalled(self) -> bool:
        """Whether the next message has to wait: for handlers, or for the client to read replies."""
        session = self._session
        return (session is not None and session.full) or self.buffer.full

    def ready(self) -> None:
        """The session can take messages again."""
        if self._reading_paused:
            self._pump_later()

    def _handle(self, frame: Frame) -> None:
        """One frame of an open connection."""
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            text = opcode is Opcode.TEXT
            if frame.fin:
                self._receive(bytes(frame.data), text=text)
            else:
                self._partial = bytearray(frame.data)
                self._partial_text = text
        elif opcode is Opcode.CONT and self._partial is not None:
            self._partial += frame.data
            if frame.fin:
                whole, self._partial = bytes(self._partial), None
                self._receive(whole, text=self._partial_text)

    def _receive(self, payload: bytes, *, text: bool) -> None:
        if text and not payload.isascii():
            # Checked here and once for all: what is passed on undecoded must not
            # carry a byte that closes the connections of everybody else.
            try:
                payload.decode()
            except UnicodeDecodeError as error:
                self._fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
                return
        session = self._session
        if session is not None:
            session.receive(payload, text=text)
            if session.full:
                self._pause_reading()

    # Bytes out

    def _write(self, data: bytes, frames: int) -> None:
        counters = self._server.instance.counters
        counters.writes += 1
        counters.messages_out += frames
        self._transport.write(data)

    def _slow(self, dropped: int) -> None:
        counters = self._server.instance.counters
        if dropped:
            counters.dropped_slow += dropped
        else:
            counters.slow_clients += 1
            self.close(SLOW_CLIENT, "slow client")

    # Closing

    def close(self, code: int, reason: str) -> None:
        """End the connection: flush, CLOSE, and the socket after CLOSE_TIMEOUT at the latest."""
        connection = self.connection
        if connection is None or connection.closed:
            return
        connection.end(code, reason)
        protocol = self._protocol
        if protocol.state is State.OPEN:
            protocol.send_close(code, reason)
        self._finish(protocol.data_to_send())

    def _fail(self, code: int, reason: str) -> None:
        """The client broke the protocol: say so and hang up."""
        connection = self.connection
        if connection is None or connection.closed:
            return
        reason = cut_reason(reason)
        connection.end(code, reason)
        self._protocol.fail(code, reason)
        self._finish(self._protocol.data_to_send())

    def _say_last_words(self, writes: list[bytes]) -> None:
        """The client has sent CLOSE, or broken the protocol; all before that is handled."""
        self._last_words = None
        connection = self.connection
        protocol = self._protocol
        if connection is not None and not connection.closed:
            ours, theirs = protocol.close_sent, protocol.close_rcvd
            if theirs is not None and protocol.parser_exc is None:
                connection.end(theirs.code, theirs.reason)
            elif ours is not None:
                connection.end(ours.code, ours.reason)
        self._finish(writes)

    def _finish(self, writes: list[bytes]) -> None:
        """Write what is owed and ``writes``, then see the socket out."""
        buffer, transport = self.buffer, self._transport
        blocked = buffer.blocked
        buffer.flush()
        blocked = blocked or buffer.blocked
        buffer.close()
        self._inbox = self._events = self._partial = None
        if blocked:
            # The client does not read: it would not see a CLOSE before everything else.
            transport.abort()
        else:
            hang_up = False
            for write in writes:
                if write:
                    transport.write(write)
                else:
                    hang_up = True
            if self._reading_paused and not transport.is_closing():
                self._reading_paused = False
                transport.resume_reading()
            if hang_up:
                transport.close()
            if self._close_timer is None:
                self._close_timer = self._server.loop.call_later(CLOSE_TIMEOUT, self.abort)
        self._end_session()

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end()

    def shut(self, code: int, reason: str) -> None:
        """The server ends."""
        if self.connection is None:
            self.abort()
        else:
            self.close(code, reason)

    def abort(self) -> None:
        """Cut the socket."""
        self._transport.abort()

    def heartbeat_failed(self) -> None:
        """No answer to a ping: the client is gone."""
        self._server.instance.counters.heartbeat_timeouts += 1
        self.close(CloseCode.INTERNAL_ERROR, "no answer to a ping")
        self.abort()

    @property
    def reading(self) -> bool:
        """Whether an answer to a ping could be heard at all."""
        return not self._reading_paused

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            for write in self._protocol.data_to_send():
                self.buffer.keep(write)

    def _cancel_timers(self) -> None:
        for timer in (self._handshake_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        self._handshake_timer = self._close_timer = None

    # Handshake

    def _handshake_late(self) -> None:
        self._server.instance.counters.handshakes_failed += 1
        self.abort()

    def _receive_handshake(self, events: Sequence[object]) -> None:
        protocol = self._protocol
        if events:
            if self._handshake_timer is not None:
                self._handshake_timer.cancel()
                self._handshake_timer = None
            self._respond(cast("Request", events[0]))
            if self.connection is not None and len(events) > 1:
                self._events = deque(cast("list[Frame]", list(events[1:])))
            return
        writes = protocol.data_to_send()
        if writes:  # not HTTP, or too long
            self._server.instance.counters.handshakes_failed += 1
            self._server.instance.logger.debug("handshake failed: %s", protocol.handshake_exc)
            self._hang_up(writes if writes[0] else [BAD_REQUEST])

    def _respond(self, request: Request) -> None:
        """Upgrade, or answer as plain HTTP."""
        protocol = self._protocol
        asked = read_request(request, self._transport)
        response = answer(protocol, request, asked, self._settings)
        protocol.send_response(response)
        writes = protocol.data_to_send()
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._transport.write(b"".join(writes))
            self._upgraded(asked)
        else:
            self._server.instance.counters.http_responses += 1
            self._hang_up(writes)

    def _upgraded(self, request: WsRequest) -> None:
        server = self._server
        instance = server.instance
        self.connection = WsConnection(
            str(uuid.uuid4()),
            request,
            way=self,
            membership=instance.rooms,
            codec=instance.codec,
            loop=instance.thread,
            subprotocol=self._protocol.subprotocol,
        )
        self._session = server.open_session(self.connection, self.ready)
        if server.heartbeat is not None:
            server.heartbeat.add(self)
        self._session.open()

    def _hang_up(self, writes: list[bytes]) -> None:
        """Answer what is no WebSocket, and close."""
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
            self._handshake_timer = None
        self._transport.write(b"".join(writes))
        self._transport.close()
        self._close_timer = self._server.loop.call_later(CLOSE_TIMEOUT, self.abort)
