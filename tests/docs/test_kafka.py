"""The page "Kafka", beyond what every page of a transport has (test_buses.py)."""

from __future__ import annotations

import logging
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

import wsrooms_kafka
from tests.brokers.kafka_rights import Operation
from tests.kafka.servers import documented_server
from wsrooms.errors import PayloadTooLarge, TransportUnavailable
from wsrooms.transports import PROBE_PREFIX, SERVER_CHANNEL
from wsrooms_kafka import KafkaOptions, KafkaTransport

from .buses import at, heard, shown
from .programs import EXAMPLES, ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.brokers import KafkaServer

PAGE = (ROOT / "docs/transports/kafka.md").read_text("utf-8")
PROGRAM = "kafka/transports.py"

# The addresses of the examples, of which each test has its own.
ADDRESS, TLS_ADDRESS = "localhost:9092", "localhost:9093"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kafka() -> AsyncIterator[KafkaServer]:
    """Have one for all."""
    async with documented_server() as server:
        yield server


def commands(example: str) -> list[list[str]]:
    """The words of each command of a file that a shell reads."""
    text = (EXAMPLES / example).read_text("utf-8").replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line[:1] not in "#"]


def values(command: list[str], option: str) -> list[str]:
    """What a command says for an option, which may stand there several times."""
    return [after for word, after in pairwise(command) if word == option]


def value(command: list[str], option: str) -> str:
    [only] = values(command, option)
    return only


NEEDED, TO_MAKE = (
    [Operation[name.upper()] for name in values(command, "--operation")]
    for command in commands("kafka/acls.sh")
)
[TOPIC] = commands("kafka/topic.sh")
SETTINGS = dict(each.split("=") for each in values(TOPIC, "--config"))


async def make_topic(kafka: KafkaServer, name: str, partitions: int) -> None:
    """As the page does; with one copy, since there is one broker."""
    configs = {**SETTINGS, "min.insync.replicas": "1"}
    async with kafka.admin() as admin:
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])


async def settings(kafka: KafkaServer, topic: str) -> dict[str, str]:
    """Those of a topic."""
    async with kafka.admin() as admin:
        asked = ConfigResource(ConfigResourceType.TOPIC, topic)
        [answer] = await admin.describe_configs([asked])
    return {name: value for name, value, *_ in answer.resources[0][4]}


async def defaults(kafka: KafkaServer) -> dict[str, str]:
    """Of each setting that a broker has."""
    async with kafka.admin() as admin:
        asked = ConfigResource(ConfigResourceType.BROKER, str(kafka.node))
        [answer] = await admin.describe_configs([asked], include_synonyms=True)
    found: dict[str, str] = {}
    for *_, synonyms in answer.resources[0][4]:
        found |= {name: value for name, value, source in synonyms if source == DEFAULT}
    return found


DEFAULT = 5
"""Where a value comes from that nobody has set, by Kafka's numbers."""


# The programs


async def test_tls_with_an_authority_of_ones_own_is_spoken(kafka: KafkaServer) -> None:
    assert kafka.certificates is not None
    async with kafka.proxy() as proxy:
        changes = {TLS_ADDRESS: f"{proxy.host}:{proxy.port}", "ca.pem": str(kafka.certificates.ca)}
        one = shown(PROGRAM, "by_tls", changes)
        assert await heard(one, one.replica()) == ["hello"]


async def test_a_listener_may_want_a_certificate_of_the_instance(kafka: KafkaServer) -> None:
    certificates = kafka.certificates
    assert certificates is not None
    for rights in NEEDED, TO_MAKE:
        await kafka.rights.grant("wsrooms", "wsrooms-known", *rights)
    async with kafka.proxy(2) as proxy:
        url = f"kafka+ssl://{proxy.host}:{proxy.port}?namespace=known"
        one = KafkaTransport(
            url,
            ssl_ca_certs=str(certificates.ca),
            ssl_certfile=str(certificates.client_certificate),
            ssl_keyfile=str(certificates.client_key),
        )
        assert await heard(one, one.replica()) == ["hello"]
        with pytest.raises(TransportUnavailable):
            await KafkaTransport(url, ssl_ca_certs=str(certificates.ca)).start()


