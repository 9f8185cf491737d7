"""Bugs that others really had, each planted in the core for as long as a block lasts.

The simulation must find every one of them: that is what shows that it looks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, NamedTuple
from unittest.mock import patch

from wsrooms.broadcast import Broadcast
from wsrooms.connection import WsConnection
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.rooms import Rooms
from wsrooms.sendbuffer import SendBuffer
from wsrooms.server.heartbeat import Heartbeat
from wsrooms.session import Session
from wsrooms.transports import SequenceWatch, Verdict
from wsrooms.transports.buslink import BusLink

__all__ = ["MUTANTS", "Mutant"]


class Mutant(NamedTuple):
    """A planted bug.

    Attributes:
        what: What goes wrong, in a few words.
        peer: Who had it, and where one can read about it.
        plant: Plants it, inside a ``with`` block.
    """

    what: str
    peer: str
    plant: Callable[[], AbstractContextManager[object]]


MUTANTS: dict[str, Mutant] = {}


def planted(what: str, peer: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register a function that plants a bug, under its own name."""

    def register(plant: Callable[[], Any]) -> Callable[[], Any]:
        MUTANTS[plant.__name__.replace("_", " ")] = Mutant(what, peer, plant)
        return plant

    return register


@planted(
    "the join is answered before the broker has confirmed the subscription",
    "channels_redis (django/channels#1683), faye-redis-node#25",
)
def lost_join() -> AbstractContextManager[object]:
    original = Rooms._join_unconfirmed

    def mutant(self: Rooms, *facts: Any, **more: Any) -> Receipt:
        on_pending, self.on_pending = self.on_pending, None
        try:
            original(self, *facts, **more)._take_error()
        finally:
            self.on_pending = on_pending
        return FINISHED

    return patch.object(Rooms, "_join_unconfirmed", mutant)


@planted("a leave that overtakes its join's confirmation is forgotten", "StackExchange.Redis#273")
def last_wish_loses() -> AbstractContextManager[object]:
    original = Rooms.leave

    def mutant(self: Rooms, connection: Any, room: str) -> Receipt:
        if self._pending.get(room, connection) is not None:
            return FINISHED
        return original(self, connection, room)

    return patch.object(Rooms, "leave", mutant)


@planted("an instance hears its own messages again", "socket.io-redis-adapter#124, our ancestor")
def echo() -> AbstractContextManager[object]:
    module = import_module("wsrooms.transports.tagged")  # the package has the function's name
    original = module.parse

    def mutant(text: str) -> Any:
        envelope = original(text)
        return None if envelope is None else envelope._replace(instance="x" + envelope.instance)

    return patch.object(module, "parse", mutant)


@planted("a publish overtakes the one before it", "Flask-SocketIO#1303 (handlers in parallel)")
def reorder() -> AbstractContextManager[object]:
    original = BusLink.publish
    count = 0

    def mutant(self: BusLink, channel: str, payload: str) -> Receipt:
        nonlocal count
        count += 1
        if count % 4 or self._closed:
            return original(self, channel, payload)
        receipt = Receipt()
        loop = asyncio.get_running_loop()
        loop.call_later(0.001, lambda: receipt._follow(original(self, channel, payload)))
        return receipt

    return patch.object(BusLink, "publish", mutant)


@planted("a connection that has closed stays in its rooms", "socket.io#1793, socket.io-adapter#58")
def leak_at_close() -> AbstractContextManager[object]:
    return patch.object(Rooms, "leave_all", lambda self, connection: FINISHED)


@planted("what is sent again after a reconnect is delivered again", "nats-streaming-server#553")
def duplicate_after_reconnect() -> AbstractContextManager[object]:
    original = SequenceWatch.judge

    def mutant(self: SequenceWatch, *facts: Any) -> Verdict:
        verdict = original(self, *facts)
        return verdict if verdict.deliver else Verdict(True, 0)

    return patch.object(SequenceWatch, "judge", mutant)


