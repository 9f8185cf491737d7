"""The transports that have a page of their own, for what every such page has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from tests.brokers import Server, nats_server, redis_server
from tests.deadlines import DEADLINE
from tests.kafka.servers import open_server
from wsrooms.transports import BrokerOptions, BrokerTransport
from wsrooms_kafka import KafkaOptions, KafkaTransport
from wsrooms_nats import NatsOptions, NatsTransport
from wsrooms_redis import RedisOptions, RedisTransport

from .programs import ROOT, load


@dataclass(frozen=True)
class Bus:
    """A transport with a page, a folder of examples and a package, all of its name.

    Attributes:
        name: Of these, and of its extra.
        transport: The class.
        options: Its options.
        server: Runs a broker of its kind.
        address: Of the broker in its examples.
        pages: Those that show the change from one process to two with it.
    """

    name: str
    transport: Callable[..., BrokerTransport]
    options: type[BrokerOptions]
    server: Callable[[], AbstractAsyncContextManager[Server]]
    address: str
    pages: tuple[str, ...]

    @property
    def page(self) -> str:
        return (ROOT / f"docs/transports/{self.name}.md").read_text("utf-8")

    @property
    def example(self) -> str:
        """Its program, a file of examples/."""
        return f"{self.name}/transports.py"

    @property
    def table(self) -> list[tuple[str, str, str, str]]:
        """The options that its page lists: name, default, unit, what it is."""
        rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| (\w*) ?\| (.+) \|$", self.page, re.MULTILINE)
        return [(name, default, unit, told) for name, default, unit, told in rows]


BUSES = (
    Bus(
        "kafka",
        KafkaTransport,
        KafkaOptions,
        open_server,
        "localhost:9092",
        ("docs/transports/kafka.md",),
    ),
    Bus(
        "nats",
        NatsTransport,
        NatsOptions,
        nats_server,
        "localhost:4222",
        ("docs/transports/nats.md",),
    ),
    Bus(
        "redis",
        RedisTransport,
        RedisOptions,
        redis_server,
        "localhost:6379",
        (
            "README.md",
            "docs/index.md",
            "docs/many.md",
            "docs/transports/index.md",
            "docs/transports/redis.md",
        ),
    ),
)


def at(server: Server) -> str:
    return f"{server.host}:{server.port}"


def shown(program: str, name: str, changes: Mapping[str, str]) -> Any:
    """A transport of an example, at an address of the test's own."""
    made = getattr(load(program, changes), name)
    return made if isinstance(made, BrokerTransport) else made()


async def heard(
    one: BrokerTransport, other: BrokerTransport, channel: str = "ws:room:tea"
) -> list[str]:
    """Start both, and let one say something to the other."""
    said: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.timeout(DEADLINE):
        await one.start()
        await other.start()
        try:
            await other.subscribe(channel, said.put_nowait)
            await one.publish(channel, "hello")
            return [await said.get()]
        finally:
            await one.close()
            await other.close()
