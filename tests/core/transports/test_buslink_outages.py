"""After an outage every wish is made again, and nothing from before it is believed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wsrooms.transports import Gap

if TYPE_CHECKING:
    # For their types: importlib mode lets no test import a conftest.py.
    from tests.core.transports.conftest import DeferredWithState, Linked, Stateful


def ignore(payload: str) -> None: ...


async def test_after_an_outage_every_wish_is_made_again_and_confirmed_anew(
    stateful: type[Stateful], linked: Linked
) -> None:
    transport = stateful()
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


async def test_a_deaf_bus_is_as_good_as_a_dead_one_and_the_outage_began_with_the_first(
    stateful: type[Stateful], linked: Linked
) -> None:
    transport = stateful()
    bus, _ = linked(transport)
    transport.tell("deaf", None)
    since = bus.down_since
    await asyncio.sleep(0.001)
    transport.tell("down", "gone")
    assert (bus.live, bus.down_since) == (False, since)


async def test_what_a_transport_confirms_while_it_is_down_is_asked_for_again(
    stateful: type[Stateful], linked: Linked
) -> None:
    transport = stateful()
    bus, events = linked(transport)
    transport.tell("down", None)
    bus.subscribe("c", ignore)
    assert not bus.ready("c")
    transport.tell("up", None)
    assert bus.ready("c")
    assert [what[0] for what in events.told] == ["state", "state", "subscribed"]


async def test_a_confirmation_from_before_an_outage_is_not_believed_after_it(
    deferred_with_state: type[DeferredWithState], linked: Linked
) -> None:
    transport = deferred_with_state()
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


async def test_a_call_made_while_down_is_believed_when_it_ends_after_the_return(
    deferred_with_state: type[DeferredWithState], linked: Linked
) -> None:
    transport = deferred_with_state()
    bus, events = linked(transport)
    transport.tell("down", None)
    bus.subscribe("c", ignore)
    transport.tell("up", None)
    transport.end("subscribe", "c")
    await events.until("subscribed")
    assert transport.calls == [("subscribe", "c")]


async def test_a_log_is_read_on_so_an_outage_unconfirms_nothing(
    deferred_with_state: type[DeferredWithState], linked: Linked
) -> None:
    transport = deferred_with_state()
    transport.keeps_log = True
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


async def test_gaps_are_passed_on(stateful: type[Stateful], linked: Linked) -> None:
    transport = stateful()
    _, events = linked(transport)
    transport.tell_gap(Gap("r", "i", 2))
    assert events.told == [("gap", Gap("r", "i", 2))]
