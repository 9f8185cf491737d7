"""The rules of the history checker; ``History`` says what each promises."""

from __future__ import annotations

from wsrooms.testing.history.losses import judge_losses
from wsrooms.testing.history.ordering import judge_order
from wsrooms.testing.history.records import Record, Rule, Violation
from wsrooms.testing.history.timeline import Client, Send, Timeline

__all__ = ["judge"]


def judge(records: list[Record], *, settled: bool) -> list[Violation]:
    """All promises that the run in ``records`` broke, in the order of what shows it.

    Raises:
        ValueError: The records contradict themselves.
    """
    timeline = Timeline(records, settled=settled)
    violations = [_left_over(timeline, at) for at in timeline.left_over]
    received = _Received(timeline)
    for at, client in timeline.receipts:
        violation = received.judge(at, client)
        if violation is not None:
            violations.append(violation)
    violations += judge_order(timeline, received.sequences)
    violations += judge_losses(timeline)
    return sorted(violations, key=_shown_at)


def _shown_at(violation: Violation) -> int:
    return violation.records[-1][0] if violation.records else 0


def _left_over(timeline: Timeline, at: int) -> Violation:
    note = timeline.records[at].note
    return Violation("left over", f"after the end there is still {note}", timeline.excerpt([at]))


class _Received:
    """Judges each receipt by itself, and notes in which order each client received."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.sequences: dict[tuple[object, str | None], dict[Client, list[Send]]] = {}

    def judge(self, at: int, client: Client) -> Violation | None:
        """What the receipt at ``at`` breaks, if anything."""
        timeline = self._timeline
        record = timeline.records[at]
        message, room = record.message, record.room
        who = f"{client.id} received message {message}"
        send = None if message is None else timeline.sends.get(message)
        if send is None:
            return self._broken("forged", f"{who}, which nobody sent", [at])
        about = [at, send.at, send.done]
        if room != send.room:
            where, meant = _place(room), _place(send.room)
            return self._broken("wrong room", f"{who} in {where}; it was sent to {meant}", about)
        if at < send.at:
            return self._broken("too early", f"{who} before it was sent", about)
        if send.message in client.got:
            first = client.got[send.message]
            return self._broken("duplicate", f"{who} twice", [*about, first])
        client.got[send.message] = at
        if send.exclude is not None and send.exclude == client.id:
            return self._broken("echo", f"{who}, from which it was excluded", about)
        key = (send.run, room)
        self.sequences.setdefault(key, {}).setdefault(client, []).append(send)
        ended = timeline.ends.get(client.run)
        if ended is not None and send.at > ended:
            gone = f", which was sent after {client.run.instance} was gone"
            return self._broken("zombie", who + gone, [*about, ended])
        if (why := _why_not(client, room, at)) is not None:
            told = timeline.told_of_client(client, room)
            return self._broken("zombie", f"{who} in {_place(room)}{why}", [*about, *told])
        return None

    def _broken(self, rule: Rule, sentence: str, about: list[int | None]) -> Violation:
        last = about[0]
        assert last is not None
        shown = self._timeline.excerpt(at for at in about if at is None or at <= last)
        return Violation(rule, sentence, shown)


def _place(room: str | None) -> str:
    return "a message to everybody" if room is None else f"room {room!r}"


def _why_not(client: Client, room: str | None, at: int) -> str | None:
    """Why ``client`` must not receive anything in ``room`` then; None if it may."""
    if client.gone is not None and client.gone < at:
        return " after it had disconnected"
    if room is None:
        return None
    membership = client.rooms.get(room)
    if membership is None or not membership.possible or membership.possible[0][0] > at:
        return " without having joined"
    if membership.may_be_at(at):
        return None
    return " after it had left, or its join had failed"
