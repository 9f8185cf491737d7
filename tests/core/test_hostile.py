"""What strangers do to a server by accident or on purpose, and what it must not cost."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms import TransportUnavailable, WsApp, WsLimits, use_ws_message, use_ws_rooms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]  # the fixtures of conftest.py
    Eventually = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.mark.parametrize("said", [b"", b"garbage\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_a_scan_that_hangs_up_at_once_leaves_no_line_in_the_log(
    said: bytes, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    app = WsApp()
    async with app.serving() as address:
        with caplog.at_level(logging.INFO, logger="wsrooms"):
            for _ in range(20):
                with socket.create_connection((address.host, address.port)) as scanner:
                    scanner.sendall(said)
            if said:
                counted = "http_responses" if said.startswith(b"GET") else "handshakes_failed"
                await eventually(lambda: app.stats()[counted] == 20)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_client_that_asks_and_reads_nothing_ends_with_4008(
    eventually: Eventually,
) -> None:
    app = WsApp(
        heartbeat_interval=0.2,
        heartbeat_timeout=0.1,
        limits=WsLimits(outbox_bytes=65_536, waiting_messages=4),
    )
    codes: list[int | None] = []

    @app.on_message("echo", "/")
    def echo() -> object:
        return use_ws_message().data

    @app.on_disconnect
    def gone() -> None:
        from wsrooms import use_ws_connection

        codes.append(use_ws_connection().close_code)

    async with app.serving() as address:
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=4096)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        asked = json.dumps({"event": "echo", "path": "/", "data": "x" * 8000, "id": 1}).encode()
        frame = b"\x81\xfe" + len(asked).to_bytes(2, "big") + bytes(4) + asked  # a mask of zeros

        async def ask() -> None:
            while True:  # until the server has cut the connection
                writer.write(frame)
                await writer.drain()

        asking = asyncio.create_task(ask())
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(ConnectionError):
                await asking
        writer.close()
        await eventually(lambda: codes == [4008])
        assert app.stats()["slow_clients"] == 1


async def test_a_client_chooses_no_kind_of_log_line(
    connect: Connect, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    class Refusing:
        def publish(self, channel: str, payload: str) -> None: ...

        def subscribe(self, channel: str, handler: object) -> None:
            if channel != "ws:server":
                raise TransportUnavailable("not today")

        def unsubscribe(self, channel: str) -> None: ...

    app = WsApp(broadcast_transport=Refusing())

    @app.on_message("join", "/chat/:room")
    async def join() -> None:
        await use_ws_rooms().join()

    async with app.serving() as address:
        client = await connect(address.url)
        with caplog.at_level(logging.INFO, logger="wsrooms"):
            for number in range(50):
                client.send("join", f"/chat/{number}")
            await eventually(lambda: app.stats()["receipts_failed"] == 50)
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
