"""What was written is confirmed, refused, written again or unknown; never dropped, never late."""

from __future__ import annotations

import pytest

from wsrooms.errors import OutboxFull, OutcomeUnknown, PermissionDenied
from wsrooms.receipt import Receipt
from wsrooms.transports.outbox import Outbox, OutboxPolicy

DENIED = PermissionDenied("c", "no")


def make(
    *payloads: str,
    max_messages: int = 4,
    max_bytes: int = 100,
    policy: OutboxPolicy = "reject",
) -> tuple[Outbox[str], list[Receipt]]:
    outbox: Outbox[str] = Outbox(
        max_messages=max_messages, max_bytes=max_bytes, max_age=5, policy=policy
    )
    return outbox, [put(outbox, payload) for payload in payloads]


def put(outbox: Outbox[str], payload: str, now: float = 0) -> Receipt:
    receipt = Receipt()
    outbox.put("c", payload, receipt, now)
    return receipt


def batch(outbox: Outbox[str], now: float = 0, *, messages: int = 10, size: int = 100) -> list[str]:
    return [each.payload for each in outbox.batch(now, messages=messages, size=size)]


def due(outbox: Outbox[str]) -> float | None:
    return outbox.due


def last(outbox: Outbox[str]) -> Receipt | None:
    return outbox.last


def test_a_batch_is_confirmed_message_by_message_in_order() -> None:
    outbox, (a, b, c) = make("a", "b", "c")
    assert batch(outbox, messages=2) == ["a", "b"]
    assert (outbox.flying, outbox.waiting, len(outbox), outbox.size) == (2, 1, 3, 3)
    outbox.confirm()
    assert (a.done, a.error, b.done) == (True, None, False)
    outbox.confirm()
    assert (b.done, c.done) == (True, False)
    assert batch(outbox) == ["c"]
    outbox.confirm()
    assert (outbox.confirmed, outbox.failed, outbox.resent) == (3, 0, 0)
    assert (len(outbox), outbox.size, batch(outbox)) == (0, 0, [])


def test_a_batch_ends_before_it_has_too_many_bytes_but_has_one_message_always() -> None:
    outbox, _ = make("aaaa", "bbb", "c")
    assert batch(outbox, size=3) == ["aaaa"]
    outbox.confirm()
    assert batch(outbox, size=4) == ["bbb", "c"]


def test_a_message_that_the_broker_refuses_fails_and_the_others_go_on() -> None:
    outbox, (a, b) = make("a", "b")
    batch(outbox)
    outbox.fail(DENIED)
    outbox.confirm()
    assert (a.error, b.error) == (DENIED, None)
    assert (outbox.confirmed, outbox.failed, outbox.size) == (1, 1, 0)


def test_what_is_unconfirmed_is_written_again_before_anything_else() -> None:
    outbox, (a, b, c) = make("a", "b", "c")
    batch(outbox, messages=2)
    outbox.confirm()
    outbox.lost()
    assert batch(outbox) == ["b"]
    assert outbox.resent == 1
    outbox.confirm()
    assert batch(outbox) == ["c"]
    assert (a.error, b.error, c.done) == (None, None, False)


def test_what_was_never_written_is_not_counted_as_written_again() -> None:
    outbox, _ = make("a")
    outbox.lost()
    batch(outbox)
    assert outbox.resent == 0


# Written and too old


def test_what_was_written_and_is_too_old_has_an_unknown_outcome_and_keeps_its_place() -> None:
    outbox, (a,) = make("a")
    b = put(outbox, "b", now=3)
    batch(outbox)
    outbox.expire(5)
    assert isinstance(a.error, OutcomeUnknown)
    assert str(a.error) == "a publish on c was written and not confirmed within 5 s"
    assert (b.done, outbox.flying, outbox.size, outbox.failed) == (False, 2, 2, 1)
    outbox.confirm()  # of a
    assert not b.done
    outbox.confirm()
    assert b.error is None
    assert outbox.size == 0


