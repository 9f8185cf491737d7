"""The link makes of any three-method class a bus whose wishes converge and whose order holds."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms.errors import (
    OutboxFull,
    OutcomeUnknown,
    PermissionDenied,
    TransportClosed,
    TransportError,
    TransportUnavailable,
)
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.transports import Gap, MemoryTransport, TransportState, WsBroadcastTransport, link
from wsrooms.transports.link import BusLink, as_transport_error

DEADLINE = 5.0
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


def linked(
    transport: WsBroadcastTransport, *, confirm_timeout: float = DEADLINE
) -> tuple[BusLink, Events]:
    events = Events()
    return BusLink(transport, events, confirm_timeout=confirm_timeout, logger=LOGGER), events


class Sync:
    """Three sync methods."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.handlers: dict[str, Callable[[str], None]] = {}
        self.fails: dict[str, Exception] = {}
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


class Deferred:
    """Three async methods; each call ends when, and as, the test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.open: dict[tuple[str, ...], asyncio.Future[None]] = {}
        self.held: set[str] = set()
        self.handlers: dict[str, Callable[[str], None]] = {}
        self._news = asyncio.Event()

    def _begin(self, *call: str) -> Awaitable[None]:
        same = [other for other in self.open if other[1] == call[1] and call[0] != "publish"]
        assert not [other for other in same if other[0] != "publish"], f"{call} overlaps {same}"
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.calls.append(call)
        self.open[call] = future
        self._news.set()

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


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def ended(receipt: Receipt) -> Exception | None:
    """Why it failed, once that is known."""
    async with asyncio.timeout(DEADLINE):
        try:
            await receipt
        except TransportError as error:
            return error
    return None


def ignore(payload: str) -> None: ...


# Subscribing


async def test_a_sync_subscribe_is_confirmed_at_once() -> None:
    transport = Sync()
    bus, events = linked(transport)
    assert not bus.ready("c")
    bus.subscribe("c", ignore)
    assert bus.ready("c")
    assert events.told == [("subscribed", "c")]
    bus.subscribe("c", ignore)
    assert transport.calls == [("subscribe", "c")]


async def test_what_a_sync_method_returns_beside_none_means_nothing() -> None:
    transport = Sync()
    transport.returns = 1
    bus, _ = linked(transport)
    bus.subscribe("c", ignore)
    assert bus.ready("c")
    assert bus.publish("c", "x") is FINISHED
    bus.unsubscribe("c")
    assert not bus.ready("c")


async def test_an_async_subscribe_is_confirmed_when_it_has_ended() -> None:
    transport = Deferred()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    await turns()
    assert not bus.ready("c")
    transport.end("subscribe", "c")
    await events.until("subscribed")
    assert bus.ready("c")


async def test_a_receipt_of_the_transport_is_its_confirmation() -> None:
    transport = Sync()
    transport.returns = FINISHED
    bus, events = linked(transport)
    bus.subscribe("a", ignore)
    assert bus.ready("a")
    transport.returns = Receipt()
    bus.subscribe("b", ignore)
    assert not bus.ready("b")
    transport.returns.settle()
    await events.until("subscribed", 2)
    transport.returns = Receipt.failed(PermissionDenied("c", "no"))
    bus.subscribe("c", ignore)
    _, channel, error = await events.until("refused")
    assert (channel, str(error)) == ("c", "no")


async def test_channels_are_confirmed_in_any_order() -> None:
    transport = Deferred()
    bus, events = linked(transport)
    for channel in "abc":
        bus.subscribe(channel, ignore)
    for channel in "cab":
        transport.end("subscribe", channel)
        await events.until("subscribed", "cab".index(channel) + 1)
    assert [what[1] for what in events.told] == ["c", "a", "b"]


async def test_the_last_wish_wins_when_it_is_to_stay() -> None:
    transport = Deferred()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    bus.unsubscribe("c")
    bus.subscribe("c", ignore)
    transport.end("subscribe", "c")
    await events.until("subscribed")
    assert transport.calls == [("subscribe", "c")]
    assert bus.ready("c")


async def test_the_last_wish_wins_when_it_is_to_leave() -> None:
    transport = Deferred()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    bus.subscribe("c", ignore)
    bus.unsubscribe("c")
    transport.end("subscribe", "c")
    await transport.until("unsubscribe", "c")
    transport.end("unsubscribe", "c")
    await turns()
    assert transport.calls == [("subscribe", "c"), ("unsubscribe", "c")]
    assert events.told == []
    assert not bus._channels


async def test_a_wish_during_an_unsubscribe_is_asked_for_after_it() -> None:
    transport = Deferred()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    transport.end("subscribe", "c")
    await events.until("subscribed")
    bus.unsubscribe("c")
    assert not bus.ready("c")
    bus.subscribe("c", ignore)
    transport.end("unsubscribe", "c")
    await transport.until("subscribe", "c", count=2)
    assert not bus.ready("c")
    transport.end("subscribe", "c")
    await events.until("subscribed", 2)


async def test_unsubscribing_what_was_not_wished_is_harmless() -> None:
    transport = Sync()
    bus, _ = linked(transport)
    bus.unsubscribe("c")
    bus.subscribe("c", ignore)
    bus.unsubscribe("c")
    bus.unsubscribe("c")
    assert transport.calls == [("subscribe", "c"), ("unsubscribe", "c")]


async def test_the_transport_reaches_the_handler_of_now_and_none_after_an_unsubscribe() -> None:
    transport = Sync()
    bus, _ = linked(transport)
    first: list[str] = []
    second: list[str] = []
    bus.subscribe("c", first.append)
    transport.handlers["c"]("a")
    bus.subscribe("c", second.append)
    transport.handlers["c"]("b")
    bus.unsubscribe("c")
    transport.handlers["c"]("c")
    assert (first, second) == (["a"], ["b"])


# Refusals


@pytest.mark.parametrize("error", [OSError("no route"), PermissionDenied("c", "not yours")])
async def test_a_subscribe_that_raises_is_refused_and_taken_back(error: Exception) -> None:
    transport = Sync()
    transport.fails["subscribe"] = error
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    _, channel, told = events.told[0]
    assert channel == "c"
    assert told is error or told.__cause__ is error
    assert not bus.ready("c")
    assert transport.calls == [("subscribe", "c"), ("unsubscribe", "c")]
    assert not bus._channels
    transport.fails.clear()
    bus.subscribe("c", ignore)
    assert bus.ready("c")


async def test_the_owner_may_take_its_wish_away_when_it_is_refused() -> None:
    transport = Sync()
    transport.fails["subscribe"] = OSError()
    bus, events = linked(transport)
    events.on_refused = bus.unsubscribe
    bus.subscribe("c", ignore)
    assert transport.calls == [("subscribe", "c"), ("unsubscribe", "c")]
    assert not bus._channels


async def test_the_owner_may_wish_anew_when_it_is_refused() -> None:
    transport = Sync()
    transport.fails["subscribe"] = OSError()
    bus, events = linked(transport)

    def wish_again(channel: str) -> None:
        transport.fails.clear()
        bus.unsubscribe(channel)
        bus.subscribe(channel, ignore)

    events.on_refused = wish_again
    bus.subscribe("c", ignore)
    assert bus.ready("c")
    assert transport.calls[-1] == ("subscribe", "c")


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (OSError("no route"), "OSError: no route"),
        (TimeoutError("its own"), "TimeoutError: its own"),
        (asyncio.CancelledError(), "the transport gave the call up"),
    ],
)
async def test_a_subscribe_that_fails_later_is_refused_and_taken_back(
    failure: BaseException, text: str
) -> None:
    transport = Deferred()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    transport.end("subscribe", "c", error=failure)
    _, channel, told = await events.until("refused")
    assert channel == "c"
    assert isinstance(told, TransportUnavailable)
    assert str(told) == text
    await transport.until("unsubscribe", "c")
    transport.end("unsubscribe", "c")
    await turns()
    assert not bus._channels


async def test_a_wish_that_is_made_while_it_is_refused_is_asked_for_again() -> None:
    transport = Deferred()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    transport.end("subscribe", "c", error=OSError())
    await events.until("refused")
    bus.subscribe("c", ignore)
    await transport.until("unsubscribe", "c")
    transport.end("unsubscribe", "c")
    await transport.until("subscribe", "c", count=2)
    transport.end("subscribe", "c")
    await events.until("subscribed")


async def test_what_is_never_confirmed_is_taken_back_and_tried_again_while_it_is_wished() -> None:
    transport = Deferred()
    bus, events = linked(transport, confirm_timeout=0.01)
    bus.subscribe("c", ignore)
    await transport.until("unsubscribe", "c")
    transport.end("unsubscribe", "c")
    await transport.until("subscribe", "c", count=2)
    transport.end("subscribe", "c")
    await events.until("subscribed")
    assert events.told == [("subscribed", "c")]


async def test_what_is_never_confirmed_and_no_longer_wished_is_forgotten() -> None:
    transport = Deferred()
    bus, events = linked(transport, confirm_timeout=0.01)
    bus.subscribe("c", ignore)
    bus.unsubscribe("c")
    await transport.until("unsubscribe", "c")
    transport.end("unsubscribe", "c")
    await turns()
    assert events.told == []
    assert not bus._channels


async def test_an_unsubscribe_that_raises_is_logged_and_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = Sync()
    transport.fails["unsubscribe"] = OSError("broken")
    bus, _ = linked(transport)
    bus.subscribe("c", ignore)
    bus.unsubscribe("c")
    assert "unsubscribing c failed" in caplog.text
    assert not bus._channels


@pytest.mark.parametrize("failure", [OSError("broken"), asyncio.CancelledError(), None])
async def test_an_unsubscribe_that_fails_later_or_never_ends_is_logged_and_done(
    failure: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    transport = Deferred()
    bus, events = linked(transport, confirm_timeout=DEADLINE if failure else 0.05)
    bus.subscribe("c", ignore)
    transport.end("subscribe", "c")
    await events.until("subscribed")
    bus.unsubscribe("c")
    if failure is not None:
        transport.end("unsubscribe", "c", error=failure)
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
    assert not bus._channels
    assert "unsubscribing c failed" in caplog.text


STEPS = st.one_of(
    st.tuples(st.sampled_from(["wish", "unwish"]), st.sampled_from("ab")),
    st.tuples(st.sampled_from(["ok", "fail", "turn"]), st.integers(0, 2)),
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(STEPS, max_size=25))
def test_after_any_interleaving_the_transport_holds_what_is_wished_and_calls_never_overlap(
    steps: list[tuple[str, Any]],
) -> None:
    async def run() -> None:
        transport = Deferred()
        bus, events = linked(transport)
        wishes: set[str] = set()

        events.on_refused = wishes.discard
        for what, argument in steps:
            if what == "wish":
                wishes.add(argument)
                bus.subscribe(argument, ignore)
            elif what == "unwish":
                wishes.discard(argument)
                bus.unsubscribe(argument)
            elif what == "turn":
                await turns(argument)
            elif transport.open:
                call = list(transport.open)[argument % len(transport.open)]
                if not transport.open[call].done():
                    transport.end(*call, error=OSError() if what == "fail" else None)
        for _ in range(10):
            await turns()
            for call, future in list(transport.open.items()):
                if not future.done():
                    transport.end(*call)
        assert not transport.open
        assert transport.held == wishes
        assert {channel for channel in "ab" if bus.ready(channel)} == wishes
        assert set(bus._channels) == wishes
        assert asyncio.all_tasks() == {asyncio.current_task()}

    logging.getLogger("wsrooms.test").disabled = True
    try:
        asyncio.run(run())
    finally:
        logging.getLogger("wsrooms.test").disabled = False


# Outages


async def test_after_an_outage_every_wish_is_made_again_and_confirmed_anew() -> None:
    transport = Stateful()
    bus, events = linked(transport)
    for channel in "ab":
        bus.subscribe(channel, ignore)
    transport.tell("down", "connection reset")
    assert (bus.live, bus.ready("a"), bus.ready("b")) == (False, False, False)
    assert bus.down_since is not None
    transport.tell("up", None)
    assert (bus.live, bus.ready("a"), bus.ready("b")) == (True, True, True)
    assert events.told == [
        ("subscribed", "a"),
        ("subscribed", "b"),
        ("state", "down", "connection reset"),
        ("state", "up", None),
        ("subscribed", "a"),
        ("subscribed", "b"),
    ]


async def test_a_deaf_bus_is_as_good_as_a_dead_one_and_the_outage_began_with_the_first() -> None:
    transport = Stateful()
    bus, _ = linked(transport)
    transport.tell("deaf", None)
    since = bus.down_since
    await asyncio.sleep(0.001)
    transport.tell("down", "gone")
    assert (bus.live, bus.down_since) == (False, since)


async def test_what_a_transport_confirms_while_it_is_down_is_asked_for_again() -> None:
    transport = Stateful()
    bus, events = linked(transport)
    transport.tell("down", None)
    bus.subscribe("c", ignore)
    assert not bus.ready("c")
    transport.tell("up", None)
    assert bus.ready("c")
    assert [what[0] for what in events.told] == ["state", "state", "subscribed"]


class DeferredWithState(Deferred):
    tell: Callable[[TransportState, str | None], None]

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        self.tell = callback


async def test_a_confirmation_from_before_an_outage_is_not_believed_after_it() -> None:
    transport = DeferredWithState()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    transport.end("subscribe", "c")
    transport.tell("down", None)
    transport.tell("up", None)
    await transport.until("subscribe", "c", count=2)
    assert not bus.ready("c")
    transport.end("subscribe", "c")
    await events.until("subscribed")
    assert bus.ready("c")


async def test_a_call_made_while_down_is_believed_when_it_ends_after_the_return() -> None:
    transport = DeferredWithState()
    bus, events = linked(transport)
    transport.tell("down", None)
    bus.subscribe("c", ignore)
    transport.tell("up", None)
    transport.end("subscribe", "c")
    await events.until("subscribed")
    assert transport.calls == [("subscribe", "c")]


async def test_a_log_is_read_on_so_an_outage_unconfirms_nothing() -> None:
    class Log(DeferredWithState):
        keeps_log = True

    transport = Log()
    bus, events = linked(transport)
    bus.subscribe("a", ignore)
    transport.end("subscribe", "a")
    await events.until("subscribed")
    bus.subscribe("b", ignore)
    transport.tell("down", None)
    assert bus.ready("a")
    transport.end("subscribe", "b")
    await events.until("subscribed", 2)
    assert bus.ready("b")
    transport.tell("up", None)
    assert transport.calls == [("subscribe", "a"), ("subscribe", "b")]


async def test_gaps_are_passed_on() -> None:
    transport = Stateful()
    _, events = linked(transport)
    transport.tell_gap(Gap("r", "i", 2))
    assert events.told == [("gap", Gap("r", "i", 2))]


# Starting


async def test_a_plain_class_needs_no_start() -> None:
    bus, _ = linked(Sync())
    await bus.start()
    assert (bus.plain, bus.live) == (True, True)
    assert not linked(Stateful())[0].plain


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), TransportUnavailable("no")])
async def test_a_start_that_fails_is_a_transport_error(error: Exception) -> None:
    transport = Stateful()
    transport.fails["start"] = error
    bus, _ = linked(transport)
    with pytest.raises(TransportError) as caught:
        await bus.start()
    assert caught.value is error or caught.value.__cause__ is error


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    def delays() -> Iterator[float]:
        while True:
            yield 0

    monkeypatch.setattr(link, "backoff", delays)


class Slow(Stateful):
    """Starts when the broker is there."""

    def __init__(self) -> None:
        super().__init__()
        self.there = False
        self.tried_thrice = asyncio.Event()
        self._tried = 0

    async def start(self) -> None:
        self._tried += 1
        if self._tried == 3:
            self.tried_thrice.set()
        if not self.there:
            raise ConnectionRefusedError("nobody there")


@pytest.mark.usefixtures("no_backoff")
async def test_without_a_broker_wishes_and_publishes_wait_until_it_comes() -> None:
    transport = Slow()
    bus, events = linked(transport)
    await bus.start(keep_trying=True)
    assert not bus.live
    bus.subscribe("c", ignore)
    receipts = [bus.publish("c", payload) for payload in "xyz"]
    async with asyncio.timeout(DEADLINE):
        await transport.tried_thrice.wait()
    assert transport.calls == []
    assert not bus.ready("c")
    transport.there = True
    await events.until("subscribed")
    assert [await ended(receipt) for receipt in receipts] == [None] * 3
    assert transport.calls == [
        ("subscribe", "c"),
        ("publish", "c", "x"),
        ("publish", "c", "y"),
        ("publish", "c", "z"),
    ]
    assert events.told[0] == ("state", "down", "ConnectionRefusedError: nobody there")
    assert events.told[-2:] == [("state", "up", None), ("subscribed", "c")]
    await bus.close(1)


@pytest.mark.usefixtures("no_backoff")
async def test_what_waited_too_long_for_a_broker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "MAX_AGE", 0.02)
    bus, _ = linked(Slow())
    await bus.start(keep_trying=True)
    error = await ended(bus.publish("c", "x"))
    assert isinstance(error, TransportUnavailable)
    assert "not published within 0.02 s" in str(error)
    await bus.close(1)


@pytest.mark.usefixtures("no_backoff")
async def test_a_broker_that_comes_when_nothing_waits() -> None:
    transport = Slow()
    bus, events = linked(transport)
    await bus.start(keep_trying=True)
    transport.there = True
    await events.until("state", 2)
    await turns()
    assert transport.calls == []
    assert bus.publish("c", "x") is FINISHED
    await bus.close(1)


async def test_a_started_transport_may_be_told_to_keep_trying_in_vain() -> None:
    transport = Stateful()
    bus, events = linked(transport)
    await bus.start(keep_trying=True)
    assert (bus.live, events.told) == (True, [])


# Publishing


async def test_a_sync_publish_is_finished_at_once() -> None:
    transport = Sync()
    bus, _ = linked(transport)
    assert bus.publish("c", "x") is FINISHED
    assert transport.calls == [("publish", "c", "x")]


async def test_a_receipt_of_the_transport_is_passed_on() -> None:
    transport = Sync()
    transport.returns = Receipt()
    bus, _ = linked(transport)
    assert bus.publish("c", "x") is transport.returns


async def test_a_publish_that_raises_is_the_receipts_error_and_told_if_nobody_looks() -> None:
    transport = Sync()
    transport.fails["publish"] = OSError("broken")
    bus, events = linked(transport)
    receipt = bus.publish("c", "x")
    assert isinstance(receipt.error, TransportUnavailable)
    assert await ended(receipt) is receipt.error
    del receipt
    bus.publish("c", "y")
    gc.collect()
    assert [what[0] for what in events.told] == ["publish_failed"]


async def test_async_publishes_are_made_one_after_another_in_the_order_of_the_calls() -> None:
    transport = Deferred()
    bus, _ = linked(transport)
    receipts = [bus.publish(channel, payload) for channel, payload in ("ax", "by", "az")]
    await turns()
    assert transport.calls == [("publish", "a", "x")]
    assert bus.stats() == {"outbox": 2, "outbox_bytes": 2}
    for call in (("publish", "a", "x"), ("publish", "b", "y"), ("publish", "a", "z")):
        await transport.until(*call)
        assert len(transport.open) == 1
        transport.end(*call)
    assert [await ended(receipt) for receipt in receipts] == [None] * 3
    assert bus.stats() == {"outbox": 0, "outbox_bytes": 0}
    later = bus.publish("a", "again")
    transport.end("publish", "a", "again")
    assert await ended(later) is None


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (OSError("reset"), "OSError: reset"),
        (TimeoutError("its own"), "TimeoutError: its own"),
        (asyncio.CancelledError(), "the transport gave the call up"),
    ],
)
async def test_a_publish_that_fails_is_told_to_its_sender_and_the_next_goes_on(
    failure: BaseException, text: str
) -> None:
    transport = Deferred()
    bus, _ = linked(transport)
    first, second = bus.publish("c", "x"), bus.publish("c", "y")
    transport.end("publish", "c", "x", error=failure)
    assert str(await ended(first)) == text
    await transport.until("publish", "c", "y")
    transport.end("publish", "c", "y")
    assert await ended(second) is None


async def test_a_publish_that_is_never_confirmed_has_an_unknown_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "MAX_AGE", 0.02)
    transport = Deferred()
    bus, _ = linked(transport)
    error = await ended(bus.publish("c", "x"))
    assert isinstance(error, OutcomeUnknown)
    assert str(error) == "a publish on c was not confirmed in 0.02 s"
    later = bus.publish("c", "y")
    transport.end("publish", "c", "y")
    assert await ended(later) is None


async def test_a_transport_may_be_sync_now_and_async_then() -> None:
    class Moody(Deferred):
        def publish(self, channel: str, payload: str) -> Any:
            if payload == "raise":
                raise OSError("now")
            return None if payload == "sync" else super().publish(channel, payload)

    transport = Moody()
    bus, _ = linked(transport)
    receipts = [bus.publish("c", payload) for payload in ("async", "sync", "raise", "last")]
    transport.end("publish", "c", "async")
    await transport.until("publish", "c", "last")
    transport.end("publish", "c", "last")
    outcomes = [await ended(receipt) for receipt in receipts]
    assert list(map(str, outcomes)) == ["None", "None", "OSError: now", "None"]


async def test_what_waits_is_bounded_and_the_next_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "MAX_MESSAGES", 2)
    transport = Deferred()
    bus, events = linked(transport)
    kept = [bus.publish("c", payload) for payload in "xyz"]
    error = await ended(bus.publish("c", "!"))
    assert isinstance(error, OutboxFull)
    for payload in "xyz":
        await transport.until("publish", "c", payload)
        transport.end("publish", "c", payload)
    assert [await ended(receipt) for receipt in kept] == [None] * 3
    assert events.told == []


async def test_a_transport_that_never_waits_leaves_the_loop_its_turns() -> None:
    published: list[str] = []

    class Eager(Sync):
        async def publish(self, channel: str, payload: str) -> None:
            published.append(payload)

    bus, _ = linked(Eager())
    seen: list[int] = []
    loop = asyncio.get_running_loop()

    def look() -> None:
        seen.append(len(published))
        if len(published) < 300:
            loop.call_soon(look)

    receipts = [bus.publish("c", str(number)) for number in range(300)]
    loop.call_soon(look)
    assert [await ended(receipt) for receipt in receipts] == [None] * 300
    assert published == [str(number) for number in range(300)]
    between = [seen[index + 1] - seen[index] for index in range(len(seen) - 1)]
    assert max(between) <= link.TURN


async def test_the_limit_of_the_transport_is_asked_each_time() -> None:
    transport = Stateful()
    bus, _ = linked(transport)
    assert bus.max_payload is None
    transport.max_payload = 5  # type: ignore[attr-defined]  # some know it when connected
    assert bus.max_payload == 5


async def test_the_figures_of_the_transport_are_among_those_of_the_link() -> None:
    bus, _ = linked(Stateful())
    assert bus.stats() == {"outbox": 0, "outbox_bytes": 0, "reconnects": 7}


# Closing


async def test_close_publishes_what_waits_and_ends_the_subscriptions_of_a_plain_class() -> None:
    transport = Deferred()
    bus, events = linked(transport)
    for channel in "ab":
        bus.subscribe(channel, ignore)
        transport.end("subscribe", channel)
    await events.until("subscribed", 2)
    receipts = [bus.publish("a", payload) for payload in "xy"]
    closing = asyncio.create_task(bus.close(DEADLINE))
    for payload in "xy":
        await transport.until("publish", "a", payload)
        transport.end("publish", "a", payload)
    for channel in "ab":
        await transport.until("unsubscribe", channel)
        transport.end("unsubscribe", channel)
    await closing
    assert [await ended(receipt) for receipt in receipts] == [None, None]
    assert transport.held == set()


async def test_close_closes_a_transport_that_can_be_closed_and_only_that() -> None:
    transport = Stateful()
    bus, _ = linked(transport)
    await bus.start()
    bus.subscribe("c", ignore)
    await bus.close(1)
    assert transport.calls == [("start",), ("subscribe", "c"), ("close",)]


async def test_after_close_nothing_is_passed_on_and_nothing_asked_for() -> None:
    transport = Stateful()
    bus, events = linked(transport)
    heard: list[str] = []
    bus.subscribe("c", heard.append)
    await bus.close(1)
    told = list(events.told)
    transport.handlers["c"]("late")
    transport.tell("down", None)
    transport.tell_gap(Gap(None, None, None))
    bus.subscribe("d", ignore)
    bus.unsubscribe("c")
    assert (heard, events.told) == ([], told)
    assert ("subscribe", "d") not in transport.calls
    error = await ended(bus.publish("c", "x"))
    assert isinstance(error, TransportClosed)


async def test_a_transport_outlives_its_link_and_serves_the_next() -> None:
    transport = Stateful()
    first, old = linked(transport)
    await first.start()
    await first.close(1)
    second, new = linked(transport)
    await second.start()
    second.subscribe("c", ignore)
    transport.tell_gap(Gap(None, None, None))
    assert old.told == []
    assert [what[0] for what in new.told] == ["subscribed", "gap"]
    await second.close(1)


async def subscribing(bus: BusLink, transport: Deferred) -> None:
    bus.subscribe("c", ignore)


async def unsubscribing(bus: BusLink, transport: Deferred) -> None:
    bus.subscribe("c", ignore)
    transport.end("subscribe", "c")
    await turns()
    bus.unsubscribe("c")


async def publishing(bus: BusLink, transport: Deferred) -> None:
    bus.publish("c", "x")
    bus.publish("c", "y")


async def all_at_once(bus: BusLink, transport: Deferred) -> None:
    await unsubscribing(bus, transport)
    bus.subscribe("d", ignore)
    await publishing(bus, transport)


@pytest.mark.parametrize("begun", [subscribing, unsubscribing, publishing, all_at_once])
@pytest.mark.parametrize("started", [True, False])
async def test_close_in_every_state_leaves_no_task_and_no_open_call(
    begun: Callable[[BusLink, Deferred], Awaitable[None]], started: bool
) -> None:
    transport = Deferred()
    bus, _ = linked(transport)
    await begun(bus, transport)
    if started:
        await turns()
    await bus.close(0.05)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert transport.open == {}
    assert transport.held == set()
    assert bus.stats()["outbox"] == 0


async def test_what_could_not_be_published_before_the_close_is_told() -> None:
    transport = Deferred()
    bus, _ = linked(transport)
    receipts = [bus.publish("c", payload) for payload in "xyz"]
    await bus.close(0.02)
    errors = [await ended(receipt) for receipt in receipts]
    assert all(isinstance(error, TransportClosed) for error in errors)


async def test_what_a_plain_class_was_told_to_end_when_it_closed_is_ended_once_more() -> None:
    transport = Deferred()
    bus, _ = linked(transport)
    await unsubscribing(bus, transport)
    closing = asyncio.create_task(bus.close(DEADLINE))
    await transport.until("unsubscribe", "c", count=2)
    transport.end("unsubscribe", "c")
    await closing


async def test_close_ends_the_search_for_a_broker() -> None:
    transport = Slow()
    bus, _ = linked(transport)
    await bus.start(keep_trying=True)
    await bus.close(1)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert transport.calls == [("close",)]


async def test_a_close_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    transport = Stateful()
    transport.fails["close"] = OSError("broken")
    bus, _ = linked(transport)
    await bus.close(1)
    assert "closing <" in caplog.text
    assert "OSError: broken" in caplog.text


async def test_one_channel_that_cannot_be_ended_does_not_keep_the_others() -> None:
    transport = Sync()
    transport.fails["unsubscribe"] = OSError("broken")
    bus, _ = linked(transport)
    for channel in "abc":
        bus.subscribe(channel, ignore)
    await bus.close(1)
    assert [call for call in transport.calls if call[0] == "unsubscribe"] == [
        ("unsubscribe", "a"),
        ("unsubscribe", "b"),
        ("unsubscribe", "c"),
    ]


async def test_a_publish_that_hangs_leaves_the_transport_time_to_close() -> None:
    class Closing(Deferred):
        closed = False

        async def start(self) -> None: ...

        async def close(self) -> None:
            await asyncio.sleep(0.001)
            self.closed = True

    transport = Closing()
    bus, _ = linked(transport)
    bus.publish("c", "x")
    await bus.close(0.5)
    assert transport.closed


async def test_a_call_that_ignores_its_cancellation_does_not_keep_the_close(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()
    ignored = asyncio.Event()

    class Stubborn(Sync):
        async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    ignored.set()

    bus, _ = linked(Stubborn())
    bus.subscribe("c", ignore)
    await turns()
    await bus.close(0.02)
    assert ignored.is_set()
    assert "wsrooms subscribe c" in caplog.text
    assert "does not end" in caplog.text
    release.set()
    await turns()


async def test_it_links_a_real_transport() -> None:
    transport = MemoryTransport()
    other = transport.replica()
    bus, _ = linked(transport)
    await bus.start()
    heard: list[str] = []
    bus.subscribe("c", heard.append)
    other.publish("c", "x")
    await bus.close(1)
    assert heard == ["x"]
    assert transport.bus.channels() == {}


def test_without_a_loop_a_sync_transport_works() -> None:
    transport = Sync()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    assert bus.ready("c")
    assert bus.publish("c", "x") is FINISHED
    bus.unsubscribe("c")
    assert events.told == [("subscribed", "c")]


def test_any_error_becomes_a_transport_error_that_names_it() -> None:
    known = OutcomeUnknown("?")
    assert as_transport_error(known) is known
    strange = ZeroDivisionError("by zero")
    error = as_transport_error(strange)
    assert isinstance(error, TransportUnavailable)
    assert str(error) == "ZeroDivisionError: by zero"
    assert error.__cause__ is strange
