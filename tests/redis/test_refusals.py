"""What a user of Redis may not is told of what it is about, and of nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from tests.brokers import redis_server
from tests.deadlines import DEADLINE, promised
from wsrooms.errors import AuthenticationFailed, PermissionDenied
from wsrooms_redis import RedisTransport

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt


async def error_of(receipt: Receipt) -> Exception | None:
    try:
        async with asyncio.timeout(DEADLINE):
            await receipt
    except PermissionDenied as error:
        return error
    return None


async def test_a_user_that_may_not_ping_is_told_so_at_the_start(redis_image: str) -> None:
    acl = "user default on nopass ~* &* +@all -ping"
    files = {"users.acl": acl + "\n"}
    async with redis_server(redis_image, arguments=("--aclfile", "users.acl"), files=files) as it:
        with pytest.raises(AuthenticationFailed, match="lets this user in and not ping"):
            await RedisTransport(it.url).start()


async def test_a_role_that_may_not_be_asked_any_more_is_no_answer_to_a_message(
    redis_image: str,
) -> None:
    async with redis_server(redis_image) as server:
        transport = RedisTransport(server.url, ping_interval=promised(1.0))
        await transport.start()
        async with Redis(host=server.host, port=server.port) as client:
            await client.acl_setuser("default", enabled=True, commands=["-role"])
            async with asyncio.timeout(DEADLINE):
                while await refused(client, "role") < 3:
                    for _ in range(20):  # pings and messages, in any order
                        assert await error_of(transport.publish("ok:1", "x")) is None
        assert transport.stats()["publish_failed"] == 0
        assert transport.stats()["reconnects"] == 0
        await transport.close()


async def refused(client: Redis, command: str) -> int:
    """How often the server has refused to do that; it counts."""
    stats = await client.info("commandstats")
    count: int = stats[f"cmdstat_{command}"]["rejected_calls"]
    return count
