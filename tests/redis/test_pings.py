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
PING_INTERVAL = promised(0.5)


async def test_a_server_that_cannot_save_its_data_is_used_all_the_same() -> None:
    arguments = ("--dir", "/proc", "--save", "3600 1")  # where nobody can make a file
    async with redis_server(arguments=arguments) as server, Redis.from_url(server.url) as client:
        await refuses_pings(client)

        transport = RedisTransport(server.url, ping_interval=PING_INTERVAL, client_name="ours")
        states: list[TransportState] = []
        transport.on_state(lambda state, _: states.append(state))
        await transport.start()
        await pinged(client, times=3)
        assert states == ["up"]
        await transport.publish(ROOM, "x")
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


async def pinged(client: Redis, *, times: int) -> None:
    """Wait until each of the two connections has pinged ``times``; the servers count."""
    stats = await client.info("stats")
    enough = stats["total_commands_processed"] + stats["total_error_replies"] + 6 * times
    async with asyncio.timeout(DEADLINE):
        while True:
            stats = await client.info("stats")
            enough += 1  # this question
            if stats["total_commands_processed"] + stats["total_error_replies"] >= enough:
                return
            await asyncio.sleep(PING_INTERVAL)


async def test_a_server_that_is_made_a_replica_is_left_however_much_is_published() -> None:
    async with redis_server() as server, Redis.from_url(server.url) as client:
        transport = RedisTransport(server.url, ping_interval=PING_INTERVAL)
        await transport.start()
        down = asyncio.get_running_loop().create_future()

        def note(state: TransportState, error: str | None) -> None:
            if state == "down" and not down.done():
                down.set_result(error)

        async def publish() -> None:
            """Keep more waiting than a batch holds."""
            receipts = deque(transport.publish(ROOM, "x") for _ in range(2000))
            while not down.done():
                await receipts.popleft()
                receipts.append(transport.publish(ROOM, "x"))

        transport.on_state(note)
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(DEADLINE):
            publishing = tasks.create_task(publish())
            await client.replicaof("127.0.0.1", 1)
            assert "is a replica" in await down
            publishing.cancel()
        await transport.close()
