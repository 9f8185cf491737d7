"""A cluster of three that keeps each message three times, and who leads what in it.

``python -m tests.kafka.three`` measures what docs/transports/kafka.md says of one that dies,
with the times that Kafka has by default.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
import uuid
from typing import TYPE_CHECKING

from aiokafka.admin import NewTopic
from aiokafka.conn import create_conn
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from tests.brokers import KafkaServer, kafka_cluster
from tests.kafka.quorum import controller_of
from tests.kafka.shared import PARTITIONS, ROOMS
from tests.transports.crew import crew_of
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["each_first", "led_by", "make_topic"]

DEFAULTS = {"BROKER_SESSION_TIMEOUT_MS": "9000", "BROKER_HEARTBEAT_INTERVAL_MS": "2000"}
"""Kafka's own."""

NOBODY = -1
"""Who leads a partition that has no leader, as Kafka says."""

PACE = 0.01
"""Seconds between two messages of each instance."""


def each_first(servers: list[KafkaServer], namespace: str, options: str = "") -> list[str]:
    """URLs that name all servers, each of them first in one."""
    at = [f"{server.host}:{server.port}" for server in servers]
    return [
        f"kafka://{','.join([*at[first:], *at[:first]])}?namespace={namespace}{options}"
        for first in range(len(at))
    ]


async def make_topic(server: KafkaServer, namespace: str, in_sync: int) -> None:
    """Make the topic, of which so many copies have to be there for a message to be taken."""
    topic = NewTopic(
        f"wsrooms-{namespace}",
        PARTITIONS,
        3,
        topic_configs={"min.insync.replicas": str(in_sync)},
    )
    async with server.admin() as admin:
        answer = await admin.create_topics([topic])
        assert for_code(answer.topic_errors[0][1]) is NoError


async def led_by(server: KafkaServer, asked: KafkaServer, namespace: str) -> list[int]:
    """The partitions of the topic that ``server`` leads, or nobody, as another one says."""
    connection = await create_conn(asked.host, asked.port)
    try:
        answer = await connection.send(MetadataRequest([f"wsrooms-{namespace}"]))
    finally:
        connection.close()
    [topic] = answer.to_object()["topics"]
    return [
        each["partition"] for each in topic["partitions"] if each["leader"] in (server.node, NOBODY)
    ]


async def dies(server: KafkaServer) -> None:
    """Without a word."""
    await server.kill()


async def stands_still(server: KafkaServer) -> None:
    """And keeps its connections."""
    await server.stop()


async def leaves(server: KafkaServer) -> None:
    """As it is asked to: others lead before it goes."""
    await asyncio.to_thread(server.runner.signal, signal.SIGTERM)
    while await asyncio.to_thread(server.runner.runs):  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.1)
    await server.kill()


FAULTS: dict[str, tuple[Callable[[KafkaServer], Awaitable[None]], bool]] = {
    "one dies": (dies, False),
    "the controller dies": (dies, True),
    "one stands still": (stands_still, False),
    "one is stopped in order": (leaves, False),
}
"""What happens, and whether to the controller."""


async def measure(servers: list[KafkaServer], fault: str, in_sync: int, options: str) -> None:
    """Say what one fault costs three instances that publish all the time."""
    happens, to_controller = FAULTS[fault]
    controller = await controller_of(servers)
    victim = next(each for each in servers if (each is controller) is to_controller)
    other = next(each for each in servers if each is not victim)
    namespace = uuid.uuid4().hex
    await make_topic(other, namespace, in_sync)
    urls = each_first(servers, namespace, options)
    async with crew_of(map(KafkaTransport, urls), ROOMS) as crew:
        async with crew.talking(PACE):
            await crew.each_says(100)
            for instance in crew:
                instance.states.clear()
                instance.slowest = 0.0
            began = time.monotonic()
            await happens(victim)
            while await led_by(victim, other, namespace):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
            elected = time.monotonic() - began
            await crew.all_hear_all(60)
            healed = time.monotonic() - began
            await (victim.start() if happens is not stands_still else victim.cont())
            await crew.each_says(100)
        await crew.all_hear_all(60)
        account = await crew.account()
        figures = [instance.transport.stats() for instance in crew]
        sys.stdout.write(
            f"| {fault} | {in_sync} | {options} | {elected:.1f} | {healed:.1f} "
            f"| {max(instance.slowest for instance in crew):.1f} | {account.sent} "
            f"| {account.failed} | {sum(account.lost.values())} | {account.told} "
            f"| {sum(each['duplicates'] for each in figures)} "
            f"| {sum('down' in instance.states for instance in crew)} |\n"
        )
        sys.stdout.flush()


async def main() -> None:
    """Measure all."""
    sys.stdout.write(
        "| | min.insync.replicas | options | others lead after s | all hear all after s "
        "| slowest message s | sent | failed | lost | told | duplicates | went down |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    async with kafka_cluster(3, settings=DEFAULTS) as servers:
        for in_sync in (1, 2):
            for fault in FAULTS:
                await measure(servers, fault, in_sync, "")
        await measure(servers, "one dies", 2, "&idempotence=true")


if __name__ == "__main__":
    asyncio.run(main())
