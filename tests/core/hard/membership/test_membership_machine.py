"""Any interleaving of joins, leaves, cancellations and disconnects, on any kind of transport.

The real room manager and the real link run on a loop whose clock the machine moves, with a
broker that answers late, out of order, never or with an error. Beside them is a model of
design §4: who is in which room, until when each join may wait, and why it may end. It sees
each receipt at the moment it is settled, and asks whether what it says is true then.

``WSROOMS_EXAMPLES=20000 pytest --timeout=0`` on this file looks longer, and at random.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from wsrooms import ConnectionGone, WsConnection
from wsrooms.loopthread import LoopThread
from wsrooms.rooms import WISH_AGAIN, Rooms
from wsrooms.wire import JsonCodec

if TYPE_CHECKING:
    # For their types: importlib mode lets no test import a conftest.py.
    from tests.core.hard.membership.conftest import (
        Answer,
        Claim,
        Membership,
        PlainScript,
        Script,
        VirtualLoop,
    )

ROOMS = ("a", "b")
JOIN_TIMEOUT = 2.0
STEP = 0.5
QUIET = logging.Logger("quiet", level=logging.CRITICAL + 1)

Kind = Literal["plain", "stateful", "log", "late", "late log"]
HOWS = ("future", "coroutine", "receipt", "stubborn", "now", "raise")


def channel_of(room: str) -> str:
    return f"ws:room:{room}"


class Way:
    """Where the frames of a member go."""

    def __init__(self) -> None:
        self.buffer = self
        self.frames: list[bytes] = []

    def push(self, frame: bytes) -> None:
        self.frames.append(frame)

    def close(self, code: int, reason: str) -> None: ...


class MembershipMachine(RuleBasedStateMachine):
    """The room manager and the link, beside the model."""

    # One member and one room come up more often than the others: that is where things meet.
    rooms = st.sampled_from(["a", "a", "a", "b"])
    slots = st.sampled_from([0, 0, 1, 2])
    picks = st.sampled_from([0, 0, 1, 2])
    hows = st.sampled_from(HOWS)

    def __init__(
        self,
        loops: type[VirtualLoop],
        plain: type[PlainScript],
        stateful: type[Script],
        answer: type[Answer],
        model: type[Membership],
    ) -> None:
        super().__init__()
        self.loop = loops()
        self.plain, self.stateful, self.answer = plain, stateful, answer
        self.model_class = model
        self.abrupt = False
        self.bus: PlainScript | None = None

    @initialize(
        kind=st.sampled_from(["plain", "stateful", "stateful", "log", "late", "late log"]),
        abrupt=st.booleans(),
        hows=st.tuples(hows, hows),
        ghost=st.booleans(),
    )
    def begin(self, kind: Kind, abrupt: bool, hows: tuple[Any, Any], ghost: bool) -> None:
        self.abrupt = abrupt
        keeps_log = kind.endswith("log")
        there = not kind.startswith("late")
        self.bus = (
            self.plain() if kind == "plain" else self.stateful(keeps_log=keeps_log, there=there)
        )
        for room, how in zip(ROOMS, hows, strict=True):
            self.bus.script["subscribe", channel_of(room)] = self.answer(how, ghost)
        self.manager = Rooms(self.bus, join_timeout=JOIN_TIMEOUT, logger=QUIET)
        assert self.manager.link is not None
        self.link = self.manager.link
        self.model = self.model_class(self.loop, self.bus, ROOMS, JOIN_TIMEOUT)
        self.ways: dict[WsConnection, Way] = {}
        self.names = iter(range(1_000_000))
        self.members = [self.newcomer() for _ in range(3)]
        self.loop.finish(self.link.start(keep_trying=True), within=0)
        if not self.model.live:
            self.model.down_since = self.loop.now

    def newcomer(self) -> WsConnection:
        way = Way()
        member = WsConnection(
            f"m{next(self.names)}",
            cast("Any", None),  # nobody here looks at the request
            way=cast("Any", way),
            membership=self.manager,
            codec=JsonCodec(),
            loop=LoopThread(self.loop),
        )
        member._accept()
        self.ways[member] = way
        return member

    # What members do

    @rule(slot=slots, room=rooms)
    def join_and_wait(self, slot: int, room: str) -> None:
        """As a handler that awaits its join, until it has to wait."""
        if not self.members[slot].closed:
            self.join(slot, room)
            self.wait_for(0)
            self.turn(1)

    @rule(slot=slots, room=rooms)
    def join(self, slot: int, room: str) -> None:
        member = self.members[slot]
        if member.closed:
            with self.loop.inside(), pytest.raises(ConnectionGone):
                self.manager.join(member, room)
            return
        at_once = room in self.model.told
        overdue = self.model.deadline <= self.loop.now
        claim = self.model.claim(member, room)
        with self.loop.inside():
            claim.receipt = self.manager.join(member, room)
            claim.receipt._when_done(lambda receipt: self.model.ended(claim, receipt))
        if at_once:
            assert claim.why == "confirmed", "whoever joins a room that is heard need not wait"
        elif overdue:
            assert claim.why == "expired", "a bus that is down for so long answers at once"
        self.check()

    @rule(slot=slots, room=rooms)
    def leave(self, slot: int, room: str) -> None:
        member = self.members[slot]
        self.model.leaving = member, room
        with self.loop.inside():
            receipt = self.manager.leave(member, room)
        self.model.leaving = None
        assert receipt.done
        assert receipt.error is None
        if member in self.model.in_room[room]:
            self.model.in_room[room].remove(member)
        self.check()

    def held(self) -> list[Claim]:
        return [claim for claim in self.model.claims if claim.receipt is not None]

    @precondition(lambda self: self.held())
    @rule(pick=picks)
    def wait_for(self, pick: int) -> None:
        claim = self.held()[-1 - pick % len(self.held())]
        assert claim.receipt is not None
        claim.awaiters.append(self.loop.create_task(claim.awaiting(claim.receipt)))

    @precondition(lambda self: self.awaited())
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        claim = self.awaited()[-1 - pick % len(self.awaited())]
        claim.cancelled = True
        next(task for task in claim.awaiters[: claim.begun] if not task.done()).cancel()

    def awaited(self) -> list[Claim]:
        return [
            claim
            for claim in self.model.claims
            if not all(task.done() for task in claim.awaiters[: claim.begun])
        ]

    @precondition(lambda self: self.held())
    @rule(pick=picks)
    def drop(self, pick: int) -> None:
        self.held()[-1 - pick % len(self.held())].receipt = None
        self.check()

    @rule(slot=slots)
    def close(self, slot: int) -> None:
        """The socket has ended; on_disconnect still finds the member in its rooms."""
        member = self.model.ending = self.members[slot]
        with self.loop.inside():
            member._end(1006, "")
            self.manager.abandon_joins(member)
        self.model.ending = None
        self.check()
        assert self.model.wait_of(member, "a") is self.model.wait_of(member, "b") is None

    @rule(slot=slots)
    def forget(self, slot: int) -> None:
        """It is gone; somebody else comes."""
        member = self.model.ending = self.members[slot]
        with self.loop.inside():
            member._end(1006, "")
            self.manager.leave_all(member)
        self.model.ending = None
        for members in self.model.in_room.values():
            if member in members:
                members.remove(member)
        self.members[slot] = self.newcomer()
        self.check()

    # What the transport does

    @rule(
        method=st.sampled_from(["subscribe", "subscribe", "unsubscribe"]),
        room=rooms,
        how=hows,
        ghost=st.booleans(),
    )
    def from_now_on(self, method: str, room: str, how: Any, ghost: bool) -> None:
        assert self.bus is not None
        self.bus.script[method, channel_of(room)] = self.answer(how, ghost)

    def waiting(self) -> list[Any]:
        return [] if self.bus is None else self.bus.waiting()

    @precondition(lambda self: self.waiting())
    @rule(pick=picks, how=st.sampled_from(["confirm", "confirm", "refuse", "give_up"]))
    def reply(self, pick: int, how: str) -> None:
        call = self.waiting()[pick % len(self.waiting())]
        with self.loop.inside():
            getattr(call, how)()
        self.check()

    @precondition(lambda self: hasattr(self.bus, "fall") and self.bus.started)
    @rule(state=st.sampled_from(["down", "deaf"]))
    def fall(self, state: Literal["down", "deaf"]) -> None:
        bus = cast("Script", self.bus)
        if bus.up:
            self.model.down_since = self.loop.now
            if not bus.keeps_log:
                self.model.told.clear()
        with self.loop.inside():
            bus.fall(state)
        self.check()

    @precondition(lambda self: self.bus.started and not self.model.live)
    @rule()
    def rise(self) -> None:
        self.model.down_since = None
        with self.loop.inside():
            cast("Script", self.bus).rise()
        self.check()

    @precondition(lambda self: not self.bus.started)
    @rule()
    def broker_comes(self) -> None:
        bus = cast("Script", self.bus)
        bus.there = True
        for _ in range(4):  # it is looked for once a second, or more often
            if not bus.started:
                self.tick()
        assert bus.started
        self.model.down_since = None

    # What the loop and the clock do

    @rule(count=st.sampled_from([1, 1, 2, 3]))
    def turn(self, count: int) -> None:
        self.loop.turn(count)
        self.check()

    @rule()
    def tick(self) -> None:
        self.loop.advance(STEP)
        if self.model.live:
            self.model.down_since = None
        self.check()
        for wait in self.model.waits:
            assert self.loop.now < wait.deadline, "a join waits beyond its deadline"
        self.nothing_is_stuck()

    # What must hold after every step

    def check(self) -> None:
        assert self.bus is not None
        assert self.model.wrong == []
        assert self.bus.faults == []
        assert self.loop.complaints == []
        for wait in self.model.waits:
            assert not (wait.over and wait.claims), "joins of one member and room end together"
        self.model.waits = [wait for wait in self.model.waits if wait.claims]
        for room, members in self.model.in_room.items():
            assert self.manager.connections(room) == set(members)
        for member in self.members:
            assert member.rooms == {room for room in ROOMS if member in self.model.in_room[room]}
        stats = self.manager.stats()
        assert stats["joins_pending"] == len(self.model.waits)
        assert stats["memberships"] == sum(map(len, self.model.in_room.values()))
        assert stats["joins_failed"] == self.model.joins_failed

    def nothing_is_stuck(self) -> None:
        """After some turns in which nothing happens, all that can be done is done."""
        assert self.bus is not None
        for claim in self.model.claims:
            for task in claim.awaiters:
                assert task.done() == (claim.why is not None), "an awaiter sleeps on"
        if not self.model.live:
            assert self.bus.started or not self.bus.calls
            return
        for room in ROOMS:
            channel = channel_of(room)
            if self.bus.in_flight(channel):
                continue
            assert not [wait for wait in self.model.waits if wait.room == room], (
                "nobody asks for it"
            )
            if self.model.in_room[room]:
                since = self.loop.now - self.bus.refused_at.get(channel, -WISH_AGAIN)
                # It may have heard of the refusal in this step only.
                assert channel in self.bus.heard or since <= WISH_AGAIN
            elif channel in self.bus.heard:
                assert self.bus.last_method(channel) == "unsubscribe"  # which then failed

    # The end

    def teardown(self) -> None:
        if self.bus is None:
            self.loop.close()
            return
        try:
            if not self.abrupt:
                self.settle()
                self.everybody_hears()
            self.everybody_goes()
            if not self.abrupt:
                self.settle()
                assert all(self.bus.last_method(each) == "unsubscribe" for each in self.bus.heard)
            self.loop.finish(self.link.close(4.0), within=5.0)
            assert self.bus.faults == []
            for call in self.bus.waiting():
                with self.loop.inside():
                    call.give_up()  # a stubborn one, which the close could not end
            self.loop.turn()
            self.receipts_are_told()
            assert not asyncio.all_tasks(self.loop)
            assert self.loop.complaints == []
        finally:
            self.loop.close()

    def settle(self) -> None:
        """The transport comes to its senses."""
        assert self.bus is not None
        self.bus.script.clear()
        if not self.bus.started:
            self.broker_comes()
        elif not self.model.live:
            self.rise()
        for _ in range(int(max(JOIN_TIMEOUT, WISH_AGAIN) / STEP) + 1):
            for call in self.bus.waiting():
                with self.loop.inside():
                    call.confirm()
            self.tick()
        assert not self.model.waits
        assert not asyncio.all_tasks(self.loop)

    def everybody_hears(self) -> None:
        """Who is in a room now hears it, once, and no broker sends what nobody wants."""
        assert self.bus is not None
        for room, members in self.model.in_room.items():
            if not members:
                continue
            with self.loop.inside():
                assert self.link.ready(channel_of(room))
                self.bus.heard[channel_of(room)]('{"event":"e","path":"/"}')
        for member, way in self.ways.items():
            heard = sum(member in members for members in self.model.in_room.values())
            assert len(way.frames) == (0 if member.closed else heard)

    def everybody_goes(self) -> None:
        for slot in range(3):
            self.forget(slot)
        assert not self.model.waits
        assert self.manager.stats()["rooms"] == 0

    def receipts_are_told(self) -> None:
        """Each failure was told to who awaited it, or else counted, once."""
        unseen = 0
        for claim in self.model.claims:
            assert claim.why is not None
            claim.receipt = None
            claim.awaiters.clear()
            unseen += claim.why in ("expired", "refused") and not claim.seen
        assert self.manager.stats()["receipts_failed"] == unseen


def profile() -> settings:
    """Always the same few examples, or as many random ones as the environment asks for."""
    many = int(os.environ.get("WSROOMS_EXAMPLES", "0"))
    return settings(
        max_examples=many or 250,
        phases=[phase for phase in Phase if phase is not Phase.explain],  # it traces every line
        derandomize=not many,
        stateful_step_count=40,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no defect
    )


def test_any_interleaving_of_joins_and_failures_leaves_rooms_and_receipts_as_the_design_says(
    virtual_loop: type[VirtualLoop],
    plain_script: type[PlainScript],
    script: type[Script],
    answer: type[Answer],
    membership: type[Membership],
) -> None:
    def machine() -> MembershipMachine:
        return MembershipMachine(virtual_loop, plain_script, script, answer, membership)

    # Its annotation asks for a class, its documentation for a factory.
    factory = cast("type[RuleBasedStateMachine]", machine)
    run_state_machine_as_test(factory, settings=profile())
