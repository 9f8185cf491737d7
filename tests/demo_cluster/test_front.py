"""``demo_cluster.front`` alone, before servers that only tell who they are."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from demo_cluster import front
from demo_cluster.front import Front
from tests.deadlines import DEADLINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

UPGRADE = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUPGRADE:  WebSocket\r\n\r\n"
PLAIN = b"GET / HTTP/1.1\r\n\r\n"
CONTROL = UPGRADE.replace(b"GET / ", b"GET /fleet ")


@asynccontextmanager
async def server(name: str) -> AsyncIterator[int]:
    """Answers each request, once its client has ended, with its name and all that came."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.read()
        writer.write(name.encode() + b" " + said)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


@asynccontextmanager
async def a_front(*instances: int, page: int = 1) -> AsyncIterator[int]:
    at = socket.create_server(("127.0.0.1", 0))
    async with asyncio.timeout(DEADLINE), Front(lambda: instances, page).listening(at):
        yield at.getsockname()[1]


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


async def test_the_chat_goes_to_the_instances_in_turn_and_the_rest_to_the_page() -> None:
    async with AsyncExitStack() as stack:
        one, two, page = [
            await stack.enter_async_context(server(name)) for name in ("one", "two", "page")
        ]
        port = await stack.enter_async_context(a_front(one, two, page=page))
        heard = [await ask(port, UPGRADE) for _ in range(4)]
        assert heard == [b"one " + UPGRADE, b"two " + UPGRADE] * 2
        for request in (PLAIN, CONTROL, PLAIN + UPGRADE):
            assert await ask(port, request) == b"page " + request


async def test_bytes_pass_both_ways_as_they_were_however_many() -> None:
    much = UPGRADE + bytes(range(256)) * 20_000
    async with server("one") as one, a_front(one) as port:
        assert await ask(port, much) == b"one " + much


async def test_who_reads_late_still_gets_all_that_was_said_before_the_end() -> None:
    async with server("one") as one, a_front(one) as port:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=small)
        much = UPGRADE + bytes(4_000_000)
        writer.write(much)
        writer.write_eof()
        heard = 0
        while piece := await reader.read(100_000):
            heard += len(piece)
            await asyncio.sleep(0.01)  # as one does that is busy
        writer.close()
        assert heard == len(b"one " + much)


async def test_an_instance_that_has_just_died_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ended:
        dead = ended.getsockname()[1]
    async with server("two") as two, a_front(dead, two) as port:
        for _ in range(3):
            assert await ask(port, UPGRADE) == b"two " + UPGRADE


async def test_who_finds_no_instance_is_told_so() -> None:
    async with a_front() as port:
        answer = await ask(port, UPGRADE)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(front.NOBODY.encode())


async def test_a_head_without_end_is_refused() -> None:
    async with a_front() as port:
        answer = await ask(port, b"GET /" + b"x" * 2 * front.HEAD_LIMIT)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_who_says_nothing_is_shown_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "HEAD_TIMEOUT", 0.01)
    async with a_front() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            """Shown out all the same."""
        writer.close()
