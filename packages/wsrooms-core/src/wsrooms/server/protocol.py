"""One socket: handshake, writing, heartbeat, closing.

An ``asyncio.Protocol`` over the Sans-I/O layer of ``websockets``. Its half that reads,
and hands whole messages to a session, is in ``intake.py``; the connection's
``SendBuffer`` writes to its transport. What messages mean is the session's affair.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, State

from wsrooms.connection import SLOW_CLIENT, WsConnection
from wsrooms.sendbuffer import SendBuffer
from wsrooms.server.intake import Intake
from wsrooms.server.upgrade import new_protocol, open_protocol, receive_handshake
from wsrooms.wire import cut_reason

if TYPE_CHECKING:
    from wsrooms.handshake import WsRequest
    from wsrooms.server.listener import Server
    from wsrooms.server.settings import ServerSettings

__all__ = ["BufferedServerConnection", "ServerConnection"]

HARD_LIMIT = 16
"""A message of so many times max_message_size is refused by its length, before it is held."""


class ServerConnection(Intake):
    """One socket."""

    __slots__ = ("_blocked_at", "_close_timer", "_handshake_timer", "_settings")

    buffer: SendBuffer
    connection: WsConnection | None

    def __init__(self, server: Server, settings: ServerSettings) -> None:
        hard_limit = server.instance.max_message_size * HARD_LIMIT
        super().__init__(server, new_protocol(settings, hard_limit), hard_limit)
        self._settings = settings
        self._handshake_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._blocked_at = 0.0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; it has HANDSHAKE_TIMEOUT seconds to say what it wants."""
        server = self._server
        self._transport = cast("asyncio.Transport", transport)
        limits = server.instance.limits
        self.buffer = SendBuffer(
            server.flusher,
            self._transport,
            self._slow,
            limit_bytes=limits.outbox_bytes,
            limit_messages=limits.outbox_messages,
            policy=limits.slow_client,
        )
        server.opened(self)
        if server.closing:
            self.abort()
            return
        timeout = self._settings.handshake_timeout
        self._handshake_timer = server.loop.call_later(timeout, self._handshake_late)

    def eof_received(self) -> bool:
        """The client will send no more, and said no CLOSE; what it is owed still goes out."""
        connection = self.connection
        if connection is not None and not connection.closed:
            connection._end(CloseCode.ABNORMAL_CLOSURE, "")
            self._finish([SEND_EOF])
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        server = self._server
        server.lost(self)
        self._cancel_timers()
        self.buffer.close()
        self._inbox = self._partial = None
        if server.heartbeat is not None:
            server.heartbeat.discard(self)
        if self.connection is not None:
            self.connection._end(CloseCode.ABNORMAL_CLOSURE, "")
            self._end_session()

    def pause_writing(self) -> None:
        """The client reads too slowly for what was written."""
        self._blocked_at = self._server.loop.time()
        self.buffer.block()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.buffer.unblock()
        self.ready()

    # Bytes out

    def _slow(self, dropped: int) -> None:
        counters = self._server.instance.counters
        counters.dropped_slow += dropped
        if not dropped:
            counters.slow_clients += 1
            self.close(SLOW_CLIENT, "slow client")

    # Closing

    def close(self, code: int, reason: str) -> None:
        """End the connection: flush, CLOSE, and cut the socket if the client does not follow.

        It has ``close_timeout`` seconds for that; one that has read nothing for
        so long is cut at once.
        """
        connection = self.connection
        if connection is None or connection.closed:
            return
        connection._end(code, reason)
        protocol = self._protocol
        if protocol.state is State.OPEN:
            protocol.send_close(code, reason)
        # A handler calls this, and what the loop keeps of it (even a cancelled timer, until
        # it is due) must not keep the handler's message.
        self._server.context.copy().run(self._finish, protocol.data_to_send())

    def _fail(self, code: int, reason: str) -> None:
        """The client broke the protocol, or we did: say so and hang up."""
        connection = self.connection
        if connection is None or connection.closed:
            return
        reason = cut_reason(reason)
        connection._end(code, reason)
        self._protocol.fail(code, reason)
        self._finish(self._protocol.data_to_send())

    def _broken(self, error: BaseException) -> None:
        """A mistake that is not the client's: its connection ends, the others go on."""
        connection = self.connection
        self._server.instance.logger.error(
            "connection %s ends: the server failed",
            "without a handshake" if connection is None else connection.id,
            exc_info=error,
        )
        if connection is None or connection.closed:
            self.abort()
        else:
            self._fail(CloseCode.INTERNAL_ERROR, "Internal Error")

    def _say_last_words(self, writes: list[bytes]) -> None:
        """The client has sent CLOSE, or broken the protocol; all before that is handled."""
        connection = self.connection
        protocol = self._protocol
        if connection is not None:
            ours, theirs = protocol.close_sent, protocol.close_rcvd
            if theirs is not None:
                connection._end(theirs.code, theirs.reason)
                if protocol.parser_exc is not None:
                    # It came between fragments: RFC 6455 §5.4 allows what the library refuses.
                    given = theirs.code != CloseCode.NO_STATUS_RCVD
                    answer = Frame(Opcode.CLOSE, theirs.serialize() if given else b"")
                    writes = [answer.serialize(mask=False), SEND_EOF]
            elif ours is not None:
                connection._end(ours.code, ours.reason)
        self._finish(writes)

    def _finish(self, writes: list[bytes]) -> None:
        """Write what is owed and ``writes``, then see the socket out."""
        server, buffer, transport = self._server, self.buffer, self._transport
        timeout = self._settings.close_timeout
        if buffer.blocked:  # the time in which it has read nothing counts
            timeout -= server.loop.time() - self._blocked_at
        if timeout > 0:
            buffer.unblock()
        buffer.close()
        self._partial = None
        if server.heartbeat is not None:
            server.heartbeat.discard(self)
        if timeout <= 0:
            transport.abort()
        elif not transport.is_closing():
            self._end_after(timeout)
            for write in writes:
                if write:
                    transport.write(write)
            if self._inbox is None:
                self._resume_reading()
            else:  # the client's CLOSE may be in it
                self._pump_later()
            if SEND_EOF in writes:
                self._hang_up(linger=self._protocol.close_rcvd is None)
        self._end_session()

    def _hang_up(self, *, linger: bool) -> None:
        """End the socket from our side.

        To close one while unread bytes are in it is to reset it, and then the
        client may lose what was written last: the CLOSE that says why. So
        ``linger`` where more may come, and read on until the client ends it too.
        """
        if not linger:
            self._transport.close()
        elif self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:  # the client has gone already
                self._transport.abort()

    def _end_after(self, timeout: float) -> None:
        self._close_timer = self._server.loop.call_later(timeout, self.abort)

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end()

    def shut(self, code: int, reason: str) -> None:
        """The server ends."""
        if self.connection is not None:
            self.close(code, reason)
        elif not self._protocol.eof_sent:  # an HTTP response may still go out
            self.abort()

    def abort(self) -> None:
        """Cut the socket."""
        self._transport.abort()

    def _cancel_timers(self) -> None:
        for timer in (self._handshake_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        self._handshake_timer = self._close_timer = None

    # Heartbeat

    @property
    def reading(self) -> bool:
        """Whether an answer to a ping could be heard at all."""
        return not self._reading_paused

    def look_at_silence(self, patience: float) -> None:
        """End a client that sends requests and reads no replies: no ping would find it out."""
        if self.buffer.full and self._server.loop.time() - self._blocked_at >= patience:
            self._slow(0)

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            for write in self._protocol.data_to_send():
                self.buffer.keep(write)

    def heartbeat_failed(self) -> None:
        """No answer to a ping: the client is gone."""
        self._server.instance.counters.heartbeat_timeouts += 1
        self.close(CloseCode.INTERNAL_ERROR, "no answer to a ping")
        self._end_after(0.01)  # uvloop 0.21 writes the CLOSE only after this turn

    # Handshake

    def _handshake_late(self) -> None:
        self._server.instance.counters.handshakes_failed += 1
        self.abort()

    def _receive_handshake(self, data: bytes) -> bytes:
        """Upgrade, answer as plain HTTP, or refuse; returns what was read behind a handshake."""
        settings = self._settings
        if self._protocol.eof_sent:  # only the end of the socket is waited for
            return b""
        answer = receive_handshake(self._protocol, data, self._transport, settings)
        if answer is None:
            return b""
        self._cancel_timers()
        if answer.upgraded is not None:
            self._transport.write(answer.response)
            self._upgraded(answer.upgraded)
            return answer.rest
        self._server.instance.counters.answered(is_http=answer.is_http)
        self._end_after(settings.response_timeout if answer.is_http else settings.close_timeout)
        self._transport.write(answer.response)
        self._hang_up(linger=self._transport.can_write_eof())
        return b""

    def _upgraded(self, request: WsRequest) -> None:
        server, instance = self._server, self._server.instance
        self.connection = WsConnection(
            server.new_id(),
            request,
            way=self,
            membership=instance.rooms,
            codec=instance.codec,
            loop=instance.thread,
            subprotocol=self._protocol.subprotocol,
        )
        self._protocol = open_protocol(self._settings, instance.max_message_size * HARD_LIMIT)
        self._session = server.open_session(self.connection, self.ready)
        if server.heartbeat is not None:
            server.heartbeat.add(self)
        self._session.open()


class BufferedServerConnection(ServerConnection, asyncio.BufferedProtocol):
    """One socket of asyncio's own loop, read into a buffer that all share.

    For others that loop allocates 256 KiB for each read, which the C library maps and
    unmaps: six times the price of the read itself. uvloop has such a buffer of its own.
    """

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go; :meth:`buffer_updated` follows before anything else."""
        return self._server.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes came."""
        self.data_received(bytes(self._server.read_buffer[:nbytes]))
