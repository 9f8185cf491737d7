"""Any sequence of puts, batches, answers, losses and ages keeps order, bounds and receipts."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from wsrooms.errors import OutboxFull, OutcomeUnknown, PermissionDenied, TransportUnavailable
from wsrooms.receipt import Receipt
from wsrooms.transports.outbox import Outbox, OutboxPolicy

MESSAGES, BYTES, AGE = 5, 16, 10


class Sent:
    """What became of one message, told by its receipt and by the broker."""

    def __init__(self, number: int, size: int, at: float) -> None:
        self.number = number
        self.size = size
        self.deadline = at + AGE
        self.receipt = Receipt()
        self.settled = 0
        self.written = 0
        self.answered = False
        self.receipt._when_done(self._done)

    def _done(self, _: Receipt) -> None:
        self.settled += 1


class OutboxMachine(RuleBasedStateMachine):
    """An outbox, and a link that writes one batch at a time, gets answers, or is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.all: list[Sent] = []
        self.by_payload: dict[bytes, Sent] = {}
        self.on_its_way: deque[Sent] = deque()
        self.log: list[int] = []
        """What the broker has taken, in order."""
        self.told_lost = 0

    @initialize(policy=st.sampled_from(["reject", "drop_oldest"]))
    def make(self, policy: OutboxPolicy) -> None:
        self.policy = policy
        self.outbox: Outbox[bytes] = Outbox(
            max_messages=MESSAGES,
            max_bytes=BYTES,
            max_age=AGE,
            policy=policy,
            on_lost=self._on_lost,
        )

    def _on_lost(self, channel: str) -> None:
        assert channel == "c"
        self.told_lost += 1

    def _open(self) -> list[Sent]:
        return [each for each in self.all if not each.receipt.done]

    @rule(size=st.integers(3, 9))
    def put(self, size: int) -> None:
        sent = Sent(len(self.all), size, self.now)
        payload = b"%03d" % sent.number + b"." * (size - 3)
        waiting = [each for each in self._open() if not each.written]
        before = len(self.outbox), self.outbox.size
        self.all.append(sent)
        self.by_payload[payload] = sent
        try:
            self.outbox.put("c", payload, sent.receipt, self.now)
        except OutboxFull as full:
            sent.receipt.settle(full)
            assert (len(self.outbox), self.outbox.size) == before  # nothing went for nothing
            flying_bytes = before[1] - sum(each.size for each in waiting)
            fits = before[0] - len(waiting) < MESSAGES and flying_bytes + size <= BYTES
            assert self.policy == "reject" or not fits
            assert before[0] == MESSAGES or before[1] + size > BYTES
            return
        dropped = [each for each in waiting if each.receipt.done]
        assert dropped == waiting[: len(dropped)]  # the oldest
        assert not dropped or self.policy == "drop_oldest"
        assert all(isinstance(each.receipt.error, OutboxFull) for each in dropped)

    @precondition(lambda self: not self.on_its_way)
    @rule(messages=st.integers(1, 4), size=st.integers(1, 20))
    def write(self, messages: int, size: int) -> None:
        resent = [each for each in self._open() if each.written and each.deadline > self.now]
        batch = [
            self.by_payload[each.payload]
            for each in self.outbox.batch(self.now, messages=messages, size=size)
        ]
        assert all(not each.receipt.done for each in batch)
        assert all(each.deadline > self.now for each in batch)
        if resent:
            assert batch == resent
        else:
            assert batch == self._open()[: len(batch)]
            assert len(batch) <= messages
            assert len(batch) <= 1 or sum(each.size for each in batch) <= size
            assert batch or not self._open()
        for each in batch:
            each.written += 1
            self.on_its_way.append(each)

    @precondition(lambda self: self.on_its_way)
    @rule(took=st.booleans())
    def answer(self, took: bool) -> None:
        sent = self.on_its_way.popleft()
        done = sent.receipt.done
        if took:
            self.outbox.confirm()
            self._taken(sent)
        else:
            self.outbox.fail(PermissionDenied("c", "no"))
        assert sent.receipt.done
        if not done:
            assert (sent.receipt.error is None) == took
        sent.answered = True

    @precondition(lambda self: self.on_its_way)
    @rule(taken=st.integers(0, 4))
    def lose(self, taken: int) -> None:
        """The link is lost; the broker had taken some, and nobody heard of it."""
        for each in list(self.on_its_way)[:taken]:
            self._taken(each)
        self.on_its_way.clear()
        self.outbox.lost()

    def _taken(self, sent: Sent) -> None:
        # A receiver drops what it has seen: only then a resent one is no duplicate.
        if sent.number not in self.log:
            assert not self.log or sent.number > max(self.log), "a later one got through before"
            self.log.append(sent.number)

    @rule(seconds=st.integers(1, 6))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        self.outbox.expire(self.now)
        for each in self.all:
            assert each.receipt.done or each.deadline > self.now

    @invariant()
    def bounds_hold_and_bytes_add_up(self) -> None:
        held = len(self.outbox)
        assert held <= MESSAGES
        assert self.outbox.size <= BYTES
        assert self.outbox.flying + self.outbox.waiting == held
        assert self.outbox.flying >= len(self.on_its_way)
        waiting = [each for each in self._open() if not each.written]
        assert self.outbox.waiting == len(waiting)
        kept = {each.number: each for each in self.on_its_way}
        kept |= {each.number: each for each in self._open()}
        assert held >= len(kept)
        if self.on_its_way or held == len(kept):
            assert self.outbox.size == sum(each.size for each in kept.values())

    @invariant()
    def every_receipt_is_settled_once_and_as_it_should_be(self) -> None:
        for each in self.all:
            assert each.settled == each.receipt.done
            error = each.receipt.error
            if isinstance(error, TransportUnavailable | OutboxFull):
                assert not each.written, "what was written is never dropped"
            if isinstance(error, OutcomeUnknown):
                assert each.written
            if each.receipt.done and error is None:
                assert each.number in self.log

    @invariant()
    def counters_say_what_happened(self) -> None:
        refused = sum(isinstance(each.receipt.error, PermissionDenied) for each in self.all)
        failed = sum(each.receipt.error is not None for each in self.all)
        never_written = sum(each.receipt.done and not each.written for each in self.all)
        assert self.outbox.failed == failed
        assert self.told_lost == never_written
        assert self.outbox.resent == sum(max(0, each.written - 1) for each in self.all)
        answered = sum(each.answered for each in self.all)
        late_refusals = answered - self.outbox.confirmed - refused
        assert late_refusals >= 0

    @invariant()
    def the_last_is_the_newest_open_one(self) -> None:
        opened = self._open()
        assert self.outbox.last is (opened[-1].receipt if opened else None)
        assert self.outbox.due == (opened[0].deadline if opened else None)

    def teardown(self) -> None:
        if not hasattr(self, "outbox"):
            return
        self.outbox.fail_all(PermissionDenied("c", "over"))
        assert (len(self.outbox), self.outbox.size) == (0, 0)
        assert all(each.settled == 1 for each in self.all)


TestAnySequenceOfBatches = OutboxMachine.TestCase
TestAnySequenceOfBatches.settings = settings(
    derandomize=True, deadline=None, max_examples=150, stateful_step_count=50
)
