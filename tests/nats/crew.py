"""Instances that all publish in one room, and an account of every message between them."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

from wsrooms_nats import NatsTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.brokers import NatsServer
    from wsrooms import Gap, Receipt
    from wsrooms.transports import TransportState

__all__ = [
    "DEADLINE",
    "ROOM",
    "Account",
    "Crew",
    "Instance",
    "crew_at",
    "left_by_all",
    "names_at",
    "url_of",
]

ROOM = "/chat/general"
CHANNEL = f"ws:room:{ROOM}"

DEADLINE = 15.0

PACE = 0.002
"""Seconds between two messages of one instance while all talk."""


def url_of(*servers: NatsServer) -> str:
    """A URL with all of them, in that order."""
    return "nats://" + ",".join(f"{server.host}:{server.port}" for server in servers)


async def names_at(server: NatsServer) -> set[str]:
    """Which instances the server has as its clients."""
    told = await server.monitor("/connz")
    return {client["name"] for client in told["connections"]}


async def left_by_all(server: NatsServer) -> None:
    """Wait until no instance is connected there."""
    async with asyncio.timeout(DEADLINE):
        while await names_at(server):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


class Instance:
    """A transport that publishes numbers in the room, and keeps what it hears and is told.

    Attributes:
        name: What begins each of its messages, and what the server calls its connection.
        receipts: Of its messages; the place of each is its number.
        heard: The numbers that have come, by the name of who published them.
        gaps: Those that it was told, in order.
        states: Likewise.
    """

    def __init__(self, name: str, url: str, news: asyncio.Event) -> None:
        """Have ``news`` set whenever something is heard or told."""
        self.name = name
        self.transport = NatsTransport(url, client_name=name, randomize=False)
        self.receipts: list[Receipt] = []
        self.heard: dict[str, list[int]] = defaultdict(list)
        self.gaps: list[Gap] = []
        self.states: list[TransportState] = []
        self._news = news
        self.transport.on_gap(self.gaps.append)
        self.transport.on_state(self._note)

    async def start(self) -> None:
        await self.transport.start()
        await self.transport.subscribe(CHANNEL, self._hear)

    def say(self) -> int:
        """Publish the next number."""
        number = len(self.receipts)
        self.receipts.append(self.transport.publish(CHANNEL, f"{self.name} {number}"))
        self._news.set()
        return number

    def has(self, name: str, number: int) -> bool:
        """Whether it has heard that message."""
        heard = self.heard[name]
        return number in heard[bisect_left(heard, number) :][:1]

    def _hear(self, payload: str) -> None:
        name, number = payload.split()
        self.heard[name].append(int(number))
        self._news.set()

    def _note(self, state: TransportState, _: str | None) -> None:
        self.states.append(state)
        self._news.set()


@dataclass
class Account:
    """What became of the messages of all.

    Attributes:
        sent: How many were published.
        failed: How many receipts have an error.
        due: Messages times the others, who were to hear them.
        delivered: How many of these came.
        told: How many did not, and were told as gaps with a number.
        lost: Those of them that were confirmed to their publisher, by receiver and publisher.
    """

    sent: int
    failed: int
    due: int
    delivered: int
    told: int
    lost: dict[tuple[str, str], int]


class Crew(list[Instance]):
    """Instances that are to hear each other.

    Attributes:
        news: Set whenever one of them hears something or is told something.
    """

    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait until what they have heard or been told is so."""
        async with asyncio.timeout(DEADLINE):
            while not met():
                self.news.clear()
                await self.news.wait()

    async def all_hear_all(self) -> None:
        """Publish one message each, and wait until all others have it: none may be lost."""
        said = {instance.name: instance.say() for instance in self}
        pairs = list(permutations(self, 2))
        await self.until(lambda: all(other.has(one.name, said[one.name]) for one, other in pairs))

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[None]:
        """Let all publish, again and again, until the end of the block."""
        over = asyncio.Event()

        async def talk() -> None:
            while not over.is_set():
                for instance in self:
                    instance.say()
                await asyncio.sleep(PACE)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk())
            try:
                yield
            finally:
                over.set()

    async def each_says(self, more: int) -> None:
        """Wait until each has published so many more."""
        until = more + max(len(instance.receipts) for instance in self)
        await self.until(lambda: all(len(instance.receipts) >= until for instance in self))

    async def account(self) -> Account:
        """Judge the whole history, which has begun and ended with :meth:`all_hear_all`.

        Every message was received, once and in its publisher's order, or one of the gaps that
        the receiver was told counts it.
        """
        failed = {instance.name: await failures(instance) for instance in self}
        account = Account(
            sent=sum(len(instance.receipts) for instance in self),
            failed=sum(len(numbers) for numbers in failed.values()),
            due=0,
            delivered=0,
            told=0,
            lost={},
        )
        for receiver, publisher in permutations(self, 2):
            heard, sent = receiver.heard[publisher.name], len(publisher.receipts)
            whose = f"{receiver.name} of {publisher.name}"
            assert heard == sorted(set(heard)), f"repeated, or out of order: {whose}"
            missing = set(range(sent)) - set(heard)
            told = sum(missing_of(receiver, publisher))
            assert told == len(missing), f"{whose}: {len(missing)} missing, {told} told"
            account.due += sent
            account.delivered += len(heard)
            account.told += told
            if lost := missing - failed[publisher.name]:
                account.lost[receiver.name, publisher.name] = len(lost)
        assert account.delivered + account.told == account.due
        return account


async def failures(instance: Instance) -> set[int]:
    """The numbers of the messages of which the publisher was told that they failed."""
    async with asyncio.timeout(DEADLINE):
        ends = await asyncio.gather(*map(end_of, instance.receipts))
    return {number for number, error in enumerate(ends) if error is not None}


async def end_of(receipt: Receipt) -> Exception | None:
    try:
        await receipt
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what this is about
        return error
    return None


def missing_of(receiver: Instance, publisher: Instance) -> Iterator[int]:
    """What the gaps say that ``receiver`` has missed of ``publisher``."""
    for gap in receiver.gaps:
        if gap.missing is not None and gap.publisher == publisher.transport.exchange.instance:
            assert gap.room == ROOM
            yield gap.missing


@asynccontextmanager
async def crew_at(*urls: str) -> AsyncIterator[Crew]:
    """An instance for each URL, at the first server of that, which all hear each other."""
    crew = Crew()
    async with AsyncExitStack() as stack:
        for number, url in enumerate(urls):
            instance = Instance(f"instance-{number}", url, crew.news)
            await instance.start()
            stack.push_async_callback(instance.transport.close)
            crew.append(instance)
        await crew.all_hear_all()
        yield crew
