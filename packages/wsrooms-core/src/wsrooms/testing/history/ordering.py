"""The history checker's rule of order: one instance, one room, one order for everybody."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from wsrooms.testing.history.records import Id, Violation
from wsrooms.testing.history.timeline import Client, Send, Timeline

__all__ = ["judge_order"]

Sequences = Mapping[tuple[object, str | None], Mapping[Client, list[Send]]]


def judge_order(timeline: Timeline, sequences: Sequences) -> list[Violation]:
    """What was received in another order than it was sent, or in two orders.

    Args:
        timeline: The run.
        sequences: What each client received of one instance and room, in its order.
    """
    violations: list[Violation] = []
    for (run, room), received in sequences.items():
        found = [
            violation
            for client, sends in received.items()
            if (violation := _overtaken(timeline, client, sends)) is not None
        ]
        if not found and any(not _rising(sends) for sends in received.values()):
            # Also those that nobody received: one may have been sent before them, and one after.
            sends = [send for send in timeline.by_room.get(room, []) if send.run == run]
            disagreement = _disagreement(timeline, sends, received)
            found = [] if disagreement is None else [disagreement]
        violations += found
    return violations


def _rising(sends: list[Send]) -> bool:
    return all(earlier.at < later.at for earlier, later in pairwise(sends))


def _overtaken(timeline: Timeline, client: Client, sends: list[Send]) -> Violation | None:
    """The first message that came after one that was certainly sent later."""
    newest: Send | None = None
    newest_by: dict[Id, Send] = {}
    for send in sends:
        later = None
        if newest is not None and send.done is not None and send.done < newest.at:
            later = newest
        if send.by is not None:
            own = newest_by.get(send.by)
            if own is not None and own.at > send.at:
                later = own
            else:
                newest_by[send.by] = send
        if later is not None:
            sentence = (
                f"{client.id} received message {later.message} before message {send.message}, "
                f"which {send.run.instance} had sent to {_place(send.room)} earlier"
            )
            got = [client.got[later.message], client.got[send.message]]
            told = [send.at, send.done, later.at, *got]
            return Violation("order", sentence, timeline.excerpt(told))
        if newest is None or send.at > newest.at:
            newest = send
    return None


def _place(room: str | None) -> str:
    return "everybody" if room is None else f"room {room!r}"


class _Edge(NamedTuple):
    """One message comes before another, because ``client`` saw it so; None: it was sent so."""

    before: Send
    after: Send
    client: Client | None


def _disagreement(
    timeline: Timeline, everything: list[Send], received: Mapping[Client, list[Send]]
) -> Violation | None:
    """Clients that saw messages in orders that no single order explains."""
    edges: dict[Send, list[_Edge]] = {}
    for client, sends in received.items():
        for before, after in pairwise(sends):
            edges.setdefault(before, []).append(_Edge(before, after, client))
    for edge in _sent_in_order(everything):
        edges.setdefault(edge.before, []).append(edge)
    left = _without_order(everything, edges)
    if not left:
        return None
    circle = _circle(left, edges)
    words = "; ".join(_told(edge) for edge in circle)
    shown: list[int | None] = []
    for edge in circle:
        shown += [edge.before.at, edge.before.done]
        if edge.client is not None:
            shown += [edge.client.got[edge.before.message], edge.client.got[edge.after.message]]
    first = circle[0].before
    sentence = (
        f"messages of {first.run.instance} to {_place(first.room)} have no order that explains "
        f"what was received: {words}"
    )
    return Violation("order", sentence, timeline.excerpt(shown))


def _at(send: Send) -> int:
    return send.at


def _sent_in_order(sends: list[Send]) -> Iterator[_Edge]:
    """Enough pairs of messages of which one was certainly sent before the other.

    ``sends`` are in the order in which they were begun. For each the last one that had ended
    before is enough, and so is the one of the same ``by`` before it: what was sent before that is
    ordered by what comes with it.
    """
    ended = sorted((send for send in sends if send.done is not None), key=lambda s: s.done or 0)
    latest: Send | None = None  # of those that have ended, the one that began last
    index = 0
    last_by: dict[Id, Send] = {}
    recent: deque[Send] = deque()
    for send in sends:
        while index < len(ended) and (ended[index].done or 0) < send.at:
            done = ended[index]
            recent.append(done)
            if latest is None or done.at > latest.at:
                latest = done
            index += 1
        # Those that overlapped with ``latest`` are not ordered by it.
        while recent and latest is not None and (recent[0].done or 0) < latest.at:
            recent.popleft()
        for done in recent:
            yield _Edge(done, send, None)
        if send.by is not None:
            own = last_by.get(send.by)
            if own is not None:
                yield _Edge(own, send, None)
            last_by[send.by] = send


def _without_order(sends: Iterable[Send], edges: Mapping[Send, list[_Edge]]) -> set[Send]:
    """Those that are part of a circle, or come after one."""
    waits_for: dict[Send, int] = dict.fromkeys(sends, 0)
    for following in edges.values():
        for edge in following:
            waits_for[edge.after] += 1
    free = [send for send, count in waits_for.items() if not count]
    while free:
        send = free.pop()
        del waits_for[send]
        for edge in edges.get(send, ()):
            waits_for[edge.after] -= 1
            if not waits_for[edge.after]:
                free.append(edge.after)
    return set(waits_for)


def _circle(left: set[Send], edges: Mapping[Send, list[_Edge]]) -> list[_Edge]:
    """The shortest circle among ``left`` that goes through one of its members."""
    back: dict[Send, list[_Edge]] = {}
    for send in left:
        for edge in edges.get(send, ()):
            if edge.after in left:
                back.setdefault(edge.after, []).append(edge)
    start = min(left, key=_at)
    seen: set[Send] = set()
    while (
        start not in seen
    ):  # against the arrows one stays in what has no order, and meets a circle
        seen.add(start)
        start = back[start][0].before
    came_by: dict[Send, _Edge] = {}
    queue = deque([start])
    while queue:
        send = queue.popleft()
        for edge in edges.get(send, ()):
            if edge.after in left and edge.after not in came_by:
                came_by[edge.after] = edge
                queue.append(edge.after)
        if start in came_by:
            break
    circle = [came_by[start]]
    while circle[-1].before is not start:
        circle.append(came_by[circle[-1].before])
    return circle[::-1]


def _told(edge: _Edge) -> str:
    before, after = edge.before.message, edge.after.message
    if edge.client is None:
        return f"{before} was sent before {after}"
    return f"{edge.client.id} received {before} before {after}"
