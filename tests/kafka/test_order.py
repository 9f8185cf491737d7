"""What was sent and not confirmed is sent again, and never behind what was published after it."""

from __future__ import annotations

import asyncio

import pytest

from tests.deadlines import DEADLINE
from tests.kafka.shared import ROOMS, topic_at
from tests.transports.crew import crew_of
from wsrooms_kafka import KafkaTransport

BURST = 5_000


@pytest.mark.may_block("all of a burst is said in one turn of the loop")
async def test_a_burst_over_a_half_open_connection_arrives_once_and_in_order() -> None:
    async with topic_at() as topic, topic.server.proxy() as proxy:
        # Each batch of the publisher's is under way when its connection dies, and the next
        # connection works: what it sends comes before what is sent again, if anything can.
        transports = [KafkaTransport(topic.url(proxy.port)), KafkaTransport(topic.url())]
        async with crew_of(transports, ROOMS) as crew:
            publisher, receiver = crew
            first = publisher.say()
            for _ in range(BURST - 1):
                publisher.say()
            last = first + BURST - 1
            await crew.until(lambda: receiver.has(publisher.name, first + BURST // 10))
            assert not publisher.receipts[last].done
            proxy.hole(new_ones_work=True)
            await crew.until(lambda: receiver.has(publisher.name, last))
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*publisher.receipts)
            await crew.all_hear_all()
            account = await crew.account()
            assert (account.failed, account.told) == (0, 0)
            assert publisher.transport.stats()["resent"] > 0
            assert receiver.gaps == []
