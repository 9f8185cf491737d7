"""What the proxy does to connections, and what it counts."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE
from wsrooms.testing import TcpProxy

from .conftest import until

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Broker, Connect, Line

QUIET = 0.1
"""Seconds in which bytes that could pass would long have passed: they take none."""


async def hears_nothing(line: Line, quiet: float = QUIET) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(quiet):
            await line.reader.read(1)


async def talk(client: Line, broker: Line) -> None:
    await client.write(b"question")
    assert await broker.read(8) == b"question"
    await broker.write(b"answer")
    assert await client.read(6) == b"answer"


async def test_bytes_pass_both_ways_and_are_counted(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    for _ in range(3):
        await talk(client, line)
    assert (proxy.writes, proxy.written_bytes) == (3, 24)
    assert (proxy.answers, proxy.answered_bytes) == (3, 18)
    assert (proxy.accepted, proxy.connections) == (1, 1)


async def test_counts_outlive_their_connections(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    for _ in range(3):
        client = await connect()
        await talk(client, await broker.line())
        proxy.cut()
    assert (proxy.accepted, proxy.connections) == (3, 0)
    assert (proxy.writes, proxy.written_bytes, proxy.answers, proxy.answered_bytes) == (
        (3, 24, 3, 18)
    )


async def test_the_end_of_either_side_reaches_the_other_and_what_was_before_it_too(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    await client.write(b"last words")
    client.writer.write_eof()
    assert await line.read_end() == b"last words"
    await line.write(b"heard you")
    await line.close()
    assert await client.read_end() == b"heard you"
    await until(lambda: proxy.connections == 0)


async def test_a_reset_of_either_side_is_a_reset_of_the_other(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    await talk(client, line)
    reset(client)
    with pytest.raises(ConnectionResetError):
        await line.read_end()
    await until(lambda: proxy.connections == 0)
    client, line = await connect(), await broker.line()
    await talk(client, line)
    reset(line)
    with pytest.raises(ConnectionResetError):
        await client.read_end()
    await until(lambda: proxy.connections == 0)


def reset(line: Line) -> None:
    sock = line.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.writer.transport.abort()


async def test_cut_resets_both_sides_of_every_connection_and_new_ones_work(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    pairs = [(await connect(), await broker.line()) for _ in range(3)]
    for client, line in pairs:
        await talk(client, line)
    proxy.cut()
    assert proxy.connections == 0
    for client, line in pairs:
        for end in (client, line):
            with pytest.raises(ConnectionResetError):
                await end.read_end()
    await talk(await connect(), await broker.line())


async def test_cut_reaches_a_connection_that_was_only_just_made(
    proxy: TcpProxy, broker: Broker
) -> None:
    with socket.create_connection((proxy.host, proxy.port)) as fresh:
        proxy.cut()
        assert proxy.accepted == 1
        with pytest.raises(ConnectionResetError):
            fresh.recv(1)


async def test_after_hole_returns_not_a_byte_passes_and_nobody_is_told(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    await talk(client, line)
    client.writer.write(b"lost?")
    line.writer.write(b"lost?")
    proxy.hole()
    client.writer.write_eof()
    await hears_nothing(line)
    await hears_nothing(client)
    assert proxy.connections == 1


async def test_in_a_hole_bytes_pile_up_with_the_sender(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    await talk(client, line)
    proxy.hole()
    size = 32 * 1024 * 1024
    client.writer.write(bytes(size))
    line.writer.write(bytes(size))
    await asyncio.sleep(QUIET)
    for end in (client, line):
        assert end.writer.transport.get_write_buffer_size() > size / 2
    assert proxy.written_bytes == len("question")


async def test_a_hole_that_heals_lets_pass_what_had_piled_up_in_order(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    proxy.hole()
    parts = [number.to_bytes(4, "big") for number in range(200_000)]
    client.writer.write(b"".join(parts))
    client.writer.write_eof()
    await hears_nothing(line)
    proxy.heal()
    assert await line.read_end() == b"".join(parts)


async def test_what_the_proxy_held_when_the_hole_came_waits_too(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    proxy.slow(latency=QUIET)
    await client.write(b"on its way")
    await until(lambda: proxy.written_bytes)
    proxy.hole()
    await hears_nothing(line, 2 * QUIET)
    proxy.heal()
    assert await line.read(10) == b"on its way"


async def test_a_new_connection_into_a_hole_is_accepted_and_silent_until_it_heals(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    proxy.hole()
    client = await connect()
    await client.write(b"question")
    await hears_nothing(client)
    assert broker.lines.empty(), "the broker has heard of it"
    proxy.heal()
    assert await (await broker.line()).read(8) == b"question"


async def test_half_open_old_connections_are_silent_and_new_ones_work(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    old = await connect()
    line = await broker.line()
    await talk(old, line)
    proxy.hole(new_ones_work=True)
    await talk(await connect(), await broker.line())
    await old.write(b"question")
    await hears_nothing(line)
    proxy.hole()
    await (await connect()).write(b"question")
    await asyncio.sleep(QUIET)
    assert broker.lines.empty()


async def test_refuse_refuses_new_connections_and_touches_no_old_one(
    proxy: TcpProxy, broker: Broker, connect: Connect
) -> None:
    client = await connect()
    line = await broker.line()
    proxy.refuse()
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect()
    await talk(client, line)
    proxy.heal()
    await talk(await connect(), await broker.line())
    await talk(client, line)


async def test_the_port_is_kept_while_connections_are_refused(proxy: TcpProxy) -> None:
    proxy.refuse()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((proxy.host, proxy.port))


async def test_where_the_broker_is_gone_a_client_is_reset() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with TcpProxy("127.0.0.1", nobody.getsockname()[1]) as proxy:
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(DEADLINE):
                    await reader.read()
            writer.close()
            await until(lambda: proxy.connections == 0)


async def test_it_leads_to_a_unix_socket_too(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    path = str(tmp_path / "broker")
    async with await asyncio.start_unix_server(echo, path), TcpProxy(path=path) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"through a path")
        writer.write_eof()
        assert await reader.read() == b"through a path"
        reset_reader, reset_writer = await asyncio.open_connection(proxy.host, proxy.port)
        await until(lambda: proxy.connections == 1)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reset_reader.read()
        for each in (writer, reset_writer):
            each.close()


async def test_its_end_resets_all_and_leaves_no_socket() -> None:
    with contextlib.ExitStack() as ends, socket.create_server(("127.0.0.1", 0)) as broker:

        def connected() -> socket.socket:
            return ends.enter_context(socket.create_connection((proxy.host, proxy.port)))

        gc.collect()  # what others have left must not go meanwhile
        before = descriptors()
        async with TcpProxy("127.0.0.1", broker.getsockname()[1]) as proxy:
            clients = [connected() for _ in range(3)]
            await until(lambda: proxy.connections == 3)
            proxy.hole()
            clients += [connected() for _ in range(3)]
            await until(lambda: proxy.connections == 6)
            assert len(descriptors() - before) == 1 + 6 + 12  # one of before may go, and its number
        for client in clients:
            with client, pytest.raises(ConnectionResetError):
                client.recv(1)
        assert descriptors() <= before
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(proxy.host, proxy.port)


def descriptors() -> set[tuple[int, int]]:
    """What this process has open, and its numbers for that, without that of looking."""
    found: set[tuple[int, int]] = set()
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            found.add((int(name), os.fstat(int(name)).st_ino))
    return found


@pytest.mark.parametrize("target", [{}, {"port": 1, "path": "/tmp/x"}])
def test_it_wants_a_port_or_a_path(target: dict[str, int | str]) -> None:
    with pytest.raises(ValueError, match="a port or the path"):
        TcpProxy(**target)  # type: ignore[arg-type]  # wrong on purpose
