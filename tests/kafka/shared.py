"""What the tests of Kafka's own faults have in common: servers, rooms, and a topic's state."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.errors import NoError, UnknownTopicOrPartitionError, for_code

from tests.brokers import KafkaServer, kafka_images, kafka_server
from tests.brokers.kafka import IMAGE
from tests.brokers.record import missing
from tests.deadlines import DEADLINE
from tests.transports.kinds.kafka import KEPT, KafkaKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiokafka.admin import AIOKafkaAdminClient

__all__ = [
    "PARTITIONS",
    "ROOMS",
    "Topic",
    "needs_kafka",
    "topic_at",
]

PARTITIONS = 8

IS_REAL = kafka_images()[0] == IMAGE


def _a_room_for_each_partition() -> list[str]:
    rooms: dict[int, str] = {}
    for number in count():
        if len(rooms) == PARTITIONS:
            break
        room = f"/chat/{number}"
        rooms.setdefault(zlib.crc32(f"ws:room:{room}".encode()) % PARTITIONS, room)
    return [rooms[number] for number in range(PARTITIONS)]


ROOMS = _a_room_for_each_partition()
"""One in each partition, in their order: whatever happens to one, happens to a room."""


def needs_kafka() -> None:
    """Skip a test of what only a real Kafka does, where there is none to test with."""
    if not IS_REAL:
        missing("none of the servers to test with is a real Kafka")


class Topic:
    """The topic of one test.

    Attributes:
        server: A real Kafka.
        name: The topic's.
        namespace: Of the transports that use it.
    """

    def __init__(self, server: KafkaServer) -> None:
        self.server = server
        self.namespace = uuid.uuid4().hex
        self.name = f"wsrooms-{self.namespace}"

    def url(self, port: int | None = None, **options: object) -> str:
        """Of a transport that uses it, perhaps by a proxy's port."""
        query = "".join(f"&{name}={value}" for name, value in options.items())
        at = f"{self.server.host}:{port or self.server.port}"
        return f"kafka://{at}?namespace={self.namespace}{query}"

    async def partitions(self) -> list[dict[str, Any]]:
        """All of them, as Kafka tells; none where there is no such topic."""
        async with self.server.admin() as admin:
            return await partitions_of(admin, self.name)

    async def ends(self) -> dict[int, int]:
        """The offset that the next record of each partition will have."""
        return {number: end for number, (_, end) in (await self._extent()).items()}

    async def is_empty(self) -> bool:
        """Whether it has no record any more."""
        return all(begin == end for begin, end in (await self._extent()).values())

    async def _extent(self) -> dict[int, tuple[int, int]]:
        consumer = AIOKafkaConsumer(bootstrap_servers=f"{self.server.host}:{self.server.port}")
        await consumer.start()
        try:
            partitions = await self.partitions()
            every = [TopicPartition(self.name, each["partition"]) for each in partitions]
            begins = await consumer.beginning_offsets(every)
            ends = await consumer.end_offsets(every)
            return {each.partition: (begins[each], ends[each]) for each in every}
        finally:
            await consumer.stop()

    async def remove_records(self) -> None:
        """Remove all that it has."""
        wish = {
            TopicPartition(self.name, number): RecordsToDelete(end)
            for number, end in (await self.ends()).items()
        }
        async with self.server.admin() as admin:
            await admin.delete_records(wish)

    async def delete(self) -> None:
        """Delete it; whoever uses it may make it again at once."""
        async with self.server.admin() as admin:
            answer = await admin.delete_topics([self.name])
            assert for_code(answer.topic_error_codes[0][1]) is NoError

    async def make_again(self) -> None:
        """Delete it, and make another one of its name."""
        await self.delete()
        async with self.server.admin() as admin, asyncio.timeout(DEADLINE):
            while True:
                answer = await admin.create_topics([NewTopic(self.name, PARTITIONS, 1)])
                if for_code(answer.topic_errors[0][1]) is NoError:
                    return
                await asyncio.sleep(0.02)  # it is still being deleted


async def partitions_of(admin: AIOKafkaAdminClient, topic: str) -> list[dict[str, Any]]:
    """What Kafka tells of each; none where there is no such topic."""
    for found in await admin.describe_topics():  # of all: to ask for one may make it
        if found["topic"] == topic:
            assert for_code(found["error_code"]) is not UnknownTopicOrPartitionError
            return sorted(found["partitions"], key=lambda each: int(each["partition"]))
    return []


@asynccontextmanager
async def topic_at(*, auto_create: bool = False) -> AsyncIterator[Topic]:
    """A topic of its own, which is not there yet, at a server that tests share.

    Args:
        auto_create: Whether the server makes a topic, of one partition, for whoever asks for it.
    """
    needs_kafka()
    async with AsyncExitStack() as stack:
        kept = KEPT.server("auto-create", _makes_topics) if auto_create else KafkaKind().server()
        yield Topic(await stack.enter_async_context(kept))


def _makes_topics() -> KafkaServer:
    return kafka_server(IMAGE, settings={"AUTO_CREATE_TOPICS_ENABLE": "true"})
