"""The topic: made, repaired, and known before anything is read or written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import (
    BrokerResponseError,
    IncompatibleBrokerVersion,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    LeaderNotAvailableError,
    NoError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from wsrooms.errors import PermissionDenied, TransportError, TransportUnavailable

if TYPE_CHECKING:
    import logging

    from wsrooms_kafka.target import Target

__all__ = ["LOOK", "ready"]

REPLICAS = 3
"""Brokers that keep each message, where there are so many."""

LOOK = 0.02
"""Seconds between two looks for what nobody tells, such as the leaders of a new topic."""


async def ready(
    admin: AIOKafkaAdminClient, target: Target, logger: logging.Logger, *, first: bool
) -> int:
    """See that the topic is there, with a leader for each partition.

    Args:
        admin: Whom to ask.
        target: Which topic, and what it is made with.
        logger: For what nobody else is told.
        first: Whether it is made before it is looked for: a broker may make what is looked
            for, and as it likes. Later that would be in the way of those who reconnect,
            since only the controller makes topics, which may be the broker that has died.

    Returns:
        How many partitions it has.

    Raises:
        PermissionDenied: Kafka will not show it.
        TransportUnavailable: It is not there, and must not or cannot be made.
        KafkaError: Anything else that aiokafka says.
    """
    topic, options = target.topic, target.options
    more = options.create_topic
    made = more and first
    refusal = await _made(admin, target) if made else None
    while True:
        (found,) = await admin.describe_topics([topic])
        error = for_code(found["error_code"])
        if error is TopicAuthorizationFailedError:
            raise PermissionDenied(topic, f"{target.where} denies describing the topic {topic}")
        if error not in (NoError, LeaderNotAvailableError, UnknownTopicOrPartitionError):
            raise error(topic)
        if error is UnknownTopicOrPartitionError:
            if options.create_topic and not made:
                made, refusal = True, await _made(admin, target)
            elif not options.create_topic or refusal is not None:
                raise _absent(target, refusal)
        partitions = found["partitions"]
        if partitions and all(each["leader"] >= 0 for each in partitions):
            if not more or len(partitions) >= options.partitions:
                return len(partitions)
            # Made by somebody else, or anew by the broker itself when it was gone: of one.
            more = await _enlarged(admin, target, logger)
        await asyncio.sleep(LOOK)


def _absent(target: Target, refusal: type[Exception] | None) -> TransportError:
    """The error of a topic that is not there, and could not be made because of ``refusal``."""
    topic, missing = target.topic, f"{target.where} has no topic {target.topic}"
    if refusal is None:
        return TransportUnavailable(f"{missing}, and option create_topic is off: create it")
    if refusal is TopicAuthorizationFailedError:
        return PermissionDenied(topic, f"{missing}, and denies creating it")
    return TransportUnavailable(f"{missing}, and it cannot be created: {refusal.__name__}")


async def _made(admin: AIOKafkaAdminClient, target: Target) -> type[Exception] | None:
    """Make the topic, if it is not there; the reason if it could not be made."""
    options = target.options
    settings = {
        "cleanup.policy": "delete",
        "retention.ms": str(round(options.retention * 1000)),
        # What the broker compressed would need more packages to read.
        "compression.type": "producer",
        # Nobody's clock but the broker's: another one would have messages refused or removed.
        "message.timestamp.type": "LogAppendTime",
        # Whole segments are removed, when their last message is old enough.
        "segment.ms": str(round(max(options.retention / 5, 1) * 1000)),
    }
    replicas = options.replication or REPLICAS
    while True:
        topic = NewTopic(target.topic, options.partitions, replicas, topic_configs=settings)
        answer = await admin.create_topics([topic])
        error = for_code(answer.topic_errors[0][1])
        if error is InvalidReplicationFactorError and options.replication is None:
            if replicas > 1:
                replicas -= 1  # there are not so many brokers
            else:
                await asyncio.sleep(LOOK)  # not one, at this moment
            continue
        if error is RequestTimedOutError:
            raise error(target.topic)  # which is no refusal: it may be there in a moment
        return None if error in (NoError, TopicAlreadyExistsError) else error


async def _enlarged(admin: AIOKafkaAdminClient, target: Target, logger: logging.Logger) -> bool:
    """Give the topic its partitions; False if Kafka will not."""
    wish = {target.topic: NewPartitions(target.options.partitions)}
    try:
        await admin.create_partitions(wish)
    except InvalidPartitionsError:
        return True  # somebody else was quicker
    except RequestTimedOutError:
        raise  # which is no refusal
    except (BrokerResponseError, IncompatibleBrokerVersion) as error:
        refusal = type(error).__name__
    else:
        return True
    logger.warning(
        "the topic %s has fewer partitions than option partitions=%d says, and %s does not add "
        "them: %s",
        target.topic,
        target.options.partitions,
        target.where,
        refusal,
    )
    return False
