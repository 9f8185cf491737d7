"""A link to a bus, whom it tells, and transports of every kind to link to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms.receipt import Receipt
from wsrooms.transports.buslink import BusLink

if TYPE_CHECKING:
    from wsrooms.transports import Gap, TransportState, WsBroadcastTransport

LOGGER = logging.getLogger("wsrooms.test")


class Events:
    """Whom the link tells."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.on_refused: Callable[[str], None] = lambda channel: None
        self._news = asyncio.Event()

    def _note(self, *what: Any) -> None:
        self.told.append(what)
        self._news.set()

    def subscribed(self, channel: str) -> None:
        self._note("subscribed", channel)

    def refused(self, channel: str, error: TransportError) -> None:
        self._note("refused", channel, error)
        self.on_refused(channel)

    def lapsed(self, channel: str) -> None:
        self._note("lapsed", channel)

    def gap(self, gap: Gap) -> None:
        self._note("gap", gap)

    def state_changed(self, state: TransportState, error: str | None) -> None:
        self._note("state", state, error)

    def publish_failed(self, error: Exception) -> None:
        self._note("publish_failed", error)

    async def until(self, kind: str, count: int = 1) -> Any:
        """Wait until the link has told ``kind`` so often; returns the last of them."""
        async with asyncio.timeout(DEADLINE):
            while len(seen := [what for what in self.told if what[0] == kind]) < count:
                self._news.clear()
                await self._news.wait()
        return seen[-1]


class Sync:
    """Three sync methods."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.handlers: dict[str, Callable[[str], None]] = {}
        self.fails: dict[str, BaseException] = {}
        self.returns: Any = None

    def _did(self, *call: str) -> Any:
        self.calls.append(call)
        if call[0] in self.fails:
            raise self.fails[call[0]]
        return self.returns

    def publish(self, channel: str, payload: str) -> Any:
        return self._did("publish", channel, payload)

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Any:
        self.handlers[channel] = handler
        return self._did("subscribe", channel)

    def unsubscribe(self, channel: str) -> Any:
        return self._did("unsubscribe", channel)


class Stateful(Sync):
    """Sync, with news of its broker, and a lifecycle."""

    def __init__(self) -> None:
        super().__init__()
        self.tell: Callable[[TransportState, str | None], None] = lambda state, error: None
        self.tell_gap: Callable[[Gap], None] = lambda gap: None

    async def start(self) -> None:
        self._did("start")

    async def close(self) -> None:
        self._did("close")

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        self.tell = callback

    def on_gap(self, callback: Callable[[Gap], None]) -> None:
        self.tell_gap = callback

    def stats(self) -> dict[str, int]:
        return {"reconnects": 7}


class Slow(Stateful):
    """Starts when the broker is there."""

    def __init__(self) -> None:
        super().__init__()
        self.there = False
        self.refusal: BaseException | None = ConnectionRefusedError("nobody there")
        """None: it waits instead."""
        self.tried_thrice = asyncio.Event()
        self._tried = 0

    async def start(self) -> None:
        self._tried += 1
        if self._tried == 3:
            self.tried_thrice.set()
        if not self.there:
            if self.refusal is None:
                await asyncio.Event().wait()
            else:
                raise self.refusal


class Deferred:
    """Three async methods; each call ends when, and as, the test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.open: dict[tuple[str, ...], asyncio.Future[None]] = {}
        self.held: set[str] = set()
        self.handlers: dict[str, Callable[[str], None]] = {}
        self._news = asyncio.Event()

    def _opened(self, *call: str) -> asyncio.Future[None]:
        same = [other for other in self.open if other[1] == call[1] and call[0] != "publish"]
        assert not [other for other in same if other[0] != "publish"], f"{call} overlaps {same}"
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls.append(call)
        self.open[call] = future
        self._news.set()
        return future

    def _begin(self, *call: str) -> Awaitable[None]:
        future = self._opened(*call)

        async def outcome() -> None:
            try:
                await future
                if call[0] == "subscribe":
                    self.held.add(call[1])
            finally:
                del self.open[call]

        return outcome()

    def publish(self, channel: str, payload: str) -> Awaitable[None]:
        return self._begin("publish", channel, payload)

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Awaitable[None]:
        self.handlers[channel] = handler
        return self._begin("subscribe", channel)

    def unsubscribe(self, channel: str) -> Awaitable[None]:
        self.held.discard(channel)
        return self._begin("unsubscribe", channel)

    def end(self, *call: str, error: BaseException | None = None) -> None:
        future = self.open[call]
        if isinstance(error, asyncio.CancelledError):
            future.cancel()
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(None)

    async def until(self, *call: str, count: int = 1) -> None:
        """Wait until the link has made a call so often."""
        async with asyncio.timeout(DEADLINE):
            while self.calls.count(call) < count:
                self._news.clear()
                await self._news.wait()


