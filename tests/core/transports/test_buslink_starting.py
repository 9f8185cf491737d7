"""The start: what it needs, how it fails, and what waits while no broker is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE
from wsrooms.errors import TransportError, TransportUnavailable
from wsrooms.receipt import FINISHED
from wsrooms.transports import buslink, publisher

if TYPE_CHECKING:
    # For their types: importlib mode lets no test import a conftest.py.
    from tests.core.transports.conftest import Ended, Linked, Slow, Stateful, Sync, Turns
    from wsrooms.transports import TransportState


def ignore(payload: str) -> None: ...


async def test_a_plain_class_needs_no_start(sync: type[Sync], linked: Linked) -> None:
    bus, _ = linked(sync())
    await bus.start()
    assert bus.live


async def test_a_transport_may_echo_unless_it_says_that_it_skips_its_own(
    sync: type[Sync], linked: Linked
) -> None:
    assert linked(sync())[0].may_echo
    silent = sync()
    vars(silent)["skips_own"] = True
    assert not linked(silent)[0].may_echo


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), TransportUnavailable("no")])
async def test_a_start_that_fails_is_a_transport_error(
    stateful: type[Stateful], linked: Linked, error: Exception
) -> None:
    transport = stateful()
    transport.fails["start"] = error
    bus, _ = linked(transport)
    with pytest.raises(TransportError) as caught:
        await bus.start()
    assert caught.value is error or caught.value.__cause__ is error


async def test_a_start_that_its_transport_gave_up_is_a_transport_error(
    stateful: type[Stateful], linked: Linked
) -> None:
    transport = stateful()
    transport.fails["start"] = asyncio.CancelledError()  # of a future of its own
    bus, _ = linked(transport)
    with pytest.raises(TransportUnavailable, match="gave the call up"):
        await bus.start()


async def test_a_start_that_is_cancelled_is_cancelled(slow: type[Slow], linked: Linked) -> None:
    transport = slow()
    transport.refusal = None
    bus, _ = linked(transport)
    starting = asyncio.create_task(bus.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    def delays() -> Iterator[float]:
        while True:
            yield 0

    monkeypatch.setattr(buslink, "backoff", delays)


@pytest.mark.usefixtures("no_backoff")
async def test_without_a_broker_wishes_and_publishes_wait_until_it_comes(
    slow: type[Slow], linked: Linked, ended: Ended
) -> None:
    transport = slow()
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
async def test_a_start_that_its_transport_gave_up_is_tried_again(
    slow: type[Slow], linked: Linked
) -> None:
    transport = slow()
    transport.refusal = asyncio.CancelledError()  # of a future of its own
    bus, events = linked(transport)
    await bus.start(keep_trying=True)
    bus.subscribe("c", ignore)
    assert events.told[0] == ("state", "down", "the transport gave the call up")
    async with asyncio.timeout(DEADLINE):
        await transport.tried_thrice.wait()
    transport.there = True
    await events.until("subscribed")
    await bus.close(1)


@pytest.mark.usefixtures("no_backoff")
async def test_what_waited_too_long_for_a_broker_is_told(
    slow: type[Slow], linked: Linked, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_AGE", 0.02)
    bus, _ = linked(slow())
    await bus.start(keep_trying=True)
    error = await ended(bus.publish("c", "x"))
    assert isinstance(error, TransportUnavailable)
    assert "not published within 0.02 s" in str(error)
    await bus.close(1)


@pytest.mark.usefixtures("no_backoff")
async def test_a_broker_that_comes_when_nothing_waits_is_asked_for_nothing(
    slow: type[Slow], linked: Linked, turns: Turns
) -> None:
    transport = slow()
    bus, events = linked(transport)
    await bus.start(keep_trying=True)
    transport.there = True
    await events.until("state", 2)
    await turns()
    assert transport.calls == []
    assert bus.publish("c", "x") is FINISHED
    await bus.close(1)


async def test_a_broker_that_is_silent_keeps_nobody_waiting_and_counts_once_it_speaks(
    slow: type[Slow], linked: Linked, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buslink, "FIRST_TRY", 0.02)
    transport = slow()
    speaks = asyncio.Event()

    async def start() -> None:
        await speaks.wait()

    monkeypatch.setattr(transport, "start", start)
    bus, events = linked(transport)
    async with asyncio.timeout(DEADLINE):
        await bus.start(keep_trying=True)
    assert not bus.live
    assert [told[:2] for told in events.told] == [("state", "down")]
    bus.subscribe("c", ignore)
    receipt = bus.publish("c", "x")
    assert transport.calls == []
    speaks.set()
    await events.until("subscribed")
    assert await ended(receipt) is None
    assert transport.calls == [("subscribe", "c"), ("publish", "c", "x")]
    await bus.close(1)


async def test_close_ends_a_start_that_waits_for_a_silent_broker(
    slow: type[Slow], linked: Linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buslink, "FIRST_TRY", 0.02)
    transport = slow()
    monkeypatch.setattr(transport, "start", asyncio.Event().wait)
    bus, _ = linked(transport)
    await bus.start(keep_trying=True)
    async with asyncio.timeout(DEADLINE):
        await bus.close(1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_started_transport_may_be_told_to_keep_trying_in_vain(
    stateful: type[Stateful], linked: Linked
) -> None:
    transport = stateful()
    bus, events = linked(transport)
    await bus.start(keep_trying=True)
    assert (bus.live, events.told) == (True, [])


async def test_close_ends_the_search_for_a_broker(slow: type[Slow], linked: Linked) -> None:
    transport = slow()
    bus, _ = linked(transport)
    await bus.start(keep_trying=True)
    await bus.close(1)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert transport.calls == [("close",)]


@pytest.mark.parametrize("raises", [None, TransportUnavailable("cancelled")])
@pytest.mark.parametrize("turns", range(4))
async def test_a_start_that_swallows_its_cancellation_publishes_nothing_beside_the_close(
    linked: Linked, turns: int, raises: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buslink, "FIRST_TRY", 0.01)

    class Swallowing:
        def __init__(self) -> None:
            self.there = asyncio.Event()
            self.calls: list[str] = []

        async def start(self) -> None:
            try:
                await self.there.wait()
            except asyncio.CancelledError:  # as wait_for of Python 3.11 may
                if raises is not None:
                    raise raises from None

        async def publish(self, channel: str, payload: str) -> None:
            self.calls.append(f"publish {payload}")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(DEADLINE)

        async def subscribe(self, channel: str, handler: Callable[[str], None]) -> None: ...

        async def unsubscribe(self, channel: str) -> None: ...

        async def close(self) -> None:
            self.calls.append("close")

        def on_state(self, callback: Callable[[TransportState, str | None], None]) -> None: ...

    transport = Swallowing()
    bus, _ = linked(transport)
    await bus.start(keep_trying=True)
    receipts = [bus.publish("c", payload) for payload in "xy"]
    transport.there.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    await bus.close(0.1)
    assert transport.calls in (["close"], ["publish x", "close"])
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert all(receipt.done for receipt in receipts)
    for receipt in receipts:
        receipt._take_error()  # by the moment of the close