def test_a_refusal_of_what_was_given_up_changes_nothing_for_its_sender() -> None:
    outbox, (a,) = make("a")
    batch(outbox)
    outbox.expire(5)
    outbox.fail(DENIED)
    assert isinstance(a.error, OutcomeUnknown)
    assert (outbox.failed, len(outbox), outbox.size) == (1, 0, 0)


def test_what_was_given_up_is_forgotten_with_its_link() -> None:
    outbox, (_a,) = make("a")
    put(outbox, "b", now=3)
    batch(outbox)
    outbox.expire(5)
    outbox.lost()
    assert (len(outbox), outbox.size) == (1, 1)
    assert batch(outbox, now=5) == ["b"]


def test_what_became_too_old_while_there_was_no_link_is_not_written_again() -> None:
    outbox, (a,) = make("a")
    b = put(outbox, "b", now=3)
    batch(outbox)
    outbox.lost()
    outbox.expire(5)  # the transport's watch
    assert isinstance(a.error, OutcomeUnknown)
    assert batch(outbox, now=5) == ["b"]
    assert (outbox.resent, outbox.size) == (1, 1)
    outbox.confirm()
    assert b.error is None


def test_what_is_too_old_at_the_very_moment_of_the_batch_is_not_written_again() -> None:
    outbox, (a,) = make("a")
    batch(outbox)
    outbox.lost()
    assert batch(outbox, now=5) == []
    assert isinstance(a.error, OutcomeUnknown)
    assert len(outbox) == 0


def test_when_the_next_will_be_too_old_can_be_told() -> None:
    outbox, _ = make()
    assert due(outbox) is None
    put(outbox, "a", now=1)
    put(outbox, "b", now=2)
    assert due(outbox) == 6
    batch(outbox, messages=1)
    assert due(outbox) == 6
    outbox.expire(6)
    assert due(outbox) == 7  # what was given up has nothing to wait for
    outbox.lost()
    assert batch(outbox, now=6) == ["b"]
    outbox.expire(7)
    assert due(outbox) is None


# Bounds


def test_what_was_written_counts_for_the_bounds_until_it_is_confirmed() -> None:
    outbox, _ = make("a", "b", max_messages=2)
    batch(outbox)
    with pytest.raises(OutboxFull):
        put(outbox, "c")
    outbox.confirm()
    put(outbox, "c")


def test_the_oldest_that_was_not_written_makes_room_where_the_policy_says_so() -> None:
    outbox, (a, b, c) = make("a", "b", "c", max_messages=3, policy="drop_oldest")
    batch(outbox, messages=1)
    d = put(outbox, "d")
    assert isinstance(b.error, OutboxFull)
    assert [each.done for each in (a, c, d)] == [False] * 3
    assert (outbox.flying, outbox.waiting, outbox.size, outbox.failed) == (1, 2, 3, 1)
    outbox.confirm()
    assert batch(outbox) == ["c", "d"]


def test_as_many_as_needed_make_room_for_many_bytes() -> None:
    outbox, (a, b, c) = make("aa", "bb", "cc", max_bytes=6, policy="drop_oldest")
    put(outbox, "ddd")
    assert [each.done for each in (a, b, c)] == [True, True, False]
    assert outbox.size == 5


def test_nothing_is_dropped_where_what_was_written_leaves_no_room_for_one_more() -> None:
    outbox, receipts = make("a", "b", max_messages=2, policy="drop_oldest")
    batch(outbox)
    with pytest.raises(OutboxFull, match="2 messages"):
        put(outbox, "c")
    assert not any(each.done for each in receipts)


