"""Batches are a shortcut: what each member receives, and in which order, they never change.

Any sequence of broadcasts, pushes, replies, joins, leaves, blocked sockets and closes is
played to the real rooms, connections and buffers, and to a model in which each member has
a list of its own. Rooms are larger and smaller than ``BATCH_FROM``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wsrooms import WsRequest
from wsrooms.connection import WsConnection
from wsrooms.loopthread import LoopThread
from wsrooms.rooms import Rooms
from wsrooms.sendbuffer import BATCH_FROM, BATCHES_AT, WRITE_AT, Batch, Flusher, SendBuffer
from wsrooms.wire import JsonCodec

PLENTY = 10**9
MEMBERS = BATCH_FROM + 4
ROOM = "room"
# Few of them do anything: the others make the room large.
members = st.integers(0, 3)


class Counters:
    writes = 0
    messages_out = 0


class Line:
    """A connection whose socket writes down what it is given."""

    def __init__(self, number: int, side: Side) -> None:
        self.frames: list[bytes] = []
        self.writes = 0
        self.buffer = SendBuffer(
            side.flusher,
            self,
            lambda dropped: pytest.fail("nothing is too much here"),
            limit_bytes=PLENTY,
            limit_messages=PLENTY,
            policy="close",
        )
        self.connection = WsConnection(
            str(number),
            WsRequest("GET", "/", [], None),
            way=self,
            membership=cast("Any", side.rooms),
            codec=side.codec,
            loop=side.thread,
        )

    def write(self, data: bytes) -> None:
        self.writes += 1
        while data:
            size, at = data[1], 2
            if size == 126:
                size, at = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, at = int.from_bytes(data[2:10], "big"), 10
            self.frames.append(data[at : at + size])
            data = data[at + size :]

    def is_closing(self) -> bool:
        return False

    def close(self, code: int, reason: str) -> None:
        self.buffer.unblock()
        self.buffer.close()
        self.connection._end(code, reason)

    @property
    def received(self) -> list[Any]:
        """The data of every push, and the id of every reply, in order."""
        documents = [json.loads(frame) for frame in self.frames]
        return [document.get("id", document["data"]) for document in documents]


class Side:
    """Rooms, and a loop that turns when it is told to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = LoopThread(self.loop)
        self.codec = JsonCodec()
        self.turn: list[Callable[[], None]] = []
        self.counters = Counters()
        self.flusher = Flusher(self.turn.append, lambda: 0.0, self.counters)
        self.rooms = Rooms(codec=self.codec)
        self.rooms.fanout.share_turns_of(self.flusher)

    def member(self, number: int, room: str | None = ROOM) -> Line:
        line = Line(number, self)
        line.connection._accept()
        if room is not None:
            self.rooms.join(line.connection, room)
        return line

    def broadcast(self, data: object, exclude: Any = None) -> None:
        self.rooms.broadcast(ROOM, "e", "p", data, exclude=exclude)

    def end_turn(self) -> None:
        calls = self.turn.copy()
        self.turn.clear()
        for call in calls:
            call()


@pytest.fixture
def side() -> Iterator[Side]:
    side = Side()
    yield side
    side.loop.close()


def test_a_burst_to_a_large_room_is_one_write_for_each_member_and_joined_once(side: Side) -> None:
    lines = [side.member(number) for number in range(BATCH_FROM)]
    for number in range(20):
        side.broadcast(number)
    (batch,) = side.rooms.fanout.batches.values()
    assert [len(line.buffer) for line in lines] == [1] * BATCH_FROM
    side.end_turn()
    assert [line.received for line in lines] == [list(range(20))] * BATCH_FROM
    assert [line.writes for line in lines] == [1] * BATCH_FROM
    assert side.counters.messages_out == 20 * BATCH_FROM
    assert batch.joined() is batch.joined()
    assert side.rooms.fanout.batches == {}


def test_a_small_room_has_no_batch(side: Side) -> None:
    lines = [side.member(number) for number in range(BATCH_FROM - 1)]
    side.broadcast("x")
    assert side.rooms.fanout.batches == {}
    side.end_turn()
    assert [line.received for line in lines] == [["x"]] * (BATCH_FROM - 1)


@pytest.mark.parametrize("by_id", [False, True])
def test_who_is_left_out_is_part_of_a_batch(side: Side, by_id: bool) -> None:
    lines = [side.member(number) for number in range(BATCH_FROM + 1)]
    first, second = lines[0].connection, lines[1].connection
    for exclude in (first, first, second, first):
        side.broadcast("x", exclude.id if by_id else exclude)
    side.end_turn()
    assert [len(line.received) for line in lines] == [1, 3] + [4] * (BATCH_FROM - 1)


