"""The history checker: a run is written down, and then judged by what the library promises.

It knows no loop, no socket and no test framework: whoever runs something calls a
method for each thing that happens, in the order in which it happens, with ids of
his own, and asks for the verdict at the end. Records of several processes on one
machine can be joined, because the default clock is the machine's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

from wsrooms.testing.history.records import KINDS, HistoryViolated, Id, Kind, Record, Violation

__all__ = ["History"]

_DEFAULTS = Record("settled")


class History:
    """Everything that was seen in one run of a fleet, and whether its promises were kept.

    .. code-block:: python

        history = History()
        history.connect("ann", "i0")
        history.connected("ann")
        history.join("ann", "red")
        ...                               # the call is made here
        history.joined("ann", "red")      # it was answered
        history.send(1, "red", instance="i1")
        history.sent(1)
        history.received("ann", 1, "red")
        history.assert_ok()

    The order of the records is the order of the run. Whatever takes time has a record
    before it is begun (``join``, ``leave``, ``send``, ``disconnect``) and one after its
    end is known (``joined``, ``left``, ``sent``, ``disconnected``, or how else it ended),
    so that what happened at the same time is not judged by its order. The joins and
    leaves of one client take effect in the order in which they were begun, because
    one connection's messages are handled in order; so do sends with the same ``by``.

    What is judged:

    - *lost*: joined means joined. A message that was sent after a join was confirmed is
      received, unless the client left or disconnected before it can have arrived, or
      its loss was reported on that instance afterwards: by an exact gap of that room and
      publisher, or by ``Gap(None, None, None)``, unless the run settled between the loss and
      every ``outage`` that the report can be about; an instance that ended before its broken
      link worked again need not have reported anything. It must have arrived by the next
      ``settled``, and before any later message of its publisher to that room.
      A message that another client of the instance received is lost for good: no gap
      excuses that, and none excuses the loss of what was sent on the instance itself.
    - *order*: what one instance sent to one room has one order, in which every client
      receives it: as sent where one send had ended before the other began or both are
      of one ``by``, and the same for all clients otherwise.
    - *duplicate*, *echo* (to the excluded client), *zombie* (after a leave or a failed join
      is known, before a join was begun, after the end, or sent after its instance was gone),
      *forged* (never sent), *too early*
      (before it was sent), *wrong room*.
    - *false alarm*: a gap that reports more than can have been missed. What was not
      received by any client of the instance, was sent before the report, and was on its
      way while the instance had, or may have had, a member of the room, can have been missed. So
      where an instance had members all the time, the gaps of a publisher must add up
      exactly with what was missed; what passed while it had none may be in a gap, or not.
      ``Gap(None, None, None)`` is one if no ``outage`` was recorded and nothing was lost.
      Gaps of a room that nothing else is recorded of are not judged. In the others,
      everything that is sent must be recorded.
    - *left over*: whatever the run itself found at the end.

    What nobody can detect: numbers show a loss only between two messages of a publisher that
    an instance heard while it had members in the room, and its link. The last one before
    those leave, or before the publisher dies, shows none, and the first one after a join is
    like one that came before it. The verdict holds such a loss against the fleet all the
    same, unless the run says with ``dropped`` that it lost so many messages there itself. So
    a run sends, once everything is healed, a last message from every instance to every room,
    waits until those have arrived, and only then ends. Likewise nobody can tell what a
    publisher that died had sent without an answer: such sends have no ``sent``, and nobody
    need have received them.
    """

    def __init__(
        self, records: Iterable[Record] = (), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with ``records``; later ones are dated by ``clock``."""
        self.records: list[Record] = list(records)
        self.clock = clock

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def _add(self, kind: Kind, **facts: Any) -> None:
        self.records.append(Record(kind, self.clock(), **facts))

    # Instances

    def started(self, instance: Id, publisher: Id | None = None) -> None:
        """An instance has started; in its gaps others call it ``publisher``.

        An instance that never started is known by its own name. After ``crashed`` it may
        start again: its numbers then begin anew.
        """
        self._add("started", instance=instance, publisher=publisher)

    def crashed(self, instance: Id) -> None:
        """An instance is gone, with all its connections, by accident or on purpose."""
        self._add("crashed", instance=instance)

    def outage(self, instance: Id | None = None, note: str = "") -> None:
        """The run is about to break the link of ``instance`` (None: of all) to the others."""
        self._add("outage", instance=instance, note=note)

    def dropped(
        self, instance: Id, room: str | None, publisher: Id, missing: int = 1, note: str = ""
    ) -> None:
        """The run itself lost messages of the instance ``publisher`` on the way to ``instance``.

        They have to be reported like others, where numbers can show it.
        """
        facts = {"room": room, "publisher": publisher, "missing": missing, "note": note}
        self._add("dropped", instance=instance, **facts)

    def gap(
        self, instance: Id, room: str | None, publisher: Id | None, missing: int | None
    ) -> None:
        """An instance's ``on_gap`` was called with these."""
        self._add("gap", instance=instance, room=room, publisher=publisher, missing=missing)

    # Clients

    def connect(self, client: Id, instance: Id) -> None:
        """A client begins to connect; no two clients of a run have the same id."""
        self._add("connect", client=client, instance=instance)

    def connected(self, client: Id) -> None:
        """A client knows that it is connected and that ``on_connect`` has ended."""
        self._add("connected", client=client)

    def disconnect(self, client: Id) -> None:
        """A client begins to end its connection, well or badly: it need not receive more."""
        self._add("disconnect", client=client)

    def disconnected(self, client: Id, note: str = "") -> None:
        """A client's connection has ended, whoever ended it."""
        self._add("disconnected", client=client, note=note)

    def stalled(self, client: Id) -> None:
        """A client stops reading: until ``resumed`` it is not expected to receive anything."""
        self._add("stalled", client=client)

    def resumed(self, client: Id) -> None:
        """A client reads again."""
        self._add("resumed", client=client)

    def lossy(self, client: Id) -> None:
        """What is sent to a client may be dropped, as ``WsLimits.slow_client`` says."""
        self._add("lossy", client=client)

    def join(self, client: Id, room: str) -> None:
        """A join begins; the answers of one client and room come in the order of its joins."""
        self._add("join", client=client, room=room)

    def joined(self, client: Id, room: str) -> None:
        """The join is confirmed."""
        self._add("joined", client=client, room=room)

    def join_failed(self, client: Id, room: str, note: str = "") -> None:
        """The join has failed, and is undone."""
        self._add("join_failed", client=client, room=room, note=note)

    def join_unknown(self, client: Id, room: str) -> None:
        """There will be no answer to the join: the client may be in the room, or not."""
        self._add("join_unknown", client=client, room=room)

    def leave(self, client: Id, room: str) -> None:
        """A leave begins."""
        self._add("leave", client=client, room=room)

    def left(self, client: Id, room: str) -> None:
        """The client has left."""
        self._add("left", client=client, room=room)

    def leave_unknown(self, client: Id, room: str) -> None:
        """There will be no answer to the leave."""
        self._add("leave_unknown", client=client, room=room)

    # Messages

    def send(
        self,
        message: Id,
        room: str | None,
        *,
        instance: Id,
        by: Id | None = None,
        exclude: Id | None = None,
    ) -> None:
        """A message is sent on ``instance``: every message of a run has an id of its own.

        Args:
            message: Its id; clients find it in what they receive.
            room: Whose members receive it; None is everybody on every instance.
            instance: The one that broadcasts it.
            by: A client, or a part of the instance's code, whose sends take effect in order.
            exclude: A client that does not receive it.
        """
        self._add("send", message=message, room=room, instance=instance, by=by, exclude=exclude)

    def sent(self, message: Id) -> None:
        """It is known that the message was taken."""
        self._add("sent", message=message)

    def send_failed(self, message: Id, note: str = "") -> None:
        """Sending ended in an error: it may have been received, by some or by nobody."""
        self._add("send_failed", message=message, note=note)

    def send_unknown(self, message: Id) -> None:
        """There will be no answer to the send."""
        self._add("send_unknown", message=message)

    def received(self, client: Id, message: Id, room: str | None) -> None:
        """A client received a message, as one of ``room`` (None: of everybody)."""
        self._add("received", client=client, message=message, room=room)

    # The run

    def settled(self) -> None:
        """Whatever was on its way has arrived or is lost: the run has made sure of that."""
        self._add("settled")

    def left_over(self, note: str) -> None:
        """The run found something at its end that should be gone."""
        self._add("left_over", note=note)

    # The verdict

    def check(self, *, settled: bool = True) -> list[Violation]:
        """All promises that were broken; an empty list if none was.

        Args:
            settled: Whether at the end of the records nothing is on its way any more.

        Raises:
            ValueError: The records contradict themselves, as when an id is used twice.
        """
        from wsrooms.testing.history.verdict import judge

        return judge(self.records, settled=settled)

    def assert_ok(self, *, settled: bool = True) -> None:
        """As :meth:`check`.

        Raises:
            HistoryViolated: Promises were broken; its text tells which, with excerpts.
        """
        violations = self.check(settled=settled)
        if violations:
            raise HistoryViolated(violations, len(self.records))

    # Files

    def dump(self, target: str | os.PathLike[str] | TextIO) -> None:
        """Write the records as JSON lines."""
        if isinstance(target, str | os.PathLike):
            with open(target, "w", encoding="utf-8") as file:
                self.dump(file)
            return
        for record in self.records:
            facts = {
                name: value
                for name, value in record._asdict().items()
                if value != getattr(_DEFAULTS, name) or name == "kind"
            }
            target.write(json.dumps(facts, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, *sources: str | os.PathLike[str] | TextIO) -> History:
        """Read what :meth:`dump` wrote; several are joined by the time of their records.

        Raises:
            ValueError: A line is no record.
        """
        records: list[Record] = []
        for source in sources:
            if isinstance(source, str | os.PathLike):
                with open(source, encoding="utf-8") as file:
                    records += map(_read, file)
            else:
                records += map(_read, source)
        if len(sources) > 1:
            records.sort(key=lambda record: record.at)
        return cls(records)


def _read(line: str) -> Record:
    facts = json.loads(line)
    if not isinstance(facts, dict) or facts.get("kind") not in KINDS:
        raise ValueError(f"this is no record of a history: {line.strip()[:200]}")
    unknown = facts.keys() - set(Record._fields)
    if unknown:
        raise ValueError(f"a record has no {', '.join(sorted(unknown))}: {line.strip()[:200]}")
    return Record(**cast("dict[str, Any]", facts))