@pytest.mark.parametrize("payload", ["x" * 7, "x" * 3])
def test_nothing_is_dropped_where_that_makes_no_room_for_so_many_bytes(payload: str) -> None:
    outbox, receipts = make("aa", "bb", "cc", max_bytes=6, policy="drop_oldest")
    batch(outbox, messages=2)
    with pytest.raises(OutboxFull, match="6 bytes"):
        put(outbox, payload)
    assert not any(each.done for each in receipts)
    assert (len(outbox), outbox.size, outbox.failed) == (3, 6, 1)


def test_the_channel_of_whatever_is_never_written_is_told() -> None:
    lost: list[str] = []
    outbox: Outbox[str] = Outbox(
        max_messages=2, max_bytes=100, max_age=5, policy="drop_oldest", on_lost=lost.append
    )
    for channel in ("dropped", "written", "old"):
        outbox.put(channel, "", Receipt(), 0)
    assert lost == ["dropped"]
    assert batch(outbox, messages=1) == [""]
    outbox.expire(5)
    assert lost == ["dropped", "old"]  # what was written is not lost for sure
    outbox.put("written too", "", Receipt(), 5)
    outbox.confirm()
    batch(outbox, now=5)
    outbox.put("waiting", "x", Receipt(), 5)
    with pytest.raises(OutboxFull):
        outbox.put("refused", "x" * 101, Receipt(), 5)
    assert lost == ["dropped", "old", "refused"]


# The newest


def test_once_the_last_is_done_so_are_all() -> None:
    outbox, (a, b, c) = make("a", "b", "c")
    assert last(outbox) is c
    batch(outbox, messages=2)
    assert last(outbox) is c
    outbox.confirm()
    outbox.confirm()
    assert last(outbox) is c
    batch(outbox)
    assert last(outbox) is c
    outbox.confirm()
    assert last(outbox) is None
    assert all(each.done for each in (a, b, c))


def test_what_was_given_up_is_not_the_last() -> None:
    outbox, (a,) = make("a")
    batch(outbox)
    assert last(outbox) is a
    outbox.expire(5)
    assert outbox.flying == 1
    assert last(outbox) is None


def test_at_the_end_the_written_and_the_waiting_fail_alike() -> None:
    outbox, (a, b, c) = make("a", "b", "c")
    batch(outbox, messages=2)
    outbox.fail_all(DENIED)
    assert [each.error for each in (a, b, c)] == [DENIED] * 3
    assert (len(outbox), outbox.size, outbox.last, outbox.due, outbox.failed) == (
        0,
        0,
        None,
        None,
        3,
    )


def test_a_message_of_bytes_counts_its_bytes() -> None:
    outbox: Outbox[bytes] = Outbox(max_messages=2, max_bytes=3, max_age=5)
    message = outbox.put("c", b"\xff\xfe", Receipt(), 0)
    assert (message.size, outbox.size) == (2, 2)
    with pytest.raises(OutboxFull):
        outbox.put("c", b"\xff\xfe", Receipt(), 0)


def test_a_batch_is_settled_in_whatever_order_its_answers_come() -> None:
    outbox, (a, b, c) = make("a", "bb", "c")
    first, second, third = outbox.batch(0, messages=10, size=100)
    outbox.settle({third: None, second: DENIED})
    assert (a.done, b.error, c.done, c.error) == (False, DENIED, True, None)
    assert (outbox.flying, outbox.size, outbox.confirmed, outbox.failed) == (1, 1, 1, 1)
    assert batch(outbox) == ["a"]
    outbox.settle({first: None})
    assert (a.done, a.error, len(outbox), outbox.size) == (True, None, 0, 0)


def test_an_answer_to_what_was_given_up_makes_room_and_changes_no_outcome() -> None:
    outbox, (a,) = make("a")
    (message,) = outbox.batch(0, messages=1, size=1)
    outbox.expire(5)
    assert isinstance(a.error, OutcomeUnknown)
    outbox.settle({message: None})
    assert isinstance(a.error, OutcomeUnknown)
    assert (outbox.confirmed, outbox.failed, len(outbox), outbox.size) == (0, 1, 0, 0)
