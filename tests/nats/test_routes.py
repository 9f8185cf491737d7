"""What other servers of a cluster answer, read; tests/nats/test_joins.py has real ones."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsrooms_nats.routes import Question, Routes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TOO_OLD = "Not delivered because remote does not support message tracing"


def asked() -> tuple[Routes, Question, str]:
    """One question, and the header that is to come back with its answers."""
    routes = Routes("wsrooms.", "token")
    question, wire = routes.asked()
    [carried] = re.findall(rb"Wsrooms-Question: (\d+)\r\n", wire)
    return routes, question, carried.decode()


def first(number: str, *ways: tuple[str, str | None]) -> bytes:
    """What the server says that was asked: to which others it went, or why not to one."""
    events: list[dict[str, object]] = [
        {"type": "in", "kind": 0},
        {"type": "eg", "kind": 0, "sub": "wsrooms.ws:sync.ask"},  # an instance of its own
    ]
    for hop, (name, error) in enumerate(ways, 1):
        told = {} if error is None else {"error": error}
        events.append({"type": "eg", "kind": 1, "name": name, "hop": str(hop), **told})
    return said(number, "own", events)


def other(number: str, name: str) -> bytes:
    return said(number, name, [{"type": "in", "kind": 1}])


def said(number: str, server: str, events: Sequence[Mapping[str, object]]) -> bytes:
    request = {"header": {"Wsrooms-Question": [number]}}
    return json.dumps({"server": {"name": server}, "request": request, "events": events}).encode()


def is_done(question: Question) -> bool:
    """As a call: mypy takes an attribute for unchanged until it is set."""
    return question.done


def test_a_question_is_one_command_that_goes_to_all_instances_and_is_traced_only() -> None:
    routes = Routes("wsrooms.", "token")
    _, wire = routes.asked()
    line, _, rest = wire.partition(b"\r\n")
    word, subject, header, size = line.split(b" ")
    assert (word, subject) == (b"HPUB", b"wsrooms.ws:sync.ask")
    assert int(header) == int(size) == len(rest) - 2
    assert b"\r\nNats-Trace-Dest: wsrooms.ws:sync.token\r\n" in rest
    assert b"\r\nNats-Trace-Only: true\r\n" in rest
    assert routes.subscribed() == b"SUB wsrooms.ws:sync.ask 0\r\nSUB wsrooms.ws:sync.token t\r\n"


def test_where_no_other_server_has_an_instance_the_first_answer_is_all() -> None:
    routes, question, carried = asked()
    assert not is_done(question)
    assert routes.received(first(carried)) is question
    assert is_done(question)
    assert not question.silent


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [1, 2, 0]])
def test_all_have_answered_when_the_last_one_has_whichever_that_is(order: list[int]) -> None:
    routes, question, carried = asked()
    answers = [first(carried, ("b", None), ("c", None)), other(carried, "b"), other(carried, "c")]
    for at in order:
        assert not is_done(question)
        routes.received(answers[at])
    assert is_done(question)
    assert not question.silent


def test_a_server_that_answers_twice_counts_once() -> None:
    routes, question, carried = asked()
    for answer in (first(carried, ("b", None), ("c", None)), *2 * [other(carried, "b")]):
        routes.received(answer)
    assert not is_done(question)


def test_a_server_that_is_too_old_to_answer_is_not_waited_for_and_told() -> None:
    routes, question, carried = asked()
    routes.received(first(carried, ("b", None), ("c", TOO_OLD)))
    assert not is_done(question)
    routes.received(other(carried, "b"))
    assert is_done(question)
    assert question.silent


def test_a_server_that_was_given_up_is_not_waited_for_until_it_says_something() -> None:
    routes, question, carried = asked()
    routes.received(first(carried, ("b", None), ("c", None)))
    routes.received(other(carried, "b"))
    assert question.missing == {"c"}
    routes.give_up(question, "own")
    routes.forget(question)

    second, wire = routes.asked()
    routes.received(first("2", ("b", None), ("c", None)))
    assert not is_done(second)
    routes.received(other("2", "b"))
    assert is_done(second)

    routes.received(other(carried, "c"))  # late, and it says that c is there
    third, _ = routes.asked()
    routes.received(first("3", ("b", None), ("c", None)))
    routes.received(other("3", "b"))
    assert not is_done(third)
    routes.received(other("3", "c"))
    assert is_done(third)
    assert b"Wsrooms-Question: 2" in wire


def test_the_own_server_may_be_the_one_that_says_nothing() -> None:
    routes, question, carried = asked()
    routes.received(other(carried, "b"))
    routes.give_up(question, "own")
    assert routes.is_mute("own")
    assert not routes.is_mute("b")
    routes.received(first(carried))
    assert not routes.is_mute("own")


def test_a_server_that_was_not_asked_does_not_count() -> None:
    routes, question, carried = asked()
    routes.received(first(carried, ("b", None)))
    routes.received(other(carried, "leaf"))
    assert not is_done(question)


def test_a_server_that_is_excused_is_not_waited_for() -> None:
    routes = Routes("wsrooms.", "token")
    question, _ = routes.asked(excused=frozenset("c"))
    carried = question.number.decode()
    routes.received(first(carried, ("b", None), ("c", None)))
    assert not is_done(question)
    routes.received(other(carried, "b"))
    assert is_done(question)


def test_where_the_own_server_does_not_say_who_is_to_answer_the_caller_does() -> None:
    routes = Routes("wsrooms.", "token")
    question, _ = routes.asked(frozenset("bc"))
    carried = question.number.decode()
    routes.received(other(carried, "b"))
    assert not is_done(question)
    routes.received(other(carried, "c"))
    assert is_done(question)


def test_who_was_asked_and_by_whom_is_known() -> None:
    routes, question, carried = asked()
    routes.received(first(carried, ("b", None), ("c", TOO_OLD)))
    assert question.own == "own"
    assert question.asked == frozenset("b")


def test_a_question_that_is_forgotten_is_not_answered_any_more() -> None:
    routes, question, carried = asked()
    routes.forget(question)
    assert routes.received(first(carried)) is None


def test_questions_are_told_apart() -> None:
    routes, question, _ = asked()
    second, _ = routes.asked()
    assert routes.received(first(second.number.decode())) is second
    assert is_done(second)
    assert not is_done(question)


RUBBISH: tuple[object, ...] = (None, True, 7, 1.5, "1", "²", "", [], [None], [[]], {}, {"": []})


@settings(deadline=None)
@given(st.data())
def test_an_answer_that_is_broken_somewhere_breaks_nothing(data: st.DataObject) -> None:
    routes, question, carried = asked()
    whole = json.loads(
        data.draw(st.sampled_from([first(carried, ("b", TOO_OLD)), other(carried, "b")]))
    )
    places = list(places_in(whole))
    where, key = places[data.draw(st.integers(0, len(places) - 1))]
    where[key] = data.draw(st.sampled_from(RUBBISH))
    assert routes.received(json.dumps(whole).encode()) in (None, question)


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each place of a value of JSON in which another one could be."""
    within = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(within):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places_in(inner)


@settings(deadline=None)
@given(st.binary())
def test_what_is_no_answer_is_ignored(data: bytes) -> None:
    routes, question, carried = asked()
    assert routes.received(data) is None
    assert routes.received(first(carried)) is question


@pytest.mark.parametrize("piece", [b"[", b'{"request":'])
def test_what_is_nested_too_deeply_is_ignored_too(piece: bytes) -> None:
    routes, _, _ = asked()
    assert routes.received(piece * 50_000) is None
