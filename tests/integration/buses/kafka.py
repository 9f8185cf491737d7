"""Apache Kafka: one server for all tests, and a topic for each."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from tests.brokers import kafka_images, kafka_server
from tests.brokers.record import missing
from tests.deadlines import DEADLINE, promised
from tests.integration.buses.base import PROXIES, Broker, Bus, Heard, Overhearing

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

    from tests.brokers import KafkaServer
    from wsrooms.testing import TcpProxy

__all__ = ["LARGEST", "KafkaBroker", "KafkaBus", "topic_of"]

LARGEST = 16 * 1024 * 1024
"""Bytes that a message may have: as many as any test sends, and a stranger more than we take."""

LASTING, BRIEF = "SCRAM-SHA-512", "SCRAM-SHA-256"
"""How to log in for as long as a connection lives, or for a session."""

SESSION = 5.0
"""Seconds after which the server ends the latter."""

SETTINGS = {
    "MESSAGE_MAX_BYTES": str(LARGEST),
    "SASL_ENABLED_MECHANISMS": f"{LASTING},{BRIEF}",
    **{
        f"LISTENER_NAME_PROXIED{PROXIES + number}_{mechanism}_SASL_JAAS_CONFIG": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        )
        for number in range(PROXIES)
        for mechanism in (LASTING, BRIEF)
    },
    **{
        f"LISTENER_NAME_PROXIED{PROXIES + number}_{BRIEF}_CONNECTIONS_MAX_REAUTH_MS": str(
            round(SESSION * 1000)
        )
        for number in range(PROXIES)
    },
}
"""Who comes without a login may do anything; who logs in, what he is granted."""

HEADERS = ("v", "i", "e", "s")
"""What a message of an instance has, in this order: version, publisher, epoch, number."""

ESTABLISHED = "01"
"""How the system's list calls a connection that is open."""


