"""Real WebSocket clients over TCP, of which thousands are cheap.

They speak through the Sans-I/O half of a client, and take what comes in the callback
that read it: no task and no queue for each. ``Client`` is told what to send and gives what it
received; ``Member`` writes its history.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from tests.deadlines import DEADLINE
from wsrooms import WsError
from wsrooms.client import ClientSide, Ended, Opened, Received, Refused
from wsrooms.testing import Disconnected, RecordedClient
from wsrooms.testing.fleet.recorder import ANNOUNCED, SAID

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt
    from wsrooms.testing import History

LAST = "last of "
"""How the ids of the messages begin that a fleet settles with."""


class Wire(asyncio.Protocol):
    """One connection: messages in and out, each decoded."""

    def __init__(
        self,
        port: int,
        path: str,
        on_message: Callable[[dict[str, Any]], None],
        on_end: Callable[[int, str], None],
    ) -> None:
        self._side = ClientSide(path, host=f"127.0.0.1:{port}")
        self._on_message = on_message
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._ended = False
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[tuple[int, str]] = loop.create_future()
        self._code: tuple[int, str] = (1006, "")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._side.open()
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self._side.receive(data):
            match event:
                case Received(payload):
                    self._on_message(msgspec.json.decode(payload))
                case Opened():
                    self.opened.set_result(None)
                case Refused(status, reason):
                    self._code = (status or 1006, reason)
                case Ended(code, reason):
                    self._code = (code, reason)
                case _:
                    pass
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        if not self.opened.done():
            self.opened.set_exception(Disconnected(*self._code))
        if not self.gone.done():
            self.gone.set_result(self._code)
        self._on_end(*self._code)

    def _flush(self) -> None:
        transport = self._transport
        assert transport is not None
        for data in self._side.data_to_send():
            if data:
                transport.write(data)
            else:
                transport.close()  # the server's end of the closing handshake is here

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; Disconnected if the connection is over."""
        self.send_text(msgspec.json.encode(message).decode())

    def send_text(self, text: str) -> None:
        """Send a text frame as it is; Disconnected if the connection is over."""
        if self._ended or not self._side.is_open:
            raise Disconnected(*self._code)
        self._side.send(text)
        self._flush()

    def close(self) -> None:
        """Begin to close, as a browser does."""
        if not self._ended:
            self._side.close(1000, "")
            self._flush()

    def abort(self) -> None:
        """Cut the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Take nothing from the socket any more."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        assert self._transport is not None
        self._transport.resume_reading()


async def open_wire(
    port: int,
    path: str,
    on_message: Callable[[dict[str, Any]], None],
    on_end: Callable[[int, str], None] = lambda code, reason: None,
) -> Wire:
    """Connect; raises Disconnected if the server will not."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(DEADLINE):
        _, wire = await loop.create_connection(
            lambda: Wire(port, path, on_message, on_end), "127.0.0.1", port
        )
        try:
            await wire.opened
        except BaseException:
            wire.abort()
            raise
    return wire


async def closed_wire(wire: Wire) -> tuple[int, str]:
    """Close and wait for the end; return how the server ended it."""
    wire.close()
    async with asyncio.timeout(DEADLINE):
        return await asyncio.shield(wire.gone)


