"""Several servers: the transport finds the primary, and follows when another becomes it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from tests.brokers import Server, redis_server, sentinel_of
from tests.deadlines import DEADLINE, promised
from tests.transports.told import Told
from wsrooms.errors import AuthenticationFailed, TransportUnavailable
from wsrooms.transports import broker
from wsrooms_redis import RedisTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOM = "ws:room:/chat/general"


@asynccontextmanager
async def a_pair() -> AsyncIterator[tuple[Server, Server]]:
    """A primary, and a replica that has its data."""
    at_once = ("--repl-diskless-sync-delay", "0")  # else it waits 5 s for more replicas
    async with redis_server(arguments=at_once) as primary:
        arguments = ("--replicaof", f"{primary.host} {primary.port}")
        async with redis_server(arguments=arguments) as replica, client_of(replica) as client:
            async with asyncio.timeout(DEADLINE):
                # A replica tells nobody when it is in step.
                while (await client.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            yield primary, replica


@asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[Redis]:
    async with Redis(host=server.host, port=server.port) as client:
        yield client


@asynccontextmanager
async def started(*transports: RedisTransport) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for transport in transports:
            await transport.start()
            stack.push_async_callback(transport.close)
        yield


async def test_the_kill_of_a_primary_that_sentinels_replace_loses_no_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Within it the receiver has to be back too; on a busy machine its next try may come late.
    monkeypatch.setattr(broker, "RESUME", promised(4.0))
    async with a_pair() as (primary, _), sentinel_of(primary, "mymaster") as sentinel:
        await replicas_known(sentinel)
        url = f"redis+sentinel://127.0.0.1:1,{sentinel.host}:{sentinel.port}/mymaster"
        sender, receiver = (RedisTransport(url, outbox_age=DEADLINE) for _ in range(2))
        heard: list[str] = []
        async with started(sender, receiver):
            await receiver.subscribe(ROOM, heard.append)
            receipts = [sender.publish(ROOM, str(number)) for number in range(100)]
            for receipt in receipts:
                await receipt
            told = Told(receiver)
            await primary.kill()
            await told.until("down")
            receipts = [sender.publish(ROOM, str(number)) for number in range(100, 200)]
            async with asyncio.timeout(DEADLINE):
                for receipt in receipts:
                    await receipt
            last = asyncio.Event()
            await receiver.subscribe("ws:room:/end", lambda _: last.set())
            await sender.publish("ws:room:/end", "")  # on one connection, so it comes last
            async with asyncio.timeout(DEADLINE):
                await last.wait()
        assert heard == [*map(str, range(200))]


async def replicas_known(sentinel: Server) -> None:
    async with client_of(sentinel) as client, asyncio.timeout(DEADLINE):
        while True:
            masters: Any = await client.sentinel_masters()  # typed as if RESP3 were spoken
            if masters["mymaster"]["num-slaves"] == 1:
                return
            await asyncio.sleep(0.05)  # it asks the primary now and then


async def test_of_several_hosts_the_one_that_is_there_and_no_replica_is_used() -> None:
    async with a_pair() as (primary, replica):
        hosts = f"127.0.0.1:1,{replica.host}:{replica.port},{primary.host}:{primary.port}"
        async with started(RedisTransport(f"redis://{hosts}?client_name=ours")):
            async with client_of(primary) as client:
                names = [each["name"] for each in await client.client_list()]
            assert names.count("ours") == 2
            async with client_of(replica) as client:
                assert "ours" not in [each["name"] for each in await client.client_list()]


async def test_a_host_that_accepts_and_is_silent_leaves_the_others_their_time() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    async with (
        redis_server() as server,
        await asyncio.start_server(say_nothing, "127.0.0.1", 0) as mute,
    ):
        silent = f"127.0.0.1:{mute.sockets[0].getsockname()[1]}"
        url = f"redis://{silent},{server.host}:{server.port}"
        patient = RedisTransport(url, connect_timeout=promised(4.0), start_timeout=DEADLINE)
        async with started(patient):
            pass
        with pytest.raises(TransportUnavailable, match="did not answer within"):
            await RedisTransport(f"redis://{silent},{silent}").start()


async def test_a_replica_alone_is_refused() -> None:
    async with a_pair() as (_, replica):
        with pytest.raises(TransportUnavailable, match=r"is a replica, .* connect to its primary"):
            await RedisTransport(replica.url).start()


async def test_a_server_that_is_made_a_replica_is_left_until_it_is_one_no_more() -> None:
    async with redis_server() as server, redis_server() as other:
        transport = RedisTransport(server.url, ping_interval=promised(1.0))
        async with started(transport), client_of(server) as client:
            told = Told(transport)
            await client.replicaof(other.host, other.port)
            while "is a replica" not in str(await told.until("down")):
                pass  # a busy machine may have been silent before
            await client.replicaof("NO", "ONE")
            await told.until("up")


async def test_a_node_of_a_cluster_is_no_replica_that_keeps_messages_to_itself() -> None:
    async with (
        redis_server(arguments=("--cluster-enabled", "yes")) as node,
        started(RedisTransport(node.url)),
    ):
        pass


async def test_a_sentinel_that_does_not_know_the_service_says_so() -> None:
    async with redis_server() as server, sentinel_of(server, "mymaster") as sentinel:
        url = f"redis+sentinel://{sentinel.host}:{sentinel.port}/other"
        with pytest.raises(TransportUnavailable, match="knows no service 'other'"):
            await RedisTransport(url).start()


async def test_a_sentinel_may_want_a_login_of_its_own() -> None:
    async with (
        redis_server() as server,
        sentinel_of(server, "mymaster", ("--requirepass", "geheim")) as sentinel,
    ):
        url = f"redis+sentinel://{sentinel.host}:{sentinel.port}/mymaster"
        with pytest.raises(AuthenticationFailed, match=r"the sentinel .* refused the login"):
            await RedisTransport(url, sentinel_password="falsch").start()
        async with started(RedisTransport(url, sentinel_password="geheim")):
            pass