@planted(
    "subscriptions are not restored after the broker was gone",
    "encode/broadcaster#144, socket.io#950",
)
def deaf_after_restart() -> AbstractContextManager[object]:
    original = BusLink.__init__

    def mutant(self: BusLink, *facts: Any, **more: Any) -> None:
        original(self, *facts, **more)
        self.keeps_log = True

    return patch.object(BusLink, "__init__", mutant)


@planted("a loss is not told", "channels_redis#172")
def silent_loss() -> AbstractContextManager[object]:
    return patch.object(Rooms, "gap", lambda self, gap: None)


@planted("the excluded client is not known to other instances", "socket.io#3629")
def exclusion_forgotten() -> AbstractContextManager[object]:
    original = Broadcast.payload
    return patch.object(Broadcast, "payload", lambda self, exclude: original(self, None))


@planted("a join that was answered with an error is one all the same", "centrifugal/centrifuge#77")
def undone_join_stays() -> AbstractContextManager[object]:
    def mutant(self: Rooms, connection: Any, room: str, error: Exception) -> None:
        self.joins_failed += 1
        self._pending.settle(room, connection, error)

    return patch.object(Rooms, "_fail", mutant)


@planted("a join whose caller was cancelled is one all the same", "socket.io#4380")
def cancelled_join_stays() -> AbstractContextManager[object]:
    return patch.object(Rooms, "_cancel", lambda self, connection, room, receipt: None)


@planted(
    "what a slow client does not take is dropped in silence", "channels_redis#131, go-redis#2267"
)
def slow_reader_loses() -> AbstractContextManager[object]:
    original = SendBuffer._push_blocked

    def mutant(self: SendBuffer, frame: bytes) -> None:
        if self._fits(len(frame)):
            original(self, frame)

    return patch.object(SendBuffer, "_push_blocked", mutant)


@planted(
    "a member that has gone ends the delivery to those after it",
    "Java-WebSocket#552, websockets#165",
)
def gone_member_stops_delivery() -> AbstractContextManager[object]:
    original = Broadcast.deliver

    def mutant(self: Broadcast, members: Any, exclude: Any) -> None:
        alive: list[Any] = []
        for member in members:
            if isinstance(member, WsConnection) and member.closed:
                break
            alive.append(member)
        original(self, alive, exclude)

    return patch.object(Broadcast, "deliver", mutant)


@planted("the first member that leaves ends the subscription of all", "encode/broadcaster#121")
def leave_unsubscribes_others() -> AbstractContextManager[object]:
    original = Rooms._discard

    def mutant(self: Rooms, connection: Any, room: str) -> None:
        original(self, connection, room)
        if self.link is not None:
            self.link.unsubscribe("ws:room:" + room)

    return patch.object(Rooms, "_discard", mutant)


@planted(
    "a rejoin trusts a subscription that is just being given up",
    "centrifuge-js#11, centrifuge-js#62",
)
def rejoin_trusts_the_old_subscription() -> AbstractContextManager[object]:
    def mutant(self: BusLink, channel: str) -> bool:
        entry = self._channels.get(channel)
        return entry is not None and (entry.confirmed or entry.held or entry.busy)

    return patch.object(BusLink, "ready", mutant)


@planted("what passed while nobody was subscribed is told as lost", "our own first draft")
def false_alarm() -> AbstractContextManager[object]:
    return patch.object(SequenceWatch, "unsubscribed", lambda self, channel, now: None)


@planted("a client that answers no ping is kept for ever", "uvicorn#245")
def half_open_clients_stay() -> AbstractContextManager[object]:
    def mutant(self: Heartbeat, asked: dict[Any, None]) -> None:
        self._checks.popleft()
        for connection in asked:
            del self._asked[connection]

    return patch.object(Heartbeat, "_check", mutant)


@planted("the first messages are handled before on_connect has ended", "faye-redis-node#25")
def on_connect_races() -> AbstractContextManager[object]:
    original = Session.open

    @contextlib.contextmanager
    def plant() -> Iterator[None]:
        def mutant(self: Session) -> None:
            original(self)
            if self._opening:
                self.connection._accept()
                self._instance.accepted(self.connection)

        with patch.object(Session, "open", mutant):
            yield

    return plant()
