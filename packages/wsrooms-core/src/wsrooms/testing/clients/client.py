"""``connect_client``: a client that speaks to an app through real frames, without a port.

The bytes go through the same code that serves a socket: handshake, origin check, frames,
closing handshake, back-pressure. Only the socket is one in memory (``pipes.py``).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw

from wsrooms.client import ClientSide
from wsrooms.errors import WsError
from wsrooms.testing.clients.line import Disconnected, Line
from wsrooms.testing.clients.pipes import SOCKET_BYTES, Pipe
from wsrooms.testing.clients.quiet import until_quiet
from wsrooms.wire import encode_data

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from wsrooms.app import Door, WsApp
    from wsrooms.connection import WsConnection
    from wsrooms.receipt import Receipt
    from wsrooms.server.protocol import ServerConnection
    from wsrooms.server.settings import ServerOptions

__all__ = ["Client", "connect_client", "open_client"]

CONNECT_TIMEOUT = 5.0
"""Seconds for the handshake and on_connect."""

TIMEOUT = 1.0
"""Seconds for anything else that a test waits for, if it says nothing."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Client:
    """A connected client; :func:`connect_client` makes it.

    Whatever waits has a deadline, and its ``TimeoutError`` says what it waited for and what
    had come instead. Once the connection is over, what waits raises :class:`Disconnected`
    at once. Not to be used from other threads.

    Pushes wait for :meth:`receive`, however many calls come in between. A client that holds
    100,000 of them reads no more until some are received, so the server sees a slow client.

    Attributes:
        connection_id: The id that the server gave the connection.
        subprotocol: What was negotiated, if anything.
    """

    connection_id: str
    subprotocol: str | None

    def __init__(
        self, door: Door, line: Line, pipe: Pipe, side: ClientSide, connection: WsConnection
    ) -> None:
        self._door = door
        self._line = line
        self._side = side
        self.connection_id = connection.id
        self.subprotocol = connection.subprotocol
        self._ids = itertools.count(1)
        self._on_send: Callable[[dict[str, Any]], None] | None = None
        self._encode: Callable[[dict[str, Any]], str | bytes] = _as_text
        self._pipe = pipe

    # Talking

    async def call(
        self, event: str, path: str, data: object = UNSET, *, timeout: float = TIMEOUT
    ) -> Any:
        """Send a request and wait for its reply; returns the reply's data.

        Pushes that come before the reply stay in order for :meth:`receive`.

        Raises:
            WsError: The server answered with an error: its ``code`` and ``message``.
            TimeoutError: No reply came in time.
            Disconnected: The connection is over.
        """
        id = f"call-{next(self._ids)}"
        line = self._line
        line.replies[id] = None
        try:
            self.send(event, path, data, id=id)
            await line.until(
                lambda: line.replies[id] is not None or line.ended is not None,
                timeout,
                lambda: f"no reply to {event!r} on {path!r}",
            )
            reply = line.replies[id]
        finally:
            del line.replies[id]
        if reply is None:
            raise self._over()
        if "error" in reply:
            raise WsError(reply["error"]["code"], reply["error"]["message"])
        return reply.get("data")

    def send(
        self,
        event: str,
        path: str,
        data: object = UNSET,
        *,
        id: str | int | float | None = None,
    ) -> Receipt:
        """Send a message, at once; with an ``id`` its reply comes through :meth:`receive`.

        Await what it returns to wait until the server's socket has taken the bytes.

        Raises:
            Disconnected: The connection is over.
            TypeError: ``data`` has no JSON form.
        """
        message: dict[str, Any] = {"event": event, "path": path}
        if data is not UNSET:
            message["data"] = Raw(encode_data(data)) if self._encode is _as_text else data
        if id is not None:
            message["id"] = id
        if self._on_send is not None:
            self._on_send(message)
        return self.send_raw(self._encode(message))

    def send_raw(self, payload: str | bytes) -> Receipt:
        """Send a frame as it is: a text frame for a str, a binary one for bytes.

        Raises:
            Disconnected: The connection is over.
        """
        if self._line.ended is not None or not self._side.is_open:
            raise self._over()
        self._side.send(payload)
        self._line.flush()
        return self._line.written(TIMEOUT)

    async def receive(self, timeout: float = TIMEOUT) -> dict[str, Any]:
        """The next push, or reply that no :meth:`call` waits for, in the order of arrival.

        Raises:
            TimeoutError: None came in time.
            Disconnected: All that had come is received, and the connection is over.
        """
        line = self._line
        await line.until(
            lambda: line.unread or line.ended is not None, timeout, lambda: "no message"
        )
        if not line.unread:
            raise self._over()
        message: dict[str, Any] = line.take()
        return message

    @property
    def unread(self) -> int:
        """How many messages wait for :meth:`receive`."""
        return len(self._line.unread)

    async def receive_nothing(self, timeout: float = TIMEOUT) -> None:
        """Nothing has come that was not received, once all that is in flight is handled.

        It waits until no bytes are on their way between this app and its test clients, and
        no handler is running, so it takes a few turns of the loop and no time.

        Raises:
            AssertionError: Something came.
            TimeoutError: Something was still being handled after ``timeout`` seconds.
            Disconnected: The connection is over.
        """
        await self.settle(timeout)
        if self._line.unread:
            raise AssertionError(f"nothing was to come, but: {self._line.news()}")
        if self._line.ended is not None:
            raise self._over()

    async def settle(self, timeout: float = TIMEOUT) -> None:
        """Wait until all that is in flight in this app is handled.

        Raises:
            TimeoutError: Something was still being handled after ``timeout`` seconds.
        """
        await until_quiet(self._door.instance, self._door.server, timeout)

    # Reading

    def pause_reading(self) -> None:
        """Take nothing from the socket any more: to the server this is a slow client."""
        self._line.pause(paused=True)

    def resume_reading(self) -> None:
        """Read again."""
        self._line.pause(paused=False)

    # The end

    @property
    def close_code(self) -> int | None:
        """Why the connection ended, once it has; 1006 where the server sent no CLOSE."""
        return None if self._line.ended is None else self._line.ended.code

    @property
    def close_reason(self) -> str | None:
        """The text that came with it."""
        return None if self._line.ended is None else self._line.ended.reason

    async def close(self, code: int = 1000, reason: str = "", *, timeout: float = TIMEOUT) -> None:
        """Say CLOSE and wait until the server has answered and forgotten the connection.

        Its on_disconnect has run by then. A server that has not answered after ``timeout``
        seconds is cut off: a handler may take long.
        """
        line = self._line
        connections = self._door.instance.connections
        self._side.close(code, reason)
        line.flush()
        if line.paused:
            self.resume_reading()  # else the answer would never be seen
        if self._pipe.is_cut:
            self._pipe.client.abort()
        try:
            await line.until(
                lambda: (
                    line.is_lost and (self._pipe.is_cut or self.connection_id not in connections)
                ),
                timeout,
                lambda: "no end of the connection",
            )
        except TimeoutError:
            self._pipe.client.abort()
        except BaseException:
            self._pipe.client.abort()
            raise

    def abort(self) -> None:
        """Cut the socket without a word: the server gets a ConnectionResetError."""
        self._pipe.client.reset()

    def cut(self) -> None:
        """Let nothing arrive any more, on either side, and tell neither, as if a cable was pulled.

        The server finds out by its heartbeat, which virtual time makes quick.
        """
        self._pipe.cut()

    async def closed(self, timeout: float = TIMEOUT) -> tuple[int, str]:
        """Wait for the end of the connection; returns its code and reason.

        What was not received before the end can still be received.

        Raises:
            TimeoutError: It did not end in time.
        """
        line = self._line
        await line.until(lambda: line.is_lost, timeout, lambda: "no end of the connection")
        assert line.ended is not None
        return line.ended.code, line.ended.reason

    def _over(self) -> Disconnected:
        ended = self._line.ended
        if ended is None:
            return Disconnected(1000, "closed by this client")
        return Disconnected(ended.code, ended.reason, status=ended.status, body=ended.body)

    def __repr__(self) -> str:
        state = "open" if self._line.ended is None else f"closed {self.close_code}"
        return f"<Client {self.connection_id} {state}>"