async def test_several_brokers_are_one_that_is_there(kafka: KafkaServer) -> None:
    async with kafka.proxy(1) as proxy:
        changes = {"kafka-1:9092": "127.0.0.1:1", "kafka-3:9092": "127.0.0.1:2"}
        changes["kafka-2:9092"] = f"{proxy.host}:{proxy.port}"
        one = shown(PROGRAM, "by_brokers", changes)
        assert await heard(one, one.replica()) == ["hello"]


@pytest.mark.parametrize("name", ["by_user", "by_scram"])
async def test_a_user_needs_the_rights_of_the_page(kafka: KafkaServer, name: str) -> None:
    await kafka.rights.revoke("wsrooms")
    for rights in NEEDED, TO_MAKE:
        await kafka.rights.grant("wsrooms", "wsrooms", *rights)
    one = shown(PROGRAM, name, {ADDRESS: at(kafka)})
    assert await heard(one, one.replica()) == ["hello"]


# The topic


async def test_the_topic_of_the_page_is_the_one_that_is_made(kafka: KafkaServer) -> None:
    async with kafka.proxy(1) as proxy:
        one = KafkaTransport(f"kafka://{proxy.host}:{proxy.port}?namespace=made")
        await one.start()
        await one.close()
        async with kafka.admin() as admin:
            [made] = await admin.describe_topics(["wsrooms-made"])
        assert str(len(made["partitions"])) == value(TOPIC, "--partitions")
    here = await settings(kafka, "wsrooms-made")
    by_others = {"min.insync.replicas"}  # which is left to the broker
    assert {name for name, value in SETTINGS.items() if here[name] != value} == by_others


async def test_a_topic_that_was_made_beforehand_is_taken(kafka: KafkaServer) -> None:
    await make_topic(kafka, value(TOPIC, "--topic"), int(value(TOPIC, "--partitions")))
    async with kafka.proxy(1) as proxy:
        one = shown(PROGRAM, "by_topic", {ADDRESS: f"{proxy.host}:{proxy.port}"})
        assert await heard(one, one.replica()) == ["hello"]


def test_the_table_of_the_topic_has_what_the_command_says() -> None:
    rows = dict(re.findall(r"^\| `([\w.-]+)` \| `?([\w.]+)`? \| [^|]+ \|$", PAGE, re.MULTILINE))
    said = {**SETTINGS, "partitions": value(TOPIC, "--partitions")}
    said["replication-factor"] = value(TOPIC, "--replication-factor")
    assert {name: rows.get(name) for name in said} == said


async def test_a_message_is_written_as_the_page_says(kafka: KafkaServer) -> None:
    keys = re.findall(r"`(ws:[^`…]+)", PAGE.split("| key |")[1].splitlines()[0])
    headers = re.findall(r"`(\w)`", PAGE.split("| headers |")[1].splitlines()[0])
    room, server, probe, hello = keys
    assert (server, probe) == (SERVER_CHANNEL, PROBE_PREFIX)
    async with kafka.proxy(1) as proxy:
        one = KafkaTransport(f"kafka://{proxy.host}:{proxy.port}?namespace=seen&partitions=1")
        await one.start()
        try:
            await one.publish(room, "hello")
        finally:
            await one.close()
        reader = AIOKafkaConsumer(bootstrap_servers=f"{proxy.host}:{proxy.port}")
        await reader.start()
        try:
            partition = TopicPartition("wsrooms-seen", 0)
            reader.assign([partition])
            reader.seek(partition, 0)
            records = {}
            while room.encode() not in records:
                for record in (await reader.getmany(timeout_ms=1000)).get(partition, ()):
                    records[record.key] = record
        finally:
            await reader.stop()
    assert hello.encode() in records
    assert [name for name, _ in records[room.encode()].headers] == headers
    assert records[room.encode()].value == b"hello"


# Users: what happens without each right is in tests/kafka/test_rights.py


