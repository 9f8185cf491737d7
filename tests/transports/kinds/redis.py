"""Redis and Valkey."""

from __future__ import annotations

import dataclasses
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from redis.credentials import UsernamePasswordCredentialProvider

from tests.brokers import redis_images, redis_server
from tests.deadlines import PATIENT
from tests.transports.kinds.base import DEFAULTS, PROBES, RefusingKind, TextConversation
from wsrooms_redis import RedisKeywords, RedisOptions, RedisTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

    from tests.brokers import Server

__all__ = ["RedisKind"]

MESSAGE = re.compile(rb"\*3\r\n\$7\r\nmessage\r\n\$\d+\r\n[^\r]*\r\n\$\d+\r\n[^\r]*\r\n")


class RedisKind(RefusingKind):
    """``RedisTransport``."""

    name = "redis"
    options = RedisOptions
    keywords = RedisKeywords
    place = "redis://h:7"
    tls_place = "rediss://h:7"
    ports = (6379, 6379)
    defaults: ClassVar = {
        **DEFAULTS,
        "sentinel_username": None,
        "sentinel_password": None,
        "credential_provider": None,
    }
    keyword_only = frozenset({"credential_provider", "logger"})
    broken = (
        "redis://:{}@host:port",
        "redis://:{}@host:99999",
        "redis://:{}@[::1",
        "redis://:{}@host/database",
        "redis://:{}@host?password=x",
        "redis://host?password={}",
        "redis://somebody:{}@@host?x=1",
        "redis:{}@host",
        "redis+unix://:{}@run/socket",
        "redis+sentinel://:{}@host",
    )

    def transport(self, url: str, **options: Any) -> RedisTransport:
        return RedisTransport(url, **options)

    def images(self) -> Sequence[str]:
        return redis_images()

    def server(self, *, tls: bool = False) -> Server:
        return redis_server(tls=tls)

    def conversation(self) -> TextConversation:
        return TextConversation(MESSAGE)

    def restricted(self, image: str, *, allowed: Iterable[str], denied: Iterable[str]) -> Server:
        files = {"users.acl": _acl(allowed)}
        return redis_server(image, ("--aclfile", "users.acl"), files=files)

    async def restrict(
        self, server: Server, *, allowed: Iterable[str], denied: Iterable[str]
    ) -> None:
        (server.folder / "users.acl").write_text(_acl(allowed), "utf-8")
        await server.restart()

    @asynccontextmanager
    async def guarded(self, password: str) -> AsyncIterator[Server]:
        async with redis_server(arguments=("--requirepass", password)) as server:
            yield server

    async def demand(self, server: Server, password: str) -> None:
        server.setup = dataclasses.replace(server.setup, arguments=("--requirepass", password))
        await server.restart()

    def url(self, server: Server, *, password: str = "", user: str = "") -> str:
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else ""
        return f"{server.setup.scheme}://{login}{server.host}:{server.port}"

    def holding(self, secret: str) -> Iterable[RedisTransport]:
        provider = UsernamePasswordCredentialProvider("somebody", secret)
        encoded = quote(secret, safe="")
        for scheme in ("redis", "rediss", "redis+sentinel", "redis+unix"):
            place = {"redis+unix": "/no/such/place", "redis+sentinel": "127.0.0.1:1/service"}
            at = place.get(scheme, "127.0.0.1:1")
            yield RedisTransport(f"{scheme}://somebody:{encoded}@{at}")
            yield RedisTransport(f"{scheme}://{at}", credential_provider=provider)
            yield RedisTransport(f"{scheme}://{at}", sentinel_password=secret)
            yield RedisTransport(f"{scheme}://{at}?sentinel_password={encoded}")

    def logging_in(self, server: Server, secret: str) -> Iterable[RedisTransport]:
        provider = UsernamePasswordCredentialProvider("default", secret)
        yield RedisTransport(self.url(server, password=secret), **PATIENT)
        yield RedisTransport(self.url(server, password=secret, user="somebody"), **PATIENT)
        yield RedisTransport(server.url, credential_provider=provider, **PATIENT)

    def text(self, option: str, folder: Path) -> str:
        if option not in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
            return super().text(option, folder)
        file = folder / option
        file.write_text("", "utf-8")
        return str(file)


def _acl(allowed: Iterable[str]) -> str:
    channels = " ".join(f"&{channel}" for channel in (*allowed, f"{PROBES}*"))
    return f"user default on nopass ~* {channels} +@all\n"
