"""Reading: all partitions of the topic, of which few records are for this instance."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)

from wsrooms.errors import PermissionDenied, TransportUnavailable
from wsrooms.transports import Gap
from wsrooms_kafka.places import AnotherLog, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import AIOKafkaConsumer, ConsumerRecord

    from wsrooms.transports import BrokerTransport
    from wsrooms_kafka.target import Target

__all__ = ["Extent", "Reader", "extent_of"]

RECORDS = 500
"""Handled in one go: other tasks get their turn in between."""

AT_ONCE = 1.0
"""Seconds in which each partition may lose records of one cause: less than any retention."""

LAG = 2 * RECORDS
"""Records of a partition that are still to be read, from which on an instance is behind."""

WAIT = 0.5
"""Seconds until the reader looks around although nothing comes."""


Extent = dict[int, tuple[int, int]]
"""Where each partition of a topic begins and ends."""


async def extent_of(consumer: AIOKafkaConsumer, topic: str, partitions: int) -> Extent:
    """Where the log begins and ends.

    Raises:
        KafkaError: The broker does not tell.
    """
    every = [TopicPartition(topic, number) for number in range(partitions)]
    begins = await consumer.beginning_offsets(every)
    ends = await consumer.end_offsets(every)
    return {each.partition: (begins[each], ends[each]) for each in every}


class Unreadable(Exception):
    """There are bytes that aiokafka makes nothing of."""


class Reader:
    """What one instance has heard, and is to hear: it outlives connections.

    Attributes:
        channels: What is subscribed, by the keys of its records.
        heard: Set once a connection has brought a record.
    """

    def __init__(self, transport: BrokerTransport, target: Target) -> None:
        """Read the topic of ``target`` for ``transport``."""
        self._transport = transport
        self._topic = target.topic
        self._gather = target.options.fetch_gather
        self._consumer: AIOKafkaConsumer | None = None
        self._places: dict[int, Place] = {}
        self._behind: set[int] = set()
        """Partitions of which the backlog is not read yet."""
        self._ends: dict[int, int] = {}
        """Where each partition ended when this connection began."""
        self._young: dict[bytes, dict[int, int]] = {}
        """Channels that were joined while there was a backlog, and where that ended then."""
        self._left = 0.0
        """When the last connection ended."""
        self._told: set[int] = set()
        self._told_at = float("-inf")
        """When a loss was told, and the partitions of which that may be."""
        self._polled: dict[int, tuple[int | None, float]] = {}
        self.channels: dict[bytes, str] = {}
        self.heard: asyncio.Event = asyncio.Event()

    def begin(self, consumer: AIOKafkaConsumer, log: Extent) -> None:
        """Find out where to read on in ``log``, behind which everything is read."""
        self._consumer = consumer
        ends = {number: end for number, (_, end) in log.items()}
        wishes = self._transport.exchange.wishes
        # Those hear the backlog, which is read before the wishes of now are looked at.
        self.channels = {each.encode(): each for each in wishes if wishes.held(each)}
        self._young = {key: ends for key, ends in self._young.items() if key in self.channels}
        self._ends = ends
        self.heard.clear()
        first = not self._places
        lost = False
        starts: dict[TopicPartition, int] = {}
        for number, (begin, end) in log.items():
            place = self._places.get(number)
            if place is None:  # what a new partition holds has been heard by nobody
                place = Place(end if first else begin, known=first)
                self._places[number] = place
            starts[TopicPartition(self._topic, number)], missing = place.resume(begin, end)
            lost = lost or missing
        for number in self._places.keys() - log.keys():
            del self._places[number]  # of another topic of that name
            lost = True
        self._behind = {number for number, place in self._places.items() if place.behind}
        self._assign(consumer, starts)
        if lost:
            self._tell_gap(asyncio.get_running_loop().time(), *log)

    def _tell_gap(self, now: float, *partitions: int) -> None:
        """Some records of ``partitions`` are lost: told once where it is of one cause.

        What made one partition lose its records did so to all of them, and before it was
        told, though they are read one after the other.
        """
        for ends in self._young.values():
            for number in partitions:
                ends.pop(number, None)  # they are of another log
        if now - self._told_at > AT_ONCE or not self._told.isdisjoint(partitions):
            self._told.clear()
            self._told_at = now
            self._transport.exchange.gap(Gap(None, None, None))
        self._told.update(partitions)

    def _assign(self, consumer: AIOKafkaConsumer, starts: dict[TopicPartition, int]) -> None:
        """Read from these places: in one turn, or it would begin elsewhere."""
        consumer.assign(list(starts))
        for partition, start in starts.items():
            consumer.seek(partition, start)
        now = asyncio.get_running_loop().time()
        self._polled = {each.partition: (None, now) for each in starts}

    def subscribe(self, channel: str) -> None:
        """Hear ``channel``: what is published from now on.

        Also what was published since the last connection, if it was subscribed then and
        ever since.
        """
        key = channel.encode()
        self.channels[key] = channel
        if self._behind and not self._transport.exchange.wishes.held(channel):
            self._young[key] = self._ends

    def unsubscribe(self, channel: str) -> None:
        """Hear ``channel`` no more."""
        key = channel.encode()
        self.channels.pop(key, None)
        self._young.pop(key, None)

    async def run(self) -> None:
        """Read until the connection is of no use any more.

        Raises:
            PermissionDenied: Kafka lets nobody of that name read.
            TransportUnavailable: It says anything else.
        """
        consumer = self._consumer
        assert consumer is not None
        loop = asyncio.get_running_loop()
        gather = self._gather
        last = 0.0
        while True:
            try:
                arrived = await self._get(consumer)
            except Unreadable as error:
                await self._step_over(consumer, error)
                continue
            if not arrived:
                await self._look(consumer)
            now = loop.time()
            for partition, records in arrived.items():
                self._read(consumer, partition, records, now)
            self._grow(consumer)
            if arrived:
                self.heard.set()
                # A fetch costs as much as 200 messages: those that come quickly are fetched
                # together, which aiokafka does while nobody asks it for the next.
                quickly = now - last < gather and sum(map(len, arrived.values())) < RECORDS
                await asyncio.sleep(gather if quickly else 0)
                last = loop.time()  # what counts is how soon the next come after this

    def _is_due(self, number: int, place: Place, channel: str, record: ConsumerRecord) -> bool:
        """Whether who hears ``channel`` did so when ``record`` was published."""
        if record.offset >= place.backlog:
            return True
        joined = self._young.get(record.key)
        held = self._transport.exchange.wishes.held(channel)
        return held and (joined is None or record.offset >= joined.get(number, 0))

    async def _get(
        self, consumer: AIOKafkaConsumer, *partitions: TopicPartition
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """What has come, of ``partitions`` or of all; nothing after a while.

        Raises:
            Unreadable: In one of them is what nobody can read.
        """
        where, topic = self._transport.where, self._topic
        try:
            return await consumer.getmany(
                *partitions, timeout_ms=round(WAIT * 1000), max_records=RECORDS
            )
        except TopicAuthorizationFailedError:
            raise PermissionDenied(topic, f"{where} denies reading the topic {topic}") from None
        except UnsupportedCodecError as error:
            if self.heard.is_set():  # so it is not the broker that does that to everything
                raise Unreadable(error) from None
            raise TransportUnavailable(
                f"{where} compresses messages in a way that needs another package: set "
                f"compression.type=producer for the topic {topic}, or pip install cramjam ({error})"
            ) from None
        except CorruptRecordException as error:
            raise Unreadable(error) from None
        except KafkaError as error:
            raise TransportUnavailable(f"{where}: {error!r}") from None
        except Exception as error:  # noqa: BLE001 - whatever aiokafka makes of foreign bytes
            raise Unreadable(error) from None

    async def _step_over(self, consumer: AIOKafkaConsumer, error: Unreadable) -> None:
        """Something cannot be read: find out in which partition, and go on behind all of that.

        Raises:
            TransportUnavailable: Everything can be read by itself.
        """
        found = False
        every = {TopicPartition(self._topic, number): at for number, at in self._places.items()}
        for partition, place in every.items():
            consumer.seek(partition, place.start)  # what came with it is to come once more
        for partition, place in every.items():
            end = consumer.highwater(partition)
            if end is None or place.start >= end:
                continue
            now = asyncio.get_running_loop().time()
            try:
                arrived = await self._get(consumer, partition)
            except Unreadable:
                found = True
                consumer.seek(partition, end)
                where = f"partition {partition.partition} of {self._topic}"
                self._transport.exchange.count_foreign(where, 0)
                self._moved(partition.partition, place, end, now)
            else:
                for records in arrived.values():
                    self._read(consumer, partition, records, now)
        if not found:
            raise TransportUnavailable(f"{self._transport.where}: {error}")

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """Nothing has come: see whether what was to come is gone, and nothing behind it yet."""
        now = asyncio.get_running_loop().time()
        for number, place in self._places.items():
            position = await consumer.position(TopicPartition(self._topic, number))
            if position not in (place.start, place.next):
                self._moved(number, place, position, now)

    def _moved(self, number: int, place: Place, to: int, now: float) -> None:
        """A partition is read on elsewhere, without what is between."""
        place.moved(to)
        self._tell_gap(now, number)
        self._caught_up(number, place)

    def _caught_up(self, number: int, place: Place) -> None:
        """See whether the backlog of a partition has been read, and of all of them."""
        if number in self._behind and not place.behind:
            self._behind.discard(number)
            if not self._behind:
                self._young.clear()

    def _read(
        self,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        records: Sequence[ConsumerRecord],
        now: float,
    ) -> None:
        exchange = self._transport.exchange
        place = self._places[partition.partition]
        try:
            new, missing = place.read(records)
        except AnotherLog:
            consumer.seek(partition, 0)
            self._tell_gap(now, partition.partition)
            return
        if missing:
            self._tell_gap(now, partition.partition)
        channels = self.channels
        number = partition.partition
        behind = number in self._behind
        for record in new:
            channel = channels.get(record.key)
            if channel is None or (behind and not self._is_due(number, place, channel, record)):
                continue
            # Of the backlog as if it had come before the outage, in which nobody forgot anything.
            at = self._left if behind else now
            exchange.arrived(channel, _head(record), record.value or b"", at)
        self._caught_up(number, place)

    def _grow(self, consumer: AIOKafkaConsumer) -> None:
        """Read the partitions, too, that the topic has got meanwhile, from their beginning."""
        known = consumer.partitions_for_topic(self._topic)
        if known is None or len(known) <= len(self._places):
            return
        for number in known - self._places.keys():
            self._places[number] = Place(0, known=False)
        self._assign(
            consumer,
            {
                TopicPartition(self._topic, number): place.start
                for number, place in self._places.items()
            },
        )

    @property
    def answered(self) -> bool:
        """Whether the broker has answered a question for news, were it that there are none."""
        consumer = self._consumer
        if consumer is None:
            return False
        every = (TopicPartition(self._topic, number) for number in self._places)
        return any(consumer.last_poll_timestamp(each) is not None for each in every)

    def end(self) -> None:
        """The connection is gone; what is known of the log stays."""
        if self._consumer is not None:
            self._left = asyncio.get_running_loop().time()
        self._consumer = None

    @property
    def behind(self) -> bool:
        """Whether much is still to be read that was published before."""
        consumer = self._consumer
        if consumer is None or self._behind:
            return consumer is not None
        for number, place in self._places.items():
            end = consumer.highwater(TopicPartition(self._topic, number))
            if end is not None and place.next is not None and end - place.next > LAG:
                return True
        return False

    def silence(self, now: float, late: float) -> float:
        """Seconds since the partition was asked for news that has waited longest.

        Args:
            now: The time.
            late: Seconds by which this look is late: what came meanwhile may still be unread.
        """
        if self._consumer is None:
            return 0.0
        oldest = now
        for number, (stamp, at) in self._polled.items():
            found = self._consumer.last_poll_timestamp(TopicPartition(self._topic, number))
            at = min(now, at + late) if found == stamp else now
            self._polled[number] = (found, at)
            oldest = min(oldest, at)
        return now - oldest


def _head(record: ConsumerRecord) -> list[bytes] | None:
    """Version, instance, epoch and number of what wsrooms has published."""
    headers = record.headers
    if [name for name, _ in headers] != ["v", "i", "e", "s"]:
        return None
    values = [value for _, value in headers if value is not None]
    return values if len(values) == len(headers) else None
