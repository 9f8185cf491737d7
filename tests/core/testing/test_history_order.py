"""The history checker: one instance, one room, one order."""

from __future__ import annotations

from itertools import pairwise, permutations
from random import Random
from typing import TYPE_CHECKING

import pytest

from wsrooms.testing import History

if TYPE_CHECKING:
    from tests.core.testing.told import Told


def test_a_message_that_overtook_another_is_out_of_order(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.say(2, "red")
    history.received("ann", 2, "red")
    history.received("ann", 1, "red")

    (violation,) = history.check()
    assert violation.rule == "order"
    assert violation.sentence == (
        "ann received message 2 before message 1, which i1 had sent to room 'red' earlier"
    )


def test_what_one_sender_sends_without_waiting_is_in_order_too(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.send(1, "red", instance="i1", by="bob")
    history.send(2, "red", instance="i1", by="bob")
    history.received("ann", 2, "red")
    history.received("ann", 1, "red")

    assert history.rules() == ["order"]


@pytest.mark.parametrize("other", [("blue", "i1"), ("red", "i0")])
def test_between_rooms_and_between_instances_there_is_no_order(
    history: Told, other: tuple[str, str]
) -> None:
    history.open("ann", "i0", "red", "blue")
    history.say(1, "red", "i1")
    history.say(2, *other)
    history.received("ann", 2, other[0])
    history.received("ann", 1, "red")

    assert history.check() == []


def test_messages_that_were_sent_at_the_same_time_come_in_any_order_but_one_for_all(
    history: Told,
) -> None:
    history.open("ann", "i0", "red")
    history.open("bob", "i0", "red")
    history.send(1, "red", instance="i1")
    history.send(2, "red", instance="i1")
    history.sent(1)
    history.sent(2)
    history.received("ann", 2, "red")
    history.received("ann", 1, "red")
    history.received("bob", 2, "red")
    history.received("bob", 1, "red")

    assert history.check() == []


def test_two_clients_that_saw_two_orders_break_the_order(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.open("bob", "i0", "red")
    history.send(1, "red", instance="i1")
    history.send(2, "red", instance="i1")
    history.sent(1)
    history.sent(2)
    for client, messages in (("ann", (1, 2)), ("bob", (2, 1))):
        for message in messages:
            history.received(client, message, "red")

    (violation,) = history.check()
    assert violation.rule == "order"
    assert "ann received 1 before 2" in violation.sentence
    assert "bob received 2 before 1" in violation.sentence


def test_orders_that_only_three_clients_together_contradict_break_the_order(
    history: Told,
) -> None:
    for client in ("ann", "bob", "cat"):
        history.open(client, "i0", "red")
    for message in (1, 2, 3):
        history.send(message, "red", instance="i1")
        history.send_unknown(message)
    for client, messages in (("ann", (1, 2)), ("bob", (2, 3)), ("cat", (3, 1))):
        for message in messages:
            history.received(client, message, "red")

    assert history.rules() == ["order"]


def test_a_message_that_nobody_received_orders_those_before_and_after_it(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.send(1, "red", instance="i1", by="bob")
    history.send(2, "red", instance="i1", by="bob")
    history.sent(2)
    history.say(3, "red")
    history.sent(1)
    history.gap("i0", "red", "p1", 1)
    history.received("ann", 3, "red")
    history.received("ann", 1, "red")

    (violation,) = history.check()
    assert violation.rule == "order"
    assert violation.sentence == (
        "messages of i1 to room 'red' have no order that explains what was received: "
        "1 was sent before 2; 2 was sent before 3; ann received 3 before 1"
    )


def calls(history: History, random: Random) -> set[tuple[str, str]]:
    """Send some messages, several at a time; returns the pairs whose order is certain."""
    certain: set[tuple[str, str]] = set()
    waiting = [("abcde"[number], random.choice((None, "x", "y"))) for number in range(5)]
    begun: list[tuple[str, str | None]] = []
    open_calls: list[str] = []
    done: set[str] = set()
    while waiting or open_calls:
        if waiting and (not open_calls or random.random() < 0.5):
            message, by = waiting.pop(0)
            history.send(message, "red", instance="i1", by=by)
            certain |= {(one, message) for one in done}
            certain |= {(one, message) for one, its in begun if its == by is not None}
            begun.append((message, by))
            open_calls.append(message)
        else:
            message = open_calls.pop(random.randrange(len(open_calls)))
            if random.random() < 0.8:
                history.sent(message)
                done.add(message)
            else:
                history.send_unknown(message)
    return certain


def received(history: History, random: Random) -> set[tuple[str, str]]:
    """Let clients receive what was sent, mostly in one order; returns the pairs that they saw."""
    seen: set[tuple[str, str]] = set()
    order = random.choice([list("abcde"), random.sample("abcde", 5)])
    for client in ("ann", "bob")[: random.randint(1, 2)]:
        mine = [message for message in order if random.random() < 0.7]
        if random.random() < 0.3 and len(mine) > 1:
            mine[:2] = mine[1::-1]
        for message in mine:
            history.received(client, message, "red")
        seen |= set(pairwise(mine))
    return seen


def test_an_order_is_broken_exactly_where_no_order_of_all_messages_explains_it() -> None:
    broken = 0
    for seed in range(1000):
        history, random = History(clock=lambda: 0.0), Random(seed)
        for client in ("ann", "bob"):
            history.connect(client, "i0")
            history.connected(client)
            history.join(client, "red")
            history.joined(client, "red")
        pairs = calls(history, random) | received(history, random)
        explained = any(
            all(order.index(one) < order.index(other) for one, other in pairs)
            for order in permutations("abcde")
        )
        rules = {violation.rule for violation in history.check(settled=False)}
        assert ("order" in rules) is not explained, f"seed {seed}"
        broken += not explained

    assert 200 < broken < 800
