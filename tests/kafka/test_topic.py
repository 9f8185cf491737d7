"""The topic: named by the namespace, made as the options say, and told where it cannot be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE, promised
from tests.kafka.crew import Hearing, talk
from tests.kafka.servers import fresh, open_server
from tests.kafka.settings import settings_of
from tests.kafka.shared import PARTITIONS, topic_at
from wsrooms.errors import TransportUnavailable
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from tests.brokers import KafkaServer


async def partitions_of(server: KafkaServer, topic: str) -> list[dict[str, Any]]:
    async with server.admin() as admin:
        [found] = await admin.describe_topics([topic])
    partitions: list[dict[str, Any]] = found["partitions"]
    return partitions


async def test_a_topic_is_made_as_the_options_say() -> None:
    async with open_server() as server:
        namespace = fresh()
        transport = KafkaTransport(
            server.url, namespace=namespace, partitions=3, retention=12.5, replication=1
        )
        await transport.start()
        await transport.close()
        topic = f"wsrooms-{namespace}"
        partitions = await partitions_of(server, topic)
        assert [len(each["replicas"]) for each in partitions] == [1, 1, 1]
        settings = await settings_of(server, topic)
        assert settings["retention.ms"] == "12500"
        assert settings["cleanup.policy"] == "delete"
        assert int(settings["segment.ms"]) <= 12_500
        assert settings["message.timestamp.type"] == "LogAppendTime"


async def test_a_topic_has_what_is_documented_unless_told_otherwise() -> None:
    async with open_server() as server:
        namespace = fresh()
        transport = KafkaTransport(server.url, namespace=namespace)
        await transport.start()
        await transport.close()
        topic = f"wsrooms-{namespace}"
        assert len(await partitions_of(server, topic)) == 8
        assert (await settings_of(server, topic))["retention.ms"] == "300000"


async def test_a_broker_that_is_slow_to_make_it_has_the_time_to_connect() -> None:
    async with topic_at() as topic, topic.server.proxy() as proxy:
        limit = promised(5.0)
        transport = KafkaTransport(
            topic.url(proxy.port), connect_timeout=limit, start_timeout=DEADLINE
        )
        starting = asyncio.create_task(transport.start())
        try:
            async with asyncio.timeout(DEADLINE):
                while proxy.accepted < 2:  # noqa: ASYNC110 - one asks for brokers, one makes it
                    await asyncio.sleep(0.001)
            proxy.hole()
            await asyncio.sleep(0.4 * limit)  # more than the quarter that one question gets
            proxy.heal()
            await starting
            assert len(await topic.partitions()) == PARTITIONS
        finally:
            await transport.close()
            await asyncio.wait([starting])


async def test_a_topic_that_is_there_keeps_its_settings_and_its_partitions() -> None:
    async with open_server() as server:
        namespace = fresh()
        for partitions, retention in ((5, 60.0), (2, 600.0)):
            transport = KafkaTransport(
                server.url, namespace=namespace, partitions=partitions, retention=retention
            )
            await transport.start()
            await transport.close()
        topic = f"wsrooms-{namespace}"
        assert len(await partitions_of(server, topic)) == 5
        assert (await settings_of(server, topic))["retention.ms"] == "60000"


async def test_more_copies_than_brokers_are_told() -> None:
    async with open_server() as server:
        transport = KafkaTransport(server.url, namespace=fresh(), replication=2)
        with pytest.raises(TransportUnavailable, match=r"(?i)replication") as caught:
            await transport.start()
        assert transport.target.topic in str(caught.value)


async def test_a_topic_that_is_missing_and_not_to_be_made_is_told() -> None:
    async with open_server() as server:
        transport = KafkaTransport(f"{server.url}?create_topic=no", namespace=fresh())
        with pytest.raises(TransportUnavailable, match="create_topic is off") as caught:
            await transport.start()
        assert transport.target.topic in str(caught.value)


async def test_a_namespace_that_kafka_takes_for_another_is_told() -> None:
    # Kafka keeps "." and "_" apart, but for the names of its metrics, and so refuses these.
    async with open_server() as server:
        name = fresh()
        first = KafkaTransport(server.url, namespace=f"{name}.x")
        await first.start()
        second = KafkaTransport(server.url, namespace=f"{name}_x")
        with pytest.raises(TransportUnavailable, match=r"(?i)invalid ?topic") as caught:
            await second.start()
        assert second.target.topic in str(caught.value)
        await first.close()


async def test_namespaces_keep_apps_apart() -> None:
    async with open_server() as server:
        one, two = fresh(), fresh()
        sender, stranger = (KafkaTransport(server.url, namespace=each) for each in (one, two))
        await sender.start()
        await stranger.start()
        hearing = Hearing()
        await stranger.subscribe("c", hearing)
        await sender.publish("c", "x")
        again = KafkaTransport(server.url, namespace=two)
        await again.start()
        await again.publish("c", "y")
        assert await hearing.until("y") == ["y"]
        for each in (sender, stranger, again):
            await each.close()


@pytest.mark.parametrize("options", [{"idempotence": True}, {"linger": 0.05}, {"fetch_gather": 0}])
async def test_whatever_the_options_instances_hear_each_other(options: dict[str, Any]) -> None:
    async with open_server() as server:
        namespace = fresh()
        await talk(
            KafkaTransport(server.url, namespace=namespace, **options),
            KafkaTransport(server.url, namespace=namespace, **options),
        )
