"""The memory transport keeps the contract: in one loop, without any, and between two threads."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tests.deadlines import DEADLINE
from wsrooms.errors import TransportClosed
from wsrooms.transports import (
    MemoryBus,
    MemoryTransport,
    SupportsLifecycle,
    SupportsReplica,
    WsBroadcastTransport,
)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


def test_a_payload_reaches_every_other_transport_once_and_before_publish_returns(
    bus: MemoryBus,
) -> None:
    one, two, three = (MemoryTransport(bus) for _ in range(3))
    heard: dict[MemoryTransport, list[str]] = {one: [], two: [], three: []}
    for transport, payloads in heard.items():
        transport.subscribe("c", payloads.append)
    one.publish("c", "hello")
    assert heard == {one: [], two: ["hello"], three: ["hello"]}


def test_channels_are_isolated(bus: MemoryBus) -> None:
    one, two = MemoryTransport(bus), MemoryTransport(bus)
    heard: list[str] = []
    two.subscribe("a", heard.append)
    for channel in ("", "ab", "A", "b"):
        one.publish(channel, "x")
    assert heard == []
    one.publish("a", "y")
    assert heard == ["y"]


def test_a_transport_without_a_bus_has_one_of_its_own() -> None:
    one, two = MemoryTransport(), MemoryTransport()
    heard: list[str] = []
    two.subscribe("c", heard.append)
    one.publish("c", "x")
    assert heard == []


def test_subscribing_twice_replaces_the_handler(bus: MemoryBus) -> None:
    one, two = MemoryTransport(bus), MemoryTransport(bus)
    first: list[str] = []
    second: list[str] = []
    two.subscribe("c", first.append)
    two.subscribe("c", second.append)
    one.publish("c", "x")
    assert (first, second) == ([], ["x"])
    assert bus.channels() == {"c": 1}


def test_unsubscribing_ends_it_and_is_harmless_where_nothing_is_subscribed(bus: MemoryBus) -> None:
    one, two = MemoryTransport(bus), MemoryTransport(bus)
    heard: list[str] = []
    one.unsubscribe("c")
    two.subscribe("c", heard.append)
    one.unsubscribe("c")
    one.publish("c", "x")
    two.unsubscribe("c")
    two.unsubscribe("c")
    one.publish("c", "y")
    assert heard == ["x"]
    assert bus.channels() == {}


def test_a_channel_is_forgotten_with_its_last_subscriber(bus: MemoryBus) -> None:
    one, two = MemoryTransport(bus), MemoryTransport(bus)
    for transport in (one, two):
        transport.subscribe("c", lambda _: None)
    assert bus.channels() == {"c": 2}
    one.unsubscribe("c")
    assert bus.channels() == {"c": 1}
    two.unsubscribe("c")
    assert bus.channels() == {}


def test_a_handler_that_raises_is_logged_and_stops_nobody(
    bus: MemoryBus, caplog: pytest.LogCaptureFixture
) -> None:
    one, two, three = (MemoryTransport(bus) for _ in range(3))
    heard: list[str] = []

    def broken(payload: str) -> None:
        raise ZeroDivisionError

    two.subscribe("c", broken)
    three.subscribe("c", heard.append)
    with caplog.at_level(logging.ERROR, logger="wsrooms"):
        one.publish("c", "x")
    assert heard == ["x"]
    assert "a handler of the memory bus failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_an_interrupt_inside_of_a_handler_does_not_end_publishing(bus: MemoryBus) -> None:
    one, two = MemoryTransport(bus), MemoryTransport(bus)
    heard: list[str] = []

    def interrupted(payload: str) -> None:
        heard.append(payload)
        if payload == "a":
            raise KeyboardInterrupt

    two.subscribe("c", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.publish("c", "a")
    one.publish("c", "b")
    assert heard == ["a", "b"]


def test_handlers_may_use_the_bus_and_what_one_publisher_sends_keeps_its_order(
    bus: MemoryBus,
) -> None:
    one, two, three = (MemoryTransport(bus) for _ in range(3))
    heard: list[tuple[str, str]] = []

    def answer(payload: str) -> None:
        heard.append(("two", payload))
        if payload == "question":
            two.publish("c", "answer")

    def follow_up(payload: str) -> None:
        heard.append(("one", payload))
        one.publish("c", "thanks")

    one.subscribe("c", follow_up)
    two.subscribe("c", answer)
    three.subscribe("c", lambda payload: heard.append(("three", payload)))
    one.publish("c", "question")
    assert [payload for name, payload in heard if name == "three"][-2:] == ["question", "thanks"]
    assert [payload for name, payload in heard if name == "two"] == ["question", "thanks"]
    assert [payload for name, payload in heard if name == "one"] == ["answer"]


def test_a_handler_may_end_a_subscription_that_would_be_next(bus: MemoryBus) -> None:
    one, two, three = (MemoryTransport(bus) for _ in range(3))
    heard: list[str] = []
    two.subscribe("c", lambda _: three.unsubscribe("c"))
    three.subscribe("c", heard.append)
    one.publish("c", "x")
    assert heard == []


async def test_close_ends_every_subscription_and_every_use(bus: MemoryBus) -> None:
    one, two = MemoryTransport(bus), MemoryTransport(bus)
    heard: list[str] = []
    for channel in ("a", "b"):
        two.subscribe(channel, heard.append)
    one.subscribe("b", heard.append)
    await two.start()
    await two.close()
    await two.close()
    assert bus.channels() == {"b": 1}
    one.publish("a", "x")
    assert heard == []
    calls: list[Callable[[], None]] = [
        lambda: two.publish("a", "x"),
        lambda: two.subscribe("a", heard.append),
        lambda: two.unsubscribe("a"),
    ]
    for call in calls:
        with pytest.raises(TransportClosed, match="this MemoryTransport has been closed"):
            call()


async def test_a_closed_transport_can_be_started_again(bus: MemoryBus) -> None:
    one, two = MemoryTransport(bus), MemoryTransport(bus)
    heard: list[str] = []
    await two.close()
    await two.start()
    two.subscribe("c", heard.append)
    one.publish("c", "x")
    assert heard == ["x"]


def test_a_replica_is_another_transport_on_the_same_bus(bus: MemoryBus) -> None:
    one = MemoryTransport(bus)
    two = one.replica()
    heard: list[str] = []
    two.subscribe("c", heard.append)
    one.publish("c", "x")
    assert heard == ["x"]
    assert two is not one


def test_it_has_the_capabilities_that_the_core_looks_for() -> None:
    transport: WsBroadcastTransport = MemoryTransport()
    assert isinstance(transport, SupportsLifecycle)
    assert isinstance(transport, SupportsReplica)
    assert "MemoryTransport on" in repr(transport)


async def test_nothing_is_kept_of_a_closed_transport_and_its_handlers(bus: MemoryBus) -> None:
    class Owner:
        def receive(self, payload: str) -> None: ...

    owner = Owner()
    transport = MemoryTransport(bus)
    transport.subscribe("c", owner.receive)
    await transport.close()
    gone: list[weakref.ref[Any]] = [weakref.ref(owner), weakref.ref(transport)]
    del owner, transport
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


# Between threads


class OtherLoop:
    """A loop in a thread of its own, which does what it is told and nothing meanwhile."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def do(self, call: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(DEADLINE)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(DEADLINE)


