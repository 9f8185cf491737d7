"""A transport that is closed at any moment leaves no task, no socket and nobody who waits."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE, promised
from tests.transports.told import Told
from wsrooms.errors import TransportClosed, TransportError

if TYPE_CHECKING:
    from tests.transports.kinds import Kind
    from wsrooms import Receipt

AT_ONCE = 8


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
async def test_closes_at_random_moments_leave_nothing(kind: Kind) -> None:
    chance = random.Random(6)
    async with kind.server() as server, kind.proxy(server) as proxy:
        proxied = kind.url_at(proxy.port)
        before = sockets()
        for _ in range(kind.closes // AT_ONCE):
            trouble = chance.random()
            if trouble < 0.1:
                proxy.hole()
            elif trouble < 0.2:
                proxy.slow(latency=0.01)
            urls = [proxied if chance.random() < 0.8 else server.url for _ in range(AT_ONCE)]
            lives = [life(kind, url, random.Random(chance.random())) for url in urls]
            group = asyncio.gather(*lives)
            await asyncio.sleep(chance.uniform(0, kind.started_in / 2))
            if trouble > 0.8:
                proxy.cut()
            async with asyncio.timeout(DEADLINE):
                await group
            proxy.heal()
        async with asyncio.timeout(DEADLINE):
            while proxy.connections or sockets() > before:  # noqa: ASYNC110 - told by nobody
                await asyncio.sleep(0.01)


async def life(kind: Kind, url: str, chance: random.Random) -> None:
    """Start, do something, and close, each at any moment."""
    transport = kind.transport(
        url, close_timeout=promised(0.5), start_timeout=promised(1.0), connect_timeout=promised(0.5)
    )
    receipts: list[Receipt] = []
    starting = asyncio.ensure_future(transport.start())
    await asyncio.sleep(chance.choice((0, 0, 0.001, chance.uniform(0, kind.started_in))))
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


async def test_after_its_close_it_takes_nothing_and_may_be_closed_again(kind: Kind) -> None:
    async with kind.server() as server:
        transport = kind.patient(server.url)
        await transport.start()
        await transport.subscribe("c", print)
        await transport.close()
        await transport.close()
        with pytest.raises(TransportClosed):
            transport.publish("c", "x")
        with pytest.raises(TransportClosed):
            transport.subscribe("c", print)
        with pytest.raises(TransportClosed):
            transport.unsubscribe("c")


async def test_a_close_publishes_what_waits(kind: Kind) -> None:
    async with kind.server() as server:
        transport = kind.patient(server.url, close_timeout=DEADLINE)
        other = kind.patient(server.url)
        heard: list[str] = []
        await transport.start()
        await other.start()
        await other.subscribe("c", heard.append)
        receipts = [transport.publish("c", str(number)) for number in range(2000)]
        await transport.close()
        assert all(receipt.done for receipt in receipts)
        for receipt in receipts:
            await receipt
        async with asyncio.timeout(DEADLINE):
            while len(heard) < 2000:  # noqa: ASYNC110 - messages come when they come
                await asyncio.sleep(0.005)
        assert heard == [str(number) for number in range(2000)]
        await other.close()


async def test_a_close_while_the_server_is_silent_ends_in_time_and_fails_what_waits(
    kind: Kind,
) -> None:
    async with kind.server() as server, kind.proxy(server) as proxy:
        transport = kind.patient(kind.url_at(proxy.port), close_timeout=promised(0.5))
        await transport.start()
        proxy.hole()
        receipts = [transport.publish("c", "x" * 100_000) for _ in range(100)]
        wish = transport.subscribe("d", print)
        if not transport.keeps_log:  # else a wish is nothing that the server is asked
            receipts.append(wish)
        began = asyncio.get_running_loop().time()
        await transport.close()
        assert asyncio.get_running_loop().time() - began < min(promised(2.4), 4.8)  # it would be 5
        assert wish.done
        for receipt in receipts:
            with pytest.raises(TransportError):
                await receipt


async def test_a_close_while_the_server_is_away_ends_at_once(kind: Kind) -> None:
    async with kind.server() as server:
        transport = kind.patient(server.url)
        await transport.start()
        told = Told(transport)
        await server.kill()
        await told.until("down")
        waits = transport.subscribe("d", print)
        async with asyncio.timeout(DEADLINE):
            await transport.close()
        with pytest.raises(TransportClosed):
            await waits
