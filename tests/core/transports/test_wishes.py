"""Wishes become commands, and whatever becomes of those, the last wish counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from wsrooms.errors import PermissionDenied, TransportClosed, TransportError, TransportUnavailable
from wsrooms.transports.wishes import CHUNK, LINGER, Command, Wishes

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt


def hear(_: str) -> None:
    """A handler."""


def also_hear(_: str) -> None:
    """Another."""


DENIED = PermissionDenied("a", "no")


def state(receipt: Receipt) -> str:
    if not receipt.done:
        return "open"
    return "confirmed" if receipt.error is None else type(receipt.error).__name__


def due(wishes: Wishes) -> float | None:
    return wishes.due


def restored(wishes: Wishes) -> bool:
    return wishes.restored


def subscribed(*channels: str) -> Wishes:
    """Wishes that the broker has confirmed."""
    wishes = Wishes()
    for channel in channels:
        wishes.want(channel, hear)
    wishes.commands(0)
    for channel in channels:
        wishes.answered(channel)
    return wishes


def shown(commands: list[Command]) -> list[str]:
    return [f"{command.kind} {' '.join(command.channels)}" for command in commands]


# Wishing


def test_a_wish_is_asked_for_once_and_done_when_the_broker_has_confirmed() -> None:
    wishes = Wishes()
    receipt = wishes.want("a", hear)
    assert shown(wishes.commands(0)) == ["subscribe a"]
    assert wishes.commands(0) == []
    assert (state(receipt), wishes.confirmed("a")) == ("open", False)
    wishes.answered("a")
    assert (state(receipt), wishes.confirmed("a")) == ("confirmed", True)


def test_all_that_is_wished_can_be_told_and_counted() -> None:
    wishes = subscribed("a", "b")
    wishes.unwant("a", 0)
    wishes.want("c", hear)
    assert list(wishes) == ["b", "c"]
    assert len(wishes) == 2
    assert wishes.handler("b") is hear
    assert (wishes.handler("a"), wishes.handler("x")) == (None, None)
    assert not wishes.confirmed("x")


def test_wishing_a_second_time_replaces_the_handler_and_asks_nobody() -> None:
    wishes = subscribed("a")
    assert state(wishes.want("a", also_hear)) == "confirmed"
    assert wishes.handler("a") is also_hear
    assert wishes.commands(0) == []
    assert len(wishes) == 1


def test_all_who_wait_for_one_channel_are_told_together() -> None:
    wishes = Wishes()
    receipts = [wishes.want("a", hear), wishes.want("a", also_hear)]
    wishes.commands(0)
    receipts.append(wishes.want("a", hear))
    assert wishes.commands(0) == []
    wishes.answered("a")
    assert [state(each) for each in receipts] == ["confirmed"] * 3


def test_many_wishes_are_asked_for_in_chunks_and_in_their_order() -> None:
    wishes = Wishes()
    names = [str(number) for number in range(2 * CHUNK + 1)]
    for name in names:
        wishes.want(name, hear)
    commands = wishes.commands(0)
    assert [len(command.channels) for command in commands] == [CHUNK, CHUNK, 1]
    assert [name for command in commands for name in command.channels] == names


def test_a_flap_before_anything_was_sent_costs_nothing() -> None:
    wishes = Wishes()
    receipt = wishes.want("a", hear)
    wishes.unwant("a", 0)
    assert (wishes.commands(0), state(receipt)) == ([], "TransportUnavailable")
    assert wishes._wishes == {}


# Wishing away


def test_who_waits_is_told_when_it_is_wished_away() -> None:
    wishes = Wishes()
    receipt = wishes.want("a", hear)
    wishes.commands(0)
    wishes.unwant("a", 0)
    assert isinstance(receipt.error, TransportUnavailable)
    assert str(receipt.error) == "unsubscribed before it was confirmed"
    wishes.answered("a")
    assert not wishes.confirmed("a")


def test_the_subscription_outlives_the_wish_for_a_while() -> None:
    wishes = subscribed("a")
    wishes.unwant("a", 10)
    assert (wishes.handler("a"), len(wishes)) == (None, 0)
    assert due(wishes) == 10 + LINGER
    assert wishes.commands(10 + LINGER - 0.01) == []
    assert shown(wishes.commands(10 + LINGER)) == ["unsubscribe a"]
    assert due(wishes) is None
    wishes.answered("a")
    assert wishes._wishes == {}


def test_a_quick_rejoin_costs_nothing_and_is_confirmed_at_once() -> None:
    wishes = subscribed("a")
    wishes.unwant("a", 0)
    assert state(wishes.want("a", also_hear)) == "confirmed"
    assert due(wishes) is None
    assert wishes.commands(100) == []
    assert wishes.handler("a") is also_hear


def test_a_rejoin_does_not_trust_a_subscription_that_is_just_being_given_up() -> None:
    wishes = subscribed("a")
    wishes.unwant("a", 0)
    assert shown(wishes.commands(LINGER)) == ["unsubscribe a"]
    receipt = wishes.want("a", hear)
    assert shown(wishes.commands(LINGER)) == ["subscribe a"]
    wishes.answered("a")  # the unsubscribe
    assert (state(receipt), wishes.confirmed("a")) == ("open", False)
    wishes.answered("a")
    assert (state(receipt), wishes.confirmed("a")) == ("confirmed", True)


def test_a_wish_away_while_the_rejoin_is_asked_for_waits_for_the_answers() -> None:
    wishes = subscribed("a")
    wishes.unwant("a", 0)
    wishes.commands(LINGER)
    wishes.want("a", hear)
    wishes.unwant("a", LINGER)  # it was not sent yet
    assert wishes.commands(100) == []
    wishes.answered("a")
    assert wishes._wishes == {}


def test_an_unsubscribe_that_is_answered_confirms_no_wish_that_was_not_asked_for_yet() -> None:
    wishes = subscribed("a")
    wishes.unwant("a", 0)
    wishes.commands(LINGER)
    receipt = wishes.want("a", hear)
    wishes.answered("a")  # the unsubscribe
    assert state(receipt) == "open"
    assert shown(wishes.commands(LINGER)) == ["subscribe a"]


def test_what_is_unsubscribed_is_never_unsubscribed_twice() -> None:
    wishes = subscribed("a")
    wishes.unwant("a", 0)
    assert shown(wishes.commands(LINGER)) == ["unsubscribe a"]
    wishes.want("a", hear)
    wishes.unwant("a", LINGER)
    assert wishes.commands(100) == []
    wishes.answered("a")
    wishes.want("a", hear)
    assert shown(wishes.commands(100)) == ["subscribe a"]


def test_wishing_away_what_is_not_wished_is_harmless() -> None:
    wishes = subscribed("a")
    wishes.unwant("x", 0)
    wishes.unwant("a", 0)
    wishes.unwant("a", 0.5)
    assert due(wishes) == LINGER
    assert len(wishes) == 0


def test_of_several_that_linger_each_goes_at_its_time() -> None:
    wishes = subscribed("a", "b")
    wishes.unwant("b", 0)
    wishes.unwant("a", 0.5)
    assert shown(wishes.commands(1.0)) == ["unsubscribe b"]
    assert due(wishes) == 1.5
    assert shown(wishes.commands(1.5)) == ["unsubscribe a"]


# Refusals


def test_a_refusal_takes_the_wish_and_tells_who_waits() -> None:
    wishes = Wishes()
    receipts = [wishes.want("a", hear), wishes.want("a", hear)]
    wishes.commands(0)
    wishes.refused("a", DENIED)
    assert [each.error for each in receipts] == [DENIED, DENIED]
    assert (len(wishes), wishes.handler("a"), wishes._wishes) == (0, None, {})
    assert wishes.commands(100) == []


def test_what_was_refused_can_be_wished_again() -> None:
    wishes = Wishes()
    wishes.want("a", hear)
    wishes.commands(0)
    wishes.refused("a", DENIED)
    receipt = wishes.want("a", hear)
    assert shown(wishes.commands(0)) == ["subscribe a"]
    wishes.answered("a")
    assert state(receipt) == "confirmed"


def test_a_refusal_after_the_wish_is_gone_leaves_nothing() -> None:
    wishes = Wishes()
    wishes.want("a", hear)
    wishes.commands(0)
    wishes.unwant("a", 0)
    wishes.refused("a", DENIED)
    assert (wishes._wishes, wishes.due, len(wishes)) == ({}, None, 0)
    assert wishes.commands(100) == []


def test_a_refusal_that_a_later_command_has_overtaken_decides_nothing() -> None:
    wishes = Wishes()
    wishes.want("a", hear)
    wishes.commands(0)
    wishes.unwant("a", 0)
    wishes.commands(LINGER)  # unsubscribe
    receipt = wishes.want("a", hear)
    wishes.commands(LINGER)
    wishes.refused("a", DENIED)
    wishes.answered("a")
    assert state(receipt) == "open"
    wishes.answered("a")
    assert state(receipt) == "confirmed"


def test_a_refused_unsubscribe_takes_a_new_wish_that_was_not_asked_for_yet() -> None:
    wishes = subscribed("a")
    wishes.unwant("a", 0)
    wishes.commands(LINGER)
    receipt = wishes.want("a", hear)
    wishes.refused("a", DENIED)
    assert receipt.error is DENIED
    assert wishes.commands(100) == []
    assert wishes._wishes == {}


# A command that was refused as a whole


def test_after_a_refusal_as_a_whole_each_is_asked_for_by_itself() -> None:
    wishes = Wishes()
    receipts = {name: wishes.want(name, hear) for name in "abc"}
    wishes.commands(0)
    for name in "abc":
        wishes.ask_alone(name)
    receipts["d"] = wishes.want("d", hear)
    assert shown(wishes.commands(0)) == ["subscribe a", "subscribe b", "subscribe c", "subscribe d"]
    wishes.answered("a")
    wishes.refused("b", DENIED)
    for name in "cd":
        wishes.answered(name)
    assert [state(receipts[name]) for name in "abcd"] == [
        "confirmed",
        "PermissionDenied",
        "confirmed",
        "confirmed",
    ]


def test_what_was_confirmed_alone_is_asked_for_with_the_others_on_the_next_link() -> None:
    wishes = Wishes()
    for name in "ab":
        wishes.want(name, hear)
    wishes.commands(0)
    for name in "ab":
        wishes.ask_alone(name)
    wishes.commands(0)
    wishes.answered("a")
    wishes.lost()
    assert shown(wishes.commands(0)) == ["subscribe a b"]


def test_what_is_confirmed_alone_may_later_be_asked_for_with_others() -> None:
    wishes = Wishes(linger=0)
    for name in "ab":
        wishes.want(name, hear)
    wishes.commands(0)
    for name in "ab":
        wishes.ask_alone(name)
    wishes.commands(0)
    wishes.answered("a")
    wishes.answered("b")
    for name in "ab":
        wishes.unwant(name, 0)
    assert shown(wishes.commands(0)) == ["unsubscribe a b"]
    for name in "ab":
        wishes.answered(name)
        wishes.want(name, hear)
    assert shown(wishes.commands(0)) == ["subscribe a b"]


def test_what_was_wished_away_meanwhile_is_not_asked_for_alone() -> None:
    wishes = Wishes()
    wishes.want("a", hear)
    wishes.commands(0)
    wishes.unwant("a", 0)
    wishes.ask_alone("a")
    assert (wishes.commands(100), wishes.due, wishes._wishes) == ([], None, {})


def test_what_a_later_command_decides_is_not_asked_for_alone() -> None:
    wishes = Wishes()
    wishes.want("a", hear)
    wishes.commands(0)
    wishes.unwant("a", 0)
    wishes.commands(LINGER)
    wishes.ask_alone("a")
    assert wishes.commands(100) == []
    wishes.answered("a")
    assert wishes._wishes == {}


# Links that are lost


def test_a_new_link_is_asked_for_every_wish_again() -> None:
    wishes = subscribed("a", "b", "c")
    wishes.unwant("b", 0)
    pending = wishes.want("d", hear)
    assert wishes.lost() == 2
    assert shown(wishes.commands(100)) == ["subscribe a c d"]
    assert not restored(wishes)
    assert not wishes.confirmed("a")
    for name in "acd":
        assert not restored(wishes)
        wishes.answered(name)
    assert restored(wishes)
    assert state(pending) == "confirmed"


def test_what_is_wished_again_while_there_is_no_link_waits_for_the_next() -> None:
    wishes = subscribed("a")
    wishes.lost()
    receipt = wishes.want("a", also_hear)
    assert state(receipt) == "open"
    wishes.commands(0)
    wishes.answered("a")
    assert state(receipt) == "confirmed"


def test_what_was_wished_away_while_there_was_no_link_is_not_restored() -> None:
    wishes = subscribed("a", "b")
    wishes.lost()
    wishes.unwant("a", 0)
    assert shown(wishes.commands(100)) == ["subscribe b"]
    wishes.answered("b")
    assert restored(wishes)


def test_answers_of_a_link_that_is_gone_count_for_nothing() -> None:
    wishes = Wishes()
    receipt = wishes.want("a", hear)
    wishes.commands(0)
    wishes.lost()
    wishes.answered("a")
    wishes.refused("a", DENIED)
    wishes.ask_alone("a")
    wishes.answered("x")
    assert state(receipt) == "open"
    assert shown(wishes.commands(0)) == ["subscribe a"]


def test_what_was_refused_on_the_new_link_counts_as_restored() -> None:
    wishes = subscribed("a")
    wishes.lost()
    wishes.commands(0)
    wishes.refused("a", DENIED)
    assert restored(wishes)


def test_only_what_was_confirmed_is_missed() -> None:
    wishes = subscribed("a", "b", "c")
    wishes.unwant("a", 0)
    wishes.unwant("b", 0)
    wishes.commands(LINGER)
    wishes.want("b", hear)
    wishes.want("d", hear)
    wishes.commands(LINGER)
    assert wishes.lost() == 1
    assert wishes.lost() == 0


# The end


def test_at_the_end_all_who_wait_are_told_and_nothing_is_left() -> None:
    wishes = subscribed("a", "b")
    wishes.unwant("b", 0)
    wishes.lost()
    receipt = wishes.want("a", hear)
    closed = TransportClosed("over")
    wishes.fail_all(closed)
    assert receipt.error is closed
    assert (len(wishes), list(wishes), wishes.due, wishes.restored) == (0, [], None, True)
    assert wishes.commands(100) == []


@pytest.mark.parametrize("error", [None, DENIED])
def test_an_answer_that_nobody_asked_for_changes_nothing(error: TransportError | None) -> None:
    wishes = subscribed("a")
    if error is None:
        wishes.answered("a")
    else:
        wishes.refused("a", error)
    assert wishes.confirmed("a")


def test_giving_up_many_channels_at_once_costs_in_proportion_to_their_number() -> None:
    def seconds(count: int) -> float:
        channels = [str(number) for number in range(count)]
        wishes = subscribed(*channels)
        for channel in channels:
            wishes.unwant(channel, 0)
        began = time.thread_time()
        assert wishes.due == LINGER
        assert len(wishes.commands(LINGER)) == count // CHUNK
        return time.thread_time() - began

    few = min(seconds(5_000) for _ in range(5))
    assert min(seconds(40_000) for _ in range(2)) < 24 * few  # 8 times as many; squared: 64 times


def test_a_channel_is_held_while_it_is_wished_ever_since_it_was_confirmed() -> None:
    wishes = Wishes()
    for name in ("kept", "left", "open"):
        wishes.want(name, hear)
    wishes.commands(0)
    for name in ("kept", "left"):
        wishes.answered(name)
    assert not wishes.held("kept")
    wishes.lost()
    assert [wishes.held(name) for name in ("kept", "left", "open", "new")] == [
        True,
        True,
        False,
        False,
    ]
    wishes.unwant("left", 0)
    wishes.want("left", hear)
    wishes.want("new", hear)
    assert [wishes.held(name) for name in ("kept", "left", "new")] == [True, False, False]
    wishes.commands(1)  # the next link is lost before it has answered
    wishes.lost()
    assert [wishes.held(name) for name in ("kept", "left", "new")] == [True, False, False]


def test_what_is_left_and_wished_again_at_once_is_held_no_more() -> None:
    wishes = Wishes()
    wishes.want("a", hear)
    wishes.commands(0)
    wishes.answered("a")
    wishes.lost()
    wishes.commands(0)
    wishes.answered("a")
    wishes.unwant("a", 0)
    wishes.want("a", hear)
    assert not wishes.held("a")
    assert wishes.confirmed("a")