class DeferredByReceipt(Deferred):
    """Deferred, whose subscriptions are told by receipts, as those of brokers' transports."""

    def __init__(self) -> None:
        super().__init__()
        self._receipts: dict[str, Receipt] = {}

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Awaitable[None]:
        self.handlers[channel] = handler
        self._opened("subscribe", channel).add_done_callback(
            lambda future: self._tell(channel, future)
        )
        receipt = self._receipts[channel] = Receipt()
        return receipt

    def unsubscribe(self, channel: str) -> Awaitable[None]:
        if (receipt := self._receipts.pop(channel, None)) is not None:
            del self.open["subscribe", channel]
            receipt.settle(TransportUnavailable("unsubscribed before it was confirmed"))
        return super().unsubscribe(channel)

    def _tell(self, channel: str, future: asyncio.Future[None]) -> None:
        receipt = self._receipts.pop(channel)
        del self.open["subscribe", channel]
        if future.cancelled():
            receipt.settle(TransportUnavailable("the transport gave the call up"))
            return
        error = future.exception()
        assert error is None or isinstance(error, Exception)
        if error is None:
            self.held.add(channel)
        receipt.settle(error)


class DeferredWithState(Deferred):
    """Deferred, with news of its broker."""

    keeps_log = False
    tell: Callable[[TransportState, str | None], None]

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        self.tell = callback


Linked = Callable[..., tuple[BusLink, Events]]
Turns = Callable[..., Awaitable[None]]
Ended = Callable[[Receipt], Awaitable[Exception | None]]


def _linked(
    transport: WsBroadcastTransport, *, confirm_timeout: float = DEADLINE
) -> tuple[BusLink, Events]:
    events = Events()
    return BusLink(transport, events, confirm_timeout=confirm_timeout, logger=LOGGER), events


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _ended(receipt: Receipt) -> Exception | None:
    """Why it failed, once that is known."""
    async with asyncio.timeout(DEADLINE):
        try:
            await receipt
        except TransportError as error:
            return error
    return None


@pytest.fixture(scope="session")
def linked() -> Linked:
    """Give what links a transport; it returns the link, and the events that the link told."""
    return _linked


@pytest.fixture(scope="session")
def turns() -> Turns:
    """Give what lets the loop run for some turns."""
    return _turns


@pytest.fixture(scope="session")
def ended() -> Ended:
    """Give what waits for a receipt; it returns why that failed, or None."""
    return _ended


@pytest.fixture(scope="session")
def sync() -> type[Sync]:
    """Give a class of three sync methods."""
    return Sync


@pytest.fixture(scope="session")
def stateful() -> type[Stateful]:
    """Give a sync class with news of its broker, and a lifecycle."""
    return Stateful


@pytest.fixture(scope="session")
def slow() -> type[Slow]:
    """Give the stateful class whose start fails until its broker is there."""
    return Slow


@pytest.fixture(scope="session", params=[Deferred, DeferredByReceipt], ids=["async", "receipts"])
def deferred(request: pytest.FixtureRequest) -> type[Deferred]:
    """Give a class of async methods whose calls end when, and as, the test says."""
    kind: type[Deferred] = request.param
    return kind


@pytest.fixture(scope="session")
def deferred_with_state() -> type[DeferredWithState]:
    """Give the deferred class with news of its broker."""
    return DeferredWithState