def connect_client(
    app: WsApp,
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    *,
    options: ServerOptions | None = None,
    encode: Callable[[dict[str, Any]], str | bytes] | None = None,
    decode: Callable[[str | bytes], Any] | None = None,
) -> AbstractAsyncContextManager[Client]:
    """Connect to ``app`` inside an ``async with`` block, with real frames and no port.

    An app that is not running is started for the first client, and closed after the last
    one. The block is entered when on_connect has ended well; the client is closed at its end.

    Args:
        app: The app.
        path: Of the handshake, with its query.
        headers: Of the handshake, such as ``Cookie``, ``Authorization`` or ``Origin``;
            the Host is ``localhost``.
        options: How the app would listen: ``path``, ``subprotocols`` and ``http_handler``
            of :class:`~wsrooms.ServerOptions` count.
        encode: For an app with a ``message_parser``: what its clients make of a message,
            which is a dict; a str is sent in a text frame, bytes in a binary one.
        decode: For an app with a ``message_serializer``: what its clients make of a frame.

    Raises:
        Disconnected: The handshake was refused (``status`` is the HTTP one), or on_connect
            refused the connection (``code`` and ``reason`` are those of its CLOSE).
        TimeoutError: on_connect has not ended after 5 seconds.
    """
    return open_client(app, path, headers, options=options, encode=encode, decode=decode)


