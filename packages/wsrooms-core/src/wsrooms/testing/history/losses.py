"""The history checker's rules of loss: joined means joined, and loss is what gaps report."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from wsrooms.testing.history.records import Id, Violation
from wsrooms.testing.history.timeline import Client, Reported, Run, Send, Stay, Timeline

__all__ = ["judge_losses"]

Key = tuple[Run, str | None, Run]
"""Who misses something, in which room, and of whom."""


class _Missed(NamedTuple):
    """A message that should have been received, and by whom."""

    send: Send
    client: Client
    stay: Stay


def judge_losses(timeline: Timeline) -> list[Violation]:
    """What was lost without a word, and what was reported without a loss."""
    return _Losses(timeline).judge()


class _Losses:
    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._heard: dict[Run, set[Id]] = {}
        """The messages that any client of an instance received."""
        for client in timeline.clients.values():
            self._heard.setdefault(client.run, set()).update(client.got)
        self._exact: dict[Key, list[Reported]] = {}
        self._vague: dict[Run, list[Reported]] = {}
        for gap in timeline.gaps:
            if gap.publisher is not None and gap.missing is not None:
                if gap.missing < 1 or not timeline.knows(gap.room):
                    continue
                self._exact.setdefault((gap.run, gap.room, gap.publisher), []).append(gap)
            else:
                self._vague.setdefault(gap.run, []).append(gap)
        self._breaks: dict[Key, tuple[list[int], list[int], list[float]]] = {}
        self._latest: dict[tuple[Client, Stay, Run, str | None], int] = {}

    def judge(self) -> list[Violation]:
        """All violations."""
        timeline = self._timeline
        violations: list[Violation] = []
        missed: dict[Key, dict[Send, _Missed]] = {}
        for client in timeline.clients.values():
            for room in (None, *client.rooms):
                for one in self._missed_by(client, room):
                    send = one.send
                    if send.run == client.run or send.message in self._heard[client.run]:
                        violations.append(self._lost_for_good(one))
                    else:
                        missed.setdefault((client.run, room, send.run), {}).setdefault(send, one)
        for at in timeline.strange_gaps:
            told = "a gap names a publisher that never started"
            violations.append(Violation("false alarm", told, timeline.excerpt([at])))
        for gap in timeline.gaps:
            if gap.missing is not None and gap.missing < 1:
                told = f"{gap.run.instance} reported {gap.missing} messages as missing"
                violations.append(Violation("false alarm", told, timeline.excerpt([gap.at])))
        for key in dict.fromkeys((*missed, *self._exact)):
            violations += self._account(key, missed.get(key, {}))
        lossy = {run for run, _, _ in missed}
        for run, gaps in self._vague.items():
            if run not in lossy:
                violations += self._without_outage(run, gaps)
        return violations

    # What a client should have received

    def _missed_by(self, client: Client, room: str | None) -> list[_Missed]:
        timeline = self._timeline
        if client.lossy:
            return []
        got = client.got
        return [
            _Missed(send, client, stay)
            for stay in client.stays(room)
            for send in timeline.sent_between(room, stay.start, stay.end)
            if send.message not in got
            and send.exclude != client.id
            and self._was_due(send, client, stay)
        ]

    def _was_due(self, send: Send, client: Client, stay: Stay) -> bool:
        """Whether ``send`` must have arrived while ``client`` stayed."""
        done = send.done
        if done is None or send.failed or (stay.end is not None and done > stay.end):
            return False
        if stay.left is not None and send.run == client.run and not client.stalled_at(stay.left):
            return True  # on its own instance it came before the answer to the leave
        if self._timeline.settled_for(client, done, stay.end):
            return True
        return self._latest_of(client, stay, send) > done

    def _latest_of(self, client: Client, stay: Stay, send: Send) -> int:
        """When the latest message was sent that ``client`` received of the same instance."""
        key = (client, stay, send.run, send.room)
        known = self._latest.get(key)
        if known is None:
            sends = self._timeline.sends
            known = self._latest[key] = max(
                (
                    sends[message].at
                    for message, at in client.got.items()
                    if at > stay.start
                    and (stay.end is None or at < stay.end)
                    and sends[message].run == send.run
                    and sends[message].room == send.room
                ),
                default=-1,
            )
        return known

    def _lost_for_good(self, one: _Missed) -> Violation:
        send, client = one.send, one.client
        timeline = self._timeline
        if send.run == client.run:
            why = "which was sent on its own instance"
            shown: list[int | None] = []
        else:
            why = "which others on its instance received"
            shown = [
                other.got[send.message]
                for other in timeline.clients.values()
                if other.run == client.run and send.message in other.got
            ]
        sentence = (
            f"{client.id} was {_in(send.room)} and did not receive message {send.message}, {why}"
        )
        shown += [*timeline.told_of_send(send), *timeline.told_of_client(client, send.room)]
        return Violation("lost", sentence, timeline.excerpt(shown))

    # Gaps against losses

    def _account(self, key: Key, missed: dict[Send, _Missed]) -> list[Violation]:
        """Let each gap account for what was lost before it; what is left over is a violation."""
        run, room, publisher = key
        gaps = self._exact.get(key, [])
        violations: list[Violation] = []
        excused = [send for send in missed if self._excused(run, send)]
        certain = sorted(missed.keys() - set(excused), key=_at)
        possible = self._possible(key, missed) if gaps else []
        hidden = self._timeline.dropped.get(key, 0)
        unseen: list[Send] = []
        if certain and hidden:
            unseen = self._without_numbers(key, certain)[:hidden]
            certain = [send for send in certain if send not in unseen]
        possible = sorted([*possible, *excused, *unseen], key=_at)
        used_certain = used_possible = 0
        for gap in gaps:
            assert gap.missing is not None
            before = bisect_left(certain, gap.at, key=_at)
            take = min(gap.missing, before - used_certain)
            used_certain += take
            left = gap.missing - take
            take = min(left, bisect_left(possible, gap.at, key=_at) - used_possible)
            used_possible += take
            left -= take
            if left:
                sentence = (
                    f"{run.instance} reported {gap.missing} message(s) of {publisher.instance} to "
                    f"{_place(room)} as missing, of "
                    f"which at most {gap.missing - left} can have been"
                )
                shown: list[int | None] = [each.at for each in gaps if each.at <= gap.at]
                for send in [*certain[:before], *possible[:used_possible]]:
                    shown += [send.at, send.done]
                excerpt = self._timeline.excerpt(shown)
                violations.append(Violation("false alarm", sentence, excerpt))
        silent = certain[used_certain:]
        if silent:
            violations.append(self._silent(key, missed, silent, gaps))
        return violations

    def _without_numbers(self, key: Key, missed: list[Send]) -> list[Send]:
        """Those of ``missed`` whose loss no number can show."""
        run, room, publisher = key
        sends = self._timeline.sends
        heard: dict[Id, int] = {}
        for client in self._timeline.clients.values():
            if client.run == run:
                for message, at in client.got.items():
                    heard[message] = min(at, heard.get(message, at))
        known = [
            (sends[message], at)
            for message, at in heard.items()
            if sends[message].run == publisher and sends[message].room == room
        ]
        times = self._staying(run, room)
        vague = [gap.at for gap in self._vague.get(run, ())]
        hidden: list[Send] = []
        for send in missed:
            first, last = _around(times, send.at)
            # Numbers may begin anew after a link was lost.
            first = max([first, *(at for at in vague if at < send.at)])
            before = any(_precedes(other, send) and other.at >= first for other, _ in known)
            after = any(
                _precedes(send, other) and (last is None or got <= last) for other, got in known
            )
            if not (before and after):
                hidden.append(send)
        return hidden

    def _excused(self, run: Run, send: Send) -> bool:
        """Whether the instance reported, later, that it may have missed it.

        Or it ended before its broken link worked again, so that it could not.
        """
        if self._vaguely_told((run, send.room, send.run), send):
            return True
        gaps = self._vague.get(run, ())
        timeline = self._timeline
        end = timeline.ends.get(run)
        if end is None or send.done is None:
            return False
        arrived = timeline.next_settled(send.done)
        latest = end if arrived is None else arrived
        reported = max((gap.at for gap in gaps), default=run.start)
        return any(reported < broken < min(end, latest) for broken in self._outages_of(run))

    def _vaguely_told(self, key: Key, send: Send) -> bool:
        """Whether a later vague gap can be about ``send``.

        It is about what was on its way when a link broke, or was sent before it was mended.
        """
        gaps, broken, mended = self._breaks_of(key)
        first = bisect_right(gaps, send.at)
        if first == len(gaps):
            return False
        if not broken or broken[0] > gaps[first]:
            return True  # nobody has told when its link was lost
        arrived = None if send.done is None else self._timeline.next_settled(send.done)
        last = gaps[-1] if arrived is None else min(arrived, gaps[-1])
        index = bisect_left(broken, last) - 1
        return index >= 0 and send.at < mended[index]

    def _breaks_of(self, key: Key) -> tuple[list[int], list[int], list[float]]:
        """The vague gaps about what ``key`` says, what broke the link, and when it was mended.

        A link is known to be mended once the instance has settled and then heard another
        message of that publisher in that room.
        """
        known = self._breaks.get(key)
        if known is not None:
            return known
        run, room, publisher = key
        timeline = self._timeline
        gaps = [
            gap.at
            for gap in self._vague.get(run, ())
            if gap.room in (None, room) and gap.publisher in (None, publisher)
        ]
        names = self._heard.get(run, set())
        heard = [
            send
            for send in timeline.by_room.get(room, [])
            if send.run == publisher and send.message in names and send.done is not None
        ]
        soonest = [math.inf]  # when one had been taken, of those that were sent from there on
        for send in reversed(heard):
            soonest.append(min(soonest[-1], send.done or 0))
        soonest.reverse()
        broken = self._outages_of(run)
        settled = [timeline.next_settled(at) for at in broken]
        mended = [
            math.inf if at is None else soonest[bisect_right(heard, at, key=_at)] for at in settled
        ]
        known = self._breaks[key] = gaps, broken, mended
        return known

    def _outages_of(self, run: Run) -> list[int]:
        """When the link of an instance was broken, in any of its runs."""
        return [at for at, name in self._timeline.outages if name in (None, run.instance)]

    def _possible(self, key: Key, certain: dict[Send, _Missed]) -> list[Send]:
        """What else the instance may have missed, and so may have reported."""
        run, room, publisher = key
        heard = self._heard.get(run, set())
        times = self._listening(run, room)
        return [
            send
            for send in self._timeline.by_room.get(room, [])
            if send.run == publisher
            and send not in certain
            and send.message not in heard
            and self._was_heard_of(send, times)
        ]

    def _listening(self, run: Run, room: str | None) -> list[tuple[int, int | None]]:
        """When the instance may have listened to ``room``: with a member, and until it settled."""
        timeline = self._timeline
        if room is None:
            return [(run.start, None)]
        return [
            (first, None if last is None else timeline.next_settled(last))
            for client in timeline.clients.values()
            if client.run == run and room in client.rooms
            for first, last in client.rooms[room].possible
        ]

    def _staying(self, run: Run, room: str | None) -> list[tuple[int, int | None]]:
        """When the instance certainly had members in ``room``."""
        if room is None:
            return [(run.start, None)]
        return [
            (stay.start, stay.end)
            for client in self._timeline.clients.values()
            if client.run == run
            for stay in client.stays(room)
        ]

    def _was_heard_of(self, send: Send, times: list[tuple[int, int | None]]) -> bool:
        # What failed may wait for a link, and go out all the same.
        arrived = None if send.done is None else self._timeline.next_settled(send.done)
        return any(
            (arrived is None or first <= arrived) and (last is None or last >= send.at)
            for first, last in times
        )

    def _silent(
        self, key: Key, missed: dict[Send, _Missed], silent: list[Send], gaps: list[Reported]
    ) -> Violation:
        run, room, publisher = key
        timeline = self._timeline
        one = missed[silent[0]]
        names = ", ".join(str(send.message) for send in silent[:5])
        more = f" and {len(silent) - 5} more" if len(silent) > 5 else ""
        sentence = (
            f"{run.instance} lost {len(silent)} message(s) of {publisher.instance} to "
            f"{_place(room)} that no gap tells of: {names}{more}; "
            f"{one.client.id} was {_in(room)} and should have received message {one.send.message}"
        )
        shown: list[int | None] = [gap.at for gap in gaps]
        shown += timeline.told_of_client(one.client, room)
        for send in silent:
            shown += [send.at, send.done]
        return Violation("lost", sentence, timeline.excerpt(shown))

    def _without_outage(self, run: Run, gaps: list[Reported]) -> list[Violation]:
        """Vague gaps of an instance that has lost nothing, and whose link nobody broke."""
        broken = self._outages_of(run)
        return [
            Violation(
                "false alarm",
                f"{run.instance} reported that it may have missed messages, but its link had "
                "never been broken and nothing was lost",
                self._timeline.excerpt([gap.at]),
            )
            for gap in gaps
            if not broken or broken[0] > gap.at
        ]


def _at(send: Send) -> int:
    return send.at


def _around(times: list[tuple[int, int | None]], at: int) -> tuple[int, int | None]:
    """The time without interruption, of those in ``times``, that ``at`` is part of."""
    joined: list[tuple[int, int | None]] = []
    for first, last in sorted(times, key=lambda time: time[0]):
        if joined and (joined[-1][1] is None or first <= joined[-1][1]):
            before = joined.pop()
            ends = None if last is None or before[1] is None else max(last, before[1])
            joined.append((before[0], ends))
        else:
            joined.append((first, last))
    return next(
        (time for time in joined if time[0] <= at and (time[1] is None or at <= time[1])), (at, at)
    )


def _precedes(one: Send, other: Send) -> bool:
    """Whether ``one`` was certainly sent first."""
    return one.done is not None and one.done < other.at


def _place(room: str | None) -> str:
    return "everybody" if room is None else f"room {room!r}"


def _in(room: str | None) -> str:
    return "connected" if room is None else f"in room {room!r}"
