"""Rooms without an app: ``WsRoomManager``, for members of anybody's making.

An app works on :class:`~wsrooms.rooms.Rooms` itself; this shows of it what may be
relied upon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import UNSET

from wsrooms.rooms import Rooms

if TYPE_CHECKING:
    import logging

    from wsrooms.connection import WsMember
    from wsrooms.receipt import Receipt
    from wsrooms.transports.protocols import Gap, WsBroadcastTransport
    from wsrooms.wire import Params

__all__ = ["WsRoomManager"]


class WsRoomManager:
    """Rooms of this process, joined with those of others by a transport.

    Members are of any class with ``id``, ``rooms`` and ``send``. Without a
    transport, or with one whose methods are sync, no event loop is needed. A
    transport with ``start`` and ``close`` is started and closed by whoever made it.
    All calls come from one thread: that of the loop, where there is one.
    """

    __slots__ = ("_rooms",)

    def __init__(
        self,
        transport: WsBroadcastTransport | None = None,
        *,
        join_timeout: float = 8.0,
        on_gap: Callable[[Gap], None] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        """Keep rooms.

        Args:
            transport: What joins them with those of other processes.
            join_timeout: Seconds within which the transport must confirm a join.
            on_gap: Told of messages that were lost on the way here.
            logger: By default ``logging.getLogger("wsrooms")``.
        """
        self._rooms = Rooms(transport, join_timeout=join_timeout, logger=logger)
        self._rooms.on_gap = on_gap

    def join(self, connection: WsMember, room: str) -> Receipt:
        """Put ``connection`` in ``room``: here at once, everywhere when the receipt is done.

        What is not confirmed within ``join_timeout`` is undone, and the receipt
        fails with ``TransportUnavailable``. Joining twice changes nothing.

        Raises:
            InvalidRoom: The name is empty, too long or not encodable.
            ConnectionGone: It is a ``WsConnection`` that has closed.
        """
        return self._rooms.join(connection, room)

    def leave(self, connection: WsMember, room: str) -> Receipt:
        """Take ``connection`` out of ``room`` at once; leaving twice changes nothing.

        A join that waits for its confirmation is over then, without an error.
        """
        return self._rooms.leave(connection, room)

    def leave_all(self, connection: WsMember) -> Receipt:
        """Take ``connection`` out of all its rooms: it is gone."""
        return self._rooms.leave_all(connection)

    def connections(self, room: str) -> frozenset[WsMember]:
        """Who is in ``room`` here: a snapshot."""
        return self._rooms.connections(room)

    def broadcast(
        self,
        room: str,
        event: str,
        path: str,
        data: object = UNSET,
        params: Params | None = None,
        *,
        exclude: WsMember | str | None = None,
        local: bool = False,
    ) -> Receipt:
        """Send to every member of ``room`` here, then to those elsewhere.

        A member whose ``send`` raises is logged, and keeps nobody from getting it.

        Args:
            room: Whose members receive it.
            event: The event of the push.
            path: The path of the push.
            data: What JSON can carry; left out where not given.
            params: Left out where empty.
            exclude: A member, or the id of one, that does not receive it.
            local: Only members here.

        Returns:
            Done when the transport has taken it.

        Raises:
            InvalidRoom: The name is no room's.
            TypeError: ``data`` has no JSON form.
            ValueError: Likewise.
            PayloadTooLarge: Over the transport's limit. In all these cases nobody received it.
        """
        return self._rooms.broadcast(room, event, path, data, params, exclude=exclude, local=local)

    def stats(self) -> dict[str, int]:
        """Rooms, memberships and what passed between processes, as in ``WsApp.stats``."""
        return self._rooms.stats()
