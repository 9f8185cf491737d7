"""The outbox is bounded by count, bytes and age, keeps its order, and tells every failure."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wsrooms.errors import OutboxFull, TransportClosed, TransportUnavailable
from wsrooms.receipt import Receipt
from wsrooms.transports.outbox import Outbox


def small() -> Outbox[str]:
    return Outbox(max_messages=3, max_bytes=10, max_age=5)


def put(outbox: Outbox[str], payload: str, now: float = 0) -> Receipt:
    receipt = Receipt()
    outbox.put("c", payload, receipt, now)
    return receipt


def taken(outbox: Outbox[str], now: float = 0) -> str | None:
    message = outbox.take(now)
    return None if message is None else message.payload


def test_messages_come_out_in_the_order_of_their_calls() -> None:
    outbox = small()
    for payload in ("a", "b", "c"):
        put(outbox, payload)
    assert [taken(outbox) for _ in range(4)] == ["a", "b", "c", None]


def test_a_message_comes_out_as_it_was_put_in() -> None:
    outbox = small()
    receipt = Receipt()
    message = outbox.put("channel", "é", receipt, now=1)
    assert (message.channel, message.payload, message.receipt) == ("channel", "é", receipt)
    assert (message.deadline, message.size) == (6, 2)
    assert outbox.take(1) is message
    assert not receipt.done


def test_one_message_too_many_is_refused_and_nothing_is_added() -> None:
    outbox = small()
    for payload in ("a", "b", "c"):
        put(outbox, payload)
    with pytest.raises(OutboxFull, match="its limit of 3 messages") as caught:
        put(outbox, "d")
    assert caught.value.limit == 3
    assert (len(outbox), outbox.size) == (3, 3)
    taken(outbox)
    put(outbox, "e")


@pytest.mark.parametrize(("first", "second"), [("x" * 10, "y"), ("é" * 4, "é" * 2), ("", "x" * 11)])
def test_one_byte_too_many_is_refused(first: str, second: str) -> None:
    outbox = small()
    put(outbox, first)
    size = outbox.size
    with pytest.raises(OutboxFull, match="its limit of 10 bytes"):
        put(outbox, second)
    assert (len(outbox), outbox.size) == (1, size)


def test_what_is_exactly_at_the_bounds_fits() -> None:
    outbox = small()
    put(outbox, "éé")
    put(outbox, "x" * 6)
    put(outbox, "")
    assert (len(outbox), outbox.size) == (3, 10)


def test_what_is_too_old_fails_instead_of_coming_out() -> None:
    outbox = small()
    old = put(outbox, "old", now=0)
    new = put(outbox, "new", now=1)
    assert taken(outbox, now=5) == "new"
    assert isinstance(old.error, TransportUnavailable)
    assert str(old.error) == "not published within 5 s: the bus is slow or down"
    assert not new.done
    assert (len(outbox), outbox.size) == (0, 0)


def test_what_is_just_young_enough_comes_out() -> None:
    outbox = small()
    put(outbox, "a", now=0)
    assert taken(outbox, now=4.999) == "a"


def test_the_old_can_be_failed_without_taking_anything() -> None:
    outbox = small()
    old, new = put(outbox, "old", now=0), put(outbox, "new", now=3)
    outbox.expire(5)
    assert (old.done, new.done) == (True, False)
    assert (len(outbox), outbox.size) == (1, 3)
    outbox.expire(5)
    assert len(outbox) == 1


def test_when_everything_is_too_old_nothing_comes_out() -> None:
    outbox = small()
    receipts = [put(outbox, payload) for payload in ("a", "b")]
    assert taken(outbox, now=100) is None
    assert all(isinstance(receipt.error, TransportUnavailable) for receipt in receipts)


def test_all_can_be_failed_at_once() -> None:
    outbox = small()
    receipts = [put(outbox, payload) for payload in ("a", "b")]
    error = TransportClosed("over")
    outbox.fail_all(error)
    assert [receipt.error for receipt in receipts] == [error, error]
    assert (len(outbox), outbox.size) == (0, 0)
    outbox.fail_all(error)


class OutboxMachine(RuleBasedStateMachine):
    """The outbox beside a list of (payload, time it was put in)."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox: Outbox[str] = Outbox(max_messages=4, max_bytes=20, max_age=10)
        self.now = 0.0
        self.model: list[tuple[str, float, Receipt]] = []

    @rule(payload=st.text("aé🎉", max_size=6))
    def put(self, payload: str) -> None:
        size = sum(len(old.encode()) for old, _, _ in self.model) + len(payload.encode())
        receipt = Receipt()
        if len(self.model) >= 4 or size > 20:
            with pytest.raises(OutboxFull):
                self.outbox.put("c", payload, receipt, self.now)
        else:
            self.outbox.put("c", payload, receipt, self.now)
            self.model.append((payload, self.now, receipt))

    @rule(seconds=st.integers(0, 6))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        self._expire_model()
        message = self.outbox.take(self.now)
        if not self.model:
            assert message is None
            return
        payload, _, receipt = self.model.pop(0)
        assert message is not None
        assert (message.payload, message.receipt) == (payload, receipt)

    @rule()
    def expire(self) -> None:
        self._expire_model()
        self.outbox.expire(self.now)

    def _expire_model(self) -> None:
        self.model = [entry for entry in self.model if entry[1] + 10 > self.now]

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert len(self.outbox) == len(self.model)
        assert self.outbox.size == sum(len(payload.encode()) for payload, _, _ in self.model)
        assert not any(receipt.done for _, _, receipt in self.model)


TestAnySequenceOfPuts = OutboxMachine.TestCase
TestAnySequenceOfPuts.settings = settings(derandomize=True, deadline=None, max_examples=60)
