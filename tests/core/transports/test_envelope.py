"""Tagged payloads are told from everything else, and their numbers tell what is missing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wsrooms.transports.envelope import (
    DELIVER,
    DUPLICATE,
    Envelope,
    Sequencer,
    SequenceWatch,
    Verdict,
    new_instance_id,
    parse,
    wrap,
)

DETERMINISTIC = settings(derandomize=True, deadline=None)
MOST = 2**63 - 1


# The form


def test_an_instance_id_is_16_random_hex_digits() -> None:
    ids = {new_instance_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[0-9a-f]{16}", id) for id in ids)


def test_a_payload_travels_behind_four_fields() -> None:
    assert wrap("0123456789abcdef", 1, 7, '{"a": 1}') == '1 0123456789abcdef 1 7 {"a": 1}'


@DETERMINISTIC
@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64),
    st.integers(0, MOST),
    st.integers(1, MOST),
    st.text(st.characters() | st.sampled_from(" \n\0\ud800")),
)
def test_any_envelope_round_trips(instance: str, epoch: int, seq: int, payload: str) -> None:
    assert parse(wrap(instance, epoch, seq, payload)) == Envelope(instance, epoch, seq, payload)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        '{"event":"e","path":"p"}',
        "1 i 1 1",  # the last space is missing
        "2 i 1 1 x",
        "01 i 1 1 x",
        " 1 i 1 1 x",
        "1  1 1 x",
        "1 i 1 x",
        "1 i j 1 1 x",
        "1 ï 1 1 x",
        "1 i 1 0 x",
        "1 i 1 -1 x",
        "1 i -1 1 x",
        "1 i +1 1 x",
        "1 i 01 1 x",
        "1 i 1 01 x",
        "1 i 1.5 1 x",
        "1 i \u0661 1 x",  # a digit, but no ASCII one
        f"1 i 1 {2**63} x",
        f"1 i {2**63} 1 x",
        "1 i 1 " + "9" * 30 + " x",
        "1 " + "i" * 65 + " 1 1 x",
        "1\ti\t1\t1\tx",
        "1 i\n1 1 x",
    ],
)
def test_everything_else_is_foreign(text: str) -> None:
    assert parse(text) is None


@DETERMINISTIC
@given(st.text("1 i09-\n") | st.text())
def test_any_text_is_an_envelope_that_round_trips_or_foreign(text: str) -> None:
    envelope = parse(text)
    if envelope is not None:
        assert wrap(*envelope) == text


# Counting what is sent


def test_each_channel_counts_from_one() -> None:
    sequencer = Sequencer(10)
    assert [sequencer.next("a") for _ in range(3)] == [(1, 1), (1, 2), (1, 3)]
    assert sequencer.next("b") == (1, 1)
    assert sequencer.next("a") == (1, 4)


def test_a_channel_that_was_forgotten_counts_anew_in_a_greater_epoch() -> None:
    sequencer = Sequencer(2)
    sequencer.next("a")
    sequencer.next("b")
    sequencer.next("a")
    sequencer.next("c")  # b is the least recently used
    assert sequencer.next("a") == (1, 3)
    assert sequencer.next("b") == (2, 1)  # and takes the place of c
    assert sequencer.next("c") == (3, 1)


@DETERMINISTIC
@given(st.integers(1, 4), st.lists(st.sampled_from("abcdef"), max_size=60))
def test_the_numbers_of_a_channel_only_grow(limit: int, channels: list[str]) -> None:
    sequencer = Sequencer(limit)
    last: dict[str, tuple[int, int]] = {}
    for channel in channels:
        epoch, seq = sequencer.next(channel)
        if channel in last and last[channel][0] == epoch:
            assert seq == last[channel][1] + 1
        else:
            assert seq == 1
            assert epoch > last.get(channel, (0, 0))[0]
        last[channel] = (epoch, seq)
        assert len(sequencer._counters) <= limit


# Judging what is received


def judge_all(watch: SequenceWatch, *numbers: tuple[int, int]) -> list[Verdict]:
    return [watch.judge("c", "i", epoch, seq, 0) for epoch, seq in numbers]


def test_numbers_in_order_are_delivered() -> None:
    assert judge_all(SequenceWatch(), (1, 1), (1, 2), (1, 3)) == [DELIVER] * 3


def test_what_was_sent_before_a_publisher_was_first_seen_is_no_gap() -> None:
    assert judge_all(SequenceWatch(), (4, 500), (4, 501)) == [DELIVER] * 2


def test_a_gap_is_told_once_with_its_size() -> None:
    verdicts = judge_all(SequenceWatch(), (1, 1), (1, 5), (1, 6))
    assert verdicts == [DELIVER, Verdict(True, 3), DELIVER]


def test_what_comes_again_or_late_is_a_duplicate() -> None:
    verdicts = judge_all(SequenceWatch(), (1, 5), (1, 5), (1, 4), (0, 9), (1, 6))
    assert verdicts == [DELIVER, DUPLICATE, DUPLICATE, DUPLICATE, DELIVER]


def test_in_a_greater_epoch_all_before_the_first_that_comes_is_missing() -> None:
    assert judge_all(SequenceWatch(), (1, 5), (2, 1)) == [DELIVER, DELIVER]
    assert judge_all(SequenceWatch(), (1, 5), (3, 4)) == [DELIVER, Verdict(True, 3)]
    assert judge_all(SequenceWatch(), (1, 5), (2, 1), (1, 6)) == [DELIVER, DELIVER, DUPLICATE]


def test_publishers_and_channels_do_not_disturb_each_other() -> None:
    watch = SequenceWatch()
    watch.judge("c", "i", 1, 1, 0)
    assert watch.judge("c", "j", 1, 7, 0) == DELIVER
    assert watch.judge("d", "i", 1, 9, 0) == DELIVER
    assert watch.judge("c", "i", 1, 2, 0) == DELIVER
    assert len(watch) == 3


def test_what_passed_while_nobody_listened_is_no_gap_and_a_late_duplicate_is_still_known() -> None:
    watch = SequenceWatch()
    watch.judge("c", "i", 1, 3, 0)
    watch.unsubscribed("c", 1)
    assert watch.judge("c", "i", 1, 3, 2) == DUPLICATE
    assert watch.judge("c", "i", 1, 40, 2) == DELIVER
    assert watch.judge("c", "i", 1, 42, 2) == Verdict(True, 1)


def test_a_new_epoch_after_nobody_listened_is_no_gap_either() -> None:
    watch = SequenceWatch()
    watch.judge("c", "i", 1, 3, 0)
    watch.unsubscribed("c", 1)
    assert watch.judge("c", "i", 2, 9, 2) == DELIVER
    assert watch.judge("c", "i", 2, 11, 2) == Verdict(True, 1)


def test_unsubscribing_what_was_never_heard_is_harmless() -> None:
    watch = SequenceWatch()
    watch.unsubscribed("c", 0)
    assert len(watch) == 0


def test_a_publisher_that_was_silent_for_too_long_is_forgotten() -> None:
    watch = SequenceWatch(forget_after=60)
    watch.judge("c", "i", 1, 1, 0)
    watch.judge("c", "j", 1, 1, 30)
    assert watch.judge("c", "j", 1, 2, 61) == DELIVER
    assert len(watch) == 1
    assert watch.judge("c", "i", 1, 9, 61) == DELIVER


def test_a_publisher_that_was_silent_just_not_too_long_is_known() -> None:
    watch = SequenceWatch(forget_after=60)
    watch.judge("c", "i", 1, 1, 0)
    assert watch.judge("c", "i", 1, 3, 60) == Verdict(True, 1)


def test_of_too_many_publishers_the_one_silent_for_longest_is_forgotten() -> None:
    watch = SequenceWatch(publishers=2)
    watch.judge("c", "i", 1, 1, 0)
    watch.judge("c", "j", 1, 1, 1)
    watch.judge("c", "i", 1, 2, 2)
    watch.judge("c", "k", 1, 1, 3)
    assert len(watch) == 2
    assert watch.judge("c", "i", 1, 4, 4) == Verdict(True, 1)
    assert watch.judge("c", "j", 1, 1, 4) == DELIVER


def test_a_channel_unsubscribed_after_long_silence_leaves_nothing_behind() -> None:
    watch = SequenceWatch(forget_after=60)
    watch.judge("c", "i", 1, 1, 0)
    watch.unsubscribed("c", 100)
    assert watch._channels == {}


def test_the_silent_are_swept_from_all_channels_now_and_then() -> None:
    watch = SequenceWatch(forget_after=60)
    for channel in ("a", "b"):
        watch.judge(channel, "i", 1, 1, 0)
    watch.judge("b", "j", 1, 1, 50)
    watch.forget_old(61)
    assert len(watch) == 1
    assert list(watch._channels) == ["b"]
    watch.judge("d", "i", 1, 1, 61)
    watch.forget_old(120)
    assert len(watch) == 2
    watch.forget_old(122)
    assert watch._channels == {}


def test_sweeping_for_each_of_many_channels_looks_through_them_once() -> None:
    watch = SequenceWatch(forget_after=60)
    looked_at: list[str] = []

    class Channels(dict[str, Any]):
        def __getitem__(self, channel: str) -> Any:
            looked_at.append(channel)
            return super().__getitem__(channel)

    for number in range(100):
        watch.judge(str(number), "i", 1, 1, 0)
    watch._channels = Channels(watch._channels)
    for _ in range(100):
        watch.forget_old(10)
    assert len(looked_at) == 200  # two look-ups of each, once


class WatchMachine(RuleBasedStateMachine):
    """Publishers send, a hostile bus loses, repeats and reorders; the watch knows what happened.

    The model keeps, for each publisher, the set of all numbers that were delivered; time
    does not pass, so nothing is forgotten.
    """

    def __init__(self) -> None:
        super().__init__()
        self.watch = SequenceWatch()
        self.sequencers = {name: Sequencer(2) for name in "ij"}
        self.sent: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self.last: dict[tuple[str, str], int] = {}
        self.away: set[tuple[str, str]] = set()

    @rule(
        channel=st.sampled_from("abc"),
        publisher=st.sampled_from("ij"),
        lost=st.integers(0, 2),
    )
    def publish(self, channel: str, publisher: str, lost: int) -> None:
        key = (channel, publisher)
        sent = self.sent.setdefault(key, [])
        for _ in range(lost + 1):
            sent.append(self.sequencers[publisher].next(channel))
        self._deliver(key, len(sent) - 1)

    @rule(
        channel=st.sampled_from("abc"),
        publisher=st.sampled_from("ij"),
        back=st.integers(0, 5),
    )
    def deliver_an_old_one(self, channel: str, publisher: str, back: int) -> None:
        key = (channel, publisher)
        index = len(self.sent.get(key, [])) - 1 - back
        if index >= 0 and key in self.last:
            self._deliver(key, index)

    def _deliver(self, key: tuple[str, str], index: int) -> None:
        epoch, seq = self.sent[key][index]
        verdict = self.watch.judge(key[0], key[1], epoch, seq, 0)
        last = self.last.get(key)
        if last is not None and index <= last:
            assert verdict == DUPLICATE
            return
        assert verdict.deliver
        if last is None or key in self.away:
            assert verdict.missing == 0
        else:
            # Exactly what was sent in between, as far as numbers can tell: of an epoch that
            # ended unheard nobody knows how far it went.
            between = self.sent[key][last + 1 : index]
            old_epoch = self.sent[key][last][0]
            known = [number for number in between if number[0] == epoch]
            assert verdict.missing == len(known)
            if epoch == old_epoch:
                assert verdict.missing == len(between)
        self.last[key] = index
        self.away.discard(key)

    @rule(channel=st.sampled_from("abc"))
    def unsubscribe(self, channel: str) -> None:
        self.watch.unsubscribed(channel, 0)
        self.away |= {key for key in self.last if key[0] == channel}

    @invariant()
    def it_knows_whom_it_heard(self) -> None:
        assert len(self.watch) == len(self.last)


TestAnyHistoryOfABus = WatchMachine.TestCase
TestAnyHistoryOfABus.settings = settings(
    derandomize=True, deadline=None, max_examples=60, stateful_step_count=40
)
