"""Wishes converge: the last one wins, and only what the transport confirmed is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsrooms.errors import PermissionDenied
from wsrooms.receipt import FINISHED, Receipt

if TYPE_CHECKING:
    # For their types: importlib mode lets no test import a conftest.py.
    from tests.core.transports.conftest import Deferred, Linked, Sync, Turns


def ignore(payload: str) -> None: ...


async def test_a_sync_subscribe_is_confirmed_at_once(sync: type[Sync], linked: Linked) -> None:
    transport = sync()
    bus, events = linked(transport)
    assert not bus.ready("c")
    bus.subscribe("c", ignore)
    assert bus.ready("c")
    assert events.told == [("subscribed", "c")]
    bus.subscribe("c", ignore)
    assert transport.calls == [("subscribe", "c")]


async def test_what_a_sync_method_returns_beside_none_means_nothing(
    sync: type[Sync], linked: Linked
) -> None:
    transport = sync()
    transport.returns = 1
    bus, _ = linked(transport)
    bus.subscribe("c", ignore)
    assert bus.ready("c")
    assert bus.publish("c", "x") is FINISHED
    bus.unsubscribe("c")
    assert not bus.ready("c")


async def test_an_async_subscribe_is_confirmed_when_it_has_ended(
    deferred: type[Deferred], linked: Linked, turns: Turns
) -> None:
    transport = deferred()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    await turns()
    assert not bus.ready("c")
    transport.end("subscribe", "c")
    await events.until("subscribed")
    assert bus.ready("c")


async def test_the_maker_of_a_receipt_is_told_when_it_took_too_long(
    sync: type[Sync], linked: Linked
) -> None:
    transport = sync()
    bus, events = linked(transport, confirm_timeout=0.01)
    given_up: list[Receipt] = []
    receipt = Receipt(on_cancel=given_up.append)
    transport.returns = receipt
    bus.subscribe("c", ignore)
    transport.returns = None
    await events.until("lapsed")
    assert given_up == [receipt]
    assert transport.calls == [("subscribe", "c"), ("unsubscribe", "c"), ("subscribe", "c")]


async def test_the_maker_of_a_receipt_is_told_when_the_link_closes(
    sync: type[Sync], linked: Linked
) -> None:
    transport = sync()
    bus, _ = linked(transport)
    given_up: list[Receipt] = []
    receipt = Receipt(on_cancel=given_up.append)
    transport.returns = receipt
    bus.subscribe("c", ignore)
    transport.returns = None
    await bus.close(1)
    assert given_up == [receipt]


async def test_a_receipt_of_the_transport_is_its_confirmation(
    sync: type[Sync], linked: Linked
) -> None:
    transport = sync()
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


async def test_channels_are_confirmed_in_any_order(
    deferred: type[Deferred], linked: Linked
) -> None:
    transport = deferred()
    bus, events = linked(transport)
    for channel in "abc":
        bus.subscribe(channel, ignore)
    for channel in "cab":
        transport.end("subscribe", channel)
        await events.until("subscribed", "cab".index(channel) + 1)
    assert [what[1] for what in events.told] == ["c", "a", "b"]


async def test_the_last_wish_wins_when_it_is_to_stay(
    deferred: type[Deferred], linked: Linked
) -> None:
    transport = deferred()
    bus, events = linked(transport)
    bus.subscribe("c", ignore)
    bus.unsubscribe("c")
    bus.subscribe("c", ignore)
    transport.end("subscribe", "c")
    await events.until("subscribed")
    assert transport.calls == [("subscribe", "c")]
    assert bus.ready("c")


async def test_the_last_wish_wins_when_it_is_to_leave(
    deferred: type[Deferred], linked: Linked, turns: Turns
) -> None:
    transport = deferred()
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


async def test_a_wish_during_an_unsubscribe_is_asked_for_after_it(
    deferred: type[Deferred], linked: Linked
) -> None:
    transport = deferred()
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


async def test_unsubscribing_what_was_not_wished_is_harmless(
    sync: type[Sync], linked: Linked
) -> None:
    transport = sync()
    bus, _ = linked(transport)
    bus.unsubscribe("c")
    bus.subscribe("c", ignore)
    bus.unsubscribe("c")
    bus.unsubscribe("c")
    assert transport.calls == [("subscribe", "c"), ("unsubscribe", "c")]


async def test_the_transport_reaches_the_handler_of_now_and_none_after_an_unsubscribe(
    sync: type[Sync], linked: Linked
) -> None:
    transport = sync()
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
