"""Handshakes that are none, with an honest client beside that lacks no reply.

What the server alone makes of garbage, of requests too long and of silence is in
server/test_upgrade.py, a scan that hangs up in test_hostile.py. A handshake that comes by
the byte, or in one segment with frames, is in test_rfc6455.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE, promised
from wsrooms import WsApp

from .rfc6455 import TEXT, frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.core.conftest import RawClient
    from tests.core.hard.input.conftest import Attacked

    Attack = Callable[[WsApp], AbstractAsyncContextManager[Attacked]]
    Raw = Callable[..., AbstractAsyncContextManager[RawClient]]
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]

UPGRADE, CONNECTION = "Upgrade: websocket", "Connection: Upgrade"
KEY, VERSION = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"
ASK = (UPGRADE, CONNECTION, KEY, VERSION)


def request(*headers: str, first: str = "GET / HTTP/1.1") -> bytes:
    return "\r\n".join([first, "Host: x", *headers, "", ""]).encode("latin-1")


def but(old: str, *new: str) -> bytes:
    """A good handshake but for one header."""
    return request(*(header for header in ASK if header != old), *new)


REFUSED: dict[str, tuple[bytes, int]] = {
    "HTTP/1.0": (request(*ASK, first="GET / HTTP/1.0"), 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 400),
    "an upgrade to HTTP/2": (but(UPGRADE, "Upgrade: h2c", "HTTP2-Settings: "), 426),
    "an upgrade to one of two": (but(UPGRADE, "Upgrade: h2c, websocket"), 426),
    "POST": (request(*ASK, first="POST / HTTP/1.1"), 405),
    "POST with a body": (request(*ASK, "Content-Length: 2", first="POST / HTTP/1.1") + b"{}", 400),
    "GET with a body": (request(*ASK, "Content-Length: 2") + b"{}", 400),
    "a negative body": (request(*ASK, "Content-Length: -1"), 400),
    "chunks": (request(*ASK, "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "an empty line first": (b"\r\n" + request(*ASK), 400),
    "a folded header": (request(*ASK, "X: a", " b"), 400),
    "a space before the colon": (request(*ASK, "X : a"), 400),
    "a header without a name": (request(*ASK, ": a"), 400),
    "NUL in a header": (request(*ASK, "X: a\0b"), 400),
    "the key twice": (request(*ASK, KEY), 400),
    "a short key": (but(KEY, "Sec-WebSocket-Key: YWJj"), 400),
    "a key that is no base64": (but(KEY, "Sec-WebSocket-Key: " + "?" * 24), 400),
    "a key that is no ASCII": (but(KEY, "Sec-WebSocket-Key: " + "\xff" * 24), 400),
    "an empty key": (but(KEY, "Sec-WebSocket-Key:"), 400),
    "the version twice": (request(*ASK, VERSION), 400),
    "version 14": (but(VERSION, "Sec-WebSocket-Version: 14"), 400),
    "version 13 or 8": (but(VERSION, "Sec-WebSocket-Version: 13, 8"), 400),
    "version 013": (but(VERSION, "Sec-WebSocket-Version: 013"), 400),
    "a Connection that is no list": (but(CONNECTION, 'Connection: ,;"('), 400),
    "an Upgrade that is no list": (but(UPGRADE, 'Upgrade: websocket/("'), 400),
    "no list of subprotocols": (request(*ASK, 'Sec-WebSocket-Protocol: ,"a b"'), 400),
    "too many headers": (request(*ASK, *["X: a"] * 200), 431),
    "a header of 100 KB": (request(*ASK, "X: " + "a" * 100_000), 431),
    "a path of 100 KB": (request(*ASK, first=f"GET /{'a' * 100_000} HTTP/1.1"), 414),
    "two plain requests": (request() + request(), 426),
    "a plain request, then a handshake": (request() + request(*ASK), 426),
    "frames without a handshake": (frame(TEXT, b"\n", masked=False) * 9, 400),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_handshake_is_answered_once_and_ends(
    name: str, attacked: Attack, raw_client: Raw
) -> None:
    sent, status = REFUSED[name]
    async with (
        attacked(WsApp(heartbeat_interval=None)) as server,
        raw_client(server.address, path=None) as client,
    ):
        response = await client.http(sent)
        assert response.status == status
        assert response.headers["connection"] == "close"
        if "version" in name:
            # RFC 6455 §4.4: a client of another version is told which one is spoken.
            assert response.headers["sec-websocket-version"] == "13"
        assert await client.end() == b""
        stats = server.app.stats()
        assert stats["handshakes_failed"] + stats["http_responses"] == 1
        assert stats["connections_total"] == 1


ACCEPTED: dict[str, bytes] = {
    "one of several connection options": but(CONNECTION, "Connection: keep-alive, uPGRADE"),
    "two Connection headers": request(*ASK, "Connection: keep-alive"),
    "the name of the protocol in capitals": but(UPGRADE, "Upgrade: WebSocket"),
    "extensions that nobody speaks": request(
        *ASK, 'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99, x; y="z"'
    ),
    "extensions that are no list": request(*ASK, "Sec-WebSocket-Extensions: ;,=("),
    "subprotocols that nobody speaks": request(*ASK, "Sec-WebSocket-Protocol: v1, v2"),
    "a body of no bytes": request(*ASK, "Content-Length: 0"),
    "a cookie of 8,000 bytes": request(*ASK, "Cookie: " + "a" * 8000),
    "a hundred headers": request(*ASK, *["X: a"] * 100),
    "a query of bytes that are no UTF-8": request(*ASK, first="GET /%ED%A0%80?%ff=%00 HTTP/1.1"),
    "a header that is Latin-1": request(*ASK, "X: \xff"),
}


@pytest.mark.parametrize("name", ACCEPTED)
async def test_a_handshake_may_be_strange_and_right(
    name: str, attacked: Attack, raw_client: Raw
) -> None:
    async with (
        attacked(WsApp(heartbeat_interval=None)) as server,
        raw_client(server.address, path=None) as client,
    ):
        response = await client.http(ACCEPTED[name])
        assert response.status == 101
        assert "sec-websocket-extensions" not in response.headers
        assert "sec-websocket-protocol" not in response.headers
        await client.send('{"event":"good","path":"/","data":1,"id":1}')
        assert await client.text() == '{"id":1,"data":1}'


@pytest.mark.parametrize("behind", [request(), request(*ASK), b"\0" * 9, b"\r\n\r\n"])
async def test_what_follows_a_handshake_is_frames_and_nothing_else(
    behind: bytes, attacked: Attack, raw_client: Raw
) -> None:
    async with (
        attacked(WsApp(heartbeat_interval=None)) as server,
        raw_client(server.address, path=None) as client,
    ):
        assert (await client.http(request(*ASK) + behind)).status == 101
        assert (await client.close_code())[0] == 1002
        assert await client.end() == b""


@pytest.mark.usefixtures("impatient")
async def test_a_handshake_that_never_ends_is_cut_however_busy_it_is(
    attacked: Attack, raw_client: Raw, eventually: Eventually
) -> None:
    async with (
        attacked(WsApp(heartbeat_interval=None)) as server,
        raw_client(server.address, path=None) as client,
    ):
        ended = asyncio.ensure_future(client.end())
        async with asyncio.timeout(DEADLINE):
            await client.write(request(*ASK)[:-2])
            while not ended.done():
                with contextlib.suppress(ConnectionError):
                    await client.write(b"X: a\r\n")
                # So seldom that it is not for too many headers, of which it may have 128.
                await asyncio.wait([ended], timeout=promised(0.02))
        assert await ended == b""
        await eventually(lambda: server.app.stats()["handshakes_failed"] == 1)


@pytest.mark.usefixtures("impatient")
async def test_hundreds_of_half_handshakes_keep_nobody_out(
    attacked: Attack, raw_client: Raw, eventually: Eventually
) -> None:
    async with (
        attacked(WsApp(heartbeat_interval=None)) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        half = [
            await stack.enter_async_context(raw_client(server.address, path=None))
            for _ in range(200)
        ]
        for client in half:
            client.writer.write(request(*ASK)[:-2])
        async with raw_client(server.address) as late:
            await late.send('{"event":"good","path":"/","id":1}')
            assert await late.text() == '{"id":1,"data":null}'
        for client in half:
            assert await client.end() == b""
        await eventually(lambda: server.app.stats()["handshakes_failed"] == 200)


@pytest.mark.usefixtures("impatient")
async def test_a_tls_client_on_the_plain_port_is_told_or_cut(
    attacked: Attack, raw_client: Raw, eventually: Eventually
) -> None:
    outgoing = ssl.MemoryBIO()
    client_side = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname="localhost"
    )
    with pytest.raises(ssl.SSLWantReadError):
        client_side.do_handshake()
    async with (
        attacked(WsApp(heartbeat_interval=None)) as server,
        raw_client(server.address, path=None) as client,
    ):
        await client.write(outgoing.read())
        # A hello that happens to hold a line feed is a bad request at once.
        assert (await client.end())[:12] in (b"", b"HTTP/1.1 400")
        await eventually(lambda: server.app.stats()["handshakes_failed"] == 1)


@pytest.mark.parametrize("sent", [b"", request(*ASK)[:-2], request(*ASK), request(*ASK) + b"\x81"])
async def test_clients_that_vanish_at_any_moment_of_the_handshake_leave_nothing(
    sent: bytes, attacked: Attack, eventually: Eventually
) -> None:
    async with attacked(WsApp(heartbeat_interval=None)) as server:
        for _ in range(100):
            with socket.create_connection((server.address.host, server.address.port)) as sock:
                sock.sendall(sent)
                reset = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            await asyncio.sleep(0)
        await server.keeps_answering()
        await eventually(lambda: server.app.stats()["connections"] == 1)
