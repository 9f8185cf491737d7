"""How large a message may be: what we say ourselves, what Kafka says, and who else is touched."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from tests.deadlines import DEADLINE
from tests.kafka.crew import Hearing, error_of
from tests.kafka.servers import fresh, open_server
from tests.kafka.settings import set_at_broker, set_at_topic
from wsrooms.errors import PayloadTooLarge
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.brokers import KafkaServer

LONG_NAME = "n" * 1024


@contextlib.asynccontextmanager
async def pair(
    server: KafkaServer, namespace: str, **options: Any
) -> AsyncIterator[tuple[KafkaTransport, KafkaTransport]]:
    """Two that have started."""
    sender, receiver = (
        KafkaTransport(server.url, namespace=namespace, **options) for _ in range(2)
    )
    await sender.start()
    await receiver.start()
    try:
        yield sender, receiver
    finally:
        await sender.close()
        await receiver.close()


async def limit(server: KafkaServer, topic: str) -> None:
    """Let it take 20,000 bytes, and wait until it does: it confirms that before."""
    await set_at_topic(server, topic, {"max.message.bytes": "20000"})
    producer = AIOKafkaProducer(bootstrap_servers=f"{server.host}:{server.port}")
    try:
        async with asyncio.timeout(DEADLINE):
            await producer.start()
            with contextlib.suppress(MessageSizeTooLargeError):
                while True:
                    await producer.send_and_wait(topic, b"x" * 30_000)
    finally:
        await producer.stop()


async def test_the_largest_payload_on_the_longest_name_arrives_and_a_byte_more_is_refused() -> None:
    async with open_server() as server, pair(server, fresh()) as (sender, receiver):
        assert sender.max_payload == 1024 * 1024 - 256 - 1024
        largest, hearing = "é" * (sender.max_payload // 2), Hearing()
        await receiver.subscribe(LONG_NAME, hearing)
        await sender.publish(LONG_NAME, largest)
        with pytest.raises(PayloadTooLarge):
            sender.publish(LONG_NAME, largest + "x")
        await sender.publish(LONG_NAME, "last")
        assert await hearing.until("last") == [largest, "last"]
        assert sender.stats()["reconnects"] == 0


@pytest.mark.parametrize("idempotence", [False, True])
async def test_what_is_too_large_for_the_topic_fails_alone_and_in_its_place(
    *, idempotence: bool
) -> None:
    async with (
        open_server() as server,
        pair(server, fresh(), idempotence=idempotence) as (sender, receiver),
    ):
        hearing = Hearing()
        await receiver.subscribe("c", hearing)
        await limit(server, sender.target.topic)
        payloads = [f"{number}" * (9_000 if number in (3, 7) else 1) for number in range(10)]
        payloads[5] = "x" * 30_000
        receipts = [sender.publish("c", payload) for payload in payloads]
        errors = [await error_of(receipt) for receipt in receipts]
        assert [at for at, error in enumerate(errors) if error is not None] == [5]
        assert isinstance(errors[5], PayloadTooLarge)
        assert await hearing.until("9") == [*payloads[:5], *payloads[6:]]
        stats = sender.stats()
        assert (stats["published"], stats["publish_failed"]) == (9, 1)
        # With idempotence a producer's numbers do not go on behind what was refused: the batch
        # as a whole, and the message that is too large by itself.
        assert stats["reconnects"] <= 2 * idempotence
        assert receiver.stats()["duplicates"] == 0


async def test_messages_that_together_are_too_large_are_sent_one_by_one() -> None:
    async with open_server() as server, pair(server, fresh()) as (sender, receiver):
        hearing = Hearing()
        await receiver.subscribe("c", hearing)
        await limit(server, sender.target.topic)
        payloads = [f"{number}:{'x' * 5_000}" for number in range(40)]
        receipts = [sender.publish("c", payload) for payload in payloads]
        assert [await error_of(receipt) for receipt in receipts] == [None] * 40
        assert await hearing.until(payloads[-1]) == payloads
        stats = sender.stats()
        assert (stats["reconnects"], stats["published"], stats["publish_failed"]) == (0, 40, 0)


async def test_a_broker_that_takes_less_than_the_topic_s_default_says_so_too() -> None:
    async with open_server() as server, pair(server, fresh()) as (sender, receiver):
        hearing = Hearing()
        await receiver.subscribe("c", hearing)
        await set_at_broker(server, {"message.max.bytes": "20000"})
        try:
            async with asyncio.timeout(DEADLINE):
                # It is told by the log: for a moment it takes what it took before.
                while (error := await error_of(sender.publish("c", "x" * 30_000))) is None:
                    pass
            assert isinstance(error, PayloadTooLarge)
            assert await error_of(sender.publish("c", "small")) is None
        finally:
            await set_at_broker(server, {})
        await hearing.until("small")
        assert sender.stats()["reconnects"] == 0


async def test_our_own_limit_holds_where_it_is_lower() -> None:
    async with open_server() as server, pair(server, fresh(), max_payload=1000) as (sender, _):
        assert sender.max_payload == 1000
        await sender.publish("c", "x" * 1000)
        with pytest.raises(PayloadTooLarge):
            sender.publish("c", "x" * 1001)
