"""The topic is deleted, made again by whoever comes first, or grows, while instances use it."""

from __future__ import annotations

import logging

import pytest
from aiokafka.admin import NewPartitions

from tests.kafka.shared import PARTITIONS, ROOMS, topic_at
from tests.transports.crew import Instance, crew_of
from wsrooms import Gap
from wsrooms_kafka import KafkaTransport

ANY_ROOM = Gap(None, None, None)

log = logging.getLogger(__name__)


@pytest.mark.parametrize("auto_create", [False, True], ids=["by us", "by the broker"])
async def test_a_topic_that_is_deleted_is_made_again_with_all_its_partitions(
    *, auto_create: bool
) -> None:
    # A broker that makes topics itself does so as soon as a survivor asks for it: of one
    # partition, in which all others would be silent.
    async with topic_at(auto_create=auto_create) as topic:
        transports = [KafkaTransport(topic.url()) for _ in range(3)]
        async with crew_of(transports, ROOMS) as crew:
            async with crew.talking(pace=0.01):
                await crew.each_says(100)
                for instance in crew:
                    instance.states.clear()
                await topic.delete()
                # Not all need a new connection for it: some are told by their old one.
                await crew.until(lambda: any(ANY_ROOM in each.gaps for each in crew))
                # Some may not have noticed yet, and what they say be lost.
                await crew.all_hear_newer()
            await crew.all_hear_all()
            account = await crew.account()
            log.info("%s", account)
            assert account.failed == 0
        assert len(await topic.partitions()) == PARTITIONS


async def test_partitions_that_are_added_cost_nothing_and_are_heard_from_their_first_record() -> (
    None
):
    async with topic_at() as topic:
        transports = [KafkaTransport(topic.url()) for _ in range(2)]
        async with crew_of(transports, ROOMS) as crew:
            async with crew.talking(pace=0.01):
                await crew.each_says(100)
                for instance in crew:
                    instance.states.clear()
                async with topic.server.admin() as admin:
                    await admin.create_partitions({topic.name: NewPartitions(2 * PARTITIONS)})
                # It writes to all that there are, of which the others know half.
                late = Instance("late", KafkaTransport(topic.url()), crew.news, ROOMS)
                try:
                    await late.start()
                    said = [late.say() for _ in range(20 * len(ROOMS))]
                    await crew.until(
                        lambda: all(each.has(late.name, number) for each in crew for number in said)
                    )
                finally:
                    await late.transport.close()
            await crew.all_hear_all()
            account = await crew.account()
            assert (account.failed, account.told) == (0, 0)
            assert not any(instance.gaps or instance.states for instance in crew)
        written = await topic.ends()
        assert len(written) == 2 * PARTITIONS
        assert any(written[number] for number in range(PARTITIONS, 2 * PARTITIONS))
