"""The rig of a Redis or Valkey: the transport, a proxy before it, and control over the server."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from tests.brokers import redis_server
from tests.conformance.server_rig import PROBES, WRONG, ServerRig
from wsrooms.testing.conformance import Stranger
from wsrooms_redis import RedisTransport
from wsrooms_redis.options import RedisOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from tests.brokers import Server
    from wsrooms.testing import TcpProxy
    from wsrooms.testing.conformance import Misfit

BUFFERS = "client-output-buffer-limit"


class RedisRig(ServerRig["Server", RedisTransport]):
    """A server of Redis, or one that speaks as it does."""

    scheme = "redis"
    all_options = RedisOptions
    options = frozenset(RedisOptions.names())

    def __init__(
        self,
        server: Server,
        proxy: TcpProxy,
        image: str | None,
        kind: type[RedisTransport] = RedisTransport,
    ) -> None:
        super().__init__(server, proxy, image, kind)

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
                    yield Stranger(self.made(url), (WRONG, login.password))
            case "missing_password":
                async with self.client() as client:
                    await client.config_set("requirepass", WRONG)
                    try:
                        yield Stranger(self.made(f"redis://{at}"), (WRONG,))
                    finally:
                        await client.config_set("requirepass", "")
            case "tls_to_plain_port":
                yield Stranger(self.made(f"rediss://user:{WRONG}@{at}"), (WRONG,))
            case "tls_untrusted":
                async with redis_server(self.image, tls=True) as other:
                    url = f"rediss://user:{WRONG}@{other.host}:{other.port}"
                    yield Stranger(self.made(url), (WRONG,))

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
        return self._rig.made(url, **options)

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
