"""Tests of the proxy, on asyncio's loop and on uvloop; each one's docstring says what it gives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.deadlines import DEADLINE
from wsrooms.testing import TcpProxy


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run everything here on each loop that has real sockets."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "asyncio": asyncio.new_event_loop
    }
    with contextlib.suppress(ImportError):  # there is none for Windows
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


class Line:
    """One end of a connection, with a deadline for whatever waits."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readexactly(size)

    async def write(self, data: bytes) -> None:
        async with asyncio.timeout(DEADLINE):
            self.writer.write(data)
            await self.writer.drain()

    async def read_end(self) -> bytes:
        """Return what comes before the end; a reset is an error."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def abort(self) -> None:
        self.writer.transport.abort()
        await self.close()


class Broker:
    """A server that a test speaks for, line by line, in the order of the connections."""

    def __init__(self) -> None:
        self.port = 0
        self.lines: asyncio.Queue[Line] = asyncio.Queue()
        self._all: list[Line] = []

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        self._all.append(line)
        self.lines.put_nowait(line)

    async def line(self) -> Line:
        """Return the next connection."""
        async with asyncio.timeout(DEADLINE):
            return await self.lines.get()

    async def close(self) -> None:
        for line in self._all:
            await line.abort()


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """Give a broker that accepts and leaves the talking to the test."""
    broker = Broker()
    server = await asyncio.start_server(broker.accept, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    yield broker
    server.close()
    await broker.close()
    await server.wait_closed()


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[TcpProxy]:
    """Give a proxy in front of the broker."""
    async with TcpProxy("127.0.0.1", broker.port) as proxy:
        yield proxy


@pytest.fixture
async def connect(proxy: TcpProxy) -> AsyncIterator[Connect]:
    """Give a function that connects to the proxy; all is closed in the end."""
    connect = Connect(proxy)
    yield connect
    for line in connect.lines:
        await line.abort()


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 -- sockets and counters give no event
            await asyncio.sleep(0.001)


class Connect:
    """Connects to the proxy."""

    def __init__(self, proxy: TcpProxy) -> None:
        self._proxy = proxy
        self.lines: list[Line] = []

    async def __call__(self) -> Line:
        async with asyncio.timeout(DEADLINE):
            line = Line(*await asyncio.open_connection(self._proxy.host, self._proxy.port))
        self.lines.append(line)
        return line
