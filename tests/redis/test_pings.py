"""What a server answers to a ping says of the connection only, and never of a message."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.brokers import redis_server
from tests.deadlines import DEADLINE, promised
from wsrooms_redis import RedisTransport

if TYPE_CHECKING:
    from wsrooms.transports import TransportState

ROOM = "ws:room:/chat/general"
PING_INTERVAL = promised(2.0)
"""Seconds: a server that is held up for less than two of them is not given up for that."""


async def test_a_server_that_cannot_save_its_data_is_used_all_the_same() -> None:
    arguments = ("--dir", "/proc", "--save", "3600 1")  # where nobody can make a file
    async with redis_server(arguments=arguments) as server, Redis.from_url(server.url) as client:
        await refuses_pings(client)

        transport = RedisTransport(server.url, ping_interval=PING_INTERVAL, client_name="ours")
        states: list[TransportState] = []
        transport.on_state(lambda state, _: states.append(state))
        await transport.start()
        await pinged(client)
        async with asyncio.timeout(DEADLINE):  # answered behind the pings, on either connection
            await transport.subscribe(ROOM, print)
            await transport.publish(ROOM, "x")
        assert states == ["up"]
        await transport.close()


async def refuses_pings(client: Redis) -> None:
    """Let it try to save until it has failed."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await client.ping()
                await client.bgsave()
            except ResponseError:
                return
            await asyncio.sleep(0.05)  # it tells nobody when it has


async def pinged(client: Redis) -> None:
    """Wait until each of the two connections has asked for a sign of life; the server counts."""
    pings, roles = await asked(client)
    async with asyncio.timeout(DEADLINE):
        while True:
            now = await asked(client)
            if now[0] > pings and now[1] > roles:
                return
            await asyncio.sleep(0.05)


async def asked(client: Redis) -> tuple[int, int]:
    """How many pings were refused, and how often the role was told that is asked for instead."""
    stats = await client.info("commandstats")
    return stats["cmdstat_ping"]["rejected_calls"], stats["cmdstat_role"]["calls"]


async def test_a_server_that_is_made_a_replica_is_left_however_much_is_published() -> None:
    async with redis_server() as server, Redis.from_url(server.url) as client:
        transport = RedisTransport(server.url, ping_interval=PING_INTERVAL)
        await transport.start()
        left = asyncio.Event()

        def note(state: TransportState, error: str | None) -> None:
            if state == "down" and "is a replica" in str(error):  # not: was silent for a while
                left.set()

        async def publish() -> None:
            """Keep more waiting than a batch holds."""
            receipts = deque(transport.publish(ROOM, "x") for _ in range(2000))
            while not left.is_set():
                await receipts.popleft()
                receipts.append(transport.publish(ROOM, "x"))

        transport.on_state(note)
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(DEADLINE):
            publishing = tasks.create_task(publish())
            await client.replicaof("127.0.0.1", 1)
            await left.wait()
            publishing.cancel()
        await transport.close()
