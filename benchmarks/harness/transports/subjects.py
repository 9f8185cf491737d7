"""What is measured: transports of ours, and the same done with a broker's library alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from wsrooms.transports import BrokerTransport, transport_from_url

__all__ = ["LIBRARIES", "MODULES", "OURS", "SUBJECTS", "Subject"]

Handler = Callable[[str], None]

PARTITIONS = 8
"""Of the topic that aiokafka alone makes: as many as our transport does."""


class Subject(Protocol):
    """One connection, or as many as it takes, of a process to its broker."""

    async def start(self) -> None:
        """Connect."""

    async def listen(self, channels: Sequence[str], handler: Handler) -> None:
        """Subscribe to all at once; the broker has confirmed each."""

    async def say(self, channel: str, payload: str, times: int) -> None:
        """Publish so many, as close together as it can; the broker has confirmed the last."""

    async def close(self) -> None:
        """Disconnect."""


class Ours:
    """The transport of wsrooms that speaks a URL."""

    def __init__(self, url: str) -> None:
        """Make it."""
        transport = transport_from_url(url)
        assert isinstance(transport, BrokerTransport)
        self._transport = transport

    async def start(self) -> None:
        """Connect."""
        await self._transport.start()

    async def listen(self, channels: Sequence[str], handler: Handler) -> None:
        """Subscribe in one turn of the loop."""
        for receipt in [self._transport.subscribe(channel, handler) for channel in channels]:
            await receipt

    async def say(self, channel: str, payload: str, times: int) -> None:
        """Publish in one turn of the loop."""
        for _ in range(times - 1):
            self._transport.publish(channel, payload)
        await self._transport.publish(channel, payload)

    def spread(self, channels: Sequence[str], payload: str) -> None:
        """Publish one to each; nobody waits for what becomes of them."""
        for channel in channels:
            self._transport.publish(channel, payload)

    async def close(self) -> None:
        """Disconnect."""
        await self._transport.close()


class RedisPy:
    """redis-py as its documentation shows it: a pipeline, and ``listen()`` in a task."""

    def __init__(self, url: str) -> None:
        """Make it."""
        from redis.asyncio import Redis

        self._redis: Any = Redis.from_url(url)
        self._pubsub: Any = self._redis.pubsub()
        self._reader: asyncio.Task[None] | None = None
        self._unconfirmed = 0
        self._confirmed = asyncio.Event()

    async def start(self) -> None:
        """Connect."""
        await self._redis.ping()

    async def listen(self, channels: Sequence[str], handler: Handler) -> None:
        """Subscribe with one command."""
        self._unconfirmed = len(channels)
        self._confirmed.clear()
        await self._pubsub.subscribe(*channels)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(handler))
        await self._confirmed.wait()

    async def _read(self, handler: Handler) -> None:
        async for message in self._pubsub.listen():
            if message["type"] == "message":
                handler(message["data"].decode())
                continue
            self._unconfirmed -= 1
            if not self._unconfirmed:
                self._confirmed.set()

    async def say(self, channel: str, payload: str, times: int) -> None:
        """Publish in a pipeline; a single one without."""
        if times == 1:
            await self._redis.publish(channel, payload)
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for _ in range(times):
                pipeline.publish(channel, payload)
            await pipeline.execute()

    async def close(self) -> None:
        """Disconnect."""
        if self._reader is not None:
            self._reader.cancel()
        await self._pubsub.aclose()
        await self._redis.aclose()


class NatsPy:
    """nats-py as its documentation shows it: a callback for each subscription, and ``flush()``."""

    def __init__(self, url: str) -> None:
        """Make it."""
        self._url = url
        self._client: Any = None

    async def start(self) -> None:
        """Connect."""
        import nats

        self._client = await nats.connect(self._url)

    async def listen(self, channels: Sequence[str], handler: Handler) -> None:
        """Subscribe to one after another, and wait for the broker once."""

        async def heard(message: Any) -> None:
            handler(message.data.decode())

        for channel in channels:
            await self._client.subscribe(channel, cb=heard)
        # The first one may overtake what nats-py has yet to write.
        await self._client.flush()
        await self._client.flush()

    async def say(self, channel: str, payload: str, times: int) -> None:
        """Publish, and wait for the broker once."""
        data = payload.encode()
        for _ in range(times):
            await self._client.publish(channel, data)
        await self._client.flush()

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()


class AioKafka:
    """aiokafka as its documentation shows it, with batches: one topic, of which all is read.

    A channel is the key of its messages, as ours does it: a topic for each would take a round trip
    and many milliseconds to make.
    """

    def __init__(self, url: str) -> None:
        """Make it."""
        read = urlsplit(url)
        self._at = read.netloc
        self._topic = f"wsrooms-{dict(parse_qsl(read.query)).get('namespace', 'all')}"
        self._handlers: dict[bytes, Handler] = {}
        self._consumer: Any = None
        self._producer: Any = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, make the topic, and read it from its end on."""
        from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic

        admin = AIOKafkaAdminClient(bootstrap_servers=self._at)
        await admin.start()
        # If it is there already, the answer says so.
        await admin.create_topics([NewTopic(self._topic, PARTITIONS, 1)])
        await admin.close()
        self._producer = AIOKafkaProducer(bootstrap_servers=self._at, acks="all")
        await self._producer.start()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._at, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await self._consumer.start()
        partitions = [TopicPartition(self._topic, number) for number in range(PARTITIONS)]
        self._consumer.assign(partitions)
        assert await self._consumer.seek_to_end(*partitions)
        self._reader = asyncio.create_task(self._read())

    async def listen(self, channels: Sequence[str], handler: Handler) -> None:
        """Want them; the broker is not asked."""
        self._handlers.update((channel.encode(), handler) for channel in channels)

    async def _read(self) -> None:
        while True:
            arrived = await self._consumer.getmany(timeout_ms=500)
            for records in arrived.values():
                for record in records:
                    if handler := self._handlers.get(record.key):
                        handler(record.value.decode())

    async def say(self, channel: str, payload: str, times: int) -> None:
        """Send, and wait for all."""
        key, value = channel.encode(), payload.encode()
        sent = [await self._producer.send(self._topic, value, key=key) for _ in range(times)]
        await asyncio.wait(sent)

    async def close(self) -> None:
        """Disconnect."""
        if self._reader is not None:
            self._reader.cancel()
        await self._consumer.stop()
        await self._producer.stop()


LIBRARIES = {"redis": "redis-py", "nats": "nats-py", "kafka": "aiokafka"}
"""The library below each transport of ours."""

MODULES = {"redis": "redis", "nats": "nats", "kafka": "aiokafka"}
"""What they are imported as."""

OURS = {kind: f"wsrooms-{kind}" for kind in LIBRARIES}

SUBJECTS: dict[str, tuple[str, Callable[[str], Subject]]] = {
    **{name: (kind, Ours) for kind, name in OURS.items()},
    "redis-py": ("redis", RedisPy),
    "nats-py": ("nats", NatsPy),
    "aiokafka": ("kafka", AioKafka),
}
"""Who can be measured: the kind of broker, and what makes it of the broker's URL."""
