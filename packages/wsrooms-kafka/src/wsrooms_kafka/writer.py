"""Writing: one chunk of messages at a time, of which each partition gets one batch.

Nothing of the next chunk is sent while anything of this one is open: what failed is sent
again in its order, and never falls behind what was published after it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from typing import TYPE_CHECKING

from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from wsrooms.errors import (
    PayloadTooLarge,
    PermissionDenied,
    TransportError,
    TransportUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import AIOKafkaProducer, RecordMetadata

    from wsrooms.transports import BrokerTransport, Outgoing
    from wsrooms_kafka.target import Target

    Message = Outgoing[bytes]
    Outcomes = dict[Message, TransportError | None]
    Queues = dict[int, deque[Message]]
    _Sent = dict[int, tuple[list[Message], asyncio.Future[RecordMetadata]]]

__all__ = ["BATCH_BYTES", "Writer"]

BATCH_BYTES = 512 * 1024
"""Of one partition: whatever a chunk has for it, but for names of kilobytes."""

TOO_LARGE: tuple[type[Exception], ...] = (MessageSizeTooLargeError, RecordListTooLargeError)
"""Over ``message.max.bytes``, or a segment of the log."""

REFUSALS: tuple[type[Exception], ...] = (
    *TOO_LARGE,
    TopicAuthorizationFailedError,
    InvalidTimestampError,
)
"""What Kafka would say again: of messages, and not of the connection."""

GRACE = 1.0
"""Seconds that aiokafka has beyond ``confirm_timeout`` to say itself why it is over."""


class Writer:
    """What one connection sends.

    Attributes:
        busy_since: Since when a batch has not been answered; None: none is under way.
    """

    def __init__(
        self,
        transport: BrokerTransport,
        target: Target,
        producer: AIOKafkaProducer,
        partitions: int,
    ) -> None:
        """Write through ``producer`` to the first ``partitions`` of the topic of ``target``."""
        self._transport = transport
        self._target = target
        self._producer = producer
        self._partitions = partitions
        self._work = asyncio.Event()
        self.busy_since: float | None = None

    def wake(self) -> None:
        """There may be something to send."""
        self._work.set()

    async def run(self) -> None:
        """Send what the outbox holds.

        Raises:
            TransportUnavailable: Something could not be sent; it is still in the outbox.
        """
        loop = asyncio.get_running_loop()
        outbox = self._transport.exchange.outbox
        linger = self._target.options.linger
        last = 0.0
        while True:
            await self._work.wait()
            self._work.clear()
            while self._transport.may_publish:
                if linger and len(outbox) and (rest := last + linger - loop.time()) > 0:
                    await asyncio.sleep(rest)
                last = loop.time()
                chunk = outbox.batch(loop.time())
                if not chunk:
                    break
                await self._send(chunk)

    def overdue(self, now: float, late: float) -> bool:
        """Whether the broker has not confirmed in time what was sent."""
        if self.busy_since is None:
            return False
        self.busy_since = min(now, self.busy_since + late)
        return now - self.busy_since > self._transport.options.confirm_timeout + GRACE

    async def _send(self, chunk: list[Message]) -> None:
        """Send ``chunk``, whatever number of batches it takes."""
        queues: Queues = {}
        for message in chunk:
            number = zlib.crc32(message.channel.encode()) % self._partitions
            queues.setdefault(number, deque()).append(message)
        alone: set[int] = set()
        while queues:
            failure = await self._round(queues, alone)
            if failure is not None:
                raise TransportUnavailable(
                    f"{self._transport.where} has not taken messages: {failure!r}"
                ) from None

    async def _round(self, queues: Queues, alone: set[int]) -> Exception | None:
        """Send each partition its next batch, and take from ``queues`` what has its answer.

        Args:
            queues: What is to be sent, by partition.
            alone: The partitions whose batches have one message: larger ones were too large.

        Returns:
            Why something has no answer, and the connection is of no use any more.
        """
        sent: _Sent = {}
        failure: Exception | None = None
        try:
            self.busy_since = asyncio.get_running_loop().time()
            for number, queue in queues.items():
                some = [queue[0]] if number in alone else queue
                try:
                    sent[number] = await self._batch(number, some)
                except (KafkaError, AssertionError) as error:
                    failure = error  # AssertionError: the topic has lost that partition
                    break
            if sent:
                await asyncio.wait([future for _, future in sent.values()])
            self.busy_since = None
            return self._settle(sent, queues, alone) or failure
        finally:
            for _, future in sent.values():
                future.add_done_callback(_seen)

    def _settle(self, sent: _Sent, queues: Queues, alone: set[int]) -> Exception | None:
        """Tell senders what became of the batches of one round; the failure of one, if any."""
        failure: Exception | None = None
        outcomes: Outcomes = {}
        for number, (batch, future) in sent.items():
            why = future.exception()
            if why is None:
                outcomes.update(dict.fromkeys(batch))
            elif isinstance(why, TOO_LARGE) and len(batch) > 1:
                alone.add(number)  # the batch was too large, which no message need be
                continue
            elif isinstance(why, REFUSALS):
                outcomes.update({each: self._refusal(each, why) for each in batch})
            else:
                failure = why if isinstance(why, Exception) else failure
                continue
            queue = queues[number]
            for _ in batch:
                queue.popleft()
            if not queue:
                del queues[number]
        self._transport.exchange.settled(outcomes)
        return failure

    async def _batch(
        self, number: int, messages: Iterable[Message]
    ) -> tuple[list[Message], asyncio.Future[RecordMetadata]]:
        """Send as many of ``messages`` as one batch has room for."""
        builder = self._producer.create_batch()
        batch: list[Message] = []
        for message in messages:
            version, instance, epoch, seq, value = message.payload.split(b" ", 4)
            added = builder.append(
                timestamp=None,
                key=message.channel.encode(),
                value=value,
                headers=[("v", version), ("i", instance), ("e", epoch), ("s", seq)],
            )
            if added is None:
                break
            batch.append(message)
        topic = self._target.topic
        return batch, await self._producer.send_batch(builder, topic, partition=number)

    def _refusal(self, message: Message, error: BaseException) -> TransportError:
        """What to tell the sender of a message that Kafka will never take."""
        transport, topic = self._transport, self._target.topic
        if isinstance(error, TOO_LARGE):
            return PayloadTooLarge(message.size, transport.max_payload)
        if isinstance(error, InvalidTimestampError):
            return TransportUnavailable(
                f"{transport.where} takes the time of this machine for wrong: set its clock, or "
                f"message.timestamp.type=LogAppendTime for the topic {topic}"
            )
        return PermissionDenied(
            message.channel, f"{transport.where} denies writing to the topic {topic}"
        )


def _seen(future: asyncio.Future[RecordMetadata]) -> None:
    """Its error is of no use to anybody any more, and would be logged as one that was missed."""
    if not future.cancelled():
        future.exception()
