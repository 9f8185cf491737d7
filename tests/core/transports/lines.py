"""A transport whose links are lines in memory: the other side of the interface, for its tests.

Nothing here knows a broker. A test sees what a link was told, and says what becomes of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms.testing import run
from wsrooms.transports import (
    BrokerLink,
    BrokerOptions,
    BrokerTransport,
    Command,
    Gap,
    TransportState,
)

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt

__all__ = ["LineTransport", "error_of", "hear", "never", "on_virtual_time", "refuse", "started"]

T = TypeVar("T")
LOGGER = logging.getLogger("wsrooms.test")


def on_virtual_time(test: Callable[[], Coroutine[Any, Any, T]]) -> Callable[[], T]:
    """Run an async test on virtual time, where a minute of patience takes none."""

    def run_it() -> T:
        async def within_an_hour() -> T:
            async with asyncio.timeout(3600):
                result = await test()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks left behind: {left}"
            return result

        return run(within_an_hour(), seed=1)

    run_it.__name__ = test.__name__
    run_it.__doc__ = test.__doc__
    run_it.__module__ = test.__module__
    return run_it


class Line(BrokerLink):
    """One connection. Unless a test says otherwise it connects at once and never ends."""

    def __init__(self, transport: LineTransport) -> None:
        self.transport = transport
        self.connecting: Callable[[], Coroutine[Any, Any, None]] | None = None
        """What ``connect`` does, once for each; None: it connects."""
        self.closing: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.connects = 0
        self.closes = 0
        self.wakes = 0
        self.ticks: list[float] = []
        self.aborts: list[str] = []
        self.connected = asyncio.Event()
        self.ticked = asyncio.Event()
        """Wakes those who wait for the next tick."""
        self._end: asyncio.Future[TransportError] | None = None

    async def connect(self) -> None:
        self.connects += 1
        if self.connecting is not None:
            await self.connecting()
        self._end = asyncio.get_running_loop().create_future()
        self.connected.set()

    async def lost(self) -> TransportError:
        assert self._end is not None
        return await asyncio.shield(self._end)

    def lose(self, why: str = "cut") -> None:
        """The connection is lost."""
        assert self._end is not None
        self.connected.clear()
        if not self._end.done():
            self._end.set_result(TransportUnavailable(why))

    async def close(self) -> None:
        self.closes += 1
        self.connected.clear()
        if self.closing is not None:
            await self.closing()

    def wake(self) -> None:
        self.wakes += 1

    def tick(self, now: float, late: float) -> None:
        self.ticks.append(late)
        self.ticked.set()
        self.ticked.clear()

    def abort(self, error: TransportError) -> None:
        self.aborts.append(str(error))
        self.lose(str(error))


class HearingLine(Line):
    """Answers each command at once, unless it is held back or the channel is denied."""

    def __init__(self, transport: LineTransport) -> None:
        super().__init__(transport)
        self.commands: list[Command] = []
        self.subscribed: set[str] = set()

    async def connect(self) -> None:
        await super().connect()
        self.subscribed.clear()

    def wake(self) -> None:
        super().wake()
        transport = self.transport
        wishes = transport.exchange.wishes
        for command in wishes.commands(asyncio.get_running_loop().time()):
            self.commands.append(command)
            if transport.answers:
                self.answer(command)

    def answer(self, command: Command) -> None:
        """Do what it says, or refuse it."""
        exchange = self.transport.exchange
        for channel in command.channels:
            denied = self.transport.denied(channel)
            if command.kind == "unsubscribe":
                self.subscribed.discard(channel)
                exchange.wishes.answered(channel)
            elif denied is not None:
                exchange.wishes.refused(channel, denied)
            else:
                self.subscribed.add(channel)
                exchange.wishes.answered(channel)
        self.transport.answered()


class PublishingLine(Line):
    """Writes batches down, and confirms them at once unless that is held back."""

    def __init__(self, transport: LineTransport) -> None:
        super().__init__(transport)
        self._unconfirmed = 0

    async def connect(self) -> None:
        self._unconfirmed = 0
        await super().connect()

    def wake(self) -> None:
        super().wake()
        transport = self.transport
        if self._unconfirmed or not transport.may_publish:
            return
        now = asyncio.get_running_loop().time()
        batch = transport.exchange.outbox.batch(now, messages=100, size=100_000)
        self._unconfirmed = len(batch)
        transport.written += [(each.channel, each.payload) for each in batch]
        if transport.confirms:
            self.confirm()

    def confirm(self) -> None:
        """Confirm what is unconfirmed; own messages come back."""
        exchange = self.transport.exchange
        written = self.transport.written
        for channel, payload in written[len(written) - self._unconfirmed :]:
            exchange.outbox.confirm()
            if self.transport.echoes:
                exchange.received(channel, payload, asyncio.get_running_loop().time())
        self._unconfirmed = 0
        if exchange.outbox.waiting:
            self.wake()


class LineTransport(BrokerTransport):
    """A transport over two lines; it notes all that its owner would be told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(BrokerOptions(**options), where="nowhere", max_payload=1000, logger=LOGGER)
        self.answers = True
        self.confirms = True
        self.echoes = True
        self.denied: Callable[[str], TransportError | None] = lambda channel: None
        self.prepare: Callable[[LineTransport], None] = lambda transport: None
        """Called with each new pair of lines."""
        self.written: list[tuple[str, bytes]] = []
        self.made: list[tuple[HearingLine, PublishingLine]] = []
        self.states: list[tuple[TransportState, str | None]] = []
        self.gaps: list[Gap] = []
        self.told: list[str] = []
        self.heard: list[str] = []
        self._news = asyncio.Event()
        self.on_state(self._note_state)
        self.on_gap(self._note_gap)

    def _make_links(self) -> Sequence[BrokerLink]:
        self.made.append((HearingLine(self), PublishingLine(self)))
        self.prepare(self)
        return self.made[-1]

    @property
    def hearing(self) -> HearingLine:
        return self.made[-1][0]

    @property
    def publishing(self) -> PublishingLine:
        return self.made[-1][1]

    def _note_state(self, state: TransportState, error: str | None) -> None:
        self.states.append((state, error))
        self.told.append(state)
        self._news.set()

    def _note_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self.told.append("gap")

    async def until(self, state: TransportState) -> None:
        """Wait until the state is ``state``."""
        while self.state != state:
            self._news.clear()
            await self._news.wait()

    def payloads(self, channel: str) -> list[bytes]:
        """What was written to ``channel``, without its envelope."""
        return [data.split(b" ", 4)[4] for name, data in self.written if name == channel]


async def never() -> None:
    """Wait for ever."""
    await asyncio.get_running_loop().create_future()


async def refuse() -> None:
    """Connect to nobody."""
    raise TransportUnavailable("nobody is there")


async def started(**options: Any) -> LineTransport:
    """A transport that has started."""
    transport = LineTransport(**options)
    await transport.start()
    return transport


def hear(_: str) -> None:
    """A handler."""


async def error_of(receipt: Receipt) -> Exception | None:
    """Why it failed, once that is known."""
    try:
        await receipt
    except TransportError as error:
        return error
    return None
