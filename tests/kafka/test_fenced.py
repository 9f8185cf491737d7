"""A broker that its controller has not let in answers, and knows of no broker, not even itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import NodeNotReadyError

from tests.brokers import kafka_server
from tests.brokers.kafka import IMAGE
from tests.deadlines import DEADLINE, promised
from tests.kafka.servers import fresh, open_server
from tests.kafka.shared import needs_kafka
from wsrooms.errors import TransportUnavailable
from wsrooms_kafka import KafkaTransport
from wsrooms_kafka.bootstrap import asked

if TYPE_CHECKING:
    from tests.brokers import KafkaServer

SESSION, HEARTBEAT = round(promised(1200)), round(promised(4000))
"""Milliseconds: most of the time its controller takes the broker for gone, and fences it."""


async def until_fenced(server: KafkaServer) -> None:
    """Wait until the broker is in, and then until it is out."""
    async with asyncio.timeout(DEADLINE):
        for out in False, True:
            while await is_fenced(server) is not out:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)


async def is_fenced(server: KafkaServer) -> bool:
    try:
        async with server.admin() as admin:
            return not (await admin.describe_cluster())["brokers"]
    except NodeNotReadyError:  # aiokafka asks one of those that it was told of: none
        return True


async def test_a_fenced_broker_is_asked_until_it_is_let_in_and_told_as_the_cause_if_it_is_not() -> (
    None
):
    needs_kafka()
    settings = {
        "broker.session.timeout.ms": str(SESSION),
        "broker.heartbeat.interval.ms": str(HEARTBEAT),
    }
    async with kafka_server(IMAGE, settings=settings) as server:
        await until_fenced(server)
        loop = asyncio.get_running_loop()
        began = loop.time()
        transport = KafkaTransport(server.url, namespace=fresh(), connect_timeout=promised(0.5))
        with pytest.raises(TransportUnavailable, match=r"knows no brokers.*fenced"):
            await transport.start()
        assert promised(0.3) < loop.time() - began < promised(2.0)
        await transport.close()

        patient = KafkaTransport(server.url, connect_timeout=DEADLINE).target
        given = {"request_timeout_ms": 3000, "security_protocol": "PLAINTEXT"}
        metadata = await asked(patient, given, loop.time() + DEADLINE, patient.turn)
        assert [node for node, *_ in metadata.brokers] == [server.node]

        async with open_server() as other:
            began = loop.time()
            several = KafkaTransport(
                f"{server.url},{other.host}:{other.port}", connect_timeout=DEADLINE
            ).target
            await until_fenced(server)
            while several.addresses[0].port != server.port:
                several.turn()
            metadata = await asked(several, given, began + DEADLINE, several.turn)
            assert [node for node, *_ in metadata.brokers] == [other.node]
            assert several.addresses[0].port == other.port
