"""``tagged()`` over a bus that echoes, repeats, loses and confirms late."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from wsrooms.errors import ConfigurationError, PayloadTooLarge
from wsrooms.transports import (
    Gap,
    MemoryBus,
    MemoryTransport,
    SupportsGaps,
    SupportsLifecycle,
    SupportsMaxPayload,
    SupportsReplica,
    SupportsState,
    SupportsStats,
    TaggedTransport,
    TransportState,
    WsBroadcastTransport,
    parse,
    tagged,
    wrap,
)


class EchoBus:
    """Brings everybody everything, also what he sent himself."""

    def __init__(self) -> None:
        self.handlers: dict[str, list[Callable[[str], None]]] = {}
        self.sent: list[tuple[str, str]] = []

    def deliver(self, channel: str, text: str) -> None:
        for handler in list(self.handlers.get(channel, ())):
            handler(text)


class Echoing:
    """Three methods, and nothing else: what a user writes."""

    def __init__(self, bus: EchoBus) -> None:
        self.bus = bus
        self.mine: dict[str, list[Callable[[str], None]]] = {}

    def publish(self, channel: str, payload: str) -> None:
        self.bus.sent.append((channel, payload))
        self.bus.deliver(channel, payload)

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        self.bus.handlers.setdefault(channel, []).append(handler)
        self.mine.setdefault(channel, []).append(handler)

    def unsubscribe(self, channel: str) -> None:
        for handler in self.mine.pop(channel, ()):
            self.bus.handlers[channel].remove(handler)


class Late(Echoing):
    """Its calls are confirmed, and take effect, when the test says so."""

    def __init__(self, bus: EchoBus) -> None:
        super().__init__(bus)
        self.go = asyncio.Event()

    async def _subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
        await self.go.wait()
        Echoing.subscribe(self, channel, handler)

    def subscribe(  # type: ignore[override]  # an awaitable is allowed where None is
        self, channel: str, handler: Callable[[str], None]
    ) -> Awaitable[None]:
        return self._subscribe(channel, handler)

    async def _unsubscribe(self, channel: str) -> None:
        await self.go.wait()
        Echoing.unsubscribe(self, channel)

    def unsubscribe(  # type: ignore[override]  # an awaitable is allowed where None is
        self, channel: str
    ) -> Awaitable[None]:
        return self._unsubscribe(channel)


class Capable(Echoing):
    """With all that only some transports can do."""

    max_payload = 1000
    keeps_log = True

    def __init__(self, bus: EchoBus) -> None:
        super().__init__(bus)
        self.calls: list[str] = []
        self.tell: Callable[[TransportState, str | None], None] | None = None

    async def start(self) -> None:
        self.calls.append("start")

    async def close(self) -> None:
        self.calls.append("close")

    def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None:
        self.tell = callback

    def stats(self) -> dict[str, int]:
        return {"reconnects": 2, "foreign": 99}

    def replica(self) -> Capable:
        return Capable(self.bus)


@pytest.fixture
def bus() -> EchoBus:
    return EchoBus()


def subscribed(transport: WsBroadcastTransport, channel: str = "ws:room:r") -> list[str]:
    heard: list[str] = []
    transport.subscribe(channel, heard.append)
    return heard


def test_others_hear_a_message_once_and_the_sender_does_not(bus: EchoBus) -> None:
    one, two = tagged(Echoing(bus)), tagged(Echoing(bus))
    mine, theirs = subscribed(one), subscribed(two)
    one.publish("ws:room:r", '{"a": "ü 1 2"}')
    assert (mine, theirs) == ([], ['{"a": "ü 1 2"}'])
    assert one.stats()["own_skipped"] == 1


def test_a_payload_travels_in_the_envelope_numbered_per_channel(bus: EchoBus) -> None:
    one = tagged(Echoing(bus))
    for channel in ("a", "a", "b"):
        one.publish(channel, "x")
    envelopes = [parse(text) for _, text in bus.sent]
    assert None not in envelopes
    assert [envelope[1:] for envelope in envelopes if envelope] == [
        (1, 1, "x"),
        (1, 2, "x"),
        (1, 1, "x"),
    ]
    assert len({envelope.instance for envelope in envelopes if envelope}) == 1


def test_a_repeated_message_is_dropped_and_counted(bus: EchoBus) -> None:
    one, two = tagged(Echoing(bus)), tagged(Echoing(bus))
    heard = subscribed(two)
    one.publish("ws:room:r", "x")
    bus.deliver(*bus.sent[0])
    assert heard == ["x"]
    assert two.stats()["duplicates"] == 1


def test_a_gap_is_told_before_the_message_that_shows_it(bus: EchoBus) -> None:
    two = tagged(Echoing(bus))
    order: list[object] = []
    two.on_gap(lambda gap: order.append("replaced"))
    two.on_gap(order.append)
    for channel in ("ws:room:r", "ws:server"):
        two.subscribe(channel, order.append)
        bus.deliver(channel, wrap("i", 1, 1, "one"))
        bus.deliver(channel, wrap("i", 1, 5, "five"))
    gaps = [Gap("r", "i", 3), Gap(None, "i", 3)]
    assert order == ["one", gaps[0], "five", "one", gaps[1], "five"]


def test_a_gap_that_nobody_asked_for_is_no_trouble(bus: EchoBus) -> None:
    two = tagged(Echoing(bus))
    heard = subscribed(two)
    bus.deliver("ws:room:r", wrap("i", 1, 1, "one"))
    bus.deliver("ws:room:r", wrap("i", 1, 3, "three"))
    assert heard == ["one", "three"]


def test_what_has_no_envelope_is_dropped_counted_and_logged_once_a_minute(
    bus: EchoBus, caplog: pytest.LogCaptureFixture
) -> None:
    two = tagged(Echoing(bus))
    heard = subscribed(two)
    with caplog.at_level(logging.WARNING, logger="wsrooms"):
        for text in ('{"event":"e","path":"p"}', "", "1 i 1 1"):
            bus.deliver("ws:room:r", text)
    assert heard == []
    assert two.stats()["foreign"] == 3
    assert len(caplog.records) == 1
    assert "must use tagged()" in caplog.text


def test_what_a_handler_raises_is_logged_counted_and_no_trouble_of_the_wrapped_transport(
    bus: EchoBus, caplog: pytest.LogCaptureFixture
) -> None:
    one = tagged(Echoing(bus))
    got: list[str] = []

    def handler(payload: str) -> None:
        got.append(payload)
        if payload == "bad":
            raise LookupError(payload)

    one.subscribe("ws:room:r", handler)
    bus.deliver("ws:room:r", wrap("i", 1, 1, "bad"))
    bus.deliver("ws:room:r", wrap("i", 1, 2, "good"))
    assert got == ["bad", "good"]
    assert one.stats()["handler_errors"] == 1
    (record,) = caplog.records
    assert "ws:room:r" in record.getMessage()
    assert record.exc_info is not None


def test_after_an_unsubscribe_no_call_begins_though_the_bus_has_not_come_to_it() -> None:
    bus = EchoBus()
    inner = Late(bus)
    two = tagged(inner)
    heard: list[str] = []
    subscribing, unsubscribing = two.subscribe("c", heard.append), two.unsubscribe("c")
    assert subscribing is not None
    assert unsubscribing is not None

    async def run() -> None:
        inner.go.set()
        await subscribing
        bus.deliver("c", wrap("i", 1, 1, "x"))
        await unsubscribing

    asyncio.run(run())
    assert heard == []


async def test_a_message_between_the_unsubscribe_and_its_effect_makes_no_false_gap() -> None:
    bus = EchoBus()
    inner = Late(bus)
    inner.go.set()
    two = tagged(inner)
    gaps: list[Gap] = []
    two.on_gap(gaps.append)
    heard: list[str] = []

    async def subscribe() -> None:
        call = two.subscribe("c", heard.append)
        assert call is not None
        await call

    await subscribe()
    bus.deliver("c", wrap("i", 1, 1, "one"))
    inner.go.clear()
    call = two.unsubscribe("c")
    bus.deliver("c", wrap("i", 1, 2, "two"))
    inner.go.set()
    assert call is not None
    await call
    await subscribe()
    bus.deliver("c", wrap("i", 1, 9, "nine"))
    assert heard == ["one", "nine"]
    assert gaps == []


def test_subscribing_twice_replaces_the_handler_on_a_bus_that_keeps_both(bus: EchoBus) -> None:
    two = tagged(Echoing(bus))
    first, second = subscribed(two), subscribed(two)
    bus.deliver("ws:room:r", wrap("i", 1, 1, "x"))
    assert (first, second) == ([], ["x"])


async def test_start_draws_a_new_instance_that_hears_what_the_old_one_left(bus: EchoBus) -> None:
    one = tagged(Echoing(bus))
    one.publish("ws:room:r", "old")
    await one.start()
    heard = subscribed(one)
    bus.deliver(*bus.sent[0])
    assert heard == ["old"]
    one.publish("ws:room:r", "new")
    assert heard == ["old"]


async def test_what_passed_between_a_close_and_the_next_start_is_no_gap(bus: EchoBus) -> None:
    gaps: list[Gap] = []
    one = tagged(Echoing(bus))
    one.on_gap(gaps.append)
    await one.start()
    subscribed(one)
    bus.deliver("ws:room:r", wrap("i", 1, 1, "heard"))
    await one.close()
    await one.start()
    heard = subscribed(one)
    bus.deliver("ws:room:r", wrap("i", 1, 9, "nine"))
    assert heard == ["nine"]
    assert gaps == []


def test_a_gap_callback_that_raises_costs_no_message(
    bus: EchoBus, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Gap) -> None:
        raise ValueError("gap")

    one = tagged(Echoing(bus))
    one.on_gap(fail)
    heard = subscribed(one)
    bus.deliver("ws:room:r", wrap("i", 1, 1, "one"))
    with caplog.at_level(logging.ERROR, logger="wsrooms"):
        bus.deliver("ws:room:r", wrap("i", 1, 3, "three"))
    assert heard == ["one", "three"]
    assert "a gap callback failed" in caplog.text
    assert one.stats()["handler_errors"] == 1


async def test_closing_unsubscribes_a_transport_that_cannot_be_closed(bus: EchoBus) -> None:
    one = tagged(Echoing(bus))
    heard = subscribed(one)
    subscribed(one, "ws:server")
    await one.close()
    assert not any(bus.handlers.values())
    bus.deliver("ws:room:r", wrap("i", 1, 1, "x"))
    assert heard == []
    await one.close()


async def test_closing_waits_for_what_is_async_and_survives_what_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Late):
        async def _unsubscribe(self, channel: str) -> None:
            await super()._unsubscribe(channel)
            if channel == "a":
                raise OSError("broken")

    inner = Failing(EchoBus())
    inner.go.set()
    one = tagged(inner)
    for channel in ("a", "b"):
        call = one.subscribe(channel, lambda _: None)
        assert call is not None
        await call
    with caplog.at_level(logging.ERROR, logger="wsrooms"):
        await one.close()
    assert inner.mine == {}
    assert "unsubscribing a failed" in caplog.text


async def test_what_the_wrapped_transport_can_do_can_be_done_through_it(bus: EchoBus) -> None:
    inner = Capable(bus)
    one = tagged(inner)
    states: list[tuple[str, str | None]] = []
    one.on_state(lambda state, error: states.append((state, error)))
    await one.start()
    await one.close()
    assert inner.calls == ["start", "close"]
    assert inner.tell is not None
    inner.tell("down", "gone")
    assert states == [("down", "gone")]
    assert one.keeps_log
    own = {"own_skipped": 0, "duplicates": 0, "foreign": 0, "handler_errors": 0}
    assert one.stats() == {"reconnects": 2, **own}


async def test_gaps_that_the_wrapped_transport_notices_are_told_too(bus: EchoBus) -> None:
    class Gappy(Echoing):
        tell: Callable[[Gap], None]

        def on_gap(self, callback: Callable[[Gap], None]) -> None:
            self.tell = callback

    inner = Gappy(bus)
    one = tagged(inner)
    told: list[Gap] = []
    one.on_gap(lambda gap: told.append(Gap("replaced", None, None)))
    one.on_gap(told.append)
    subscribed(one)
    inner.tell(Gap(None, None, None))
    bus.deliver("ws:room:r", wrap("i", 1, 1, "one"))
    bus.deliver("ws:room:r", wrap("i", 1, 3, "three"))
    assert told == [Gap(None, None, None), Gap("r", "i", 1)]


def test_the_limit_leaves_room_for_the_longest_envelope(bus: EchoBus) -> None:
    one = tagged(Capable(bus))
    longest = wrap("0" * 16, 2**63 - 1, 2**63 - 1, "x" * one.max_payload)
    assert len(longest) <= Capable.max_payload


def test_a_payload_over_the_limit_is_refused_and_takes_no_number(bus: EchoBus) -> None:
    one = tagged(Capable(bus))
    with pytest.raises(PayloadTooLarge) as refused:
        one.publish("ws:room:r", "\u00e9" * (one.max_payload // 2 + 1))
    assert refused.value.limit == one.max_payload
    one.publish("ws:room:r", "x" * one.max_payload)
    (sent,) = bus.sent
    envelope = parse(sent[1])
    assert envelope is not None
    assert envelope.seq == 1


async def test_what_the_wrapped_transport_cannot_do_is_no_trouble(bus: EchoBus) -> None:
    one = tagged(Echoing(bus))
    await one.start()
    one.on_state(lambda state, error: None)
    assert one.max_payload > 2**60
    assert not one.keeps_log
    assert set(one.stats()) == {"own_skipped", "duplicates", "foreign", "handler_errors"}


def test_it_has_the_capabilities_that_the_core_looks_for(bus: EchoBus) -> None:
    one: WsBroadcastTransport = tagged(Echoing(bus))
    for capability in (
        SupportsLifecycle,
        SupportsGaps,
        SupportsState,
        SupportsMaxPayload,
        SupportsStats,
        SupportsReplica,
    ):
        assert isinstance(one, capability)
    assert repr(one).startswith("tagged(<")


def test_a_replica_wraps_a_replica_and_is_another_instance(bus: EchoBus) -> None:
    one = tagged(Capable(bus))
    two = one.replica()
    heard = subscribed(two)
    one.publish("ws:room:r", "x")
    assert isinstance(two, TaggedTransport)
    assert heard == ["x"]


def test_without_a_replica_of_the_wrapped_one_it_says_what_to_do(bus: EchoBus) -> None:
    with pytest.raises(ConfigurationError, match=r"Echoing has no replica\(\).*tagged\(\.\.\.\)"):
        tagged(Echoing(bus)).replica()


def test_it_works_around_a_transport_that_does_not_echo() -> None:
    memory = MemoryBus()
    one, two = tagged(MemoryTransport(memory)), tagged(MemoryTransport(memory))
    heard = subscribed(two)
    one.publish("ws:room:r", "x")
    assert heard == ["x"]


async def test_time_comes_from_the_loop_where_there_is_one(bus: EchoBus) -> None:
    two = tagged(Echoing(bus))
    heard = subscribed(two)
    now = asyncio.get_running_loop().time()
    bus.deliver("ws:room:r", wrap("i", 1, 1, "x"))
    seen = two._inbox._watch._channels["ws:room:r"]["i"]
    assert now <= seen.at <= asyncio.get_running_loop().time()
    assert heard == ["x"]