@pytest.fixture
def other() -> Any:
    loop = OtherLoop()
    yield loop
    if not loop.loop.is_closed():
        loop.stop()


def test_a_subscriber_of_another_loop_gets_payloads_there_in_order(
    bus: MemoryBus, other: OtherLoop
) -> None:
    here, there = MemoryTransport(bus), MemoryTransport(bus)
    heard: list[tuple[int, str]] = []
    other.do(lambda: there.subscribe("c", lambda text: heard.append((threading.get_ident(), text))))
    for number in range(1000):
        here.publish("c", str(number))
    other.do(lambda: None)
    assert [text for _, text in heard] == [str(number) for number in range(1000)]
    assert {thread for thread, _ in heard} == {other.thread.ident}


def test_no_call_begins_after_an_unsubscribe_even_for_what_was_on_its_way(
    bus: MemoryBus, other: OtherLoop
) -> None:
    here, there = MemoryTransport(bus), MemoryTransport(bus)
    heard: list[str] = []
    other.do(lambda: there.subscribe("c", heard.append))

    def publish_and_unsubscribe() -> None:
        # The other loop is busy with this call, so the payload waits behind it.
        thread = threading.Thread(target=here.publish, args=("c", "late"))
        thread.start()
        thread.join(DEADLINE)
        there.unsubscribe("c")

    other.do(publish_and_unsubscribe)
    other.do(lambda: None)
    assert heard == []


def test_what_is_on_its_way_reaches_a_handler_that_replaced_the_one_it_was_for(
    bus: MemoryBus, other: OtherLoop
) -> None:
    here, there = MemoryTransport(bus), MemoryTransport(bus)
    old: list[str] = []
    new: list[str] = []
    other.do(lambda: there.subscribe("c", old.append))

    def publish_and_replace() -> None:
        thread = threading.Thread(target=here.publish, args=("c", "x"))
        thread.start()
        thread.join(DEADLINE)
        there.subscribe("c", new.append)

    other.do(publish_and_replace)
    other.do(lambda: None)
    assert (old, new) == ([], ["x"])


def test_a_subscription_that_moves_to_another_loop_is_served_there(
    bus: MemoryBus, other: OtherLoop
) -> None:
    here, there = MemoryTransport(bus), MemoryTransport(bus)
    threads: list[int] = []
    there.subscribe("c", lambda _: threads.append(0))
    other.do(lambda: there.subscribe("c", lambda _: threads.append(threading.get_ident())))
    here.publish("c", "x")
    other.do(lambda: None)
    assert threads == [other.thread.ident]


def test_a_subscriber_whose_loop_has_closed_disturbs_nobody(
    bus: MemoryBus, other: OtherLoop, caplog: pytest.LogCaptureFixture
) -> None:
    here, there, third = (MemoryTransport(bus) for _ in range(3))
    heard: list[str] = []
    other.do(lambda: there.subscribe("c", heard.append))
    third.subscribe("c", heard.append)
    other.stop()
    with caplog.at_level(logging.DEBUG, logger="wsrooms"):
        here.publish("c", "x")
    assert heard == ["x"]
    assert "a subscriber's loop has closed" in caplog.text


def test_two_threads_may_publish_through_one_transport(bus: MemoryBus, other: OtherLoop) -> None:
    here, there = MemoryTransport(bus), MemoryTransport(bus)
    heard: list[str] = []
    other.do(lambda: there.subscribe("c", heard.append))

    def publish(name: str) -> None:
        for number in range(500):
            here.publish("c", f"{name}{number}")

    threads = [threading.Thread(target=publish, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    other.do(lambda: None)
    for name in "ab":
        mine = [text for text in heard if text.startswith(name)]
        assert mine == [f"{name}{number}" for number in range(500)]