class KafkaBus(Bus):
    """One server, which outlives a test because it takes seconds to start."""

    name = "kafka"

    def __init__(self) -> None:
        self._image: str | None = None
        self._server: KafkaServer | None = None
        self._numbers = itertools.count(1)

    def prepare(self) -> None:
        real = [each for each in kafka_images() if each.startswith("apache/")]
        self._image = real[0] if real else None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[KafkaBroker]:
        if self._image is None:
            missing("what is asked of Kafka here needs a real one, which needs Docker")
        if self._server is None:
            doors = [*["PLAINTEXT"] * PROXIES, *["SASL_PLAINTEXT"] * PROXIES]
            server = kafka_server(self._image, settings=SETTINGS, proxies=doors, acls=True)
            await server.__aenter__()
            self._server = server
        broker = KafkaBroker(self._server, f"test-{next(self._numbers)}")
        try:
            yield broker
        finally:
            await broker.end()

    def end(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            asyncio.run(server.__aexit__(None, None, None))


class KafkaBroker(Broker):
    """A part of the server that is one test's own: whatever it names begins with a name of its own.

    Attributes:
        own: The namespace of whoever asks for none.
    """

    keeps_log = True
    at_least = MappingProxyType(
        {"connect_timeout": promised(5.0), "confirm_timeout": promised(3.0)}
    )

    def __init__(self, server: KafkaServer, own: str) -> None:
        self.name = server.name
        self._server = server
        self.own = own

    @property
    def server(self) -> KafkaServer:
        return self._server

    async def end(self) -> None:
        """Leave the server as it was found."""
        if not self.server.awake:
            runs = await asyncio.to_thread(self.server.runner.runs)
            await (self.server.cont() if runs else self.server.start())
        async with self.server.admin() as admin:
            mine = [each for each in await admin.list_topics() if each.startswith(self.topic())]
            await admin.delete_topics(mine)

    def namespace(self, name: str = "") -> str:
        """The whole of a namespace that a test calls ``name``."""
        return f"{self.own}-{name}" if name else self.own

    def topic(self, namespace: str = "") -> str:
        """Where the instances of a namespace meet."""
        return topic_of(self.namespace(namespace))

    def url(self, **options: str | float) -> str:
        options["namespace"] = self.namespace(str(options.get("namespace", "")))
        return f"kafka://{self.server.host}:{self.server.port}?{urlencode(options)}"

    def proxied(self, number: int = 0, *, login: bool = False) -> TcpProxy:
        return self.server.proxy(number + PROXIES * login)

    @contextlib.asynccontextmanager
    async def overhear(
        self, *channels: str, namespace: str = ""
    ) -> AsyncIterator[KafkaOverhearing]:
        async with self._reading(self.topic(namespace)) as (consumer, every):
            assert await consumer.seek_to_end(*every)
            yield KafkaOverhearing(consumer, {channel.encode() for channel in channels})

    async def publish(self, channel: str, data: bytes, *, namespace: str = "") -> None:
        # What others write before a payload is in headers here, however wrong it may be.
        *words, value = data.split(b" ", len(HEADERS))
        if len(words) == len(HEADERS):
            await self.record(channel, value, headers_of(words), namespace=namespace)
        else:
            await self.record(channel, data, namespace=namespace)

    async def forge(
        self, channel: str, payload: bytes, *, instance: str, seq: str, epoch: str = "1"
    ) -> None:
        words = [each.encode() for each in ("1", instance, epoch, seq)]
        await self.record(channel, payload, headers_of(words))

    async def record(
        self,
        channel: str | bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        namespace: str = "",
    ) -> None:
        """Write a record as it is; ``channel`` is its key."""
        producer = AIOKafkaProducer(
            bootstrap_servers=f"{self.server.host}:{self.server.port}",
            max_request_size=LARGEST,
        )
        await producer.start()
        try:
            key = channel.encode() if isinstance(channel, str) else channel
            topic = self.topic(namespace)
            await producer.send_and_wait(topic, value, key=key, headers=list(headers))
        finally:
            await producer.stop()

    async def ends(self) -> dict[TopicPartition, int]:
        """Where the log of each partition ends now."""
        async with self._reading(self.topic()) as (consumer, every):
            return await consumer.end_offsets(every)

    async def forget(self, until: Mapping[TopicPartition, int]) -> None:
        """Remove from the log what it has before these ends."""
        records = {each: RecordsToDelete(before_offset=end) for each, end in until.items()}
        async with self.server.admin() as admin:
            await admin.delete_records(records)

    @contextlib.asynccontextmanager
    async def _reading(
        self, topic: str
    ) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
        """A foreign client that has all partitions, and these."""
        consumer = AIOKafkaConsumer(bootstrap_servers=f"{self.server.host}:{self.server.port}")
        await consumer.start()
        try:
            async with self.server.admin() as admin:
                (described,) = await admin.describe_topics([topic])
            every = [TopicPartition(topic, each["partition"]) for each in described["partitions"]]
            consumer.assign(every)
            yield consumer, every
        finally:
            await consumer.stop()

    async def subscriptions(self) -> None:
        """None: a server of Kafka does not know who reads what."""

    async def connections(self) -> list[str] | None:
        """By the list of this system, since the server has none."""
        if sys.platform != "linux":
            return None
        text = await asyncio.to_thread(Path("/proc/net/tcp").read_text, "ascii")
        lines = (line.split() for line in text.splitlines()[1:])
        return [
            "wsrooms"
            for _, _, remote, state, *_ in lines
            if state == ESTABLISHED and int(remote.partition(":")[2], 16) == self.server.port
        ]


class KafkaOverhearing(Overhearing):
    """A consumer without a group."""

    def __init__(self, consumer: AIOKafkaConsumer, keys: set[bytes]) -> None:
        self._consumer = consumer
        self._keys = keys

    async def next(self) -> Heard:
        async with asyncio.timeout(DEADLINE):
            while (record := await self._next()).key not in self._keys:
                pass
        assert record.key is not None
        assert record.value is not None
        assert [name for name, _ in record.headers] == list(HEADERS), record
        parts = [each.decode() for _, each in record.headers if each is not None]
        version, instance, epoch, seq = parts
        assert version == "1", record
        return Heard(record.key.decode(), instance, int(epoch), int(seq), record.value)

    async def _next(self) -> ConsumerRecord:
        return await self._consumer.getone()


def headers_of(words: Sequence[bytes]) -> list[tuple[str, bytes]]:
    """The words of an envelope, as a record has them."""
    return list(zip(HEADERS, words, strict=True))


def topic_of(namespace: str) -> str:
    """What the topic of a namespace is called, as docs/transports/kafka.md has it."""
    return f"wsrooms-{namespace}" if namespace else "wsrooms"
