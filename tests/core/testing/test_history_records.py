"""The history checker: what it is fed with, and what it says."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from wsrooms.testing import History, HistoryViolated, Record

if TYPE_CHECKING:
    from pathlib import Path

    from tests.core.testing.told import Told


def test_what_is_left_over_is_a_violation(history: Told) -> None:
    history.left_over("a member of 'red' on i0")

    (violation,) = history.check()
    assert violation.rule == "left over"
    assert violation.sentence == "after the end there is still a member of 'red' on i0"


def test_without_a_settled_end_what_is_on_its_way_is_not_lost(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.say(1, "red")

    assert history.check(settled=False) == []
    assert history.rules() == ["lost"]


def test_a_report_tells_what_happened_with_the_records_it_is_about(history: Told) -> None:
    history.open("ann", "i0", "red")
    history.open("bob", "i1", "blue")
    history.say(1, "red", by="bob")

    with pytest.raises(HistoryViolated) as caught:
        history.assert_ok()
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value) == "\n".join(
        [
            "1 promise(s) broken in a history of 12 records",
            "",
            "lost: i0 lost 1 message(s) of i1 to room 'red' that no gap tells of: 1; "
            "ann was in room 'red' and should have received message 1",
            "    #2          2.000000  ann connects to i0",
            "    #3          3.000000  ann is connected",
            "    #4          4.000000  ann asks to join room 'red'",
            "    #5          5.000000  ann is told that it is in room 'red'",
            "    #10        10.000000  message 1 to room 'red' is sent on i1 by bob",
            "    #11        11.000000  message 1 was taken",
        ]
    )


@pytest.mark.parametrize(
    "mistake",
    [
        lambda history: history.say(1, "red"),
        lambda history: history.sent(2),
        lambda history: history.connect("ann", "i1"),
        lambda history: history.received("bob", 1, "red"),
        lambda history: history.join("bob", "red"),
    ],
)
def test_records_that_contradict_themselves_are_refused(history: Told, mistake: object) -> None:
    assert callable(mistake)
    history.open("ann", "i0", "red")
    history.say(1, "red")
    history.received("ann", 1, "red")
    mistake(history)

    with pytest.raises(ValueError, match=r"record #\d+"):
        history.check()


def test_a_history_that_is_written_down_and_read_again_is_the_same(
    history: Told, tmp_path: Path
) -> None:
    history.open("änn", "i0", "räd")
    history.say(1, None, exclude="bob")
    history.gap("i0", None, "p1", 3)
    history.dropped("i0", "red", "i1")

    history.dump(tmp_path / "history.jsonl")

    assert History.load(tmp_path / "history.jsonl").records == history.records


def test_the_records_of_several_processes_are_joined_by_their_time() -> None:
    one, other = History(clock=lambda: 1.0), History(clock=lambda: 2.0)
    other.received("ann", 1, "red")
    one.send(1, "red", instance="i1")
    files = [io.StringIO(), io.StringIO()]
    for history, file in zip((other, one), files, strict=True):
        history.dump(file)
        file.seek(0)

    assert [record.kind for record in History.load(*files)] == ["send", "received"]


@pytest.mark.parametrize("line", ["[]", '{"kind": "sung"}', '{"kind": "settled", "who": 1}'])
def test_a_line_that_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="record"):
        History.load(io.StringIO(line))


def test_every_kind_of_record_is_told_as_a_sentence() -> None:
    history = History()
    history.started("i0", publisher="p0")
    history.outage(None, "the broker was killed")
    history.gap("i0", None, None, None)
    history.left_over("a task")

    assert [record.told() for record in history] == [
        "i0 started, publishing as p0",
        "the link of every instance was broken: the broker was killed",
        "i0 reports that messages of somebody to everybody are missing",
        "left over: a task",
    ]
    assert Record("crashed", instance="i0", note="kill").told() == "i0 is gone (kill)"
