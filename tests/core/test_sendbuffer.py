"""Frames keep their order, replies are never dropped, and what waits is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast, get_args

import pytest

from wsrooms.sendbuffer import FLUSH_SLICE, WRITE_AT, Flusher, SendBuffer, SlowClient

POLICIES: list[SlowClient] = list(get_args(SlowClient))


class Turns:
    """A loop that runs when it is told to, with a clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ready: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.ready.append(call)

    def run_one(self) -> None:
        """One turn: what is scheduled during it belongs to the next."""
        ready, self.ready = self.ready, []
        for call in ready:
            call()


class Counters:
    """Counts, and knows how much of it a socket has looked at."""

    def __init__(self) -> None:
        self.writes = self.messages_out = self.seen = 0


class Socket:
    """Takes what is written until it is full; asks for a pause in the middle of a write."""

    def __init__(self, counters: Counters | None = None) -> None:
        self.writes: list[tuple[bytes, int]] = []
        self.slow: list[int] = []
        self.room: float = float("inf")
        self.gone = False
        self.buffer: SendBuffer | None = None
        self._counters = counters or Counters()

    def write(self, data: bytes) -> None:
        counted = self._counters
        self.writes.append((data, counted.messages_out - counted.seen))
        counted.seen = counted.messages_out
        self.room -= len(data)
        if self.room < 0 and self.buffer is not None:
            self.buffer.block()

    def is_closing(self) -> bool:
        return self.gone

    @property
    def sent(self) -> bytes:
        return b"".join(data for data, _ in self.writes)


class Line:
    """A buffer between a :class:`Turns` and a :class:`Socket`."""

    def __init__(
        self,
        policy: SlowClient = "close",
        *,
        limit_bytes: int = 1000,
        limit_messages: int = 100,
        turns: Turns | None = None,
        flusher: Flusher | None = None,
    ) -> None:
        self.turns = turns or Turns()
        self.counters = Counters()
        self.flusher = flusher or Flusher(
            self.turns.call_soon, lambda: self.turns.now, self.counters
        )
        self.socket = Socket(cast("Counters", self.flusher.counters))
        self.buffer = SendBuffer(
            self.flusher,
            self.socket,
            self.socket.slow.append,
            limit_bytes=limit_bytes,
            limit_messages=limit_messages,
            policy=policy,
        )
        self.socket.buffer = self.buffer


# While the socket takes what is written


def test_frames_of_one_turn_are_one_write() -> None:
    line = Line()
    for frame in (b"a", b"b", b"c"):
        line.buffer.push(frame)
    line.buffer.keep(b"d")
    assert line.socket.writes == []
    assert (len(line.buffer), line.buffer.size) == (4, 4)
    line.turns.run_one()
    assert line.socket.writes == [(b"abcd", 4)]
    assert (len(line.buffer), line.buffer.size) == (0, 0)


def test_a_single_frame_is_written_without_a_copy() -> None:
    line = Line()
    frame = b"only one"
    line.buffer.push(frame)
    line.turns.run_one()
    assert line.socket.writes[0][0] is frame


def test_the_next_turn_is_the_next_write() -> None:
    line = Line()
    line.buffer.keep(b"a")
    line.turns.run_one()
    line.buffer.keep(b"b")
    line.turns.run_one()
    line.turns.run_one()
    assert line.socket.writes == [(b"a", 1), (b"b", 1)]


@pytest.mark.parametrize("kept", [False, True])
def test_past_64_kib_a_turn_is_written_before_it_ends(kept: bool) -> None:
    line = Line()
    send = line.buffer.keep if kept else line.buffer.push
    send(b"x" * WRITE_AT)
    assert line.socket.writes == []
    send(b"y")
    assert line.socket.writes == [(b"x" * WRITE_AT + b"y", 2)]
    send(b"z")
    line.turns.run_one()
    assert line.socket.writes[1:] == [(b"z", 1)]


def test_a_socket_that_is_gone_is_not_written_to_again_and_again_before_that_is_known() -> None:
    line = Line()
    line.socket.gone = True
    for _ in range(5):
        line.buffer.push(b"x" * WRITE_AT)
    line.turns.run_one()
    assert line.socket.writes == []
    assert line.buffer.closed


def test_writes_and_frames_are_counted() -> None:
    line = Line()
    line.buffer.push(b"a")
    line.buffer.keep(b"b")
    line.turns.run_one()
    line.buffer.push(b"c")
    line.turns.run_one()
    assert (line.counters.writes, line.counters.messages_out) == (2, 3)


