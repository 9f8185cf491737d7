"""The history checker against a small fleet: no false accusation, and no mutation unseen."""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.testing.history_model import run
from wsrooms.testing import History, Record

if TYPE_CHECKING:
    from collections.abc import Callable

runs = st.builds(
    run,
    st.integers(0, 2**32),
    st.integers(20, 120),
    instances=st.integers(2, 3),
    lossy=st.booleans(),
)
"""Histories that are in order."""

RESIDENTS = ("c0", "c1")
"""Clients that joined every room at the start, and stay."""


@given(runs)
@settings(max_examples=150, deadline=None)
def test_a_fleet_that_keeps_its_promises_is_never_accused(history: History) -> None:
    assert history.check() == []


def rules(history: History) -> set[str]:
    return {violation.rule for violation in history.check()}


def receipts(history: History) -> list[int]:
    """Those that had to be: the sends of clients that went had no answer."""
    taken = {record.message for record in history.records if record.kind == "sent"}
    return [
        at
        for at, record in enumerate(history.records)
        if record.kind == "received" and record.client in RESIDENTS and record.message in taken
    ]


def lossy(history: History) -> bool:
    """Whether the run lost messages itself, so that one more may be excused as one of them."""
    return any(record.kind == "dropped" for record in history)


def lose(history: History, random: Random) -> set[str]:
    if lossy(history):
        return set()
    del history.records[random.choice(receipts(history))]
    return {"lost"}


def duplicate(history: History, random: Random) -> set[str]:
    again = history.records[random.choice(receipts(history))]
    history.records.append(again)
    return {"duplicate"}


def forge(history: History, random: Random) -> set[str]:
    at = random.choice(receipts(history))
    history.records.insert(at, history.records[at]._replace(message="nobody's"))
    return {"forged"}


def misdirect(history: History, random: Random) -> set[str]:
    at = random.choice(receipts(history))
    record = history.records[at]
    history.records[at] = record._replace(room="blue" if record.room == "red" else "red")
    return {"wrong room"} if lossy(history) else {"lost", "wrong room"}


def echo(history: History, random: Random) -> set[str]:
    said = [r for r in history.records if r.kind == "send" and r.exclude in RESIDENTS]
    if not said:
        return set()
    send = random.choice(said)
    history.records.append(
        Record("received", client=send.exclude, message=send.message, room=send.room)
    )
    return {"echo"}


def intrude(history: History, random: Random) -> set[str]:
    record = history.records[random.choice(receipts(history))]
    history.connect("stranger", "i0")
    history.records.append(record._replace(client="stranger"))
    return {"zombie"}


def reorder(history: History, random: Random) -> set[str]:
    """Three more messages to a room, of which one resident receives the last one first."""
    name, room, client = random.choice(("i0", "i1")), random.choice(("red", "blue")), "c0"
    messages = [f"last {number}" for number in range(3)]
    for message in messages:
        history.send(message, room, instance=name)
        history.sent(message)
    for member in still_in(history, room):
        for message in messages if member != client else messages[::-1]:
            history.received(member, message, room)
    return {"order"}


def still_in(history: History, room: str) -> set[str]:
    inside: set[str] = set()
    for record in history.records:
        name = str(record.client)
        if record.kind == "joined" and record.room == room:
            inside.add(name)
        elif record.kind == "disconnected" or (record.kind == "leave" and record.room == room):
            inside.discard(name)
    return inside


def hush(history: History, random: Random) -> set[str]:
    """One more message that i0 lost, and that it does not tell of when the next one comes."""
    room = random.choice(("red", "blue"))
    for message in ("lost", "next"):
        history.send(message, room, instance="i1")
        history.sent(message)
    history.dropped("i0", room, "i1")
    at_i0 = {r.client for r in history.records if r.kind == "connect" and r.instance == "i0"}
    for member in still_in(history, room):
        if member not in at_i0:
            history.received(member, "lost", room)
        history.received(member, "next", room)
    return {"lost"}


def hush_until_the_link_breaks(history: History, random: Random) -> set[str]:
    """A link that is lost later is no excuse for what was lost while it worked."""
    expected = hush(history, random)
    history.settled()
    history.outage("i0", "cut")
    history.gap("i0", None, None, None)
    return expected


def cry_wolf(history: History, random: Random) -> set[str]:
    history.gap("i0", random.choice(("red", "blue")), "p-i1", 10_000)
    return {"false alarm"}


@pytest.mark.parametrize(
    "mutate",
    [
        lose,
        duplicate,
        forge,
        misdirect,
        echo,
        intrude,
        reorder,
        hush,
        hush_until_the_link_breaks,
        cry_wolf,
    ],
)
@given(history=runs, seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_a_history_that_was_tampered_with_breaks_the_rule_that_fits(
    mutate: Callable[[History, Random], set[str]], history: History, seed: int
) -> None:
    expected = mutate(history, Random(seed))

    assert rules(history) >= expected
    if expected:  # and nothing but what follows from it
        assert rules(history) <= expected | {"lost", "zombie", "false alarm"}


def test_a_hundred_thousand_records_are_judged_in_a_few_seconds() -> None:
    history = run(1, 45_000, instances=3)
    while len(history) < 100_000:  # a fleet's length is not known before
        history.settled()
    began = time.process_time()

    assert history.check() == []

    assert time.process_time() - began < 5


def test_hundreds_of_outages_and_thousands_of_losses_are_judged_in_a_few_seconds() -> None:
    history = History(clock=lambda: 0.0)
    history.connect("ann", "i0")
    history.connected("ann")
    history.join("ann", "red")
    history.joined("ann", "red")
    for message in range(18_000):
        if message % 30 == 10:
            history.settled()
            history.outage("i0", "cut")
        history.send(message, "red", instance="i1")
        history.sent(message)
        if message % 30 < 10:
            history.received("ann", message, "red")
        if message % 30 == 29:
            history.gap("i0", None, None, None)
    began = time.process_time()

    assert history.check() == []

    assert time.process_time() - began < 5