def user(kafka: KafkaServer, namespace: str) -> KafkaTransport:
    return KafkaTransport(f"kafka://wsrooms:p%40ssword@{at(kafka)}?namespace={namespace}")


async def test_read_and_write_are_enough_where_the_topic_is(kafka: KafkaServer) -> None:
    await make_topic(kafka, "wsrooms-enough", 8)
    await kafka.rights.grant("wsrooms", "wsrooms-enough", *NEEDED)
    assert await heard(user(kafka, "enough"), user(kafka, "enough")) == ["hello"]


async def test_without_the_right_to_alter_a_topic_is_taken_as_it_is(
    kafka: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    await make_topic(kafka, "wsrooms-small", 2)
    await kafka.rights.grant("wsrooms", "wsrooms-small", *NEEDED)
    with caplog.at_level(logging.WARNING, "wsrooms"):
        assert await heard(user(kafka, "small"), user(kafka, "small")) == ["hello"]
    assert "fewer partitions" in caplog.text


# Limits and settings


async def test_the_settings_are_a_brokers_and_not_its_defaults(kafka: KafkaServer) -> None:
    text = (EXAMPLES / "kafka/server.properties").read_text("utf-8")
    said = dict(line.split("=") for line in text.splitlines() if line and line[0] != "#")
    assert said
    usual = await defaults(kafka)
    assert [name for name, value in said.items() if usual[name] == value] == []


async def test_the_limits_and_times_of_the_page_are_a_brokers_defaults(kafka: KafkaServer) -> None:
    usual = await defaults(kafka)
    assert int(usual["message.max.bytes"]) == 1_048_588
    assert int(usual["max.connections"]) == 2**31 - 1
    assert int(usual["log.retention.check.interval.ms"]) == 5 * 60_000
    assert int(usual["broker.session.timeout.ms"]) == 9_000
    assert int(usual["log.retention.hours"]) == 7 * 24
    assert int(usual["num.partitions"]) == 1
    assert int(usual["min.insync.replicas"]) == 1
    kept = [int(SETTINGS[name]) for name in ("retention.ms", "segment.ms")]
    minutes = (sum(kept) + int(usual["log.retention.check.interval.ms"])) / 60_000
    assert {int(each) for each in re.findall(r"(\d+) minutes?\b[^,]", PAGE)} >= {minutes}


async def test_a_message_may_be_as_large_as_the_page_says(kafka: KafkaServer) -> None:
    raised = int(re.findall(r"max\.message\.bytes=(\d+)", PAGE)[0])
    payload = int(re.findall(r"`max_payload=(\d+)`", PAGE)[0])
    assert int((await defaults(kafka))["message.max.bytes"]) >= KafkaOptions().max_payload + 1280
    async with kafka.proxy(1) as proxy:
        url = f"kafka://{proxy.host}:{proxy.port}?namespace=large"
        one = KafkaTransport(url)
        await one.start()
        try:
            with pytest.raises(PayloadTooLarge):
                await one.publish("ws:room:tea", "x" * payload)
        finally:
            await one.close()
        async with kafka.admin() as admin:
            configs = {**SETTINGS, "max.message.bytes": str(raised), "min.insync.replicas": "1"}
            large = ConfigResource(ConfigResourceType.TOPIC, "wsrooms-large", configs)
            await admin.alter_configs([large])
        one = KafkaTransport(url, max_payload=payload)
        name = "ws:room:" + "n" * 1016
        await one.start()
        try:
            await one.publish(name, "x" * payload)
        finally:
            await one.close()


# aiokafka


def test_the_private_names_of_aiokafka_are_those_of_the_code() -> None:
    table = PAGE.split("| private in aiokafka")[1].split("\n\n")[0]
    [folder] = wsrooms_kafka.__path__
    source = "\n".join(path.read_text("utf-8") for path in Path(folder).glob("*.py"))
    asked = re.findall(r'attr\([\w.]+, "(_\w+)"', source)
    taken = re.findall(r"\b(?:below|_below|connection|accumulator)\.(_\w+)", source)
    used = {*asked, *taken}
    assert used
    assert set(re.findall(r"`(_\w+)`", table)) == used
