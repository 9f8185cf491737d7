"""The rig of a Redis or Valkey: the transport, a proxy before it, and control over the server."""

from __future__ import annotations

import dataclasses
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from tests.brokers import redis_server
from wsrooms.testing.conformance import Rig, Stranger
from wsrooms.transports import Sequencer
from wsrooms_redis import RedisTransport
from wsrooms_redis.options import RedisOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from tests.brokers import Server
    from wsrooms.testing import TcpProxy
    from wsrooms.testing.conformance import Misfit

COUNTERS = 1000
"""Fewer than the transport has, so that all of them can be used up in a case."""

PROBES = "ws:probe:"
BUFFERS = "client-output-buffer-limit"
WRONG = "a-wrong-password"


class RedisRig(Rig):
    """Everything that a case may do to a server, which many cases use one after another."""

    options = frozenset(field.name for field in dataclasses.fields(RedisOptions))

    def __init__(
        self,
        server: Server,
        proxy: TcpProxy,
        image: str | None,
        *,
        kind: type[RedisTransport] = RedisTransport,
    ) -> None:
        self.server = server
        self.tcp_proxy = proxy
        self.proxy = proxy
        self.control = Control(server)
        self.broker = self.control
        self.name = server.name
        self.image = image
        self.kind = kind
        self.address = f"{server.host}:{server.port}"
        self.counters = COUNTERS

    def transport(self, **options: Any) -> RedisTransport:
        where = self.tcp_proxy if options.pop("through_proxy", False) else self.server
        made = self.kind(f"redis://{where.host}:{where.port}", **options)
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

    @asynccontextmanager
    async def login(self, channels: Collection[str] | None = None) -> AsyncIterator[RedisLogin]:
        login = RedisLogin(self, ("*",) if channels is None else (*channels, f"{PROBES}*"))
        await login.grant()
        try:
            yield login
        finally:
            await login.revoke()

    @asynccontextmanager
    async def misfit(self, why: Misfit) -> AsyncIterator[Stranger]:
        at = f"{self.server.host}:{self.server.port}"
        match why:
            case "wrong_password":
                async with self.login() as login:
                    url = f"redis://{login.name}:{WRONG}@{at}"
                    yield Stranger(self.kind(url), (WRONG, login.password))
            case "missing_password":
                async with self.client() as client:
                    await client.config_set("requirepass", WRONG)
                    try:
                        yield Stranger(self.kind(f"redis://{at}"), (WRONG,))
                    finally:
                        await client.config_set("requirepass", "")
            case "tls_to_plain_port":
                yield Stranger(self.kind(f"rediss://user:{WRONG}@{at}"), (WRONG,))
            case "tls_untrusted":
                async with redis_server(self.image, tls=True) as other:
                    url = f"rediss://user:{WRONG}@{other.host}:{other.port}"
                    yield Stranger(self.kind(url), (WRONG,))

    @asynccontextmanager
    async def small_buffers(self) -> AsyncIterator[RedisRig]:
        async with self.client() as client:
            before = (await client.config_get(BUFFERS))[BUFFERS] or ""
            await client.config_set(BUFFERS, "pubsub 4mb 2mb 10")
        try:
            yield self
        finally:
            async with self.client() as client:
                await client.config_set(BUFFERS, before)

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


class RedisLogin:
    """A user of the server, who exists from ``grant()`` to ``revoke()``."""

    refusal = "invalid username-password pair"

    def __init__(self, rig: RedisRig, channels: tuple[str, ...]) -> None:
        self.name = f"user-{secrets.token_hex(4)}"
        self.password = secrets.token_hex(8)
        self._rig = rig
        self._channels = channels

    def transport(self, **options: Any) -> RedisTransport:
        server = self._rig.server
        url = f"redis://{self.name}:{self.password}@{server.host}:{server.port}"
        return self._rig.kind(url, **options)

    async def grant(self) -> None:
        async with self._rig.client() as client:
            await client.acl_setuser(
                self.name,
                enabled=True,
                passwords=[f"+{self.password}"],
                categories=["+@all"],
                keys=["*"],
                channels=list(self._channels),
                reset_channels=True,
            )

    async def revoke(self) -> None:
        async with self._rig.client() as client:
            await client.acl_deluser(self.name)  # which ends its connections as well


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
