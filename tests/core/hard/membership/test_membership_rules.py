"""Design §4 on deadlines, outages and cancelled joins, rule by rule, with exact times.

The machine beside this file found these worth a sentence each. The clock is virtual: what
"at 2.0 s" says is neither earlier nor later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from wsrooms import PermissionDenied, Receipt, TransportUnavailable
from wsrooms.rooms import Rooms as RoomsHere

if TYPE_CHECKING:
    # For their types: importlib mode lets no test import a conftest.py.
    from tests.core.hard.membership.conftest import Answer, PlainScript, Script, VirtualLoop
    from wsrooms.transports import WsBroadcastTransport

CHANNEL = "ws:room:r"
SUBSCRIBE, UNSUBSCRIBE = ("subscribe", CHANNEL), ("unsubscribe", CHANNEL)
LATER = ["future", "receipt", "coroutine"]


class Member:
    def __init__(self, id: str = "m") -> None:
        self.id = id
        self.rooms: set[str] = set()

    def send(self, event: str, path: str, data: object = None, params: object = None) -> None: ...


def state(receipt: Receipt) -> str:
    if not receipt.done:
        return "open"
    return "confirmed" if receipt.error is None else "failed"


class Rooms:
    """A room manager on the virtual loop, called as a handler would."""

    def __init__(self, loop: VirtualLoop, transport: WsBroadcastTransport) -> None:
        self.loop = loop
        self.manager = RoomsHere(transport, join_timeout=2.0)
        assert self.manager.link is not None
        self.link = self.manager.link
        loop.finish(self.link.start(keep_trying=True), within=0)

    def join(self, member: Member, room: str = "r") -> Receipt:
        with self.loop.inside():
            return self.manager.join(member, room)

    def leave(self, member: Member, room: str = "r") -> None:
        with self.loop.inside():
            self.manager.leave(member, room)

    def awaiting(self, receipt: Receipt) -> asyncio.Task[None]:
        """A task that has come to its await."""

        async def wait() -> None:
            await receipt

        task = self.loop.create_task(wait())
        self.loop.turn(1)
        return task

    def ends_at(self, receipt: Receipt) -> float:
        """The time at which ``receipt`` is settled, within ten seconds from now."""
        ended: list[float] = []
        receipt._when_done(lambda _: ended.append(self.loop.now))
        for _ in range(20):
            if not ended:
                self.loop.advance(0.5)
        assert ended
        return ended[0]

    def close(self) -> None:
        self.loop.finish(self.link.close(1.0), within=2.0)
        assert not asyncio.all_tasks(self.loop)


@pytest.fixture
def rooms_on(virtual: VirtualLoop) -> Any:
    """Give what makes a manager on a transport, and closes it at the end."""
    made: list[Rooms] = []

    def make(transport: WsBroadcastTransport) -> Rooms:
        made.append(Rooms(virtual, transport))
        return made[-1]

    yield make
    for rooms in made:
        rooms.close()


RoomsOn = Callable[[Any], Rooms]


# Deadlines


def test_a_bus_that_goes_down_after_the_join_does_not_prolong_its_deadline(
    virtual: VirtualLoop, script: type[Script], answer: type[Answer], rooms_on: RoomsOn
) -> None:
    bus = script()
    rooms = rooms_on(bus)
    bus.script[SUBSCRIBE] = answer("future")
    receipt = rooms.join(Member())
    virtual.advance(1.0)
    with virtual.inside():
        bus.fall()
    assert rooms.ends_at(receipt) == 2.0
    assert isinstance(receipt._take_error(), TransportUnavailable)


def test_a_join_during_an_outage_has_what_is_left_of_join_timeout_even_if_the_bus_returns(
    virtual: VirtualLoop, script: type[Script], answer: type[Answer], rooms_on: RoomsOn
) -> None:
    bus = script()
    rooms = rooms_on(bus)
    bus.script[SUBSCRIBE] = answer("future")
    with virtual.inside():
        bus.fall()
    virtual.advance(1.5)
    member = Member()
    receipt = rooms.join(member)
    with virtual.inside():
        bus.rise()
    assert rooms.ends_at(receipt) == 2.0
    assert receipt._take_error() is not None
    assert member.rooms == set()


def test_each_outage_counts_from_its_own_beginning(
    virtual: VirtualLoop, script: type[Script], rooms_on: RoomsOn
) -> None:
    bus = script()
    rooms = rooms_on(bus)
    for began in (0.0, 3.0):
        virtual.advance(began - virtual.now)
        with virtual.inside():
            bus.fall()
        virtual.advance(0.5)
        receipt = rooms.join(Member())
        assert rooms.ends_at(receipt) == began + 2.0
        assert receipt._take_error() is not None
        late = rooms.join(Member())
        assert late.done
        assert isinstance(late._take_error(), TransportUnavailable)
        with virtual.inside():
            bus.rise()


def test_joins_of_one_member_and_room_end_together_at_the_deadline_of_the_first(
    virtual: VirtualLoop, plain_script: type[PlainScript], answer: type[Answer], rooms_on: RoomsOn
) -> None:
    """Were the later one to live on, the first would be told that it failed, and had not."""
    bus = plain_script()
    bus.script[SUBSCRIBE] = answer("future")
    rooms = rooms_on(bus)
    member = Member()
    first = rooms.join(member)
    virtual.advance(1.5)
    second = rooms.join(member)
    assert rooms.ends_at(second) == 2.0
    assert first._take_error() is second._take_error() is not None
    assert member.rooms == set()


def test_before_its_first_start_a_bus_is_down_since_it_was_looked_for(
    virtual: VirtualLoop, script: type[Script], rooms_on: RoomsOn
) -> None:
    bus = script(there=False)
    rooms = rooms_on(bus)
    virtual.advance(1.0)
    receipt = rooms.join(Member())
    assert rooms.ends_at(receipt) == 2.0
    assert receipt._take_error() is not None
    assert bus.calls == []
    waiting = rooms.join(Member())
    assert waiting._take_error() is not None
    bus.there = True
    virtual.advance(1.0)
    virtual.advance(1.0)
    assert rooms.join(Member()).error is None


# While the transport is down


@pytest.mark.parametrize("how", ["raise", *LATER])
@pytest.mark.parametrize("keeps_log", [False, True])
def test_a_subscribe_that_fails_while_the_bus_is_down_refuses_nobody_and_is_tried_when_it_is_up(
    virtual: VirtualLoop,
    script: type[Script],
    answer: type[Answer],
    rooms_on: RoomsOn,
    how: Any,
    keeps_log: bool,
) -> None:
    """A lost line fails what was asked on it; that is no answer to the join, which waits."""
    bus = script(keeps_log=keeps_log)
    rooms = rooms_on(bus)
    with virtual.inside():
        bus.fall()
    bus.script[SUBSCRIBE] = answer(how)
    member = Member()
    receipt = rooms.join(member)
    for call in bus.waiting():
        with virtual.inside():
            call.refuse()
    virtual.advance(1.0)
    assert state(receipt) == "open"
    assert member.rooms == {"r"}
    bus.script.clear()
    with virtual.inside():
        bus.rise()
    assert state(receipt) == "confirmed"
    assert rooms.manager.stats()["joins_failed"] == 0


@pytest.mark.parametrize("heard_of", ["while it is down", "after the return"])
@pytest.mark.parametrize("how", LATER)
def test_what_the_lost_line_takes_with_it_is_asked_for_again_on_the_next(
    virtual: VirtualLoop,
    script: type[Script],
    answer: type[Answer],
    rooms_on: RoomsOn,
    how: Any,
    heard_of: str,
) -> None:
    bus = script()
    bus.script[SUBSCRIBE] = answer(how)
    rooms = rooms_on(bus)
    receipt = rooms.join(Member())
    virtual.turn()
    with virtual.inside():
        bus.fall()
        bus.waiting()[0].give_up()
    if heard_of == "while it is down":
        virtual.turn()
    assert state(receipt) == "open"
    with virtual.inside():
        bus.rise()
    virtual.turn()
    assert bus.calls == [SUBSCRIBE, SUBSCRIBE]
    with virtual.inside():
        bus.waiting()[0].confirm()
    virtual.turn()
    assert state(receipt) == "confirmed"


def test_a_failure_that_is_heard_of_after_the_return_is_a_refusal(
    virtual: VirtualLoop, script: type[Script], answer: type[Answer], rooms_on: RoomsOn
) -> None:
    bus = script()
    rooms = rooms_on(bus)
    with virtual.inside():
        bus.fall()
    bus.script[SUBSCRIBE] = answer("future")
    receipt = rooms.join(Member())
    with virtual.inside():
        bus.rise()
        bus.waiting()[0].refuse()
    virtual.turn()
    assert isinstance(receipt._take_error(), PermissionDenied)


def test_a_member_that_joins_again_during_an_outage_and_fails_stays_what_it_was(
    virtual: VirtualLoop, script: type[Script], rooms_on: RoomsOn
) -> None:
    bus = script()
    rooms = rooms_on(bus)
    member = Member()
    assert rooms.join(member).done
    with virtual.inside():
        bus.fall()
    cancelled = rooms.awaiting(rooms.join(member))
    cancelled.cancel()
    virtual.turn()
    assert cancelled.cancelled()
    assert member.rooms == {"r"}
    again = rooms.join(member)
    assert rooms.ends_at(again) == 2.0
    assert again._take_error() is not None
    assert member.rooms == {"r"}


def test_a_log_confirms_new_rooms_too_while_it_is_down(
    virtual: VirtualLoop, script: type[Script], answer: type[Answer], rooms_on: RoomsOn
) -> None:
    bus = script(keeps_log=True)
    rooms = rooms_on(bus)
    with virtual.inside():
        bus.fall()
    bus.script[SUBSCRIBE] = answer("future")
    receipt = rooms.join(Member())
    assert state(receipt) == "open"
    with virtual.inside():
        bus.waiting()[0].confirm()
    virtual.turn()
    assert state(receipt) == "confirmed"


# Refusals


def test_a_refused_room_is_asked_for_once_a_second_however_many_joins_are_refused(
    virtual: VirtualLoop,
    script: type[Script],
    answer: type[Answer],
    rooms_on: RoomsOn,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each refused join used to begin a chain of its own, for as long as the broker refused."""
    bus = script()
    rooms = rooms_on(bus)
    member = Member()
    rooms.join(member)
    with virtual.inside():
        bus.fall()
        bus.script[SUBSCRIBE] = answer("raise")
        bus.rise()
    for _ in range(10):
        assert rooms.join(Member())._take_error() is not None
    virtual.advance(1.0)
    bus.calls.clear()
    for _ in range(20):
        virtual.advance(0.5)
    assert bus.calls.count(SUBSCRIBE) == 10
    bus.script.clear()
    virtual.advance(1.0)
    assert CHANNEL in bus.heard
    assert member.rooms == {"r"}
    assert "hear no other instance" in caplog.text