def test_a_fast_reader_has_no_bound() -> None:
    line = Line(limit_bytes=1, limit_messages=1)
    for _ in range(50):
        line.buffer.push(b"abc")
    line.turns.run_one()
    assert line.socket.writes == [(b"abc" * 50, 50)]
    assert line.socket.slow == []


# While it does not


def test_what_waits_for_a_blocked_socket_is_written_at_once_when_it_takes_frames_again() -> None:
    line = Line()
    line.buffer.push(b"a")
    line.buffer.block()
    line.turns.run_one()
    line.buffer.push(b"b")
    line.buffer.keep(b"c")
    line.buffer.push(b"d")
    assert line.socket.writes == []
    assert (len(line.buffer), line.buffer.size) == (4, 4)
    line.buffer.unblock()
    assert line.socket.writes == [(b"abcd", 4)]
    assert (len(line.buffer), line.buffer.size) == (0, 0)


def test_a_socket_that_fills_up_while_it_is_given_what_waited_blocks_again() -> None:
    line = Line()
    line.buffer.block()
    line.buffer.push(b"ab")
    line.socket.room = 1
    line.buffer.unblock()
    assert line.buffer.blocked
    line.buffer.push(b"c")
    line.turns.run_one()
    assert line.socket.sent == b"ab"
    line.socket.room = 10
    line.buffer.unblock()
    assert line.socket.sent == b"abc"


def test_unblocking_an_empty_buffer_writes_nothing() -> None:
    line = Line()
    line.buffer.block()
    line.buffer.unblock()
    assert line.socket.writes == []


def test_by_default_a_push_that_does_not_fit_asks_for_the_end_of_the_connection() -> None:
    line = Line("close", limit_bytes=4)
    line.buffer.block()
    line.buffer.push(b"abcd")
    assert line.socket.slow == []
    line.buffer.push(b"e")
    assert line.socket.slow == [0]
    assert (len(line.buffer), line.buffer.size) == (1, 4)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_number_of_messages_is_a_bound_too(policy: SlowClient) -> None:
    line = Line(policy, limit_messages=2)
    line.buffer.block()
    for frame in (b"a", b"b", b"c"):
        line.buffer.push(frame)
    line.buffer.unblock()
    expected = {"close": b"ab", "drop_newest": b"ab", "drop_oldest": b"bc"}[policy]
    assert line.socket.sent == expected
    assert line.socket.slow == [0 if policy == "close" else 1]


def test_drop_oldest_drops_as_many_as_the_new_one_needs_and_says_how_many() -> None:
    line = Line("drop_oldest", limit_bytes=6)
    line.buffer.block()
    for frame in (b"aa", b"bb", b"cc", b"dddd"):
        line.buffer.push(frame)
    assert line.socket.slow == [2]
    line.buffer.unblock()
    assert line.socket.sent == b"ccdddd"


def test_a_frame_that_could_never_fit_drops_itself_and_no_other() -> None:
    line = Line("drop_oldest", limit_bytes=4)
    line.buffer.block()
    line.buffer.push(b"ab")
    line.buffer.push(b"12345")
    assert line.socket.slow == [1]
    line.buffer.unblock()
    assert line.socket.sent == b"ab"


@pytest.mark.parametrize("policy", POLICIES)
def test_replies_are_kept_past_every_bound_and_in_order(policy: SlowClient) -> None:
    line = Line(policy, limit_bytes=4, limit_messages=2)
    line.buffer.block()
    line.buffer.push(b"a")
    for frame in (b"R1", b"R2", b"R3"):
        line.buffer.keep(frame)
    line.buffer.push(b"z")
    assert line.buffer.full
    line.buffer.unblock()
    # Oldest first: "a" makes no room for "z" where the replies alone fill the buffer.
    assert line.socket.sent == (b"R1R2R3" if policy == "drop_oldest" else b"aR1R2R3")
    assert line.socket.slow == [{"close": 0, "drop_newest": 1, "drop_oldest": 2}[policy]]


def test_drop_oldest_steps_over_replies_and_leaves_them_where_they_were() -> None:
    line = Line("drop_oldest", limit_messages=4)
    line.buffer.block()
    line.buffer.push(b"a")
    line.buffer.keep(b"R")
    line.buffer.push(b"b")
    line.buffer.push(b"c")
    for frame in (b"d", b"e"):
        line.buffer.push(frame)
    line.buffer.unblock()
    assert line.socket.sent == b"Rcde"
    assert line.socket.slow == [1, 1]


def test_the_turn_in_which_the_socket_blocked_is_not_dropped() -> None:
    line = Line("drop_oldest", limit_messages=2)
    line.buffer.push(b"a")
    line.buffer.push(b"b")
    line.buffer.block()
    line.buffer.push(b"c")
    line.buffer.unblock()
    assert line.socket.sent == b"ab"
    assert line.socket.slow == [1]


