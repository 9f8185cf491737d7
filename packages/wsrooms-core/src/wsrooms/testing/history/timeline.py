"""What the records of a history say together: who was where and when, and what was sent.

Everything here is about positions in the list of records, which are its time.
Between the moment when a call begins and the moment when its answer is known, a
client may be a member; only what is certain is held against anybody.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from wsrooms.testing.history.records import Id, Record

__all__ = ["Client", "Membership", "Reported", "Run", "Send", "Stay", "Timeline"]


class Run(NamedTuple):
    """An instance from one start to its end: each has numbers of its own."""

    instance: Id
    start: int


class Stay(NamedTuple):
    """A client is certainly a member between these; ``left`` is when it knew that it no longer is.

    Without an end the history ends first. Without ``left`` the client did not leave, or
    nobody told it.
    """

    start: int
    end: int | None = None
    left: int | None = None


class Send:
    """A message, and what became of sending it."""

    __slots__ = ("at", "by", "done", "exclude", "failed", "message", "room", "run")

    def __init__(self, at: int, record: Record, run: Run) -> None:
        assert record.message is not None
        self.at: int = at
        self.message: Id = record.message
        self.room: str | None = record.room
        self.run: Run = run
        self.by: Id | None = record.by
        self.exclude: Id | None = record.exclude
        self.done: int | None = None
        """When it was known to be taken; None if it never was."""
        self.failed: bool = False


class _Wish:
    """Joins up to the next leave, and that leave."""

    __slots__ = ("failed", "joins", "leave", "left", "live")

    def __init__(self) -> None:
        self.joins = 0
        self.failed = 0
        self.leave: int | None = None
        self.left = False
        self.live = False


class Membership:
    """One client in one room.

    Attributes:
        certain: When it was a member.
        possible: When it may have been one: pairs of a first and a last position.
        calls: The positions of the records that say so.
    """

    __slots__ = ("_answers", "_leaving", "_live", "_since", "_wish", "calls", "certain", "possible")

    def __init__(self) -> None:
        self.certain: list[Stay] = []
        self.possible: list[tuple[int, int | None]] = []
        self.calls: list[int] = []
        self._wish = _Wish()
        self._answers: deque[_Wish] = deque()  # of joins that are not answered
        self._leaving: list[tuple[_Wish, int | None]] = []  # with the stay that its leave ended
        self._since: int | None = None  # when the certain membership of now began
        self._live = 0

    def join(self, at: int) -> None:
        """A join begins."""
        wish = self._wish
        wish.joins += 1
        self._answers.append(wish)
        if not wish.live:
            wish.live = True
            self._more(at)

    def joined(self, at: int) -> None:
        """The oldest join without an answer is confirmed."""
        if self._answers:
            wish = self._answers.popleft()
            if wish is self._wish and self._since is None:
                self._since = at

    def join_failed(self, at: int) -> None:
        """The oldest join without an answer has failed."""
        if self._answers:
            wish = self._answers.popleft()
            wish.failed += 1
            if wish.failed == wish.joins and wish.live and not wish.left:
                wish.live = False
                self._fewer(at)

    def join_unknown(self) -> None:
        """The oldest join without an answer will get none."""
        if self._answers:
            self._answers.popleft()

    def leave(self, at: int) -> None:
        """A leave begins."""
        wish, self._wish = self._wish, _Wish()
        wish.leave = at
        stay = None
        if self._since is not None:
            stay = len(self.certain)
            self.certain.append(Stay(self._since, at))
            self._since = None
        self._leaving.append((wish, stay))

    def left(self, at: int, which: int) -> None:
        """The leave that began as number ``which`` of those without an answer has ended."""
        ended, self._leaving = self._leaving[: which + 1], self._leaving[which + 1 :]
        for wish, stay in ended:  # they take effect in order
            if stay is not None:
                self.certain[stay] = self.certain[stay]._replace(left=at)
            wish.left = True
            if wish.live:
                wish.live = False
                self._fewer(at)

    def ends(self, at: int) -> None:
        """The client begins to go: from now on it need not receive anything."""
        if self._since is not None:
            self.certain.append(Stay(self._since, at))
            self._since = None

    def ended(self, at: int) -> None:
        """The client is gone."""
        self.ends(at)
        if self._live:
            self._live = 0
            self._close(at)

    def history_ends(self) -> None:
        """There are no more records: what has not ended has no end."""
        if self._since is not None:
            self.certain.append(Stay(self._since))
            self._since = None

    def may_be_at(self, at: int) -> bool:
        """Whether the client may have been a member."""
        index = bisect_right(self.possible, at, key=_first) - 1
        if index < 0:
            return False
        last = self.possible[index][1]
        return last is None or at <= last

    def _more(self, at: int) -> None:
        if not self._live:
            self.possible.append((at, None))
        self._live += 1

    def _fewer(self, at: int) -> None:
        if self._live:
            self._live -= 1
            if not self._live:
                self._close(at)

    def _close(self, at: int) -> None:
        first, _ = self.possible[-1]
        self.possible[-1] = (first, at)


class Client:
    """One connection."""

    __slots__ = (
        "_unanswered",
        "connect",
        "connected",
        "ending",
        "gone",
        "got",
        "id",
        "lossy",
        "rooms",
        "run",
        "stalls",
    )

    def __init__(self, id: Id, connect: int, run: Run) -> None:
        self.id: Id = id
        self.connect: int = connect
        self.run: Run = run
        self.connected: int | None = None
        self.ending: int | None = None
        self.gone: int | None = None
        self.stalls: list[tuple[int, int | None]] = []
        self.lossy: bool = False
        self.rooms: dict[str, Membership] = {}
        self.got: dict[Id, int] = {}
        """The messages that it received, and when first."""
        self._unanswered: dict[str, list[bool]] = {}

    def membership(self, room: str) -> Membership:
        """Its membership of ``room``."""
        known = self.rooms.get(room)
        if known is None:
            known = self.rooms[room] = Membership()
        return known

    def stays(self, room: str | None) -> list[Stay]:
        """When it was a member of ``room``; of everybody, when it was connected."""
        if room is None:
            return [] if self.connected is None else [Stay(self.connected, self.ending)]
        membership = self.rooms.get(room)
        return [] if membership is None else membership.certain

    def call(self, at: int, record: Record) -> None:
        """A join or a leave, or its answer."""
        assert record.room is not None
        membership = self.membership(record.room)
        membership.calls.append(at)
        if self.ending is not None and record.kind in ("join", "joined"):
            if record.kind == "join" and self.gone is None:
                membership.join(at)
            return
        leaves = self._unanswered.setdefault(record.room, [])
        match record.kind:
            case "join":
                membership.join(at)
            case "joined":
                membership.joined(at)
            case "join_failed":
                membership.join_failed(at)
            case "join_unknown":
                membership.join_unknown()
            case "leave":
                membership.leave(at)
                leaves.append(False)
            case "leave_unknown":
                if False in leaves:
                    leaves[leaves.index(False)] = True
            case _:
                if False in leaves:
                    which = leaves.index(False)
                    membership.left(at, which)
                    del leaves[: which + 1]

    def ends(self, at: int) -> None:
        """It begins to go."""
        if self.ending is None:
            self.ending = at
            for membership in self.rooms.values():
                membership.ends(at)

    def ended(self, at: int) -> None:
        """It is gone."""
        self.ends(at)
        if self.gone is None:
            self.gone = at
            for membership in self.rooms.values():
                membership.ended(at)

    def stalled_at(self, at: int) -> bool:
        """Whether it was not reading."""
        return any(first <= at and (last is None or at < last) for first, last in self.stalls)


class Reported(NamedTuple):
    """A gap that an instance reported."""

    at: int
    run: Run
    room: str | None
    publisher: Run | None
    missing: int | None


class Timeline:
    """All of it, in one pass through the records."""

    def __init__(self, records: list[Record], *, settled: bool) -> None:
        """Read ``records``; ``settled`` says that nothing is on its way at their end.

        Raises:
            ValueError: They contradict themselves.
        """
        self.records = records
        self.clients: dict[Id, Client] = {}
        self.sends: dict[Id, Send] = {}
        self.by_room: dict[str | None, list[Send]] = {}
        self.receipts: list[tuple[int, Client]] = []
        self.gaps: list[Reported] = []
        self.strange_gaps: list[int] = []
        """Those that name a publisher whom nobody knows."""
        self.dropped: dict[tuple[Run, str | None, Run], int] = {}
        """How many messages of a publisher to a room the run lost on the way to an instance."""
        self.outages: list[tuple[int, Id | None]] = []
        self.ends: dict[Run, int] = {}
        self.settled: list[int] = []
        self.left_over: list[int] = []
        self._runs: dict[Id, Run] = {}
        self._names: dict[Id, Run] = {}
        for at, record in enumerate(records):
            self._read(at, record)
        if settled:
            self.settled.append(len(records))
        for client in self.clients.values():
            for membership in client.rooms.values():
                membership.history_ends()

    def _run(self, instance: Id | None, at: int) -> Run:
        if instance is None:
            raise ValueError(f"record #{at} names no instance: {self.records[at]}")
        run = self._runs.get(instance)
        if run is None:
            run = self._runs[instance] = Run(instance, at)
        return run

    def _latest_run(self, instance: Id | None, at: int) -> Run:
        if instance not in self._runs:
            for run in reversed(self.ends):
                if run.instance == instance:
                    return run
        return self._run(instance, at)

    def _client(self, record: Record, at: int) -> Client:
        client = None if record.client is None else self.clients.get(record.client)
        if client is None:
            raise ValueError(f"record #{at}: {record.client!r} never connected: {record.told()}")
        return client

    def _read(self, at: int, record: Record) -> None:
        match record.kind:
            case "received":
                self.receipts.append((at, self._client(record, at)))
            case "send":
                self._read_send(at, record)
            case "sent" | "send_failed" | "send_unknown":
                send = None if record.message is None else self.sends.get(record.message)
                if send is None:
                    raise ValueError(f"record #{at}: message {record.message!r} was never sent")
                if record.kind == "sent" and not send.failed and send.done is None:
                    send.done = at
                elif record.kind == "send_failed":
                    send.failed = True
            case "join" | "joined" | "join_failed" | "join_unknown":
                self._client(record, at).call(at, record)
            case "leave" | "left" | "leave_unknown":
                self._client(record, at).call(at, record)
            case "connect" | "connected" | "disconnect" | "disconnected":
                self._read_client(at, record)
            case "stalled" | "resumed" | "lossy":
                self._read_client(at, record)
            case "settled":
                self.settled.append(at)
            case "left_over":
                self.left_over.append(at)
            case _:
                self._read_instance(at, record)

    def _read_send(self, at: int, record: Record) -> None:
        if record.message is None:
            raise ValueError(f"record #{at} names no message")
        if record.message in self.sends:
            raise ValueError(f"record #{at}: message {record.message!r} was sent before")
        send = Send(at, record, self._run(record.instance, at))
        self.sends[record.message] = send
        self.by_room.setdefault(send.room, []).append(send)

    def _read_client(self, at: int, record: Record) -> None:
        if record.kind == "connect":
            if record.client is None or record.client in self.clients:
                raise ValueError(f"record #{at}: {record.client!r} has connected before")
            run = self._run(record.instance, at)
            self.clients[record.client] = Client(record.client, at, run)
            return
        client = self._client(record, at)
        match record.kind:
            case "connected":
                if client.connected is None and client.ending is None:
                    client.connected = at
            case "disconnect":
                client.ends(at)
            case "disconnected":
                client.ended(at)
            case "lossy":
                client.lossy = True
            case "stalled":
                if not client.stalls or client.stalls[-1][1] is not None:
                    client.stalls.append((at, None))
            case _:
                if client.stalls and client.stalls[-1][1] is None:
                    client.stalls[-1] = (client.stalls[-1][0], at)

    def _read_instance(self, at: int, record: Record) -> None:
        publisher: Run | None
        if record.kind == "outage":
            self.outages.append((at, record.instance))
            return
        if record.kind == "started":
            assert record.instance is not None
            if record.instance in self._runs:
                self._end(record.instance, at)
            run = self._run(record.instance, at)
            self._names[run.instance] = run
            if record.publisher is not None:
                self._names[record.publisher] = run
            return
        if record.kind == "crashed":
            assert record.instance is not None
            self._end(record.instance, at)
            return
        if record.kind == "dropped":
            publisher = self._latest_run(record.publisher, at)  # it may be gone by now
            key = (self._run(record.instance, at), record.room, publisher)
            self.dropped[key] = self.dropped.get(key, 0) + (record.missing or 0)
            return
        publisher = None
        if record.publisher is not None:
            publisher = self._names.get(record.publisher) or self._runs.get(record.publisher)
            if publisher is None:
                self.strange_gaps.append(at)
                return
        run = self._run(record.instance, at)
        self.gaps.append(Reported(at, run, record.room, publisher, record.missing))

    def _end(self, instance: Id, at: int) -> None:
        run = self._runs.pop(instance, None)
        if run is not None:
            self.ends[run] = at
        for client in self.clients.values():
            if client.run == run:
                client.ends(at)  # it may still read what had reached its own socket

    # Questions

    def knows(self, room: str | None) -> bool:
        """Whether the history is about ``room``: anybody joined it, or sent something to it."""
        return room in self.by_room or any(room in each.rooms for each in self.clients.values())

    def sent_between(self, room: str | None, first: int, last: int | None) -> list[Send]:
        """What was sent to ``room`` after ``first`` and before ``last``."""
        sends = self.by_room.get(room, [])
        begin = bisect_right(sends, first, key=_at)
        return sends[begin : None if last is None else bisect_left(sends, last, key=_at)]

    def next_settled(self, at: int) -> int | None:
        """When, after ``at``, nothing was on its way any more."""
        index = bisect_right(self.settled, at)
        return self.settled[index] if index < len(self.settled) else None

    def settled_for(self, client: Client, first: int, last: int | None) -> bool:
        """Whether, after ``first`` and before ``last``, all had arrived that ``client`` reads."""
        for settled in self.settled[bisect_right(self.settled, first) :]:
            if last is not None and settled > last:
                return False
            if not client.stalled_at(settled):
                return True
        return False

    def excerpt(self, positions: Iterable[int | None]) -> tuple[tuple[int, Record], ...]:
        """The records at ``positions``, in order."""
        wanted = {at for at in positions if at is not None and at < len(self.records)}
        return tuple((at, self.records[at]) for at in sorted(wanted))

    def told_of_send(self, send: Send) -> list[int | None]:
        """The positions that tell about ``send``."""
        return [send.at, send.done]

    def told_of_client(self, client: Client, room: str | None) -> list[int | None]:
        """The positions that tell when ``client`` was in ``room``."""
        calls: list[int | None] = [client.connect, client.connected, client.ending, client.gone]
        if room is not None and room in client.rooms:
            calls += client.rooms[room].calls
        for stall in client.stalls:
            calls += stall
        return calls


def _at(send: Send) -> int:
    return send.at


def _first(times: tuple[int, int | None]) -> int:
    return times[0]
