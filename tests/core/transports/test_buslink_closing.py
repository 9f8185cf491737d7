"""Close sends what waits, ends what was begun and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE
from wsrooms.errors import TransportClosed
from wsrooms.transports import Gap

if TYPE_CHECKING:
    # For their types: importlib mode lets no test import a conftest.py.
    from tests.core.transports.conftest import Deferred, Ended, Linked, Stateful, Sync, Turns
    from wsrooms.transports.buslink import BusLink


def ignore(payload: str) -> None: ...


async def test_close_publishes_what_waits_and_ends_the_subscriptions_of_a_plain_class(
    deferred: type[Deferred], linked: Linked, ended: Ended
) -> None:
    transport = deferred()
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


async def test_close_closes_a_transport_that_can_be_closed_and_only_that(
    stateful: type[Stateful], linked: Linked
) -> None:
    transport = stateful()
    bus, _ = linked(transport)
    await bus.start()
    bus.subscribe("c", ignore)
    await bus.close(1)
    assert transport.calls == [("start",), ("subscribe", "c"), ("close",)]


async def test_after_close_nothing_is_passed_on_and_nothing_asked_for(
    stateful: type[Stateful], linked: Linked, ended: Ended
) -> None:
    transport = stateful()
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


async def test_a_transport_outlives_its_link_and_serves_the_next(
    stateful: type[Stateful], linked: Linked
) -> None:
    transport = stateful()
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
    for _ in range(5):
        await asyncio.sleep(0)
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
    deferred: type[Deferred],
    linked: Linked,
    turns: Turns,
    begun: Callable[[BusLink, Deferred], Awaitable[None]],
    started: bool,
) -> None:
    transport = deferred()
    bus, _ = linked(transport)
    await begun(bus, transport)
    if started:
        await turns()
    await bus.close(0.05)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert transport.open == {}
    assert transport.held == set()
    assert bus.stats()["outbox"] == 0


@pytest.mark.parametrize("turns", range(5))
async def test_a_close_as_a_subscription_is_given_up_leaves_no_call_that_nobody_awaits(
    deferred: type[Deferred], linked: Linked, turns: int
) -> None:
    transport = deferred()
    bus, _ = linked(transport, confirm_timeout=0.001)
    bus.subscribe("c", ignore)
    await asyncio.sleep(0)
    time.sleep(0.01)  # noqa: ASYNC251 - its limit is over, and the loop has not come to that
    for _ in range(turns):
        await asyncio.sleep(0)
    await bus.close(0.05)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert transport.open == {}
    gc.collect()  # Python tells of a coroutine that nobody awaited when it is thrown away


async def test_what_could_not_be_published_before_the_close_is_told(
    deferred: type[Deferred], linked: Linked, ended: Ended
) -> None:
    transport = deferred()
    bus, _ = linked(transport)
    receipts = [bus.publish("c", payload) for payload in "xyz"]
    await bus.close(0.02)
    errors = [await ended(receipt) for receipt in receipts]
    assert all(isinstance(error, TransportClosed) for error in errors)


async def test_what_a_plain_class_was_told_to_end_when_it_closed_is_ended_once_more(
    deferred: type[Deferred], linked: Linked
) -> None:
    transport = deferred()
    bus, _ = linked(transport)
    await unsubscribing(bus, transport)
    closing = asyncio.create_task(bus.close(DEADLINE))
    await transport.until("unsubscribe", "c", count=2)
    transport.end("unsubscribe", "c")
    await closing


async def test_a_close_that_fails_is_logged(
    stateful: type[Stateful], linked: Linked, caplog: pytest.LogCaptureFixture
) -> None:
    transport = stateful()
    transport.fails["close"] = OSError("broken")
    bus, _ = linked(transport)
    await bus.close(1)
    assert "closing <" in caplog.text
    assert "OSError: broken" in caplog.text


async def test_one_channel_that_cannot_be_ended_does_not_keep_the_others(
    sync: type[Sync], linked: Linked
) -> None:
    transport = sync()
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


async def test_a_publish_that_hangs_leaves_the_transport_time_to_close(linked: Linked) -> None:
    class Closing:
        closed = False

        async def start(self) -> None: ...

        async def publish(self, channel: str, payload: str) -> None:
            await asyncio.Event().wait()

        def subscribe(self, channel: str, handler: Callable[[str], None]) -> None: ...

        def unsubscribe(self, channel: str) -> None: ...

        async def close(self) -> None:
            await asyncio.sleep(0.001)
            self.closed = True

    transport = Closing()
    bus, _ = linked(transport)
    bus.publish("c", "x")
    await bus.close(0.5)
    assert transport.closed


async def test_a_call_that_ignores_its_cancellation_does_not_keep_the_close(
    linked: Linked, turns: Turns, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()
    ignored = asyncio.Event()

    class Stubborn:
        def publish(self, channel: str, payload: str) -> None: ...

        async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    ignored.set()

        def unsubscribe(self, channel: str) -> None: ...

    bus, _ = linked(Stubborn())
    bus.subscribe("c", ignore)
    await turns()
    await bus.close(0.02)
    assert ignored.is_set()
    assert "wsrooms subscribe c" in caplog.text
    assert "does not end" in caplog.text
    release.set()
    await turns()
