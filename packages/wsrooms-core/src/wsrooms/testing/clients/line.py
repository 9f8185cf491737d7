"""What a test client is behind its methods: one end of a pipe that speaks WebSocket.

It notes what arrives in the order in which it arrives, and wakes who waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from wsrooms.client import ClientSide, Ended, Opened, Received, Refused
from wsrooms.errors import WsRoomsError
from wsrooms.receipt import FINISHED, Receipt

__all__ = ["UNREAD", "Disconnected", "Line"]

UNREAD = 100_000
"""Messages that a client holds for ``receive()`` before it stops reading."""

SHOWN = 200
"""Characters of a message that an error shows."""

GONE = 1006


class Disconnected(WsRoomsError):
    """The connection of a test client is over, or was refused.

    Attributes:
        code: Of the CLOSE that the server sent; 1006 where there was none.
        reason: The text that came with it.
        status: Of the HTTP response that refused the handshake; else None.
        body: Of that response.
    """

    def __init__(
        self, code: int, reason: str, *, status: int | None = None, body: bytes = b""
    ) -> None:
        self.code = code
        self.reason = reason
        self.status = status
        self.body = body
        if status is not None:
            text = f"the handshake was refused with HTTP {status}: {reason}"
        else:
            text = f"the connection is closed: {code}{f' ({reason})' if reason else ''}"
        super().__init__(text)


class Line(asyncio.Protocol):
    """One connection of a test client.

    Attributes:
        ended: Why it is over; None while it is not.
        is_open: Whether the handshake is done.
        is_lost: Whether the socket is gone.
        unread: What has come for ``receive()``.
        transport: The client's end of the socket.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        side: ClientSide,
        decode: Callable[[str | bytes], Any],
        on_message: Callable[[Any], None] | None,
    ) -> None:
        self._side = side
        self._decode = decode
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self.ended: Disconnected | None = None
        self.on_end: Callable[[str], None] | None = None
        """Told why, once it is over."""
        self.is_open: bool = False
        self.is_lost: bool = False
        self.unread: deque[Any] = deque()
        self.replies: dict[str, Any] = {}
        """By the ids of calls; None where a reply is waited for."""
        self._waiters: dict[asyncio.Future[None], None] = {}  # in order, so that a run can repeat
        self._unwritten: deque[tuple[Receipt, asyncio.TimerHandle]] = deque()
        self._blocked = False
        self._choked = False
        self.paused: bool = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self.transport = cast("asyncio.Transport", transport)
        self._side.open()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Take what the server sent."""
        for event in self._side.receive(data):
            self._happened(event)
        self.flush()
        self._wake()

    def eof_received(self) -> bool:
        """The server sends no more: this side closes too."""
        for event in self._side.receive_eof():
            self._happened(event)
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self.is_lost = True
        self._end(Disconnected(GONE, "" if exc is None else str(exc)))
        self._wake()

    def pause_writing(self) -> None:
        """The server has stopped reading."""
        self._blocked = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._blocked = False
        while self._unwritten:
            receipt, timer = self._unwritten.popleft()
            timer.cancel()
            receipt.settle()

    def _happened(self, event: object) -> None:
        if isinstance(event, Received):
            self._received(event.payload)
        elif isinstance(event, Opened):
            self.is_open = True
        elif isinstance(event, Refused):
            said = event.body.decode("utf-8", "replace").strip() or event.reason
            self._end(Disconnected(GONE, said, status=event.status, body=event.body))
        elif isinstance(event, Ended):
            self._end(Disconnected(event.code, event.reason))

    def _received(self, payload: str | bytes) -> None:
        try:
            message = self._decode(payload)
        except Exception as error:  # noqa: BLE001 - it is the end of this client, which says so
            self._end(
                Disconnected(
                    GONE,
                    f"this client cannot decode what the server sent ({error}): where the app "
                    "has a message_serializer, give connect_client() its decode",
                )
            )
            self.transport.abort()
            return
        if self._on_message is not None:
            self._on_message(message)
        id = message.get("id") if isinstance(message, dict) else None
        if isinstance(id, str) and id in self.replies:
            self.replies[id] = message
            return
        self.unread.append(message)
        if len(self.unread) >= UNREAD and not self._choked:
            self._choked = True
            self.transport.pause_reading()

    def _end(self, why: Disconnected) -> None:
        if self.ended is None:
            self.ended = why
            if self.on_end is not None:
                self.on_end(str(why))
        while self._unwritten:
            receipt, timer = self._unwritten.popleft()
            timer.cancel()
            receipt.settle(self.ended)

    # For the client

    def take(self) -> Any:
        """The next message for ``receive()``."""
        message = self.unread.popleft()
        if self._choked and len(self.unread) < UNREAD // 2:
            self._choked = False
            if not self.paused:
                self.transport.resume_reading()
        return message

    def pause(self, *, paused: bool) -> None:
        """Stop or go on taking what the server sends."""
        self.paused = paused
        if paused:
            self.transport.pause_reading()
        elif not self._choked:
            self.transport.resume_reading()

    def flush(self) -> None:
        """Write what the protocol has to say; on a socket that closes, nothing."""
        for data in self._side.data_to_send():
            if self.transport.is_closing():
                continue  # asyncio would warn whoever goes on writing
            if data:
                self.transport.write(data)
            else:
                self.transport.write_eof()

    def written(self, timeout: float) -> Receipt:
        """Done when the server's socket has taken all that was sent so far."""
        if not self._blocked:
            return FINISHED
        receipt = Receipt()
        late = TimeoutError(f"the server has not read what was sent for {timeout:g} s")
        self._unwritten.append((receipt, self._loop.call_later(timeout, receipt.settle, late)))
        return receipt

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    wake = _wake

    async def until(
        self, ready: Callable[[], object], timeout: float, wanted: Callable[[], str]
    ) -> None:
        """Wait until ``ready()`` is true; it is asked again whenever anything happens.

        Raises:
            TimeoutError: It was not in time; the text is that of ``wanted()``, and says what
                had come instead.
        """
        deadline = asyncio.timeout(timeout)
        try:
            async with deadline:
                while not ready():
                    waiter = self._loop.create_future()
                    self._waiters[waiter] = None
                    try:
                        await waiter
                    finally:
                        self._waiters.pop(waiter, None)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise TimeoutError(f"{wanted()} within {timeout:g} s; {self.news()}") from None

    def news(self) -> str:
        """What has come and was not received, for an error."""
        told = []
        if self.ended is not None:
            told.append(str(self.ended))
        if self.paused:
            told.append("the client's reading is paused")
        elif self._choked:
            told.append("the client has stopped reading, since so much was not received")
        if not self.unread:
            told.append("nothing came")
        else:
            first = ", ".join(_short(message) for message in list(self.unread)[:3])
            more = len(self.unread) - 3
            told.append(f"unread: {first}{f' and {more} more' if more > 0 else ''}")
        return "; ".join(told)


def _short(message: object) -> str:
    text = repr(message)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