def test_a_buffer_is_full_only_while_blocked_and_at_a_bound() -> None:
    line = Line("drop_newest", limit_bytes=4, limit_messages=2)
    full: list[bool] = []
    line.buffer.keep(b"abcde")
    full.append(line.buffer.full)
    line.turns.run_one()
    line.buffer.block()
    line.buffer.push(b"abcd")
    full.append(line.buffer.full)
    line.buffer.keep(b"e")
    full.append(line.buffer.full)
    line.buffer.unblock()
    full.append(line.buffer.full)
    assert full == [False, False, True, False]


def test_whether_something_fits_can_be_asked_beforehand() -> None:
    buffer = Line(limit_bytes=10, limit_messages=3).buffer
    assert buffer.fits(10, 2)
    assert not buffer.fits(11, 2)
    assert not buffer.fits(10, 3)


# The end


def test_a_closed_buffer_ignores_everything() -> None:
    line = Line(limit_bytes=2)
    line.buffer.push(b"a")
    line.buffer.block()
    line.buffer.push(b"b")
    line.buffer.close()
    assert (len(line.buffer), line.buffer.size) == (0, 0)
    line.buffer.push(b"c")
    line.buffer.keep(b"d")
    line.buffer.unblock()
    line.buffer.push(b"e")
    line.buffer.keep(b"f")
    line.buffer.flush()
    line.turns.run_one()
    assert line.socket.writes == []
    assert line.socket.slow == []


# The flusher


def test_buffers_are_flushed_in_the_order_in_which_they_got_something() -> None:
    turns = Turns()
    lines = dict(zip("abc", many_lines(turns, 3, send=b""), strict=True))
    order: list[str] = []
    for line in lines.values():
        line.buffer._write = lambda data: order.append(data.decode())
    for name in "cab":
        lines[name].buffer.push(name.encode())
    assert len(turns.ready) == 1
    turns.run_one()
    assert order == ["c", "a", "b"]
    assert turns.ready == []


def many_lines(turns: Turns, count: int, send: bytes = b"x") -> list[Line]:
    flusher = Flusher(turns.call_soon, lambda: turns.now, Counters())
    lines = [Line(turns=turns, flusher=flusher) for _ in range(count)]
    for line in lines:
        if send:
            line.buffer.push(send)
    return lines


def written(lines: list[Line]) -> int:
    return sum(len(line.socket.writes) for line in lines)


def test_a_flush_that_takes_too_long_goes_on_in_the_next_turn() -> None:
    turns = Turns()
    lines = many_lines(turns, 200)

    def slow_write(data: bytes) -> None:
        turns.now += FLUSH_SLICE / 32
        Socket.write(lines[0].socket, data)

    for line in lines:
        line.buffer._write = slow_write
    turns.run_one()
    assert written(lines) == 64  # the clock is looked at once in 64 writes
    while turns.ready:
        turns.run_one()
    assert written(lines) == 200


def test_a_flush_that_is_fast_enough_is_done_in_one_turn() -> None:
    turns = Turns()
    lines = many_lines(turns, 1000)
    turns.run_one()
    assert written(lines) == 1000
    assert turns.ready == []


def test_a_write_that_raises_does_not_keep_the_others_from_their_turn() -> None:
    turns = Turns()
    lines = many_lines(turns, 3)

    def broken(data: bytes) -> None:
        raise OSError("broken")

    lines[1].buffer._write = broken
    with pytest.raises(OSError, match="broken"):
        turns.run_one()
    turns.run_one()
    assert [len(line.socket.writes) for line in lines] == [1, 0, 1]
    lines[0].buffer.push(b"y")
    turns.run_one()
    assert lines[0].socket.sent == b"xy"


def test_what_has_displaced_older_pushes_is_displaced_by_newer_ones() -> None:
    line = Line("drop_oldest", limit_bytes=10)
    line.buffer.block()
    for frame in (b"a" * 10, b"b" * 10, b"c" * 10):
        line.buffer.push(frame)
    assert line.socket.slow == [1, 1]
    line.buffer.unblock()
    assert line.socket.sent == b"c" * 10


def test_a_push_as_large_as_the_bound_displaces_all_that_waits() -> None:
    line = Line("drop_oldest", limit_bytes=10)
    line.buffer.block()
    line.buffer.push(b"a" * 4)
    line.buffer.push(b"b" * 10)
    assert line.socket.slow == [1]
    line.buffer.push(b"c" * 11)
    line.buffer.unblock()
    assert line.socket.slow == [1, 1]
    assert line.socket.sent == b"b" * 10
