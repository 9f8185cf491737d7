"""How bytes pass: all of them, in order, no faster than they may, and never too many held."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE, promised
from wsrooms.testing.proxy.links import HELD_BYTES, Pace

if TYPE_CHECKING:
    from wsrooms.testing import TcpProxy

    from .conftest import Broker, Connect

LATENCY = promised(0.5)


async def test_megabytes_pass_both_ways_at_once_unchanged(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    data = random.Random(6).randbytes(8 * 1024 * 1024)

    async def hear(reader: asyncio.StreamReader) -> str:
        return hashlib.sha256(await reader.read()).hexdigest()

    for end in (client, line):
        end.writer.write(data)
        end.writer.write_eof()
    async with asyncio.timeout(DEADLINE):
        heard = await asyncio.gather(hear(client.reader), hear(line.reader))
    assert set(heard) == {hashlib.sha256(data).hexdigest()}
    assert (proxy.written_bytes, proxy.answered_bytes) == (len(data), len(data))
    assert proxy.connections == 0, "both had said their end"


async def test_of_what_a_side_does_not_take_only_so_much_is_held(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's have it
    sent = 64 * 1024 * 1024
    client.writer.write(bytes(sent))
    taken = -1
    while taken != proxy.written_bytes:
        taken = proxy.written_bytes
        await asyncio.sleep(0.1)
    assert client.writer.transport.get_write_buffer_size() > sent / 2
    [link] = proxy._links
    assert link.up._size < 2 * HELD_BYTES
    line.writer.transport.resume_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(DEADLINE):
        assert len(await line.reader.readexactly(sent)) == sent


async def test_latency_is_added_once_to_each_way_and_nothing_overtakes(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    clock = asyncio.get_running_loop().time
    proxy.slow(latency=LATENCY)
    started = clock()
    await client.write(b"1")
    await asyncio.sleep(LATENCY / 4)
    await client.write(b"2")
    assert await line.read(1) == b"1"
    assert 0.95 * LATENCY < clock() - started < 5 * LATENCY
    await line.write(b"3")
    assert await client.read(1) == b"3"
    assert clock() - started > 1.95 * LATENCY
    proxy.slow(latency=2 * DEADLINE)
    proxy.heal()
    await client.write(b"4")
    assert await line.read(2) == b"24", "which would not wait for so long"


async def test_bandwidth_is_kept_and_whoever_writes_faster_waits(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    clock = asyncio.get_running_loop().time
    proxy.slow(bytes_per_second=200_000)
    started = clock()
    client.writer.write(bytes(16 * 1024 * 1024))
    await line.read(100_000)
    took = clock() - started
    assert 0.45 < took < promised(5.0)
    assert proxy.written_bytes < 200_000 * took + 50_000, "it was read as fast as it passes"
    assert client.writer.transport.get_write_buffer_size() > 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("pace", "read", "held"),
    [
        (Pace(), 262_144, 1_048_576),
        (Pace(latency=3.0), 262_144, 1_048_576),
        (Pace(bytes_per_second=1000.0), 50, 50),
        (Pace(bytes_per_second=1000.0, latency=1.0), 50, 1050),
        (Pace(bytes_per_second=1.0), 1, 1),
        (Pace(bytes_per_second=1e9), 262_144, 50_000_000),
    ],
)
def test_a_slow_pace_reads_little_at_once_and_holds_what_travels(
    pace: Pace, read: int, held: int
) -> None:
    assert (pace.read_bytes, pace.held_bytes) == (read, held)
