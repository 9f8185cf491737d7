"""What a history is made of: one record for each thing that a run saw, and what a verdict says.

Pure data. Ids are plain strings or integers, so that records of several processes
can be written down, joined and read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

__all__ = ["KINDS", "HistoryViolated", "Id", "Kind", "Record", "Rule", "Violation"]

Id = str | int

Kind = Literal[
    "started",
    "crashed",
    "outage",
    "dropped",
    "connect",
    "connected",
    "disconnect",
    "disconnected",
    "stalled",
    "resumed",
    "lossy",
    "join",
    "joined",
    "join_failed",
    "join_unknown",
    "leave",
    "left",
    "leave_unknown",
    "send",
    "sent",
    "send_failed",
    "send_unknown",
    "received",
    "gap",
    "settled",
    "left_over",
]

KINDS: frozenset[str] = frozenset(get_args(Kind))

Rule = Literal[
    "lost",
    "order",
    "duplicate",
    "echo",
    "zombie",
    "forged",
    "wrong room",
    "too early",
    "false alarm",
    "left over",
]

SHOWN = 40
"""Records of an excerpt that are printed; the middle of a longer one is left out."""


class Record(NamedTuple):
    """One thing that a run saw.

    Attributes:
        kind: What happened; :class:`~wsrooms.testing.History` has a method for each.
        at: When, in seconds of a clock that all who record share.
        client: Whose connection it is about.
        instance: Which instance it is about.
        room: Which room; None is everybody, on every instance.
        message: Which message.
        by: Whose calls take effect in the order in which they are made, if that is known.
        exclude: The client that must not receive the message.
        publisher: Whose messages are missing.
        missing: How many are.
        note: Words for whoever reads it.
    """

    kind: Kind
    at: float = 0.0
    client: Id | None = None
    instance: Id | None = None
    room: str | None = None
    message: Id | None = None
    by: Id | None = None
    exclude: Id | None = None
    publisher: Id | None = None
    missing: int | None = None
    note: str = ""

    def told(self) -> str:
        """The record as a sentence."""
        sentence = _SENTENCES[self.kind].format(
            client=self.client,
            instance="every instance" if self.instance is None else self.instance,
            room="everybody" if self.room is None else f"room {self.room!r}",
            message=self.message,
            publisher="somebody" if self.publisher is None else self.publisher,
            missing="messages" if self.missing is None else f"{self.missing} message(s)",
            note=self.note,
        )
        if self.kind == "send" and self.by is not None:
            sentence += f" by {self.by}"
        if self.exclude is not None:
            sentence += f", not to {self.exclude}"
        if self.note and "{note}" not in _SENTENCES[self.kind]:
            sentence += f" ({self.note})"
        return sentence


_SENTENCES: dict[Kind, str] = {
    "started": "{instance} started, publishing as {publisher}",
    "crashed": "{instance} is gone",
    "outage": "the link of {instance} was broken: {note}",
    "dropped": "the run lost {missing} of {publisher} to {room} on the way to {instance}",
    "connect": "{client} connects to {instance}",
    "connected": "{client} is connected",
    "disconnect": "{client} ends its connection",
    "disconnected": "{client} is disconnected",
    "stalled": "{client} stops reading",
    "resumed": "{client} reads again",
    "lossy": "{client} may lose whatever is sent to it",
    "join": "{client} asks to join {room}",
    "joined": "{client} is told that it is in {room}",
    "join_failed": "{client} is told that it is not in {room}",
    "join_unknown": "{client} is told nothing about its join of {room}",
    "leave": "{client} asks to leave {room}",
    "left": "{client} is told that it has left {room}",
    "leave_unknown": "{client} is told nothing about its leave of {room}",
    "send": "message {message} to {room} is sent on {instance}",
    "sent": "message {message} was taken",
    "send_failed": "message {message} was refused",
    "send_unknown": "nobody knows what became of message {message}",
    "received": "{client} receives message {message} in {room}",
    "gap": "{instance} reports that {missing} of {publisher} to {room} are missing",
    "settled": "nothing is on its way any more",
    "left_over": "left over: {note}",
}


@dataclass(frozen=True)
class Violation:
    """A promise that a run broke.

    Attributes:
        rule: Which kind of promise.
        sentence: What happened, for whoever has to understand it.
        records: The records it is about, each with its number in the history, in order.
    """

    rule: Rule
    sentence: str
    records: tuple[tuple[int, Record], ...] = ()

    def report(self) -> str:
        """The sentence, and below it the excerpt of the history that it is about."""
        lines = [f"{self.rule}: {self.sentence}"]
        shown: Sequence[tuple[int, Record]] = self.records
        if len(shown) > SHOWN:
            half = SHOWN // 2
            lines += map(_line, shown[:half])
            lines.append(f"    … {len(shown) - 2 * half} more …")
            shown = shown[-half:]
        return "\n".join([*lines, *map(_line, shown)])


def _line(numbered: tuple[int, Record]) -> str:
    number, record = numbered
    return f"    #{number:<6} {record.at:12.6f}  {record.told()}"


class HistoryViolated(AssertionError):
    """A history broke promises; the text is a report.

    Attributes:
        violations: All of them.
    """

    def __init__(self, violations: Iterable[Violation], records: int) -> None:
        self.violations: tuple[Violation, ...] = tuple(violations)
        shown = [violation.report() for violation in self.violations[:SHOWN]]
        if len(self.violations) > SHOWN:
            shown.append(f"… and {len(self.violations) - SHOWN} more")
        head = f"{len(self.violations)} promise(s) broken in a history of {records} records"
        super().__init__("\n\n".join([head, *shown]))
