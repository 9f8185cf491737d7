"""The history checker: loss is what gaps report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.core.testing.told import Told


def test_a_gap_accounts_for_what_was_lost_before_it(history: Told) -> None:
    history.open("ann", "i0", "red")
    for message in (1, 2, 3, 4):
        history.say(message, "red")
    history.received("ann", 1, "red")
    history.gap("i0", "red", "p1", 2)
    history.received("ann", 4, "red")

    assert history.check() == []


@pytest.mark.parametrize(
    ("room", "publisher", "missing"),
    [("red", "p1", 1), ("blue", "p1", 2), ("red", "p0", 2)],
)
def test_a_gap_of_something_else_accounts_for_nothing(
    history: Told, room: str, publisher: str, missing: int
) -> None:
    history.open("ann", "i0", "red", "blue")
    for message in (1, 2, 3):
        history.say(message, "red")
    history.gap("i0", room, publisher, missing)
    history.received("ann", 3, "red")

    assert "lost" in history.rules()


def test_a_gap_cannot_account_for_what_was_sent_after_it(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.gap("i0", "red", "p1", 1)
    history.say(1, "red")

    assert sorted(history.rules()) == ["false alarm", "lost"]


def test_a_gap_that_reports_more_than_was_lost_is_a_false_alarm(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.gap("i0", "red", "p1", 2)

    (violation,) = history.check()
    assert violation.rule == "false alarm"
    assert violation.sentence == (
        "i0 reported 2 message(s) of i1 to room 'red' as missing, of which at most 1 can have been"
    )


def test_what_was_sent_while_the_instance_had_no_member_is_in_no_gap(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.exit("ann", "red")
    history.settled()
    history.say(1, "red")
    history.settled()
    history.enter("ann", "red")
    history.gap("i0", "red", "p1", 1)

    assert history.rules() == ["false alarm"]


def test_what_was_on_its_way_when_the_first_member_came_may_be_in_a_gap_or_not(
    history: Told,
) -> None:
    history.open("ann")
    history.say(1, "red")
    history.enter("ann", "red")
    assert history.check() == []

    history.gap("i0", "red", "p1", 1)
    assert history.check() == []


def test_no_gap_accounts_for_what_others_on_the_instance_received(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.open("bob", "i0", "red")
    history.say(1, "red")
    history.received("ann", 1, "red")
    history.outage("i0", "cut")
    history.gap("i0", None, None, None)

    assert history.rules() == ["lost"]


def test_no_gap_accounts_for_what_was_sent_on_the_instance_itself(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red", "i0")
    history.outage("i0", "cut")
    history.gap("i0", None, None, None)

    assert history.rules() == ["lost"]


def test_a_lost_link_accounts_for_everything_before_it_is_reported(history: Told) -> None:
    history.open("ann", "i0", "red", "blue")
    history.outage("i0", "cut")
    history.say(1, "red")
    history.say(2, None)
    history.gap("i0", None, None, None)
    history.say(3, "blue")
    assert [violation.sentence for violation in history.check()] == [
        "i0 lost 1 message(s) of i1 to room 'blue' that no gap tells of: 3; "
        "ann was in room 'blue' and should have received message 3"
    ]

    history.received("ann", 3, "blue")
    assert history.check() == []


def test_a_lost_link_that_nobody_broke_is_a_false_alarm(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.outage("i1", "cut")
    history.gap("i0", None, None, None)

    assert history.rules() == ["false alarm"]


def test_a_gap_of_a_publisher_that_never_started_is_a_false_alarm(history: Told) -> None:
    history.gap("i0", "red", "p7", 1)

    assert history.rules() == ["false alarm"]


def test_after_a_restart_the_numbers_of_an_instance_begin_anew(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.say(2, "red")
    history.crashed("i1")
    history.started("i1", publisher="p1-again")
    history.say(3, "red")
    history.received("ann", 3, "red")
    history.gap("i0", "red", "p1-again", 2)
    assert sorted(history.rules()) == ["false alarm", "lost"]

    history.records[-1] = history.records[-1]._replace(publisher="p1")
    assert history.check() == []


def test_the_last_message_that_the_run_lost_itself_is_no_violation_without_a_later_one(
    history: Told,
) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.received("ann", 1, "red")
    history.say(2, "red")
    history.dropped("i0", "red", "i1")
    assert history.check() == []

    history.say(3, "red")
    history.received("ann", 3, "red")
    assert history.rules() == ["lost"]


@pytest.mark.parametrize("ended", [True, False])
def test_an_instance_that_ended_before_its_link_was_mended_need_not_tell(
    history: Told, ended: bool
) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.received("ann", 1, "red")
    history.settled()
    history.outage("i0", "cut")
    history.say(2, "red")
    history.settled()
    history.disconnected("ann")
    if ended:
        history.crashed("i0")

    assert history.rules() == ([] if ended else ["lost"])


def test_a_send_that_failed_or_was_not_answered_may_be_on_its_way_for_ever(history: Told) -> None:
    history.open("ann")
    for message in (1, 2):
        history.send(message, "red", instance="i1")
    history.send_failed(1)
    history.settled()
    history.enter("ann", "red")
    history.gap("i0", "red", "p1", 2)

    assert history.check() == []


def test_a_gap_accounts_first_for_what_nothing_else_accounts_for(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.outage("i0", "cut")
    history.say(1, "red")
    history.gap("i0", None, None, None)
    history.say(2, "red")
    history.gap("i0", "red", "p1", 1)

    assert history.check() == []


def test_gaps_of_other_losses_do_not_account_for_what_the_run_lost_itself(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.received("ann", 1, "red")
    history.outage("i0", "cut")
    history.say(2, "red")
    history.gap("i0", None, None, None)
    history.gap("i0", "red", "p1", 1)
    history.say(3, "red")
    history.received("ann", 3, "red")
    history.say(4, "red")
    history.dropped("i0", "red", "i1")

    assert history.check() == []


def test_a_lost_link_accounts_for_nothing_that_must_have_arrived_before_it_broke(
    history: Told,
) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.settled()
    history.outage("i0", "cut")
    history.gap("i0", None, None, None)

    assert history.rules() == ["lost"]


@pytest.mark.parametrize("heard", [True, False])
def test_a_lost_link_accounts_for_nothing_after_the_instance_has_heard_again(
    history: Told, heard: bool
) -> None:
    history.open("ann", "i0", "red")
    history.outage("i0", "cut")
    history.settled()
    history.say(1, "red")
    if heard:
        history.received("ann", 1, "red")
    history.say(2, "red")
    history.settled()
    history.outage("i0", "cut")
    history.gap("i0", None, None, None)

    assert history.rules() == (["lost"] if heard else [])


def test_without_an_outage_a_lost_link_accounts_for_all_that_was_lost(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.settled()
    history.gap("i0", None, None, None)

    assert history.check() == []


@pytest.mark.parametrize("missing", [0, -1])
def test_a_gap_of_nothing_is_a_false_alarm_and_makes_room_for_no_other(
    history: Told, missing: int
) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.received("ann", 1, "red")
    history.gap("i0", "red", "p1", missing)
    history.gap("i0", "red", "p1", 1)

    assert history.rules() == ["false alarm", "false alarm"]


def test_what_the_run_lost_of_an_instance_that_has_ended_counts_as_its(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.received("ann", 1, "red")
    history.say(2, "red")
    history.crashed("i1")
    history.dropped("i0", "red", "i1")

    assert history.check() == []
