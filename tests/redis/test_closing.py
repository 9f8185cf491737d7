"""A transport that is closed at any moment leaves no task, no socket and nobody who waits."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.brokers import Server, redis_server
from wsrooms.errors import TransportError
from wsrooms.testing import TcpProxy
from wsrooms_redis import RedisTransport

if TYPE_CHECKING:
    from wsrooms import Receipt

CLOSES = 400
AT_ONCE = 8
DEADLINE = 10.0


def sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        except OSError:
            continue  # that of the listing itself
    return count


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts sockets in /proc")
@pytest.mark.timeout(120)
async def test_400_closes_at_random_moments_leave_nothing() -> None:
    chance = random.Random(6)
    async with redis_server() as server, TcpProxy(server.host, server.port) as proxy:
        before = sockets()
        for _ in range(CLOSES // AT_ONCE):
            trouble = chance.random()
            if trouble < 0.1:
                proxy.hole()
            elif trouble < 0.2:
                proxy.slow(latency=0.01)
            lives = [life(server, proxy, random.Random(chance.random())) for _ in range(AT_ONCE)]
            group = asyncio.gather(*lives)
            await asyncio.sleep(chance.uniform(0, 0.01))
            if trouble > 0.8:
                proxy.cut()
            async with asyncio.timeout(DEADLINE):
                await group
            proxy.heal()
        async with asyncio.timeout(DEADLINE):
            while proxy.connections:  # noqa: ASYNC110 - the proxy tells nobody
                await asyncio.sleep(0.01)
        assert sockets() <= before


async def life(server: Server, proxy: TcpProxy, chance: random.Random) -> None:
    """Start, do something, and close, each at any moment."""
    url = f"redis://127.0.0.1:{proxy.port}" if chance.random() < 0.8 else server.url
    transport = RedisTransport(url, close_timeout=0.5, start_timeout=1.0, connect_timeout=0.5)
    receipts: list[Receipt] = []
    starting = asyncio.ensure_future(transport.start())
    await asyncio.sleep(chance.choice((0, 0, 0.001, chance.uniform(0, 0.02))))
    for number in range(chance.randrange(4)):
        try:
            receipts.append(transport.subscribe(f"c{number}", print))
            receipts.append(transport.publish(f"c{number}", "x" * 10_000))
            transport.unsubscribe(f"c{number}")
        except TransportError:
            break  # it did not start
        await asyncio.sleep(chance.choice((0, 0.0005, 0.002)))
    if chance.random() < 0.3:
        starting.cancel()
    closing = asyncio.ensure_future(transport.close())
    if chance.random() < 0.2:
        await asyncio.sleep(chance.uniform(0, 0.003))
        closing.cancel()
    await asyncio.wait({starting, closing})
    await transport.close()
    for task in (starting, closing):
        if not task.cancelled() and (error := task.exception()) is not None:
            assert isinstance(error, TransportError), repr(error)
    assert all(receipt.done for receipt in receipts)
    assert transport.state == "closed"
