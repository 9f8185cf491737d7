"""The history checker: what members must receive, and what nobody may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wsrooms.testing import History

if TYPE_CHECKING:
    from tests.core.testing.told import Told


def test_a_history_of_nothing_breaks_nothing() -> None:
    assert History().check() == []


def test_a_message_that_a_member_received_breaks_nothing(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.received("ann", 1, "red")

    assert history.check() == []


def test_a_message_to_a_member_that_nobody_received_is_lost(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")

    assert history.rules() == ["lost"]


def test_a_message_that_was_sent_before_the_join_was_confirmed_need_not_come(
    history: Told,
) -> None:
    history.open("ann")
    history.join("ann", "red")
    history.say(1, "red")
    history.joined("ann", "red")

    assert history.check() == []


def test_a_message_that_was_still_on_its_way_at_the_leave_need_not_come(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.exit("ann", "red")

    assert history.check() == []


def test_a_message_that_must_have_arrived_before_the_leave_is_lost_without_it(
    history: Told,
) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.settled()
    history.exit("ann", "red")

    assert history.rules() == ["lost"]


def test_a_later_message_shows_that_an_earlier_one_is_lost(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.say(2, "red")
    history.received("ann", 2, "red")
    history.exit("ann", "red")

    assert history.rules() == ["lost"]


def test_on_the_own_instance_a_message_comes_before_the_answer_to_the_leave(
    history: Told,
) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red", "i0")
    history.exit("ann", "red")

    assert history.rules() == ["lost"]


def test_a_client_that_ends_its_connection_need_not_receive_what_is_on_its_way(
    history: Told,
) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red", "i0")
    history.disconnect("ann")
    history.disconnected("ann")

    assert history.check() == []


def test_clients_of_an_instance_that_crashed_need_not_receive_what_is_on_its_way(
    history: Told,
) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.crashed("i0")
    history.started("i0", publisher="p0-again")

    assert history.check() == []


def test_a_client_that_does_not_read_is_not_expected_to_receive(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.stalled("ann")
    history.say(1, "red")
    history.settled()
    assert history.check() == []

    history.resumed("ann")
    history.settled()
    assert history.rules() == ["lost"]


def test_a_send_that_failed_or_had_no_answer_may_be_received_or_not(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.open("bob", "i0", "red")
    for message, ended in ((1, history.send_failed), (2, history.send_unknown)):
        history.send(message, "red", instance="i1")
        ended(message)
        history.received("ann", message, "red")

    assert history.check() == []


def test_a_second_join_that_failed_does_not_end_the_membership(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.join("ann", "red")
    history.join_failed("ann", "red")
    history.say(1, "red")
    history.received("ann", 1, "red")

    assert history.check() == []


def test_after_a_join_whose_answer_never_came_a_message_may_come_or_not(history: Told) -> None:
    history.open("ann")
    history.open("bob")
    for client in ("ann", "bob"):
        history.join(client, "red")
        history.join_unknown(client, "red")
    history.say(1, "red")
    history.received("ann", 1, "red")

    assert history.check() == []


def test_the_last_wish_counts_where_nobody_waits_for_answers(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.leave("ann", "red")
    history.join("ann", "red")
    history.left("ann", "red")
    history.joined("ann", "red")
    history.say(1, "red")
    assert history.rules() == ["lost"]

    history.received("ann", 1, "red")
    assert history.check() == []


def test_a_join_that_a_leave_followed_is_no_membership_when_it_is_confirmed(
    history: Told,
) -> None:
    history.open("ann")
    history.join("ann", "red")
    history.leave("ann", "red")
    history.joined("ann", "red")
    history.left("ann", "red")
    history.say(1, "red")

    assert history.check() == []


def test_a_leave_that_was_never_answered_is_over_when_a_later_one_is(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.leave("ann", "red")
    history.leave_unknown("ann", "red")
    history.leave("ann", "red")
    history.left("ann", "red")
    history.say(1, "red")
    history.received("ann", 1, "red")

    assert history.rules() == ["zombie"]


@pytest.mark.parametrize("end", ["left", "failed", "disconnected", "never joined"])
def test_a_message_after_the_end_of_a_membership_is_a_zombie_s(history: Told, end: str) -> None:
    history.open("ann")
    if end == "failed":
        history.join("ann", "red")
        history.join_failed("ann", "red")
    elif end != "never joined":
        history.enter("ann", "red")
    if end == "left":
        history.exit("ann", "red")
    elif end == "disconnected":
        history.disconnected("ann")
    history.say(1, "red")
    history.received("ann", 1, "red")

    assert history.rules() == ["zombie"]


def test_a_message_to_everybody_reaches_whoever_is_connected(history: Told) -> None:
    history.open("ann")
    history.open("bob")
    history.say(1, None)
    history.received("ann", 1, None)

    (violation,) = history.check()
    assert violation.rule == "lost"
    assert violation.sentence == (
        "bob was connected and did not receive message 1, which others on its instance received"
    )


@pytest.mark.parametrize(
    ("message", "room", "rule"),
    [(1, "red", "duplicate"), (9, "red", "forged"), (2, "blue", "wrong room"), (3, "red", "echo")],
)
def test_what_must_not_be_received_is_told_by_its_rule(
    history: Told, message: int, room: str, rule: str
) -> None:
    history.open("ann", "i0", "red", "blue")
    history.say(1, "red")
    history.received("ann", 1, "red")
    history.say(2, "red")
    history.received("ann", 2, "red")
    history.say(3, "red", exclude="ann")
    history.received("ann", message, room)

    assert history.rules() == [rule]


def test_a_message_cannot_come_before_it_is_sent(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.received("ann", 1, "red")
    history.send(1, "red", instance="i1")

    assert history.rules() == ["too early"]


def test_a_client_that_stalled_twice_reads_again_after_one_resume(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.stalled("ann")
    history.stalled("ann")
    history.resumed("ann")
    history.say(1, "red")

    assert history.rules() == ["lost"]


def test_a_client_may_still_read_what_had_come_before_its_instance_crashed(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red", "i0")
    history.crashed("i0")
    history.received("ann", 1, "red")
    history.disconnected("ann")

    assert history.check() == []


def test_of_a_lossy_client_only_what_it_receives_is_judged(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.lossy("ann")
    history.say(1, "red", "i0")
    history.say(2, "red", "i0")
    history.received("ann", 2, "red")
    assert history.check() == []

    history.received("ann", 2, "red")
    assert history.rules() == ["duplicate"]


def test_a_client_receives_nothing_that_was_sent_after_its_instance_was_gone(
    history: Told,
) -> None:
    history.open("ann", "i0", "red")
    history.crashed("i0")
    history.say(1, "red")
    history.received("ann", 1, "red")
    history.disconnected("ann")

    (violation,) = history.check()
    assert violation.rule == "zombie"
    assert violation.sentence == ("ann received message 1, which was sent after i0 was gone")
