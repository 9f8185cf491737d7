"""Instances that all publish in the same rooms, and an account of every message between them.

For the tests of any broker: each makes the transports itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

from tests.deadlines import DEADLINE
from wsrooms.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from wsrooms import Gap, Receipt
    from wsrooms.transports import BrokerTransport, TransportState

__all__ = ["ROOM", "Account", "Crew", "Instance", "crew_of", "error_of"]

ROOM = "/chat/general"

PACE = 0.002
"""Seconds between two messages of one instance while all talk."""


async def error_of(receipt: Receipt) -> TransportError | None:
    """What became of a receipt; None if all went well."""
    try:
        async with asyncio.timeout(DEADLINE):
            await receipt
    except TransportError as error:
        return error
    return None


class Instance:
    """A transport that publishes numbers in the rooms, and keeps what it hears and is told.

    Attributes:
        name: What begins each of its messages.
        transport: Its own; who made it closes it.
        rooms: Each message goes to the next one, and then to the first again.
        receipts: Of its messages; the place of each is its number.
        heard: The numbers that have come, by the name of who published them.
        slowest: Seconds that the slowest of them took.
        gaps: Those that it was told, in order.
        states: Likewise.
    """

    def __init__(
        self,
        name: str,
        transport: BrokerTransport,
        news: asyncio.Event,
        rooms: Sequence[str] = (ROOM,),
    ) -> None:
        """Have ``news`` set whenever something is heard or told."""
        self.name = name
        self.transport = transport
        self.rooms = rooms
        self.receipts: list[Receipt] = []
        self.heard: dict[str, list[int]] = defaultdict(list)
        self.slowest = 0.0
        self.gaps: list[Gap] = []
        self.states: list[TransportState] = []
        self._known: dict[str, set[int]] = defaultdict(set)
        self._news = news
        transport.on_gap(self._note_gap)
        transport.on_state(self._note_state)

    async def start(self) -> None:
        """Connect, and hear all rooms."""
        await self.transport.start()
        for room in self.rooms:
            await self.transport.subscribe(f"ws:room:{room}", self._hear)

    def say(self) -> int:
        """Publish the next number."""
        number = len(self.receipts)
        channel = f"ws:room:{self.rooms[number % len(self.rooms)]}"
        payload = f"{self.name} {number} {time.monotonic()}"
        self.receipts.append(self.transport.publish(channel, payload))
        self._news.set()
        return number

    def has(self, name: str, number: int) -> bool:
        """Whether it has heard that message."""
        return number in self._known[name]

    def _hear(self, payload: str) -> None:
        name, text, said_at = payload.split()
        number = int(text)
        self.slowest = max(self.slowest, time.monotonic() - float(said_at))
        self.heard[name].append(number)
        self._known[name].add(number)
        self._news.set()

    def _note_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self._news.set()

    def _note_state(self, state: TransportState, _: str | None) -> None:
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

    async def until(self, met: Callable[[], bool], timeout: float = DEADLINE) -> None:
        """Wait until what they have heard or been told is so."""
        async with asyncio.timeout(timeout):
            while not met():
                self.news.clear()
                await self.news.wait()

    async def all_hear_all(self, timeout: float = DEADLINE) -> None:
        """Publish in each room, and wait until all others have that: none may be lost."""
        said = [(one, one.say()) for one in self for _ in one.rooms]
        await self.until(
            lambda: all(
                other.has(one.name, number)
                for one, number in said
                for other in self
                if other is not one
            ),
            timeout,
        )

    async def all_hear_newer(self) -> None:
        """While all talk: wait until each has heard each of the others in each room anew.

        What is said meanwhile may be lost.
        """
        marks = {
            (each, peer): (len(each.heard[peer.name]), len(peer.receipts))
            for each, peer in permutations(self, 2)
        }

        def hears(each: Instance, peer: Instance) -> bool:
            begin, newer = marks[each, peer]
            numbers = each.heard[peer.name][begin:]
            rooms = {number % len(peer.rooms) for number in numbers if number >= newer}
            return len(rooms) == len(peer.rooms)

        await self.until(lambda: all(hears(*pair) for pair in marks))

    @asynccontextmanager
    async def talking(self, pace: float = PACE) -> AsyncIterator[None]:
        """Let all publish, again and again, until the end of the block."""
        over = asyncio.Event()

        async def talk() -> None:
            while not over.is_set():
                for instance in self:
                    instance.say()
                await asyncio.sleep(pace)

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

        Every message was received, once and in its publisher's order within the room, or one
        of the gaps of that room that the receiver was told counts it.
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
            whose = f"{receiver.name} of {publisher.name}"
            sent = range(len(publisher.receipts))
            heard = receiver.heard[publisher.name]
            step = len(publisher.rooms)
            for at, room in enumerate(publisher.rooms):
                here = [number for number in heard if number % step == at]
                assert here == sorted(set(here)), f"repeated, or out of order: {whose}, {room}"
                missing = len(sent[at::step]) - len(here)
                told = missing_of(receiver, publisher, room)
                assert told == missing, f"{whose}, {room}: {missing} missing, {told} told"
                account.told += told
            account.due += len(sent)
            account.delivered += len(heard)
            if lost := set(sent) - set(heard) - failed[publisher.name]:
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


def missing_of(receiver: Instance, publisher: Instance, room: str) -> int:
    """How many the gaps say that ``receiver`` has missed of ``publisher`` there."""
    instance = publisher.transport.exchange.instance
    gaps = [gap for gap in receiver.gaps if gap.publisher == instance and gap.room == room]
    return sum(gap.missing for gap in gaps if gap.missing is not None)


@asynccontextmanager
async def crew_of(
    transports: Iterable[BrokerTransport],
    rooms: Sequence[str] = (ROOM,),
    *,
    settled: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Crew]:
    """Instances with these transports, which all hear each other.

    ``settled`` is awaited once all have started, where that alone does not make it so.
    """
    crew = Crew()
    async with AsyncExitStack() as stack:
        for number, transport in enumerate(transports):
            instance = Instance(f"instance-{number}", transport, crew.news, rooms)
            stack.push_async_callback(transport.close)
            await instance.start()
            crew.append(instance)
        if settled is not None:
            await settled()
        await crew.all_hear_all()
        yield crew