# Leaving and cancelling


@pytest.mark.parametrize("how", LATER)
def test_a_join_after_a_leave_is_not_the_one_that_was_left(
    virtual: VirtualLoop,
    plain_script: type[PlainScript],
    answer: type[Answer],
    rooms_on: RoomsOn,
    how: Any,
) -> None:
    bus = plain_script()
    bus.script[SUBSCRIBE] = answer(how)
    rooms = rooms_on(bus)
    member = Member()
    first = rooms.join(member)
    task = rooms.awaiting(first)
    rooms.leave(member)
    task.cancel()  # in the turn in which it was to learn that it is done
    second = rooms.join(member)
    virtual.turn()
    assert task.cancelled()
    assert state(first) == "confirmed"
    assert state(second) == "open"
    assert member.rooms == {"r"}
    with virtual.inside():
        bus.waiting()[0].confirm()
    virtual.turn()
    assert state(second) == "confirmed"
    assert bus.calls == [SUBSCRIBE]


def test_dropping_a_receipt_keeps_its_claim_when_another_one_is_cancelled(
    virtual: VirtualLoop, plain_script: type[PlainScript], answer: type[Answer], rooms_on: RoomsOn
) -> None:
    bus = plain_script()
    bus.script[SUBSCRIBE] = answer("future")
    rooms = rooms_on(bus)
    member = Member()
    rooms.join(member)
    task = rooms.awaiting(rooms.join(member))
    task.cancel()
    virtual.turn()
    assert member.rooms == {"r"}
    assert rooms.manager.stats()["joins_pending"] == 1


