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
from tests.deadlines import DEADLINE
from wsrooms.errors import TransportUnavailable
from wsrooms.testing import TcpProxy
from wsrooms.transports.wire import SLICE
from wsrooms_redis import RedisTransport
from wsrooms_redis.target import Target
from wsrooms_redis.wire import Wire, pack


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with redis_server() as server:
        yield server


@contextlib.asynccontextmanager
async def opened(url: str, on_reply: Callable[[Any], None]) -> AsyncIterator[Wire]:
    wire = Wire(on_reply)
    target = Target.of(url)
    try:
        async with asyncio.timeout(DEADLINE):
            await wire.open(target, target.addresses[0])
        yield wire
    finally:
        await wire.close()


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
    assert str(why).startswith(f"{server.url}: what answers there is not Redis")


async def test_a_server_that_demands_tls_is_not_reached_without_it() -> None:
    async with redis_server(tls=True) as server:
        plain = server.url.replace("rediss", "redis")
        with pytest.raises(TransportUnavailable):
            await RedisTransport(plain).start()
