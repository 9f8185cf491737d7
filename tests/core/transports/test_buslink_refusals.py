"""What the transport refuses, fails at or never confirms is told and taken back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import DEADLINE
from wsrooms.errors import PermissionDenied, TransportUnavailable

if TYPE_CHECKING:
    # For their types: importlib mode lets no test import a conftest.py.
    from tests.core.transports.conftest import Deferred, Linked, Sync, Turns


def ignore(payload: str) -> None: ...


@pytest.mark.parametrize("error", [OSError("no route"), PermissionDenied("c", "not yours")])
async def test_a_subscribe_that_raises_is_refused_and_taken_back(
    sync: type[Sync], linked: Linked, error: Exception
) -> None:
    transport = sync()
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


async def test_the_owner_may_take_its_wish_away_when_it_is_refused(
    sync: type[Sync], linked: Linked
) -> None:
    transport = sync()
    transport.fails["subscribe"] = OSError()
    bus, events = linked(transport)
    events.on_refused = bus.unsubscribe
    bus.subscribe("c", ignore)
    assert transport.calls == [("subscribe", "c"), ("unsubscribe", "c")]
    assert not bus._channels


async def test_the_owner_may_wish_anew_when_it_is_refused(sync: type[Sync], linked: Linked) -> None:
    transport = sync()
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
    deferred: type[Deferred], linked: Linked, turns: Turns, failure: BaseException, text: str
) -> None:
    transport = deferred()
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


async def test_a_wish_that_is_made_while_it_is_refused_is_asked_for_again(
    deferred: type[Deferred], linked: Linked
) -> None:
    transport = deferred()
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


async def test_what_is_never_confirmed_is_taken_back_and_tried_again_while_it_is_wished(
    deferred: type[Deferred], linked: Linked
) -> None:
    transport = deferred()
    bus, events = linked(transport, confirm_timeout=0.01)
    bus.subscribe("c", ignore)
    await transport.until("unsubscribe", "c")
    transport.end("unsubscribe", "c")
    await transport.until("subscribe", "c", count=2)
    transport.end("subscribe", "c")
    await events.until("subscribed")
    assert events.told == [("lapsed", "c"), ("subscribed", "c")]


async def test_what_is_never_confirmed_and_no_longer_wished_is_forgotten(
    deferred: type[Deferred], linked: Linked, turns: Turns
) -> None:
    transport = deferred()
    bus, events = linked(transport, confirm_timeout=0.01)
    bus.subscribe("c", ignore)
    bus.unsubscribe("c")
    await transport.until("unsubscribe", "c")
    transport.end("unsubscribe", "c")
    await turns()
    assert events.told == []
    assert not bus._channels


async def test_an_unsubscribe_that_raises_is_logged_and_done(
    sync: type[Sync], linked: Linked, caplog: pytest.LogCaptureFixture
) -> None:
    transport = sync()
    transport.fails["unsubscribe"] = OSError("broken")
    bus, _ = linked(transport)
    bus.subscribe("c", ignore)
    bus.unsubscribe("c")
    assert "unsubscribing c failed" in caplog.text
    assert not bus._channels


@pytest.mark.parametrize("failure", [OSError("broken"), asyncio.CancelledError(), None])
async def test_an_unsubscribe_that_fails_later_or_never_ends_is_logged_and_done(
    deferred: type[Deferred],
    linked: Linked,
    failure: BaseException | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = deferred()
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