def test_a_cancelled_join_takes_back_what_the_broker_does_all_the_same(
    virtual: VirtualLoop, plain_script: type[PlainScript], answer: type[Answer], rooms_on: RoomsOn
) -> None:
    bus = plain_script()
    bus.script[SUBSCRIBE] = answer("coroutine")
    rooms = rooms_on(bus)
    member = Member()
    task = rooms.awaiting(rooms.join(member))
    task.cancel()
    virtual.turn()
    assert member.rooms == set()
    assert bus.calls == [SUBSCRIBE]  # the call goes on: the next may begin when it has ended
    with virtual.inside():
        bus.waiting()[0].confirm()
    virtual.turn()
    assert bus.calls == [SUBSCRIBE, UNSUBSCRIBE]
    assert bus.heard == {}


# The end


@pytest.mark.parametrize("method", ["subscribe", "unsubscribe"])
def test_a_call_that_will_not_end_neither_keeps_the_close_nor_is_doubled_by_it(
    virtual: VirtualLoop,
    plain_script: type[PlainScript],
    answer: type[Answer],
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    bus = plain_script()
    rooms = Rooms(virtual, bus)
    bus.script[method, CHANNEL] = answer("stubborn")
    member = Member()
    receipt = rooms.join(member)
    rooms.leave(member)
    virtual.turn()
    virtual.finish(rooms.link.close(1.0), within=1.5)
    assert receipt.error is None
    assert bus.faults == []
    assert "does not end" in caplog.text
    with virtual.inside():
        bus.waiting()[0].confirm()
    virtual.turn()
    assert not asyncio.all_tasks(virtual)


def test_a_last_unsubscribe_that_will_not_end_does_not_keep_the_close(
    virtual: VirtualLoop,
    plain_script: type[PlainScript],
    answer: type[Answer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = plain_script()
    rooms = Rooms(virtual, bus)
    for room in ("r", "s"):
        rooms.join(Member(), room)
    bus.script[UNSUBSCRIBE] = answer("stubborn")
    virtual.finish(rooms.link.close(1.0), within=1.5)
    assert set(bus.heard) == {CHANNEL}
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "does not end" in line
    with virtual.inside():
        bus.waiting()[0].confirm()
    virtual.turn()
    assert not asyncio.all_tasks(virtual)
