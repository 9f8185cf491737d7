"""The topic: made, repaired, and known before anything is read or written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from wsrooms.errors import PermissionDenied, TransportUnavailable

if TYPE_CHECKING:
    from wsrooms_kafka.options import KafkaOptions

__all__ = ["ready"]

EXISTS, DENIED = 36, 29
"""What Kafka answers, by its own numbers."""

LOOK = 0.02
"""Seconds between two looks for the leaders of a topic that was just made."""


async def ready(admin: AIOKafkaAdminClient, topic: str, where: str, options: KafkaOptions) -> int:
    """See that ``topic`` is there, with a leader for each partition.

    Returns:
        How many partitions it has.

    Raises:
        PermissionDenied: Kafka will not show it.
        TransportUnavailable: It is not there and must not be made, or cannot be.
        KafkaError: Anything else that aiokafka says.
    """
    refused = 0
    if options.create_topic:
        refused = await _made(admin, topic, options)
    grown = False
    while True:
        (found,) = await admin.describe_topics([topic])
        code, partitions = found["error_code"], found["partitions"]
        if code == DENIED:
            raise PermissionDenied(topic, f"{where} denies the topic {topic}: describe it")
        if code == 3 and not options.create_topic:
            raise TransportUnavailable(
                f"{where} has no topic {topic}, and option create_topic is off: create it"
            )
        if code == 3 and refused not in (0, EXISTS):
            raise TransportUnavailable(
                f"{where} has no topic {topic}, and does not let it be made: error {refused}"
            )
        if partitions and all(each["leader"] >= 0 for each in partitions):
            missing = options.partitions > len(partitions) and options.create_topic
            if not missing or grown:
                return len(partitions)
            # Made by somebody else, or anew by the broker itself when it was gone: of one.
            await admin.create_partitions({topic: NewPartitions(options.partitions)})
            grown = True
        await asyncio.sleep(LOOK)


async def _made(admin: AIOKafkaAdminClient, topic: str, options: KafkaOptions) -> int:
    wish = NewTopic(
        topic,
        options.partitions,
        options.replication or 1,
        topic_configs={
            "cleanup.policy": "delete",
            "retention.ms": str(round(options.retention * 1000)),
            "segment.ms": str(round(max(options.retention / 5, 1) * 1000)),
        },
    )
    answer: Any = await admin.create_topics([wish])
    return int(answer.topic_errors[0][1])
