"""A connection to Redis opens in time or not at all, reads in slices, and ends at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.brokers import Server, redis_server
from wsrooms.errors import AuthenticationFailed, TransportError, TransportUnavailable
from wsrooms.testing import TcpProxy
from wsrooms.transports.wire import SLICE
from wsrooms_redis import RedisTransport
from wsrooms_redis.target import Target
from wsrooms_redis.wire import Wire, pack

DEADLINE = 10.0


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with redis_server() as server:
        yield server


@contextlib.asynccontextmanager
async def opened(url: str, on_reply: Callable[[Any], None]) -> AsyncIterator[Wire]:
    transport = RedisTransport(url)
    wire = Wire(on_reply)
    target = Target.of(url)
    try:
        async with asyncio.timeout(DEADLINE):
            await wire.open(target, target.addresses[0], transport.options)
        yield wire
    finally:
        await wire.close()


@contextlib.asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    """Somebody who listens, and answers each read with ``answer``; None: with nothing."""
    clients: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                if answer is not None:
                    writer.write(answer)
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    if clients:
        await asyncio.wait(clients)


async def test_replies_come_in_order_and_the_loop_gets_turns_between_them(server: Server) -> None:
    replies: list[Any] = []
    done = asyncio.Event()
    turns = 0
    seen_in_turn: list[int] = []

    def slow(reply: Any) -> None:
        time.sleep(SLICE / 5)
        replies.append(reply)
        if len(replies) == 100:
            done.set()

    def turn() -> None:
        nonlocal turns
        turns += 1
        seen_in_turn.append(len(replies))
        if not done.is_set():
            asyncio.get_running_loop().call_soon(turn)

    async with opened(server.url, slow) as wire:
        wire.write(b"".join(pack("ECHO", f"{number} {'x' * 300}") for number in range(100)))
        turn()
        async with asyncio.timeout(DEADLINE):
            await done.wait()
    assert [int(reply.split()[0]) for reply in replies] == list(range(100))
    # At most a slice, and the replies of one piece, before the loop gets its turn.
    steps = [after - before for before, after in itertools.pairwise(seen_in_turn)]
    assert max(steps) < 60


async def test_an_abort_ends_it_at_once_whatever_is_unsent(server: Server) -> None:
    async with (
        TcpProxy(server.host, server.port) as proxy,
        opened(f"redis://127.0.0.1:{proxy.port}", lambda _: None) as wire,
    ):
        proxy.hole()
        for _ in range(64):
            wire.write(pack("ECHO", "x" * 262_144))
        assert wire._transport is not None
        assert wire._transport.get_write_buffer_size() > 0
        why = TransportUnavailable("enough")
        wire.abort(why)
        wire.abort(TransportUnavailable("too late"))
        async with asyncio.timeout(DEADLINE):
            assert await wire.lost() is why
        wire.write(b"nobody reads this")


async def test_a_server_that_hangs_up_ends_it_without_a_reason_of_our_own(server: Server) -> None:
    async with opened(server.url, lambda _: None) as wire:
        wire.write(pack("QUIT"))
        async with asyncio.timeout(DEADLINE):
            assert await wire.lost() is None


async def test_what_a_reply_raises_ends_it(server: Server) -> None:
    why = TransportUnavailable("not that")

    def refuse(_: Any) -> None:
        raise why

    async with opened(server.url, refuse) as wire:
        wire.write(pack("PING"))
        async with asyncio.timeout(DEADLINE):
            assert await wire.lost() is why


async def test_what_is_no_redis_ends_it(server: Server) -> None:
    async with opened(server.url, lambda _: None) as wire:
        wire.data_received(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        async with asyncio.timeout(DEADLINE):
            why = await wire.lost()
    assert str(why).startswith("what answers there is not Redis")


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0", b"+OK\r\n" * 9, b"-ERR no\r\n"]
)
async def test_somebody_else_behind_the_port_fails_the_start_in_time(answer: bytes) -> None:
    async with answering(answer) as url:
        transport = RedisTransport(url, start_timeout=2.0, connect_timeout=1.0)
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(TransportError):
                await transport.start()


async def test_a_login_that_is_never_answered_fails_the_start_in_time() -> None:
    async with answering(None) as url:
        transport = RedisTransport(f"{url}?connect_timeout=0.3")
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(TransportUnavailable, match=r"did not answer within 0\.3 s"):
                await transport.start()


async def test_tls_is_spoken_with_whom_we_trust_or_are_told_to_and_with_nobody_else() -> None:
    async with redis_server(tls=True) as server:
        assert server.certificates is not None
        with pytest.raises(AuthenticationFailed, match="is not to be trusted"):
            await RedisTransport(server.url).start()
        trusting = RedisTransport(server.url, ssl_ca_certs=str(server.certificates.ca))
        await trusting.start()
        await trusting.publish("c", "x")
        await trusting.close()
        careless = RedisTransport(f"{server.url}?ssl_cert_reqs=none")
        await careless.start()
        await careless.close()
        with pytest.raises(TransportUnavailable):
            await RedisTransport(server.url.replace("rediss", "redis")).start()


async def test_tls_to_a_server_that_has_none_fails_in_time(server: Server) -> None:
    url = server.url.replace("redis", "rediss", 1)
    transport = RedisTransport(url, start_timeout=2.0, connect_timeout=1.0)
    with pytest.raises(TransportError):
        await transport.start()
