"""Any sequence of sends, blocks and turns leaves the buffer as a naive queue would be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wsrooms.sendbuffer import Flusher, SendBuffer, SlowClient

POLICIES: list[SlowClient] = list(get_args(SlowClient))


class BufferMachine(RuleBasedStateMachine):
    """The buffer beside a naive queue of (number, droppable) pairs."""

    sizes = st.integers(2, 12)

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.delivered: list[bytes] = []
        self.dropped = 0
        self.asked_to_close = 0
        self.replies: list[bytes] = []
        self.pushes: list[bytes] = []
        self.fixed: deque[bytes] = deque()  # the turn in which it blocked
        self.queue: list[tuple[bytes, bool]] = []
        self.dropped_by_model = 0
        self.closes_by_model = 0

    @initialize(
        policy=st.sampled_from(POLICIES),
        limit_bytes=st.integers(5, 40),
        limit_messages=st.integers(1, 6),
    )
    def make(self, policy: SlowClient, limit_bytes: int, limit_messages: int) -> None:
        self.policy, self.limit_bytes, self.limit_messages = policy, limit_bytes, limit_messages
        self.turn: list[Callable[[], None]] = []
        self.buffer = SendBuffer(
            Flusher(self.turn.append, lambda: 0.0, self),
            self,
            self._slow,
            limit_bytes=limit_bytes,
            limit_messages=limit_messages,
            policy=policy,
        )

    def _run_turn(self) -> None:
        calls = self.turn.copy()
        self.turn.clear()
        for call in calls:
            call()

    writes = 0
    messages_out = 0  # as the flusher counts them

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        frames = data.split(b"|")[:-1]
        assert len(self.delivered) + len(frames) == self.messages_out
        self.delivered += [frame + b"|" for frame in frames]

    def _slow(self, dropped: int) -> None:
        if dropped:
            self.dropped += dropped
        else:
            self.asked_to_close += 1

    def _frame(self, kind: str, size: int) -> bytes:
        self.number += 1
        return f"{kind}{self.number}".ljust(size, ".").encode() + b"|"

    def _fits(self, extra: int) -> bool:
        frames = [*self.fixed, *(frame for frame, _ in self.queue)]
        size = sum(map(len, frames)) + extra
        return len(frames) < self.limit_messages and size <= self.limit_bytes

    @rule(size=sizes)
    def push(self, size: int) -> None:
        frame = self._frame("p", size)
        self.pushes.append(frame)
        if self.buffer.blocked:
            self._push_blocked(frame)
        else:
            self.queue.append((frame, True))
        self.buffer.push(frame)

    def _push_blocked(self, frame: bytes) -> None:
        if not self._fits(len(frame)):
            if self.policy == "close":
                self.closes_by_model += 1
                return
            if self.policy == "drop_oldest" and len(frame) <= self.limit_bytes:
                while not self._fits(len(frame)) and any(droppable for _, droppable in self.queue):
                    oldest = next(index for index, pair in enumerate(self.queue) if pair[1])
                    del self.queue[oldest]
                    self.dropped_by_model += 1
        if self._fits(len(frame)):
            self.queue.append((frame, True))
        else:
            self.dropped_by_model += 1

    @rule(size=sizes)
    def keep(self, size: int) -> None:
        frame = self._frame("r", size)
        self.replies.append(frame)
        self.queue.append((frame, False))
        self.buffer.keep(frame)

    @precondition(lambda self: not self.buffer.blocked)
    @rule()
    def block(self) -> None:
        self.fixed.extend(frame for frame, _ in self.queue)
        self.queue.clear()
        self.buffer.block()

    @rule()
    def unblock(self) -> None:
        self.buffer.unblock()
        self._all_out()

    @rule()
    def end_turn(self) -> None:
        self._run_turn()
        if not self.buffer.blocked:
            self._all_out()

    def _all_out(self) -> None:
        expected = [*self.fixed, *(frame for frame, _ in self.queue)]
        assert self.delivered[len(self.delivered) - len(expected) :] == expected
        self.fixed.clear()
        self.queue.clear()
        assert len(self.buffer) == self.buffer.size == 0

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "buffer"):
            return
        frames = [*self.fixed, *(frame for frame, _ in self.queue)]
        assert len(self.buffer) == len(frames)
        assert self.buffer.size == sum(map(len, frames))
        assert self.buffer.full == (self.buffer.blocked and not self._fits(0))
        assert self.dropped == self.dropped_by_model
        assert self.asked_to_close == self.closes_by_model

    def teardown(self) -> None:
        if not hasattr(self, "buffer"):
            return
        self.buffer.unblock()
        self._run_turn()
        numbers = [int(frame.strip(b"pr.|")) for frame in self.delivered]
        assert numbers == sorted(numbers)
        assert [frame for frame in self.delivered if frame.startswith(b"r")] == self.replies
        missing = len(self.pushes) + len(self.replies) - len(self.delivered)
        assert missing == self.dropped + self.asked_to_close


TestAnySequenceOfSends = BufferMachine.TestCase
TestAnySequenceOfSends.settings = settings(
    derandomize=True, deadline=None, max_examples=150, stateful_step_count=40
)
