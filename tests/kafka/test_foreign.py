"""What others write into the topic costs nobody a message: it is dropped, and counted."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.deadlines import DEADLINE
from tests.kafka.crew import Hearing
from tests.kafka.servers import fresh, open_server
from wsrooms import Gap
from wsrooms_kafka import KafkaTransport

if TYPE_CHECKING:
    from tests.brokers import KafkaServer

calc_crc32c: Any = import_module("aiokafka.record.util").calc_crc32c  # which has no types

ROOM = "ws:room:/r"
KEY = ROOM.encode()
STRANGE = b"QQQQ"

Headers = Sequence[tuple[str, Any]]


@asynccontextmanager
async def heard_at(server: KafkaServer) -> AsyncIterator[tuple[KafkaTransport, Hearing, list[Gap]]]:
    """An instance that hears a room, in a topic of one partition, and what it has missed."""
    transport = KafkaTransport(server.url, namespace=fresh(), partitions=1)
    hearing, gaps = Hearing(), list[Gap]()
    transport.on_gap(gaps.append)
    await transport.start()
    try:
        await transport.subscribe(ROOM, hearing)
        yield transport, hearing, gaps
    finally:
        await transport.close()


@asynccontextmanager
async def stranger_at(server: KafkaServer) -> AsyncIterator[AIOKafkaProducer]:
    """Somebody who writes what he likes."""
    producer = AIOKafkaProducer(bootstrap_servers=f"{server.host}:{server.port}")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def ours(number: int) -> Headers:
    """The headers of a message of some instance."""
    return [("v", b"1"), ("i", b"f" * 16), ("e", b"1"), ("s", b"%d" % number)]


def strange(batch: Any) -> Any:
    """``batch``, with a header's name that is no text."""
    build = batch._build

    def built() -> bytearray:
        data = bytearray(build())
        at = bytes(data).index(STRANGE)
        data[at : at + 4] = b"\xff\xfe\xff\xfe"
        data[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
        return data

    batch._build = built
    return batch


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("v", b"1"), ("i", None), ("e", b"1"), ("s", b"1")],
        [("v", b"1"), ("i", b"f" * 16), ("e", b"1"), ("s", b"x")],
        [("v", b"2"), *ours(1)[1:]],
        [*ours(1), ("s", b"1")],
        [("s", b"1"), *ours(1)[:3]],
    ],
    ids=["none", "no value", "no number", "another version", "one twice", "another order"],
)
async def test_what_comes_with_a_foreign_record_is_heard(headers: Headers) -> None:
    async with (
        open_server() as server,
        heard_at(server) as (transport, hearing, gaps),
        stranger_at(server) as stranger,
    ):
        batch = stranger.create_batch()
        batch.append(timestamp=None, key=KEY, value=b"foreign", headers=headers)
        batch.append(timestamp=None, key=None, value=b"no key", headers=ours(1))
        for number, payload in enumerate((b"one", b"two"), 1):
            batch.append(timestamp=None, key=KEY, value=payload, headers=ours(number))
        await (await stranger.send_batch(batch, transport.target.topic, partition=0))
        assert await hearing.until("two") == ["one", "two"]
        stats = transport.stats()
        assert (gaps, stats["foreign"], stats["reconnects"]) == ([], 1, 0)


async def test_what_nobody_can_read_is_stepped_over_and_told() -> None:
    async with (
        open_server() as server,
        heard_at(server) as (transport, hearing, gaps),
        stranger_at(server) as stranger,
    ):
        batch = stranger.create_batch()
        batch.append(timestamp=None, key=b"x", value=b"x", headers=[(STRANGE.decode(), b"")])
        written = await stranger.send_batch(strange(batch), transport.target.topic, partition=0)
        await written
        async with asyncio.timeout(DEADLINE):
            while not gaps:  # noqa: ASYNC110 - whoever is told of a gap tells nobody
                await asyncio.sleep(0.01)
        other = transport.replica()
        await other.start()  # the record is the last one of the log
        await other.publish(ROOM, "after")
        assert await hearing.until("after") == ["after"]
        await other.close()
        stats = transport.stats()
        assert (gaps, stats["foreign"]) == ([Gap(None, None, None)], 1)
        assert (transport.state, stats["reconnects"]) == ("up", 0)