def test_past_64_kib_whoever_sends_to_a_room_is_asked_to_let_a_flush_pass(side: Side) -> None:
    lines = [side.member(number) for number in range(BATCH_FROM)]
    half = "x" * (WRITE_AT // 2)
    pressed = []
    for _ in range(3):
        side.broadcast(half)
        pressed.append(side.flusher.pressed)
    assert pressed == [False, False, True]
    side.end_turn()
    assert all(line.received == [half] * 3 for line in lines)
    assert [line.writes for line in lines] == [1] * BATCH_FROM
    assert not side.flusher.pressed


def test_past_256_kib_a_room_is_written_to_before_the_turn_ends(side: Side) -> None:
    lines = [side.member(number) for number in range(BATCH_FROM)]
    part = "x" * (BATCHES_AT // 4)
    for _ in range(5):  # what was added to a batch counts once that is closed
        side.broadcast(part)
    assert all(line.received == [part] * 5 for line in lines)
    side.broadcast("y")
    side.end_turn()
    assert all(line.received == [part] * 5 + ["y"] for line in lines)


def test_batches_are_forgotten_with_their_turn(side: Side) -> None:
    for number in range(BATCH_FROM):
        side.member(number)
    side.broadcast("x")
    side.end_turn()
    side.broadcast("y")
    (batch,) = side.rooms.fanout.batches.values()
    assert len(batch.frames) == 1


def test_a_room_of_closed_and_waiting_members_only_has_no_batch(side: Side) -> None:
    waiting = [Line(number, side) for number in range(BATCH_FROM)]
    for line in waiting:
        side.rooms.join(line.connection, ROOM)
    side.broadcast("x")
    assert side.rooms.fanout.batches == {}
    for line in waiting:
        line.connection._accept()
    side.end_turn()
    assert [line.received for line in waiting] == [["x"]] * BATCH_FROM


@pytest.mark.parametrize("kind", ["push", "reply"])
def test_what_one_member_is_sent_between_two_broadcasts_arrives_between_them(
    side: Side, kind: str
) -> None:
    lines = [side.member(number) for number in range(BATCH_FROM)]
    side.broadcast(1)
    if kind == "push":
        lines[3].connection.send("e", "p", 2)
    else:
        lines[3].connection.reply(2)
    side.broadcast(3)
    side.end_turn()
    assert [line.received for line in lines] == [
        [1, 2, 3] if line is lines[3] else [1, 3] for line in lines
    ]


def test_who_joins_and_leaves_between_two_broadcasts_gets_what_a_member_gets(side: Side) -> None:
    lines = [side.member(number) for number in range(BATCH_FROM)]
    joins = side.member(BATCH_FROM, room=None)
    side.broadcast(1)
    side.rooms.join(joins.connection, ROOM)
    side.broadcast(2)
    side.rooms.leave(lines[0].connection, ROOM)
    side.broadcast(3)
    side.end_turn()
    assert joins.received == [2, 3]
    assert lines[0].received == [1, 2]
    assert all(line.received == [1, 2, 3] for line in lines[1:])


def test_a_member_whose_socket_blocks_in_between_waits_alone_and_counts_every_frame(
    side: Side,
) -> None:
    lines = [side.member(number) for number in range(BATCH_FROM + 1)]
    slow = lines[0]
    side.broadcast(1)
    side.broadcast(2)
    slow.buffer.block()
    assert len(slow.buffer) == 2
    side.broadcast(3)
    side.broadcast(4)
    assert len(slow.buffer) == 4
    side.end_turn()
    assert slow.received == []
    assert all(line.received == [1, 2, 3, 4] for line in lines[1:])
    slow.buffer.unblock()
    assert slow.received == [1, 2, 3, 4]


class Fickle:
    """Somebody's own member, which joins or leaves while it is sent something."""

    def __init__(self, side: Side, id: str) -> None:
        self.id = id
        self.rooms: set[str] = set()
        self.got: list[object] = []
        self.then: Callable[[], object] = lambda: None
        side.rooms.join(self, ROOM)

    def send(self, event: str, path: str, data: object = None, params: object = None) -> None:
        self.got.append(data)
        self.then()


def test_who_leaves_or_lets_somebody_join_while_it_is_sent_to_is_heeded_at_once(
    side: Side,
) -> None:
    lines = [side.member(number) for number in range(BATCH_FROM)]
    leaves, lets_join = Fickle(side, "leaves"), Fickle(side, "lets join")
    late = side.member(BATCH_FROM, room=None)
    leaves.then = lambda: side.rooms.leave(leaves, ROOM)
    lets_join.then = lambda: side.rooms.join(late.connection, ROOM)
    side.broadcast("one")
    side.broadcast("two")
    side.end_turn()
    assert leaves.got == ["one"]
    assert lets_join.got == ["one", "two"]
    assert late.received == ["two"]
    assert all(line.received == ["one", "two"] for line in lines)


def test_senders_elsewhere_do_not_part_a_batch(side: Side) -> None:
    lines = [side.member(number) for number in range(BATCH_FROM)]
    for number in range(5):
        side.broadcast(number, f"a connection of instance {number}")
    (batch,) = side.rooms.fanout.batches.values()
    assert len(batch.frames) == 5
    side.end_turn()
    assert all(line.received == list(range(5)) for line in lines)


class BatchMachine(RuleBasedStateMachine):
    """Members of one large room, each with the list of what it must receive."""

    def __init__(self) -> None:
        super().__init__()
        self.side = Side()
        self.lines: list[Line] = []
        self.expected: list[list[object]] = []
        self.held: list[list[object]] = []  # broadcasts that wait for on_connect to end
        self.number = 0

    @initialize(joined=st.integers(BATCH_FROM - 1, MEMBERS))
    def make(self, joined: int) -> None:
        for number in range(MEMBERS):
            self.lines.append(self.side.member(number, ROOM if number < joined else None))
            self.expected.append([])
            self.held.append([])

    def _next(self) -> int:
        self.number += 1
        return self.number

    # Few are left out, so that one broadcast often follows another to the same members.
    @rule(who=st.sampled_from([None, None, 0]), by_id=st.booleans(), times=st.integers(1, 3))
    def broadcast(self, who: int | None, by_id: bool, times: int) -> None:
        exclude = None if who is None else self.lines[who].connection
        for _ in range(times):
            number = self._next()
            for index, line in enumerate(self.lines):
                connection = line.connection
                if ROOM in connection.rooms and connection is not exclude:
                    self._owe(index, number, self.expected if connection.accepted else self.held)
            by = exclude.id if by_id and exclude is not None else exclude
            self.side.broadcast(number, by)

    def _owe(self, index: int, number: int, to: list[list[object]]) -> None:
        if not self.lines[index].connection.closed:
            to[index].append(number)

    @rule(who=members)
    def push(self, who: int) -> None:
        number = self._next()
        self._owe(who, number, self.expected)
        self.lines[who].connection.send("e", "p", number)

    @rule(who=members)
    def reply(self, who: int) -> None:
        number = self._next()
        self._owe(who, number, self.expected)
        self.lines[who].connection.reply(number)

    @rule(who=members)
    def join_or_leave(self, who: int) -> None:
        connection = self.lines[who].connection
        if ROOM in connection.rooms:
            self.side.rooms.leave(connection, ROOM)
        elif not connection.closed:
            self.side.rooms.join(connection, ROOM)

    @rule(who=members)
    def block(self, who: int) -> None:
        if not self.lines[who].buffer.closed:
            self.lines[who].buffer.block()

    @rule(who=members)
    def unblock(self, who: int) -> None:
        self.lines[who].buffer.unblock()

    @precondition(lambda self: sum(not line.connection.closed for line in self.lines) > 16)
    @rule(who=members)
    def close(self, who: int) -> None:
        if not self.lines[who].connection.closed:
            self.lines[who].close(1000, "")
            assert self.lines[who].received == self.expected[who]

    @rule(who=members)
    def replace_by_one_that_is_not_accepted_yet(self, who: int) -> None:
        if self.lines[who].connection.closed:
            self.side.rooms.leave_all(self.lines[who].connection)
            self.lines[who] = Line(who, self.side)
            self.expected[who] = []
            self.held[who] = []
            self.side.rooms.join(self.lines[who].connection, ROOM)

    @rule(who=members)
    def accept(self, who: int) -> None:
        if not self.lines[who].connection.accepted:
            self.expected[who] += self.held[who]
            self.lines[who].connection._accept()

    @rule()
    def end_turn(self) -> None:
        self.side.end_turn()

    @invariant()
    def the_sizes_add_up(self) -> None:
        for line in self.lines:
            buffer = line.buffer
            shared = buffer._batch.size - buffer._batch.shared_size if buffer._batch else 0
            held = [
                len(part)
                for entry in buffer._frames
                for part in (entry.frames if isinstance(entry, Batch) else [entry])
            ]
            waiting = [len(frame) for frame, _ in buffer._waiting or ()]
            assert buffer.size + shared == sum(held) + sum(waiting)

    def teardown(self) -> None:
        for who, line in enumerate(self.lines):
            self.accept(who)
            line.buffer.unblock()
        self.side.end_turn()
        for line, expected in zip(self.lines, self.expected, strict=True):
            if not line.connection.closed:
                assert line.received == expected
        self.side.loop.close()


BatchMachine.TestCase.settings = settings(
    derandomize=True, deadline=None, max_examples=100, stateful_step_count=40
)
TestAnySequenceOfBroadcasts = BatchMachine.TestCase
