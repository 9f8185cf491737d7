"""The rig of a Redis or Valkey: the transport, a proxy before it, and control over the server."""

from __future__ import annotations

import dataclasses
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from wsrooms.testing.conformance import Rig
from wsrooms.transports import Sequencer
from wsrooms_redis import RedisTransport
from wsrooms_redis.options import RedisOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.brokers import Server
    from wsrooms.testing import TcpProxy

COUNTERS = 1000
"""Fewer than the transport has, so that all of them can be used up in a case."""

PROBES = "ws:probe:"


class RedisRig(Rig):
    """Everything that a case may do to a server, which many cases use one after another."""

    options = frozenset(field.name for field in dataclasses.fields(RedisOptions))

    def __init__(self, server: Server, proxy: TcpProxy) -> None:
        self.server = server
        self.tcp_proxy = proxy
        self.proxy = proxy
        self.control = Control(server)
        self.broker = self.control
        self.name = server.name
        self.counters = COUNTERS

    def transport(self, **options: Any) -> RedisTransport:
        where = self.tcp_proxy if options.pop("through_proxy", False) else self.server
        made = RedisTransport(f"redis://{where.host}:{where.port}", **options)
        made.exchange._sequencer = Sequencer(COUNTERS)
        return made

    async def publish_raw(self, channel: str, data: bytes) -> None:
        async with self.client() as client:
            await client.publish(channel, data)

    async def subscriptions(self) -> set[str]:
        async with self.client() as client:
            names = await client.pubsub_channels()
        channels = {name if isinstance(name, str) else name.decode() for name in names}
        return {channel for channel in channels if not channel.startswith(PROBES)}

    async def forget(self) -> None:
        async with self.client() as client:
            await client.flushall()

    async def repair(self) -> None:
        self.tcp_proxy.heal()
        await self.control.repair()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        """A client of somebody else, whose connection ends with the block."""
        client = Redis(host=self.server.host, port=self.server.port)
        try:
            yield client
        finally:
            await client.aclose()


class Control:
    """The server's methods, and what is to be undone of them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._killed = False
        self._stopped = False

    async def kill(self) -> None:
        await self._server.kill()
        self._killed, self._stopped = True, False

    async def start(self) -> None:
        if self._killed:
            await self._server.start()
            self._killed = False

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        await self._server.stop()
        self._stopped = True

    async def cont(self) -> None:
        await self._server.cont()
        self._stopped = False

    async def repair(self) -> None:
        if self._stopped:
            await self.cont()
        await self.start()
