"""What passes, as a developer wants to read it: frames in and out, and what reached nobody.

A frame towards one client is a line; a broadcast is one line, with the number of those who
got it here. What a line shows of a frame is its first 200 characters, in one line and
without control characters. Of a handshake it shows the path without its query: headers,
cookies and queries hold secrets. What the messages themselves hold is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from wsrooms.context import peek
from wsrooms.debug.nearest import foreign_params, like_rooms, near_routes, spelt_otherwise
from wsrooms.inbound import plain_id
from wsrooms.recent import Recent
from wsrooms.rooms import Rooms
from wsrooms.session import Session
from wsrooms.wire import SHOWN, payload_of, shown

if TYPE_CHECKING:
    from collections.abc import Hashable

    from wsrooms.broadcast import Broadcast
    from wsrooms.connection import WsConnection, WsMember
    from wsrooms.instance import Instance
    from wsrooms.receipt import Receipt
    from wsrooms.routes import Plan
    from wsrooms.wire import Codec, Inbound, Params

__all__ = ["LoudRooms", "LoudSession", "frame_text", "seen"]

REMEMBERED = 1000
"""So many mistakes are remembered, so that each is told once."""

LOOKING = 0.05
"""Seconds of each second for which it is looked for what was meant by rooms where nobody was."""

ROOMS = 100_000
"""So many rooms are remembered as having had a member; past that none is thought unused."""

DROPPED = {
    "json": "it is no JSON",
    "shape": 'a message is an object with the strings "event" and "path", and perhaps "data" '
    'and an "id", a string or number',
    "parser": "message_parser refused it",
    "utf8": "it is no UTF-8",
    "too_long": "it is over max_message_size",
}


def seen(payload: bytes | str) -> str:
    """A payload as a line of the log shows it: its beginning, and its size where that is cut."""
    head = payload[: 4 * SHOWN + 4]
    text = head if isinstance(head, str) else head.decode("utf-8", "replace")
    return shown(text) + (f"... ({len(payload)} long)" if len(text) > SHOWN else "")


def frame_text(frame: bytes) -> str:
    """What a frame of ours says; of a binary one its size."""
    payload = payload_of(frame)
    if frame[0] & 15 == 2:
        return f"{len(payload)} bytes, binary"
    return seen(payload)


class LoudCodec:
    """The codec of one connection: tells what the program itself sends it, and what is in vain."""

    __slots__ = ("_codec", "_connection", "_instance", "_once", "asked")

    def __init__(self, codec: Codec, connection: WsConnection, instance: Instance) -> None:
        self._codec = codec
        self._connection = connection
        self._instance = instance
        self._once: Recent[str] = Recent(2)
        self.asked: Recent[Hashable] = Recent(REMEMBERED)
        """The ids that the client has sent."""

    def decode(self, payload: bytes, text: bool) -> Inbound:
        """As the codec does."""
        return self._codec.decode(payload, text)

    def data(self, data: object) -> bytes:
        """As the codec does."""
        return self._codec.data(data)

    def push(self, event: str, path: str, data: object, params: Params | None) -> bytes:
        """The frame of a push, which is told."""
        return self._told(self._codec.push(event, path, data, params))

    def reply(self, id: object, data: object) -> bytes:
        """The frame of a reply, which is told."""
        self._check_id(id)
        return self._told(self._codec.reply(id, data))

    def error(self, id: object, code: int, message: str) -> bytes:
        """The frame of an error, which is told."""
        self._check_id(id)
        return self._told(self._codec.error(id, code, message))

    def _told(self, frame: bytes) -> bytes:
        connection, logger = self._connection, self._instance.logger
        if not connection.closed:
            logger.debug("to %s: %s", connection.id, frame_text(frame))
            return frame
        logger.debug(
            "to %s, which has closed, so it is dropped: %s", connection.id, frame_text(frame)
        )
        gone = connection.accepted and connection.id not in self._instance.connections
        if gone and self._once.add("gone"):
            logger.warning(
                "sent to connection %s after its on_disconnect: whoever keeps the connection must "
                "let it go in on_disconnect; rooms do that by themselves, and "
                "app.server.get_connection(id) knows who is still here",
                connection.id,
            )
        return frame

    def _check_id(self, id: object) -> None:
        # Of so many that some are forgotten, a late answer is as likely as a wrong id.
        unknown = self.asked.complete and id not in self.asked
        if unknown and self._once.add("id"):
            self._instance.logger.warning(
                "replied to %s with the id %.200r, which it has not sent: a client drops what "
                "answers no request; use the id of a message, connection.send() needs none",
                self._connection.id,
                id,
            )


class LoudSession(Session):
    """A session that tells what comes and goes."""

    __slots__ = ("_codec", "_logger", "_once", "_routes")

    def __init__(
        self,
        instance: Instance,
        plan: Plan,
        connection: WsConnection,
        on_ready: Callable[[], None],
        *,
        once: Recent[Hashable],
    ) -> None:
        """As a session; ``once`` is shared by all of the instance."""
        super().__init__(instance, plan, connection, on_ready)
        self._logger = instance.logger
        self._once = once
        self._routes = [(event, pattern) for event, pattern, _ in plan.routes]
        self._codec = connection._codec = LoudCodec(instance.codec, connection, instance)
        keep = self._keep

        def tell_and_keep(frame: bytes) -> None:
            instance.logger.debug("to %s: %s", connection.id, frame_text(frame))
            keep(frame)

        self._keep = tell_and_keep

    def open(self) -> None:
        """As a session."""
        request = self.connection.request
        self._logger.debug("%s connects to %s", self.connection.id, shown(request.path))
        super().open()

    def end(self) -> None:
        """As a session."""
        connection = self.connection
        self._logger.debug(
            "%s has ended: %s %s",
            connection.id,
            connection.close_code,
            shown(connection.close_reason or ""),
        )
        super().end()

    def receive(self, payload: bytes, text: bool) -> None:
        """As a session."""
        self._logger.debug("from %s: %s", self.connection.id, seen(payload))
        super().receive(payload, text)

    def _begin(self, inbound: Inbound) -> Any:
        if inbound.id is not UNSET:
            self._codec.asked.add(plain_id(inbound.id))
        return super()._begin(inbound)

    def _drop(self, reason: str) -> None:
        super()._drop(reason)
        if self._once.add(("dropped", reason)):
            error = sys.exception()
            cause = None if error is None else error.__cause__
            self._logger.warning(
                "dropped a message of %s without an answer: %s",
                self.connection.id,
                DROPPED.get(reason, reason),
                exc_info=cause if reason == "parser" else None,
            )

    def _not_found(self, inbound: Inbound) -> None:
        super()._not_found(inbound)
        event, path = inbound.event, inbound.path
        if not self._once.add(("route", event[:SHOWN], path[:SHOWN])):
            return
        near = near_routes(event, path, self._routes)
        others = near or [route for route in self._routes if route[0] in (event, "*")][:3]
        meant = " or ".join(f"{event!r} {pattern!r}" for event, pattern in others)
        self._logger.warning(
            "no route for %r %r%s: %s",
            shown(event),
            shown(path),
            ", answered with 404" if inbound.id is not UNSET else ", dropped as it has no id",
            f"did you mean {meant}?"
            if near
            else f"of this event there is {meant}{foreign_params(others)}"
            if meant
            else "app.routes() lists what there is",
        )


class LoudRooms(Rooms):
    """Rooms that tell what is broadcast, to how many, and what was likely meant otherwise."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """As rooms."""
        super().__init__(*args, **options)
        self._once: Recent[Hashable] = Recent(REMEMBERED)
        self._used: set[str] | None = set()
        self._looked = 0.0
        self._second = 0.0

    def join(self, connection: WsMember, room: str) -> Receipt:
        """As rooms."""
        receipt = super().join(connection, room)
        if self._used is not None:
            self._used.add(room)
            if len(self._used) > ROOMS:
                self._used = None  # from now on nobody knows which rooms ever had a member
        return receipt

    def broadcast_in(
        self,
        room: str,
        broadcast: Broadcast,
        *,
        exclude: WsMember | str | None = None,
        local: bool = False,
    ) -> Receipt:
        """As rooms."""
        members = list(self._hub.members(room))
        receipt = super().broadcast_in(room, broadcast, exclude=exclude, local=local)
        left_out = exclude if exclude is None or isinstance(exclude, str) else exclude.id
        reached = sum(member.id != left_out for member in members)
        on = "" if self.link is None or local else ", and to the other instances"
        self._logger.debug(
            "to %d of %d in room %r%s: %s",
            reached,
            len(members),
            shown(room),
            on,
            frame_text(broadcast.encode()),
        )
        if not members and (self.link is None or local):
            self._reached_nobody(room, broadcast.event)
        return receipt

    def broadcast_all(self, broadcast: Broadcast, *, local: bool = False) -> Receipt:
        """As rooms."""
        reached = len(self._all())
        receipt = super().broadcast_all(broadcast, local=local)
        on = "" if self.link is None or local else ", and of the other instances"
        self._logger.debug("to all %d clients%s: %s", reached, on, frame_text(broadcast.encode()))
        return receipt

    def _on_payload(self, channel: str, payload: str) -> None:
        self._logger.debug("from another instance, %r: %s", shown(channel), seen(payload))
        super()._on_payload(channel, payload)

    def _reached_nobody(self, room: str, event: str) -> None:
        """An empty room is nothing special; a room where nobody ever was may be a mistake.

        Only where nobody but this instance can know: with a transport the members of a
        room may be elsewhere.
        """
        if self._used is None or room in self._used:
            return
        began = monotonic()
        if began - self._second >= 1:
            self._second, self._looked = began, 0.0
        if self._looked < LOOKING:
            self._look_for_another(room, event)
            self._looked += monotonic() - began

    def _look_for_another(self, room: str, event: str) -> None:
        rooms = self._hub.rooms()
        what = f"{shown(event)!r} was broadcast to room {shown(room)!r}, where nobody ever was"
        if meant := spelt_otherwise(room, rooms):
            if self._once.add((event, room)):
                self._logger.warning(
                    "%s: did you mean %s? Names of rooms are compared to the letter",
                    what,
                    " or ".join(repr(shown(name)) for name in meant),
                )
        elif meant := like_rooms(room, rooms):
            if self._once.add((event, room)):
                names = ", ".join(repr(shown(name)) for name in meant)
                self._logger.info("%s; there are members in %s", what, names)
        elif not self._used and _in_message() and self._once.add(("no rooms", event)):
            self._logger.warning(
                "%s, nor in any other room: a client is in no room until a handler has called "
                "use_ws_rooms().join(), or on_connect use_ws_connection().join(room)",
                what,
            )


def _in_message() -> bool:
    current = peek(None)
    return current is not None and current.message is not None
