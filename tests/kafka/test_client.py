"""What is used of aiokafka that is private: it is there, and nothing depends on it."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaError

from tests.deadlines import DEADLINE
from tests.kafka.crew import Hearing, talk
from tests.kafka.servers import fresh, open_server
from tests.transports.told import Told
from wsrooms.errors import AuthenticationFailed, TransportUnavailable
from wsrooms_kafka import KafkaTransport
from wsrooms_kafka.handle import Handle

if TYPE_CHECKING:
    from collections.abc import Iterable

accumulators: Any = import_module("aiokafka.producer.message_accumulator")
Accumulator: type[Any] = accumulators.MessageAccumulator
Batch: type[Any] = accumulators.MessageBatch

PRIVATE: dict[type[Any], tuple[str, ...]] = {
    AIOKafkaClient: (
        "_md_synchronizer",
        "_sync_task",
        "_on_connection_closed",
        "_get_conn",
        "_conns",
        "_maybe_wait_metadata",
        "_md_update_fut",
    ),
    AIOKafkaConnection: ("_writer",),
    AIOKafkaConsumer: ("_client", "_fetcher"),
    AIOKafkaAdminClient: ("_client",),
    AIOKafkaProducer: ("_message_accumulator",),
    Accumulator: ("fail_all", "reenqueue", "_pending_batches", "_batches"),
    Batch: ("_drain_waiter",),
}
"""All of it, by the class that has it."""

NAMES = [(owner, name) for owner, names in PRIVATE.items() for name in names]
US = "wsrooms_kafka."


def hide(monkeypatch: pytest.MonkeyPatch, owner: type[Any], names: Iterable[str]) -> None:
    """Let ``names`` be there for aiokafka, and for nobody in the transport.

    To it that is a version of aiokafka which calls them something else.
    """
    hidden = frozenset(names)
    original: Any = owner.__getattribute__  # of a class, which its type does not say

    def found(self: object, name: str) -> Any:
        if name in hidden and sys._getframe(1).f_globals["__name__"].startswith(US):
            raise AttributeError(name)
        return original(self, name)

    monkeypatch.setattr(owner, "__getattribute__", found)


async def test_each_private_name_is_there() -> None:
    async with open_server() as server:
        at = f"{server.host}:{server.port}"
        producer, consumer = AIOKafkaProducer(bootstrap_servers=at), AIOKafkaConsumer()
        admin = AIOKafkaAdminClient(bootstrap_servers=at)
        await producer.start()
        try:
            client: Any = producer.client
            await client.force_metadata_update()
            connection = next(iter(client._conns.values()))
            below: Any = producer
            made = [client, connection, consumer, admin, producer, below._message_accumulator]
            assert {Batch, *map(type, made)} == PRIVATE.keys()  # a test below has a batch
            for each in made:
                for name in PRIVATE[type(each)]:
                    assert hasattr(each, name), f"{type(each).__name__}.{name}"
        finally:
            await producer.stop()
            await consumer.stop()
            await admin.close()


@pytest.mark.parametrize(("owner", "name"), NAMES, ids=[name for _, name in NAMES])
async def test_without_a_private_name_all_works_and_closes(
    owner: type[Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, owner, [name])
    async with open_server() as server:
        namespace = fresh()
        await talk(
            KafkaTransport(server.url, namespace=namespace),
            KafkaTransport(server.url, namespace=namespace),
        )


async def test_without_all_of_them_a_lost_connection_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for owner, names in PRIVATE.items():
        hide(monkeypatch, owner, names)
    async with open_server() as server, server.proxy() as proxy:
        namespace = fresh()
        transport = KafkaTransport(
            f"kafka://127.0.0.1:{proxy.port}", namespace=namespace, ping_interval=0.5
        )
        other, hearing = KafkaTransport(server.url, namespace=namespace), Hearing()
        told = Told(transport)
        await transport.start()
        await other.start()
        await transport.subscribe("c", hearing)
        proxy.refuse()
        proxy.cut()
        await told.until("down")
        await other.publish("c", "meanwhile")
        proxy.heal()
        await told.until("up")
        await other.publish("c", "after")
        assert await hearing.until("after") == ["meanwhile", "after"]
        await transport.close()
        await other.close()


async def test_without_all_of_them_what_is_refused_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for owner, names in PRIVATE.items():
        hide(monkeypatch, owner, names)
    async with open_server() as server:
        with pytest.raises(TransportUnavailable, match="knows no logins"):
            await KafkaTransport(server.url, username="ann", password="x").start()
        with pytest.raises((TransportUnavailable, AuthenticationFailed), match="TLS"):
            await KafkaTransport(f"kafka+ssl://127.0.0.1:{server.port}").start()


async def test_what_a_stopped_producer_still_had_is_not_logged_as_missed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    producer: Any = AIOKafkaProducer()
    nothing: Any = None
    handle = Handle(producer, nothing)
    builder = producer.create_batch()
    builder.append(timestamp=None, key=None, value=b"never sent")
    accumulator = producer._message_accumulator
    answer = await accumulator.add_batch(builder, TopicPartition("topic", 0), 1.0)
    [batch] = accumulator._batches[TopicPartition("topic", 0)]
    for name in PRIVATE[Batch]:
        assert hasattr(batch, name), name
    del batch
    handle._fail()
    with pytest.raises(KafkaError):
        await answer
    del accumulator, answer, builder, handle
    await producer.stop()
    del producer
    gc.collect()
    await asyncio.sleep(0)
    assert not caplog.records


async def test_others_who_use_aiokafka_hear_its_log_as_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_server() as server, server.proxy() as proxy:
        transport = KafkaTransport(f"kafka://127.0.0.1:{proxy.port}", namespace=fresh())
        told = Told(transport)
        await transport.start()
        proxy.refuse()
        proxy.cut()
        await told.until("down")
        assert "aiokafka" not in {record.name.partition(".")[0] for record in caplog.records}
        theirs = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{proxy.port}")
        with pytest.raises(Exception, match="Unable to bootstrap"):
            await theirs.start()
        await theirs.stop()
        said = [each for each in caplog.records if each.name.partition(".")[0] == "aiokafka"]
        assert any(each.levelno == logging.ERROR for each in said)
        async with asyncio.timeout(DEADLINE):
            await transport.close()
