"""The link to Kafka: a consumer of all partitions, a producer, and what both have reached."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)

from wsrooms.errors import (
    PayloadTooLarge,
    PermissionDenied,
    TransportError,
    TransportUnavailable,
)
from wsrooms.transports import BrokerLink, Gap, Outgoing
from wsrooms_kafka.envelope import headers_of, read
from wsrooms_kafka.login import cause, security
from wsrooms_kafka.topic import ready

if TYPE_CHECKING:
    from wsrooms_kafka.transport import KafkaTransport

__all__ = ["KafkaLink"]

CHUNK_MESSAGES = 512
CHUNK_BYTES = 256 * 1024
BATCH_BYTES = 512 * 1024
"""Of one partition: a chunk is one batch, so that nothing is sent behind what has failed."""

METADATA = 10_000
"""Milliseconds until a change of the topic is seen."""

STALE = 3.0
"""Seconds without an answer for a partition, after which the broker counts as gone."""

AGAIN = 0.05
"""Seconds until what has failed is sent again."""


class KafkaLink(BrokerLink):
    """One consumer and one producer, made anew when they are given up."""

    def __init__(self, transport: KafkaTransport) -> None:
        """Connect for ``transport``."""
        self._transport = transport
        self._exchange = transport.exchange
        self._consumer: AIOKafkaConsumer | None = None
        self._producer: AIOKafkaProducer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._given_up: asyncio.Future[TransportError] | None = None
        self._work = asyncio.Event()
        self._channels: dict[bytes, str] = {}
        self._next: dict[int, int] = {}
        """The offset that is read next, by partition; it outlives connections."""
        self._polled: dict[int, tuple[object, float]] = {}
        self._spread = 0
        """Partitions that this instance publishes to: a channel stays where it began."""

    # Life

    async def connect(self) -> None:
        """Connect, see that the topic is there, and go on where the last connection ended."""
        transport = self._transport
        options = transport.options
        where = transport.where
        self._given_up = asyncio.get_running_loop().create_future()
        self._channels.clear()
        try:
            given = await security(transport)
            given["bootstrap_servers"] = list(map(str, transport.addresses))
            given["client_id"] = options.client_name
            given["request_timeout_ms"] = milliseconds(options.confirm_timeout)
            admin = AIOKafkaAdminClient(**given)
            try:
                await admin.start()
                partitions = await ready(admin, transport.topic, where, options)
            finally:
                await admin.close()
            given["metadata_max_age_ms"] = METADATA
            producer = self._producer = AIOKafkaProducer(
                acks="all",
                linger_ms=milliseconds(options.linger or 0),
                max_batch_size=BATCH_BYTES,
                enable_idempotence=options.idempotence,
                **given,
            )
            await producer.start()
            consumer = self._consumer = AIOKafkaConsumer(
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=milliseconds(options.fetch_max_wait),
                **given,
            )
            await consumer.start()
            await self._assign(consumer, partitions)
        except KafkaError as error:
            raise await cause(transport, error) from None
        if not 0 < self._spread <= partitions:
            self._spread = partitions
        self._tasks = [
            asyncio.create_task(self._read(consumer), name=f"wsrooms reads {transport!r}"),
            asyncio.create_task(self._write(producer), name=f"wsrooms writes {transport!r}"),
        ]

    async def _assign(self, consumer: AIOKafkaConsumer, partitions: int) -> None:
        """Read all partitions: from their end at first, later from where the last link was."""
        topic = self._transport.topic
        all_of_them = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(all_of_them)
        now = asyncio.get_running_loop().time()
        self._polled = {each.partition: (None, now) for each in all_of_them}
        if not self._next:
            if not await consumer.seek_to_end(*all_of_them):
                raise PermissionDenied(
                    topic, f"{self._transport.where} does not tell where the topic {topic} ends"
                )
            for each in all_of_them:
                self._next[each.partition] = await consumer.position(each)
            return
        begins = await consumer.beginning_offsets(all_of_them)
        ends = await consumer.end_offsets(all_of_them)
        lost = False
        for each in all_of_them:
            place = self._next.get(each.partition, 0)
            if not begins[each] <= place <= ends[each]:
                lost, place = True, begins[each]  # truncated, or another topic of that name
            self._next[each.partition] = place
            consumer.seek(each, place)
        if lost:
            self._exchange.gap(Gap(None, None, None))

    async def lost(self) -> TransportError:
        """Wait until it is given up, or one of its tasks has ended."""
        assert self._given_up is not None
        await asyncio.wait([self._given_up, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if self._given_up.done():
            return self._given_up.result()
        for task in self._tasks:
            error = task.exception() if task.done() and not task.cancelled() else None
            if isinstance(error, TransportError):
                return error
            if error is not None:
                raise error
        return TransportUnavailable(f"{self._transport.where}: reading has ended")

    async def close(self) -> None:
        """Stop both clients, in whatever state they are."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        consumer, self._consumer = self._consumer, None
        producer, self._producer = self._producer, None
        if consumer is not None:
            consumer.unsubscribe()
            await asyncio.sleep(0.01)  # without it a stop after a refused connection leaks
            await consumer.stop()
        if producer is not None:
            await stop(producer)

    def abort(self, error: TransportError) -> None:
        """Give it up."""
        if self._given_up is not None and not self._given_up.done():
            self._given_up.set_result(error)

    # Out

    def wake(self) -> None:
        """Do what was wished, which needs no word to the broker, and let messages go out."""
        wishes = self._exchange.wishes
        commands = wishes.commands(asyncio.get_running_loop().time())
        for command in commands:
            for channel in command.channels:
                if command.kind == "subscribe":
                    self._channels[channel.encode()] = channel
                else:
                    self._channels.pop(channel.encode(), None)
                wishes.answered(channel)
        if commands:
            self._transport.answered()
        self._work.set()

    async def _write(self, producer: AIOKafkaProducer) -> None:
        loop = asyncio.get_running_loop()
        outbox = self._exchange.outbox
        while True:
            await self._work.wait()
            self._work.clear()
            while self._transport.may_publish:
                chunk = outbox.batch(loop.time(), messages=CHUNK_MESSAGES, size=CHUNK_BYTES)
                if not chunk:
                    break
                outcomes = await self._sent(producer, chunk)
                outbox.settle(outcomes)
                if len(outcomes) < len(chunk):
                    await asyncio.sleep(AGAIN)

    async def _sent(
        self, producer: AIOKafkaProducer, chunk: list[Outgoing[bytes]]
    ) -> dict[Outgoing[bytes], TransportError | None]:
        """Send a chunk; what has no outcome here is to be sent again, in its order."""
        topic = self._transport.topic
        outcomes: dict[Outgoing[bytes], TransportError | None] = {}
        sent: dict[Outgoing[bytes], asyncio.Future[Any]] = {}
        for message in chunk:
            key = message.channel.encode()
            headers, value = headers_of(message.payload)
            try:
                sent[message] = await producer.send(
                    topic,
                    value,
                    key=key,
                    partition=zlib.crc32(key) % self._spread,
                    headers=headers,
                )
            except (KafkaError, AssertionError) as error:
                final = self._final(message, error)
                if final is None:
                    break  # what follows must not overtake it
                outcomes[message] = final
        if sent:
            await asyncio.wait(sent.values())
        for message, future in sent.items():
            error = future.exception()
            final = None if error is None else self._final(message, error)
            if error is None or final is not None:
                outcomes[message] = final
        return outcomes

    def _final(self, message: Outgoing[bytes], error: BaseException) -> TransportError | None:
        """What to tell the sender; None if it is to be sent again."""
        where = self._transport.where
        if isinstance(error, MessageSizeTooLargeError):
            return PayloadTooLarge(message.size, self._exchange.max_payload)
        if isinstance(error, TopicAuthorizationFailedError):
            return PermissionDenied(message.channel, f"{where} denies writing: {error}")
        return None

    # In

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        loop = asyncio.get_running_loop()
        channels, exchange, places = self._channels, self._exchange, self._next
        while True:
            try:
                arrived = await consumer.getmany(timeout_ms=500, max_records=1000)
            except TopicAuthorizationFailedError as error:
                topic = self._transport.topic
                raise PermissionDenied(
                    topic, f"{self._transport.where} denies reading {topic}: {error}"
                ) from None
            except KafkaError as error:
                raise TransportUnavailable(f"{self._transport.where}: {error!r}") from None
            now = loop.time()
            for partition, records in arrived.items():
                if records[0].offset != places[partition.partition]:
                    exchange.gap(Gap(None, None, None))
                for record in records:
                    channel = channels.get(record.key)
                    if channel is not None:
                        value = record.value or b""
                        exchange.arrived(channel, read(record.headers, value), len(value), now)
                places[partition.partition] = records[-1].offset + 1
            if arrived:
                await asyncio.sleep(0)

    def tick(self, now: float, late: float) -> None:
        """Give it up where a partition has not been heard of for too long."""
        consumer = self._consumer
        if consumer is None:
            return
        oldest = now
        for number, (stamp, at) in self._polled.items():
            found = consumer.last_poll_timestamp(TopicPartition(self._transport.topic, number))
            at = now if found != stamp else at + late
            self._polled[number] = (found, at)
            oldest = min(oldest, at)
        where = self._transport.where
        if now - oldest > STALE:
            self.abort(TransportUnavailable(f"{where} was silent for {now - oldest:.1f} s"))
        known = consumer.partitions_for_topic(self._transport.topic) or ()
        if len(known) > len(self._polled):
            self.abort(TransportUnavailable(f"{where} has more partitions now"))


async def stop(producer: AIOKafkaProducer) -> None:
    """Stop ``producer`` without a wait for what it could not send."""
    stopping = asyncio.ensure_future(producer.stop())
    await asyncio.wait([stopping], timeout=0.05)
    if not stopping.done():
        accumulator = getattr(producer, "_message_accumulator", None)
        if accumulator is not None:
            accumulator.fail_all(KafkaError("closed"))
        await producer.client.close()
    await stopping


def milliseconds(seconds: float) -> int:
    """What aiokafka counts in."""
    return max(round(seconds * 1000), 0)
