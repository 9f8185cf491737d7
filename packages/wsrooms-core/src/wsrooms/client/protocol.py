"""The client's half of one connection: bytes in, events out, and the bytes to send.

Sans-I/O, over the documented ``websockets.client.ClientProtocol``: no socket, no loop,
no clock. Pings are answered and fragments are joined here; what a message means is
for others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

__all__ = ["ClientSide", "Ended", "Event", "Opened", "Pong", "Received", "Refused"]


class Opened(NamedTuple):
    """The handshake is done.

    Attributes:
        subprotocol: What the server chose, if anything.
    """

    subprotocol: str | None


class Refused(NamedTuple):
    """The server answered the handshake with something else than a WebSocket.

    Attributes:
        status: Of the HTTP response; None where the answer was none.
        reason: What the response says, or what is wrong with it.
        headers: Of the response, by name in lower case.
        body: Of the response.
    """

    status: int | None
    reason: str
    headers: Mapping[str, str]
    body: bytes


class Received(NamedTuple):
    """A whole message: a str from text frames, bytes from binary ones."""

    payload: str | bytes


class Pong(NamedTuple):
    """The answer to the ping that carried ``payload``."""

    payload: bytes


class Ended(NamedTuple):
    """The server has closed, or the bytes have ended; nothing follows.

    Attributes:
        code: Of the server's CLOSE: 1005 where that says nothing, 1006 where there was none.
        reason: The text that came with it.
    """

    code: int
    reason: str


Event = Opened | Refused | Received | Pong | Ended


class ClientSide:
    """One connection, as its client sees it.

    Each call may leave bytes in :meth:`data_to_send`, which are to be written in order.
    """

    def __init__(
        self,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        host: str = "localhost",
    ) -> None:
        """Prepare; :meth:`open` begins.

        Args:
            path: With its query.
            headers: Of the handshake, beside what it needs; of a name that the
                handshake itself sends, such as Host, this value counts.
            host: What the Host header says.
        """
        items = list(headers)
        offered = [
            Subprotocol(name.strip())
            for field, value in items
            if field.lower() == "sec-websocket-protocol"
            for name in value.split(",")
        ]
        self._protocol = ClientProtocol(
            parse_uri(f"ws://{host}{path if path.startswith('/') else '/' + path}"),
            subprotocols=offered or None,
            max_size=None,  # the server is ours, or the user has chosen it
        )
        self._headers = [item for item in items if item[0].lower() != "sec-websocket-protocol"]
        self._parts: list[bytes] = []
        self._is_text = False
        self._ended = False

    @property
    def is_open(self) -> bool:
        """Whether messages may be sent."""
        return self._protocol.state is State.OPEN

    def open(self) -> None:
        """Ask for the WebSocket."""
        request = self._protocol.connect()
        replaced: set[str] = set()
        for name, value in self._headers:
            if name.lower() not in replaced and name in request.headers:
                del request.headers[name]
            replaced.add(name.lower())
            request.headers[name] = value
        self._protocol.send_request(request)

    def send(self, payload: str | bytes) -> None:
        """Send a message: a text frame for a str, a binary one for bytes."""
        if isinstance(payload, str):
            self._protocol.send_text(payload.encode())
        else:
            self._protocol.send_binary(payload)

    def ping(self, payload: bytes) -> None:
        """Ask for a :class:`Pong` with ``payload``."""
        self._protocol.send_ping(payload)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; harmless where it has begun or ended."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)

    def data_to_send(self) -> list[bytes]:
        """What is to be written now; an empty one is the end of what this side sends."""
        return self._protocol.data_to_send()

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes of the server, in pieces of any size."""
        self._protocol.receive_data(data)
        return self._events()

    def receive_eof(self) -> list[Event]:
        """The server sends no more."""
        self._protocol.receive_eof()
        events = self._events()
        if not self._ended:
            self._ended = True
            events.append(Ended(int(CloseCode.ABNORMAL_CLOSURE), ""))
        return events

    def _events(self) -> list[Event]:
        protocol = self._protocol
        events: list[Event] = []
        for happened in protocol.events_received():
            if isinstance(happened, Response):
                events.append(self._answered(happened))
            else:
                self._framed(cast("Frame", happened), events)
        error = protocol.parser_exc
        if self._ended:
            pass
        elif protocol.handshake_exc is not None:
            self._ended = True
            events.append(Refused(None, str(protocol.handshake_exc), {}, b""))
        elif error is not None and not isinstance(error, EOFError):
            self._ended = True  # what came is no WebSocket; the bytes to send say so
            events.append(Ended(int(CloseCode.ABNORMAL_CLOSURE), str(error)))
        return events

    def _answered(self, response: Response) -> Event:
        error = self._protocol.handshake_exc
        if error is None:
            return Opened(self._protocol.subprotocol)
        self._ended = True
        assert isinstance(error, InvalidHandshake)
        reason = response.reason_phrase if isinstance(error, InvalidStatus) else str(error)
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        return Refused(response.status_code, reason, headers, bytes(response.body or b""))

    def _framed(self, frame: Frame, events: list[Event]) -> None:
        opcode = frame.opcode
        if opcode is Opcode.PONG:
            events.append(Pong(bytes(frame.data)))
        elif opcode is Opcode.CLOSE:
            close = self._protocol.close_rcvd
            if close is not None and not self._ended:
                self._ended = True
                events.append(Ended(close.code, close.reason))
        elif opcode is not Opcode.PING:
            if opcode is not Opcode.CONT:
                self._is_text = opcode is Opcode.TEXT
            self._parts.append(bytes(frame.data))
            if frame.fin:
                whole = b"".join(self._parts)
                self._parts.clear()
                events.append(Received(whole.decode() if self._is_text else whole))
