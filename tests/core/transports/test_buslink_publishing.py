"""Publishes keep their order, and each one's outcome reaches its sender."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms.errors import OutboxFull, OutcomeUnknown, TransportUnavailable
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.transports import parse, publisher, tagged

if TYPE_CHECKING:
    # For their types: importlib mode lets no test import a conftest.py.
    from tests.core.transports.conftest import Deferred, Ended, Linked, Sync, Turns


async def test_a_sync_publish_is_finished_at_once(sync: type[Sync], linked: Linked) -> None:
    transport = sync()
    bus, _ = linked(transport)
    assert bus.publish("c", "x") is FINISHED
    assert transport.calls == [("publish", "c", "x")]


async def test_a_receipt_of_the_transport_is_passed_on(sync: type[Sync], linked: Linked) -> None:
    transport = sync()
    transport.returns = Receipt()
    bus, _ = linked(transport)
    assert bus.publish("c", "x") is transport.returns


async def test_a_receipt_of_the_transport_that_fails_unseen_is_told_once(
    sync: type[Sync], linked: Linked
) -> None:
    heard: list[Exception] = []
    transport = sync()
    bus, events = linked(transport)
    for maker in (None, heard.append):
        transport.returns = receipt = Receipt(on_unseen=maker)
        bus.publish("c", "x")
        transport.returns = None
        receipt.settle(TransportUnavailable("gone"))
        del receipt
        gc.collect()
    assert [what[0] for what in events.told] == ["publish_failed"]
    assert list(map(str, heard)) == ["gone"]
    transport.returns = FINISHED
    assert bus.publish("c", "x") is FINISHED
    assert FINISHED._on_unseen is None


async def test_a_publish_that_raises_is_the_receipts_error_and_told_if_nobody_looks(
    sync: type[Sync], linked: Linked, ended: Ended
) -> None:
    transport = sync()
    transport.fails["publish"] = OSError("broken")
    bus, events = linked(transport)
    receipt = bus.publish("c", "x")
    assert isinstance(receipt.error, TransportUnavailable)
    assert await ended(receipt) is receipt.error
    del receipt
    bus.publish("c", "y")
    gc.collect()
    assert [what[0] for what in events.told] == ["publish_failed"]


async def test_async_publishes_are_made_one_after_another_in_the_order_of_the_calls(
    deferred: type[Deferred], linked: Linked, turns: Turns, ended: Ended
) -> None:
    transport = deferred()
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
    deferred: type[Deferred], linked: Linked, ended: Ended, failure: BaseException, text: str
) -> None:
    transport = deferred()
    bus, _ = linked(transport)
    first, second = bus.publish("c", "x"), bus.publish("c", "y")
    transport.end("publish", "c", "x", error=failure)
    assert str(await ended(first)) == text
    await transport.until("publish", "c", "y")
    transport.end("publish", "c", "y")
    assert await ended(second) is None


async def test_a_publish_that_is_never_confirmed_has_an_unknown_outcome(
    deferred: type[Deferred], linked: Linked, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_AGE", 0.02)
    transport = deferred()
    bus, _ = linked(transport)
    error = await ended(bus.publish("c", "x"))
    assert isinstance(error, OutcomeUnknown)
    assert str(error) == "a publish on c was not confirmed in 0.02 s"
    later = bus.publish("c", "y")
    transport.end("publish", "c", "y")
    assert await ended(later) is None


async def test_a_transport_may_be_sync_now_and_async_then(
    deferred: type[Deferred], linked: Linked, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = deferred()
    later = transport.publish

    def publish(channel: str, payload: str) -> Any:
        if payload == "raise":
            raise OSError("now")
        return None if payload == "sync" else later(channel, payload)

    monkeypatch.setattr(transport, "publish", publish)
    bus, _ = linked(transport)
    receipts = [bus.publish("c", payload) for payload in ("async", "sync", "raise", "last")]
    transport.end("publish", "c", "async")
    await transport.until("publish", "c", "last")
    transport.end("publish", "c", "last")
    outcomes = [await ended(receipt) for receipt in receipts]
    assert list(map(str, outcomes)) == ["None", "None", "OSError: now", "None"]


async def test_what_waits_is_bounded_and_the_next_is_refused(
    deferred: type[Deferred], linked: Linked, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_MESSAGES", 2)
    transport = deferred()
    transport.__dict__["lost"] = 0  # what a class counts is nothing to call
    bus, events = linked(transport)
    kept = [bus.publish("c", payload) for payload in "xyz"]
    error = await ended(bus.publish("c", "!"))
    assert isinstance(error, OutboxFull)
    for payload in "xyz":
        await transport.until("publish", "c", payload)
        transport.end("publish", "c", payload)
    assert [await ended(receipt) for receipt in kept] == [None] * 3
    assert events.told == []


async def test_what_is_not_published_takes_a_number_and_is_missed_elsewhere(
    deferred: type[Deferred],
    linked: Linked,
    turns: Turns,
    ended: Ended,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publisher, "MAX_MESSAGES", 1)
    clock = asyncio.get_running_loop().time
    carrier = deferred()
    bus, _ = linked(tagged(carrier))

    def numbers() -> list[int]:
        envelopes = [parse(payload) for what, _, payload in carrier.calls if what == "publish"]
        return [envelope.seq for envelope in envelopes if envelope is not None]

    sent, waiting = bus.publish("c", "1"), bus.publish("c", "waits")
    assert isinstance(await ended(bus.publish("c", "refused")), OutboxFull)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock() + publisher.MAX_AGE)
    assert isinstance(await ended(sent), OutcomeUnknown)
    assert isinstance(await ended(waiting), TransportUnavailable)
    last = bus.publish("c", "last")
    await turns()
    (call,) = carrier.open
    carrier.end(*call)
    assert await ended(last) is None
    assert numbers() == [1, 4]


async def test_a_transport_that_never_waits_leaves_the_loop_its_turns(
    linked: Linked, ended: Ended
) -> None:
    published: list[str] = []

    class Eager:
        async def publish(self, channel: str, payload: str) -> None:
            published.append(payload)

        def subscribe(self, channel: str, handler: Callable[[str], None]) -> None: ...

        def unsubscribe(self, channel: str) -> None: ...

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
    assert max(between) <= publisher.TURN
