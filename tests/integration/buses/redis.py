"""Redis, or what speaks as it does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from redis.asyncio import Redis

from tests.brokers import redis_server
from tests.brokers.redis import REDIS
from tests.deadlines import DEADLINE
from tests.integration.buses.base import Broker, Bus, Heard, Overhearing

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

    from tests.brokers import Server

__all__ = ["RedisBus"]

CLIENT_NAME = "wsrooms"
"""How the transport's connections are called at the broker, unless told otherwise."""


class RedisBus(Bus):
    """One server, no cluster."""

    name = "redis"

    def prepare(self) -> None:
        REDIS.runner(REDIS.alone())  # asks Docker

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[RedisBroker]:
        async with (
            redis_server(REDIS.alone()) as server,
            Redis(host=server.host, port=server.port, client_name="test") as client,
        ):
            yield RedisBroker(server, client)


class RedisBroker(Broker):
    """A server that runs.

    Attributes:
        client: A foreign client.
    """

    def __init__(self, server: Server, client: Redis) -> None:
        self.name = server.name
        self._server = server
        self.client = client

    def url(self, **options: str | float) -> str:
        query = f"?{urlencode(options)}" if options else ""
        return f"redis://{self.server.host}:{self.server.port}{query}"

    @property
    def server(self) -> Server:
        return self._server

    @contextlib.asynccontextmanager
    async def overhear(
        self, *channels: str, namespace: str = ""
    ) -> AsyncIterator[RedisOverhearing]:
        async with self.client.pubsub() as pubsub:
            await pubsub.subscribe(*(_named(channel, namespace) for channel in channels))
            for _ in channels:  # their confirmations
                await pubsub.get_message(timeout=DEADLINE)
            yield RedisOverhearing(pubsub, namespace)

    async def publish(self, channel: str, data: bytes, *, namespace: str = "") -> None:
        await self.client.publish(_named(channel, namespace), data)

    async def forge(
        self, channel: str, payload: bytes, *, instance: str, seq: str, epoch: str = "1"
    ) -> None:
        await self.publish(channel, f"1 {instance} {epoch} {seq} ".encode() + payload)

    async def subscriptions(self) -> set[str]:
        names = await self.client.pubsub_channels()
        decoded = {name.decode() if isinstance(name, bytes) else name for name in names}
        return {name for name in decoded if "ws:probe:" not in name}

    async def connections(self) -> list[str]:
        listed = await self.client.client_list()
        return [one["name"] for one in listed if one["name"].startswith(CLIENT_NAME)]


class RedisOverhearing(Overhearing):
    """A subscription of a foreign client."""

    def __init__(self, pubsub: PubSub, namespace: str) -> None:
        self._pubsub = pubsub
        self._namespace = namespace

    async def next(self) -> Heard:
        async with asyncio.timeout(DEADLINE):
            message = await self._pubsub.get_message(timeout=None)
        assert message is not None
        name, data = message["channel"], message["data"]
        assert isinstance(name, bytes)
        assert isinstance(data, bytes)
        channel = name.decode().removeprefix(_named("", self._namespace))
        version, instance, epoch, seq, payload = data.split(b" ", 4)
        assert version == b"1", message
        return Heard(channel, instance.decode(), int(epoch), int(seq), payload)


def _named(channel: str, namespace: str) -> str:
    return f"{namespace}:{channel}" if namespace else channel
