"""A channel that Redis denies fails for whoever wants that one, and for nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from tests.brokers import Server, redis_server
from wsrooms.errors import AuthenticationFailed, PermissionDenied
from wsrooms_redis import RedisTransport

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt

ACL = "user default on nopass ~* &ws:probe:* &ok:* +@all"
DEADLINE = 10.0


def restricted(image: str) -> Server:
    return redis_server(
        image, arguments=("--aclfile", "users.acl"), files={"users.acl": ACL + "\n"}
    )


async def error_of(receipt: Receipt) -> Exception | None:
    try:
        async with asyncio.timeout(DEADLINE):
            await receipt
    except PermissionDenied as error:
        return error
    return None


async def test_of_many_names_in_one_command_only_the_denied_one_fails(redis_image: str) -> None:
    async with restricted(redis_image) as server:
        transport, other = RedisTransport(server.url), RedisTransport(server.url)
        await transport.start()
        await other.start()
        heard: list[str] = []
        names = [f"ok:{number}" for number in range(20)]
        names[7] = "denied"
        receipts = {name: transport.subscribe(name, heard.append) for name in names}
        errors = {name: await error_of(receipt) for name, receipt in receipts.items()}
        assert [name for name, error in errors.items() if error is not None] == ["denied"]
        denied = errors["denied"]
        assert isinstance(denied, PermissionDenied)
        assert denied.channel == "denied"
        assert transport.state == "up"
        assert transport.stats()["subscriptions"] == 19
        for name in names:
            if name != "denied":
                await other.publish(name, name)
        async with asyncio.timeout(DEADLINE):
            while len(heard) < 19:  # noqa: ASYNC110 - messages come when they come
                await asyncio.sleep(0.005)
        assert heard == [name for name in names if name != "denied"]
        await transport.close()
        await other.close()


async def test_of_many_messages_in_one_batch_only_the_denied_one_fails(redis_image: str) -> None:
    async with restricted(redis_image) as server:
        transport = RedisTransport(server.url)
        await transport.start()
        names = [f"ok:{number}" for number in range(20)]
        names[7] = "denied"
        receipts = [transport.publish(name, "x") for name in names]
        errors = [await error_of(receipt) for receipt in receipts]
        assert [names[at] for at, error in enumerate(errors) if error is not None] == ["denied"]
        stats = transport.stats()
        assert (stats["published"], stats["publish_failed"]) == (19, 1)
        assert transport.state == "up"
        await transport.close()


@pytest.mark.parametrize("names", [["denied"], ["denied", "denied too"]])
async def test_what_was_denied_can_be_asked_for_again(redis_image: str, names: list[str]) -> None:
    async with restricted(redis_image) as server:
        transport = RedisTransport(server.url)
        await transport.start()
        for _ in range(2):
            receipts = [transport.subscribe(name, print) for name in names]
            assert all([await error_of(receipt) is not None for receipt in receipts])
        assert transport.stats()["subscriptions"] == 0
        await transport.subscribe("ok:1", print)
        await transport.close()


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
        transport = RedisTransport(server.url, ping_interval=0.04)
        await transport.start()
        async with Redis(host=server.host, port=server.port) as client:
            await client.acl_setuser("default", enabled=True, commands=["-role"])
            for number in range(200):  # pings and messages, in any order
                assert await error_of(transport.publish("ok:1", str(number))) is None
                await asyncio.sleep(0.001)
        assert transport.stats()["publish_failed"] == 0
        assert transport.stats()["reconnects"] == 0
        await transport.close()
