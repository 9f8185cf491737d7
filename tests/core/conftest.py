"""Fixtures for the tests of the core; each one's docstring says what it gives."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from msgspec import UNSET
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from tests.deadlines import DEADLINE

if TYPE_CHECKING:
    import ssl

    from wsrooms import WsAddress

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class RawFrame(NamedTuple):
    opcode: int
    payload: bytes


class RawResponse(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """A WebSocket client that does what it is told: it answers nothing by itself.

    Whatever waits for the server has a deadline of 5 seconds.
    """

    TEXT, BINARY, CONT, CLOSE, PING, PONG = TEXT, BINARY, CONT, CLOSE, PING, PONG

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.response = RawResponse(0, {}, b"")

    @staticmethod
    def frame(
        payload: str | bytes,
        opcode: int | None = None,
        *,
        fin: bool = True,
        rsv: int = 0,
        masked: bool = True,
    ) -> bytes:
        """Return the bytes of a frame: text for a str, binary for bytes, if not told otherwise."""
        if opcode is None:
            opcode = TEXT if isinstance(payload, str) else BINARY
        data = payload.encode() if isinstance(payload, str) else payload
        head = (0x80 if fin else 0) | rsv << 4 | opcode
        size = len(data)
        bit = 0x80 if masked else 0
        if size < 126:
            start = struct.pack("!BB", head, bit | size)
        elif size < 65_536:
            start = struct.pack("!BBH", head, bit | 126, size)
        else:
            start = struct.pack("!BBQ", head, bit | 127, size)
        if not masked:
            return start + data
        mask = os.urandom(4)
        repeated = (mask * (size // 4 + 1))[:size]
        mixed = int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")
        return start + mask + mixed.to_bytes(size, "big")

    @classmethod
    def close_frame(cls, code: int | None = 1000, reason: str = "") -> bytes:
        """Return the bytes of a CLOSE; None gives an empty one."""
        payload = b"" if code is None else struct.pack("!H", code) + reason.encode()
        return cls.frame(payload, CLOSE)

    async def write(self, *data: bytes) -> None:
        """Send bytes as they are, in one write."""
        self.writer.write(b"".join(data))
        async with asyncio.timeout(DEADLINE):
            await self.writer.drain()

    async def send(self, *payloads: str | bytes) -> None:
        """Send messages, all in one write."""
        await self.write(*(self.frame(payload) for payload in payloads))

    async def receive(self) -> RawFrame:
        """Return the next frame."""
        async with asyncio.timeout(DEADLINE):
            head, size = await self.reader.readexactly(2)
            assert not size & 0x80, "a server must not mask"
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            payload = await self.reader.readexactly(size)
        assert head & 0xF0 == 0x80, "whole frames, and no extension was negotiated"
        return RawFrame(head & 15, payload)

    async def text(self) -> str:
        """Return the next frame, which is text."""
        opcode, payload = await self.receive()
        assert opcode == TEXT, (opcode, payload)
        return payload.decode()

    async def texts(self, until: str | None = None) -> list[str]:
        """Return the texts up to the CLOSE, or before the text ``until``."""
        texts: list[str] = []
        while True:
            frame = await self.receive()
            if frame.opcode == CLOSE and until is None:
                return texts
            assert frame.opcode == TEXT, frame
            text = frame.payload.decode()
            if text == until:
                return texts
            texts.append(text)

    async def close_code(self) -> tuple[int, str]:
        """Return what the next frame, a CLOSE, says; 1005 where it says nothing."""
        opcode, payload = await self.receive()
        assert opcode == CLOSE, (opcode, payload)
        return (int.from_bytes(payload[:2], "big") or 1005), payload[2:].decode()

    async def end(self) -> bytes:
        """Wait for the end of the socket and return what came before it."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE):
                return await self.reader.read(-1)
        return b""

    async def ended_cut(self) -> bool:
        """Wait for the end of the socket; return whether there was no CLOSE before it."""
        try:
            while True:
                if (await self.receive()).opcode == CLOSE:
                    return False
        except (ConnectionError, asyncio.IncompleteReadError):
            return True

    async def http(self, request: bytes) -> RawResponse:
        """Send a request and return the response, read to its Content-Length."""
        await self.write(request)
        async with asyncio.timeout(DEADLINE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")[:-2]
            fields = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in fields}
            status = int(first.split(" ")[1])
            size = int(headers.get("content-length", 0)) if not request.startswith(b"HEAD") else 0
            return RawResponse(status, headers, await self.reader.readexactly(size))

    async def upgrade(
        self, path: str = "/", headers: Iterable[str] = (), rest: bytes = b""
    ) -> RawResponse:
        """Ask for the WebSocket; ``rest`` follows in the same write."""
        lines = [
            f"GET {path} HTTP/1.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        if not any(line.startswith("Host:") for line in lines):
            lines.insert(1, "Host: 127.0.0.1")
        self.response = await self.http("\r\n".join([*lines, "", ""]).encode() + rest)
        return self.response


@contextlib.asynccontextmanager
async def _raw_client(
    address: WsAddress,
    path: str | None = "/",
    *,
    headers: Iterable[str] = (),
    tls: ssl.SSLContext | None = None,
    receive_buffer: int | None = None,
) -> AsyncIterator[RawClient]:
    loop = asyncio.get_running_loop()
    unix = "+unix:" in address.url
    target: tuple[str, int] | str = address.host if unix else (address.host, address.port)
    family, proto = (socket.AF_UNIX, 0) if unix else (socket.AF_INET, socket.IPPROTO_TCP)
    sock = socket.socket(family, proto=proto)  # for TCP by name, asyncio sends writes undelayed
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    async with asyncio.timeout(DEADLINE):
        try:
            await loop.sock_connect(sock, target)
        except BaseException:
            sock.close()
            raise
        reader, writer = await asyncio.open_connection(
            sock=sock,
            ssl=tls,
            server_hostname="localhost" if tls else None,
            limit=receive_buffer or 2**16,
        )
    client = RawClient(reader, writer)
    try:
        if path is not None:
            response = await client.upgrade(path, headers)
            assert response.status == 101, response
        yield client
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
def raw_client() -> Callable[..., AbstractAsyncContextManager[RawClient]]:
    """Connect as ``async with connect(address) as client``; path None asks for no WebSocket."""
    return _raw_client


class Ended(NamedTuple):
    """How a client saw its connection end; 1006 is no CLOSE at all."""

    code: int
    reason: str


class Peer(asyncio.Protocol):
    """A client that notes what it receives, in order, the moment it arrives.

    What it has not received is proven by order: ``pushes`` sends a ping, and all that
    the server had sent before it handled that ping has been noted when the pong is here.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        uri = parse_uri(url)
        self._headers = headers
        self._protocol = ClientProtocol(uri)
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()
        self._replies: dict[object, dict[str, Any]] = {}
        self._pushes: list[dict[str, Any]] = []
        self._pongs: list[bytes] = []
        self._ids = itertools.count(1)
        self.received: list[dict[str, Any]] = []
        """Every frame, in order, never cleared."""

    @classmethod
    async def connect(cls, url: str, path: str, headers: Mapping[str, str]) -> Peer:
        loop = asyncio.get_running_loop()
        uri = parse_uri(url)
        _, peer = await loop.create_connection(
            lambda: cls(url.rstrip("/") + path, headers), uri.host, uri.port
        )
        async with asyncio.timeout(DEADLINE):
            await peer._opened
        return peer

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        request = self._protocol.connect()
        for name, value in self._headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                if self._protocol.handshake_exc is None:
                    self._opened.set_result(None)
                else:
                    self._opened.set_exception(self._protocol.handshake_exc)
            elif isinstance(event, Frame):
                self._note(event)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        close = self._protocol.close_rcvd
        self._ended.set_result(Ended(1006, "") if close is None else Ended(*_parts(close)))
        if not self._opened.done():
            self._opened.set_exception(ConnectionError("closed before the handshake had ended"))
        self._news.set()

    def _note(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self._pongs.append(bytes(frame.data))
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            message = json.loads(bytes(frame.data))
            self.received.append(message)
            if "id" in message:
                self._replies[message["id"]] = message
            else:
                self._pushes.append(message)
        self._news.set()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.close()

    # What a test does

    def send(self, event: str, path: str, data: object = UNSET, **more: object) -> None:
        """Send a message; ``id=`` asks for a reply, which ``reply(id)`` waits for."""
        message: dict[str, object] = {"event": event, "path": path, **more}
        if data is not UNSET:
            message["data"] = data
        self.send_text(json.dumps(message))

    def send_text(self, *texts: str) -> None:
        """Send frames, all in one segment."""
        for text in texts:
            self._protocol.send_text(text.encode())
        self.transport.write(b"".join(self._protocol.data_to_send()))

    async def call(self, event: str, path: str, data: object = UNSET) -> Any:
        """Send a message with an id; return what was answered, errors as they came."""
        id = next(self._ids)
        self.send(event, path, data, id=id)
        return await self.reply(id)

    async def reply(self, id: object) -> Any:
        """The ``data`` of the reply to ``id``; of an error reply the whole."""
        await self._until(lambda: id in self._replies)
        reply = self._replies.pop(id)
        return reply.get("data", reply)

    async def push(self) -> dict[str, Any]:
        """The next push."""
        await self._until(lambda: bool(self._pushes))
        return self._pushes.pop(0)

    async def pushes(self) -> list[dict[str, Any]]:
        """All pushes that the server has sent by now, and that were not taken yet."""
        await self.settled()
        taken, self._pushes = self._pushes, []
        return taken

    async def settled(self) -> None:
        """Wait until the server has read all that was sent to it so far."""
        token = str(next(self._ids)).encode()
        self._protocol.send_ping(token)
        self._flush()
        await self._until(lambda: token in self._pongs)

    async def ended(self) -> Ended:
        """How the connection ended."""
        async with asyncio.timeout(DEADLINE):
            return await asyncio.shield(self._ended)

    async def close(self, code: int = 1000, reason: str = "") -> Ended:
        """Close as a browser does, and see it through."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()
        return await self.ended()

    def abort(self) -> None:
        """Vanish."""
        self.transport.abort()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                if self._ended.done():
                    raise ConnectionError(f"the connection has ended: {self._ended.result()}")
                self._news.clear()
                await self._news.wait()


def _parts(close: Any) -> tuple[int, str]:
    return int(close.code), close.reason


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Peer]]]:
    """Give what opens clients, which are cut at the end.

    ``peer = await connect(address, path="/", headers={})``.
    """
    peers: list[Peer] = []

    async def open_one(
        address: Any, path: str = "/", headers: Mapping[str, str] | None = None
    ) -> Peer:
        url = address if isinstance(address, str) else address.url
        peer = await Peer.connect(url, path, headers or {})
        peers.append(peer)
        return peer

    yield open_one
    for peer in peers:
        peer.abort()
        await peer.ended()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Give what lets the loop turn until something is so.

    ``await eventually(lambda: ...)``.
    """

    async def until(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110 - turns of the loop are what it waits for
                await asyncio.sleep(0)

    return until


class PlainTransport:
    """Somebody's three methods on a ``PlainBus``, all async; what they do is up to the test."""

    def __init__(self, bus: PlainBus, *, echo: bool) -> None:
        self.bus = bus
        self.echo = echo
        self.calls: list[str] = []
        """What was called: "subscribe ws:room:r"."""
        self.failing: dict[str, Exception] = {}
        """What a call raises, such as "subscribe ws:room:r"."""
        self._held: dict[str, asyncio.Event] = {}
        self._running: set[str] = set()

    def hold(self, call: str) -> Callable[[], None]:
        """Keep ``call`` from returning until what this returns is called."""
        self._held[call] = asyncio.Event()
        return self._held[call].set

    async def publish(self, channel: str, payload: str) -> None:
        await self._call("publish", channel)
        for owner, handler in list(self.bus.subscribers.get(channel, {}).items()):
            if owner is not self or self.echo:
                asyncio.get_running_loop().call_soon(handler, payload)

    async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        await self._call("subscribe", channel)
        self.bus.subscribers.setdefault(channel, {})[self] = handler

    async def unsubscribe(self, channel: str) -> None:
        await self._call("unsubscribe", channel)
        self.bus.subscribers.get(channel, {}).pop(self, None)

    async def _call(self, method: str, channel: str) -> None:
        call = f"{method} {channel}"
        self.calls.append(call)
        line = method if method == "publish" else channel
        assert line not in self._running, f"{call} overlaps"
        self._running.add(line)
        try:
            await asyncio.sleep(0)
            if call in self.failing:
                raise self.failing[call]
            if call in self._held:
                await self._held[call].wait()
        finally:
            self._running.discard(line)


class PlainBus:
    """A bus in this process that has nothing but publish, subscribe and unsubscribe."""

    def __init__(self) -> None:
        self.subscribers: dict[str, dict[PlainTransport, Callable[[str], None]]] = {}

    def transport(self, *, echo: bool = False) -> PlainTransport:
        """Return a new transport on this bus; an echoing one hears itself."""
        return PlainTransport(self, echo=echo)

    def channels(self) -> dict[str, int]:
        """Return how many are subscribed to each channel."""
        return {channel: len(each) for channel, each in self.subscribers.items() if each}


@pytest.fixture
def plain_bus() -> PlainBus:
    """Give a bus whose transports are plain classes of three async methods."""
    return PlainBus()
