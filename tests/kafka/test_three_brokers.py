"""A cluster of three, of which one dies: nothing is lost, however it dies and whatever it led.

All three keep each message, and Kafka confirms it when all of those have it that count as being
there. So one that dies delays every room until its session has ended and others lead instead
of it. docs/transports/kafka.md has how long that takes by default.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.brokers import KafkaServer, kafka_cluster
from tests.deadlines import promised
from tests.kafka.quorum import controller_of
from tests.kafka.shared import ROOMS, needs_kafka
from tests.kafka.three import each_first, led_by, make_topic
from tests.transports.crew import Crew, crew_of
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEALED_WITHIN = promised(10.0)
"""Seconds from when others lead, as docs/transports/contract.md says."""

SESSION = promised(3.0)
"""Seconds without a word after which a broker is taken for dead, 9 by default. With fewer a busy
machine would kill others than we do."""

ELECTED_WITHIN = promised(30.0)
"""Seconds: the session of one that was the controller begins anew with the next one."""

PATIENT = f"&outbox_age={promised(60.0):g}"
"""For a machine on which brokers take their time to choose: nothing may get too old meanwhile."""

log = logging.getLogger(__name__)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[list[KafkaServer]]:
    needs_kafka()
    settings = {"BROKER_SESSION_TIMEOUT_MS": str(round(SESSION * 1000))}
    async with kafka_cluster(3, settings=settings) as servers:
        yield servers


@pytest.fixture
async def servers(cluster: list[KafkaServer]) -> list[KafkaServer]:
    """All of the cluster, also what a test before has killed."""
    for server in cluster:
        if not server.awake:
            await server.restart()
    return cluster


async def healed(crew: Crew, victim: KafkaServer, asked: KafkaServer, namespace: str) -> None:
    """Wait until others lead instead of ``victim``, and then until all hear all."""
    died = time.monotonic()
    async with asyncio.timeout(ELECTED_WITHIN):
        while await led_by(victim, asked, namespace):  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(0.1)
    elected = time.monotonic()
    await crew.all_hear_all(HEALED_WITHIN)
    over = time.monotonic()
    log.info("others lead after %.2f s, healed %.2f s later", elected - died, over - elected)


async def nothing_is_missing(crew: Crew) -> None:
    """Nothing was lost, nor came twice, nor out of order; and nobody was told otherwise."""
    await crew.all_hear_all()
    account = await crew.account()
    log.info("%s", account)
    for instance in crew:
        log.info("%s", instance.transport.stats())
    assert (account.failed, account.told) == (0, 0)
    assert all(instance.gaps == [] for instance in crew)


async def test_a_broker_that_stands_still_under_load_and_goes_on_loses_and_repeats_nothing(
    servers: list[KafkaServer],
) -> None:
    controller = await controller_of(servers)
    victim, other = (server for server in servers if server is not controller)
    namespace = uuid.uuid4().hex
    await make_topic(other, namespace, 2)
    async with crew_of(map(KafkaTransport, each_first(servers, namespace, PATIENT)), ROOMS) as crew:
        assert await led_by(victim, other, namespace)
        async with crew.talking(pace=0.01):
            await crew.each_says(100)
            await victim.stop()
            await healed(crew, victim, other, namespace)
            # What it had taken before it stood still it knows to be of an old time.
            await victim.cont()
            await crew.each_says(100)
            await crew.all_hear_all()
        await nothing_is_missing(crew)


async def test_the_kill_of_the_controller_under_load_loses_nothing(
    servers: list[KafkaServer],
) -> None:
    victim = await controller_of(servers)
    other = next(server for server in servers if server is not victim)
    namespace = uuid.uuid4().hex
    await make_topic(other, namespace, 1)
    async with crew_of(map(KafkaTransport, each_first(servers, namespace, PATIENT)), ROOMS) as crew:
        assert await led_by(victim, other, namespace)
        async with crew.talking(pace=0.01):
            await crew.each_says(100)
            await victim.kill()
            await healed(crew, victim, other, namespace)
        await nothing_is_missing(crew)