class Client:
    """A client that a test tells what to send, and asks for what came.

    Attributes:
        pushes: What has come and was not received, in order.
    """

    def __init__(self) -> None:
        self.wire: Wire
        self.pushes: deque[dict[str, Any]] = deque()
        self._ids = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._came = asyncio.Event()

    @classmethod
    async def connect(cls, port: int, path: str = "/") -> Client:
        """A client of the server at ``port``."""
        client = cls()
        client.wire = await open_wire(port, path, client._take, client._end)
        return client

    def _take(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            self.pushes.append(message)
            self._came.set()
            return
        call = self._calls.pop(message["id"])
        if call.done():
            return  # whoever called has given up
        if "error" in message:
            call.set_exception(WsError(message["error"]["code"], message["error"]["message"]))
        else:
            call.set_result(message["data"])

    def _end(self, code: int, reason: str) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.done():
                call.set_exception(Disconnected(code, reason))
        self._came.set()

    def send(self, event: str, path: str, data: Any = UNSET) -> None:
        """Send a message without an id."""
        self.wire.send({"event": event, "path": path, **_data(data)})

    async def call(self, event: str, path: str, data: Any = UNSET) -> Any:
        """Send a message and return the data of its reply; an error reply is raised as WsError."""
        number = next(self._ids)
        call: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls[number] = call
        self.wire.send({"event": event, "path": path, "id": number, **_data(data)})
        try:
            async with asyncio.timeout(DEADLINE):
                return await call
        except TimeoutError:
            raise TimeoutError(f"no reply to {event} {path} within {DEADLINE} s") from None

    async def receive(self) -> dict[str, Any]:
        """The next push."""
        try:
            async with asyncio.timeout(DEADLINE):
                while not self.pushes:
                    if self.wire.gone.done():
                        raise Disconnected(*self.wire.gone.result())
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise TimeoutError(f"nothing was pushed within {DEADLINE} s") from None
        return self.pushes.popleft()

    async def close(self) -> None:
        """Close as a browser does."""
        await closed_wire(self.wire)


def _data(data: Any) -> dict[str, Any]:
    return {} if data is UNSET else {"data": data}


class Member(RecordedClient):
    """A recorded client of the fleet.

    Attributes:
        wire: What it speaks through.
        received: The ids of what it received, in order.
        awaited: Ids that it is still to receive.
        on_received: Is called with each id that it receives.
    """

    wire: Wire

    def __init__(self, history: History, name: str, instance: str) -> None:
        super().__init__(history, name, instance, self._send_it)
        self.received: list[str] = []
        self.awaited: set[str] = set()
        self._got: set[str] = set()
        self._arrived = asyncio.Event()
        self.on_received: Callable[[str], None] | None = None
        self._wishes: dict[str, Receipt] = {}

    @classmethod
    async def connect(
        cls, history: History, name: str, instance: str, port: int, path: str = "/"
    ) -> Member:
        """Connect and record it."""
        member = cls(history, name, instance)
        history.connect(name, instance)
        member.wire = await open_wire(port, path, member.take, member._end)
        await member.hello()
        return member

    def _send_it(self, message: dict[str, Any]) -> None:
        self.wire.send(message)

    def _end(self, code: int, reason: str) -> None:
        self.awaited.clear()
        self._arrived.set()
        self.ended(f"{code} {reason}")

    @property
    def is_open(self) -> bool:
        """Whether it is connected and has not begun to go."""
        return not self._ending and not self._ended

    def join(self, room: str, *, waiting: bool = True) -> Receipt:
        receipt = self._wishes[room] = super().join(room, waiting=waiting)
        return receipt

    def leave(self, room: str) -> Receipt:
        self._wishes.pop(room, None)
        return super().leave(room)

    def joined(self) -> list[str]:
        """The rooms that it was told it is in, and has not left since."""
        return [
            room for room, receipt in self._wishes.items() if receipt.done and receipt.error is None
        ]

    @property
    def heard(self) -> list[str]:
        """What it received, but for what the fleet settled with."""
        return [id for id in self.received if not id.startswith(LAST)]

    def await_(self, id: str) -> None:
        """Have ``id`` in ``awaited`` until it has come."""
        if self.is_open and id not in self._got:
            self.awaited.add(id)

    async def arrived(self) -> None:
        """Wait until it has received all that it awaits, or is gone."""
        while self.awaited:
            self._arrived.clear()
            await self._arrived.wait()

    def take(self, message: Mapping[str, Any]) -> None:
        super().take(message)
        if message.get("event") in (SAID, ANNOUNCED):
            id: str = message["data"]
            self.received.append(id)
            self._got.add(id)
            self.awaited.discard(id)
            if not self.awaited:
                self._arrived.set()
            if self.on_received is not None:
                self.on_received(id)

    async def close(self) -> None:
        """Close as a browser does."""
        self.ending()
        await closed_wire(self.wire)

    async def abort(self) -> None:
        """Cut the connection without a word, and wait until that is done here."""
        self.ending()
        self.wire.abort()
        async with asyncio.timeout(DEADLINE):
            await asyncio.shield(self.wire.gone)
