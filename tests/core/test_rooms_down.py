"""Joins, and members, while the transport is down and when it comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.transports.lines import on_virtual_time
from tests.deadlines import DEADLINE
from wsrooms import (
    PermissionDenied,
    Receipt,
    TransportError,
    TransportUnavailable,
)
from wsrooms.rooms import Rooms

from .members import Member, SyncTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Eventually = Callable[[Callable[[], object]], Awaitable[None]]
    Bus = Any


class StatefulTransport(SyncTransport):
    """One that knows whether its broker is there; subscribing ends when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.tell: Callable[..., None] = lambda *_: None
        self.waiting: list[Receipt] = []
        self.at_once = True

    def on_state(self, callback: Callable[..., None]) -> None:
        self.tell = callback

    def subscribe(self, channel: str, handler: Callable[[str], None]) -> Receipt | None:  # type: ignore[override]  # may wait
        super().subscribe(channel, handler)
        if self.at_once:
            return None
        self.waiting.append(Receipt())
        return self.waiting[-1]

    def confirm(self) -> None:
        waiting, self.waiting = self.waiting, []
        for receipt in waiting:
            receipt.settle()


class LogTransport(StatefulTransport):
    keeps_log = True


async def test_while_the_transport_is_not_live_every_join_waits() -> None:
    transport = StatefulTransport()
    rooms = Rooms(transport)
    early, late = Member("early"), Member("late")
    assert rooms.join(early, "r").done
    transport.tell("down", "reset")
    waiting = [rooms.join(late, "r"), rooms.join(late, "new"), rooms.join(early, "r")]
    assert not any(receipt.done for receipt in waiting)
    assert rooms.connections("r") == {early, late}
    transport.at_once = False
    transport.tell("up", None)
    assert not any(receipt.done for receipt in waiting)
    assert transport.waiting
    transport.confirm()
    async with asyncio.timeout(DEADLINE):
        for receipt in waiting:
            await receipt
    assert rooms.join(Member("third"), "r").done


async def test_a_log_transport_is_exempt_where_the_room_is_subscribed() -> None:
    transport = LogTransport()
    rooms = Rooms(transport)
    rooms.join(Member("early"), "r")
    transport.tell("down", "reset")
    assert rooms.join(Member("late"), "r").done


async def test_a_bus_that_is_down_longer_than_join_timeout_fails_joins_at_once() -> None:
    transport = StatefulTransport()
    rooms = Rooms(transport, join_timeout=0.05)
    early, late = Member("early"), Member("late")
    rooms.join(early, "r")
    transport.tell("down", "reset")
    loop = asyncio.get_running_loop()
    down = loop.time()
    with pytest.raises(TransportUnavailable):
        await rooms.join(late, "r")
    assert loop.time() >= down + 0.05
    receipt = rooms.join(late, "r")
    assert receipt.done
    assert isinstance(receipt.error, TransportUnavailable)
    again = rooms.join(early, "r")  # it was in before: it stays
    assert isinstance(again.error, TransportUnavailable)
    assert rooms.connections("r") == {early}
    transport.tell("up", None)
    assert rooms.join(late, "r").done


@on_virtual_time
async def test_the_deadline_counts_from_when_the_transport_went_down() -> None:
    transport = StatefulTransport()
    rooms = Rooms(transport, join_timeout=0.3)
    transport.tell("down", "reset")
    down = asyncio.get_running_loop().time()
    await asyncio.sleep(0.15)
    receipt = rooms.join(Member("m"), "r")
    assert not receipt.done
    with pytest.raises(TransportUnavailable):
        await receipt
    assert asyncio.get_running_loop().time() == pytest.approx(down + 0.3)


async def test_members_whose_channel_is_refused_after_an_outage_are_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsrooms.rooms.WISH_AGAIN", 0.01)
    transport = StatefulTransport()
    rooms = Rooms(transport)
    member = Member("m")
    rooms.join(member, "r")
    transport.tell("down", "reset")
    transport.failing = PermissionDenied("ws:room:r", "not now")
    transport.tell("up", None)
    assert rooms.connections("r") == {member}
    assert "hear no other instance: not now" in caplog.text
    assert transport.handlers == {}
    transport.failing = None
    await eventually(lambda: transport.handlers)
    assert rooms.join(Member("late"), "r").done
    rooms.leave_all(member)


async def test_a_room_that_is_empty_by_then_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wsrooms.rooms.WISH_AGAIN", 0.0)
    transport = StatefulTransport()
    rooms = Rooms(transport)
    member = Member("m")
    rooms.join(member, "r")
    transport.tell("down", "reset")
    transport.failing = TransportError("no")
    transport.tell("up", None)
    rooms.leave_all(member)
    transport.failing = None
    for _ in range(5):
        await asyncio.sleep(0)
    assert transport.handlers == {}