@contextlib.asynccontextmanager
async def open_client(
    app: WsApp,
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    *,
    options: ServerOptions | None = None,
    encode: Callable[[dict[str, Any]], str | bytes] | None = None,
    decode: Callable[[str | bytes], Any] | None = None,
    on_send: Callable[[dict[str, Any]], None] | None = None,
    on_receive: Callable[[Any], None] | None = None,
    socket_bytes: int = SOCKET_BYTES,
    latency: float | Callable[[], float] = 0.0,
    connect_timeout: float = CONNECT_TIMEOUT,
) -> AsyncIterator[Client]:
    """:func:`connect_client` for other parts of the kit: with observers, and a socket to choose.

    Args:
        app: As there.
        path: As there.
        headers: As there.
        options: As there.
        encode: As there.
        decode: As there.
        on_send: Told of every message before it is sent.
        on_receive: Told of every message as it arrives, replies of calls included.
        socket_bytes: What the socket holds in each direction.
        latency: Seconds that bytes travel.
        connect_timeout: Seconds for the handshake and on_connect.
    """
    async with app._visited({} if options is None else options) as door:
        side = ClientSide(path, (headers or {}).items())
        line = Line(side, decode or _decode, on_receive)
        server_end = door.accept()
        pipe = Pipe(
            line,
            server_end,
            server_context=door.server.context.copy(),
            socket_bytes=socket_bytes,
            latency=latency,
        )
        client = None
        try:
            connection = await _accepted(line, server_end, door, connect_timeout)
            client = Client(door, line, pipe, side, connection)
            client._on_send = on_send
            client._encode = encode or _as_text
            yield client
        finally:
            if client is None:
                pipe.client.abort()
            else:
                await client.close()
            if server_end.connection is not None:
                door.instance.watchers.pop(server_end.connection.id, None)


async def _accepted(
    line: Line, server_end: ServerConnection, door: Door, timeout: float
) -> WsConnection:
    """Wait until on_connect has ended well."""

    def ready() -> bool:
        connection = server_end.connection
        if connection is not None:
            door.instance.watchers[connection.id] = line.wake
        return line.ended is not None or (
            line.is_open and connection is not None and connection.accepted
        )

    await line.until(ready, timeout, lambda: "on_connect has not ended")
    if line.ended is not None:
        raise line.ended
    assert server_end.connection is not None
    return server_end.connection


def _as_text(message: dict[str, Any]) -> str:
    return _encode(message).decode()
