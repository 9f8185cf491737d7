"""NATS."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlencode

import nats

from tests.brokers import nats_server
from tests.brokers.nats import NATS
from tests.deadlines import DEADLINE
from tests.integration.buses.base import Broker, Bus, Heard, Overhearing

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from tests.brokers import NatsServer

__all__ = ["NatsBus"]

CLIENT_NAME = "wsrooms"
"""How the transport's connections are called at the broker, unless told otherwise."""

OPERATOR = "operator"
"""User and password of whoever may ask the server about its clients."""

LARGEST = 16 * 1024 * 1024
"""Bytes that a message may have: as many as any test sends, and a stranger more than we take."""


@dataclass
class Settings:
    """What a server reads at its start, and when it is told to read it again.

    Attributes:
        login: User and password that it lets in, beside whoever has none.
        denied: Channels that this user may not use.
        more: Everything else, by name.
    """

    login: tuple[str, str] | None = None
    denied: tuple[str, ...] = ()
    more: dict[str, str | int] = field(default_factory=lambda: {"max_payload": LARGEST})

    def text(self) -> str:
        """As the server's configuration has it."""
        users: list[dict[str, object]] = [{"user": "anybody", "password": "anybody"}]
        if self.login is not None:
            user, password = self.login
            rights = {"allow": ["wsrooms.>"], "deny": [subject(each) for each in self.denied]}
            permissions = {"publish": rights, "subscribe": rights}
            users.append({"user": user, "password": password, "permissions": permissions})
        operators = [{"user": OPERATOR, "password": OPERATOR}]
        accounts = {"FLEET": {"users": users}, "SYSTEM": {"users": operators}}
        given = {
            "accounts": accounts,
            "system_account": "SYSTEM",
            "no_auth_user": "anybody",
            **self.more,
        }
        return "\n".join(f"{name}: {json.dumps(value)}" for name, value in given.items())


def image() -> str:
    """Which servers to run."""
    return NATS.alone()


class NatsBus(Bus):
    """One server, no cluster."""

    name = "nats"

    def prepare(self) -> None:
        NATS.runner(image())  # asks Docker

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[NatsBroker]:
        settings = Settings()
        async with nats_server(image(), config=settings.text()) as server:
            yield NatsBroker(server, settings)


class NatsBroker(Broker):
    """A server that runs.

    Attributes:
        settings: Its own; after a change ``reload`` or ``restart``.
    """

    def __init__(self, server: NatsServer, settings: Settings) -> None:
        self.name = server.name
        self._server = server
        self.settings = settings

    @property
    def server(self) -> NatsServer:
        return self._server

    async def reload(self) -> None:
        """Let the server take its settings while it runs."""
        await self.server.reload(self.settings.text())

    async def start(self) -> None:
        """Start the server, which was killed, with its settings."""
        self.server.configure(self.settings.text())
        await self.server.start()

    async def restart(self) -> None:
        """Kill the server and start it with its settings."""
        await self.server.kill()
        await self.start()

    def url(self, **options: str | float) -> str:
        query = f"?{urlencode(options)}" if options else ""
        return f"nats://{self.server.host}:{self.server.port}{query}"

    @contextlib.asynccontextmanager
    async def client(self, login: str | None = None) -> AsyncIterator[Client]:
        """A foreign client, for as long as the server runs."""
        client = await nats.connect(
            self.server.url,
            user=login,
            password=login,
            name="test",
            allow_reconnect=False,
            connect_timeout=int(DEADLINE),
        )
        try:
            yield client
        finally:
            await client.close()

    @contextlib.asynccontextmanager
    async def overhear(self, *channels: str, namespace: str = "") -> AsyncIterator[NatsOverhearing]:
        async with self.client() as client:
            overhearing = NatsOverhearing(namespace)
            for channel in channels:
                await client.subscribe(subject(channel, namespace), cb=overhearing.take)
            for _ in range(2):  # the first may overtake the last subscription
                await client.flush()
            yield overhearing

    async def publish(self, channel: str, data: bytes, *, namespace: str = "") -> None:
        async with self.client() as client:
            await client.publish(subject(channel, namespace), data)
            await client.flush()

    async def forge(
        self, channel: str, payload: bytes, *, instance: str, seq: str, epoch: str = "1"
    ) -> None:
        await self.publish(channel, f"1 {instance} {epoch} {seq} ".encode() + payload)

    async def subscriptions(self) -> set[str]:
        listed = (await self.server.monitor("/connz?subs=1"))["connections"]
        names = {
            unquote(name.removeprefix("wsrooms."))
            for one in listed
            if one.get("name") == CLIENT_NAME
            for name in one.get("subscriptions_list", ())
        }
        return {name for name in names if "ws:probe" not in name}

    async def connections(self) -> list[str]:
        return [CLIENT_NAME for _ in await self.connection_ids()]

    async def connection_ids(self) -> list[int]:
        """The server's number of each connection of an instance."""
        listed = (await self.server.monitor("/connz"))["connections"]
        return [one["cid"] for one in listed if one.get("name") == CLIENT_NAME]


class NatsOverhearing(Overhearing):
    """Subscriptions of a foreign client."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._heard: asyncio.Queue[Msg] = asyncio.Queue()

    async def take(self, message: Msg) -> None:
        """Keep it for ``next``."""
        self._heard.put_nowait(message)

    async def next(self) -> Heard:
        async with asyncio.timeout(DEADLINE):
            message = await self._heard.get()
        channel = unquote(message.subject.removeprefix(subject("", self._namespace)))
        version, instance, epoch, seq, payload = message.data.split(b" ", 4)
        assert version == b"1", message
        return Heard(channel, instance.decode(), int(epoch), int(seq), payload)


def subject(channel: str, namespace: str = "") -> str:
    """What a channel is called at the broker, as docs/transports/nats.md has it."""
    tokens = ["wsrooms", *([_token(namespace)] if namespace else ()), _token(channel)]
    return ".".join(tokens)


def _token(text: str) -> str:
    return quote(text, safe="/:@!$&'()+,;=~-_").replace(".", "%2E")
